//! The stream rows used last, decoded: a bounded window on the index.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use crate::stream::{StreamName, StreamRow};

/// Rows by name. A name that is not here may still be in the index.
pub(super) struct RowCache {
    rows_max: usize,
    rows: BTreeMap<Arc<StreamName>, Kept>,
    /// In the order they came. Names that are gone stay here until they are passed over, and may be here twice.
    order: VecDeque<Arc<StreamName>>,
}

struct Kept {
    row: Arc<StreamRow>,
    /// Used since it was last passed over: it gets a second chance.
    used: bool,
}

impl RowCache {
    pub(super) fn new(rows_max: usize) -> Self {
        Self {
            rows_max,
            rows: BTreeMap::new(),
            order: VecDeque::new(),
        }
    }

    pub(super) fn get(&mut self, name: &StreamName) -> Option<Arc<StreamRow>> {
        let kept = self.rows.get_mut(name)?;
        kept.used = true;
        Some(kept.row.clone())
    }

    pub(super) fn put(&mut self, name: &StreamName, row: Arc<StreamRow>) {
        if let Some(kept) = self.rows.get_mut(name) {
            kept.row = row;
            return;
        }
        let name = Arc::new(name.clone());
        self.rows.insert(name.clone(), Kept { row, used: false });
        self.order.push_back(name);
        if self.order.len() > 2 * self.rows_max {
            let mut seen = BTreeSet::new();
            self.order
                .retain(|name| self.rows.contains_key(name) && seen.insert(name.clone()));
        }
        while self.rows.len() > self.rows_max {
            let Some(oldest) = self.order.pop_front() else { break };
            match self.rows.get_mut(&oldest) {
                Some(kept) if kept.used => {
                    kept.used = false;
                    self.order.push_back(oldest);
                }
                Some(_) => drop(self.rows.remove(&oldest)),
                None => {}
            }
        }
    }

    pub(super) fn remove(&mut self, name: &StreamName) {
        self.rows.remove(name);
    }

    pub(super) fn clear(&mut self) {
        self.rows.clear();
        self.order.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(incarnation: u64) -> Arc<StreamRow> {
        Arc::new(StreamRow::born(incarnation, "text/plain".into(), 0))
    }

    fn name(number: u64) -> StreamName {
        StreamName::flat(&format!("s{number}")).unwrap()
    }

    #[test]
    fn what_is_used_stays_and_the_rest_goes_in_turn() {
        let mut cache = RowCache::new(3);
        for number in 0..3 {
            cache.put(&name(number), row(number));
        }
        assert!(cache.get(&name(0)).is_some());
        cache.put(&name(3), row(3));
        assert!(cache.get(&name(1)).is_none());
        assert!(cache.get(&name(0)).is_some());
        cache.remove(&name(0));
        cache.put(&name(0), row(9));
        assert_eq!(cache.get(&name(0)).unwrap().incarnation, 9);
        assert!(cache.rows.len() <= 3 && cache.order.len() <= 4);
    }

    #[test]
    fn streams_that_come_and_go_leave_nothing_behind() {
        let mut cache = RowCache::new(3);
        cache.put(&name(0), row(0));
        for number in 1..100 {
            for _ in 0..3 {
                cache.put(&name(number), row(number));
                cache.remove(&name(number));
            }
        }
        assert!(cache.order.len() <= 6);
        assert!(cache.get(&name(0)).is_some(), "none of them was ever one too many");
        assert_eq!(cache.rows.len(), 1);
    }
}
