//! A group's state, cut into pieces: what a follower that fell behind is sent, and what is recorded in the cold store.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;

use bytes::Bytes;
use net::rt;
use storage::journal::Journal;

use super::image::{Taken, TakenChunk};
use super::incoming::{ColdRun, Run};
use super::machine::Position;
use super::view::{Fetch, ReadError, fetch};
use super::wire::What;
use crate::keys::Place;
use crate::stream::encode_rows;

/// Rows in one piece at most; at up to 2 KiB each, well below the size of a frame.
const ROWS: usize = 1024;

/// About how long a row is.
const ROW_BYTES: usize = 256;

/// Bytes that a run in the cold store takes, about: a byte or two for each append in it.
const COLD_ROW_BYTES: usize = 512;

/// The pieces of a state that are still to come.
pub(super) struct Pieces {
    taken: Taken,
    journal: Journal,
    parts: VecDeque<Part>,
}

/// What one piece is made of.
enum Part {
    Begin,
    Rows(Range<usize>),
    Bytes(Range<usize>),
    Cold(Range<usize>),
    Objects(Range<usize>),
}

impl Pieces {
    /// Cuts a state into pieces of about so many bytes. The bytes of streams are read from the journal as they are due.
    pub(super) fn of(taken: Taken, journal: Journal, piece_bytes: usize) -> Self {
        let rows = (piece_bytes / ROW_BYTES).clamp(1, ROWS);
        let cold = (piece_bytes / COLD_ROW_BYTES).clamp(1, ROWS);
        let mut parts = VecDeque::from([Part::Begin]);
        parts.extend(even(taken.rows.len(), rows).map(Part::Rows));
        parts.extend(batches(&taken.chunks, piece_bytes).map(Part::Bytes));
        parts.extend(even(taken.cold.len(), cold).map(Part::Cold));
        parts.extend(even(taken.objects.len(), ROWS).map(Part::Objects));
        Self { taken, journal, parts }
    }

    /// Of which moment the state is.
    pub(super) fn position(&self) -> &Position {
        &self.taken.position
    }

    /// The next piece, and the bytes it speaks of; none after the last.
    ///
    /// # Errors
    /// If bytes cannot be read.
    pub(super) async fn next(&mut self) -> Result<Option<(What, Vec<Bytes>)>, ReadError> {
        let Some(part) = self.parts.pop_front() else {
            return Ok(None);
        };
        let taken = &self.taken;
        let piece = match part {
            Part::Begin => {
                let position = taken.position.clone();
                let begin = What::Begin {
                    applied: position.applied,
                    membership: position.membership,
                    digest: position.digest,
                    last_now_ms: position.last_now_ms,
                };
                (begin, Vec::new())
            }
            Part::Rows(of) => (What::Rows, vec![Bytes::from(encode_rows(&taken.rows[of]))]),
            Part::Bytes(of) => {
                let (runs, tail) = load(&self.journal, &taken.chunks[of]).await?;
                (What::Bytes { runs }, tail)
            }
            Part::Cold(of) => {
                let runs = taken.cold[of].iter().filter_map(ColdRun::of).collect();
                (What::Cold { runs }, Vec::new())
            }
            Part::Objects(of) => {
                let lens = taken.objects[of].to_vec();
                (What::Objects { lens }, Vec::new())
            }
        };
        Ok(Some(piece))
    }
}

/// `0..len` in ranges of `most`, the last one shorter.
fn even(len: usize, most: usize) -> impl Iterator<Item = Range<usize>> {
    (0..len).step_by(most).map(move |from| from..(from + most).min(len))
}

/// Runs of chunks of about `piece_bytes` each: one chunk more at most.
fn batches(chunks: &[TakenChunk], piece_bytes: usize) -> impl Iterator<Item = Range<usize>> {
    let mut from = 0;
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let full = chunks[from..].iter().position(|taken| {
            bytes += taken.chunk.len as usize;
            bytes >= piece_bytes
        });
        let to = full.map_or(chunks.len(), |last| from + last + 1);
        let batch = std::mem::replace(&mut from, to)..to;
        (!batch.is_empty()).then_some(batch)
    })
}

async fn load(journal: &Journal, batch: &[TakenChunk]) -> Result<(Vec<Run>, Vec<Bytes>), ReadError> {
    let (journal, batch) = (journal.clone(), batch.to_vec());
    let loading = async move {
        let (mut runs, mut tail) = (Vec::with_capacity(batch.len()), Vec::with_capacity(batch.len()));
        for TakenChunk {
            incarnation,
            end,
            chunk,
        } in batch
        {
            let Place::Journal(position) = chunk.place else {
                continue;
            };
            tail.push(fetch(&journal, position, &chunk).await?);
            runs.push(Run {
                incarnation,
                end: end.0,
                len: chunk.len,
                crc32c: chunk.crc32c,
                ends: chunk.ends,
            });
        }
        Ok((runs, tail))
    };
    match rt::offload(loading).await {
        Ok(Ok(loaded)) => Ok(loaded),
        // Damage here is no reason for this node to stop: what is whole is still served, and so says the log.
        Ok(Err(Fetch::Failed(error))) => Err(error),
        Ok(Err(Fetch::Freed)) => Err(ReadError::Gone),
        Err(ended) => Err(ReadError::Io(io::Error::other(ended))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_of_all_that_is_there_and_of_a_bounded_size() {
        assert_eq!(even(5, 2).collect::<Vec<_>>(), [0..2, 2..4, 4..5]);
        assert_eq!(even(0, 2).count(), 0);
        let chunk = |len| TakenChunk {
            incarnation: 1,
            end: crate::stream::Offset(9),
            chunk: crate::keys::Chunk {
                place: Place::Journal(storage::journal::Position { segment: 1, offset: 0 }),
                len,
                crc32c: 0,
                ends: true,
                cuts: Vec::new(),
            },
        };
        let chunks: Vec<_> = [3, 3, 9, 1, 1].into_iter().map(chunk).collect();
        assert_eq!(batches(&chunks, 5).collect::<Vec<_>>(), [0..2, 2..3, 3..5]);
        assert_eq!(batches(&[], 5).count(), 0);
    }
}
