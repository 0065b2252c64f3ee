//! Consensus: many groups on one node, each an openraft instance. The only files that name openraft.
//!
//! | file | the question |
//! |---|---|
//! | `types`, `codec` | what is an entry, and how is it written? |
//! | `runtime`, `watch` | what does openraft run on? |
//! | `log`, `log_reader`, `recovery` | how does a group's log live in the journal that all share? |
//! | `machine`, `apply`, `rows`, `buckets`, `tail_cache` | how do committed entries become rows and bytes? |
//! | `state_machine`, `image`, `pieces`, `incoming` | how does a follower that fell behind get the state whole? |
//! | `recording`, `restoring` | how is a group written down outside of the cluster, and how does it come back? |
//! | `forks` | where are the rows that hold forks and sources together? |
//! | `moving` | which bytes are in the journal, and how do they leave it? |
//! | `view` | how are rows and bytes read, and never served damaged? |
//! | `network`, `pipeline`, `wire` | how do groups of different nodes talk? |
//! | `janitor`, `hold` | what is flushed, purged and freed, and when? |
//! | `reads` | as of when may a read be answered? |
//! | `propose`, `lead`, `status`, `fate` | what can be asked of a group, and when must the node end? |
//! | `groups`, `group` | all of it, for the rest of the node |

mod apply;
mod buckets;
mod codec;
mod fate;
mod forks;
mod group;
mod groups;
mod hold;
mod image;
mod incoming;
mod janitor;
mod lead;
mod log;
mod log_reader;
mod machine;
mod moving;
mod network;
mod pieces;
mod pipeline;
mod propose;
mod reads;
mod recording;
mod recovery;
mod restoring;
mod rows;
mod runtime;
mod state_machine;
mod status;
mod tail_cache;
mod tending;
#[cfg(test)]
mod tests;
mod types;
mod view;
mod watch;
mod wire;

use crate::stream::{StreamName, StreamRow};

pub use codec::BadBytes;
pub use forks::{Doubt, ForkCensus};
pub use groups::{Groups, Lead, Seams, Settings, StartError};
pub use moving::{HotAndCold, MoveBounds};
pub use network::Transport;
pub use propose::ProposeError;
pub use recording::{Census, ColdRunFound, LogRecord, StateRecording};
pub use restoring::Restoration;
pub use status::{EntryId, GroupStatus};
pub use tail_cache::TailCache;
pub use view::{GroupView, Hold, ReadError};
pub use wire::is_raft;

/// Told what changed, after it can be read. Called while entries are applied: it must be quick and must not wait.
pub trait Observer: Send + Sync + 'static {
    /// A stream was created, appended to, closed, trimmed; or deleted (no row). A use that was noted is no change.
    fn changed(&self, group: u32, stream: &StreamName, row: Option<&StreamRow>);

    /// All rows of a group were replaced by a snapshot: any stream may have changed.
    fn replaced(&self, group: u32);
}
