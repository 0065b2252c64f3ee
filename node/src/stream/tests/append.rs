//! PROTOCOL.md 5.2 Append to Stream and 5.2.1 Idempotent Producers; PROTOCOL-NOTES, Writes.

use super::*;

#[test]
fn an_append_goes_to_the_tail() {
    let mut kept = Kept::stream("text/plain");
    holds(
        &mut kept,
        &[
            (append("hello"), "appended 5"),
            (append(" "), "appended 6"),
            (append("world"), "appended 11"),
        ],
    );
    assert_eq!(kept.text(), "hello world");
}

/// "Servers MUST reject POST requests with an empty body."
#[test]
fn an_append_needs_a_body_or_a_close() {
    holds(&mut Kept::stream("text/plain"), &[(append(""), "refused: empty")]);
}

/// "Servers MUST return 409 Conflict when the content type is valid but does not match the stream's configured type."
#[test]
fn the_body_is_of_the_streams_type() {
    holds(
        &mut Kept::stream("text/plain; charset=utf-8"),
        &[
            (
                append("a").of_type("text/html; charset=utf-8"),
                "refused: not text/plain; charset=utf-8",
            ),
            (append("a").of_type("TEXT/PLAIN;charset=UTF-8"), "appended 1"),
            // What `fetch` adds to text.
            (append("a").of_type("text/plain"), "appended 2"),
            (
                append("a").of_type("application/json"),
                "refused: not text/plain; charset=utf-8",
            ),
        ],
    );
}

/// "If provided and less than or equal to the last appended sequence (as determined by lexicographic comparison), the
/// server MUST return 409 Conflict." Scoped per stream.
#[test]
fn stream_seq_grows_byte_by_byte() {
    holds(
        &mut Kept::stream("text/plain"),
        &[
            (append("a").seq("09"), "appended 1"),
            (append("a").seq("10"), "appended 2"),
            (append("a").seq("10"), "refused: seq not above 10"),
            (append("a").seq("1"), "refused: seq not above 10"),
            (append("a").seq("2"), "appended 3"),
            // Not as numbers.
            (append("a").seq("10"), "refused: seq not above 2"),
            // Capitals come before small letters.
            (append("a").seq("a"), "appended 4"),
            (append("a").seq("B"), "refused: seq not above a"),
            // None sent, none asked for; the last one stays.
            (append("a"), "appended 5"),
            (append("a").seq("a"), "refused: seq not above a"),
            (append("a").seq("ä"), "appended 6"),
        ],
    );
}

/// The pseudo-code of 5.2.1, row by row.
#[test]
fn a_producer_writes_once() {
    let mut kept = Kept::stream("text/plain");
    holds(
        &mut kept,
        &[
            // First contact starts at 0, in any epoch.
            (append("x").by("p", 0, 1), "refused: 1 is no start"),
            (append("a").by("p", 3, 0), "appended 1 as 3/0"),
            // if epoch < state.epoch: 403, whatever the seq.
            (append("x").by("p", 2, 9), "refused: fenced by 3"),
            (append("x").by("p", 0, 0), "refused: fenced by 3"),
            // if seq <= state.lastSeq: 204, and the body is not looked at.
            (append("a").by("p", 3, 0), "duplicate 1 of 3/0"),
            (append("other").by("p", 3, 0), "duplicate 1 of 3/0"),
            // if seq == state.lastSeq + 1: accept.
            (append("b").by("p", 3, 1), "appended 2 as 3/1"),
            (append("c").by("p", 3, 2), "appended 3 as 3/2"),
            // A duplicate answers the highest seq accepted, not the one sent.
            (append("a").by("p", 3, 0), "duplicate 3 of 3/2"),
            // if seq > state.lastSeq + 1: 409 with both numbers.
            (append("x").by("p", 3, 4), "refused: gap, 3 expected, 4 received"),
            // if epoch > state.epoch: seq must be 0.
            (append("x").by("p", 4, 3), "refused: 3 is no start"),
            (append("d").by("p", 4, 0), "appended 4 as 4/0"),
            (append("x").by("p", 3, 3), "refused: fenced by 4"),
            // Another producer is another matter; and so is nobody.
            (append("e").by("q", 0, 0), "appended 5 as 0/0"),
            (append("f"), "appended 6"),
            (append("d").by("p", 4, 0), "duplicate 6 of 4/0"),
        ],
    );
    assert_eq!(kept.text(), "abcdef");
    assert_eq!(kept.row.expect("there").producers, 2);
}

