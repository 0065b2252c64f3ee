//! What the journal promises while nothing crashes, and when the disk fails: one sentence a test.

mod crashing;

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use crashing::{CrashDisk, driven::*};
use storage::{
    disk::Disk,
    journal::{JournalError, Kind, Placed, Position, Record},
    memory::MemoryDisk,
};

fn memory() -> Arc<dyn Disk> {
    Arc::new(MemoryDisk::new())
}

#[test]
fn what_is_appended_is_shown_at_the_next_start_in_order() {
    let disk = memory();
    let (mut driven, seen) = open(disk.clone());
    assert!(driven.fresh && seen.is_empty());
    let records = vec![
        entry(0, 1, "one"),
        record(Kind::Vote, 1, 0, "vote"),
        entry(2, 1, ""),
        record(Kind::Hot, 2, 9, "hot"),
    ];
    let (placed, told) = driven.append(records.clone());
    assert!(told.answer().is_none(), "nobody is told before the sync");
    driven.drive();
    assert!(told.is_durable());
    driven.close();
    let (driven, seen) = open(disk);
    assert!(!driven.fresh && driven.cut.is_none());
    let found: Vec<(Kind, u32, u64, u64, Vec<u8>, Placed)> = seen
        .iter()
        .map(|r| (r.kind, r.group, r.index, r.term, r.payload.to_vec(), r.placed))
        .collect();
    let wanted: Vec<_> = records
        .iter()
        .zip(placed)
        .map(|(r, placed)| (r.kind, r.group, r.index, r.term, r.payload.concat(), placed))
        .collect();
    assert_eq!(found, wanted);
}

#[test]
fn everything_that_waits_goes_into_one_sync() {
    let (mut driven, _) = open(memory());
    driven.drive();
    let before = driven.journal.totals().syncs;
    let told: Vec<Told> = (0..20).map(|i| driven.append(vec![entry(i % 4, 1, "x")]).1).collect();
    driven.drive();
    assert!(told.iter().all(Told::is_durable));
    assert_eq!(driven.journal.totals().syncs, before + 1);
}

#[test]
fn callbacks_come_in_the_order_of_the_appends() {
    let (mut driven, _) = open(memory());
    let order = Arc::new(Mutex::new(Vec::new()));
    for i in 0..50_u64 {
        let order = order.clone();
        // Large enough to need several segments, and several batches.
        driven.journal.append(vec![entry(0, i, vec![0; 700])], move |result| {
            result.unwrap();
            order.lock().unwrap().push(i);
        });
    }
    driven.drive();
    assert_eq!(*order.lock().unwrap(), (0..50).collect::<Vec<_>>());
}

#[test]
fn a_record_is_read_before_it_is_written_and_after() {
    let (mut driven, _) = open(memory());
    let record = Record {
        payload: vec![
            Bytes::from_static(b"head "),
            Bytes::from(vec![b'x'; 1000]),
            Bytes::from_static(b" end"),
        ],
        ..entry(1, 1, "")
    };
    let whole = record.payload.concat();
    let (placed, _) = driven.append(vec![entry(0, 1, "before"), record, entry(0, 2, "after")]);
    let place = placed[1];
    for _ in 0..2 {
        let journal = driven.journal.clone();
        assert_eq!(poll_once(Box::pin(journal.read_record(place))).unwrap().unwrap(), whole);
        for (skip, len) in [(0, 5), (3, 4), (5, 1000), (1000, 9), (0, 1009), (1009, 0)] {
            let read = poll_once(Box::pin(journal.read(place.position, skip, len)))
                .unwrap()
                .unwrap();
            assert_eq!(read, whole[skip as usize..skip as usize + len], "{skip} {len}");
            // Any byte of the payload is a position.
            let inside = Position {
                offset: place.position.offset + skip,
                ..place.position
            };
            assert_eq!(
                poll_once(Box::pin(journal.read(inside, 0, len))).unwrap().unwrap(),
                read
            );
        }
        driven.drive();
    }
}

