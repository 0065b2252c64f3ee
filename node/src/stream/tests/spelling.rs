//! How names, offsets and types are spelled, and which bytes answer a read. PROTOCOL-NOTES, URL shapes, Offsets, Reads.

use super::*;

#[test]
fn a_flat_path_is_a_bucket_and_a_name() {
    let table = [
        ("mystream", Ok(("_default", "mystream"))),
        ("a/b", Ok(("a", "b"))),
        ("a/b/c", Ok(("a", "b/c"))),
        ("manual/pool-1", Ok(("manual", "pool-1"))),
        ("Ünïcode/日本", Ok(("Ünïcode", "日本"))),
        ("with space", Ok(("_default", "with space"))),
        ("a..b", Ok(("_default", "a..b"))),
        ("...", Ok(("_default", "..."))),
        ("a/__ds", Ok(("a", "__ds"))),
        ("__dsx", Ok(("_default", "__dsx"))),
        ("", Err(BadName::Empty)),
        ("/", Err(BadName::Empty)),
        ("/a", Err(BadName::Empty)),
        ("a/", Err(BadName::Empty)),
        ("a//b", Err(BadName::Empty)),
        ("..", Err(BadName::Dots)),
        ("a/../b", Err(BadName::Dots)),
        ("a/.", Err(BadName::Dots)),
        ("a\0b", Err(BadName::Control)),
        ("a\nb", Err(BadName::Control)),
        ("a\u{7f}b", Err(BadName::Control)),
        ("a\u{85}b", Err(BadName::Control)),
        ("__ds", Err(BadName::Reserved)),
        ("__ds/subscriptions", Err(BadName::Reserved)),
    ];
    for (path, parsed) in table {
        let flat = StreamName::flat(path);
        assert_eq!(
            flat.as_ref().map(|name| (name.bucket(), name.name())),
            parsed.as_ref().copied(),
            "{path:?}"
        );
    }
    assert!(StreamName::flat(&"x".repeat(NAME_BYTES_MAX)).is_ok());
    assert_eq!(StreamName::flat(&"x".repeat(NAME_BYTES_MAX + 1)), Err(BadName::TooLong));
    assert_eq!(StreamName::flat("a/b/c").expect("legal").to_string(), "a/b/c");
}

#[test]
fn a_name_in_a_bucket_is_one_segment_and_means_the_same_as_on_the_flat_path() {
    let table = [
        ("stream", Ok(())),
        ("with space", Ok(())),
        ("日本", Ok(())),
        ("snapshot", Ok(())),
        ("", Err(BadName::Empty)),
        ("a/b", Err(BadName::Slash)),
        ("a\0b", Err(BadName::Control)),
        (".", Err(BadName::Dots)),
        ("..", Err(BadName::Dots)),
        ("a..b", Err(BadName::Dots)),
    ];
    for (name, lawful) in table {
        let found = StreamName::in_bucket("demo", name);
        assert_eq!(found.as_ref().map(|_| ()).map_err(|bad| *bad), lawful, "{name:?}");
        if let Ok(found) = found {
            assert_eq!(StreamName::flat(&format!("demo/{name}")), Ok(found));
        }
    }
    let longest = "x".repeat(NAME_IN_BUCKET_BYTES_MAX - 4);
    assert!(StreamName::in_bucket("demo", &longest).is_ok());
    let longer = StreamName::in_bucket("demos", &longest);
    assert_eq!(longer, Err(BadName::TooLongInBucket));
}

#[test]
fn the_longest_legal_name_is_short_enough_for_the_law() {
    let stream = StreamName::flat(&"x".repeat(NAME_BYTES_MAX)).expect("legal");
    let outcome = Kept::default().tell(&Command {
        stream,
        ..create("text/plain")
    });
    assert_eq!(short(&outcome), "created 0");
}

/// Golden: where a stream is kept is a format.
#[test]
fn a_stream_stays_in_its_group() {
    let group = |path: &str, groups| group_of(&StreamName::flat(path).expect("legal"), groups);
    let found =
        ["mystream", "a/b", "a/b/c", "ab/c", "日本"].map(|path| (group(path, 16), group(path, 3), group(path, 1)));
    assert_eq!(found, [(4, 0, 0), (11, 0, 0), (0, 2, 0), (4, 2, 0), (0, 2, 0)]);
    let mut counts = [0_u32; 16];
    for number in 0..16_000 {
        counts[group(&format!("load/stream-{number}"), 16) as usize] += 1;
    }
    assert!(
        counts.iter().all(|count| (900..1100).contains(count)),
        "uneven: {counts:?}"
    );
}

