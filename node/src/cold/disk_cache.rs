//! Blocks of objects on the node's own disk, beside those in memory: for histories that are read again and again.
//!
//! One file of slots, one block in each; who was asked for longest ago gives its slot away. What is in which slot is only
//! known in memory, with a checksum, so nothing has to be synced, a restart begins anew, and a slot that was overwritten
//! while it was read, or that the disk did not keep, is found out. A disk that fails only makes it useless.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use net::rt;
use storage::disk::{Disk, File};
use tokio::sync::OnceCell;

use super::ages::Ages;
use super::cache::BlockId;

/// The folder, and the file in it.
const FOLDER: &str = "cold-cache";
const NAME: &str = "cold-cache/blocks";

pub(super) struct DiskCache {
    disk: Arc<dyn Disk>,
    /// Made when it is first needed; none if it cannot be.
    file: OnceCell<Option<Arc<dyn File>>>,
    block_bytes: u64,
    state: Mutex<State>,
}

struct State {
    slots: u64,
    /// Slots that were given away so far, at most all.
    used: u64,
    /// Of these, the ones that nothing is in any more.
    free: Vec<u64>,
    blocks: BTreeMap<BlockId, Kept>,
    ages: Ages,
}

#[derive(Clone, Copy)]
struct Kept {
    slot: u64,
    len: u32,
    crc32c: u32,
    asked: u64,
    /// Whether it has been written.
    is_there: bool,
}

