//! The layout as bytes, and the order it promises.

use proptest::prelude::*;

use storage::journal::Position;

use super::*;

/// Golden: these bytes are on disks.
#[test]
fn keys_are_written_as_they_were_by_the_first_release() {
    let (group, generation, incarnation) = (3, 1, 77);
    let table = [
        (Key::Version, "00"),
        (Key::Applied { group }, "0100000003"),
        (Key::Generation { group }, "0200000003"),
        (Key::Membership { group }, "0300000003"),
        (
            Key::Stream {
                group,
                generation,
                bucket: "a",
                name: "b/c",
            },
            "100000000300000000000000010161 00 622f63",
        ),
        (
            Key::Producer {
                group,
                generation,
                incarnation,
                id: "p",
            },
            "10000000030000000000000001 02 000000000000004d 70",
        ),
        (
            Key::Chunk {
                group,
                generation,
                incarnation,
                end: Offset(1024),
            },
            "10000000030000000000000001 03 000000000000004d 0000000000000400",
        ),
        (
            Key::SegmentLive {
                group,
                generation,
                segment: 258,
            },
            "10000000030000000000000001 04 0000000000000102",
        ),
        (
            Key::Trash {
                group,
                generation,
                incarnation,
            },
            "10000000030000000000000001 05 000000000000004d",
        ),
        (
            Key::Deadline {
                group,
                generation,
                deadline_ms: 1_700_000_000_000,
                bucket: "a",
                name: "b/c",
            },
            "10000000030000000000000001 06 0000018bcfe56800 61 00 622f63",
        ),
        (
            Key::Pledge {
                group,
                generation,
                token: 300,
            },
            "10000000030000000000000001 08 000000000000012c",
        ),
        (
            Key::Reference {
                group,
                generation,
                confirmed: true,
                incarnation,
                token: Token { group: 5, index: 300 },
            },
            "10000000030000000000000001 09 01 000000000000004d 00000005 000000000000012c",
        ),
        (
            Key::Bucket {
                group,
                generation,
                name: "demo",
            },
            "10000000030000000000000001 20 64656d6f",
        ),
        (
            Key::BucketCount {
                group,
                generation,
                name: "demo",
            },
            "10000000030000000000000001 21 64656d6f",
        ),
        (
            Key::Deleting {
                group,
                generation,
                begun: 258,
            },
            "10000000030000000000000001 22 0000000000000102",
        ),
        (
            Key::Hot {
                group,
                generation,
                incarnation: 258,
            },
            "10000000030000000000000001 0a 0000000000000102",
        ),
        (
            Key::Object {
                group,
                generation,
                object: ObjectId { term: 3, sequence: 258 },
            },
            "10000000030000000000000001 0b 0000000000000003 0000000000000102",
        ),
        (Key::Buckets { group, generation }, "10000000030000000000000001 23"),
        (Key::Sealed { group, generation }, "10000000030000000000000001 24"),
    ];
    for (key, golden) in table {
        assert_eq!(hex(&key.encode()), golden.replace(' ', ""), "{key:?}");
        assert_eq!(Key::decode(&key.encode()), Ok(key));
    }
}

#[test]
fn values_are_written_as_they_were_by_the_first_release() {
    let applied = Applied {
        log_id: vec![7, 8],
        last_now_ms: 1_700_000_000_000,
    };
    assert_eq!(hex(&applied.encode()), "0102070880d095ffbc31");
    assert_eq!(Applied::decode(&applied.encode()), Ok(applied));

    let place = Place::Journal(Position {
        segment: 2,
        offset: 300,
    });
    let chunk = Chunk {
        place,
        len: 1024,
        crc32c: 0xdead_beef,
        ends: true,
        cuts: vec![],
    };
    assert_eq!(hex(&chunk.encode()), "010002ac028008effdb6f50d01");
    assert_eq!(Chunk::decode(&chunk.encode()), Ok(chunk));

    let object = ObjectId { term: 3, sequence: 258 };
    let chunk = Chunk {
        place: Place::Cold(ColdPlace { object, offset: 300 }),
        len: 1024,
        crc32c: 0xdead_beef,
        ends: false,
        cuts: vec![100, 300],
    };
    assert_eq!(hex(&chunk.encode()), "0201038202ac028008effdb6f50d000264c801");
    assert_eq!(Chunk::decode(&chunk.encode()), Ok(chunk.clone()));
    let ends: Vec<Offset> = chunk.append_ends(Offset(2000)).collect();
    assert_eq!(ends, [Offset(1076), Offset(1276)]);

    let row = ObjectRow { live: 258, len: 300 };
    assert_eq!(hex(&row.encode()), "018202ac02");
    assert_eq!(ObjectRow::decode(&row.encode()), Ok(row));

    let row = HotRow {
        from: Offset(258),
        since_ms: 1_700_000_000_000,
    };
    assert_eq!(hex(&row.encode()), "01820280d095ffbc31");
    assert_eq!(HotRow::decode(&row.encode()), Ok(row));

    assert_eq!(hex(&number::encode(258)), "0000000000000102");
    assert_eq!(number::decode(&number::encode(258)), Ok(258));
}

