//! The journey of a read: as of when, which bytes, and then piece by piece.
//!
//! First the barrier: unless asked for this node's own state, the leader confirms with a majority how far the group had
//! committed, and the read waits until this node has applied as much. The leader says what time it is, too: a stream that
//! is over by then is not simply taken for gone, the log is asked to let it go, so that no later leader with another
//! clock sees it again. Then the law plans which bytes answer, and a
//! [`Reading`] fetches them when they are wanted: from the tail cache, else from the journal, checked either way. If the
//! stream is a fork, some of them are another stream's (`lineage`).

mod lineage;

mod onward;

use std::{collections::VecDeque, sync::Arc, time::Duration};

use bytes::{Buf, Bytes, BytesMut};
use net::rt::{self, Instant};

use crate::{
    Core,
    cold::ColdReadError,
    peer::NotDone,
    raft::{self, GroupView, Hold, Lead},
    stream::{Lifetime, Offset, ReadPlan, ReadRefusal, StreamName, StreamRow, Whence, group_of, plan},
};
pub(crate) use lineage::Lineage;

/// Kind of a peer call that asks the leader as of which log index a read may be answered: no payload, answered with the
/// index and the leader's time in Unix milliseconds, both as u64, big-endian.
pub(crate) const READ_INDEX: u8 = 0x40;

/// The pauses between attempts that found no leader.
const PAUSE_MIN: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_millis(200);

/// As of when a read may be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AsOf {
    /// The log index that must have been applied.
    pub(crate) index: u64,
    /// The leader's time, in Unix milliseconds: no earlier than what it has stamped on commands.
    pub(crate) now_ms: u64,
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// Of which stream.
    pub stream: StreamName,
    /// From where on.
    pub whence: Whence,
    /// Whether this node's own state will do, which is a true prefix but may be old.
    pub local: bool,
    /// Until when the answer may take to begin.
    pub deadline: Instant,
}

/// Why there is nothing to read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// There is no such stream.
    #[error("there is no such stream")]
    NotFound,
    /// The stream was deleted, and is kept for its forks only.
    #[error("the stream is deleted, and kept for its forks only")]
    Gone,
    /// The law refuses the place.
    #[error("nothing can be read there: {0:?}")]
    Refused(ReadRefusal),
    /// Nobody could confirm what is newest before the deadline.
    #[error("nobody could confirm what is newest: {because}")]
    Unavailable {
        /// What the last attempt met.
        because: String,
    },
    /// This node's copy cannot be read.
    #[error(transparent)]
    Broken(#[from] Broken),
}

/// Bytes that were promised and cannot be had: the stream is gone, trimmed, damaged here, or the cold store is out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{because}")]
pub struct Broken {
    /// What stands in the way, in words.
    pub because: String,
    /// Whether that may pass by itself: the cold store does not answer.
    pub may_pass: bool,
}

impl Broken {
    /// For good, as far as this node knows.
    pub(crate) fn of(because: impl ToString) -> Self {
        Self {
            because: because.to_string(),
            may_pass: false,
        }
    }
}

impl From<raft::ReadError> for Broken {
    fn from(error: raft::ReadError) -> Self {
        Self {
            may_pass: matches!(error, raft::ReadError::Cold(ColdReadError::Unreachable { .. })),
            because: error.to_string(),
        }
    }
}

/// The bytes of a plan, to be fetched in order.
pub struct Reading {
    lineage: Lineage,
    row: Arc<StreamRow>,
    plan: ReadPlan,
    /// The next byte to hand out.
    at: Offset,
    /// Bytes fetched and not yet handed out: the ones from `at` on.
    fetched: VecDeque<Bytes>,
    /// About how many bytes are fetched at once, and at most held.
    piece: u64,
    /// Keeps the bytes where they are.
    _hold: Option<Hold>,
}

/// Pieces shorter than this are put together, up to [`TOGETHER_BYTES`]: a write to a socket costs more than a copy.
const SHORT_BYTES: usize = 16 * 1024;

/// Short pieces are put together up to this length.
const TOGETHER_BYTES: usize = 64 * 1024;

impl Core {
    /// Plans a read of a stream, as of now; that is a use of the stream, which may prolong its life.
    ///
    /// # Errors
    /// When there is nothing to read; see [`ReadError`].
    pub(crate) async fn read(self: &Arc<Self>, query: Query) -> Result<Reading, ReadError> {
        let (view, row) = self.used(&query.stream, query.local, query.deadline).await?;
        self.planned(&query, view, row).await
    }

