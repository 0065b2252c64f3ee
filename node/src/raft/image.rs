//! The state of a group at one moment, to be sent to a follower that fell behind.
//!
//! Rows are copied under the group's lock, so that they are of one moment: some 200 bytes of memory for each stream,
//! producer and chunk of the group while the transfer lasts. Bytes are not copied: they never change where they lie, and
//! the segments that hold them are pinned until the image is dropped.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use super::machine::{Machine, Position, damaged, each_row};
use crate::keys::{Chunk, Key, KeyRange, ObjectId, Place, number};
use crate::stream::{BucketRow, Claim, ImageRow, Offset, Pledge, Reference, StreamName, StreamRow};

/// A group's state at one moment.
pub(super) struct Taken {
    machine: Arc<Machine>,
    pub(super) position: Position,
    pub(super) rows: Vec<ImageRow>,
    /// Bytes in the journal.
    pub(super) chunks: Vec<TakenChunk>,
    /// Bytes in the cold store, which the receiver has, too.
    pub(super) cold: Vec<TakenChunk>,
    /// Objects there, and how many bytes were in each at first.
    pub(super) objects: Vec<(ObjectId, u64)>,
    pinned: BTreeSet<u64>,
}

/// Where bytes of a stream lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TakenChunk {
    pub(super) incarnation: u64,
    pub(super) end: Offset,
    pub(super) chunk: Chunk,
}

impl Taken {
    /// Takes the state as it is now. Scans all rows of the group under its lock: not for the thread of a runtime.
    ///
    /// # Errors
    /// If the index fails.
    pub(super) fn take(machine: &Arc<Machine>) -> io::Result<Self> {
        let mut state = machine.state();
        let (group, generation) = (machine.group, state.generation);
        let index = &*machine.index;
        let mut rows = Vec::new();
        let mut living = BTreeMap::new();
        each_row(index, &KeyRange::streams(group, generation), |key, value| {
            if let Key::Stream { bucket, name, .. } = Key::decode(key).map_err(damaged)? {
                let row = StreamRow::decode(value).map_err(damaged)?;
                // What is forgotten is still there as long as a fork may need it.
                let earliest = if row.refs > 0 { Offset(0) } else { row.earliest };
                living.insert(row.incarnation, earliest);
                living.extend(row.snapshot.as_ref().map(|snapshot| (snapshot.blob, Offset(0))));
                rows.push(ImageRow::Stream {
                    name: StreamName::from_parts(bucket, name),
                    row,
                });
            }
            Ok(())
        })?;
        each_row(index, &KeyRange::all_producers(group, generation), |key, value| {
            if let Key::Producer { incarnation, id, .. } = Key::decode(key).map_err(damaged)? {
                let claim = Claim::decode(value).map_err(damaged)?;
                rows.push(ImageRow::Producer {
                    incarnation,
                    id: id.to_owned(),
                    claim,
                });
            }
            Ok(())
        })?;
        each_row(index, &KeyRange::buckets(group, generation), |key, value| {
            if let Key::Bucket { name, .. } = Key::decode(key).map_err(damaged)? {
                let (name, row) = (name.to_owned(), BucketRow::decode(value).map_err(damaged)?);
                rows.push(ImageRow::Bucket { name, row });
            }
            Ok(())
        })?;
        each_row(index, &KeyRange::bucket_counts(group, generation), |key, value| {
            if let Key::BucketCount { name, .. } = Key::decode(key).map_err(damaged)? {
                let (name, streams) = (name.to_owned(), number::decode(value).map_err(damaged)?);
                rows.push(ImageRow::BucketCount { name, streams });
            }
            Ok(())
        })?;
        match machine.rows_of(&state).sealed()? {
            0 => {}
            at => rows.push(ImageRow::Sealed { at }),
        }
        for (blob, row) in &state.uploads {
            living.insert(*blob, Offset(0));
            rows.push(ImageRow::Blob {
                blob: *blob,
                row: row.clone(),
            });
        }
        each_row(index, &KeyRange::pledges(group, generation), |key, value| {
            if let Key::Pledge { token, .. } = Key::decode(key).map_err(damaged)? {
                let row = Pledge::decode(value).map_err(damaged)?;
                rows.push(ImageRow::Pledge { token, row });
            }
            Ok(())
        })?;
        each_row(index, &KeyRange::references(group, generation), |key, value| {
            if let Key::Reference { incarnation, token, .. } = Key::decode(key).map_err(damaged)? {
                let row = Reference::decode(value).map_err(damaged)?;
                rows.push(ImageRow::Reference {
                    incarnation,
                    token,
                    row,
                });
            }
            Ok(())
        })?;
        let (mut chunks, mut cold, mut pinned) = (Vec::new(), Vec::new(), BTreeSet::new());
        each_row(index, &KeyRange::all_chunks(group, generation), |key, value| {
            if let Key::Chunk { incarnation, end, .. } = Key::decode(key).map_err(damaged)?
                && living.get(&incarnation).is_some_and(|earliest| end > *earliest)
            {
                let chunk = Chunk::decode(value).map_err(damaged)?;
                let pile = match chunk.place {
                    Place::Journal(position) => {
                        pinned.insert(position.segment);
                        &mut chunks
                    }
                    Place::Cold(_) => &mut cold,
                };
                pile.push(TakenChunk {
                    incarnation,
                    end,
                    chunk,
                });
            }
            Ok(())
        })?;
        for segment in &pinned {
            *state.pins.entry(*segment).or_default() += 1;
        }
        let position = state.position.clone();
        let objects = state.books.objects().iter().map(|(object, row)| (*object, row.len));
        let objects = objects.collect();
        drop(state);
        Ok(Self {
            machine: machine.clone(),
            position,
            rows,
            chunks,
            cold,
            objects,
            pinned,
        })
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.machine.unpin(&self.pinned);
    }
}

impl Machine {
    pub(super) fn unpin(&self, segments: &BTreeSet<u64>) {
        let mut state = self.state();
        for segment in segments {
            if let Some(pins) = state.pins.get_mut(segment) {
                *pins -= 1;
                if *pins == 0 {
                    state.pins.remove(segment);
                }
            }
        }
    }
}