#[test]
fn a_read_of_nothing_is_refused() {
    let (mut driven, _) = open(memory());
    let (placed, _) = driven.append(vec![entry(0, 1, "one")]);
    driven.drive();
    let read = |position, len| poll_once(Box::pin(driven.journal.read(position, 0, len))).unwrap();
    for position in [
        Placed::NOWHERE.position,
        Position {
            segment: 0,
            offset: 100,
        },
        Position {
            segment: 2,
            offset: 100,
        },
        Position {
            segment: 1,
            offset: 4000,
        },
        Position {
            segment: 1,
            offset: u64::MAX,
        },
    ] {
        assert!(
            matches!(read(position, 3), Err(JournalError::Nowhere { .. })),
            "{position:?}"
        );
    }
    assert!(matches!(
        read(placed[0].position, 3000),
        Err(JournalError::Nowhere { .. })
    ));
    let wrong = Placed {
        payload_len: 2,
        ..placed[0]
    };
    assert!(poll_once(Box::pin(driven.journal.read_record(wrong))).unwrap().is_err());
}

#[test]
fn a_record_larger_than_a_segment_gets_one_of_its_own() {
    let disk = memory();
    let (mut driven, _) = open(disk.clone());
    let (_, first) = driven.append(vec![entry(0, 1, "small")]);
    let big = vec![7; 100_000];
    let (placed, told) = driven.append(vec![entry(0, 2, big.clone())]);
    let (after, _) = driven.append(vec![entry(0, 3, "small")]);
    driven.drive();
    assert!(first.is_durable() && told.is_durable());
    assert_eq!(placed[0].position.segment, 2);
    assert_eq!(after[0].position.segment, 3);
    driven.close();
    let (driven, seen) = open(disk);
    assert_eq!(
        seen.iter()
            .filter(|found| !found.repeated)
            .map(|found| found.index)
            .collect::<Vec<_>>(),
        [1, 2, 3]
    );
    assert_eq!(
        poll_once(Box::pin(driven.journal.read_record(placed[0])))
            .unwrap()
            .unwrap(),
        big
    );
}

#[test]
fn what_nobody_waits_for_is_written_with_the_rest() {
    let disk = memory();
    let (mut driven, _) = open(disk.clone());
    driven.drive();
    let syncs = driven.journal.totals().syncs;
    driven.journal.append_lazily(vec![record(Kind::Committed, 0, 1, "")]);
    driven.drive();
    assert_eq!(driven.journal.totals().syncs, syncs, "it does not sync by itself");
    let (_, told) = driven.append(vec![entry(0, 1, "one")]);
    driven.drive();
    assert!(told.is_durable());
    driven.journal.append_lazily(vec![record(Kind::Committed, 0, 2, "")]);
    driven.close();
    let (_, seen) = open(disk);
    assert_eq!(
        seen.iter().map(|found| (found.kind, found.index)).collect::<Vec<_>>(),
        [(Kind::Committed, 1), (Kind::Entry, 1), (Kind::Committed, 2)]
    );
}

#[test]
fn an_append_of_nothing_waits_for_all_before() {
    let (mut driven, _) = open(memory());
    let (_, first) = driven.append(vec![entry(0, 1, "one")]);
    let (_, barrier) = driven.append(Vec::new());
    assert!(barrier.answer().is_none());
    driven.drive();
    assert!(first.is_durable() && barrier.is_durable());
    let (_, barrier) = driven.append(Vec::new());
    driven.drive();
    assert!(barrier.is_durable(), "with nothing to wait for it is told at once");
}

