//! One group's state: the rows in the index, and the little that is kept beside them in memory.
//!
//! All changes go through one short lock per group, held while the batch is written, so that a reader sees rows, bytes
//! and applied index of one moment. The index is lazily durable: after a crash it may be older than what was applied,
//! never torn, and the log is re-applied from where it stands. [`Machine::flush_point`] and [`Machine::set_flushed`]
//! tell how far it is durable; nothing the log holds above that is ever purged.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use storage::index::{Batch, Index};
use storage::journal::Journal;
use tokio::sync::Notify;

use super::Observer;
use super::codec::BadBytes;
use super::hold::Sending;
use super::log::GroupLog;
use super::moving::{Books, Of};
use super::rows::RowCache;
use super::tail_cache::TailCache;
use super::types::{LogId, StoredMembership, log_id};
use crate::cold::Store;
use crate::keys::{Applied, Chunk, Key, KeyRange, ObjectId, Place, number};
use crate::stream::{BadFormat, BlobRow, Offset, StreamName, StreamRow};

/// Version byte of what `raft` spells inside the applied row, and of the membership row.
const VERSION: u8 = 1;

/// Rows that are scanned or deleted in one piece of work.
pub(super) const PAGE: usize = 1024;

/// A group's state. Shared by the applier, the readers, the flusher and the snapshots.
pub(super) struct Machine {
    pub(super) group: u32,
    pub(super) index: Arc<dyn Index>,
    pub(super) journal: Journal,
    /// Where old bytes are, if they move.
    pub(super) cold: Option<Arc<Store>>,
    pub(super) log: GroupLog,
    pub(super) tail: Arc<TailCache>,
    pub(super) observer: Arc<dyn Observer>,
    /// Told after every batch: whoever waits for an index looks again.
    pub(super) moved: Notify,
    /// Told when much waits to be flushed or swept.
    pub(super) work: Arc<Notify>,
    /// Bytes of streams in the journal.
    hot_bytes: Arc<AtomicU64>,
    /// More of them than that may not come.
    hot_max: u64,
    /// How many entries are much.
    pub(super) flush_entries: u64,
    state: Mutex<State>,
    /// Snapshots on their way to others.
    pub(super) sending: Sending,
}

/// How much is how much.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Entries applied after which the index is flushed.
    pub(super) flush_entries: u64,
    /// Bytes of the journal beyond which the log is held for nobody.
    pub(super) hold_bytes: u64,
    /// Rows of streams in memory.
    pub(super) rows: usize,
    /// Bytes of streams in the journal beyond which nothing is stored, where they are to move.
    pub(super) hot_max: u64,
}

/// Bytes have moved to a cold store, and the node has none.
#[derive(Debug, thiserror::Error)]
#[error(
    "old bytes of group {group} are in the cold store (object {}-{}), and this node has none: set `cold.backend` to what it \
     was when they moved there",
    object.term, object.sequence
)]
struct NoColdStore {
    group: u32,
    object: ObjectId,
}

/// What the lock guards.
pub(super) struct State {
    /// The generation of rows that is the group's state.
    pub(super) generation: u64,
    /// The highest generation ever begun here since the start.
    pub(super) generation_begun: u64,
    pub(super) position: Position,
    /// The position that survives any crash.
    pub(super) flushed: Position,
    pub(super) rows: RowCache,
    /// Bytes of each journal segment that this group's chunks refer to.
    pub(super) live: BTreeMap<u64, u64>,
    /// All of them, for who does not want to wait for the lock.
    hot_bytes: Arc<AtomicU64>,
    /// The blobs that are being uploaded; as many as the law lets be.
    pub(super) uploads: BTreeMap<u64, BlobRow>,
    /// Segments that snapshots under way need, and how many of them.
    pub(super) pins: BTreeMap<u64, usize>,
    /// Whether rows wait to be swept.
    pub(super) trash: bool,
    /// Incarnations that are being read to a client that was promised all of it, and how many times: not swept yet.
    pub(super) held: BTreeMap<u64, usize>,
    /// Whether pledges, or references that nobody has confirmed, may be there.
    pub(super) forks: bool,
    /// What is in the journal, and what in the cold store.
    pub(super) books: Books,
}

