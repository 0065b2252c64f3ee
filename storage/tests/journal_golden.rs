//! The bytes of a small journal of format version 1, kept for ever: they must open and say the same, and the program
//! must write the same.
//!
//! When the format changes, a new folder is added next to `journal-v1`, and these tests stay.

mod crashing;

use std::sync::Arc;

use crashing::driven::*;
use storage::{
    disk::Disk,
    journal::{
        Kind, Record,
        inspect::{Detail, inspect},
    },
    memory::MemoryDisk,
};

/// Segment 2 was freed.
const GOLDEN: [(&str, &[u8]); 2] = [
    (
        "journal/0000000000000001.seg",
        include_bytes!("../golden/journal-v1/0000000000000001.seg"),
    ),
    (
        "journal/0000000000000003.seg",
        include_bytes!("../golden/journal-v1/0000000000000003.seg"),
    ),
];

/// The journal of the golden files, written by this program.
fn write() -> Arc<dyn Disk> {
    let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
    let (mut driven, _) = open(disk.clone());
    let payload = |n: u8| -> Vec<u8> { (0..900).map(|i| (i as u8).wrapping_mul(n)).collect() };
    driven.drive();
    driven.append(vec![
        Record {
            term: 7,
            ..record(Kind::Vote, 0, 0, "vote of group 0")
        },
        Record {
            term: 7,
            ..entry(0, 1, "first")
        },
        Record {
            term: 7,
            ..entry(5, 0, "")
        },
    ]);
    driven.drive();
    for i in 2..9 {
        driven.append(vec![Record {
            term: 7 + i / 4,
            ..entry(0, i, payload(i as u8))
        }]);
    }
    driven.drive();
    driven.append(vec![
        record(Kind::Truncate, 0, 8, ""),
        record(Kind::Purge, 0, 7, "log id"),
        record(Kind::Committed, 0, 7, "c"),
        record(Kind::Hot, 0, u64::MAX, "hot bytes"),
    ]);
    driven.drive();
    let journal = driven.journal.clone();
    driven.along(journal.remove_segments(&[2])).unwrap().unwrap();
    drop(journal);
    driven.close();
    disk
}

fn read(disk: &Arc<dyn Disk>, path: &str) -> Vec<u8> {
    let file = poll_once(disk.open(path)).unwrap().unwrap();
    poll_once(file.read_at(0, 1 << 20)).unwrap().unwrap().to_vec()
}

fn golden() -> Arc<dyn Disk> {
    let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
    for (path, bytes) in GOLDEN {
        let file = poll_once(disk.create(path)).unwrap().unwrap();
        poll_once(file.write_at(0, vec![bytes.into()])).unwrap().unwrap();
    }
    disk
}

#[test]
fn the_program_writes_what_it_always_wrote() {
    let disk = write();
    for (path, bytes) in GOLDEN {
        assert!(
            read(&disk, path) == bytes,
            "{path} is written differently: this is another version of the format"
        );
    }
}

#[test]
fn a_journal_of_version_1_opens_and_says_what_it_always_said() {
    let disk = golden();
    let report = poll_once(Box::pin(inspect(disk.clone(), FOLDER, Detail::Segments)))
        .unwrap()
        .unwrap();
    assert_eq!((report.damage, report.freed), (None, vec![(2, 2)]));
    let (_, seen) = open(disk);
    let said: Vec<(bool, Kind, u32, u64, u64, usize, u64)> = seen
        .iter()
        .map(|r| {
            (
                r.repeated,
                r.kind,
                r.group,
                r.index,
                r.term,
                r.payload.len(),
                r.placed.position.segment,
            )
        })
        .collect();
    assert_eq!(
        said,
        [
            (false, Kind::Vote, 0, 0, 7, 15, 1),
            (false, Kind::Entry, 0, 1, 7, 5, 1),
            (false, Kind::Entry, 5, 0, 7, 0, 1),
            (false, Kind::Entry, 0, 2, 7, 900, 1),
            (false, Kind::Entry, 0, 3, 7, 900, 1),
            (false, Kind::Entry, 0, 4, 8, 900, 1),
            (true, Kind::Vote, 0, 0, 7, 15, 3),
            (true, Kind::Truncate, 0, 8, 0, 0, 3),
            (true, Kind::Truncate, 5, 1, 0, 0, 3),
            (false, Kind::Purge, 0, 7, 1, 6, 3),
            (false, Kind::Committed, 0, 7, 1, 1, 3),
            (false, Kind::Hot, 0, u64::MAX, 1, 9, 3),
        ]
    );
    assert_eq!(seen[0].payload, "vote of group 0");
    assert!(
        seen[3]
            .payload
            .iter()
            .enumerate()
            .all(|(i, &byte)| byte == (i as u8).wrapping_mul(2))
    );
}

/// For a new version of the format only: `cargo test -p storage --test journal_golden -- --ignored`.
#[test]
#[ignore = "writes the golden files"]
#[expect(clippy::disallowed_methods, reason = "a person runs it")]
fn write_the_golden_files() {
    let disk = write();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/golden/journal-v1");
    std::fs::create_dir_all(folder).unwrap();
    for (path, _) in GOLDEN {
        let name = path.strip_prefix("journal/").unwrap();
        std::fs::write(format!("{folder}/{name}"), read(&disk, path)).unwrap();
    }
}
