//! What can go wrong: the false world around the same nodes.

pub mod fault;
