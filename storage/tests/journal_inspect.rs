//! What a person sees of a journal, whole, torn and damaged; and that looking changes nothing.

mod crashing;

use crashing::{CrashDisk, driven::*};
use storage::journal::{
    Kind,
    inspect::{Detail, Ends, Report, inspect},
};

fn look(disk: &CrashDisk, detail: Detail) -> Report {
    let operations = Box::pin(inspect(disk.disk(), FOLDER, detail));
    poll_once(operations).unwrap().unwrap()
}

fn bytes(disk: &CrashDisk) -> Vec<(String, Vec<u8>)> {
    disk.names()
        .into_iter()
        .map(|name| (name.clone(), disk.with_bytes(&name, |bytes| bytes.clone())))
        .collect()
}

/// Three segments; the second is freed.
fn journal() -> CrashDisk {
    let disk = CrashDisk::new(5);
    let (mut driven, _) = open(disk.disk());
    driven.append(vec![record(Kind::Vote, 2, 0, "vote")]);
    driven.drive();
    for i in 1..=8 {
        driven.append(vec![entry(2, i, vec![b'x'; 1000])]);
    }
    driven.drive();
    let journal = driven.journal.clone();
    driven.along(journal.remove_segments(&[2])).unwrap().unwrap();
    drop(journal);
    driven.close();
    disk
}

#[test]
fn a_whole_journal_is_told_in_a_few_lines() {
    let disk = journal();
    let before = bytes(&disk);
    let report = look(&disk, Detail::Segments);
    assert_eq!(bytes(&disk), before, "looking changes nothing");
    assert_eq!(report.damage, None);
    assert_eq!(report.freed, [(2, 2)]);
    assert_eq!(
        report.segments.iter().map(|segment| segment.id).collect::<Vec<_>>(),
        [1, 3, 4]
    );
    assert_eq!(report.segments[0].ends, Ends::Sealed);
    assert_eq!(report.segments[0].kinds[&Kind::Vote], 1);
    assert_eq!(report.segments[0].groups[&2].entries, Some((1, 3)));
    assert_eq!(report.segments[1].ends, Ends::Open);
    assert_eq!(report.segments[2].ends, Ends::NotBegun, "made ahead of need");
    let text = report.to_string();
    for told in [
        "616e206964656e746974792068657265",
        "segment 0000000000000001",
        "group 2:",
        "entries 1 to 3",
        "whole",
    ] {
        assert!(text.contains(told), "{told} is not told:\n{text}");
    }
}

#[test]
fn every_record_of_a_segment_is_told_if_asked_for() {
    let report = look(&journal(), Detail::Records { segment: 1 });
    assert_eq!(report.segments[0].records.as_ref().map(Vec::len), Some(6), "{report}");
    assert_eq!(report.segments[1].records, None);
}

#[test]
fn damage_is_named_with_its_place() {
    let disk = journal();
    disk.with_bytes("journal/0000000000000001.seg", |bytes| bytes[1500] ^= 4);
    let report = look(&disk, Detail::Segments);
    assert!(matches!(report.segments[0].ends, Ends::Torn { .. }));
    assert!(
        report.damage.as_ref().unwrap().contains("segment 0000000000000001"),
        "{report}"
    );
    assert!(report.to_string().contains("DAMAGED"));
}

#[test]
fn an_unfinished_tail_is_no_damage() {
    let disk = journal();
    let end = look(&disk, Detail::Segments).segments[1].end;
    disk.with_bytes("journal/0000000000000003.seg", |bytes| {
        bytes[end as usize..end as usize + 9].fill(7)
    });
    let report = look(&disk, Detail::Segments);
    assert_eq!(report.damage, None);
    let unfinished = report.unfinished.unwrap();
    assert_eq!(
        (unfinished.from.segment, unfinished.from.offset, unfinished.bytes),
        (3, end, 9)
    );
}

#[test]
fn an_empty_folder_is_an_empty_journal() {
    let report = look(&CrashDisk::new(1), Detail::Segments);
    assert!(report.segments.is_empty() && report.damage.is_none() && report.identity.is_none());
}