    /// Plans a read of this row.
    ///
    /// # Errors
    /// When there is nothing to read; see [`ReadError`].
    pub(crate) async fn planned(
        &self,
        query: &Query,
        view: GroupView,
        row: Arc<StreamRow>,
    ) -> Result<Reading, ReadError> {
        let plan = plan(&row, query.whence, self.config.http.max_read).map_err(ReadError::Refused)?;
        let piece = self.config.cache.read_piece;
        // One byte more: who wants whole messages looks at what stands before the first.
        let from = Offset(plan.start.0.saturating_sub(1));
        let lineage = self.lineage(&view, &query.stream, &row, from, query.deadline).await?;
        Ok(Reading::of(lineage, row, plan, piece))
    }

    /// The row of a stream that is used, as of now, and the state of its group.
    ///
    /// # Errors
    /// When there is none; see [`ReadError`].
    pub(crate) async fn used(
        self: &Arc<Self>,
        stream: &StreamName,
        local: bool,
        deadline: Instant,
    ) -> Result<(GroupView, Arc<StreamRow>), ReadError> {
        let (view, row, now_ms) = self.row(stream, local, deadline).await?;
        if !local {
            self.renewed(stream, &row, now_ms, deadline).await?;
        } else if row.lifetime.window_ms().is_some() {
            self.renew_later(stream, &row);
        }
        Ok((view, row))
    }

    /// The row of a stream, as of now.
    ///
    /// # Errors
    /// When there is none; see [`ReadError`].
    pub(crate) async fn look(
        &self,
        stream: &StreamName,
        local: bool,
        deadline: Instant,
    ) -> Result<Arc<StreamRow>, ReadError> {
        let (_, row, _) = self.row(stream, local, deadline).await?;
        Ok(row)
    }

    /// The row of a stream, and as of which time of the leader's; for a local read, of this node's.
    pub(crate) async fn row(
        &self,
        stream: &StreamName,
        local: bool,
        deadline: Instant,
    ) -> Result<(GroupView, Arc<StreamRow>, u64), ReadError> {
        let group = group_of(stream, self.groups.count());
        let view = self.groups.view(group);
        loop {
            let leaders_ms = if local { 0 } else { self.barrier(group, deadline).await? };
            // The time first: a use that comes between makes the row newer, never the time. And never before this node's
            // own, by which a local read may have found the stream gone already.
            let now_ms = leaders_ms.max(view.now_ms());
            let Some(row) = view.row(stream).map_err(Broken::of)? else {
                return Err(ReadError::NotFound);
            };
            if row.gone {
                return Err(ReadError::Gone);
            }
            if !row.is_over(now_ms) {
                return Ok((view, row, now_ms));
            }
            // Locally by the log's own time: whatever comes next finds it gone.
            if local || !self.tend(stream, deadline).await? {
                return Err(if row.refs > 0 {
                    ReadError::Gone
                } else {
                    ReadError::NotFound
                });
            }
        }
    }

