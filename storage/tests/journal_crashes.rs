//! The journal against a simple model, under every crash the disk can do.
//!
//! The model is the list of everything appended. After a crash the journal must show a prefix of it that holds all that
//! was acknowledged, less the segments that were freed; and the logs that follow from what it shows must be those that
//! follow from that prefix. A start that finds damage after a mere crash is wrong, too.

mod crashing;

use std::collections::{BTreeMap, BTreeSet};

use crashing::{CrashDisk, driven::*};
use proptest::prelude::*;
use storage::journal::{Kind, Placed, Record, Recovered};

/// One thing that happens. Numbers are taken modulo what there is.
#[derive(Debug, Clone)]
enum Step {
    /// Entries go to the end of a group's log.
    Entries {
        group: u32,
        sizes: Vec<usize>,
        lazily: bool,
    },
    /// A record of another kind.
    Say { group: u32, kind: Kind, back: u64 },
    /// The loop does what it can.
    Drive,
    /// Segments that hold nothing live are freed: those where the mask has a bit.
    Free { mask: u64 },
    /// The process dies, and starts again.
    Kill,
    /// The power goes off in the middle of an operation, this many from now, and again while the journal is opened.
    PowerCut { operations: u64, again: Vec<u64> },
    /// A sync fails, and the process is started again.
    FailSync { syncs: u64, then_power_cut: bool },
    /// The journal is closed in good order, and opened.
    Close,
}

fn step() -> impl Strategy<Value = Step> {
    let size = prop_oneof![6 => 0..200_usize, 3 => 200..1500_usize, 1 => 3000..9000_usize];
    let kind = prop_oneof![
        1 => Just(Kind::Vote),
        1 => Just(Kind::Truncate),
        2 => Just(Kind::Purge),
        1 => Just(Kind::Hot),
        1 => Just(Kind::Committed)
    ];
    prop_oneof![
        8 => (0..3_u32, prop::collection::vec(size, 1..5), any::<bool>())
            .prop_map(|(group, sizes, lazily)| Step::Entries { group, sizes, lazily }),
        4 => (0..3_u32, kind, 0..12_u64).prop_map(|(group, kind, back)| Step::Say { group, kind, back }),
        4 => Just(Step::Drive),
        1 => any::<u64>().prop_map(|mask| Step::Free { mask }),
        1 => Just(Step::Kill),
        2 => (0..12_u64, prop::collection::vec(0..40_u64, 0..3))
            .prop_map(|(operations, again)| Step::PowerCut { operations, again }),
        1 => (0..4_u64, any::<bool>()).prop_map(|(syncs, then_power_cut)| Step::FailSync { syncs, then_power_cut }),
        1 => Just(Step::Close),
    ]
}

/// One record of the model.
#[derive(Debug, Clone)]
struct Appended {
    record: Record,
    placed: Placed,
    told: Option<Told>,
}

impl Appended {
    fn is(&self, found: &Recovered) -> bool {
        let Record {
            kind,
            group,
            index,
            term,
            payload,
        } = &self.record;
        (*kind, *group, *index, *term, self.placed) == (found.kind, found.group, found.index, found.term, found.placed)
            && payload.concat() == found.payload
    }
}

/// What follows for one group.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Log {
    vote: Option<Vec<u8>>,
    committed: Option<u64>,
    purged: Option<u64>,
    entries: BTreeMap<u64, Placed>,
}

