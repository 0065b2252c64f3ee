//! PROTOCOL.md 5.1 Create Stream and 5.3 Delete Stream; PROTOCOL-NOTES, Writes.

use super::*;

/// "Creates a new stream. If the stream already exists, the server MUST either return 200 OK if the existing stream's
/// configuration matches the request, or return 409 Conflict if it does not."
#[test]
fn create_makes_or_finds_the_same_stream() {
    holds(
        &mut Kept::default(),
        &[
            (create("text/plain"), "created 0"),
            (create("text/plain"), "exists 0"),
            // Letters of either case, with any parameters.
            (create("TEXT/Plain"), "exists 0"),
            (create("text/plain; charset=utf-8"), "exists 0"),
            (create("application/octet-stream"), "refused: conflict"),
            // The closed state is part of the configuration.
            (create("text/plain").closing(), "refused: conflict"),
            (append("ab"), "appended 2"),
            (create("text/plain"), "exists 2"),
            (close(""), "appended 2 closed"),
            (create("text/plain"), "refused: conflict"),
            (create("text/plain").closing(), "exists 2 closed"),
        ],
    );
}

/// "If provided, these bytes form the first content of the stream."
#[test]
fn the_body_of_a_create_is_stored_once() {
    let mut kept = Kept::default();
    holds(
        &mut kept,
        &[
            (create("text/plain").body("first"), "created 5"),
            (create("text/plain").body("first"), "exists 5"),
            (create("text/plain").body("other"), "exists 5"),
        ],
    );
    assert_eq!(kept.text(), "first");
}

#[test]
fn a_stream_can_be_born_closed_with_all_it_will_ever_hold() {
    let mut kept = Kept::default();
    holds(
        &mut kept,
        &[
            (create("text/plain").body("all").closing(), "created 3 closed"),
            (create("text/plain").body("all").closing(), "exists 3 closed"),
            (append("more"), "refused: closed at 3"),
        ],
    );
    assert_eq!(kept.text(), "all");
}

#[test]
fn a_deleted_stream_is_gone_and_one_created_in_its_place_is_another() {
    let mut kept = Kept::default();
    holds(
        &mut kept,
        &[
            (delete(), "refused: not found"),
            (create("text/plain"), "created 0"),
            (append("old").by("p", 0, 0).seq("b"), "appended 3 as 0/0"),
        ],
    );
    let before = kept.tag();
    let old = kept.row.clone().expect("there").incarnation;
    assert_eq!(
        kept.judge(&delete()).dropped,
        Some(old),
        "the rows and bytes of the old one are garbage"
    );
    holds(
        &mut kept,
        &[
            (delete(), "deleted"),
            (delete(), "refused: not found"),
            (append("x"), "refused: not found"),
            // Another content type is no conflict: there is nothing to conflict with.
            (create("text/html"), "created 0"),
            // Nothing of the old one's producers or Stream-Seq is left.
            (
                append("new").of_type("text/html").by("p", 0, 0).seq("a"),
                "appended 3 as 0/0",
            ),
        ],
    );
    assert_eq!(kept.text(), "new");
    assert_ne!(kept.tag(), before, "same length, another life: another tag");
}

#[test]
fn an_incarnation_is_the_log_index_of_the_creating_entry() {
    let moment = Moment {
        index: 4711,
        last_now_ms: 0,
    };
    let transition = apply(Loaded::default(), &create("text/plain"), moment);
    let RowChange::Put(row) = transition.row else {
        panic!("created")
    };
    assert_eq!(row.incarnation, 4711);
}

/// A leader whose clock is behind its predecessor's must not turn time back.
#[test]
fn time_never_goes_back() {
    let at = |now_ms, last_now_ms| {
        let command = Command {
            now_ms,
            ..create("text/plain")
        };
        let transition = apply(Loaded::default(), &command, Moment { index: 1, last_now_ms });
        let RowChange::Put(row) = transition.row else {
            panic!("created")
        };
        (transition.now_ms, row.created_ms)
    };
    assert_eq!(at(2_000, 1_000), (2_000, 2_000));
    assert_eq!(at(1_000, 2_000), (2_000, 2_000));
    // Refused commands carry time forward, too.
    let refused = apply(
        Loaded::default(),
        &delete(),
        Moment {
            index: 1,
            last_now_ms: 0,
        },
    );
    assert_eq!((refused.now_ms, refused.row), (1_000, RowChange::Keep));
}
