//! The state of a group as another node sends it: collected beside the rows that are served, then switched in at once.
//!
//! Bytes go to the journal, rows into a generation of their own. Nothing of it counts before the one batch that puts the
//! new generation in force; a crash before that leaves rows that the next start drops, and bytes nobody refers to.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use net::rt;
use storage::index::Batch;
use storage::journal::{JournalError, Kind, Record};

use super::buckets::Rows;
use super::codec::BadBytes;
use super::image::TakenChunk;
use super::machine::{Machine, Position, damaged, uploads};
use super::moving::Of;
use super::state_machine::ImageMeta;
use crate::keys::{Chunk, ColdPlace, Key, KeyRange, ObjectId, ObjectRow, Place, number};
use crate::stream::{ImageRow, Offset, decode_rows};

/// A state that is being received, or has been.
pub(super) struct Incoming {
    machine: Arc<Machine>,
    /// The sender's number for this transfer.
    pub(super) id: u64,
    /// The next piece's number.
    pub(super) next: u64,
    /// When the last piece came.
    pub(super) heard: rt::Instant,
    generation: u64,
    pub(super) position: Position,
    live: BTreeMap<u64, u64>,
    /// Objects of the cold store: how many bytes chunks refer to, and how many there were at first.
    objects: BTreeMap<ObjectId, ObjectRow>,
    /// The first byte of each stream in the journal.
    hot: BTreeMap<u64, Offset>,
    /// Buckets received.
    buckets: u64,
    pinned: BTreeSet<u64>,
}

/// The place of one run of bytes in a piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct Run {
    pub(super) incarnation: u64,
    pub(super) end: u64,
    pub(super) len: u32,
    pub(super) crc32c: u32,
    pub(super) ends: bool,
}

/// A run of bytes in the cold store.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct ColdRun {
    incarnation: u64,
    end: u64,
    place: ColdPlace,
    len: u32,
    crc32c: u32,
    ends: bool,
    cuts: Vec<u32>,
}

impl ColdRun {
    /// A chunk that is there.
    pub(super) fn of(taken: &TakenChunk) -> Option<Self> {
        let Chunk {
            place: Place::Cold(place),
            len,
            crc32c,
            ends,
            ref cuts,
        } = taken.chunk
        else {
            return None;
        };
        Some(Self {
            incarnation: taken.incarnation,
            end: taken.end.0,
            place,
            len,
            crc32c,
            ends,
            cuts: cuts.clone(),
        })
    }
}

impl Incoming {
    /// Begins a transfer.
    pub(super) fn begin(machine: &Arc<Machine>, id: u64, position: Position) -> Self {
        let generation = {
            let mut state = machine.state();
            state.generation_begun = state.generation_begun.max(state.generation) + 1;
            state.generation_begun
        };
        Self {
            machine: machine.clone(),
            id,
            next: 1,
            heard: rt::Instant::now(),
            generation,
            position,
            live: BTreeMap::new(),
            objects: BTreeMap::new(),
            hot: BTreeMap::new(),
            buckets: 0,
            pinned: BTreeSet::new(),
        }
    }

    /// Takes a block of rows.
    ///
    /// # Errors
    /// If it makes no sense, or the index fails.
    pub(super) fn rows(&mut self, block: &[u8]) -> io::Result<()> {
        let (group, generation) = (self.machine.group, self.generation);
        let mut batch = Batch::default();
        let index = &*self.machine.index;
        let rows = Rows {
            index,
            group,
            generation,
        };
        for row in decode_rows(block).map_err(damaged)? {
            match row {
                ImageRow::Stream { name, row } => {
                    if let Some(deadline_ms) = row.deadline_key_ms {
                        batch.put(
                            Key::deadline(group, generation, deadline_ms, &name).encode(),
                            Bytes::new(),
                        );
                    }
                    batch.put(Key::stream(group, generation, &name).encode(), row.encode());
                }
                ImageRow::Pledge { token, row } => {
                    let key = Key::Pledge {
                        group,
                        generation,
                        token,
                    };
                    batch.put(key.encode(), row.encode());
                }
                ImageRow::Reference {
                    incarnation,
                    token,
                    row,
                } => {
                    let key = Key::Reference {
                        group,
                        generation,
                        confirmed: row.confirmed,
                        incarnation,
                        token,
                    };
                    batch.put(key.encode(), row.encode());
                }
                ImageRow::Producer { incarnation, id, claim } => {
                    let key = Key::Producer {
                        group,
                        generation,
                        incarnation,
                        id: &id,
                    };
                    batch.put(key.encode(), claim.encode());
                }
                ImageRow::Bucket { name, row } => {
                    rows.put_bucket(&mut batch, &name, &row);
                    self.buckets += 1;
                    rows.put_buckets(&mut batch, self.buckets);
                }
                ImageRow::BucketCount { name, streams } => rows.put_streams(&mut batch, &name, streams),
                ImageRow::Sealed { at } => rows.put_sealed(&mut batch, at),
                ImageRow::Blob { blob, row } => {
                    let key = Key::Blob {
                        group,
                        generation,
                        blob,
                    };
                    batch.put(key.encode(), row.encode());
                }
            }
        }
        self.machine.index.write(batch)
    }

