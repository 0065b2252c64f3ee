//! What was made once for all readers who stand at the same place of a stream.
//!
//! A reader at the tail takes the event that begins where it stands. Only the newest are kept, for those who are a moment
//! behind; whoever is further behind makes its own. Bounded per stream and over all streams.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;

use crate::stream::Offset;

/// Events kept of one stream.
const EVENTS_MAX: usize = 16;

/// Bytes kept of one stream, unless one event alone is longer.
const STREAM_BYTES_MAX: usize = 256 * 1024;

/// Bytes kept of all streams of a node.
const NODE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Where an event begins, and how it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) incarnation: u64,
    pub(crate) from: Offset,
    /// The way it is encoded; one number for each that whoever makes events knows.
    pub(crate) manner: u8,
}

/// An event, ready to be sent.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    /// All of it.
    pub(crate) whole: Bytes,
    /// How much of it are the stream's bytes; the rest says where the reader stands after it.
    pub(crate) data_len: usize,
    /// Where the reader stands after it.
    pub(crate) next: Offset,
    /// Up to where the stream was looked at for it. What lies between waits for what follows.
    pub(crate) seen: Offset,
    /// The cursor it tells.
    pub(crate) cursor: u64,
    /// Whether it is the stream's last.
    pub(crate) last: bool,
}

/// The newest events of a stream.
pub(super) struct Shared {
    events: VecDeque<(Place, Event)>,
    bytes: usize,
    /// Bytes kept of all streams.
    node_bytes: Arc<AtomicUsize>,
}

impl Shared {
    pub(super) fn new(node_bytes: Arc<AtomicUsize>) -> Self {
        Self {
            events: VecDeque::new(),
            bytes: 0,
            node_bytes,
        }
    }

    pub(super) fn find(&self, place: Place) -> Option<Event> {
        // Nearly always the newest.
        let mut newest_first = self.events.iter().rev();
        newest_first
            .find(|(kept, _)| *kept == place)
            .map(|(_, event)| event.clone())
    }

    pub(super) fn keep(&mut self, place: Place, event: Event) {
        let len = event.whole.len();
        while !self.events.is_empty() && (self.events.len() == EVENTS_MAX || self.bytes + len > STREAM_BYTES_MAX) {
            self.drop_oldest();
        }
        if self.node_bytes.fetch_add(len, Ordering::Relaxed) + len > NODE_BYTES_MAX {
            self.node_bytes.fetch_sub(len, Ordering::Relaxed);
            return;
        }
        self.bytes += len;
        self.events.push_back((place, event));
    }

    fn drop_oldest(&mut self) {
        if let Some((_, event)) = self.events.pop_front() {
            let len = event.whole.len();
            self.bytes -= len;
            self.node_bytes.fetch_sub(len, Ordering::Relaxed);
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.node_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(len: usize) -> Event {
        Event {
            whole: vec![b'x'; len].into(),
            data_len: len,
            next: Offset(0),
            seen: Offset(0),
            cursor: 0,
            last: false,
        }
    }

    fn at(from: u64) -> Place {
        Place {
            incarnation: 1,
            from: Offset(from),
            manner: 0,
        }
    }

    #[test]
    fn events_are_found_by_life_place_and_manner() {
        let mut shared = Shared::new(Arc::default());
        shared.keep(at(5), event(3));
        assert!(shared.find(at(5)).is_some());
        assert!(shared.find(at(4)).is_none());
        assert!(
            shared
                .find(Place {
                    incarnation: 2,
                    ..at(5)
                })
                .is_none()
        );
        assert!(shared.find(Place { manner: 1, ..at(5) }).is_none());
    }

    #[test]
    fn the_oldest_go_by_number_and_by_bytes_and_nothing_stays_behind() {
        let node_bytes = Arc::new(AtomicUsize::new(0));
        let mut shared = Shared::new(node_bytes.clone());
        for from in 0..100 {
            shared.keep(at(from), event(10));
        }
        assert!(shared.find(at(83)).is_none());
        assert!(shared.find(at(84)).is_some());
        shared.keep(at(100), event(STREAM_BYTES_MAX));
        assert!(shared.find(at(99)).is_none());
        assert_eq!(node_bytes.load(Ordering::Relaxed), STREAM_BYTES_MAX);
        drop(shared);
        assert_eq!(node_bytes.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn all_streams_together_have_a_bound() {
        let node_bytes = Arc::new(AtomicUsize::new(NODE_BYTES_MAX - 5));
        let mut shared = Shared::new(node_bytes.clone());
        shared.keep(at(0), event(6));
        assert!(shared.find(at(0)).is_none());
        shared.keep(at(0), event(5));
        assert!(shared.find(at(0)).is_some());
    }
}
