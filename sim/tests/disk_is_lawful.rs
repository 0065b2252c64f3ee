//! The false disk is unkind within the law: whatever it does to random histories, every byte and every name that it
//! shows after a power loss is one that a true disk could show, and what was synced stays.
//!
//! The other direction, that each unkindness is met, is shown fault by fault in its own tests.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bytes::Bytes;
use futures_util::FutureExt;
use net::dice::{Dice, Stream};
use rand::RngExt;
use sim::{
    disk::{FailSync, FalseDisk, PowerLoss, Timing},
    tell::Tell,
};
use storage::disk::{File, Fut};

const SIZE: usize = 4000;

/// What every byte of a file may be after a power loss now.
struct Allowed {
    bytes: Vec<BTreeSet<u8>>,
    /// Bytes whose last change the next sync covers. A failed sync covered them, too, and covers nothing.
    dirty: Vec<bool>,
    lens: BTreeSet<u64>,
}

impl Allowed {
    fn new() -> Allowed {
        Allowed {
            bytes: vec![BTreeSet::from([0]); SIZE],
            dirty: vec![false; SIZE],
            lens: BTreeSet::from([0]),
        }
    }

    fn write(&mut self, at: usize, bytes: &[u8]) {
        for (at, byte) in (at..).zip(bytes) {
            self.bytes[at].insert(*byte);
            self.dirty[at] = true;
        }
        // Cut anywhere, and lengthened before its bytes are there.
        let longest = self.lens.last().copied().unwrap_or(0);
        self.lens.extend(longest.min(at as u64)..=(at + bytes.len()) as u64);
    }

    fn set_len(&mut self, len: usize) {
        for at in len..SIZE {
            self.bytes[at].insert(0);
            self.dirty[at] = true;
        }
        self.lens.insert(len as u64);
    }

    fn sync(&mut self, now: &[u8]) {
        for at in 0..SIZE {
            if self.dirty[at] {
                self.bytes[at] = BTreeSet::from([now.get(at).copied().unwrap_or(0)]);
                self.dirty[at] = false;
            }
        }
    }

    fn failed_sync(&mut self) {
        self.dirty.fill(false);
    }

    fn judge(&self, found: &[u8], history: &str) {
        for (at, byte) in found.iter().enumerate() {
            assert!(
                self.bytes[at].contains(byte),
                "{history}: byte {at} is {byte}, not one of {:?}",
                self.bytes[at]
            );
        }
    }
}

#[test]
fn every_byte_after_a_power_loss_is_one_that_was_written_there() {
    for seed in 0..400 {
        let mut dice = Dice::from_seed(seed).stream("history");
        let disk = disk(seed);
        let failing = seed % 4 == 0;
        let mut file = now(disk.mount().create("a")).unwrap();
        now(disk.mount().sync_dir("")).unwrap();
        let mut allowed = Allowed::new();
        for step in 0..60_u8 {
            match dice.random_range(0..10) {
                0..=5 => {
                    let at = dice.random_range(0..SIZE);
                    let bytes = vec![step + 1; dice.random_range(0..=(SIZE - at).min(1500))];
                    allowed.write(at, &bytes);
                    now(file.write_at(at as u64, pieces(&bytes, &mut dice))).unwrap();
                }
                6 => {
                    let len = dice.random_range(0..SIZE);
                    allowed.set_len(len);
                    now(file.set_len(len as u64)).unwrap();
                }
                7 if failing => {
                    disk.change(|faults| faults.fail_sync = FailSync::Once);
                    now(file.sync()).unwrap_err();
                    allowed.failed_sync();
                }
                7 | 8 => {
                    now(file.sync()).unwrap();
                    let seen = disk.written("a").unwrap();
                    allowed.sync(&seen);
                    if !failing {
                        assert!(
                            disk.is_durable("a", 0..seen.len() as u64),
                            "seed {seed}: synced and not durable"
                        );
                    }
                }
                _ => {
                    disk.power_loss(PowerLoss::Any);
                    let found = disk.written("a").unwrap();
                    allowed.judge(&found, &format!("seed {seed}, step {step}"));
                    // What is there after a power loss is there for good.
                    allowed = Allowed::new();
                    allowed.write(0, &found);
                    allowed.sync(&found);
                    file = now(disk.mount().open("a")).unwrap();
                }
            }
        }
    }
}