    /// Waits until this node has applied whatever was committed before this call; the leader's time.
    pub(crate) async fn barrier(&self, group: u32, deadline: Instant) -> Result<u64, ReadError> {
        let mut pause = PAUSE_MIN;
        loop {
            let because = match self.read_index(group, deadline).await {
                Ok(AsOf { index, now_ms }) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    return match rt::timeout(left, self.groups.wait_applied(group, index)).await {
                        Ok(Ok(())) => Ok(now_ms),
                        Ok(Err(because)) => Err(ReadError::Unavailable { because }),
                        Err(rt::Elapsed) => Err(ReadError::Unavailable {
                            because: "this node has not caught up in time".into(),
                        }),
                    };
                }
                Err(because) => because,
            };
            if Instant::now() + pause >= deadline {
                return Err(ReadError::Unavailable { because });
            }
            rt::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// As of when the leader, sure to be the leader, lets a read be answered.
    pub(crate) async fn read_index(&self, group: u32, deadline: Instant) -> Result<AsOf, String> {
        match self.groups.leader(group) {
            Lead::Here => self.own_read_index(group, deadline).await,
            Lead::At { node } => {
                let left = deadline.saturating_duration_since(Instant::now());
                let patience = left.min(self.config.raft.rpc_deadline);
                match self.peers.call(node, READ_INDEX, group, Vec::new(), patience).await {
                    Ok(mut answer) => match (answer.try_get_u64(), answer.try_get_u64()) {
                        (Ok(index), Ok(now_ms)) => Ok(AsOf { index, now_ms }),
                        _ => Err(format!("the answer of node {node} makes no sense")),
                    },
                    Err(error) => Err(format!("node {node}: {error}")),
                }
            }
            Lead::Nobody => Err("no leader is known".into()),
        }
    }

    /// The other end of [`READ_INDEX`].
    pub(crate) async fn asked_read_index(&self, group: u32) -> Result<Vec<Bytes>, NotDone> {
        let deadline = Instant::now() + self.config.raft.rpc_deadline;
        let AsOf { index, now_ms } = self.own_read_index(group, deadline).await.map_err(NotDone)?;
        Ok(vec![Bytes::from([index.to_be_bytes(), now_ms.to_be_bytes()].concat())])
    }

    async fn own_read_index(&self, group: u32, deadline: Instant) -> Result<AsOf, String> {
        let index = self.groups.read_index(group, deadline).await?;
        let now_ms = self.groups.now_ms(group);
        Ok(AsOf { index, now_ms })
    }
}

impl Reading {
    /// The bytes of a plan, fetched about `piece` bytes at once.
    pub(crate) fn of(lineage: Lineage, row: Arc<StreamRow>, plan: ReadPlan, piece: u64) -> Self {
        Self {
            lineage,
            row,
            at: plan.start,
            fetched: VecDeque::new(),
            plan,
            piece,
            _hold: None,
        }
    }

    /// The same, with what keeps the bytes where they are until they are read.
    pub(crate) fn holding(self, hold: Option<Hold>) -> Self {
        Self { _hold: hold, ..self }
    }

    /// Where appends end, the next ones from `from` on; and up to where that is all of them, which is past `from`.
    ///
    /// # Errors
    /// When nobody knows any more.
    pub(crate) async fn ends(&self, from: Offset) -> Result<(Vec<Offset>, Offset), Broken> {
        self.lineage.ends(from, self.plan.end)
    }

    /// What the bytes mean.
    #[must_use]
    pub fn plan(&self) -> &ReadPlan {
        &self.plan
    }

    /// How long the stream lives.
    #[must_use]
    pub fn lifetime(&self) -> Lifetime {
        self.row.lifetime
    }

    /// The stream's media type.
    #[must_use]
    pub fn content_type(&self) -> &str {
        &self.row.content_type
    }

    /// How many bytes are still to be fetched.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.plan.end.0 - self.at.0
    }

    /// Fetches the first bytes now, if they are not in memory: so that whoever cannot have them is told before an answer
    /// begins, which could only break off.
    ///
    /// # Errors
    /// When they cannot be had.
    pub(crate) async fn begin(&mut self) -> Result<(), Broken> {
        let next = Offset(self.at.0 + 1);
        if self.left() > 0 && self.fetched.is_empty() && self.lineage.recent(self.at, next).is_none() {
            self.fetched = detached(self.fetch(self.at, self.plan.end).await?);
        }
        Ok(())
    }

    /// The next bytes; at least one. Not to be called when nothing is left.
    ///
    /// # Errors
    /// When they cannot be had.
    pub async fn next(&mut self) -> Result<Bytes, Broken> {
        if self.fetched.is_empty() {
            self.fetched = detached(self.fetch(self.at, self.plan.end).await?);
        }
        let bytes = self.fetched.pop_front().unwrap_or_default();
        self.at = Offset(self.at.0 + bytes.len() as u64);
        Ok(bytes)
    }

    /// Sets the ends of the answer between messages that each end with the byte `end`: moves the last one on to the end
    /// of its message, and tells whether the first one stands between two. Nothing may have been fetched yet.
    ///
    /// # Errors
    /// When the bytes around the ends cannot be had.
    pub(crate) async fn align(&mut self, end: u8) -> Result<bool, Broken> {
        let ReadPlan { start, tail, .. } = self.plan;
        if start > self.row.earliest && start < tail {
            let before = self.fetch(Offset(start.0 - 1), start).await?;
            if before.first().and_then(|piece| piece.first()) != Some(&end) {
                return Ok(false);
            }
        }
        self.align_end(end).await?;
        Ok(true)
    }

