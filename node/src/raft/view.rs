//! Reading a group's state: rows from memory or the index, bytes from memory or the journal, verified.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use net::rt;
use storage::journal::{Journal, JournalError, Position};

use super::codec::next_index;
use super::machine::{Machine, damaged};
use crate::cold::ColdReadError;
use crate::keys::{Chunk, Key, KeyRange, Place};
use crate::stream::{BlobRow, BucketRow, Offset, StreamName, StreamRow};

/// Chunks looked up at once.
const CHUNKS: usize = 64;

/// Chunks fetched at once.
const AT_ONCE: usize = 16;

/// Bytes returned at once, about; one chunk more at most.
const READ_BYTES: u64 = 1 << 20;

/// The state of a group, to be read. Cheap to clone and to keep.
#[derive(Clone)]
pub struct GroupView {
    pub(super) machine: Arc<Machine>,
}

/// Bytes that are not swept while this lives, though the stream was deleted or trimmed, or the snapshot replaced.
pub struct Hold {
    machine: Arc<Machine>,
    incarnation: u64,
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut state = self.machine.state();
        if let Some(times) = state.held.get_mut(&self.incarnation) {
            *times -= 1;
            if *times == 0 {
                state.held.remove(&self.incarnation);
                // What was passed over is looked for again.
                state.trash = true;
            }
        }
    }
}