/// The rules of `Journal::open`, spelled out.
fn follow<'a>(records: impl Iterator<Item = (Kind, u32, u64, Vec<u8>, &'a Placed)>) -> BTreeMap<u32, Log> {
    let mut logs: BTreeMap<u32, Log> = BTreeMap::new();
    for (kind, group, index, payload, placed) in records {
        let log = logs.entry(group).or_default();
        match kind {
            Kind::Entry => {
                log.entries.split_off(&index);
                log.entries.insert(index, *placed);
            }
            Kind::Truncate => drop(log.entries.split_off(&index)),
            Kind::Purge => {
                log.entries = log.entries.split_off(&(index + 1));
                log.purged = Some(index);
            }
            Kind::Vote => log.vote = Some(payload),
            Kind::Committed => log.committed = Some(index),
            _ => {}
        }
    }
    for log in logs.values_mut() {
        if let Some(purged) = log.purged {
            log.entries = log.entries.split_off(&(purged + 1));
        }
    }
    logs.retain(|_, log| *log != Log::default());
    logs
}

struct Trial {
    disk: CrashDisk,
    driven: Option<Driven>,
    model: Vec<Appended>,
    /// How many of the model are known to be durable: all that an earlier start showed.
    kept: usize,
    freed: BTreeSet<u64>,
    /// Freed or not, the crash came in between.
    perhaps_freed: BTreeSet<u64>,
    written: u64,
}

impl Trial {
    fn new(seed: u64) -> Trial {
        let disk = CrashDisk::new(seed);
        let mut trial = Trial {
            disk,
            driven: None,
            model: Vec::new(),
            kept: 0,
            freed: BTreeSet::new(),
            perhaps_freed: BTreeSet::new(),
            written: 0,
        };
        trial.start();
        trial
    }

    fn driven(&mut self) -> &mut Driven {
        self.driven.as_mut().expect("running")
    }

    fn logs(&self, upto: usize) -> BTreeMap<u32, Log> {
        follow(self.model[..upto].iter().map(|appended| {
            let Record {
                kind,
                group,
                index,
                payload,
                ..
            } = &appended.record;
            (*kind, *group, *index, payload.concat(), &appended.placed)
        }))
    }

    fn append(&mut self, records: Vec<Record>, lazily: bool) {
        let driven = self.driven();
        let (placed, told) = if lazily {
            (driven.journal.append_lazily(records.clone()), None)
        } else {
            let (placed, told) = driven.append(records.clone());
            (placed, Some(told))
        };
        for (record, placed) in records.into_iter().zip(placed) {
            if placed != Placed::NOWHERE {
                self.model.push(Appended {
                    record,
                    placed,
                    told: told.clone(),
                });
            }
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Entries { group, sizes, lazily } => {
                let log = self.logs(self.model.len()).remove(&group).unwrap_or_default();
                let next = log
                    .entries
                    .keys()
                    .next_back()
                    .copied()
                    .max(log.purged)
                    .map_or(0, |last| last + 1);
                let mut records = Vec::new();
                for (i, size) in sizes.into_iter().enumerate() {
                    self.written += 1;
                    let mut payload = self.written.to_le_bytes().to_vec();
                    payload.resize(payload.len() + size, self.written as u8);
                    records.push(entry(group, next + i as u64, payload));
                }
                self.append(records, lazily);
            }
            Step::Say { group, kind, back } => {
                let log = self.logs(self.model.len()).remove(&group).unwrap_or_default();
                let Some(last) = log.entries.keys().next_back().copied() else {
                    return;
                };
                let first = log.entries.keys().next().copied().unwrap_or(0);
                let index = last.saturating_sub(back).max(first);
                self.written += 1;
                let payload = self.written.to_le_bytes().to_vec();
                self.append(vec![record(kind, group, index, payload)], false);
            }
            Step::Drive => self.driven().drive(),
            Step::Free { mask } => self.free(mask),
            Step::Kill => {
                self.driven = None;
                self.disk.restart();
                self.start();
            }
            Step::PowerCut { operations, again } => {
                self.disk.light_fuse(operations);
                self.driven().drive();
                self.driven = None;
                self.disk.power_cut();
                for operations in again {
                    // A recovery that is cut short, and the power goes off.
                    self.disk.light_fuse(operations);
                    if let Some(opened) = try_open(self.disk.disk(), options()) {
                        let (mut driven, _) = opened.expect("a torn tail is no damage");
                        driven.drive();
                    }
                    self.disk.power_cut();
                }
                self.start();
            }
            Step::FailSync { syncs, then_power_cut } => {
                self.disk.fail_sync(syncs);
                self.driven().drive();
                self.driven = None;
                self.disk.restart();
                self.start();
                if then_power_cut {
                    // Whatever the start showed is durable, also what only the page cache had.
                    self.driven = None;
                    self.disk.power_cut();
                    self.start();
                }
            }
            Step::Close => {
                self.driven.take().expect("running").close();
                for appended in &self.model {
                    assert!(
                        appended.told.as_ref().is_none_or(Told::is_durable),
                        "a close writes all that waits"
                    );
                }
                self.kept = self.model.len();
                self.start();
            }
        }
    }

