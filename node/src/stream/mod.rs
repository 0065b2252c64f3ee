//! The law of a stream: what a command does to it, and what a reader may see of it.
//!
//! Pure: nothing here waits, reads a clock, throws dice or touches a disk. A command cannot fail, it can be refused.
//! The state machine loads the rows a command needs, calls [`apply`], and writes what the [`Transition`] says; so the
//! same log gives the same rows on every node, for ever.
//!
//! | file | the question |
//! |---|---|
//! | `name`, `offset`, `etag`, `content_type` | how are streams, places, states and media types spelled? |
//! | `command`, `outcome` | what can be asked, what can be answered? |
//! | `row` | what is remembered of a stream and of its producers? |
//! | `apply`, `producer` | who may change what, and what is a repeat? |
//! | `lifetime`, `retention` | when is a stream over, and what does it forget by itself? |
//! | `bucket` | how does a bucket come and go, with its streams in many groups? |
//! | `snapshot` | how is a snapshot uploaded, published, trimmed below? |
//! | `fork`, `forking` | how does one stream begin as a part of another, in whatever group? |
//! | `plan` | which bytes answer a read? |
//! | `image` | all rows of a group, out and in again |
//! | `limits` | how big may things be? |

mod apply;
mod bucket;
mod command;
mod content_type;
mod etag;
mod fork;
mod forking;
mod image;
mod lifetime;
mod limits;
mod moved;
mod name;
mod offset;
mod outcome;
mod plan;
mod producer;
mod retention;
mod row;
mod snapshot;
#[cfg(test)]
mod tests;
pub(crate) mod versioned;

pub use apply::{Loaded, Moment, RowChange, Stored, Transition, apply};
pub use bucket::{
    BucketChange, BucketOp, BucketOutcome, BucketRefusal, BucketRow, BucketTransition, LoadedBucket, apply_bucket,
};
pub use command::{Append, Command, Create, Delete, Elsewhere, Op, PIECE_BYTES, ProducerTuple, REGISTRY, Touch, Trim};
pub use content_type::{is_json, same_content_type};
pub use etag::{BadCondition, Condition, ETag, Tag};
pub use fork::{
    Asked, Base, Bearing, Debt, ForkChange, ForkDone, ForkOp, ForkRefusal, Pledge, Pledging, Reference, Retaining,
    Token,
};
pub use image::{ImageRow, decode_rows, encode_rows};
pub use lifetime::Lifetime;
pub use limits::*;
pub use moved::{Moved, MovedRun};
pub use name::{BadName, StreamName, group_of};
pub use offset::{BadOffset, Offset, Whence};
pub use outcome::{Accepted, Field, Outcome, Refusal, Standing};
pub use plan::{ReadPlan, ReadRefusal, plan};
pub use retention::{Mark, Retention};
pub use row::{Claim, Closing, StreamRow};
pub use snapshot::{BlobChange, BlobRow, Publish, SnapshotDone, SnapshotOp, SnapshotRef, SnapshotRefusal, may_publish};
pub use versioned::BadFormat;
