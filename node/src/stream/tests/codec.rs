//! What is written is read again; and what was written once is read for ever (golden bytes).

use std::sync::Arc;

use super::*;
use crate::keys::ObjectId;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn busy_append() -> Command {
    append("body")
        .by("p", 1, 2)
        .seq("s")
        .if_match("\"7:0:9:c\", W/\"7:0:9\"")
        .closing()
}

/// Golden: these bytes are in journals and on wires.
#[test]
fn commands_are_written_as_they_were_by_the_first_release() {
    let table = [
        (
            create("text/plain").body("body"),
            "01e807085f64656661756c74036c6f67000a746578742f706c61696e0000000000000000",
        ),
        (
            create("a/b").closing().if_match("*"),
            "01e807085f64656661756c74036c6f670003612f62010100000000000000",
        ),
        (
            append("body"),
            "01e807085f64656661756c74036c6f6701010a746578742f706c61696e00000000",
        ),
        (
            busy_append(),
            "01e807085f64656661756c74036c6f6701010a746578742f706c61696e01010170010201017301010200070009010107000900",
        ),
        (delete(), "01e807085f64656661756c74036c6f670200"),
        (
            create("a/b").living(Lifetime::Window { ms: 1_000 }).keeping(Retention {
                age_ms: Some(2),
                bytes: Some(3),
            }),
            "01e807085f64656661756c74036c6f670003612f62000001e80701020103000000",
        ),
        (
            command(Op::Trim(Trim {
                incarnation: 7,
                below: Offset(300),
            })),
            "01e807085f64656661756c74036c6f670307ac02",
        ),
        (
            command(Op::Touch(Touch { incarnation: 7 })),
            "01e807085f64656661756c74036c6f670407",
        ),
        (command(Op::Tend), "01e807085f64656661756c74036c6f6705"),
        (
            command(Op::Bucket(BucketOp::Create {
                retention: Retention {
                    age_ms: Some(2),
                    bytes: Some(3),
                },
            })),
            "01e807085f64656661756c74036c6f67060001020103",
        ),
        (
            command(Op::Bucket(BucketOp::Seal { begun: 300 })),
            "01e807085f64656661756c74036c6f670602ac02",
        ),
        (
            command(Op::Moved(Moved {
                object: ObjectId { term: 3, sequence: 258 },
                bytes: 300,
                runs: vec![MovedRun {
                    incarnation: 7,
                    start: Offset(300),
                    len: 5,
                    at: 258,
                    crc32c: 0xdead_beef,
                }],
            })),
            "01e807085f64656661756c74036c6f6709038202ac020107ac02058202effdb6f50d",
        ),
    ];
    for (command, golden) in table {
        let (meta, body) = command.encode();
        assert_eq!(hex(&meta), golden, "{command:?}");
        assert_eq!(body, command.body);
        assert_eq!(Command::decode(&meta, body), Ok(command));
    }
}

/// Golden: these bytes are in journals and on wires.
#[test]
fn commands_whose_bytes_are_elsewhere_say_first_where() {
    let elsewhere = |len, pieces| Elsewhere {
        object: ObjectId { term: 3, sequence: 258 },
        incarnation: 7,
        at: 300,
        len,
        crc32c: pieces,
    };
    let of = |elsewhere| Command {
        elsewhere: Some(Arc::new(elsewhere)),
        ..append("")
    };
    let command = of(elsewhere(300_000, vec![0xdead_beef, 1]));
    let (meta, body) = command.encode();
    let golden = "0203820207ac02e0a71202effdb6f50d01e807085f64656661756c74036c6f67010000000000";
    assert_eq!((hex(&meta), body.len()), (golden.to_owned(), 0));
    assert_eq!(Command::decode(&meta, body), Ok(command.clone()));
    assert_eq!(command.body_len(), 300_000);

    for (bad, body) in [
        (elsewhere(300_000, vec![1]), ""),
        (elsewhere(1, vec![1, 2]), ""),
        (elsewhere(1, vec![1]), "x"),
    ] {
        let (meta, _) = of(bad).encode();
        let refused = Command::decode(&meta, Bytes::from(body));
        assert!(matches!(refused, Err(BadFormat::Damaged { .. })), "{refused:?}");
    }
}

/// Golden: these bytes are in indexes and snapshots.
#[test]
fn rows_are_written_as_they_were_by_the_first_release() {
    let mut kept = Kept::stream("text/plain");
    kept.tell(&append("abc").seq("s"));
    kept.tell(&close("").by("p", 1, 0));
    let row = kept.row.clone().expect("there");
    assert_eq!(
        hex(&row.encode()),
        "01010a746578742f706c61696ee80703000101017001000101730100e80700000000e80700000000"
    );
    assert_eq!(StreamRow::decode(&row.encode()), Ok(row.clone()));

    let ((incarnation, id), claim) = kept.claims.pop_first().expect("there");
    assert_eq!(hex(&claim.encode()), "01010003e80701");
    assert_eq!(Claim::decode(&claim.encode()), Ok(claim));

    let name = StreamName::flat("log").expect("legal");
    let rows = [
        ImageRow::Stream { name, row },
        ImageRow::Producer { incarnation, id, claim },
    ];
    assert_eq!(
        hex(&encode_rows(&rows)),
        "010200085f64656661756c74036c6f67010a746578742f706c61696ee80703000101017001000101730100e80700000000e8070000000001010170010003e80701"
    );
    assert_eq!(decode_rows(&encode_rows(&rows)), Ok(rows.to_vec()));
}