/// How far the log was applied, and what came out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Position {
    pub(super) applied: Option<LogId>,
    /// A chain over everything applied: the same on all nodes that applied as much.
    pub(super) digest: u64,
    /// The group's time, Unix milliseconds.
    pub(super) last_now_ms: u64,
    pub(super) membership: StoredMembership,
}

/// What `raft` spells inside the applied row.
#[derive(Serialize, Deserialize)]
struct Spelled {
    term: u64,
    index: u64,
    digest: u64,
}

impl Machine {
    /// Reads the group's state from the index, after throwing away what a crash left of an unfinished snapshot.
    ///
    /// # Errors
    /// If the index fails, or holds what makes no sense.
    pub(super) fn open(
        log: GroupLog,
        index: Arc<dyn Index>,
        tail: Arc<TailCache>,
        observer: Arc<dyn Observer>,
        work: Arc<Notify>,
        cold: Option<Arc<Store>>,
        bounds: Bounds,
    ) -> io::Result<Self> {
        let group = log.shared.group;
        let journal = log.shared.journal.clone();
        let generation = match index.get(&Key::Generation { group }.encode())? {
            Some(bytes) => number::decode(&bytes).map_err(damaged)?,
            None => 0,
        };
        drop_other_generations(&*index, group, generation)?;
        let position = Position::load(&*index, group)?;
        let mut live = BTreeMap::new();
        each_row(&*index, &KeyRange::segments(group, generation), |key, value| {
            if let Key::SegmentLive { segment, .. } = Key::decode(key).map_err(damaged)? {
                live.insert(segment, number::decode(value).map_err(damaged)?);
            }
            Ok(())
        })?;
        let uploads = uploads(&*index, group, generation)?;
        let books = Books::load(&*index, Of { group, generation }, cold.is_some())?;
        if cold.is_none()
            && let Some(object) = books.objects().keys().next()
        {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                NoColdStore { group, object: *object },
            ));
        }
        log.set_flushed(position.applied);
        let hot_bytes = Arc::new(AtomicU64::new(live.values().sum()));
        let hot_max = if cold.is_some() { bounds.hot_max } else { u64::MAX };
        let state = State {
            hot_bytes: hot_bytes.clone(),
            generation,
            generation_begun: generation,
            flushed: position.clone(),
            position,
            rows: RowCache::new(bounds.rows),
            live,
            uploads,
            pins: BTreeMap::new(),
            trash: true,
            held: BTreeMap::new(),
            forks: true,
            books,
        };
        Ok(Self {
            group,
            index,
            journal,
            cold,
            log,
            tail,
            observer,
            moved: Notify::new(),
            work,
            hot_bytes,
            hot_max,
            flush_entries: bounds.flush_entries,
            state: Mutex::new(state),
            sending: Sending::new(bounds.hold_bytes),
        })
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the journal holds as many bytes of streams as it may.
    pub(super) fn is_full(&self) -> bool {
        self.hot_bytes.load(Ordering::Relaxed) > self.hot_max
    }

    /// Waits until the entry of this index has been applied here.
    pub(super) async fn applied(&self, index: u64) {
        loop {
            let mut moved = std::pin::pin!(self.moved.notified());
            moved.as_mut().enable();
            if self
                .state()
                .position
                .applied
                .is_some_and(|applied| applied.index >= index)
            {
                return;
            }
            moved.await;
        }
    }

    /// The row of a stream, if it exists.
    pub(super) fn row(&self, state: &mut State, name: &StreamName) -> io::Result<Option<Arc<StreamRow>>> {
        if let Some(row) = state.rows.get(name) {
            return Ok(Some(row));
        }
        let Some(bytes) = self
            .index
            .get(&Key::stream(self.group, state.generation, name).encode())?
        else {
            return Ok(None);
        };
        let row = Arc::new(StreamRow::decode(&bytes).map_err(damaged)?);
        state.rows.put(name, row.clone());
        Ok(Some(row))
    }

    /// What a flush of the index that begins now will make durable.
    pub(super) fn flush_point(&self) -> Position {
        self.state().position.clone()
    }

    /// A flush that began after [`Machine::flush_point`] is done.
    pub(super) fn set_flushed(&self, position: Position) {
        let mut state = self.state();
        if position.applied > state.flushed.applied {
            self.log.set_flushed(position.applied);
            state.flushed = position;
        }
    }

    /// Whether anything of this group still needs the segment.
    pub(super) fn needs_segment(&self, segment: u64) -> bool {
        // The log first: what leaves it has been applied, so its bytes are among the live ones by then.
        if self.log.uses_segment(segment) {
            return true;
        }
        let state = self.state();
        state.live.get(&segment).is_some_and(|bytes| *bytes > 0) || state.pins.contains_key(&segment)
    }

    /// Removes up to a page of the chunks of deleted and trimmed streams. `true` if there may be more.
    ///
    /// # Errors
    /// If the index fails.
    pub(super) fn sweep(&self) -> io::Result<bool> {
        let mut guard = self.state();
        let state = &mut *guard;
        if !state.trash {
            return Ok(false);
        }
        let (group, generation) = (self.group, state.generation);
        let heap = KeyRange::trash(group, generation);
        let mut next = None;
        for (trash, below) in self.index.scan(&heap.from, &heap.to, state.held.len() + 1)? {
            let Key::Trash { incarnation, .. } = Key::decode(&trash).map_err(damaged)? else {
                return Err(io::Error::other("a row of another kind lies among the trash"));
            };
            if !state.held.contains_key(&incarnation) {
                next = Some((trash, below, incarnation));
                break;
            }
        }
        let Some((trash, below, incarnation)) = next else {
            state.trash = false;
            return Ok(false);
        };
        let chunks = if below.is_empty() {
            KeyRange::chunks(group, generation, incarnation)
        } else {
            let below = Offset(number::decode(&below).map_err(damaged)?);
            KeyRange::chunks_below(group, generation, incarnation, below)
        };
        let page = self.index.scan(&chunks.from, &chunks.to, PAGE)?;
        let mut batch = Batch::default();
        let mut touched = Vec::new();
        let mut objects = Vec::new();
        for (_, value) in &page {
            let chunk = Chunk::decode(value).map_err(damaged)?;
            match chunk.place {
                Place::Journal(position) => {
                    let live = state.live.entry(position.segment).or_default();
                    *live = live.saturating_sub(chunk.len.into());
                    touched.push(position.segment);
                }
                Place::Cold(place) => {
                    state.books.release(place.object, chunk.len.into());
                    objects.push(place.object);
                }
            }
        }
        state.books.put_objects(&mut batch, Of { group, generation }, objects);
        touched.sort_unstable();
        touched.dedup();
        state.put_live(&mut batch, group, touched);
        match page.last() {
            Some((last, _)) if page.len() == PAGE => {
                let mut after = last.to_vec();
                after.push(0);
                batch.delete_range(chunks.from, after);
            }
            _ => {
                batch.delete_range(chunks.from, chunks.to);
                batch.delete(trash);
            }
        }
        self.index.write(batch)?;
        Ok(true)
    }
}

