//! A group's state and log, as they are written down outside of the cluster, so that a lost one comes back from there.
//!
//! What is written is what a follower would be told: the pieces of a snapshot, then the entries that were committed after
//! it. Nothing of it depends on who leads: any node that has applied an entry may write it down.

use std::io;

use bytes::Bytes;
use net::rt;

use super::image::{Taken, TakenChunk};
use super::log_reader::LogReader;
use super::pieces::Pieces;
use super::status::{EntryId, entry_id};
use super::types::Entry;
use super::{Groups, ReadError, codec, wire};
use crate::keys::{ColdPlace, Place};
use crate::stream::{ImageRow, StreamName, StreamRow};

/// A group's state at one moment, piece by piece.
pub struct StateRecording {
    pieces: Pieces,
    /// The last entry in it.
    pub at: EntryId,
}

/// An entry of the log, as it is written down.
pub struct LogRecord {
    /// Which.
    pub id: EntryId,
    /// The entry, in pieces that share the memory of its body.
    pub bytes: Vec<Bytes>,
}

impl StateRecording {
    /// The next piece; none after the last.
    ///
    /// # Errors
    /// If bytes of a stream cannot be read here.
    pub async fn next(&mut self) -> Result<Option<Vec<Bytes>>, ReadError> {
        let piece = self.pieces.next().await?;
        Ok(piece.map(|(what, tail)| wire::encode(&what, tail)))
    }
}

/// All streams of a group, and where their bytes are.
pub struct Census {
    /// The streams.
    pub streams: Vec<(StreamName, StreamRow)>,
    /// Their bytes, and those of their snapshots, in the cold store, in the order of the objects.
    pub runs: Vec<ColdRunFound>,
    /// How many bytes are in the journal.
    pub hot_bytes: u64,
}

/// A run of bytes in the cold store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ColdRunFound {
    /// Which life of which stream, or which snapshot.
    pub incarnation: u64,
    /// One past its last byte, as an offset of the stream.
    pub end: u64,
    /// Where it is.
    pub place: ColdPlace,
    /// How many bytes.
    pub len: u32,
    /// Their checksum.
    pub crc32c: u32,
}

impl Census {
    /// The name of the stream whose life this is.
    #[must_use]
    pub fn name_of(&self, incarnation: u64) -> Option<String> {
        let found = self.streams.iter().find(|(_, row)| row.incarnation == incarnation);
        found.map(|(name, _)| name.to_string())
    }
}

impl Groups {
    /// Counts the streams of a group, and where their bytes are.
    ///
    /// # Errors
    /// If the index fails.
    pub async fn census(&self, group: u32) -> io::Result<Census> {
        let machine = self.group(group).machine.clone();
        let taking = rt::blocking(move || Taken::take(&machine)).await;
        let taken = taking.map_err(io::Error::other).flatten()?;
        let streams = taken.rows.iter().filter_map(|row| match row {
            ImageRow::Stream { name, row } => Some((name.clone(), row.clone())),
            _ => None,
        });
        let mut runs: Vec<ColdRunFound> = taken.cold.iter().filter_map(found).collect();
        runs.sort_by_key(|run| (run.place.object, run.place.offset));
        Ok(Census {
            streams: streams.collect(),
            runs,
            hot_bytes: taken.chunks.iter().map(|taken| u64::from(taken.chunk.len)).sum(),
        })
    }

    /// Takes the state of a group as it is now, to be written in pieces of about so many bytes; nothing while nothing was
    /// ever applied. The segments of the journal that hold its bytes stay until it is dropped.
    ///
    /// # Errors
    /// If the index fails.
    pub async fn record_state(&self, group: u32, piece_bytes: usize) -> io::Result<Option<StateRecording>> {
        let machine = self.group(group).machine.clone();
        let journal = machine.journal.clone();
        let taking = rt::blocking(move || Taken::take(&machine)).await;
        let taken = taking.map_err(io::Error::other).flatten()?;
        let pieces = Pieces::of(taken, journal, piece_bytes);
        let at = pieces.position().applied.map(entry_id);
        Ok(at.map(|at| StateRecording { pieces, at }))
    }

    /// The last entry applied here.
    #[must_use]
    pub fn applied(&self, group: u32) -> Option<EntryId> {
        self.group(group).machine.state().position.applied.map(entry_id)
    }

    /// Entries from this index on that were applied here, about so many bytes of them, at least one; nothing if the log
    /// does not hold the first of them any more, or it was not applied yet.
    ///
    /// # Errors
    /// If they cannot be read.
    pub async fn record_log(&self, group: u32, from: u64, bytes: usize) -> io::Result<Vec<LogRecord>> {
        let machine = &self.group(group).machine;
        let to = codec::next_index(machine.state().position.applied);
        if from >= to || from < machine.log.state().first {
            return Ok(Vec::new());
        }
        let entries = LogReader::new(machine.log.clone()).read(from, to, bytes).await?;
        let follows = entries.first().is_some_and(|entry| entry.log_id.index == from);
        let record = |entry: Entry| LogRecord {
            id: entry_id(entry.log_id),
            bytes: codec::encode_entry(&entry),
        };
        Ok(entries.into_iter().filter(|_| follows).map(record).collect())
    }
}

fn found(taken: &TakenChunk) -> Option<ColdRunFound> {
    let Place::Cold(place) = taken.chunk.place else {
        return None;
    };
    Some(ColdRunFound {
        incarnation: taken.incarnation,
        end: taken.end.0,
        place,
        len: taken.chunk.len,
        crc32c: taken.chunk.crc32c,
    })
}
