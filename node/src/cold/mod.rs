//! Old bytes move to the cold store: chunks of many streams are packed into one object, and found in it.
//!
//! | file | the question |
//! |---|---|
//! | `envelope` | what does every file there begin with? |
//! | `object` | what is in an object, and how is it named? |
//! | `packing` | how do chunks become runs, and runs an object? |
//! | `store` | how are objects read: verified, again and again, each block once for all who ask? |
//! | `calls`, `again` | how are they put, listed and deleted, and how long is that tried? |
//! | `cache`, `disk_cache`, `ages` | which blocks are kept in memory, and on the node's own disk? |
//! | `mover` | what moves when, and how does the log hear of it? |
//! | `reference` | which bodies go there at once, so that the log carries only where they are? |
//! | `names` | what is an object called, and of which may the log yet hear? |
//! | `sweeper`, `rewriter` | which objects does nothing, or almost nothing, refer to any more? |
//! | `notes` | what will go, for whoever looks after it? |
//! | `record` | what is a group written down as, so that it can be restored? |
//! | `recorder` | when is it written down? |
//! | `owner` | to whom do the objects of a cluster belong, and does it live? |
//!
//! An object is put under a name that nobody else can choose (cluster, group, term, sequence), then a
//! [`Moved`](crate::stream::Moved) is committed, and only then, when the index is durable, may the segments of the journal
//! go. A crash in between leaves an object that nothing refers to, never a hole.

mod again;
mod ages;
mod cache;
mod calls;
mod disk_cache;
mod envelope;
mod mover;
mod names;
mod notes;
mod object;
mod owner;
mod packing;
mod record;
mod recorder;
mod reference;
mod rewriter;
mod store;
mod sweeper;

pub use calls::Put;
pub use envelope::BadObject;
pub(crate) use mover::tend;
pub(crate) use names::Names;
pub use notes::{Notes, ToDelete, ToRewrite};
pub use object::{Directory, Packed, RunEntry, key_of, object_of, prefix_of};
pub(crate) use owner::{Owner, SIGNS_MISSED, alive_every, lost, say_alive};
#[cfg(test)]
pub(crate) use packing::{Filling, next_run};
pub use record::{Chain, Head, Holds, LogName, StateName, read, records_of};
pub(crate) use recorder::write_down;
pub(crate) use reference::Respite;
pub use store::{ColdReadError, Options, Store, Traffic, TrafficNow};