impl State {
    /// Puts the rows of these segments, as they are now.
    pub(super) fn put_live(&mut self, batch: &mut Batch, group: u32, segments: impl IntoIterator<Item = u64>) {
        let generation = self.generation;
        for segment in segments {
            let key = Key::SegmentLive {
                group,
                generation,
                segment,
            }
            .encode();
            match self.live.get(&segment) {
                Some(0) | None => {
                    self.live.remove(&segment);
                    batch.delete(key);
                }
                Some(bytes) => batch.put(key, number::encode(*bytes)),
            }
        }
        self.hot_bytes.store(self.live.values().sum(), Ordering::Relaxed);
    }

    /// Bytes of streams in the journal.
    pub(super) fn hot_bytes(&self) -> u64 {
        self.hot_bytes.load(Ordering::Relaxed)
    }
}

impl Position {
    fn load(index: &dyn Index, group: u32) -> io::Result<Self> {
        let Some(bytes) = index.get(&Key::Applied { group }.encode())? else {
            return Ok(Self::default());
        };
        let Applied {
            log_id: spelled,
            last_now_ms,
        } = Applied::decode(&bytes).map_err(damaged)?;
        let Spelled {
            term,
            index: applied,
            digest,
        } = unversioned("applied row", &spelled)?;
        let membership = match index.get(&Key::Membership { group }.encode())? {
            Some(bytes) => unversioned("membership row", &bytes)?,
            None => StoredMembership::default(),
        };
        Ok(Self {
            applied: Some(log_id(term, applied)),
            digest,
            last_now_ms,
            membership,
        })
    }

