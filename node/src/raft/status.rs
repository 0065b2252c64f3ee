//! What an operator, and a simulator's invariants, may see of a group.

use std::sync::atomic::Ordering;

use openraft::async_runtime::watch::WatchReceiver;
use serde::Serialize;

use super::group::Group;
use super::types::LogId;

/// One group, as this node sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GroupStatus {
    /// Its number.
    pub group: u32,
    /// Leader, Follower, Candidate, Learner or Shutdown.
    pub role: String,
    /// Who leads, if anybody is known to.
    pub leader: Option<u64>,
    /// The term this node is in.
    pub term: u64,
    /// Whether a quorum granted its vote in that term.
    pub vote_committed: bool,
    /// The vote that is on its synced disk. The term above may be ahead of it for as long as a sync takes; nothing has
    /// been answered in it then.
    pub saved_vote: Option<SavedVote>,
    /// The members that vote.
    pub voters: Vec<u64>,
    /// The last entry of the log.
    pub last_log: Option<EntryId>,
    /// The last entry known to be committed.
    pub committed: Option<EntryId>,
    /// The last entry applied.
    pub applied: Option<EntryId>,
    /// The last entry whose effect survives any crash without the log.
    pub flushed: Option<EntryId>,
    /// The last entry the log no longer holds.
    pub purged: Option<EntryId>,
    /// Snapshots of other nodes put in force here since the start.
    pub snapshots: u64,
    /// A chain over everything applied: the same on all nodes that applied as much.
    pub digest: u64,
}

/// A vote on a synced disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct SavedVote {
    /// In which term.
    pub term: u64,
    /// For whom.
    pub voted_for: u64,
    /// Whether a quorum granted it.
    pub committed: bool,
}

/// A log id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct EntryId {
    /// The term of the leader that wrote it.
    pub term: u64,
    /// Its place in the log.
    pub index: u64,
}

pub(super) fn entry_id(id: LogId) -> EntryId {
    EntryId {
        term: id.leader_id.term,
        index: id.index,
    }
}

impl Group {
    /// As it is now.
    pub(super) fn status(&self) -> GroupStatus {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let (last_log, purged, committed, saved_vote) = {
            let log = self.machine.log.state();
            (log.last(), log.purged, log.committed, log.vote)
        };
        let (position, flushed) = {
            let state = self.machine.state();
            (state.position.clone(), state.flushed.applied)
        };
        GroupStatus {
            group: self.number,
            role: format!("{:?}", metrics.state),
            leader: metrics.current_leader,
            term: metrics.current_term,
            vote_committed: metrics.vote.committed,
            saved_vote: saved_vote.map(|vote| SavedVote {
                term: vote.leader_id.term,
                voted_for: vote.leader_id.voted_for,
                committed: vote.committed,
            }),
            voters: metrics.membership_config.membership().voter_ids().collect(),
            last_log: last_log.map(entry_id),
            committed: committed.map(entry_id),
            applied: position.applied.map(entry_id),
            flushed: flushed.map(entry_id),
            purged: purged.map(entry_id),
            snapshots: self.snapshots.load(Ordering::Relaxed),
            digest: position.digest,
        }
    }

    /// The terms of the entries `from..to` that the log holds, by index.
    pub(super) fn log_terms(&self, from: u64, to: u64) -> Vec<EntryId> {
        let log = self.machine.log.state();
        (from..to)
            .filter_map(|index| log.slot(index).map(|slot| EntryId { term: slot.term, index }))
            .collect()
    }
}
