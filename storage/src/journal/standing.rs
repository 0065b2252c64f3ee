//! What the next segment repeats at its head, so that every older one can be freed: of each group the latest vote,
//! commit and purge and where its log ends; and which segments were freed.
//!
//! The end of the log is repeated as a `Truncate`. Without it, freeing the segment of a truncation would bring back,
//! at the next start, the entries it removed from a segment that is still there.

use std::collections::BTreeMap;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::record::{Kind, Record};

/// The state that segments repeat.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Standing {
    groups: BTreeMap<u32, Group>,
    pub(super) released: Spans,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Group {
    vote: Option<Record>,
    committed: Option<Record>,
    purge: Option<Record>,
    /// The index after the last entry.
    next: Option<u64>,
}

impl Standing {
    /// Takes note of a record that was appended or recovered. `payload` is asked only if it is to be kept.
    pub(super) fn note(&mut self, kind: Kind, group: u32, index: u64, term: u64, payload: impl FnOnce() -> Vec<Bytes>) {
        match kind {
            Kind::Hot | Kind::End | Kind::Seal => return,
            Kind::Released => {
                if let Some(spans) = Spans::decode(payload()) {
                    self.released = spans;
                }
                return;
            }
            Kind::Entry | Kind::Vote | Kind::Truncate | Kind::Purge | Kind::Committed => {}
        }
        let known = self.groups.entry(group).or_default();
        let record = || {
            Some(Record {
                kind,
                group,
                index,
                term,
                payload: payload(),
            })
        };
        match kind {
            Kind::Entry => known.next = Some(index.saturating_add(1)),
            Kind::Truncate => known.next = Some(index),
            Kind::Vote => known.vote = record(),
            Kind::Committed => known.committed = record(),
            Kind::Purge => {
                known.purge = record();
                known.next = known.next.max(Some(index.saturating_add(1)));
            }
            Kind::Hot | Kind::Released | Kind::End | Kind::Seal => {}
        }
    }

    /// The records that say all this again.
    pub(super) fn records(&self) -> Vec<Record> {
        let mut records = Vec::new();
        for (&group, known) in &self.groups {
            records.extend([&known.vote, &known.purge].into_iter().flatten().cloned());
            if let Some(next) = known.next {
                records.push(Record {
                    kind: Kind::Truncate,
                    group,
                    index: next,
                    term: 0,
                    payload: Vec::new(),
                });
            }
            records.extend(known.committed.clone());
        }
        if !self.released.is_empty() {
            records.push(self.released.record());
        }
        records
    }
}

/// A set of segment numbers, kept as spans: freed segments lie together, so there are few.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Spans(
    /// From each first number to the one after the last.
    BTreeMap<u64, u64>,
);

impl Spans {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// From each first number to the one after the last.
    pub(super) fn spans(&self) -> impl Iterator<Item = (u64, u64)> {
        self.0.iter().map(|(&from, &to)| (from, to))
    }

    pub(super) fn contains(&self, id: u64) -> bool {
        self.0.range(..=id).next_back().is_some_and(|(_, &to)| id < to)
    }

    pub(super) fn insert(&mut self, id: u64) {
        if self.contains(id) {
            return;
        }
        let to = self.0.remove(&(id + 1)).unwrap_or(id + 1);
        match self.0.range_mut(..id).next_back() {
            Some((_, before)) if *before == id => *before = to,
            _ => {
                self.0.insert(id, to);
            }
        }
    }

    /// The note that says it: always the whole set, so that the latest note is enough.
    pub(super) fn record(&self) -> Record {
        let mut payload = BytesMut::with_capacity(self.0.len() * 16);
        for (&from, &to) in &self.0 {
            payload.put_u64_le(from);
            payload.put_u64_le(to);
        }
        Record {
            kind: Kind::Released,
            group: 0,
            index: 0,
            term: 0,
            payload: vec![payload.freeze()],
        }
    }

    fn decode(pieces: Vec<Bytes>) -> Option<Spans> {
        let bytes = pieces.concat();
        let mut bytes = bytes.as_slice();
        let mut spans = BTreeMap::new();
        while bytes.has_remaining() {
            spans.insert(bytes.try_get_u64_le().ok()?, bytes.try_get_u64_le().ok()?);
        }
        Some(Spans(spans))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn freed_segments_melt_into_spans() {
        let mut spans = Spans::default();
        for id in [5, 1, 3, 2, 9, 4, 5] {
            spans.insert(id);
        }
        assert_eq!(spans.0, BTreeMap::from([(1, 6), (9, 10)]));
        assert!(spans.contains(1) && spans.contains(5) && spans.contains(9));
        assert!(!spans.contains(0) && !spans.contains(6) && !spans.contains(8) && !spans.contains(10));
        assert_eq!(Spans::decode(spans.record().payload), Some(spans));
    }

    #[test]
    fn what_is_repeated_says_the_same_again() {
        let mut standing = Standing::default();
        for (kind, index) in [
            (Kind::Vote, 0),
            (Kind::Entry, 0),
            (Kind::Entry, 1),
            (Kind::Entry, 2),
            (Kind::Truncate, 2),
            (Kind::Purge, 0),
        ] {
            standing.note(kind, 4, index, 1, || vec![Bytes::from_static(b"v")]);
        }
        standing.released.insert(1);
        let mut again = Standing::default();
        for record in standing.records() {
            again.note(record.kind, record.group, record.index, record.term, || {
                record.payload.clone()
            });
        }
        assert_eq!(again, standing);
    }
}
