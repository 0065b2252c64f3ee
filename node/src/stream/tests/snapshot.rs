//! PROTOCOL-NOTES, Snapshots and bootstrap.

use proptest::prelude::*;

use super::*;

fn op(op: SnapshotOp) -> Command {
    command(Op::Snapshot(op))
}

fn begin(offset: u64) -> Command {
    let offset = Offset(offset);
    let if_match = None;
    op(SnapshotOp::Begin { offset, if_match })
}

fn part(blob: u64, at: u64, body: &str) -> Command {
    op(SnapshotOp::Part { blob, at }).body(body)
}

fn drop_at(blob: u64, len: u64) -> Command {
    op(SnapshotOp::Drop { blob, len })
}

fn trim(offset: u64) -> Command {
    let offset = Offset(offset);
    op(SnapshotOp::Trim { offset })
}

/// Whose content is told by the one byte its digest is made of.
fn publish(blob: u64, offset: u64, len: u64, content: u8) -> Command {
    op(SnapshotOp::Publish(Publish {
        blob,
        offset: Offset(offset),
        len,
        content_type: "a/b".to_owned(),
        digest: [content; 32],
        trim: false,
    }))
}

fn trimming(mut command: Command) -> Command {
    match &mut command.op {
        Op::Snapshot(SnapshotOp::Publish(publish)) => publish.trim = true,
        other => panic!("nothing that publishes: {other:?}"),
    }
    command
}

pub(super) fn short(done: &SnapshotDone) -> String {
    match done {
        SnapshotDone::Begun { blob } => format!("begun {blob}"),
        SnapshotDone::Stored { len } => format!("stored {len}"),
        SnapshotDone::Published { standing } => format!("published {}..{}", standing.earliest.0, standing.tail.0),
        SnapshotDone::Dropped => "dropped".to_owned(),
        SnapshotDone::Trimmed { standing } => format!("trimmed {}..{}", standing.earliest.0, standing.tail.0),
    }
}

pub(super) fn reason(refusal: &SnapshotRefusal) -> String {
    match refusal {
        SnapshotRefusal::BeyondTail { standing } => format!("beyond {}", standing.tail.0),
        SnapshotRefusal::Trimmed { standing } => format!("trimmed to {}", standing.earliest.0),
        SnapshotRefusal::Older { newest } => format!("older than {}", newest.0),
        SnapshotRefusal::Differs { newest } => format!("another at {}", newest.0),
        SnapshotRefusal::AnotherLife => "another life".to_owned(),
        SnapshotRefusal::UploadGone => "no upload".to_owned(),
        SnapshotRefusal::PartsMissing { len } => format!("only {len} bytes"),
        SnapshotRefusal::TooLarge => "too large".to_owned(),
        SnapshotRefusal::TooManyUploads => "too many".to_owned(),
        SnapshotRefusal::NothingStandsForIt { newest } => match newest {
            Some(newest) => format!("newest is {}", newest.0),
            None => "no snapshot".to_owned(),
        },
    }
}

/// `0123456789`, created by entry 1; entry 2 appended.
fn ten() -> Kept {
    let mut kept = Kept::stream("text/plain");
    kept.tell(&append("0123456789"));
    kept
}

#[test]
fn a_snapshot_is_uploaded_in_parts_and_published_whole() {
    let mut kept = ten();
    let table = [
        (begin(6), "begun 3"),
        (part(3, 0, "abc"), "stored 3"),
        (part(3, 3, "de"), "stored 5"),
        // Repeats: of the last part, of an earlier one.
        (part(3, 3, "de"), "stored 5"),
        (part(3, 0, "abc"), "stored 5"),
        // Parts that do not follow.
        (part(3, 6, "x"), "refused: only 5 bytes"),
        (part(3, 4, "xy"), "refused: only 5 bytes"),
        (part(3, u64::MAX, "x"), "refused: too large"),
        (part(9, 0, "x"), "refused: no upload"),
        (publish(3, 6, 6, 1), "refused: only 5 bytes"),
        (publish(3, 6, 4, 1), "refused: only 5 bytes"),
        (publish(3, 6, 5, 1), "published 0..10"),
        (publish(3, 6, 5, 1), "published 0..10"),
        (part(3, 5, "f"), "refused: no upload"),
        (drop_at(3, 5), "dropped"),
    ];
    holds(&mut kept, &table);
    let newest = kept
        .row
        .as_ref()
        .and_then(|row| row.snapshot.as_deref())
        .expect("there");
    assert_eq!((newest.offset, newest.blob, newest.len), (Offset(6), 3, 5));
    assert_eq!(kept.blobs[&3], b"abcde");
    assert!(kept.uploads.is_empty());
}