impl DiskCache {
    /// A cache of so many bytes of blocks of this length; none if not even one fits.
    pub(super) fn new(disk: Arc<dyn Disk>, bytes: u64, block_bytes: u64) -> Option<Self> {
        let slots = bytes / block_bytes.max(1);
        let state = State {
            slots,
            used: 0,
            free: Vec::new(),
            blocks: BTreeMap::new(),
            ages: Ages::default(),
        };
        (slots > 0).then(|| Self {
            disk,
            file: OnceCell::new(),
            block_bytes,
            state: Mutex::new(state),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn file(&self) -> Option<Arc<dyn File>> {
        let make = || async {
            let disk = self.disk.clone();
            match rt::offload(async move { anew(&*disk).await }).await {
                Ok(Ok(file)) => Some(file),
                Ok(Err(error)) => {
                    tracing::warn!(%error, folder = FOLDER, "there is no room for blocks of objects on this disk");
                    None
                }
                Err(_) => None,
            }
        };
        self.file.get_or_init(make).await.clone()
    }

    /// A block, if it is there and whole.
    pub(super) async fn get(&self, id: &BlockId) -> Option<Bytes> {
        let kept = self.state().ask(id)?;
        let (file, offset) = (self.file().await?, kept.slot * self.block_bytes);
        let read = rt::offload(async move { file.read_at(offset, kept.len as usize).await });
        match read.await {
            Ok(Ok(bytes)) if crc32c::crc32c(&bytes) == kept.crc32c => Some(bytes),
            _ => {
                self.remove(id);
                None
            }
        }
    }

    /// Keeps a block, if it can.
    pub(super) async fn put(&self, id: &BlockId, bytes: Bytes) {
        if bytes.is_empty() || bytes.len() as u64 > self.block_bytes {
            return;
        }
        let Some(file) = self.file().await else { return };
        let (len, crc32c) = (bytes.len() as u32, crc32c::crc32c(&bytes));
        let slot = self.state().place(id, len, crc32c);
        let offset = slot * self.block_bytes;
        let written = rt::offload(async move { file.write_at(offset, vec![bytes]).await }).await;
        if matches!(written, Ok(Ok(()))) {
            self.state().is_written(id, slot);
        } else {
            self.remove(id);
        }
    }

    /// What is kept of a block is wrong.
    pub(super) fn remove(&self, id: &BlockId) {
        let mut state = self.state();
        if let Some(kept) = state.blocks.remove(id) {
            state.ages.forget(kept.asked);
            state.free.push(kept.slot);
        }
    }
}

impl State {
    /// Who is asked for was asked for last.
    fn ask(&mut self, id: &BlockId) -> Option<Kept> {
        let kept = self.blocks.get_mut(id).filter(|kept| kept.is_there)?;
        self.ages.again(&mut kept.asked, id);
        Some(*kept)
    }

    /// A slot for a block: its own, a free one, or that of who was asked for longest ago.
    fn place(&mut self, id: &BlockId, len: u32, crc32c: u32) -> u64 {
        let own = self.blocks.remove(id);
        if let Some(kept) = own {
            self.ages.forget(kept.asked);
        }
        let slot = own
            .map(|kept| kept.slot)
            .or_else(|| self.free.pop())
            .unwrap_or_else(|| {
                if self.used < self.slots {
                    self.used += 1;
                    return self.used - 1;
                }
                let oldest = self.ages.oldest().and_then(|oldest| self.blocks.remove(&oldest));
                oldest.map_or(0, |kept| kept.slot)
            });
        let kept = Kept {
            slot,
            len,
            crc32c,
            asked: self.ages.now(id),
            is_there: false,
        };
        self.blocks.insert(id.clone(), kept);
        slot
    }

    fn is_written(&mut self, id: &BlockId, slot: u64) {
        if let Some(kept) = self.blocks.get_mut(id).filter(|kept| kept.slot == slot) {
            kept.is_there = true;
        }
    }
}

/// The file, empty: what an earlier life left in it says nothing.
async fn anew(disk: &dyn Disk) -> io::Result<Arc<dyn File>> {
    match disk.open(NAME).await {
        Ok(file) => Ok(file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => disk.create(NAME).await,
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use storage::memory::MemoryDisk;

    use super::*;

    fn id(number: u64) -> BlockId {
        BlockId {
            key: "object".into(),
            number,
        }
    }

    fn block(byte: u8, len: usize) -> Bytes {
        vec![byte; len].into()
    }

    #[test]
    fn blocks_come_back_and_who_was_asked_for_longest_ago_makes_room() {
        rt::block_on(async {
            let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::default());
            let cache = DiskCache::new(disk.clone(), 25, 10).expect("two slots");
            assert_eq!(cache.get(&id(1)).await, None);
            cache.put(&id(1), block(1, 10)).await;
            cache.put(&id(2), block(2, 7)).await;
            assert_eq!(cache.get(&id(1)).await, Some(block(1, 10)));
            cache.put(&id(3), block(3, 10)).await;
            assert_eq!(cache.get(&id(2)).await, None, "it was asked for longest ago");
            assert_eq!(
                (cache.get(&id(1)).await, cache.get(&id(3)).await),
                (Some(block(1, 10)), Some(block(3, 10)))
            );
            cache.put(&id(1), block(4, 4)).await;
            assert_eq!(cache.get(&id(1)).await, Some(block(4, 4)));
            cache.put(&id(5), block(5, 11)).await;
            assert_eq!(cache.get(&id(5)).await, None, "longer than a slot");
            cache.remove(&id(1));
            assert_eq!(cache.get(&id(1)).await, None);
            cache.put(&id(6), block(6, 1)).await;
            assert_eq!(
                cache.get(&id(3)).await,
                Some(block(3, 10)),
                "the slot of what was removed goes first"
            );
        })
        .unwrap();
    }

    #[test]
    fn what_the_disk_did_not_keep_is_never_handed_out() {
        rt::block_on(async {
            let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::default());
            let cache = DiskCache::new(disk.clone(), 10, 10).expect("a slot");
            cache.put(&id(1), block(1, 10)).await;
            let file = disk.open(NAME).await.expect("its file");
            file.write_at(3, vec![block(9, 1)]).await.unwrap();
            assert_eq!(cache.get(&id(1)).await, None);
            assert!(DiskCache::new(disk, 9, 10).is_none(), "not even one fits");
        })
        .unwrap();
    }
}
