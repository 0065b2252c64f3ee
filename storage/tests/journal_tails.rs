//! The end of a journal after a crash: what is cut off, and what is damage. One trap a test, told by hand; the same
//! traps are met by chance in `journal_crashes.rs`.

mod crashing;

use crashing::{CrashDisk, driven::*};
use storage::journal::{JournalError, Kind, Placed};

const FIRST: &str = "journal/0000000000000001.seg";
const SECOND: &str = "journal/0000000000000002.seg";

/// What remains of one batch of three entries, of which the first is lost.
fn torn_in_front() -> (CrashDisk, Vec<Placed>) {
    let disk = CrashDisk::new(1);
    let (mut driven, _) = open(disk.disk());
    driven.append(vec![entry(0, 1, "acknowledged")]);
    driven.drive();
    let (placed, _) = driven.append(vec![entry(0, 2, "torn"), entry(0, 3, "left"), entry(0, 4, "left")]);
    driven.drive();
    drop(driven);
    // As if the power had gone before the sync: nothing behind the batch, and of it only the end.
    let end = placed[2].position.offset as usize + 8;
    disk.with_bytes(FIRST, |bytes| {
        bytes[placed[0].position.offset as usize..][..4].fill(0);
        bytes[end..].fill(0);
    });
    (disk, placed)
}

fn indexes(seen: &[storage::journal::Recovered]) -> Vec<u64> {
    seen.iter()
        .filter(|found| found.kind == Kind::Entry)
        .map(|found| found.index)
        .collect()
}

#[test]
fn the_rest_of_a_torn_batch_is_cut_off() {
    let (disk, placed) = torn_in_front();
    let (driven, seen) = open(disk.disk());
    assert_eq!(indexes(&seen), [1]);
    let cut = driven.cut.clone().expect("it says so");
    assert_eq!(cut.from.offset, placed[0].position.offset - 40);
}

#[test]
fn what_was_cut_off_does_not_come_back_behind_new_records() {
    let (disk, placed) = torn_in_front();
    let (mut driven, _) = open(disk.disk());
    // No seal in between: the new record takes exactly the place of the lost one, in a batch with the same start.
    let (again, told) = driven.append(vec![entry(0, 2, "TORN")]);
    driven.drive();
    assert!(told.is_durable());
    assert!(again[0].position >= placed[0].position);
    driven.close();
    let (_, seen) = open(disk.disk());
    assert_eq!(indexes(&seen), [1, 2]);
    assert_eq!(seen.last().map(|found| &found.payload[..]), Some(&b"TORN"[..]));
}

#[test]
fn the_bytes_that_were_cut_off_are_zeros() {
    let (disk, placed) = torn_in_front();
    let (driven, _) = open(disk.disk());
    drop(driven);
    let from = placed[0].position.offset as usize - 40;
    assert!(disk.with_bytes(FIRST, |bytes| bytes[from..].iter().all(|&byte| byte == 0)));
}

#[test]
fn the_same_hole_before_a_later_batch_is_damage() {
    let (disk, placed) = torn_in_front();
    let (mut driven, _) = open(disk.disk());
    driven.append(vec![entry(0, 2, "synced")]);
    driven.drive();
    driven.append(vec![entry(0, 3, "synced later")]);
    driven.drive();
    drop(driven);
    disk.with_bytes(FIRST, |bytes| bytes[placed[0].position.offset as usize - 40 + 48] ^= 1);
    match try_open(disk.disk(), options()).unwrap().map(drop) {
        Err(JournalError::Damaged { segment: 1, what, .. }) => assert!(what.contains("was synced"), "{what}"),
        other => panic!("{other:?}"),
    }
}

/// A segment repeats at its head what held before. If that is torn and the segment were kept, freeing the older ones
/// would lose a vote.
#[test]
fn a_segment_whose_beginning_is_torn_is_not_begun() {
    let disk = CrashDisk::new(1);
    let (mut driven, _) = open(disk.disk());
    driven.append((0..3).map(|group| record(Kind::Vote, group, 0, "a vote")).collect());
    driven.append(vec![entry(7, 1, vec![0; 3000])]);
    driven.drive();
    driven.append(vec![entry(7, 2, vec![0; 1000])]);
    driven.drive();
    drop(driven);
    // The head and the first vote are there, and nothing behind them.
    disk.with_bytes(SECOND, |bytes| bytes[64 + 48..].fill(0));
    let (mut driven, seen) = open(disk.disk());
    assert_eq!(indexes(&seen), [1]);
    assert_eq!(driven.cut.as_ref().map(|cut| cut.from.segment), Some(2));
    driven.append(vec![entry(7, 2, vec![0; 1000])]);
    driven.drive();
    let journal = driven.journal.clone();
    driven.along(journal.remove_segments(&[1])).unwrap().unwrap();
    drop(journal);
    driven.close();
    let (_, seen) = open(disk.disk());
    let votes: Vec<u32> = seen
        .iter()
        .filter(|found| found.kind == Kind::Vote)
        .map(|found| found.group)
        .collect();
    assert_eq!(votes, [0, 1, 2]);
}

#[test]
fn a_segment_with_a_damaged_head_is_damage_if_it_was_synced() {
    let disk = CrashDisk::new(1);
    let (mut driven, _) = open(disk.disk());
    driven.append(vec![entry(0, 1, "synced")]);
    driven.drive();
    driven.close();
    disk.with_bytes(FIRST, |bytes| bytes[20] ^= 1);
    assert!(matches!(
        try_open(disk.disk(), options()).unwrap().map(drop),
        Err(JournalError::Damaged {
            segment: 1,
            offset: 0,
            ..
        })
    ));
}

/// Linux marks pages clean when their sync fails. A start that trusts what it reads would call durable what the disk
/// never got.
#[test]
fn what_a_failed_sync_left_in_the_page_cache_is_written_again() {
    for seed in 1..50 {
        let disk = CrashDisk::new(seed);
        let (mut driven, _) = open(disk.disk());
        driven.append(vec![entry(0, 1, "synced")]);
        driven.drive();
        disk.fail_sync(0);
        driven.append(vec![entry(0, 2, "only in the page cache")]);
        driven.drive();
        drop(driven);
        disk.restart();
        let (driven, seen) = open(disk.disk());
        drop(driven);
        disk.power_cut();
        let (_, after) = open(disk.disk());
        assert_eq!(indexes(&after), indexes(&seen), "what a start has shown stays");
    }
}