    fn free(&mut self, mask: u64) {
        let live: BTreeSet<u64> = self
            .logs(self.model.len())
            .values()
            .flat_map(|log| log.entries.values().map(|placed| placed.position.segment))
            .collect();
        let dead = |(i, info): (usize, storage::journal::SegmentInfo)| {
            (info.sealed && !live.contains(&info.id) && mask >> (i % 64) & 1 == 1).then_some(info.id)
        };
        let ids: Vec<u64> = self
            .driven()
            .journal
            .segments()
            .into_iter()
            .enumerate()
            .filter_map(dead)
            .collect();
        let journal = self.driven().journal.clone();
        match self.driven().along(journal.remove_segments(&ids)) {
            Some(Ok(())) => self.freed.extend(ids),
            Some(Err(error)) => panic!("nothing fails here: {error}"),
            None => self.perhaps_freed.extend(ids),
        }
    }

    /// Opens the journal and holds it against the model.
    fn start(&mut self) {
        let opened = try_open(self.disk.disk(), options()).expect("the power is on");
        let (driven, seen) = opened.expect("a crash is no damage");
        let present: BTreeSet<u64> = driven.journal.segments().iter().map(|info| info.id).collect();
        let mut shown = seen.iter().filter(|found| !found.repeated).peekable();
        let mut kept = 0;
        for (i, appended) in self.model.iter().enumerate() {
            let segment = appended.placed.position.segment;
            if self.freed.contains(&segment) || (self.perhaps_freed.contains(&segment) && !present.contains(&segment)) {
                continue;
            }
            match shown.next() {
                Some(found) => assert!(appended.is(found), "shown {found:?}, appended {appended:?}"),
                None => break,
            }
            kept = i + 1;
        }
        assert_eq!(shown.next(), None, "more than was ever appended");
        let acknowledged = self
            .model
            .iter()
            .rposition(|appended| appended.told.as_ref().is_some_and(Told::is_durable));
        let must = self.kept.max(acknowledged.map_or(0, |last| last + 1));
        let gone = |appended: &Appended| !present.contains(&appended.placed.position.segment);
        while kept < must && gone(&self.model[kept]) {
            kept += 1;
        }
        assert!(kept >= must, "{kept} records are left, {must} were acknowledged");

        let logs = follow(
            seen.iter()
                .map(|r| (r.kind, r.group, r.index, r.payload.to_vec(), &r.placed)),
        );
        assert_eq!(logs, self.logs(kept), "the logs that follow");
        for log in logs.values() {
            for placed in log.entries.values() {
                let read = poll_once(Box::pin(driven.journal.read_record(*placed))).unwrap();
                read.expect("what was shown can be read");
            }
        }

        self.model.truncate(kept);
        self.kept = kept;
        for appended in &mut self.model {
            appended.told = None;
        }
        let freed = self.perhaps_freed.iter().filter(|id| !present.contains(id));
        self.freed.extend(freed.copied());
        self.perhaps_freed.clear();
        self.driven = Some(driven);
    }
}

