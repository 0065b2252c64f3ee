//! Objects that are mostly dead are rewritten: what lives in them is put into others, as if it were moved again, and when
//! nothing refers to them any more they are swept.
//!
//! Which runs are in an object, its own directory says; which of them still live there, the rows.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::mover::Round;
use super::notes::{ToRewrite, some};
use super::object::key_of;
use super::packing::{Filling, Placed, next_run};
use crate::keys::{ObjectId, ObjectRow};

/// How many times the size of an object is rewritten at one look: appends and moves come first.
const OBJECTS_AT_ONCE: u64 = 4;

/// Whether less than half of what was put into an object lives.
fn is_mostly_dead(row: &ObjectRow) -> bool {
    row.live < row.len / 2
}

impl Round<'_> {
    /// Rewrites objects that are mostly dead, the deadest first.
    pub(super) async fn rewrite(&mut self) -> Result<(), String> {
        let Some(cluster) = self.store.cluster() else {
            return Ok(());
        };
        let view = self.core.groups.view(self.group);
        let mut dead: Vec<(ObjectId, ObjectRow)> = view
            .objects()
            .into_iter()
            .filter(|(_, row)| is_mostly_dead(row))
            .collect();
        dead.sort_by_key(|(object, row)| (row.live, *object));
        let told = dead.iter().map(|(object, row)| ToRewrite {
            key: key_of(cluster, self.group, *object),
            live_bytes: row.live,
            bytes: row.len,
        });
        self.store.note(self.group, |notes| notes.to_rewrite = some(told));
        let mut left = OBJECTS_AT_ONCE * self.core.config.cold.object;
        let mut filling = Filling::default();
        for (object, row) in dead {
            if row.live > left {
                break;
            }
            left -= row.live;
            self.gather(&view, cluster, (object, row), &mut filling).await?;
            if filling.bytes() >= self.core.config.cold.object {
                self.empty(&mut filling).await?;
            }
        }
        self.empty(&mut filling).await
    }

    /// Adds what lives in an object.
    async fn gather(
        &mut self,
        view: &crate::raft::GroupView,
        cluster: u128,
        (object, row): (ObjectId, ObjectRow),
        filling: &mut Filling,
    ) -> Result<(), String> {
        let key = Arc::from(key_of(cluster, self.group, object));
        let directory = self.store.directory(&key).await.map_err(|error| error.to_string())?;
        // One row may stand for several runs of the directory, never for a part of one.
        let mut seen = BTreeSet::new();
        let mut fresh = |incarnation, from, to| -> Result<Vec<Placed>, String> {
            let chunks = view
                .chunks_in(object, incarnation, from, to)
                .map_err(|error| error.to_string())?;
            let is_fresh = |placed: &Placed| seen.insert((incarnation, placed.0));
            Ok(chunks.into_iter().filter(is_fresh).collect())
        };
        let mut living = Vec::new();
        for run in &directory.runs {
            let end = run.start + u64::from(run.len);
            living.push((run.incarnation, fresh(run.incarnation, run.start, end)?));
        }
        // What went ahead of its command is further behind, if others came before it.
        if bytes_of(&living) < row.live
            && let Some(first) = directory.runs.first()
            && directory.runs.iter().all(|run| run.incarnation == first.incarnation)
        {
            let further = fresh(first.incarnation, first.start, u64::MAX)?;
            living.push((first.incarnation, further));
        }
        for (incarnation, chunks) in living {
            for piece in neighbours(&chunks) {
                let mut rest = piece;
                while let Some((run_chunks, more)) = next_run(rest) {
                    rest = more;
                    match view.run_bytes(run_chunks).await {
                        Ok(pieces) => filling.add(incarnation, run_chunks, pieces),
                        // It went meanwhile, or cannot be had: it stays where it is.
                        Err(error) => tracing::debug!(group = self.group, ?object, %error, "a run is not rewritten"),
                    }
                }
            }
        }
        Ok(())
    }
}

fn bytes_of(living: &[(u64, Vec<Placed>)]) -> u64 {
    let chunks = living.iter().flat_map(|(_, chunks)| chunks);
    chunks.map(|(_, chunk)| u64::from(chunk.len)).sum()
}

/// Chunks that follow each other without a gap.
fn neighbours(chunks: &[Placed]) -> impl Iterator<Item = &[Placed]> {
    chunks.chunk_by(|(end, _), (next_end, next)| end.0 + u64::from(next.len) == next_end.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::{Chunk, ColdPlace, Place};
    use crate::stream::Offset;

    #[test]
    fn an_object_is_mostly_dead_when_less_than_half_of_it_lives() {
        for (live, len, dead) in [
            (0, 10, true),
            (4, 10, true),
            (5, 10, false),
            (10, 10, false),
            (1, 1, false),
        ] {
            assert_eq!(is_mostly_dead(&ObjectRow { live, len }), dead, "{live} of {len}");
        }
    }

    #[test]
    fn chunks_with_a_gap_between_them_are_no_run() {
        let chunk = |end, len| {
            let place = ColdPlace {
                object: ObjectId { term: 1, sequence: 1 },
                offset: 0,
            };
            let chunk = Chunk {
                place: Place::Cold(place),
                len,
                crc32c: 0,
                ends: true,
                cuts: vec![],
            };
            (Offset(end), chunk)
        };
        let chunks = [chunk(5, 5), chunk(8, 3), chunk(20, 2), chunk(21, 1)];
        let counts: Vec<usize> = neighbours(&chunks).map(<[Placed]>::len).collect();
        assert_eq!(counts, [2, 2]);
    }
}