#[test]
fn ready_waits_while_too_much_is_queued() {
    let mut small = options();
    small.queue_bytes = 10_000;
    let (mut driven, _) = try_open(memory(), small).unwrap().unwrap();
    driven.drive();
    let journal = driven.journal.clone();
    assert!(poll_once(Box::pin(journal.ready())).is_some());
    driven.append(vec![entry(0, 1, vec![0; 20_000])]);
    assert!(poll_once(Box::pin(journal.ready())).is_none());
    assert!(driven.along(journal.ready()).is_some());
}

#[test]
fn a_failed_sync_poisons_the_journal_for_everybody() {
    let disk = CrashDisk::new(1);
    let (mut driven, _) = open(disk.disk());
    let (_, told) = driven.append(vec![entry(0, 1, "good")]);
    driven.drive();
    assert!(told.is_durable());
    disk.fail_sync(0);
    let told: Vec<Told> = (2..5).map(|i| driven.append(vec![entry(0, i, "bad")]).1).collect();
    driven.drive();
    for told in told {
        assert!(
            matches!(told.answer(), Some(Err(JournalError::Io { doing: "sync", .. }))),
            "{:?}",
            told.answer()
        );
    }
    assert!(matches!(driven.ended, Some(Err(JournalError::Io { .. }))));
    let (placed, late) = driven.append(vec![entry(0, 5, "late")]);
    assert!(
        matches!(late.answer(), Some(Err(JournalError::Poisoned { .. }))),
        "told at once"
    );
    assert_eq!(placed, [Placed::NOWHERE]);
    assert!(driven.journal.poisoned().unwrap().contains("the medium is failing"));
    let journal = driven.journal.clone();
    assert!(poll_once(Box::pin(journal.fatal())).unwrap().contains("sync"));
    assert!(poll_once(Box::pin(journal.ready())).is_some(), "nobody waits for ever");
    assert!(matches!(
        driven.along(journal.append_durable(vec![])),
        Some(Err(JournalError::Poisoned { .. }))
    ));
}

#[test]
fn a_closed_journal_takes_nothing_more() {
    let (driven, _) = open(memory());
    let journal = driven.journal.clone();
    driven.close();
    assert!(matches!(
        poll_once(Box::pin(journal.append_durable(vec![entry(0, 1, "")]))),
        Some(Err(JournalError::Closed))
    ));
}

#[test]
fn a_dropped_loop_leaves_nobody_waiting() {
    let (driven, _) = open(memory());
    let journal = driven.journal.clone();
    let mut waiting = Box::pin(journal.append_durable(vec![entry(0, 1, "")]));
    assert!(poll_once(waiting.as_mut()).is_none());
    drop(driven);
    assert!(matches!(poll_once(waiting.as_mut()), Some(Err(JournalError::Closed))));
}

#[test]
fn any_sealed_segment_is_freed_and_stays_so() {
    let disk = memory();
    let (mut driven, _) = open(disk.clone());
    driven.append(vec![record(Kind::Vote, 3, 0, "the vote of group three")]);
    let mut placed = Vec::new();
    for i in 0..20 {
        placed.extend(driven.append(vec![entry(0, i, vec![0; 1000])]).0);
    }
    driven.drive();
    let last = driven.journal.segments().last().unwrap().id;
    assert!(last > 5);
    let journal = driven.journal.clone();
    assert!(matches!(
        driven.along(journal.remove_segments(&[last])),
        Some(Err(JournalError::NotFreeable { .. }))
    ));
    assert!(matches!(
        driven.along(journal.remove_segments(&[99])),
        Some(Err(JournalError::NotFreeable { .. }))
    ));
    driven.along(journal.remove_segments(&[1, 3])).unwrap().unwrap();
    driven.along(journal.remove_segments(&[4])).unwrap().unwrap();
    let ids: Vec<u64> = driven.journal.segments().iter().map(|info| info.id).collect();
    assert!(!ids.contains(&1) && ids.contains(&2) && !ids.contains(&3) && !ids.contains(&4));
    for place in &placed {
        let read = poll_once(Box::pin(journal.read_record(*place))).unwrap();
        match place.position.segment {
            1 | 3 | 4 => assert!(matches!(read, Err(JournalError::Freed { .. })), "{read:?}"),
            _ => assert_eq!(read.unwrap(), vec![0; 1000]),
        }
    }
    drop(journal);
    driven.close();
    let (driven, seen) = open(disk);
    assert_eq!(
        driven.journal.segments().iter().map(|info| info.id).collect::<Vec<_>>(),
        ids
    );
    assert!(seen.iter().all(|found| ids.contains(&found.placed.position.segment)));
    let votes: Vec<&[u8]> = seen
        .iter()
        .filter(|found| found.kind == Kind::Vote)
        .map(|found| &found.payload[..])
        .collect();
    assert!(
        !votes.is_empty() && votes.iter().all(|vote| *vote == b"the vote of group three"),
        "it is repeated later"
    );
}

