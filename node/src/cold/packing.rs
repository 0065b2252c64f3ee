//! Chunks become runs, and runs become an object.

use bytes::Bytes;

use super::object::{Directory, Packed, RunEntry};
use crate::keys::{Chunk, ObjectId};
use crate::stream::{MovedRun, Offset, PIECE_BYTES};

/// The longest run: what is read, and verified, at once.
const RUN_BYTES: u64 = PIECE_BYTES as u64;

/// A chunk, and one past its last byte as an offset of its stream.
pub(crate) type Placed = (Offset, Chunk);

/// An object that is being filled.
#[derive(Debug, Default)]
pub(crate) struct Filling {
    runs: Vec<RunEntry>,
    data: Vec<Bytes>,
    bytes: u64,
}

impl Filling {
    /// Whether nothing is in it yet.
    pub(crate) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// How many bytes of streams are in it.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Adds chunks of a stream that follow each other, as one run, and their bytes.
    pub(crate) fn add(&mut self, incarnation: u64, run: &[Placed], pieces: Vec<Bytes>) {
        let Some(((first_end, first), (end, _))) = run.first().zip(run.last()) else {
            return;
        };
        let start = first_end.0 - u64::from(first.len);
        let crc32c = pieces.iter().fold(0, |crc, piece| crc32c::crc32c_append(crc, piece));
        let mut before = start;
        let ends = run.iter().flat_map(|(end, chunk)| chunk.append_ends(*end));
        let lens = ends.map(|end| (end.0 - std::mem::replace(&mut before, end.0)) as u32);
        let len = end.0 - start;
        self.runs.push(RunEntry {
            incarnation,
            start,
            len: len as u32,
            crc32c,
            lens: lens.collect(),
        });
        self.data.extend(pieces);
        self.bytes += len;
    }

    /// The object, and where in it each run is.
    pub(crate) fn packed(&self, cluster: u128, group: u32, object: ObjectId, nonce: u64) -> (Packed, Vec<MovedRun>) {
        let directory = Directory {
            cluster,
            group,
            object,
            nonce,
            runs: self.runs.clone(),
        };
        let packed = Packed::new(&directory, self.data.clone());
        let mut at = packed.head.len() as u64;
        let place = |run: &RunEntry| {
            let moved = MovedRun {
                incarnation: run.incarnation,
                start: Offset(run.start),
                len: run.len,
                at,
                crc32c: run.crc32c,
            };
            at += u64::from(run.len);
            moved
        };
        let told = self.runs.iter().map(place).collect();
        (packed, told)
    }
}

/// The first chunks, as many as make a run, and the rest; nothing if there are none.
pub(crate) fn next_run(chunks: &[Placed]) -> Option<(&[Placed], &[Placed])> {
    let mut bytes = 0;
    let most = chunks.iter().position(|(_, chunk)| {
        bytes += u64::from(chunk.len);
        bytes > RUN_BYTES
    });
    let (run, rest) = chunks.split_at(most.unwrap_or(chunks.len()).max(1).min(chunks.len()));
    (!run.is_empty()).then_some((run, rest))
}

#[cfg(test)]
mod tests {
    use storage::journal::Position;

    use super::*;
    use crate::keys::Place;

    fn chunk(end: u64, len: u32) -> Placed {
        let place = Place::Journal(Position {
            segment: 1,
            offset: end,
        });
        let chunk = Chunk {
            place,
            len,
            crc32c: 0,
            ends: true,
            cuts: vec![],
        };
        (Offset(end), chunk)
    }

    #[test]
    fn runs_are_of_whole_chunks_and_of_a_bounded_length_and_nothing_is_left_out() {
        let lens = [1_u32, 100_000, 200_000, 256 << 10, 5, (256 << 10) - 5, 1];
        let mut end = 10;
        let chunks: Vec<_> = lens
            .iter()
            .map(|len| {
                end += u64::from(*len);
                chunk(end, *len)
            })
            .collect();
        let (mut rest, mut counts) = (&chunks[..], Vec::new());
        while let Some((run, left)) = next_run(rest) {
            let bytes: u64 = run.iter().map(|(_, chunk)| u64::from(chunk.len)).sum();
            assert!(bytes <= RUN_BYTES);
            counts.push(run.len());
            rest = left;
        }
        assert_eq!(counts, [2, 1, 1, 2, 1]);
    }

    #[test]
    fn an_object_tells_where_its_runs_are() {
        let mut filling = Filling::default();
        filling.add(
            7,
            &[chunk(3, 3), chunk(5, 2)],
            vec![Bytes::from("abc"), Bytes::from("de")],
        );
        filling.add(9, &[chunk(4, 4)], vec![Bytes::from("fghi")]);
        let object = ObjectId { term: 1, sequence: 0 };
        let (packed, told) = filling.packed(1, 0, object, 5);
        let whole = packed.pieces().concat();
        let shown: Vec<(u64, u64, &[u8])> = told
            .iter()
            .map(|run| {
                let at = run.at as usize;
                let bytes = &whole[at..at + run.len as usize];
                assert_eq!(crc32c::crc32c(bytes), run.crc32c);
                (run.incarnation, run.start.0, bytes)
            })
            .collect();
        assert_eq!(shown, [(7, 0, &b"abcde"[..]), (9, 0, b"fghi")]);
        assert_eq!((filling.bytes(), whole.len()), (9, packed.head.len() + 9));
    }
}