#[test]
fn where_a_snapshot_may_stand() {
    let mut kept = ten();
    let table = [
        (begin(11), "refused: beyond 10"),
        (begin(0), "begun 4"),
        (begin(10), "begun 5"),
        (begin(6), "begun 6"),
        (publish(6, 11, 0, 1), "refused: beyond 10"),
        // Empty snapshots are lawful, and so is the very beginning.
        (publish(4, 0, 0, 1), "published 0..10"),
        (publish(6, 6, 0, 1), "published 0..10"),
        (begin(5), "refused: older than 6"),
        (begin(6), "begun 11"),
        (begin(6), "begun 12"),
        // The same content again: a repeat, and the second blob goes.
        (publish(11, 6, 0, 1), "published 0..10"),
        (publish(12, 6, 0, 2), "refused: another at 6"),
        (publish(12, 5, 0, 2), "refused: older than 6"),
        (trimming(publish(5, 10, 0, 3)), "published 10..10"),
        (publish(12, 6, 0, 1), "refused: trimmed to 10"),
        (begin(9), "refused: trimmed to 10"),
    ];
    holds(&mut kept, &table);
    assert_eq!(
        kept.blobs.keys().collect::<Vec<_>>(),
        [&5, &12],
        "replaced ones are garbage"
    );
}

#[test]
fn nothing_is_trimmed_that_no_snapshot_stands_for() {
    let mut kept = ten();
    let table = [
        (trim(0), "refused: no snapshot"),
        (begin(6), "begun 4"),
        (publish(4, 6, 0, 1), "published 0..10"),
        (trim(7), "refused: newest is 6"),
        (trim(4), "trimmed 4..10"),
        (trim(2), "trimmed 4..10"),
        (trim(6), "trimmed 6..10"),
        (delete(), "deleted"),
        (trim(6), "refused: not found"),
    ];
    holds(&mut kept, &table);
    assert!(kept.blobs.is_empty(), "a snapshot goes with its stream");
}

#[test]
fn an_upload_belongs_to_one_life_of_one_stream() {
    let mut kept = ten();
    let elsewhere = Command {
        stream: StreamName::flat("other").expect("legal"),
        ..part(3, 0, "x")
    };
    let table = [
        (begin(6), "begun 3"),
        (part(3, 0, "abc"), "stored 3"),
        (delete(), "deleted"),
        (part(3, 3, "x"), "refused: not found"),
        (publish(3, 6, 3, 1), "refused: not found"),
        (create("text/plain").body("0123456789"), "created 10"),
        (part(3, 3, "x"), "refused: another life"),
        (publish(3, 6, 3, 1), "refused: another life"),
        (elsewhere, "refused: no upload"),
        (drop_at(3, 2), "dropped"),
    ];
    holds(&mut kept, &table);
    assert!(
        kept.uploads.contains_key(&3),
        "it has come further than who gives it up knows"
    );
    holds(&mut kept, &[(drop_at(3, 3), "dropped")]);
    assert!(kept.uploads.is_empty() && kept.blobs.is_empty());
}

#[test]
fn a_tag_of_another_life_does_not_match() {
    let mut kept = ten();
    let begin_if = |tag: &str| {
        let (offset, if_match) = (Offset(6), Some(Condition::parse(tag).expect("legal")));
        op(SnapshotOp::Begin { offset, if_match })
    };
    let table = [
        (begin_if("\"1:0:3\""), "begun 3"),
        (begin_if("*"), "begun 4"),
        (begin_if("\"2:0:10\""), "refused: if-match"),
        (begin_if("\"foreign\""), "refused: if-match"),
    ];
    holds(&mut kept, &table);
}