#[test]
fn a_file_that_outlived_its_note_is_removed_at_the_start() {
    let disk = CrashDisk::new(3);
    let (mut driven, _) = open(disk.disk());
    for i in 0..20 {
        driven.append(vec![entry(0, i, vec![0; 1000])]);
    }
    driven.drive();
    let name = "journal/0000000000000002.seg";
    let bytes = disk.with_bytes(name, |bytes| bytes.clone());
    let journal = driven.journal.clone();
    driven.along(journal.remove_segments(&[2])).unwrap().unwrap();
    drop(journal);
    driven.close();
    poll_once(disk.disk().create(name)).unwrap().unwrap();
    disk.with_bytes(name, |file| *file = bytes);
    let (driven, seen) = open(disk.disk());
    assert!(!disk.names().contains(&name.to_string()));
    assert!(driven.journal.segments().iter().all(|info| info.id != 2));
    assert!(seen.iter().all(|found| found.placed.position.segment != 2));
}

#[test]
fn a_truncation_outlives_its_segment() {
    let disk = memory();
    let (mut driven, _) = open(disk.clone());
    // Segment 1 holds entries 1..=3 of group 0, and something that is needed; the truncation lies in a later one.
    driven.append((1..=3).map(|i| entry(0, i, "old")).collect());
    while driven.journal.segments().last().unwrap().id < 2 {
        driven.append(vec![entry(1, 1, vec![0; 900])]);
    }
    driven.append(vec![record(Kind::Truncate, 0, 2, "")]);
    while driven.journal.segments().last().unwrap().id < 3 {
        driven.append(vec![entry(1, 1, vec![0; 900])]);
    }
    driven.drive();
    let journal = driven.journal.clone();
    driven.along(journal.remove_segments(&[2])).unwrap().unwrap();
    drop(journal);
    driven.close();
    let (_, seen) = open(disk);
    let mut log = Vec::new();
    for found in seen.iter().filter(|found| found.group == 0) {
        match found.kind {
            Kind::Entry => log.push(found.index),
            Kind::Truncate => log.retain(|&index| index < found.index),
            _ => {}
        }
    }
    assert_eq!(log, [1]);
}

#[test]
fn another_journal_or_another_version_is_refused() {
    let disk = CrashDisk::new(1);
    let (driven, _) = open(disk.disk());
    driven.close();
    let mut other = options();
    other.identity = [9; 16];
    assert!(matches!(
        try_open(disk.disk(), other).unwrap(),
        Err(JournalError::Foreign { segment: 1 })
    ));
    disk.with_bytes("journal/0000000000000001.seg", |bytes| {
        bytes[8] = 2;
        let crc = crc32c::crc32c(&bytes[..60]);
        bytes[60..64].copy_from_slice(&crc.to_le_bytes());
    });
    let refused = try_open(disk.disk(), options()).unwrap();
    assert!(matches!(
        refused,
        Err(JournalError::Version {
            segment: 1,
            found: 2,
            known: 1
        })
    ));
}