/// Why bytes cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// They are no longer kept: the stream was deleted meanwhile.
    #[error("these bytes are no longer kept")]
    Gone,
    /// The disk holds something else than what was written. Never served.
    #[error("bytes are damaged in journal segment {segment:016x} at offset {offset}")]
    Damaged {
        /// The segment.
        segment: u64,
        /// The first byte of the run that does not match its checksum.
        offset: u64,
    },
    /// They are in the cold store, and cannot be had.
    #[error(transparent)]
    Cold(#[from] ColdReadError),
    /// The disk or the index failed.
    #[error("cannot read: {0}")]
    Io(#[from] io::Error),
}

/// A run of bytes of a stream and where it lies.
struct Lying {
    start: u64,
    end: u64,
    chunk: Chunk,
}

impl GroupView {
    /// The row of a stream; none if there is no such stream.
    ///
    /// # Errors
    /// If the index fails.
    pub fn row(&self, name: &StreamName) -> io::Result<Option<Arc<StreamRow>>> {
        let mut state = self.machine.state();
        self.machine.row(&mut state, name)
    }

    /// The group's time as of the last entry applied here, in Unix milliseconds.
    pub fn now_ms(&self) -> u64 {
        self.machine.state().position.last_now_ms
    }

    /// The row of a bucket, and the index of the last entry applied here when it was looked at. (Of group 0.)
    ///
    /// # Errors
    /// If the index fails.
    pub fn bucket(&self, name: &str) -> io::Result<(Option<BucketRow>, u64)> {
        let state = self.machine.state();
        let row = self.machine.rows_of(&state).bucket(name)?;
        Ok((row, next_index(state.position.applied).saturating_sub(1)))
    }

    /// How many stream rows of a bucket the group holds.
    ///
    /// # Errors
    /// If the index fails.
    pub fn streams_in(&self, bucket: &str) -> io::Result<u64> {
        let state = self.machine.state();
        self.machine.rows_of(&state).streams(bucket)
    }

    /// The oldest deletions of buckets under way, at most so many: each by its name and its bucket's. (Of group 0.)
    ///
    /// # Errors
    /// If the index fails.
    pub fn deleting(&self, most: usize) -> io::Result<Vec<(u64, String)>> {
        let generation = self.machine.state().generation;
        let range = KeyRange::deleting(self.machine.group, generation);
        let page = self.machine.index.scan(&range.from, &range.to, most)?;
        let mut found = Vec::with_capacity(page.len());
        for (key, value) in page {
            if let Key::Deleting { begun, .. } = Key::decode(&key).map_err(damaged)? {
                found.push((begun, String::from_utf8_lossy(&value).into_owned()));
            }
        }
        Ok(found)
    }

    /// The streams of a bucket whose names begin with `prefix` and come after `after`, by name, at most so many.
    ///
    /// # Errors
    /// If the index fails.
    pub fn list(
        &self,
        bucket: &str,
        prefix: &str,
        after: Option<&str>,
        most: usize,
    ) -> io::Result<Vec<(String, StreamRow)>> {
        let group = self.machine.group;
        loop {
            let generation = self.machine.state().generation;
            let mut range = KeyRange::streams_of(group, generation, bucket, prefix);
            if let Some(name) = after {
                let after = Key::Stream {
                    group,
                    generation,
                    bucket,
                    name,
                };
                // Names hold no NUL: this is the first key past it.
                let next = [&after.encode()[..], &[0]].concat();
                range.from = range.from.max(next.into());
            }
            if range.from >= range.to {
                return Ok(Vec::new());
            }
            let page = self.machine.index.scan(&range.from, &range.to, most)?;
            if self.machine.state().generation != generation {
                // The rows were replaced by a snapshot meanwhile: look again.
                continue;
            }
            let mut found = Vec::with_capacity(page.len());
            for (key, value) in page {
                if let Key::Stream { name, .. } = Key::decode(&key).map_err(damaged)? {
                    found.push((name.to_owned(), StreamRow::decode(&value).map_err(damaged)?));
                }
            }
            return Ok(found);
        }
    }

    /// One past the index of the last entry applied here.
    pub fn applied_next(&self) -> u64 {
        next_index(self.machine.state().position.applied)
    }

    /// The bytes of a stream from `from` on, in pieces one after the other: at least one byte, at most up to `to`, and
    /// at most about a MiB. All of them must lie between the stream's earliest byte and its tail.
    ///
    /// # Errors
    /// If they are gone, damaged, or the disk fails.
    pub async fn read(&self, incarnation: u64, from: Offset, to: Offset) -> Result<Vec<Bytes>, ReadError> {
        let cached = self.cached(incarnation, from.0, to.0);
        if !cached.is_empty() {
            return Ok(cached);
        }
        for _ in 0..3 {
            let (generation, found) = self.find(incarnation, from.0, to.0)?;
            if found.is_empty() {
                if self.machine.state().generation == generation {
                    return Err(ReadError::Gone);
                }
                continue;
            }
            let machine = self.machine.clone();
            let fetching = async move {
                let mut pieces = Vec::with_capacity(found.len());
                // What is in the cold store may be in as many objects, each far away.
                let mut coming = stream::iter(found)
                    .map(async |lying| (machine.fetch(&lying.chunk).await, lying))
                    .buffered(AT_ONCE);
                while let Some((piece, lying)) = coming.next().await {
                    let piece = piece?;
                    let skip = from.0.saturating_sub(lying.start) as usize;
                    let keep = (lying.end.min(to.0) - lying.start) as usize;
                    pieces.push(piece.slice(skip..keep));
                }
                Ok(pieces)
            };
            match rt::offload(fetching).await.map_err(io::Error::other)? {
                Ok(pieces) => return Ok(pieces),
                // The rows were replaced by a snapshot between the look and the read: look again.
                Err(Fetch::Freed) => {}
                Err(Fetch::Failed(error)) => return Err(error),
            }
        }
        Err(ReadError::Gone)
    }

    /// The bytes of these chunks, one piece for each.
    ///
    /// # Errors
    /// If they are gone, damaged, or the disk fails.
    pub async fn run_bytes(&self, run: &[(Offset, Chunk)]) -> Result<Vec<Bytes>, ReadError> {
        let machine = self.machine.clone();
        let run: Vec<Chunk> = run.iter().map(|(_, chunk)| chunk.clone()).collect();
        let fetching = async move {
            let mut pieces = Vec::with_capacity(run.len());
            for chunk in &run {
                pieces.push(machine.fetch(chunk).await?);
            }
            Ok(pieces)
        };
        match rt::offload(fetching).await.map_err(io::Error::other)? {
            Ok(pieces) => Ok(pieces),
            Err(Fetch::Freed) => Err(ReadError::Gone),
            Err(Fetch::Failed(error)) => Err(error),
        }
    }

    /// The bytes of a stream from `from` to `to`, if all of them are in memory and are less than a MiB.
    pub fn recent(&self, incarnation: u64, from: Offset, to: Offset) -> Option<Vec<Bytes>> {
        let pieces = self.cached(incarnation, from.0, to.0);
        let found: usize = pieces.iter().map(Bytes::len).sum();
        (found as u64 == to.0.saturating_sub(from.0)).then_some(pieces)
    }

    /// The row of a stream, if there is one; what it keeps, and its newest snapshot, stays to be read while the holds
    /// live. (Another node's state put in force may still take it away.)
    ///
    /// # Errors
    /// If the index fails.
    pub fn hold(&self, name: &StreamName) -> io::Result<Option<(Arc<StreamRow>, Vec<Hold>)>> {
        let mut state = self.machine.state();
        let Some(row) = self.machine.row(&mut state, name)? else {
            return Ok(None);
        };
        let blob = row.snapshot.as_ref().map(|snapshot| snapshot.blob);
        let hold = |incarnation| {
            *state.held.entry(incarnation).or_default() += 1;
            let machine = self.machine.clone();
            Hold { machine, incarnation }
        };
        let holds = [Some(row.incarnation), blob].into_iter().flatten().map(hold).collect();
        Ok(Some((row, holds)))
    }

    /// The blobs of the group that are being uploaded.
    pub fn uploads(&self) -> Vec<(u64, BlobRow)> {
        let state = self.machine.state();
        state.uploads.iter().map(|(blob, row)| (*blob, row.clone())).collect()
    }

    /// Where appends end among the bytes `from..to`, which must be kept, the next ones only; and up to where that is all
    /// of them: past `from`.
    ///
    /// # Errors
    /// If the bytes are gone, or the index fails.
    pub fn append_ends(&self, incarnation: u64, from: Offset, to: Offset) -> Result<(Vec<Offset>, Offset), ReadError> {
        let generation = self.machine.state().generation;
        let range = KeyRange::chunks_from(self.machine.group, generation, incarnation, from);
        let page = self.machine.index.scan(&range.from, &range.to, CHUNKS)?;
        let (mut ends, mut known) = (Vec::new(), from);
        for (key, value) in page {
            let Key::Chunk { end, .. } = Key::decode(&key).map_err(damaged)? else {
                break;
            };
            if known >= to {
                break;
            }
            let chunk = Chunk::decode(&value).map_err(damaged)?;
            ends.extend(chunk.append_ends(end).filter(|end| *end > from));
            known = end;
        }
        if known == from {
            return Err(ReadError::Gone);
        }
        Ok((ends, known))
    }

    fn cached(&self, incarnation: u64, from: u64, to: u64) -> Vec<Bytes> {
        let (mut pieces, mut at) = (Vec::new(), from);
        while at < to && at - from < READ_BYTES {
            let Some(mut piece) = self.machine.tail.get(self.machine.group, incarnation, at) else {
                break;
            };
            piece.truncate(usize::try_from(to - at).unwrap_or(usize::MAX));
            at += piece.len() as u64;
            pieces.push(piece);
        }
        pieces
    }

    /// The chunks that hold these bytes, without a hole; and the generation they are of.
    fn find(&self, incarnation: u64, from: u64, to: u64) -> Result<(u64, Vec<Lying>), ReadError> {
        let generation = self.machine.state().generation;
        let range = KeyRange::chunks_from(self.machine.group, generation, incarnation, Offset(from));
        let page = self.machine.index.scan(&range.from, &range.to, CHUNKS)?;
        let (mut found, mut at) = (Vec::new(), from);
        for (key, value) in page {
            if at >= to || at - from >= READ_BYTES {
                break;
            }
            let Key::Chunk { end, .. } = Key::decode(&key).map_err(damaged)? else {
                break;
            };
            let chunk = Chunk::decode(&value).map_err(damaged)?;
            let start = end.0.saturating_sub(chunk.len.into());
            if start > at {
                break;
            }
            found.push(Lying {
                start,
                end: end.0,
                chunk,
            });
            at = end.0;
        }
        Ok((generation, found))
    }
}

/// Why a chunk could not be fetched.
pub(super) enum Fetch {
    /// Its segment was freed.
    Freed,
    /// For good.
    Failed(ReadError),
}

impl Machine {
    /// Reads a chunk, wherever it is, and verifies it. The disk is called inside: drive it where that may block.
    async fn fetch(&self, chunk: &Chunk) -> Result<Bytes, Fetch> {
        let place = match chunk.place {
            Place::Journal(position) => return fetch(&self.journal, position, chunk).await,
            Place::Cold(place) => place,
        };
        let Some(cold) = &self.cold else {
            let error = io::Error::other("old bytes are in the cold store, and this node has none");
            return Err(Fetch::Failed(ReadError::Io(error)));
        };
        let read = cold.read(self.group, place, chunk.len, chunk.crc32c);
        read.await.map_err(|error| Fetch::Failed(ReadError::Cold(error)))
    }
}

/// Reads a chunk from the journal and verifies it. The disk is called inside: drive it where that may block.
pub(super) async fn fetch(journal: &Journal, position: Position, chunk: &Chunk) -> Result<Bytes, Fetch> {
    // A bit may flip on the way as well as on the disk: once more, then it is damage.
    for _ in 0..2 {
        let bytes = match journal.read(position, 0, chunk.len as usize).await {
            Ok(bytes) => bytes,
            Err(JournalError::Freed { .. }) => return Err(Fetch::Freed),
            Err(error) => return Err(Fetch::Failed(ReadError::Io(io::Error::other(error)))),
        };
        if bytes.len() == chunk.len as usize && crc32c::crc32c(&bytes) == chunk.crc32c {
            return Ok(bytes);
        }
    }
    let Position { segment, offset } = position;
    tracing::error!(segment, offset, len = chunk.len, "bytes on the disk are damaged");
    Err(Fetch::Failed(ReadError::Damaged { segment, offset }))
}