#[test]
fn what_trims_past_a_snapshot_takes_it_away() {
    let mut kept = ten();
    let below = Offset(7);
    let trim_past = command(Op::Trim(Trim { incarnation: 1, below }));
    let table = [
        (begin(6), "begun 3"),
        (publish(3, 6, 0, 1), "published 0..10"),
        (trim_past, "trimmed to 7"),
        (begin(6), "refused: trimmed to 7"),
        (begin(7), "begun 7"),
        (publish(7, 7, 0, 1), "published 7..10"),
    ];
    holds(&mut kept, &table);
    assert_eq!(kept.blobs.keys().collect::<Vec<_>>(), [&7]);
}

#[test]
fn uploads_are_bounded_in_number_and_length() {
    let mut kept = ten();
    for _ in 0..UPLOADS_MAX {
        assert!(matches!(
            kept.tell(&begin(6)),
            Outcome::Snapshot(SnapshotDone::Begun { .. })
        ));
    }
    holds(&mut kept, &[(begin(6), "refused: too many")]);
    kept.uploads.get_mut(&3).expect("begun").len = BLOB_BYTES_MAX;
    holds(&mut kept, &[(part(3, BLOB_BYTES_MAX, "x"), "refused: too large")]);
}

fn any_command() -> impl Strategy<Value = Command> {
    let body = "[a-z]{0,3}";
    prop_oneof![
        4 => body.prop_map(|body: String| append(&body)),
        1 => Just(delete()),
        2 => Just(create("text/plain").body("01")),
        4 => (0..12_u64).prop_map(begin),
        6 => (0..40_u64, 0..6_u64, "[a-z]{0,3}").prop_map(|(blob, at, body)| part(blob, at, &body)),
        6 => (0..40_u64, 0..12_u64, 0..6_u64, 0..2_u8, any::<bool>()).prop_map(|(blob, offset, len, content, trims)| {
            let publish = publish(blob, offset, len, content);
            if trims { trimming(publish) } else { publish }
        }),
        2 => (0..40_u64, 0..6_u64).prop_map(|(blob, len)| drop_at(blob, len)),
        2 => (0..12_u64).prop_map(trim),
    ]
}

proptest! {
    /// `Kept::tell` asserts that blobs grow at their end and are garbage once; here: what a row points to is there and
    /// whole, nothing else is kept, and the first kept byte never lies past a snapshot or the tail.
    #[test]
    fn a_published_snapshot_is_whole_and_nothing_leaks(history in prop::collection::vec(any_command(), 1..80)) {
        let mut kept = Kept::default();
        for command in &history {
            let before = kept.row.clone();
            kept.tell(command);
            let newest = kept.row.as_ref().and_then(|row| row.snapshot.as_deref());
            if let Some(newest) = newest {
                prop_assert_eq!(kept.blobs.get(&newest.blob).map(|bytes| bytes.len() as u64), Some(newest.len));
                prop_assert!(!kept.uploads.contains_key(&newest.blob));
            }
            prop_assert_eq!(kept.blobs.len(), kept.uploads.len() + usize::from(newest.is_some()));
            for (blob, upload) in &kept.uploads {
                prop_assert_eq!(kept.blobs[blob].len() as u64, upload.len);
            }
            let Some(row) = &kept.row else { continue };
            let stands_for = newest.map_or(Offset(0), |newest| newest.offset);
            prop_assert!(row.earliest <= stands_for && stands_for <= row.tail);
            if let Some(before) = before.filter(|before| before.incarnation == row.incarnation) {
                prop_assert!(before.earliest <= row.earliest);
                let was = before.snapshot.as_deref();
                prop_assert!(was.is_none_or(|was| newest.is_some_and(|is| is == was || is.offset > was.offset)));
            }
        }
    }
}
