//! The true journal on the false disk, in simulated time: appenders, then a crash in the middle of whatever happens, a
//! start that is itself crashed into, and a look at what is there.
//!
//! The journal has property tests of its own, against a disk of its own; this is the same promise under the faults
//! that the simulator strikes. An acknowledged record is there and durable, what is there is a prefix, and nothing that
//! a mere crash can do is taken for damage.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use net::{
    dice::{Dice, Stream},
    rt,
};
use rand::RngExt;
use sim::{
    disk::{FailSync, FalseDisk, PowerLoss},
    engine::{Engine, Options as EngineOptions},
    tell::Tell,
};
use storage::journal::{Journal, JournalError, Kind, Opened, Options, Record, Recovered};

/// What one appender knows: the highest index it appended, and the highest that was acknowledged.
#[derive(Clone, Copy, Default)]
struct Known {
    appended: u64,
    acknowledged: u64,
}

const GROUPS: u32 = 3;

#[test]
fn whatever_the_power_does_acknowledged_records_stay() {
    for seed in 0..60 {
        lives(seed, |disk, _| {
            disk.power_loss(PowerLoss::Any);
        });
    }
}

#[test]
fn a_crash_of_the_process_costs_nothing_acknowledged() {
    for seed in 100..130 {
        lives(seed, |disk, _| disk.process_crash());
    }
}

#[test]
fn a_disk_whose_sync_fails_once_costs_nothing_acknowledged() {
    for seed in 200..260 {
        lives(seed, |disk, dice| {
            disk.mend();
            if dice.random() {
                disk.process_crash();
            } else {
                disk.power_loss(PowerLoss::Any);
            }
            disk.change(|faults| faults.fail_sync = FailSync::Chance(0.02));
        });
    }
}

#[test]
fn a_full_disk_costs_nothing_acknowledged() {
    for seed in 300..330 {
        lives(seed, |disk, dice| {
            disk.mend();
            disk.power_loss(PowerLoss::Any);
            disk.fill(dice.random_range(0..200_000));
        });
    }
}

/// Several lives of one journal, each ended by `crash`, which may also say how the disk is in the next.
fn lives(seed: u64, crash: impl Fn(&FalseDisk, &mut Stream)) {
    let dice = Dice::from_seed(seed);
    let disk = FalseDisk::new(&dice, Tell::nobody());
    let mut throw = dice.stream("lives");
    let known = Arc::new(Mutex::new([Known::default(); GROUPS as usize]));
    for life in 0..6 {
        let mut engine = Engine::new(seed * 100 + life, EngineOptions::default());
        let time = Duration::from_micros(throw.random_range(100..20_000));
        let told = format!("seed {seed}, life {life}");
        let run = live(disk.clone(), known.clone(), dice.fork(&told), told);
        // Whether it was cut short or came to its own end, a crash comes now.
        let _ = engine.run_until(async { rt::timeout(time, run).await }).unwrap();
        drop(engine);
        crash(&disk, &mut throw);
    }
    // In the end, on a healthy disk, everything that was acknowledged is there.
    disk.mend();
    let mut engine = Engine::new(seed, EngineOptions::default());
    engine
        .run_until(async { drop(open(&disk, &known, &format!("seed {seed}, the end")).await.unwrap()) })
        .unwrap();
    let stored: u64 = known.lock().unwrap().iter().map(|known| known.acknowledged).sum();
    assert!(stored > 0, "seed {seed}: nothing was stored, so nothing is shown");
}

/// Opens the journal and judges what it shows.
async fn open(disk: &FalseDisk, known: &Mutex<[Known; GROUPS as usize]>, told: &str) -> Result<Opened, JournalError> {
    let mut found: [Vec<u64>; GROUPS as usize] = Default::default();
    let mut visit = |record: Recovered| {
        let group = &mut found[record.group as usize];
        // An entry replaces those from its index on, and the journal itself may say that they are gone.
        group.retain(|index| *index < record.index);
        if record.kind == Kind::Entry {
            let right = record.payload == body(record.group, record.index);
            assert!(
                right,
                "{told}: group {} index {} is what nobody wrote",
                record.group, record.index
            );
            group.push(record.index);
        }
    };
    let options = Options {
        segment_bytes: 16 << 10,
        ..Options::default()
    };
    let opened = Journal::open(disk.mount(), "journal", options, &mut visit).await;
    match opened {
        Ok(opened) => {
            let mut known = known.lock().unwrap();
            for (group, found) in found.iter().enumerate() {
                let last = found.last().copied().unwrap_or(0);
                let Known { appended, acknowledged } = known[group];
                assert!(
                    found.iter().copied().eq(1..=last),
                    "{told}: group {group} has gaps below {last}"
                );
                assert!(
                    last >= acknowledged,
                    "{told}: group {group} ends at {last}, acknowledged was {acknowledged}"
                );
                assert!(
                    last <= appended,
                    "{told}: group {group} ends at {last}, only {appended} were appended"
                );
                // Seen at a start: as good as acknowledged, for the node acts on it.
                known[group] = Known {
                    appended: last,
                    acknowledged: last,
                };
            }
            Ok(opened)
        }
        // What the disk says is no verdict on the journal; that a mere crash damaged it would be.
        Err(error @ JournalError::Io { .. }) => Err(error),
        Err(error) => panic!("{told}: {error}"),
    }
}

/// Opens the journal and appends to it from every group until somebody ends it all, or the disk fails.
async fn live(disk: FalseDisk, known: Arc<Mutex<[Known; GROUPS as usize]>>, dice: Dice, told: String) {
    let Ok(Opened {
        journal, commit_loop, ..
    }) = open(&disk, &known, &told).await
    else {
        return;
    };
    drop(rt::dedicated("journal", async move { drop(commit_loop.run().await) }));
    let appenders = (0..GROUPS).map(|group| {
        let (journal, known, mut throw) = (journal.clone(), known.clone(), dice.stream(&format!("group {group}")));
        let disk = disk.clone();
        async move {
            loop {
                let mut records = Vec::new();
                for _ in 0..throw.random_range(1..4) {
                    let index = {
                        let mut known = known.lock().unwrap();
                        known[group as usize].appended += 1;
                        known[group as usize].appended
                    };
                    let payload = vec![body(group, index)];
                    records.push(Record {
                        kind: Kind::Entry,
                        group,
                        index,
                        term: 1,
                        payload,
                    });
                }
                let last = records.last().map_or(0, |record| record.index);
                let Ok(placed) = journal.append_durable(records).await else {
                    return;
                };
                known.lock().unwrap()[group as usize].acknowledged = last;
                for placed in placed {
                    let path = format!("journal/{:016x}.seg", placed.position.segment);
                    let range = placed.position.offset..placed.position.offset + u64::from(placed.payload_len);
                    assert!(
                        disk.is_durable(&path, range),
                        "acknowledged and not synced: {placed:?} in {path}"
                    );
                }
                rt::sleep(Duration::from_micros(throw.random_range(0..300))).await;
            }
        }
    });
    futures_util::future::join_all(appenders).await;
}

/// A body that says whose it is, from none to several sectors long.
fn body(group: u32, index: u64) -> Bytes {
    let len = [0, 3, 40, 300, 511, 512, 700, 3000][(index as usize * 7 + group as usize) % 8];
    let text = format!("{group}.{index};");
    Bytes::from(text.repeat(len / text.len() + 1).into_bytes()).slice(..len)
}