    /// Takes runs of bytes, which lie one after the other in `bytes`. Waits while the disk is behind.
    ///
    /// # Errors
    /// If they are not what was sent, or the journal or the index fails.
    pub(super) async fn bytes(&mut self, runs: &[Run], mut bytes: Bytes) -> io::Result<()> {
        let (group, generation) = (self.machine.group, self.generation);
        let mut records = Vec::with_capacity(runs.len());
        for run in runs {
            let len = run.len as usize;
            if bytes.len() < len {
                return Err(BadBytes::new("snapshot", "bytes are missing").into());
            }
            let piece = bytes.split_to(len);
            if crc32c::crc32c(&piece) != run.crc32c {
                return Err(BadBytes::new("snapshot", "bytes were damaged on the way").into());
            }
            records.push(Record {
                kind: Kind::Hot,
                group,
                index: run.end,
                term: 0,
                payload: vec![piece],
            });
        }
        self.machine.journal.ready().await;
        let mut batch = Batch::default();
        {
            // Under the lock: nobody may find the segments needless between the append and the pins.
            let mut state = self.machine.state();
            let placed = self.machine.journal.append_lazily(records);
            for (run, placed) in runs.iter().zip(placed) {
                if placed == storage::journal::Placed::NOWHERE {
                    return Err(io::Error::other("the journal takes nothing more"));
                }
                let segment = placed.position.segment;
                *self.live.entry(segment).or_default() += u64::from(run.len);
                if self.pinned.insert(segment) {
                    *state.pins.entry(segment).or_default() += 1;
                }
                let chunk = Chunk {
                    place: Place::Journal(placed.position),
                    len: run.len,
                    crc32c: run.crc32c,
                    ends: run.ends,
                    cuts: Vec::new(),
                };
                let from = Offset(run.end.saturating_sub(run.len.into()));
                let first = self.hot.entry(run.incarnation).or_insert(from);
                *first = from.min(*first);
                let key = Key::Chunk {
                    group,
                    generation,
                    incarnation: run.incarnation,
                    end: Offset(run.end),
                };
                batch.put(key.encode(), chunk.encode());
            }
        }
        self.machine.index.write(batch)
    }

    /// Takes runs that are in the cold store.
    ///
    /// # Errors
    /// If the index fails.
    pub(super) fn cold(&mut self, runs: Vec<ColdRun>) -> io::Result<()> {
        let mut batch = Batch::default();
        for run in runs {
            self.objects.entry(run.place.object).or_default().live += u64::from(run.len);
            let key = Key::Chunk {
                group: self.machine.group,
                generation: self.generation,
                incarnation: run.incarnation,
                end: Offset(run.end),
            };
            let chunk = Chunk {
                place: Place::Cold(run.place),
                len: run.len,
                crc32c: run.crc32c,
                ends: run.ends,
                cuts: run.cuts,
            };
            batch.put(key.encode(), chunk.encode());
        }
        self.machine.index.write(batch)
    }

    /// Takes how many bytes there were in objects.
    pub(super) fn objects(&mut self, lens: &[(ObjectId, u64)]) {
        for (object, len) in lens {
            self.objects.entry(*object).or_default().len = *len;
        }
    }

    /// Makes all bytes durable that were taken.
    ///
    /// # Errors
    /// If the journal fails.
    pub(super) async fn settle(&self) -> Result<(), JournalError> {
        self.machine.journal.append_durable(Vec::new()).await.map(drop)
    }
}

impl Incoming {
    /// Removes what was taken. (What is merely dropped, when the node ends, is found and removed by the next start.)
    ///
    /// # Errors
    /// If the index fails.
    pub(super) fn abandon(self) -> io::Result<()> {
        let range = KeyRange::generation(self.machine.group, self.generation);
        let mut batch = Batch::default();
        batch.delete_range(range.from, range.to);
        self.machine.index.write(batch)
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        self.machine.unpin(&self.pinned);
    }
}

impl Machine {
    /// Puts a received state in force, in one batch. The caller flushes the index.
    ///
    /// # Errors
    /// If it is not the state `meta` speaks of, or the index fails.
    pub(super) fn install(&self, mut incoming: Incoming, meta: &ImageMeta) -> io::Result<()> {
        if incoming.position.applied != meta.last_log_id {
            return Err(io::Error::other(
                "the snapshot received is another than the one to be installed",
            ));
        }
        {
            let mut guard = self.state();
            let state = &mut *guard;
            let group = self.group;
            let uploads = uploads(&*self.index, group, incoming.generation)?;
            let mut batch = Batch::default();
            let old = KeyRange::generation(group, state.generation);
            batch.delete_range(old.from, old.to);
            batch.put(Key::Generation { group }.encode(), number::encode(incoming.generation));
            incoming.position.put(&mut batch, group, true);

            state.generation = incoming.generation;
            state.live = std::mem::take(&mut incoming.live);
            let segments: Vec<u64> = state.live.keys().copied().collect();
            state.put_live(&mut batch, group, segments);
            let of = Of {
                group,
                generation: incoming.generation,
            };
            let since_ms = incoming.position.last_now_ms;
            state
                .books
                .replace(&mut batch, of, &incoming.objects, &incoming.hot, since_ms);
            state.position = incoming.position.clone();
            state.uploads = uploads;
            state.rows.clear();
            state.trash = false;
            state.forks = true;
            self.index.write(batch)?;
        }
        self.moved.notify_waiters();
        self.observer.replaced(self.group);
        Ok(())
    }
}
