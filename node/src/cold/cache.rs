//! Blocks of objects in memory, at most so many bytes; who was asked for longest ago goes first.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::ages::Ages;

/// A block of an object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct BlockId {
    pub(super) key: Arc<str>,
    pub(super) number: u64,
}

/// Blocks by name.
#[derive(Debug)]
pub(super) struct Cache {
    bytes_max: usize,
    bytes: usize,
    blocks: BTreeMap<BlockId, (Bytes, u64)>,
    ages: Ages,
}

impl Cache {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self {
            bytes_max,
            bytes: 0,
            blocks: BTreeMap::new(),
            ages: Ages::default(),
        }
    }

    pub(super) fn get(&mut self, id: &BlockId) -> Option<Bytes> {
        let (bytes, asked) = self.blocks.get_mut(id)?;
        self.ages.again(asked, id);
        Some(bytes.clone())
    }

    pub(super) fn put(&mut self, id: BlockId, bytes: Bytes) {
        self.remove(&id);
        if bytes.len() > self.bytes_max {
            return;
        }
        self.bytes += bytes.len();
        let asked = self.ages.now(&id);
        self.blocks.insert(id, (bytes, asked));
        while self.bytes > self.bytes_max {
            let Some(oldest) = self.ages.oldest() else {
                break;
            };
            if let Some((gone, _)) = self.blocks.remove(&oldest) {
                self.bytes -= gone.len();
            }
        }
    }

    pub(super) fn remove(&mut self, id: &BlockId) {
        if let Some((gone, asked)) = self.blocks.remove(id) {
            self.bytes -= gone.len();
            self.ages.forget(asked);
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u64) -> BlockId {
        BlockId {
            key: "object".into(),
            number,
        }
    }

    #[test]
    fn who_was_asked_for_longest_ago_goes_first() {
        let mut cache = Cache::new(30);
        for number in 0..3 {
            cache.put(id(number), Bytes::from(vec![number as u8; 10]));
        }
        assert!(cache.get(&id(0)).is_some());
        cache.put(id(3), Bytes::from(vec![3; 10]));
        assert_eq!(cache.bytes(), 30);
        assert!(cache.get(&id(1)).is_none(), "the oldest");
        assert!([0, 2, 3].iter().all(|number| cache.get(&id(*number)).is_some()));
        cache.remove(&id(0));
        cache.put(id(4), Bytes::from(vec![4; 31]));
        assert_eq!(cache.bytes(), 20, "what is larger than all of it is not kept");
    }
}
