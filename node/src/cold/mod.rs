//! Old bytes move to the cold store: chunks of many streams are packed into one object, and found in it.
//!
//! | file | the question |
//! |---|---|
//! | `object` | what is in an object, and how is it named? |
//! | `packing` | how do chunks become runs, and runs an object? |
//! | `store` | how are objects written and read: verified, again and again, each block once for all who ask? |
//! | `cache` | which blocks are kept in memory? |
//! | `mover` | what moves when, and how does the log hear of it? |
//! | `sweeper` | which objects does nothing refer to any more? |
//!
//! An object is put under a name that nobody else can choose (cluster, group, term, sequence), then a
//! [`Moved`](crate::stream::Moved) is committed, and only then, when the index is durable, may the segments of the journal
//! go. A crash in between leaves an object that nothing refers to, never a hole.

mod cache;
mod mover;
mod object;
mod packing;
mod store;
mod sweeper;

pub(crate) use mover::tend;
pub use object::{BadObject, Directory, Packed, RunEntry, key_of, object_of, prefix_of};
#[cfg(test)]
pub(crate) use packing::{Filling, next_run};
pub use store::{ColdReadError, Options, Put, Store, Traffic, TrafficNow};