/// Golden: these bytes are in journals, indexes, snapshots and on wires.
#[test]
fn snapshots_are_written_as_they_were_by_the_first_release() {
    let op = |op| hex(&command(Op::Snapshot(op)).encode().0)["01e807085f64656661756c74036c6f67".len()..].to_owned();
    let publish = Publish {
        blob: 7,
        offset: Offset(300),
        len: 5,
        content_type: "a/b".to_owned(),
        digest: [9; 32],
        trim: true,
    };
    let digest = "09".repeat(32);
    let begin = SnapshotOp::Begin {
        offset: Offset(300),
        if_match: None,
    };
    let table = [
        (begin.clone(), "0700ac0200".to_owned()),
        (SnapshotOp::Part { blob: 7, at: 300 }, "070107ac02".to_owned()),
        (SnapshotOp::Publish(publish), format!("070207ac020503612f62{digest}01")),
        (SnapshotOp::Drop { blob: 7, len: 300 }, "070307ac02".to_owned()),
        (SnapshotOp::Trim { offset: Offset(300) }, "0704ac02".to_owned()),
    ];
    for (asked, golden) in table {
        assert_eq!(op(asked.clone()), golden, "{asked:?}");
    }

    let mut kept = Kept::stream("text/plain");
    kept.tell(&append("x"));
    let begin = SnapshotOp::Begin {
        offset: Offset(0),
        if_match: None,
    };
    kept.tell(&command(Op::Snapshot(begin)));
    let row = kept.uploads[&3].clone();
    assert_eq!(hex(&row.encode()), "01085f64656661756c74036c6f670100e807");
    assert_eq!(BlobRow::decode(&row.encode()), Ok(row.clone()));
    let image = [ImageRow::Blob { blob: 3, row }];
    assert_eq!(hex(&encode_rows(&image)), "01010503085f64656661756c74036c6f670100e807");

    let snapshot = SnapshotRef {
        offset: Offset(300),
        blob: 7,
        len: 5,
        content_type: "a/b".to_owned(),
        digest: [9; 32],
        made_ms: 1_000,
    };
    let row = StreamRow {
        snapshot: Some(Box::new(snapshot)),
        ..kept.row.expect("there")
    };
    let golden =
        format!("01010a746578742f706c61696ee807010000000000e80700000000e80701ac02070503612f62{digest}e807000000");
    assert_eq!(hex(&row.encode()), golden);
    assert_eq!(StreamRow::decode(&row.encode()), Ok(row));
}

/// Golden: these bytes are in journals, indexes, snapshots and on wires.
#[test]
fn forks_are_written_as_they_were_by_the_first_release() {
    let source = StreamName::flat("src").expect("legal");
    let fork = StreamName::flat("log").expect("legal");
    let token = Token { group: 5, index: 300 };
    let pledge = Pledge {
        fork: fork.clone(),
        source: source.clone(),
        incarnation: 300,
        owing: true,
    };
    let reference = Reference {
        source: source.clone(),
        fork,
        seen: 300,
        earliest: Offset(5),
        confirmed: false,
    };
    let (of_fork, of_source) = ("085f64656661756c74036c6f67", "085f64656661756c7403737263");
    let pledged = format!("{of_fork}{of_source}ac0201");
    let referred = format!("{of_source}{of_fork}ac020500");
    assert_eq!(hex(&pledge.encode()), format!("01{pledged}"));
    assert_eq!(hex(&reference.encode()), format!("01{referred}"));
    assert_eq!(Pledge::decode(&pledge.encode()), Ok(pledge.clone()));
    assert_eq!(Reference::decode(&reference.encode()), Ok(reference.clone()));
    let rows = [
        ImageRow::Pledge { token: 7, row: pledge },
        ImageRow::Reference {
            incarnation: 7,
            token,
            row: reference,
        },
    ];
    assert_eq!(
        hex(&encode_rows(&rows)),
        format!("01020607{pledged}070705ac02{referred}")
    );
    assert_eq!(decode_rows(&encode_rows(&rows)), Ok(rows.to_vec()));

    let mut row = Kept::stream("text/plain").row.expect("there");
    let plain = hex(&row.encode());
    row.base = Some(Box::new(Base {
        source,
        incarnation: 300,
        offset: Offset(5),
        anchor: Offset(3),
        sub: 2,
        token: 7,
        seen: 9,
        depth: 1,
        own_lifetime: false,
    }));
    (row.refs, row.gone) = (2, true);
    let golden = format!("{}01{of_source}ac020503020709010002{}", &plain[..plain.len() - 6], "01");
    assert_eq!(hex(&row.encode()), golden);
    assert_eq!(StreamRow::decode(&row.encode()), Ok(row));

    let abandon = command(Op::Fork(ForkOp::Abandon { token: 7 }));
    assert_eq!(hex(&abandon.encode().0), format!("01e807{of_fork}080307"));
    let release = ForkOp::Release { token, incarnation: 7 };
    let release = command(Op::Fork(release));
    assert_eq!(hex(&release.encode().0), format!("01e807{of_fork}080405ac0207"));
}

