//! One group's log: what openraft writes, in the journal that all groups of the node share.
//!
//! Memory holds a slot per entry (term and place, some 50 bytes) from the last purged one on, and the newest entries
//! themselves up to a bound of bytes; the rest is read back from the journal. Records of one group are appended in the
//! order openraft calls, so a crash always leaves a prefix of them.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use openraft::storage::{IOFlushed, LogState, RaftLogStorage};
use storage::journal::{Journal, Kind, Placed, Position, Record};
use tokio::sync::Notify;

use super::codec::{encode_entry, encode_vote, entry_len, next_index};
use super::log_reader::LogReader;
use super::types::{Entry, LogId, Payload, Types, Vote, log_id};

/// The log of one group. Cloning shares it.
#[derive(Clone)]
pub(super) struct GroupLog {
    pub(super) shared: Arc<Shared>,
}

pub(super) struct Shared {
    pub(super) group: u32,
    pub(super) journal: Journal,
    /// Bytes of recent entries kept in memory.
    cache_bytes: usize,
    state: Mutex<State>,
    durable: Arc<Durable>,
    /// Entries below this index are in the index for good: nothing at or above it may be purged.
    flushed_next: AtomicU64,
}

/// How far the journal has synced the appends of this group.
#[derive(Default)]
struct Durable {
    ticket: AtomicU64,
    failed: AtomicBool,
    moved: Notify,
}

/// What memory knows of the log.
#[derive(Default)]
pub(super) struct State {
    pub(super) vote: Option<Vote>,
    pub(super) committed: Option<LogId>,
    /// The last committed log id that was given to the journal.
    committed_noted: Option<LogId>,
    pub(super) purged: Option<LogId>,
    /// One per entry, without holes, the first at index `first`: the one after `purged`.
    slots: VecDeque<Slot>,
    pub(super) first: u64,
    /// The newest entries; the last of them is the last of `slots`.
    cache: VecDeque<Cached>,
    cached_bytes: usize,
    /// Counts the appends.
    ticket: u64,
    /// How many slots lie in each segment of the journal.
    segments: BTreeMap<u64, usize>,
}

/// Where an entry lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) term: u64,
    pub(super) placed: Placed,
    pub(super) body_len: u32,
    /// The append that brought it; 0: recovered.
    pub(super) ticket: u64,
}

struct Cached {
    entry: Entry,
    len: usize,
}

impl Slot {
    /// The first byte of the body: it is the last thing in the payload.
    pub(super) fn body_at(&self) -> Position {
        let Position { segment, offset } = self.placed.position;
        Position {
            segment,
            offset: offset + u64::from(self.placed.payload_len - self.body_len),
        }
    }
}

impl State {
    /// Of what was recovered.
    pub(super) fn recovered(
        vote: Option<Vote>,
        committed: Option<LogId>,
        purged: Option<LogId>,
        slots: VecDeque<Slot>,
    ) -> Self {
        let mut segments = BTreeMap::new();
        for slot in &slots {
            *segments.entry(slot.placed.position.segment).or_default() += 1;
        }
        let first = next_index(purged);
        Self {
            vote,
            committed,
            committed_noted: committed,
            purged,
            slots,
            first,
            segments,
            ..Self::default()
        }
    }

    /// One past the last.
    fn end(&self) -> u64 {
        self.first + self.slots.len() as u64
    }

    pub(super) fn last(&self) -> Option<LogId> {
        match self.slots.back() {
            Some(slot) => Some(log_id(slot.term, self.end() - 1)),
            None => self.purged,
        }
    }

    pub(super) fn slot(&self, index: u64) -> Option<Slot> {
        let place = index.checked_sub(self.first)?;
        self.slots.get(usize::try_from(place).ok()?).copied()
    }

    pub(super) fn cached(&self, index: u64) -> Option<&Entry> {
        let from_end = self.end().checked_sub(index)?;
        let place = self.cache.len().checked_sub(usize::try_from(from_end).ok()?)?;
        self.cache.get(place).map(|cached| &cached.entry)
    }

