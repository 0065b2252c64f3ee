//! What every [`Index`] must do.
//!
//! [`all`] runs the tests of a life without crashes; [`crashes`] what must survive them.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;

use crate::{
    index::{Batch, Index},
    memory,
};

/// Makes an empty index.
pub type Make<'a> = &'a dyn Fn() -> Arc<dyn Index>;

/// An index through its lives.
pub trait Lives {
    /// The index of the life that runs.
    fn index(&self) -> Arc<dyn Index>;

    /// Ends the life as a crash does, and begins the next on what is left.
    fn crash(&mut self);
}

/// Every test that needs no crash.
pub fn all(make: Make<'_>) {
    a_new_index_is_empty(make);
    a_batch_is_visible_at_once(make);
    changes_of_a_batch_happen_in_order(make);
    scans_ascend_within_their_bounds_and_limit(make);
    last_is_the_greatest_key_within_bounds(make);
    delete_range_takes_its_start_and_leaves_its_end(make);
    keys_are_ordered_as_bytes(make);
    empty_keys_and_values_are_lawful(make);
    a_flush_changes_nothing_visible(make);
    a_batch_is_never_seen_in_part(make);
    any_history_reads_as_a_sorted_map(make, 0x51ED);
}

/// A fresh index holds nothing, and says so rather than fail.
pub fn a_new_index_is_empty(make: Make<'_>) {
    let index = make();
    assert_eq!(get(&*index, b"a"), None);
    assert_eq!(scan(&*index, b"", b"\xff", 10), []);
    assert_eq!(index.last(b"", b"\xff").unwrap(), None);
    index.write(Batch::default()).unwrap();
    index.flush().unwrap();
}

/// Whoever reads after a write sees it, by key and by range, flushed or not.
pub fn a_batch_is_visible_at_once(make: Make<'_>) {
    let index = make();
    put(&*index, &[("a", "1"), ("b", "2")]);
    assert_eq!(get(&*index, b"a").as_deref(), Some(&b"1"[..]));
    assert_eq!(get(&*index, b"b").as_deref(), Some(&b"2"[..]));
    put(&*index, &[("a", "3")]);
    assert_eq!(get(&*index, b"a").as_deref(), Some(&b"3"[..]));
    let mut batch = Batch::default();
    batch.delete("a");
    batch.delete("never there");
    index.write(batch).unwrap();
    assert_eq!(get(&*index, b"a"), None);
    assert_eq!(scan(&*index, b"", b"\xff", 10), pairs(&[("b", "2")]));
}

/// A later change of a batch wins over an earlier one of the same key.
pub fn changes_of_a_batch_happen_in_order(make: Make<'_>) {
    let index = make();
    let mut batch = Batch::default();
    batch.put("a", "1");
    batch.put("a", "2");
    batch.put("b", "1");
    batch.delete("b");
    batch.put("c", "1");
    batch.delete_range("c", "d");
    batch.delete_range("d", "e");
    batch.put("d", "1");
    batch.delete("e");
    batch.put("e", "1");
    index.write(batch).unwrap();
    assert_eq!(
        scan(&*index, b"", b"\xff", 10),
        pairs(&[("a", "2"), ("d", "1"), ("e", "1")])
    );
}

/// `from` is in, `to` is out, `limit` is a limit; a range that ends before it begins is empty.
pub fn scans_ascend_within_their_bounds_and_limit(make: Make<'_>) {
    let index = make();
    put(&*index, &[("d", "4"), ("a", "1"), ("c", "3"), ("b", "2")]);
    let rows = pairs(&[("a", "1"), ("b", "2"), ("c", "3"), ("d", "4")]);
    assert_eq!(scan(&*index, b"", b"\xff", 10), rows);
    assert_eq!(scan(&*index, b"a", b"d", 10), rows[..3]);
    assert_eq!(scan(&*index, b"aa", b"c", 10), rows[1..2]);
    assert_eq!(scan(&*index, b"b", b"\xff", 2), rows[1..3]);
    assert_eq!(scan(&*index, b"", b"\xff", 0), []);
    assert_eq!(scan(&*index, b"", b"\xff", usize::MAX), rows);
    assert_eq!(scan(&*index, b"b", b"b", 10), []);
    assert_eq!(scan(&*index, b"d", b"a", 10), []);
    index.flush().unwrap();
    put(&*index, &[("bb", "2.5")]);
    assert_eq!(
        scan(&*index, b"b", b"d", 10),
        pairs(&[("b", "2"), ("bb", "2.5"), ("c", "3")])
    );
}

