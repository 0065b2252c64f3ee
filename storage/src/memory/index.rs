//! The index as a sorted map in memory.

use std::{
    collections::BTreeMap,
    io,
    ops::Bound::{Excluded, Included},
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;

use crate::index::{Batch, Change, Index};

/// An [`Index`] that lives as long as its value does: a "crash" in which nothing is lost.
#[derive(Debug, Default)]
pub struct MemoryIndex {
    rows: Mutex<BTreeMap<Bytes, Bytes>>,
}

impl MemoryIndex {
    /// An empty index.
    pub fn new() -> MemoryIndex {
        MemoryIndex::default()
    }

    fn rows(&self) -> MutexGuard<'_, BTreeMap<Bytes, Bytes>> {
        // A panic elsewhere cannot leave half a batch: applying one does not panic.
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Applies a batch to a sorted map: what [`Index::write`] means.
pub fn apply(rows: &mut BTreeMap<Bytes, Bytes>, batch: &Batch) {
    for change in &batch.changes {
        match change {
            Change::Put(key, value) => {
                rows.insert(key.clone(), value.clone());
            }
            Change::Delete(key) => {
                rows.remove(key);
            }
            Change::DeleteRange(from, to) if from < to => {
                let doomed: Vec<Bytes> = rows
                    .range(from.clone()..to.clone())
                    .map(|(key, _)| key.clone())
                    .collect();
                for key in doomed {
                    rows.remove(&key);
                }
            }
            Change::DeleteRange(..) => {}
        }
    }
}

impl Index for MemoryIndex {
    fn write(&self, batch: Batch) -> io::Result<()> {
        apply(&mut self.rows(), &batch);
        Ok(())
    }

    fn get(&self, key: &[u8]) -> io::Result<Option<Bytes>> {
        Ok(self.rows().get(key).cloned())
    }

    fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> io::Result<Vec<(Bytes, Bytes)>> {
        if from >= to {
            return Ok(Vec::new());
        }
        let rows = self.rows();
        Ok(rows
            .range::<[u8], _>((Included(from), Excluded(to)))
            .take(limit)
            .map(owned)
            .collect())
    }

    fn last(&self, from: &[u8], to: &[u8]) -> io::Result<Option<(Bytes, Bytes)>> {
        if from >= to {
            return Ok(None);
        }
        let rows = self.rows();
        Ok(rows
            .range::<[u8], _>((Included(from), Excluded(to)))
            .next_back()
            .map(owned))
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }

    fn approximate_bytes(&self) -> u64 {
        self.rows()
            .iter()
            .map(|(key, value)| (key.len() + value.len()) as u64)
            .sum()
    }
}

fn owned((key, value): (&Bytes, &Bytes)) -> (Bytes, Bytes) {
    (key.clone(), value.clone())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::contract::index::{self as contract, Lives};

    #[test]
    fn keeps_the_contract() {
        contract::all(&|| Arc::new(MemoryIndex::new()));
    }

    /// Nothing is ever lost: the kindest of the lawful crashes.
    struct Immortal(Arc<MemoryIndex>);

    impl Lives for Immortal {
        fn index(&self) -> Arc<dyn Index> {
            self.0.clone()
        }

        fn crash(&mut self) {}
    }

    #[test]
    fn keeps_the_contract_of_crashes() {
        contract::crashes(&mut Immortal(Arc::new(MemoryIndex::new())), 1, 20);
    }
}
