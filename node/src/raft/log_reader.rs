//! Reading a group's log: from memory where it is recent, else from the journal, verified.

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};

use futures_util::stream::{self, StreamExt};
use net::rt;
use openraft::OptionalSend;
use openraft::storage::RaftLogReader;
use storage::journal::{Journal, JournalError, Placed};

use super::codec::decode_entry;
use super::log::GroupLog;
use super::types::{Entry, LogId, Types, Vote, log_id};

/// Bytes of entries in one AppendEntries, and read at once for applying; a larger single entry goes alone.
pub(super) const BATCH_BYTES: usize = 1 << 20;

/// Entries read at once for applying.
pub(super) const BATCH_ENTRIES: u64 = 512;

/// Reads one group's log.
#[derive(Clone)]
pub(super) struct LogReader {
    log: GroupLog,
}

/// An entry in memory, or where to find it.
enum Found {
    Here(Entry),
    At(LogId, Placed),
}

impl LogReader {
    pub(super) fn new(log: GroupLog) -> Self {
        Self { log }
    }

    /// The entries of `from..to` that are there, as many as fit into `max_bytes`, but at least one.
    pub(super) async fn read(&self, from: u64, to: u64, max_bytes: usize) -> io::Result<Vec<Entry>> {
        let found = self.find(from, to, max_bytes);
        if found.iter().all(|found| matches!(found, Found::Here(_))) {
            let here = |found| match found {
                Found::Here(entry) => Some(entry),
                Found::At(..) => None,
            };
            return Ok(found.into_iter().filter_map(here).collect());
        }
        let journal = self.log.shared.journal.clone();
        let fetched = rt::offload(fetch(journal, found)).await.map_err(io::Error::other)?;
        fetched.map_err(io::Error::other)
    }

    fn find(&self, from: u64, to: u64, max_bytes: usize) -> Vec<Found> {
        let state = self.log.state();
        let from = from.max(state.first);
        let mut bytes = 0;
        let mut all = Vec::new();
        for index in from..to {
            let Some(slot) = state.slot(index) else { break };
            bytes += slot.placed.payload_len as usize;
            if bytes > max_bytes && !all.is_empty() {
                break;
            }
            all.push(match state.cached(index) {
                Some(entry) => Found::Here(entry.clone()),
                None => Found::At(log_id(slot.term, index), slot.placed),
            });
        }
        all
    }
}

async fn fetch(journal: Journal, found: Vec<Found>) -> Result<Vec<Entry>, io::Error> {
    let mut entries = Vec::with_capacity(found.len());
    for found in found {
        entries.push(match found {
            Found::Here(entry) => entry,
            Found::At(id, placed) => fetch_one(&journal, id, placed).await?,
        });
    }
    Ok(entries)
}

async fn fetch_one(journal: &Journal, id: LogId, placed: Placed) -> Result<Entry, io::Error> {
    let payload = match journal.read_record(placed).await {
        // A bit may flip on the way as well as on the disk: once more, then it is damage.
        Err(JournalError::Damaged { .. }) => journal.read_record(placed).await,
        read => read,
    };
    let entry = decode_entry(&payload.map_err(io::Error::other)?)?;
    if entry.log_id != id {
        return Err(io::Error::other(format!(
            "the journal has {} at {placed:?} where {id} should be",
            entry.log_id
        )));
    }
    Ok(entry)
}

fn bounds(range: &impl RangeBounds<u64>) -> (u64, u64) {
    let from = match range.start_bound() {
        Bound::Included(from) => *from,
        Bound::Excluded(before) => before.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let to = match range.end_bound() {
        Bound::Included(last) => last.saturating_add(1),
        Bound::Excluded(to) => *to,
        Bound::Unbounded => u64::MAX,
    };
    (from, to)
}

impl RaftLogReader<Types> for LogReader {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> io::Result<Vec<Entry>> {
        let (from, to) = bounds(&range);
        self.read(from, to, usize::MAX).await
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        Ok(self.log.state().vote)
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        // Called for a follower. What was purged meanwhile, because this node does not lead any more or a snapshot came,
        // is no error; but entries that do not begin at `start` would be sent as if they did. None is waited out.
        let entries = self.read(start, end, BATCH_BYTES).await;
        let purged = self.log.state().first > start;
        match entries {
            Ok(entries) if entries.first().is_some_and(|first| first.log_id.index == start) => Ok(entries),
            Ok(_) => Ok(Vec::new()),
            Err(_) if purged => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    async fn entries_stream<RB>(
        &mut self,
        range: RB,
    ) -> impl futures_util::Stream<Item = io::Result<Entry>> + OptionalSend
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let (from, to) = bounds(&range);
        let reader = self.clone();
        stream::unfold(Some(from), move |next| {
            let reader = reader.clone();
            async move {
                let from = next.filter(|from| *from < to)?;
                let upto = to.min(from.saturating_add(BATCH_ENTRIES));
                let (items, next) = match reader.read(from, upto, BATCH_BYTES).await {
                    // What lies outside the log is not there, and no error; the machine takes no entry out of turn.
                    Ok(entries) => {
                        let next = entries.last().map(|last| last.log_id.index + 1);
                        (entries.into_iter().map(Ok).collect(), next)
                    }
                    Err(error) => (vec![Err(error)], None),
                };
                Some((stream::iter::<Vec<io::Result<Entry>>>(items), next))
            }
        })
        .flatten()
    }
}
