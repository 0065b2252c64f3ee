//! The newest bytes of all streams of a node, in memory: what tailing readers ask for.
//!
//! Bounded by bytes, first in, first out. Entries share their bytes with the log's cache and with the readers.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

/// What an entry costs besides its bytes.
const OVERHEAD: usize = 128;

/// A group, a stream of it, and the offset of the first byte.
type Place = (u32, u64, u64);

/// Recent bytes by place.
pub struct TailCache {
    bytes_max: usize,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    pieces: BTreeMap<Place, Bytes>,
    /// Oldest first. A place stays until it is evicted, even if it was put again.
    order: VecDeque<(Place, usize)>,
    bytes: usize,
}

impl TailCache {
    /// Holds up to so many bytes, overhead included.
    pub fn new(bytes_max: usize) -> Self {
        Self {
            bytes_max,
            inner: Mutex::default(),
        }
    }

    /// Remembers bytes of a stream (a group and an incarnation) from an offset on.
    pub fn put(&self, group: u32, incarnation: u64, offset: u64, bytes: Bytes) {
        let cost = bytes.len() + OVERHEAD;
        if cost > self.bytes_max {
            return;
        }
        let mut guard = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let inner = &mut *guard;
        let place = (group, incarnation, offset);
        if inner.pieces.insert(place, bytes).is_some() {
            return;
        }
        inner.order.push_back((place, cost));
        inner.bytes += cost;
        while inner.bytes > self.bytes_max {
            let Some((place, cost)) = inner.order.pop_front() else {
                break;
            };
            inner.pieces.remove(&place);
            inner.bytes -= cost;
        }
    }

    /// The bytes from `offset` on that are remembered in one piece, if that place is.
    pub fn get(&self, group: u32, incarnation: u64, offset: u64) -> Option<Bytes> {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let (place, piece) = inner
            .pieces
            .range((group, incarnation, 0)..=(group, incarnation, offset))
            .next_back()?;
        let skip = usize::try_from(offset - place.2).ok()?;
        (skip < piece.len()).then(|| piece.slice(skip..))
    }

    /// Bytes held now, overhead included.
    pub fn bytes(&self) -> usize {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_is_found_by_any_of_its_offsets() {
        let cache = TailCache::new(10_000);
        cache.put(1, 7, 100, Bytes::from_static(b"hello"));
        assert_eq!(cache.get(1, 7, 100).unwrap(), "hello");
        assert_eq!(cache.get(1, 7, 104).unwrap(), "o");
        assert_eq!(cache.get(1, 7, 105), None);
        assert_eq!(cache.get(1, 7, 99), None);
        assert_eq!(cache.get(1, 8, 100), None);
        assert_eq!(cache.get(2, 7, 100), None);
    }

    #[test]
    fn the_oldest_go_first_and_the_bound_holds() {
        let cache = TailCache::new(3 * (10 + OVERHEAD));
        for offset in 0..10 {
            cache.put(1, 1, offset * 10, vec![offset as u8; 10].into());
            assert!(cache.bytes() <= 3 * (10 + OVERHEAD));
        }
        assert_eq!(cache.get(1, 1, 69), None);
        assert_eq!(cache.get(1, 1, 70).unwrap()[0], 7);
        cache.put(1, 1, 1000, vec![0; 10_000].into());
        assert_eq!(cache.get(1, 1, 1000), None);
    }
}