    fn push(&mut self, slot: Slot, cached: Cached, cache_bytes: usize) {
        self.slots.push_back(slot);
        *self.segments.entry(slot.placed.position.segment).or_default() += 1;
        self.cached_bytes += cached.len;
        self.cache.push_back(cached);
        while self.cached_bytes > cache_bytes && self.cache.len() > 1 {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some(cached) = self.cache.pop_front() {
            self.cached_bytes -= cached.len;
        }
    }

    fn unplace(&mut self, slot: Slot) {
        let segment = slot.placed.position.segment;
        if let Some(count) = self.segments.get_mut(&segment) {
            *count -= 1;
            if *count == 0 {
                self.segments.remove(&segment);
            }
        }
    }

    fn truncate(&mut self, from: u64) {
        while self.end() > from {
            let Some(slot) = self.slots.pop_back() else { break };
            self.unplace(slot);
            if let Some(cached) = self.cache.pop_back() {
                self.cached_bytes -= cached.len;
            }
        }
    }

    fn purge(&mut self, upto: LogId) {
        if self.purged >= Some(upto) {
            return;
        }
        while self.first <= upto.index {
            let Some(slot) = self.slots.pop_front() else { break };
            self.unplace(slot);
            self.first += 1;
        }
        self.first = upto.index + 1;
        self.purged = Some(upto);
        while self.cache.len() > self.slots.len() {
            self.forget_oldest();
        }
    }
}

impl GroupLog {
    /// The log of a group as it was recovered. `cache_bytes` bounds the entries kept in memory.
    pub(super) fn new(group: u32, journal: Journal, cache_bytes: usize, state: State) -> Self {
        let shared = Shared {
            group,
            journal,
            cache_bytes,
            state: Mutex::new(state),
            durable: Arc::default(),
            flushed_next: AtomicU64::new(0),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state()
    }

    /// From now on entries up to and including this one may be purged.
    pub(super) fn set_flushed(&self, flushed: Option<LogId>) {
        self.shared
            .flushed_next
            .fetch_max(next_index(flushed), Ordering::AcqRel);
    }

    /// Takes entries that are flushed out of memory: they were applied, and whoever still needs them reads the journal.
    pub(super) fn forget_flushed(&self) {
        let flushed_next = self.shared.flushed_next.load(Ordering::Acquire);
        let mut state = self.state();
        while state
            .cache
            .front()
            .is_some_and(|cached| cached.entry.log_id.index < flushed_next)
        {
            state.forget_oldest();
        }
        let room = 2 * state.cache.len() + 64;
        state.cache.shrink_to(room);
    }

    /// The oldest segment of the journal with entries of this log.
    pub(super) fn first_segment(&self) -> Option<u64> {
        self.state().segments.first_key_value().map(|(segment, _)| *segment)
    }

    /// Whether something in this segment may still be read by this log.
    pub(super) fn uses_segment(&self, segment: u64) -> bool {
        self.state().segments.contains_key(&segment)
    }

    /// Gives the committed log id to the journal if it has moved, for whenever it next syncs.
    pub(super) fn note_committed(&self) {
        let mut state = self.state();
        if let Some(record) = self.committed_record(&mut state) {
            self.shared.journal.append_lazily(vec![record]);
        }
    }

    /// Waits until the entry of this index is synced here. An entry that was purged is.
    ///
    /// # Errors
    /// If the journal failed.
    pub(super) async fn durable(&self, index: u64) -> io::Result<()> {
        loop {
            let mut moved = std::pin::pin!(self.shared.durable.moved.notified());
            moved.as_mut().enable();
            if self.shared.durable.failed.load(Ordering::Acquire) {
                return Err(io::Error::other("the journal failed"));
            }
            let ticket = self.state().slot(index).map_or(0, |slot| slot.ticket);
            if ticket <= self.shared.durable.ticket.load(Ordering::Acquire) {
                return Ok(());
            }
            moved.await;
        }
    }

    fn committed_record(&self, state: &mut State) -> Option<Record> {
        let committed = state.committed.filter(|_| state.committed != state.committed_noted)?;
        state.committed_noted = Some(committed);
        Some(self.record(Kind::Committed, committed, Vec::new()))
    }

    fn record(&self, kind: Kind, id: LogId, payload: Vec<bytes::Bytes>) -> Record {
        Record {
            kind,
            group: self.shared.group,
            index: id.index,
            term: id.leader_id.term,
            payload,
        }
    }
}

impl Shared {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RaftLogStorage<Types> for GroupLog {
    type LogReader = LogReader;