#[test]
fn what_is_no_key_is_refused() {
    let good = Key::Chunk {
        group: 0,
        generation: 0,
        incarnation: 1,
        end: Offset(1),
    }
    .encode();
    for len in 0..good.len() {
        assert!(Key::decode(&good[..len]).is_err(), "cut to {len}");
    }
    assert!(Key::decode(&[0x00, 0x00]).is_err(), "a byte too many");
    assert!(Key::decode(&[0x0f]).is_err(), "an unknown tag");
    assert!(number::decode(&[0; 7]).is_err());
}

#[test]
fn the_first_chunk_from_an_offset_is_the_one_that_holds_it() {
    let key = |end| {
        Key::Chunk {
            group: 1,
            generation: 0,
            incarnation: 9,
            end: Offset(end),
        }
        .encode()
    };
    let from = |offset| KeyRange::chunks_from(1, 0, 9, Offset(offset)).from;
    // A chunk of bytes 0..10 ends at 10: it holds byte 9 and not byte 10.
    assert!(from(0) <= key(10) && from(9) <= key(10) && from(10) > key(10));
}

#[test]
fn a_chunk_is_below_an_offset_when_all_its_bytes_are() {
    let key = |end| {
        Key::Chunk {
            group: 1,
            generation: 0,
            incarnation: 9,
            end: Offset(end),
        }
        .encode()
    };
    let below = KeyRange::chunks_below(1, 0, 9, Offset(10));
    assert!(below.from <= key(1) && key(10) < below.to && below.to <= key(11));
}

#[test]
fn what_is_due_at_a_moment_is_what_was_to_be_looked_at_then_or_before() {
    let stream = StreamName::flat("s").expect("legal");
    let key = |deadline_ms| Key::deadline(1, 0, deadline_ms, &stream).encode();
    let due = KeyRange::deadlines(1, 0, 500);
    assert!(due.from <= key(0) && key(500) < due.to && due.to <= key(501));
}

#[test]
fn the_references_to_be_looked_into_lie_together() {
    let key = |confirmed, incarnation| {
        Key::Reference {
            group: 1,
            generation: 0,
            confirmed,
            incarnation,
            token: Token { group: 0, index: 1 },
        }
        .encode()
    };
    let (doubts, all) = (KeyRange::doubts(1, 0), KeyRange::references(1, 0));
    assert!(doubts.from <= key(false, 0) && key(false, u64::MAX) < doubts.to && doubts.to <= key(true, 0));
    assert!(all.from <= key(false, 0) && key(true, u64::MAX) < all.to);
}

#[test]
fn the_last_generation_of_the_last_group_has_a_range_too() {
    let range = KeyRange::generation(u32::MAX, u64::MAX);
    let key = Key::Chunk {
        group: u32::MAX,
        generation: u64::MAX,
        incarnation: u64::MAX,
        end: Offset(u64::MAX),
    };
    assert!(range.from <= key.encode() && key.encode() < range.to);
}

fn any_key() -> impl Strategy<Value = (u8, u32, u64, u64, u64, String, String)> {
    (
        0..13_u8,
        0..3_u32,
        0..3_u64,
        0..3_u64,
        0..300_u64,
        "[a-c\u{7f}é]{1,3}",
        "[a-c/é]{1,3}",
    )
}

