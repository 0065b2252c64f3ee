//! Whose bytes a stream's are: its own, and, if it is a fork, those of the streams it is based on.
//!
//! A fork may be of another group than its source, and this node may have applied more of the one than of the other. So
//! who reads a source's bytes first waits until this node has applied the reference that the fork holds: it came after
//! those bytes. They never change, and stay as long as the fork does.

use std::sync::Arc;

use bytes::Bytes;
use net::rt::{self, Instant};

use super::{Broken, ReadError};
use crate::{
    Core,
    raft::GroupView,
    stream::{Base, Offset, StreamName, StreamRow, group_of},
};

/// Where the bytes of a stream are. Never empty: first the stream itself, then one source after the other.
#[derive(Clone)]
pub(crate) struct Lineage(Vec<Generation>);

/// One stream of a lineage, with the bytes that are read from it.
#[derive(Clone)]
struct Generation {
    view: GroupView,
    incarnation: u64,
    /// One past the last byte that is read from it: where the next younger one begins.
    until: Offset,
}

impl Core {
    /// The lineage of a stream, back to whom the byte at `from` is of.
    ///
    /// # Errors
    /// When this node has not come so far in time, or the stream is there no more.
    pub(crate) async fn lineage(
        &self,
        view: &GroupView,
        stream: &StreamName,
        row: &StreamRow,
        from: Offset,
        deadline: Instant,
    ) -> Result<Lineage, ReadError> {
        let own = Generation {
            view: view.clone(),
            incarnation: row.incarnation,
            until: Offset(u64::MAX),
        };
        let mut generations = vec![own];
        let mut base = row.base.clone();
        let mut until = Offset(u64::MAX);
        while let Some(younger) = base {
            until = until.min(younger.offset);
            if from >= until {
                break;
            }
            let Some((view, source)) = self.source(&younger, deadline).await? else {
                return Err(lost(view, stream, row));
            };
            generations.push(Generation {
                view,
                incarnation: younger.incarnation,
                until,
            });
            base = source.base.clone();
        }
        Ok(Lineage(generations))
    }

    /// What a fork is based on, with all bytes it may need.
    async fn source(&self, base: &Base, deadline: Instant) -> Result<Option<(GroupView, Arc<StreamRow>)>, ReadError> {
        let group = group_of(&base.source, self.groups.count());
        let applied = self.groups.wait_applied(group, base.seen);
        match rt::timeout_at(deadline, applied).await {
            Ok(Ok(())) => {}
            Ok(Err(because)) => return Err(ReadError::Unavailable { because }),
            Err(rt::Elapsed) => {
                return Err(ReadError::Unavailable {
                    because: "this node has not caught up with the source of this fork in time".into(),
                });
            }
        }
        let view = self.groups.view(group);
        let row = view.row(&base.source).map_err(Broken::of)?;
        let row = row.filter(|row| row.incarnation == base.incarnation);
        Ok(row.map(|row| (view, row)))
    }
}

/// A source stays as long as its fork does: if it is not there, the fork was deleted since we looked; or else something is
/// very wrong.
fn lost(view: &GroupView, stream: &StreamName, row: &StreamRow) -> ReadError {
    match view.row(stream) {
        Ok(Some(now)) if now.incarnation == row.incarnation => {
            tracing::error!(%stream, "the source of a fork is not there");
            Broken::of("the source of this fork is not there").into()
        }
        Ok(_) => ReadError::NotFound,
        Err(error) => Broken::of(error).into(),
    }
}

impl Lineage {
    /// Whose byte this is.
    fn of(&self, at: Offset) -> &Generation {
        let oldest = self.0.iter().rev().find(|generation| at < generation.until);
        oldest.unwrap_or(&self.0[0])
    }

    /// All bytes are of this incarnation.
    pub(crate) fn alone(view: GroupView, incarnation: u64) -> Self {
        Self(vec![Generation {
            view,
            incarnation,
            until: Offset(u64::MAX),
        }])
    }

    /// Where appends end, the next ones from `from` on, and up to where that is all of them. A fork begins after an end,
    /// wherever in an append of its source that is.
    pub(super) fn ends(&self, from: Offset, to: Offset) -> Result<(Vec<Offset>, Offset), Broken> {
        let Generation {
            view,
            incarnation,
            until,
        } = self.of(from);
        let found = view.append_ends(*incarnation, from, to.min(*until));
        let (mut ends, known) = found.map_err(Broken::of)?;
        ends.retain(|end| end < until);
        if known >= *until {
            ends.push(*until);
        }
        Ok((ends, known.min(*until)))
    }

    /// The stream itself.
    pub(super) fn view(&self) -> &GroupView {
        &self.0[0].view
    }

    /// The bytes from `at` up to `to`, if all of them are of one stream and in memory.
    pub(super) fn recent(&self, at: Offset, to: Offset) -> Option<Vec<Bytes>> {
        let Generation {
            view,
            incarnation,
            until,
        } = self.of(at);
        (to <= *until).then(|| view.recent(*incarnation, at, to)).flatten()
    }

    /// The bytes from `at` on, in pieces: at least one byte, at most up to `to`, and at most about a MiB.
    pub(super) async fn read(&self, at: Offset, to: Offset) -> Result<Vec<Bytes>, Broken> {
        let generation = self.of(at);
        let pieces = generation
            .view
            .read(generation.incarnation, at, to.min(generation.until));
        Ok(pieces.await?)
    }

    /// Where the append ends that the byte at `at` is of; or where the part of it ends that the fork has.
    pub(crate) fn append_end(&self, at: Offset) -> Result<Option<Offset>, Broken> {
        let generation = self.of(at);
        let end = generation.view.append_end(generation.incarnation, at);
        let end = end.map_err(Broken::of)?;
        Ok(end.map(|end| end.min(generation.until)))
    }
}