    async fn get_log_state(&mut self) -> io::Result<LogState<Types>> {
        let state = self.state();
        Ok(LogState {
            last_purged_log_id: state.purged,
            last_log_id: state.last(),
        })
    }

    async fn get_log_reader(&mut self) -> LogReader {
        LogReader::new(self.clone())
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        let term = vote.leader_id.term;
        let payload = vec![encode_vote(vote)];
        let record = Record {
            kind: Kind::Vote,
            group: self.shared.group,
            index: 0,
            term,
            payload,
        };
        self.shared
            .journal
            .append_durable(vec![record])
            .await
            .map_err(io::Error::other)?;
        self.state().vote = Some(*vote);
        Ok(())
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        // It goes to the journal with the next entries, or when the node next flushes: a restart may find a smaller
        // one, never a wrong one.
        self.state().committed = committed;
        Ok(())
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        let state = self.state();
        Ok(state.committed.min(state.last()))
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + openraft::OptionalSend,
        I::IntoIter: openraft::OptionalSend,
    {
        self.shared.journal.ready().await;
        let mut state = self.state();
        let mut records = Vec::new();
        records.extend(self.committed_record(&mut state));
        let skip = records.len();
        let mut kept = Vec::new();
        for entry in entries {
            let pieces = encode_entry(&entry);
            let body_len = match &entry.payload {
                Payload::Normal(envelope) => envelope.body.len() as u32,
                Payload::Blank | Payload::Membership(_) => 0,
            };
            let len = entry_len(&pieces);
            records.push(self.record(Kind::Entry, entry.log_id, pieces));
            kept.push((body_len, Cached { entry, len }));
        }

        state.ticket += 1;
        let ticket = state.ticket;
        let durable = self.shared.durable.clone();
        // Runs on the journal's thread, or right here if the journal takes nothing more: it must not ask for `state`.
        let done = move |synced: Result<(), storage::journal::JournalError>| {
            match &synced {
                Ok(()) => drop(durable.ticket.fetch_max(ticket, Ordering::AcqRel)),
                Err(_) => durable.failed.store(true, Ordering::Release),
            }
            durable.moved.notify_waiters();
            callback.io_completed(synced.map_err(io::Error::other));
        };
        let placed = self.shared.journal.append(records, done);
        for (placed, (body_len, cached)) in placed.into_iter().skip(skip).zip(kept) {
            if placed == Placed::NOWHERE {
                return Err(io::Error::other("the journal takes nothing more"));
            }
            let entry = &cached.entry;
            if state.slots.is_empty() && state.purged.is_none() {
                state.first = entry.log_id.index;
            }
            if entry.log_id.index != state.end() {
                return Err(io::Error::other(format!(
                    "entry {} would follow {:?}",
                    entry.log_id,
                    state.last()
                )));
            }
            let slot = Slot {
                term: entry.log_id.leader_id.term,
                placed,
                body_len,
                ticket,
            };
            state.push(slot, cached, self.shared.cache_bytes);
        }
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        let from = next_index(last);
        let mut state = self.state();
        state.truncate(from);
        let record = Record {
            kind: Kind::Truncate,
            group: self.shared.group,
            index: from,
            term: 0,
            payload: Vec::new(),
        };
        // Nothing waits for it: what is appended later comes later in the journal too, so it cannot survive without.
        self.shared.journal.append_lazily(vec![record]);
        Ok(())
    }

    async fn purge(&mut self, upto: LogId) -> io::Result<()> {
        let flushed_next = self.shared.flushed_next.load(Ordering::Acquire);
        if upto.index >= flushed_next {
            let message = format!("purging up to {upto} was asked, but the index is durable only below {flushed_next}");
            return Err(io::Error::other(message));
        }
        let mut state = self.state();
        state.purge(upto);
        self.shared
            .journal
            .append_lazily(vec![self.record(Kind::Purge, upto, Vec::new())]);
        Ok(())
    }
}