fn key<'a>(parts: &'a (u8, u32, u64, u64, u64, String, String)) -> Key<'a> {
    let (kind, group, generation, incarnation, offset, ref bucket, ref name) = *parts;
    match kind {
        0 => Key::Version,
        1 => Key::Applied { group },
        2 => Key::Generation { group },
        3 => Key::Membership { group },
        4 => Key::SegmentLive {
            group,
            generation,
            segment: offset,
        },
        5 => Key::Stream {
            group,
            generation,
            bucket,
            name,
        },
        6 => Key::Producer {
            group,
            generation,
            incarnation,
            id: name,
        },
        7 => Key::Trash {
            group,
            generation,
            incarnation,
        },
        8 => Key::Deadline {
            group,
            generation,
            deadline_ms: offset,
            bucket,
            name,
        },
        9 => Key::Blob {
            group,
            generation,
            blob: incarnation,
        },
        10 => Key::Pledge {
            group,
            generation,
            token: offset,
        },
        11 => Key::Reference {
            group,
            generation,
            confirmed: name.len() > 1,
            incarnation,
            token: Token {
                group: bucket.len() as u32,
                index: offset,
            },
        },
        _ => Key::Chunk {
            group,
            generation,
            incarnation,
            end: Offset(offset),
        },
    }
}

/// The rank of a key in the order the layout promises: by group and generation first, then by kind of row.
fn rank<'a>(key: Key<'a>) -> (u8, u64, u64, u8, Key<'a>) {
    match key {
        Key::Version => (0, 0, 0, 0, key),
        Key::Applied { .. } => (1, 0, 0, 0, key),
        Key::Generation { .. } => (2, 0, 0, 0, key),
        Key::Membership { .. } => (3, 0, 0, 0, key),
        Key::Stream { group, generation, .. } => (5, group.into(), generation, 1, key),
        Key::Producer { group, generation, .. } => (5, group.into(), generation, 2, key),
        Key::Chunk { group, generation, .. } => (5, group.into(), generation, 3, key),
        Key::SegmentLive { group, generation, .. } => (5, group.into(), generation, 4, key),
        Key::Trash { group, generation, .. } => (5, group.into(), generation, 5, key),
        Key::Deadline { group, generation, .. } => (5, group.into(), generation, 6, key),
        Key::Pledge { group, generation, .. } => (5, group.into(), generation, 8, key),
        Key::Reference { group, generation, .. } => (5, group.into(), generation, 9, key),
        Key::Bucket { group, generation, .. } => (5, group.into(), generation, 0x20, key),
        Key::BucketCount { group, generation, .. } => (5, group.into(), generation, 0x21, key),
        Key::Deleting { group, generation, .. } => (5, group.into(), generation, 0x22, key),
        Key::Buckets { group, generation } => (5, group.into(), generation, 0x23, key),
        Key::Sealed { group, generation } => (5, group.into(), generation, 0x24, key),
        Key::Blob { group, generation, .. } => (5, group.into(), generation, 7, key),
        Key::Hot { group, generation, .. } => (5, group.into(), generation, 0x0a, key),
        Key::Object { group, generation, .. } => (5, group.into(), generation, 0x0b, key),
    }
}

proptest! {
    #[test]
    fn keys_come_back_and_sort_as_their_fields_do(one in any_key(), other in any_key()) {
        let (one, other) = (key(&one), key(&other));
        let bytes = one.encode();
        prop_assert_eq!(Key::decode(&bytes), Ok(one));
        prop_assert_eq!(one.encode().cmp(&other.encode()), rank(one).cmp(&rank(other)));
    }

    #[test]
    fn no_bytes_make_decoding_panic(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
        if let Ok(key) = Key::decode(&bytes) {
            prop_assert_eq!(&key.encode()[..], &bytes[..]);
        }
    }

    #[test]
    fn a_range_holds_the_rows_of_its_stream_and_no_others(row in any_key(), incarnation in 0..3_u64) {
        let row = key(&row);
        let range = KeyRange::chunks(1, 1, incarnation);
        let inside = range.from <= row.encode() && row.encode() < range.to;
        let belongs = matches!(row, Key::Chunk { group: 1, generation: 1, incarnation: i, .. } if i == incarnation);
        prop_assert_eq!(inside, belongs);
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
