//! What a stream server is.

pub mod config;
pub mod keys;
pub mod stream;
pub mod cluster;
pub mod peer;
