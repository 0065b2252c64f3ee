//! Which blocks were asked for longest ago.

use std::collections::BTreeMap;

use super::cache::BlockId;

/// Blocks by when they were last asked for. What is handed out for one is needed to move or to forget it.
#[derive(Debug, Default)]
pub(super) struct Ages {
    /// Counts the asking.
    asked: u64,
    blocks: BTreeMap<u64, BlockId>,
}

impl Ages {
    /// A block is asked for now.
    pub(super) fn now(&mut self, id: &BlockId) -> u64 {
        self.asked += 1;
        self.blocks.insert(self.asked, id.clone());
        self.asked
    }

    /// One that was asked for then is asked for again.
    pub(super) fn again(&mut self, asked: &mut u64, id: &BlockId) {
        self.forget(*asked);
        *asked = self.now(id);
    }

    /// One that was asked for then is there no more.
    pub(super) fn forget(&mut self, asked: u64) {
        self.blocks.remove(&asked);
    }

    /// The one that was asked for longest ago, which goes.
    pub(super) fn oldest(&mut self) -> Option<BlockId> {
        self.blocks.pop_first().map(|(_, id)| id)
    }
}
