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

    /// A stream may have parted before it became somebody's kin, so they are all looked at, again and again.
    pub(crate) fn part(&mut self, stream: usize) {
        self.streams.insert(stream);
        loop {
            let with_kin = |(fork, from): &&(usize, usize)| self.streams.contains(fork) || self.streams.contains(from);
            let kin = self.kin.iter().filter(with_kin).flat_map(|(fork, from)| [*fork, *from]);
            let parted: BTreeSet<usize> = kin.chain(self.streams.iter().copied()).collect();
            if parted == self.streams {
                return;
            }
            self.streams = parted;
        }
    }
}