    /// Moves the end of the answer on to the end of its last message. Nothing may have been fetched yet.
    ///
    /// # Errors
    /// When the bytes around the end cannot be had.
    pub(crate) async fn align_end(&mut self, end: u8) -> Result<(), Broken> {
        let ReadPlan {
            start, end: stop, tail, ..
        } = self.plan;
        if stop == start || stop == tail {
            return Ok(());
        }
        let mut at = Offset(stop.0 - 1);
        'message: while at < tail {
            for piece in self.fetch(at, tail).await? {
                if let Some(found) = piece.iter().position(|byte| *byte == end) {
                    at = Offset(at.0 + found as u64 + 1);
                    break 'message;
                }
                at = Offset(at.0 + piece.len() as u64);
            }
        }
        self.plan.end = at;
        self.plan.at_tail = at == tail;
        self.plan.closed = self.plan.at_tail && self.row.closed.is_some();
        Ok(())
    }

    /// Where the append ends that the byte at `at` is of, as far as the stream has it; nothing at the tail.
    ///
    /// # Errors
    /// When this node's copy cannot be read.
    pub(crate) fn append_end(&self, at: Offset) -> Result<Option<Offset>, Broken> {
        self.lineage.append_end(at)
    }

    /// About one piece of the bytes from `at` on, at most up to `to`: at least one byte.
    pub(crate) async fn fetch(&self, at: Offset, to: Offset) -> Result<Vec<Bytes>, Broken> {
        let to = Offset(at.0.saturating_add(self.piece)).min(to);
        self.lineage.read(at, to).await
    }
}

/// The same bytes, in pieces that keep about as much memory as they have bytes. Who is handed them may be slow to let go of
/// them, and what comes out of the tail cache is a part of a whole append, or of all that came with it: a slow reader
/// would keep that long after the cache has let it go.
fn detached(pieces: Vec<Bytes>) -> VecDeque<Bytes> {
    let mut detached = VecDeque::new();
    let mut together = BytesMut::new();
    for piece in pieces {
        let short = piece.len() < SHORT_BYTES;
        let fits = short && together.len() + piece.len() <= TOGETHER_BYTES;
        if !fits && !together.is_empty() {
            detached.push_back(std::mem::take(&mut together).freeze());
        }
        match short {
            true => together.extend_from_slice(&piece),
            // Nobody else has it: it was read from the journal just now.
            false if piece.is_unique() => detached.push_back(piece),
            false => detached.push_back(Bytes::copy_from_slice(&piece)),
        }
    }
    if !together.is_empty() {
        detached.push_back(together.freeze());
    }
    detached
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_handed_out_keeps_no_more_memory_than_it_has_bytes() {
        let whole = Bytes::from((0..1_000_000_u32).map(|at| at as u8).collect::<Vec<_>>());
        let parts = |parts: &[(usize, usize)]| -> Vec<Bytes> {
            parts.iter().map(|(from, to)| whole.slice(*from..*to)).collect()
        };
        for (pieces, lens) in [
            (parts(&[(0, 10)]), vec![10]),
            (parts(&[(0, SHORT_BYTES)]), vec![SHORT_BYTES]),
            (parts(&[(0, 10), (10, 30), (30, 300_030)]), vec![30, 300_000]),
            (
                parts(&[(0, 300_000), (300_000, 300_001), (300_001, 300_003)]),
                vec![300_000, 3],
            ),
            (parts(&[(0, 0), (0, 7)]), vec![7]),
            (
                (0..10).map(|n| whole.slice(n * 10_000..(n + 1) * 10_000)).collect(),
                vec![60_000, 40_000],
            ),
        ] {
            let bytes = pieces.concat();
            let detached = detached(pieces);
            assert_eq!(detached.iter().map(Bytes::len).collect::<Vec<_>>(), lens);
            assert_eq!(detached.iter().flatten().copied().collect::<Vec<_>>(), bytes);
            let memory = whole.as_ptr_range();
            assert!(detached.iter().all(|piece| !memory.contains(&piece.as_ptr())));
        }
        assert!(detached(Vec::new()).is_empty());
    }

    #[test]
    fn what_nobody_else_has_is_not_copied() {
        let own = Bytes::from(vec![7; 100_000]).slice(1..);
        let at = own.as_ptr();
        assert_eq!(detached(vec![own]).pop_front().expect("a piece").as_ptr(), at);
    }
}
