//! The logs of all groups, found again in the journal at the start.
//!
//! Records are shown in the order they were appended. An entry replaces every earlier one of its group from its index
//! on; segments that were freed leave gaps, which must lie below what was purged.

use std::collections::{BTreeMap, VecDeque};

use storage::journal::{Kind, Recovered};

use super::codec::{BadBytes, body_len, decode_vote, next_index};
use super::log::{Slot, State};
use super::types::{LogId, Vote, log_id};

/// Collects what a journal shows.
#[derive(Default)]
pub(super) struct Recovery {
    groups: BTreeMap<u32, Group>,
    entries: u64,
    bad: Option<BadBytes>,
}

#[derive(Default)]
struct Group {
    vote: Option<Vote>,
    committed: Option<LogId>,
    purged: Option<LogId>,
    /// The index of the first slot.
    first: u64,
    slots: VecDeque<Slot>,
}

impl Recovery {
    /// Takes the next record.
    pub(super) fn visit(&mut self, record: &Recovered) {
        if let Err(bad) = self.take(record) {
            self.bad.get_or_insert(bad);
        }
    }

    /// How many entries were shown so far.
    pub(super) fn entries(&self) -> u64 {
        self.entries
    }

    fn take(&mut self, record: &Recovered) -> Result<(), BadBytes> {
        let group = self.groups.entry(record.group).or_default();
        match record.kind {
            Kind::Entry => {
                self.entries += 1;
                let body_len = body_len(&record.payload)?;
                let slot = Slot {
                    term: record.term,
                    placed: record.placed,
                    body_len,
                    ticket: 0,
                };
                group.entry(record.index, slot);
            }
            Kind::Vote => group.vote = Some(decode_vote(&record.payload)?),
            Kind::Truncate => group.truncate(record.index),
            Kind::Purge => group.purge(log_id(record.term, record.index)),
            Kind::Committed => group.committed = Some(log_id(record.term, record.index)),
            // Found through the index, or garbage of a snapshot that was never finished.
            Kind::Hot => {}
            Kind::Released | Kind::End | Kind::Seal => {}
        }
        Ok(())
    }

    /// The logs, by group.
    ///
    /// # Errors
    /// If a record makes no sense, or entries are missing that were never purged.
    pub(super) fn finish(self) -> Result<BTreeMap<u32, State>, BadBytes> {
        if let Some(bad) = self.bad {
            return Err(bad);
        }
        self.groups
            .into_iter()
            .map(|(number, group)| Ok((number, group.finish(number)?)))
            .collect()
    }
}

impl Group {
    fn end(&self) -> u64 {
        self.first + self.slots.len() as u64
    }

    fn entry(&mut self, index: u64, slot: Slot) {
        self.truncate(index);
        if self.slots.is_empty() || index > self.end() {
            // Everything before lies below a gap, so it was purged; the end decides whether that is so.
            self.slots.clear();
            self.first = index;
        }
        self.slots.push_back(slot);
    }

    fn truncate(&mut self, from: u64) {
        let keep = usize::try_from(from.saturating_sub(self.first)).unwrap_or(usize::MAX);
        self.slots.truncate(keep);
    }

    fn purge(&mut self, upto: LogId) {
        self.purged = self.purged.max(Some(upto));
    }

    fn finish(mut self, number: u32) -> Result<State, BadBytes> {
        let first = next_index(self.purged);
        while self.first < first && self.slots.pop_front().is_some() {
            self.first += 1;
        }
        if !self.slots.is_empty() && self.first > first {
            let because = format!(
                "entries {first}..{} of group {number} are missing and were never purged",
                self.first
            );
            return Err(BadBytes::new("journal", because));
        }
        Ok(State::recovered(self.vote, self.committed, self.purged, self.slots))
    }
}

#[cfg(test)]
mod tests {
    use storage::journal::{Placed, Position};

    use super::super::codec::{encode_entry, encode_vote};
    use super::super::types::{Envelope, Payload};
    use super::*;