/// Golden: these bytes are on wires between nodes of neighbouring releases.
#[test]
fn outcomes_are_written_as_they_were_by_the_first_release() {
    let standing = Standing {
        incarnation: 7,
        earliest: Offset(0),
        tail: Offset(300),
        closed: true,
    };
    let producer = Accepted { epoch: 1, seq: 2 };
    let table = [
        (Outcome::Created { standing }, "01000700ac0201"),
        (
            Outcome::Exists {
                standing,
                content_type: "a/b".to_owned(),
            },
            "01010700ac020103612f62",
        ),
        (
            Outcome::Appended {
                standing,
                producer: Some(producer),
            },
            "01020700ac0201010102",
        ),
        (Outcome::Duplicate { standing, producer }, "01030700ac02010102"),
        (Outcome::AlreadyClosed { standing }, "01040700ac0201"),
        (Outcome::Deleted, "0105"),
        (Outcome::Trimmed { standing }, "01070700ac0201"),
        (Outcome::Fork(ForkDone::Pledged { token: 300 }), "010b00ac02"),
        (Outcome::Fork(ForkDone::Settled), "010b05"),
        (Outcome::Refused(Refusal::Gone), "01060f"),
        (Outcome::Refused(ForkRefusal::TooLate.into()), "01061005"),
        (
            Outcome::Alive {
                standing,
                touched_ms: 9,
            },
            "01080700ac020109",
        ),
        (Outcome::Refused(Refusal::NotFound), "010600"),
        (
            Outcome::Refused(Refusal::Conflict {
                standing,
                content_type: "a/b".to_owned(),
            }),
            "0106010700ac020103612f62",
        ),
        (Outcome::Refused(Refusal::Closed { standing }), "0106020700ac0201"),
        (
            Outcome::Refused(Refusal::ContentType {
                expected: "a/b".to_owned(),
            }),
            "01060303612f62",
        ),
        (
            Outcome::Refused(Refusal::StreamSeq {
                standing,
                last: "s".to_owned(),
            }),
            "0106040700ac02010173",
        ),
        (Outcome::Refused(Refusal::Fenced { epoch: 3 }), "01060503"),
        (
            Outcome::Refused(Refusal::Gap {
                expected: 3,
                received: 5,
            }),
            "0106060305",
        ),
        (Outcome::Refused(Refusal::MustStartAtZero { received: 5 }), "01060705"),
        (Outcome::Refused(Refusal::TooManyProducers), "010608"),
        (Outcome::Refused(Refusal::IfMatch { standing: None }), "01060900"),
        (Outcome::Refused(Refusal::EmptyAppend), "01060a"),
        (
            Outcome::Refused(Refusal::TooLong {
                field: Field::ProducerNumber,
            }),
            "01060b04",
        ),
        (Outcome::Refused(Refusal::Full), "01060c"),
        (
            Outcome::Refused(Refusal::Bucket(BucketRefusal::Sealed { at: 300 })),
            "01060d00ac02",
        ),
        (Outcome::Bucket(BucketOutcome::Made { as_of: 300 }), "010900ac02"),
        (Outcome::Bucket(BucketOutcome::NotEmpty { streams: 2 }), "01090602"),
        (Outcome::Refused(SnapshotRefusal::UploadGone.into()), "01060e05"),
        (Outcome::Snapshot(SnapshotDone::Begun { blob: 300 }), "010a00ac02"),
        (Outcome::Snapshot(SnapshotDone::Stored { len: 300 }), "010a01ac02"),
        (
            Outcome::Snapshot(SnapshotDone::Published { standing }),
            "010a020700ac0201",
        ),
        (Outcome::Snapshot(SnapshotDone::Dropped), "010a03"),
        (
            Outcome::Snapshot(SnapshotDone::Trimmed { standing }),
            "010a040700ac0201",
        ),
        (Outcome::Moved { counts: true }, "010c01"),
    ];
    for (outcome, golden) in table {
        assert_eq!(hex(&outcome.encode()), golden, "{outcome:?}");
        assert_eq!(Outcome::decode(&outcome.encode()), Ok(outcome));
    }
}

#[test]
fn what_is_cut_off_or_of_another_version_is_refused() {
    let (meta, _) = busy_append().encode();
    for len in 0..meta.len() {
        assert!(Command::decode(&meta[..len], Bytes::new()).is_err(), "cut to {len}");
    }
    let mut newer = meta.to_vec();
    newer[0] = 3;
    let error = Command::decode(&newer, Bytes::new()).expect_err("of a version to come");
    assert_eq!(
        error.to_string(),
        "command: format version 3, this binary reads up to 2: run the newer binary"
    );
    let mut longer = meta.to_vec();
    longer.push(0);
    assert!(Command::decode(&longer, Bytes::new()).is_err());
}