#[test]
fn a_claim_says_where_and_when() {
    let mut kept = Kept::stream("text/plain");
    kept.tell(&Command {
        now_ms: 5_000,
        ..append("abc").by("p", 1, 0)
    });
    let claim = kept.claims.values().next().expect("there");
    assert_eq!(
        *claim,
        Claim {
            epoch: 1,
            seq: 0,
            next: Offset(3),
            used_ms: 5_000,
            closed: false
        }
    );
}

/// Content type, Stream-Seq, producer, If-Match: the first that refuses answers.
#[test]
fn refusals_stand_in_order() {
    let mut kept = Kept::stream("text/plain");
    kept.tell(&append("a").by("p", 1, 0).seq("m"));
    let wrong_type = |command: Command| command.of_type("text/html");
    let all_wrong = || append("x").by("p", 0, 5).seq("a").if_match("\"0:0:0\"");
    holds(
        &mut kept,
        &[
            (wrong_type(all_wrong()), "refused: not text/plain"),
            (all_wrong(), "refused: seq not above m"),
            (all_wrong().seq("n"), "refused: fenced by 1"),
            (
                all_wrong().seq("n").by("p", 1, 5),
                "refused: gap, 1 expected, 5 received",
            ),
            (all_wrong().seq("n").by("p", 1, 1), "refused: if-match"),
            // A repeat's Stream-Seq is the one already stored, and its If-Match the tag from before: no refusals.
            (
                append("a").by("p", 1, 0).seq("m").if_match("\"1:0:0\""),
                "duplicate 1 of 1/0",
            ),
            // Of the wrong type it cannot be a repeat.
            (wrong_type(append("a").by("p", 1, 0)), "refused: not text/plain"),
        ],
    );
    kept.tell(&close(""));
    holds(&mut kept, &[(wrong_type(all_wrong()), "refused: closed at 1")]);
}

#[test]
fn a_stream_remembers_so_many_producers_and_no_more() {
    let mut kept = Kept::stream("text/plain");
    kept.tell(&append("a").by("known", 0, 0));
    kept.row.as_mut().expect("there").producers = PRODUCERS_MAX - 1;
    holds(
        &mut kept,
        &[
            (append("b").by("last", 0, 0), "appended 2 as 0/0"),
            (append("x").by("one more", 0, 0), "refused: too many producers"),
            // Those known go on, also with a new life; and who is no producer is none too many.
            (append("c").by("known", 0, 1), "appended 3 as 0/1"),
            (append("d").by("known", 1, 0), "appended 4 as 1/0"),
            (append("a").by("last", 0, 0), "duplicate 4 of 0/0"),
            (append("e"), "appended 5"),
        ],
    );
    assert_eq!(kept.row.expect("there").producers, PRODUCERS_MAX);
}

#[test]
fn what_is_too_long_is_refused_whoever_sends_it() {
    let long = |bytes: usize| "x".repeat(bytes + 1);
    holds(
        &mut Kept::stream("text/plain"),
        &[
            (
                append("a").of_type(&long(CONTENT_TYPE_BYTES_MAX)),
                "refused: too long: ContentType",
            ),
            (create(&long(CONTENT_TYPE_BYTES_MAX)), "refused: too long: ContentType"),
            (
                append("a").seq(&long(STREAM_SEQ_BYTES_MAX)),
                "refused: too long: StreamSeq",
            ),
            (
                append("a").by(&long(PRODUCER_ID_BYTES_MAX), 0, 0),
                "refused: too long: ProducerId",
            ),
            (append("a").by("", 0, 0), "refused: too long: ProducerId"),
            (
                append("a").by("p", PRODUCER_NUMBER_MAX + 1, 0),
                "refused: too long: ProducerNumber",
            ),
            (
                append("a").by("p", 0, PRODUCER_NUMBER_MAX + 1),
                "refused: too long: ProducerNumber",
            ),
            (
                append("a").by("p", PRODUCER_NUMBER_MAX, 0),
                "appended 1 as 9007199254740991/0",
            ),
        ],
    );
    let stream = StreamName::from_parts("b", &long(NAME_BYTES_MAX));
    holds(
        &mut Kept::default(),
        &[(
            Command {
                stream,
                ..create("a/b")
            },
            "refused: too long: Name",
        )],
    );
}

#[test]
fn a_stream_ends_where_numbers_end() {
    let mut kept = Kept::stream("text/plain");
    kept.row.as_mut().expect("there").tail = Offset(u64::MAX - 1);
    holds(&mut kept, &[(append("ab"), "refused: full")]);
}