#[test]
fn an_offset_is_twenty_digits_and_little_else() {
    let at = |offset| Ok(Whence::At(Offset(offset)));
    let table = [
        ("-1", Ok(Whence::Start)),
        ("now", Ok(Whence::Now)),
        ("00000000000000000000", at(0)),
        ("00000000000000001024", at(1024)),
        ("18446744073709551615", at(u64::MAX)),
        // Larger than any stream: beyond every tail, not malformed.
        ("99999999999999999999", at(u64::MAX)),
        ("0000000000000000_0000000000000000", at(0)),
        ("0000000000000007_0000000000000042", at(42)),
        ("9999999999999999_9999999999999999", at(9_999_999_999_999_999)),
    ];
    for (text, parsed) in table {
        assert_eq!(Offset::parse(text), parsed, "{text}");
    }
    let junk = [
        "",
        "0",
        "-2",
        "+1",
        "NOW",
        "now ",
        " now",
        "0,1",
        "0 1",
        "1024",
        "0000000000000000000a",
        "+0000000000000000001",
        "000000000000000000001",
        "0000000000000000_",
        "_0000000000000000",
        "000000000000000_00000000000000000",
        "0000000000000000_0000000000000000_0000000000000000",
        "0000000000000000_+000000000000001",
        "٠٠٠٠٠٠٠٠٠٠",
        "0x000000000000000000",
    ];
    for text in junk {
        assert_eq!(Offset::parse(text), Err(BadOffset), "{text:?}");
    }
    assert_eq!(Offset(1024).to_string(), "00000000000000001024");
}

#[test]
fn a_read_gets_what_is_there() {
    let mut kept = Kept::stream("text/plain");
    kept.tell(&append("0123456789"));
    let mut row = kept.row.clone().expect("there");
    row.earliest = Offset(2);
    let planned = |row: &StreamRow, whence, want| {
        plan(row, whence, want).map(|plan| {
            (
                plan.start.0,
                plan.end.0,
                plan.at_tail,
                plan.closed,
                plan.etag().to_string(),
            )
        })
    };
    let at = |offset| Whence::At(Offset(offset));
    let table = [
        (Whence::Start, 100, Ok((2, 10, true, false, "\"1:2:10\""))),
        (Whence::Start, 4, Ok((2, 6, false, false, "\"1:2:6\""))),
        (at(6), 4, Ok((6, 10, true, false, "\"1:6:10\""))),
        (at(6), 0, Ok((6, 6, false, false, "\"1:6:6\""))),
        (at(9), u64::MAX, Ok((9, 10, true, false, "\"1:9:10\""))),
        (at(10), 100, Ok((10, 10, true, false, "\"1:10:10\""))),
        (Whence::Now, 100, Ok((10, 10, true, false, "\"1:10:10\""))),
        (at(11), 100, Err(ReadRefusal::BeyondTail { tail: Offset(10) })),
        (at(u64::MAX), 100, Err(ReadRefusal::BeyondTail { tail: Offset(10) })),
        (at(1), 100, Err(ReadRefusal::Trimmed { earliest: Offset(2) })),
        (at(2), 1, Ok((2, 3, false, false, "\"1:2:3\""))),
    ];
    for (whence, want, planned_so) in table {
        let planned_so = planned_so.map(|(start, end, tail, closed, tag)| (start, end, tail, closed, tag.to_owned()));
        assert_eq!(planned(&row, whence, want), planned_so, "{whence:?} {want}");
    }

    // "Stream-Closed only at the end of a closed stream."
    row.closed = Some(Closing { by: None });
    assert_eq!(
        planned(&row, Whence::Start, 4),
        Ok((2, 6, false, false, "\"1:2:6\"".to_owned()))
    );
    assert_eq!(
        planned(&row, at(6), 4),
        Ok((6, 10, true, true, "\"1:6:10:c\"".to_owned()))
    );
    assert_eq!(
        planned(&row, Whence::Now, 4),
        Ok((10, 10, true, true, "\"1:10:10:c\"".to_owned()))
    );
}

#[test]
fn types_are_the_same_but_for_case_and_parameters() {
    assert!(same_content_type("text/plain", "TEXT/plain"));
    assert!(same_content_type(
        "text/plain;charset=utf-8",
        " text/plain ; charset=UTF-8"
    ));
    assert!(same_content_type("text/plain", "text/plain;charset=UTF-8"));
    assert!(!same_content_type("text/plain", "text/html"));
    assert!(!same_content_type("text/plain", "text"));
    assert!(is_json("application/json") && is_json("Application/JSON; charset=utf-8"));
    assert!(!is_json("application/jsonl") && !is_json("application/ld+json"));
}
