//! A group of a new cluster takes over what was written down of one that is lost.
//!
//! It is told by a leader that is no node: first the state, as any follower that fell behind, then the log after it, and
//! as the last entry who the members are. Until that entry is there the group has no members, so nobody can lead it and
//! write something else in the place of what is still to come. A crash in between is resumed by telling all of it again.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use net::rt;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::entry::RaftEntry;

use super::Groups;
use super::codec::{self, BadBytes};
use super::group::Group;
use super::status::{EntryId, entry_id};
use super::types::{Entry, LogId, Member, Membership, Payload, StoredMembership, Vote, log_id};
use super::wire::{self, Append, Appended, Piece, Taking, What};

/// The leader that tells a group what was written down. No node bears this number.
const NOBODY: u64 = 0;

/// Bytes of entries told at once.
const TOLD_BYTES: usize = 1 << 20;

/// A group that is being told.
pub struct Restoration {
    group: Arc<Group>,
    vote: Vote,
    id: u64,
    number: u64,
    /// The state is here already, from an attempt before.
    has_state: bool,
    /// The last entry that was told.
    last: Option<LogId>,
    /// Entries that are to be told next.
    waiting: Vec<Entry>,
    waiting_bytes: usize,
}

impl Groups {
    /// Whether a group has members, so that it was told everything.
    #[must_use]
    pub fn has_members(&self, group: u32) -> bool {
        let metrics = self.group(group).raft.metrics();
        let metrics = metrics.borrow_watched();
        metrics.membership_config.membership().voter_ids().next().is_some()
    }

    /// Begins to tell a group, in a term that must be higher than all in which the lost cluster was led.
    #[must_use]
    pub fn restoration(&self, group: u32, term: u64) -> Restoration {
        Restoration {
            group: self.group(group).clone(),
            vote: Vote::new_committed(term, NOBODY),
            id: rt::random_u64(),
            number: 0,
            has_state: false,
            last: None,
            waiting: Vec::new(),
            waiting_bytes: 0,
        }
    }
}

impl Restoration {
    /// Tells the next piece of the state.
    ///
    /// # Errors
    /// A sentence: it makes no sense, or the node cannot go on.
    pub async fn piece(&mut self, bytes: Bytes) -> Result<(), String> {
        let (mut what, tail) = wire::decode::<What>("recorded state", &bytes).map_err(|error| error.to_string())?;
        if let What::Begin {
            applied, membership, ..
        } = &mut what
        {
            self.last = *applied;
            // The members of the lost cluster are not those of this one.
            *membership = StoredMembership::default();
        }
        self.tell(what, tail).await
    }

    /// The state is whole: puts it in force.
    ///
    /// # Errors
    /// As [`Restoration::piece`].
    pub async fn state_is_whole(&mut self) -> Result<(), String> {
        self.tell(What::End, Bytes::new()).await
    }

    async fn tell(&mut self, what: What, tail: Bytes) -> Result<(), String> {
        if self.has_state {
            return Ok(());
        }
        let is_last = what == What::End;
        let piece = Piece {
            vote: self.vote,
            id: self.id,
            number: self.number,
            what,
        };
        self.number += 1;
        match self.group.take_in_turn(piece, tail).await? {
            Taking::Next if !is_last => Ok(()),
            Taking::Done(_) => {
                self.has_state = true;
                Ok(())
            }
            Taking::Next => Err("the recorded state has no end".into()),
            Taking::Higher(_) => Err("the group is led by somebody already".into()),
            Taking::Restart(why) => Err(why),
        }
    }

    /// Tells the next entry of the log. One that was told with the state, or before, is passed over.
    ///
    /// # Errors
    /// As [`Restoration::piece`].
    pub async fn entry(&mut self, bytes: &Bytes) -> Result<(), String> {
        let mut entry = codec::decode_entry(bytes).map_err(|error| error.to_string())?;
        let (id, next) = (entry.log_id, codec::next_index(self.end()));
        if id.index < next {
            return Ok(());
        }
        if id.index > next || Some(id) <= self.end() {
            let because = format!("entry {id} follows {:?}", self.end().map(entry_id));
            return Err(BadBytes::new("recorded log", because).to_string());
        }
        if let Payload::Membership(_) = entry.payload {
            entry.payload = Payload::Blank;
        }
        self.waiting.push(entry);
        self.waiting_bytes += bytes.len();
        if self.waiting_bytes < TOLD_BYTES {
            return Ok(());
        }
        self.append().await
    }

    /// Tells who the members are, by node id and address: the last entry. Then any of them may lead.
    ///
    /// # Errors
    /// As [`Restoration::piece`].
    pub async fn members(mut self, members: BTreeMap<u64, String>) -> Result<(), String> {
        let members: BTreeMap<u64, Member> = members.into_iter().map(|(id, addr)| (id, Member { addr })).collect();
        let voters = members.keys().copied().collect();
        let membership = Membership::new(vec![voters], members).map_err(|error| error.to_string())?;
        let id = log_id(self.vote.leader_id.term, codec::next_index(self.end()));
        self.waiting.push(Entry::new(id, Payload::Membership(membership)));
        self.append().await?;
        self.group.wait_applied(id.index).await
    }

    /// The last entry that was told, or waits to be.
    #[must_use]
    pub fn told(&self) -> Option<EntryId> {
        self.end().map(entry_id)
    }

    fn end(&self) -> Option<LogId> {
        self.waiting.last().map(|entry| entry.log_id).or(self.last)
    }

    async fn append(&mut self) -> Result<(), String> {
        let entries = std::mem::take(&mut self.waiting);
        self.waiting_bytes = 0;
        let Some(last) = entries.last().map(|entry| entry.log_id) else {
            return Ok(());
        };
        let request = Append {
            vote: self.vote,
            prev_log_id: self.last,
            entries,
            // All that is written down was committed.
            leader_commit: Some(last),
        };
        let told = self.group.raft.append_entries(request).await;
        match told.map_err(|error| self.group.raft_failed(error))? {
            Appended::Success => {
                self.last = Some(last);
                Ok(())
            }
            Appended::HigherVote(vote) => match vote.partial_cmp(&self.vote) {
                Some(Ordering::Greater) => Err("the group is led by somebody already".into()),
                _ => Err(format!(
                    "the group does not take what is told in term {}",
                    self.vote.leader_id.term
                )),
            },
            Appended::Conflict | Appended::PartialSuccess(_) => {
                Err("the log of the group is not the one that was written down".into())
            }
        }
    }
}
