//! Closing: for good, once, and by whom. PROTOCOL.md, Stream Closure; PROTOCOL-NOTES, Writes.

use super::*;

#[test]
fn a_close_comes_alone_or_with_the_last_bytes() {
    let mut kept = Kept::stream("text/plain");
    holds(
        &mut kept,
        &[
            (append("a"), "appended 1"),
            (close("last"), "appended 5 closed"),
            // Idempotent, as long as it asks for nothing but the close.
            (close(""), "already 5 closed"),
            (close("more"), "refused: closed at 5"),
            (append("more"), "refused: closed at 5"),
        ],
    );
    assert_eq!(kept.text(), "alast");
    holds(
        &mut Kept::stream("text/plain"),
        &[(close(""), "appended 0 closed"), (close(""), "already 0 closed")],
    );
}

#[test]
fn a_close_alone_has_no_content_type_to_match() {
    holds(
        &mut Kept::stream("text/plain"),
        &[(close("").of_type("application/json"), "appended 0 closed")],
    );
    holds(
        &mut Kept::stream("text/plain"),
        &[(close("x").of_type("application/json"), "refused: not text/plain")],
    );
}

#[test]
fn a_stream_that_is_not_there_cannot_be_closed() {
    holds(&mut Kept::default(), &[(close(""), "refused: not found")]);
}

#[test]
fn a_close_alone_advances_its_producer() {
    let mut kept = Kept::stream("text/plain");
    holds(
        &mut kept,
        &[
            (append("a").by("p", 0, 0), "appended 1 as 0/0"),
            (close("").by("p", 0, 2), "refused: gap, 1 expected, 2 received"),
            (close("").by("p", 0, 1), "appended 1 closed as 0/1"),
        ],
    );
    let claim = kept.claims.values().next().expect("there");
    assert_eq!((claim.seq, claim.closed), (1, true));
}

/// "Same closing tuple again: 204. Any other append to a closed stream: 409."
#[test]
fn only_the_closing_tuple_is_a_repeat_of_the_close() {
    let closings = [(close("end").by("p", 1, 0), 3), (close("").by("p", 1, 0), 0)];
    for (closing, tail) in closings {
        let mut kept = Kept::stream("text/plain");
        let refused = format!("refused: closed at {tail}");
        kept.tell(&closing);
        holds(
            &mut kept,
            &[
                (closing, &format!("duplicate {tail} closed of 1/0")),
                // With another body, too: the tuple says what it is.
                (close("other").by("p", 1, 0), &format!("duplicate {tail} closed of 1/0")),
                (close("").by("p", 1, 0), &format!("duplicate {tail} closed of 1/0")),
                (close("").by("p", 1, 1), &refused),
                (close("").by("p", 0, 1), &refused),
                (close("").by("q", 1, 0), &refused),
                (append("x").by("p", 2, 0), &refused),
                // Who names no producer asks only that it be closed.
                (close(""), &format!("already {tail} closed")),
            ],
        );
    }
}

#[test]
fn who_closes_without_a_producer_leaves_no_tuple_to_repeat() {
    let mut kept = Kept::stream("text/plain");
    holds(
        &mut kept,
        &[
            (append("a").by("p", 0, 0), "appended 1 as 0/0"),
            (close(""), "appended 1 closed"),
            (close("").by("p", 0, 0), "refused: closed at 1"),
            (append("a").by("p", 0, 0), "refused: closed at 1"),
        ],
    );
}

#[test]
fn a_close_keeps_to_stream_seq() {
    let mut kept = Kept::stream("text/plain");
    holds(
        &mut kept,
        &[
            (append("a").seq("b"), "appended 1"),
            (close("").seq("a"), "refused: seq not above b"),
            (close("").seq("c"), "appended 1 closed"),
        ],
    );
}
