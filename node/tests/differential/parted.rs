//! Streams that stand differently on the two sides since a known difference: nothing about them can be compared any more.
//!
//! What a source is when it is deleted depends on its forks, so a stream takes all its kin along.

use std::collections::BTreeSet;

use crate::{answer::Answer, step::Step};

#[derive(Debug, Default)]
pub(crate) struct Parted {
    streams: BTreeSet<usize>,
    /// Each fork there ever was, and its source.
    kin: BTreeSet<(usize, usize)>,
}

impl Parted {
    /// Whether this has an answer that can be compared.
    pub(crate) fn concerns(&self, step: &Step) -> bool {
        let from = step.fork.as_ref().map(|fork| fork.from);
        [Some(step.stream), from]
            .iter()
            .flatten()
            .any(|stream| self.streams.contains(stream))
    }

    /// Notes what a step made of Holdfast's streams.
    pub(crate) fn note(&mut self, step: &Step, ours: &Answer) {
        if let Some(fork) = &step.fork
            && ours.ok()
        {
            self.kin.insert((step.stream, fork.from));
        }
        if self.concerns(step) && ours.ok() {
            self.part(step.stream);
        }
    }

    /// Whether two answers to a write tell of two states.
    pub(crate) fn by(step: &Step, ours: &Answer, theirs: &Answer) -> bool {
        // Of a PUT of what is there nothing is stored, whatever the answer.
        let nothing = step.method == "PUT" && !matches!((ours.status, theirs.status), (201, _) | (_, 201));
        step.is_write() && (ours.ok() || theirs.ok()) && ours.status != theirs.status && !nothing
    }

    pub(crate) fn part(&mut self, stream: usize) {
        if self.streams.insert(stream) {
            let kin: Vec<usize> = self
                .kin
                .iter()
                .filter(|(fork, from)| *fork == stream || *from == stream)
                .map(|(fork, from)| if *fork == stream { *from } else { *fork })
                .collect();
            kin.into_iter().for_each(|stream| self.part(stream));
        }
    }
}
