//! What can go wrong: the false world around the same nodes.

pub mod engine;
pub mod fault;
pub mod net;