#[test]
fn every_name_after_a_power_loss_is_one_that_was_lawful() {
    let names = ["f/a", "f/b", "g/a", "g/b"];
    for seed in 0..1000 {
        let mut dice = Dice::from_seed(seed).stream("history");
        let disk = disk(seed);
        let mut mounted = disk.mount();
        // Which file, by its only byte, each name may show; `None`: no file.
        let mut allowed: BTreeMap<&str, BTreeSet<Option<u8>>> =
            names.iter().map(|name| (*name, BTreeSet::from([None]))).collect();
        // Files that surely have a name: named durably once, and never removed or renamed over since.
        let mut safe: BTreeSet<u8> = BTreeSet::new();
        let shows = |name: &str| disk.written(name).map(|bytes| bytes[0]);
        for step in 1..60_u8 {
            let name = names[dice.random_range(0..names.len())];
            let other = names[dice.random_range(0..names.len())];
            let before = shows(name);
            match dice.random_range(0..8) {
                0 | 1 if before.is_none() => {
                    let file = now(mounted.create(name)).unwrap();
                    now(file.write_at(0, vec![Bytes::from(vec![step])])).unwrap();
                    now(file.sync()).unwrap();
                    allowed.get_mut(name).unwrap().insert(Some(step));
                }
                2 | 3 if before.is_some() && name != other => {
                    if let Some(over) = shows(other) {
                        safe.remove(&over);
                    }
                    now(mounted.rename(name, other)).unwrap();
                    allowed.get_mut(name).unwrap().insert(None);
                    allowed.get_mut(other).unwrap().insert(before);
                }
                4 if before.is_some() => {
                    now(mounted.remove(name)).unwrap();
                    allowed.get_mut(name).unwrap().insert(None);
                    safe.remove(&before.unwrap());
                }
                5 | 6 => {
                    let folder = &name[..1];
                    now(mounted.sync_dir(folder)).unwrap();
                    for name in names.iter().filter(|name| name.starts_with(folder)) {
                        let shown = shows(name);
                        allowed.insert(name, BTreeSet::from([shown]));
                        safe.extend(shown);
                    }
                }
                7 => {
                    disk.power_loss(PowerLoss::Any);
                    mounted = disk.mount();
                    let mut found = BTreeSet::new();
                    for name in names {
                        let shown = shows(name);
                        assert!(
                            allowed[name].contains(&shown),
                            "seed {seed}, step {step}: {name} shows {shown:?}, not one of {:?}",
                            allowed[name]
                        );
                        allowed.insert(name, BTreeSet::from([shown]));
                        found.extend(shown);
                    }
                    assert!(
                        found.is_superset(&safe),
                        "seed {seed}, step {step}: {safe:?} had names, {found:?} have"
                    );
                    safe = found;
                }
                _ => {}
            }
        }
    }
}

#[test]
fn a_fork_shares_the_past_and_not_the_future() {
    let disk = disk(1);
    let file = now(disk.mount().create("a")).unwrap();
    now(file.write_at(0, vec![Bytes::from_static(b"past")])).unwrap();
    let fork = disk.fork(&Dice::from_seed(2));
    now(file.write_at(0, vec![Bytes::from_static(b"mine")])).unwrap();
    let other: Arc<dyn File> = now(fork.mount().open("a")).unwrap();
    assert_eq!(now(other.read_at(0, 9)).unwrap(), "past");
    fork.power_loss(PowerLoss::LoseAll);
    assert!(fork.files().is_empty());
    assert_eq!(
        now(file.read_at(0, 9)).unwrap(),
        "mine",
        "the original's handles live on"
    );
}

fn disk(seed: u64) -> FalseDisk {
    FalseDisk::new(&Dice::from_seed(seed), Tell::nobody()).with_timing(Timing::none())
}

/// The result of an operation that takes no time.
fn now<T>(operation: Fut<'_, T>) -> T {
    operation.now_or_never().expect("without timing nothing waits")
}

fn pieces(bytes: &[u8], dice: &mut Stream) -> Vec<Bytes> {
    let (head, tail) = bytes.split_at(dice.random_range(0..=bytes.len()));
    vec![Bytes::copy_from_slice(head), Bytes::copy_from_slice(tail)]
}
