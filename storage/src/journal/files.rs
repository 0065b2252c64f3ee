//! The files of segments that are open for reading, a bounded number of them.

use std::{collections::BTreeMap, sync::Arc};

use crate::disk::File;

/// Open files, those longest unused given up first.
pub(super) struct Files {
    most: usize,
    uses: u64,
    open: BTreeMap<u64, (u64, Arc<dyn File>)>,
}

impl Files {
    pub(super) fn new(most: usize) -> Files {
        Files {
            most: most.max(1),
            uses: 0,
            open: BTreeMap::new(),
        }
    }

    pub(super) fn get(&mut self, segment: u64) -> Option<Arc<dyn File>> {
        self.uses += 1;
        let (used, file) = self.open.get_mut(&segment)?;
        *used = self.uses;
        Some(file.clone())
    }

    pub(super) fn put(&mut self, segment: u64, file: Arc<dyn File>) {
        self.uses += 1;
        self.open.insert(segment, (self.uses, file));
        if self.open.len() > self.most
            && let Some(oldest) = self
                .open
                .iter()
                .min_by_key(|(_, (used, _))| *used)
                .map(|(&segment, _)| segment)
        {
            self.open.remove(&oldest);
        }
    }

    pub(super) fn forget(&mut self, segment: u64) {
        self.open.remove(&segment);
    }
}