proptest! {
    // PROPTEST_CASES=100000 for a long run.
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases * 4, max_shrink_iters: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_crash_leaves_a_prefix_with_all_that_was_acknowledged(
        seed in any::<u64>(),
        steps in prop::collection::vec(step(), 1..100),
    ) {
        let mut trial = Trial::new(seed);
        for step in steps {
            trial.step(step);
        }
        trial.step(Step::Close);
    }

    #[test]
    fn a_flipped_bit_is_damage_unless_it_lies_in_the_last_batch(
        seed in any::<u64>(),
        steps in prop::collection::vec(step(), 1..30),
        clean in any::<bool>(),
        file in any::<prop::sample::Index>(),
        byte in any::<prop::sample::Index>(),
        bit in 0..8_u8,
    ) {
        let mut trial = Trial::new(seed);
        for step in steps {
            trial.step(step);
        }
        flip(trial, clean, file, byte, bit);
    }

    #[test]
    fn a_lost_file_is_damage_unless_it_was_freed(
        seed in any::<u64>(),
        steps in prop::collection::vec(step(), 20..60),
        file in any::<prop::sample::Index>(),
    ) {
        let mut trial = Trial::new(seed);
        for step in steps {
            trial.step(step);
        }
        trial.driven.take().unwrap().close();
        let (driven, _) = open(trial.disk.disk());
        let segments = driven.journal.segments();
        driven.close();
        // All but the newest: nothing in the journal knows how many there should be.
        let lost = segments[file.index(segments.len())].id;
        if lost != segments.last().unwrap().id {
            trial.disk.lose(&format!("{FOLDER}/{lost:016x}.seg"));
            let opened = try_open(trial.disk.disk(), options()).unwrap();
            let error = opened.err().map(|error| error.to_string()).unwrap_or_default();
            prop_assert!(error.contains(&format!("{lost:016x}")) && error.contains("missing"), "{error}");
        }
    }
}

/// Flips a bit of what was written, and opens.
fn flip(mut trial: Trial, clean: bool, file: prop::sample::Index, byte: prop::sample::Index, bit: u8) {
    trial.driven().drive();
    let mut driven = trial.driven.take().unwrap();
    let journal = driven.journal.clone();
    // What is durable when the loop rests is proven by the seal it writes then.
    let proven = journal.durable();
    if clean {
        journal.close();
        driven.drive();
    }
    let segments: Vec<_> = journal
        .segments()
        .into_iter()
        .filter(|info| info.id <= proven.segment)
        .collect();
    drop((journal, driven));
    let info = segments[file.index(segments.len())];
    let name = format!("{FOLDER}/{:016x}.seg", info.id);
    let at = trial.disk.with_bytes(&name, |bytes| {
        let at = byte.index(bytes.len());
        bytes[at] ^= 1 << bit;
        at as u64
    });
    let must_fail = at
        < if info.id == proven.segment {
            proven.offset
        } else {
            info.bytes
        };
    match try_open(trial.disk.disk(), options()).unwrap() {
        Err(error) => assert!(at < info.bytes, "a bit that nobody wrote is no damage: {error}"),
        Ok((_, seen)) => {
            let seen: Vec<&Recovered> = seen.iter().filter(|found| !found.repeated).collect();
            for found in &seen {
                assert!(
                    trial.model.iter().any(|appended| appended.is(found)),
                    "bytes that nobody wrote: {found:?}"
                );
            }
            // It may have been a seal that says nothing new.
            for (i, appended) in trial.model.iter().enumerate() {
                let durable = i < trial.kept || appended.told.as_ref().is_some_and(Told::is_durable);
                let there = segments.iter().any(|info| info.id == appended.placed.position.segment);
                if durable && there && must_fail && !seen.iter().any(|found| appended.is(found)) {
                    panic!(
                        "bit {bit} of byte {at} of {} in {name} was flipped, and nothing said",
                        info.bytes
                    );
                }
            }
        }
    }
}