    fn record(kind: Kind, term: u64, index: u64) -> Recovered {
        let payload = match kind {
            Kind::Entry => {
                use openraft::entry::RaftEntry;
                let body = vec![0; 5].into();
                let payload = Payload::Normal(Envelope {
                    meta: vec![1].into(),
                    body,
                });
                encode_entry(&super::super::types::Entry::new(log_id(term, index), payload))
                    .concat()
                    .into()
            }
            Kind::Vote => encode_vote(&Vote::new(term, 1)),
            _ => bytes::Bytes::new(),
        };
        let placed = Placed {
            position: Position {
                segment: term,
                offset: index,
            },
            payload_len: payload.len() as u32,
        };
        Recovered {
            kind,
            group: 1,
            index,
            term,
            placed,
            payload,
            repeated: false,
        }
    }

    fn recover(records: &[(Kind, u64, u64)]) -> Result<State, BadBytes> {
        let mut recovery = Recovery::default();
        for (kind, term, index) in records {
            recovery.visit(&record(*kind, *term, *index));
        }
        Ok(recovery.finish()?.remove(&1).unwrap_or_default())
    }

    use Kind::{Committed, Entry, Purge, Truncate, Vote as Voted};

    #[test]
    fn the_latest_of_everything_counts() {
        let state = recover(&[
            (Voted, 1, 0),
            (Entry, 1, 0),
            (Entry, 1, 1),
            (Committed, 1, 0),
            (Voted, 2, 0),
            (Entry, 2, 2),
            (Committed, 1, 1),
        ])
        .unwrap();
        assert_eq!(state.vote, Some(Vote::new(2, 1)));
        assert_eq!(state.committed, Some(log_id(1, 1)));
        assert_eq!(state.last(), Some(log_id(2, 2)));
        let slot = state.slot(2).unwrap();
        assert_eq!(slot.body_len, 5);
        assert_eq!(slot.body_at().offset, 2 + u64::from(slot.placed.payload_len) - 5);
    }

    #[test]
    fn a_truncated_tail_is_gone_and_may_be_written_anew() {
        let state = recover(&[(Entry, 1, 0), (Entry, 1, 1), (Entry, 1, 2), (Truncate, 0, 1)]).unwrap();
        assert_eq!(state.last(), Some(log_id(1, 0)));
        let state = recover(&[(Entry, 1, 0), (Entry, 1, 1), (Truncate, 0, 1), (Entry, 3, 1)]).unwrap();
        assert_eq!(state.last(), Some(log_id(3, 1)));
        assert_eq!(state.slot(1).unwrap().term, 3);
    }

    #[test]
    fn gaps_below_the_purged_are_lawful_and_others_are_loss() {
        let state = recover(&[(Entry, 1, 0), (Entry, 1, 1), (Purge, 1, 7), (Entry, 1, 8)]).unwrap();
        assert_eq!((state.purged, state.last()), (Some(log_id(1, 7)), Some(log_id(1, 8))));
        let state = recover(&[(Entry, 1, 0), (Entry, 1, 5), (Purge, 1, 4)]).unwrap();
        assert_eq!(state.last(), Some(log_id(1, 5)));
        assert!(recover(&[(Entry, 1, 0), (Entry, 1, 5), (Purge, 1, 3)]).is_err());
        assert!(recover(&[(Entry, 1, 1)]).is_err());
    }

    #[test]
    fn a_log_that_was_purged_whole_ends_where_it_was_purged() {
        let state = recover(&[(Entry, 1, 0), (Entry, 1, 1), (Purge, 1, 1)]).unwrap();
        assert_eq!(state.last(), Some(log_id(1, 1)));
        assert_eq!(state.slot(1), None);
    }

    #[test]
    fn a_record_that_makes_no_sense_stops_the_start() {
        let mut recovery = Recovery::default();
        let mut bad = record(Entry, 1, 0);
        bad.payload = bad.payload.slice(..3);
        recovery.visit(&bad);
        assert!(recovery.finish().is_err());
    }
}