/// The last pair before `to`, not before `from`.
pub fn last_is_the_greatest_key_within_bounds(make: Make<'_>) {
    let index = make();
    put(&*index, &[("a", "1"), ("c", "3"), ("e", "5")]);
    let last = |from: &[u8], to: &[u8]| index.last(from, to).unwrap();
    assert_eq!(last(b"", b"\xff"), Some(pair("e", "5")));
    assert_eq!(last(b"", b"e"), Some(pair("c", "3")), "the end is out");
    assert_eq!(last(b"c", b"e"), Some(pair("c", "3")), "the beginning is in");
    assert_eq!(last(b"cc", b"e"), None);
    assert_eq!(last(b"f", b"\xff"), None);
    assert_eq!(last(b"c", b"c"), None);
    assert_eq!(last(b"e", b"a"), None);
    let mut batch = Batch::default();
    batch.delete("e");
    index.write(batch).unwrap();
    assert_eq!(last(b"", b"\xff"), Some(pair("c", "3")), "a removed key is no last key");
}

/// A removed range reads as empty, before and after a flush, and can be filled again.
pub fn delete_range_takes_its_start_and_leaves_its_end(make: Make<'_>) {
    let index = make();
    put(&*index, &[("a", "1"), ("b", "2"), ("c", "3"), ("d", "4")]);
    index.flush().unwrap();
    let remove = |from: &'static str, to: &'static str| {
        let mut batch = Batch::default();
        batch.delete_range(from, to);
        index.write(batch).unwrap();
    };
    remove("b", "d");
    remove("c", "a");
    remove("d", "d");
    assert_eq!(scan(&*index, b"", b"\xff", 10), pairs(&[("a", "1"), ("d", "4")]));
    assert_eq!(get(&*index, b"b"), None);
    assert_eq!(index.last(b"", b"d").unwrap(), Some(pair("a", "1")));
    put(&*index, &[("c", "again")]);
    index.flush().unwrap();
    assert_eq!(
        scan(&*index, b"", b"\xff", 10),
        pairs(&[("a", "1"), ("c", "again"), ("d", "4")])
    );
}

/// Order is that of unsigned bytes, shorter first.
pub fn keys_are_ordered_as_bytes(make: Make<'_>) {
    let index = make();
    let keys: [&[u8]; 7] = [&[0], &[0, 0], &[0, 255], &[1], &[127], &[128], &[255, 255]];
    let mut batch = Batch::default();
    for key in keys.iter().rev() {
        batch.put(key.to_vec(), "");
    }
    index.write(batch).unwrap();
    let found: Vec<Bytes> = scan(&*index, &[], &[255, 255, 255], 10)
        .into_iter()
        .map(|(key, _)| key)
        .collect();
    assert_eq!(found, keys);
}

/// Nothing is special about nothing.
pub fn empty_keys_and_values_are_lawful(make: Make<'_>) {
    let index = make();
    put(&*index, &[("", "at the very start"), ("a", "")]);
    assert_eq!(get(&*index, b"").as_deref(), Some(&b"at the very start"[..]));
    assert_eq!(get(&*index, b"a").as_deref(), Some(&b""[..]));
    assert_eq!(scan(&*index, b"", b"b", 10).len(), 2);
    assert_eq!(scan(&*index, b"", b"", 10), []);
}

/// Flushing moves bytes, not truth.
pub fn a_flush_changes_nothing_visible(make: Make<'_>) {
    let index = make();
    put(&*index, &[("a", "1"), ("b", "2")]);
    index.flush().unwrap();
    let mut batch = Batch::default();
    batch.delete("a");
    batch.put("b", "3");
    index.write(batch).unwrap();
    let before = scan(&*index, b"", b"\xff", 10);
    index.flush().unwrap();
    index.flush().unwrap();
    assert_eq!(scan(&*index, b"", b"\xff", 10), before);
    assert_eq!(before, pairs(&[("b", "3")]));
}

/// A reader on another thread sees all of a batch or nothing of it.
pub fn a_batch_is_never_seen_in_part(make: Make<'_>) {
    let index = make();
    let rounds: u32 = 300;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 1..=rounds {
                let mut batch = Batch::default();
                for key in ["a", "b", "c"] {
                    batch.put(key, Bytes::copy_from_slice(&round.to_be_bytes()));
                }
                index.write(batch).unwrap();
            }
        });
        loop {
            let rows = scan(&*index, b"a", b"d", 10);
            assert!(rows.is_empty() || rows.len() == 3, "a batch was seen in part: {rows:?}");
            assert!(
                rows.iter().all(|(_, value)| *value == rows[0].1),
                "a batch was seen in part: {rows:?}"
            );
            if rows.first().is_some_and(|(_, value)| value[..] == rounds.to_be_bytes()) {
                break;
            }
        }
    });
}

