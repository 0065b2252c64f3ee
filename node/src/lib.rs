//! What a stream server is.

pub mod stream;