    /// Puts the applied row; and the membership row, if it has changed.
    pub(super) fn put(&self, batch: &mut Batch, group: u32, with_membership: bool) {
        if let Some(applied) = self.applied {
            let spelled = Spelled {
                term: applied.leader_id.term,
                index: applied.index,
                digest: self.digest,
            };
            let row = Applied {
                log_id: versioned(&spelled),
                last_now_ms: self.last_now_ms,
            };
            batch.put(Key::Applied { group }.encode(), row.encode());
        }
        if with_membership {
            batch.put(Key::Membership { group }.encode(), versioned(&self.membership));
        }
    }
}

/// Removes all rows of the group but those of one generation.
pub(super) fn drop_other_generations(index: &dyn Index, group: u32, generation: u64) -> io::Result<()> {
    let (all, kept) = (KeyRange::group(group), KeyRange::generation(group, generation));
    let mut batch = Batch::default();
    for (from, to) in [(all.from, kept.from), (kept.to, all.to)] {
        if !index.scan(&from, &to, 1)?.is_empty() {
            batch.delete_range(from, to);
        }
    }
    if !batch.is_empty() {
        tracing::info!(group, "rows of a snapshot that was never finished are dropped");
        index.write(batch)?;
    }
    Ok(())
}

/// The blobs of a generation that are being uploaded.
pub(super) fn uploads(index: &dyn Index, group: u32, generation: u64) -> io::Result<BTreeMap<u64, BlobRow>> {
    let mut uploads = BTreeMap::new();
    each_row(index, &KeyRange::blobs(group, generation), |key, value| {
        if let Key::Blob { blob, .. } = Key::decode(key).map_err(damaged)? {
            uploads.insert(blob, BlobRow::decode(value).map_err(damaged)?);
        }
        Ok(())
    })?;
    Ok(uploads)
}

/// Shows every row of a range, a page at a time.
pub(super) fn each_row(
    index: &dyn Index,
    range: &KeyRange,
    mut show: impl FnMut(&[u8], &[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let mut from = range.from.to_vec();
    loop {
        let page = index.scan(&from, &range.to, PAGE)?;
        for (key, value) in &page {
            show(key, value)?;
        }
        match page.last() {
            Some((last, _)) if page.len() == PAGE => {
                from = last.to_vec();
                from.push(0);
            }
            _ => return Ok(()),
        }
    }
}

pub(super) fn damaged(bad: BadFormat) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, bad)
}

fn versioned<T: Serialize>(value: &T) -> Vec<u8> {
    postcard::to_extend(value, vec![VERSION]).expect("plain data in memory always serialises")
}

fn unversioned<'a, T: Deserialize<'a>>(what: &'static str, bytes: &'a [u8]) -> io::Result<T> {
    let value = match bytes.split_first() {
        Some((&VERSION, rest)) => postcard::from_bytes(rest).map_err(|error| BadBytes::new(what, error)),
        Some((version, _)) => Err(BadBytes::new(what, format!("version {version} is unknown"))),
        None => Err(BadBytes::new(what, "empty")),
    };
    Ok(value?)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::super::types::{Member, Membership};
    use super::*;

    /// Golden: these bytes are on disks.
    #[test]
    fn rows_are_written_as_they_were_by_the_first_release() {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let spelled = versioned(&Spelled {
            term: 2,
            index: 300,
            digest: 77,
        });
        assert_eq!(hex(&spelled), "0102ac024d");
        let member = Member { addr: "a:1".into() };
        let membership = Membership::new(vec![BTreeSet::from([1])], BTreeMap::from([(1, member)])).unwrap();
        let stored = StoredMembership::new(Some(log_id(2, 300)), membership);
        assert_eq!(
            hex(&versioned(&stored)),
            "010102ac0201010101".to_owned() + "01" + "03613a31"
        );
        let back: StoredMembership = unversioned("membership row", &versioned(&stored)).unwrap();
        assert_eq!(back, stored);
    }
}
