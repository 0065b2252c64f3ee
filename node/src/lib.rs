//! What a stream server is.

pub mod keys;
pub mod stream;
pub mod cluster;
pub mod peer;