/// Random batches, flushes and reads, held against a sorted map.
pub fn any_history_reads_as_a_sorted_map(make: Make<'_>, seed: u64) {
    let mut throw = Throw(seed);
    let index = make();
    let mut model = BTreeMap::new();
    for _ in 0..400 {
        let batch = throw.batch();
        memory::apply(&mut model, &batch);
        index.write(batch).unwrap();
        if throw.below(20) == 0 {
            index.flush().unwrap();
        }
        let (from, to) = (throw.key(), throw.key());
        let limit = throw.below(12);
        let expected: Vec<(Bytes, Bytes)> = if from < to {
            model
                .range(from.clone()..to.clone())
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect()
        } else {
            Vec::new()
        };
        assert_eq!(index.get(&from).unwrap().as_ref(), model.get(&from));
        assert_eq!(index.last(&from, &to).unwrap().as_ref(), expected.last());
        assert_eq!(scan(&*index, &from, &to, limit), expected[..limit.min(expected.len())]);
    }
}

/// After a crash the index holds an exact prefix of the batches written, at least up to the last flush; and goes on
/// from there, crash after crash.
pub fn crashes(lives: &mut dyn Lives, seed: u64, crashes: u32) {
    let mut throw = Throw(seed);
    // What the index held after each batch of this life, the first being what the life began with.
    let mut states = vec![BTreeMap::new()];
    for crash in 0..crashes {
        let index = lives.index();
        let mut flushed = 0;
        for _ in 0..throw.below(30) {
            let mut batch = throw.batch();
            // Names the batch, so that no two states are the same.
            batch.put("~written", format!("{crash}.{}", states.len()));
            let mut next = states[states.len() - 1].clone();
            memory::apply(&mut next, &batch);
            states.push(next);
            index.write(batch).unwrap();
            if throw.below(8) == 0 {
                index.flush().unwrap();
                flushed = states.len() - 1;
            }
        }
        drop(index);
        lives.crash();
        let found: BTreeMap<Bytes, Bytes> = scan(&*lives.index(), b"", b"\xff", usize::MAX).into_iter().collect();
        let kept = states.iter().position(|state| *state == found);
        let kept = kept.unwrap_or_else(|| panic!("crash {crash} left what is no prefix of the batches: {found:?}"));
        assert!(
            kept >= flushed,
            "crash {crash} kept {kept} batches, but {flushed} were flushed"
        );
        states = vec![found];
    }
}

fn put(index: &dyn Index, rows: &[(&'static str, &'static str)]) {
    let mut batch = Batch::default();
    for (key, value) in rows {
        batch.put(*key, *value);
    }
    index.write(batch).unwrap();
}

fn get(index: &dyn Index, key: &[u8]) -> Option<Bytes> {
    index.get(key).unwrap()
}

fn scan(index: &dyn Index, from: &[u8], to: &[u8], limit: usize) -> Vec<(Bytes, Bytes)> {
    index.scan(from, to, limit).unwrap()
}

fn pair(key: &'static str, value: &'static str) -> (Bytes, Bytes) {
    (Bytes::from_static(key.as_bytes()), Bytes::from_static(value.as_bytes()))
}

fn pairs(rows: &[(&'static str, &'static str)]) -> Vec<(Bytes, Bytes)> {
    rows.iter().map(|(key, value)| pair(key, value)).collect()
}

/// Chance from one seed (splitmix64): this crate has no dice of its own.
struct Throw(u64);

impl Throw {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ (mixed >> 31)) % bound as u64) as usize
    }

    /// A key out of few, so that changes meet.
    fn key(&mut self) -> Bytes {
        Bytes::from(format!("{:02}", self.below(40)))
    }

    fn batch(&mut self) -> Batch {
        let mut batch = Batch::default();
        for _ in 0..self.below(6) {
            match self.below(8) {
                0 => batch.delete_range(self.key(), self.key()),
                1 | 2 => batch.delete(self.key()),
                _ => batch.put(self.key(), format!("{}", self.below(1000))),
            }
        }
        batch
    }
}
