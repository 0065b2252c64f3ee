//! Where bytes stay.
//!
//! Three seams, each a trait with one contract suite that the real and the false implementations pass alike:
//! [`disk`] (files), [`index`] (ordered key-values), [`cold`] (old bytes). On the first stands the [`journal`], which
//! holds every byte of the node until it is old.
//!
//! This crate knows nothing of sockets, tasks or clocks: a caller drives its futures. The one exception is
//! [`s3`], whose SDK has sockets and timers of its own and takes others.

pub mod cold;
pub mod disk;
pub mod error;
pub mod index;
pub mod journal;
pub mod local;
pub mod memory;
#[cfg(feature = "real")]
pub mod rocks;
#[cfg(feature = "s3")]
pub mod s3;

pub mod contract;
