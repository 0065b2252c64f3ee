//! What can go wrong: the false world around the same nodes.

pub mod clock;
pub mod cluster;
pub mod cold;
pub mod disk;
pub mod engine;
pub mod fault;
pub mod index;
pub mod invariant;
pub mod net;
#[cfg(feature = "sdk")]
pub mod s3;
pub mod tell;
pub mod trace;
