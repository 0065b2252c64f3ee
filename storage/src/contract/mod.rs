//! What every implementation of a seam must do, as test bodies.
//!
//! The real implementations and the false ones of the simulator run the same functions, so that no false one can be
//! kinder than the true one. Each function panics with a sentence where the contract is broken.

pub mod cold;
pub mod disk;
pub mod index;
