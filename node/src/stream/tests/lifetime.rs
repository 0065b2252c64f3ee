//! PROTOCOL-NOTES, TTL: when a stream is over, what prolongs it, and that it is never over too early.

use proptest::prelude::*;

use super::*;

const WINDOW: Lifetime = Lifetime::Window { ms: 16_000 };

fn touch(incarnation: u64) -> Command {
    command(Op::Touch(Touch { incarnation }))
}

fn tend() -> Command {
    command(Op::Tend)
}

#[test]
fn a_window_is_stretched_by_a_sixteenth_of_a_minute_at_most() {
    let table = [
        (Lifetime::Forever, None),
        (Lifetime::Until { ms: 7 }, Some(7)),
        (Lifetime::Window { ms: 1 }, Some(101)),
        (Lifetime::Window { ms: 16_000 }, Some(17_100)),
        (Lifetime::Window { ms: 3_600_000 }, Some(3_660_100)),
        (Lifetime::Window { ms: u64::MAX }, Some(u64::MAX)),
    ];
    for (lifetime, deadline) in table {
        assert_eq!(lifetime.deadline_ms(100), deadline, "{lifetime:?}");
    }
}

#[test]
fn an_idle_stream_is_over_when_its_window_has_passed() {
    for (late, answer) in [
        (append("b"), "refused: not found"),
        (close(""), "refused: not found"),
        (delete(), "refused: not found"),
        (tend(), "refused: not found"),
        (touch(1), "refused: not found"),
    ] {
        let mut kept = Kept::default();
        kept.tell(&create("text/plain").body("a").living(WINDOW).at(1_000));
        assert!(!kept.row.as_ref().expect("there").is_over(17_999));
        let transition = kept.judge(&late.at(18_000));
        assert_eq!(short(&transition.outcome), answer);
        assert_eq!((transition.row, transition.dropped), (RowChange::Delete, Some(1)));
    }
}

#[test]
fn a_stream_may_be_created_where_one_is_over() {
    let mut kept = Kept::default();
    holds(
        &mut kept,
        &[
            (create("text/plain").body("old").living(WINDOW).at(1_000), "created 3"),
            (create("text/html").at(17_999), "refused: conflict"),
            (create("text/html").if_match("*").at(17_999), "refused: conflict"),
            (create("text/html").at(18_000), "created 0"),
        ],
    );
    assert_eq!(kept.row.as_ref().expect("there").incarnation, 4);
    assert_eq!(kept.text(), "");
}

#[test]
fn a_condition_on_a_stream_that_is_over_meets_no_stream() {
    let mut kept = Kept::default();
    kept.tell(&create("text/plain").living(WINDOW).at(1_000));
    let late = create("text/plain").living(WINDOW).if_match("*").at(18_000);
    assert_eq!(short(&kept.tell(&late)), "refused: if-match");
    assert_eq!(kept.row, None, "and it is gone all the same");
}

#[test]
fn appends_closes_and_touches_begin_the_window_anew_and_nothing_else_does() {
    let uses = [
        (append("b"), true),
        (close(""), true),
        (append("b").by("p", 0, 0), true),
        (touch(1), true),
        (touch(2), false),
        (tend(), false),
        (create("text/plain").living(WINDOW), false),
        (append("b").of_type("a/b"), false),
    ];
    for (what, prolongs) in uses {
        let mut kept = Kept::default();
        kept.tell(&create("text/plain").living(WINDOW).at(1_000));
        kept.tell(&what.clone().at(10_000));
        let deadline = kept.row.as_ref().expect("there").deadline_ms();
        assert_eq!(deadline, Some(if prolongs { 27_000 } else { 18_000 }), "{what:?}");
    }
}

#[test]
fn a_repeat_and_a_second_close_are_uses_too_when_they_must_be_noted() {
    let mut kept = Kept::default();
    kept.tell(&create("text/plain").living(WINDOW).at(1_000));
    kept.tell(&append("b").by("p", 0, 0).at(1_000));
    kept.tell(&append("b").by("p", 0, 0).at(2_000));
    assert_eq!(kept.row.as_ref().expect("there").touched_ms, 1_000, "near enough");
    kept.tell(&append("b").by("p", 0, 0).at(3_000));
    assert_eq!(kept.row.as_ref().expect("there").touched_ms, 3_000);
    kept.tell(&close("").at(3_000));
    kept.tell(&close("").at(9_000));
    assert_eq!(kept.row.as_ref().expect("there").touched_ms, 9_000);
}

#[test]
fn a_moment_is_not_moved_by_anything() {
    let mut kept = Kept::default();
    let until = Lifetime::Until { ms: 9_000 };
    holds(
        &mut kept,
        &[
            (create("text/plain").living(until).at(1_000), "created 0"),
            (append("b").at(8_000), "appended 1"),
            (touch(1).at(8_999), "alive 1 since 1000"),
            (create("text/plain").living(until).at(8_999), "exists 1"),
        ],
    );
    assert_eq!(short(&kept.tell(&append("c").at(9_000))), "refused: not found");
    assert_eq!(kept.row, None);
}

#[test]
fn the_lifetime_is_part_of_what_a_create_asks_for() {
    let mut kept = Kept::default();
    holds(
        &mut kept,
        &[
            (create("text/plain").living(WINDOW), "created 0"),
            (create("text/plain").living(WINDOW), "exists 0"),
            (create("text/plain"), "refused: conflict"),
            (
                create("text/plain").living(Lifetime::Window { ms: 16_001 }),
                "refused: conflict",
            ),
            (
                create("text/plain").living(Lifetime::Until { ms: 16_000 }),
                "refused: conflict",
            ),
        ],
    );
}

#[test]
fn the_index_of_deadlines_is_moved_only_by_tending() {
    let mut kept = Kept::default();
    let at = |kept: &Kept| kept.row.as_ref().expect("there").deadline_key_ms;
    kept.tell(&create("text/plain").living(WINDOW).at(1_000));
    assert_eq!(at(&kept), Some(18_000));
    kept.tell(&append("b").at(10_000));
    assert_eq!(at(&kept), Some(18_000));
    kept.tell(&tend().at(18_000));
    assert_eq!(at(&kept), Some(27_000));
    assert_eq!(short(&kept.tell(&tend().at(26_999))), "alive 1 since 10000");
    assert_eq!(short(&kept.tell(&tend().at(27_000))), "refused: not found");
    assert_eq!(kept.row, None);
}

/// A leader whose clock is behind cannot bring back what another leader's clock has ended.
#[test]
fn what_is_over_stays_over_whatever_the_next_clock_says() {
    let mut kept = Kept::default();
    kept.tell(&create("text/plain").living(WINDOW).at(1_000));
    // Any command of the group carries its time forward.
    kept.last_now_ms = 18_000;
    assert_eq!(short(&kept.tell(&append("late").at(2_000))), "refused: not found");
}

fn any_use() -> impl Strategy<Value = Command> {
    let op = prop_oneof![
        Just(append("x")),
        Just(append("x").by("p", 0, 0)),
        Just(close("")),
        Just(tend()),
        (0..3_u64).prop_map(touch),
        Just(create("text/plain").living(WINDOW)),
        Just(delete()),
    ];
    (op, 0..60_000_u64).prop_map(|(command, now_ms)| command.at(now_ms))
}

proptest! {
    /// Every accepted use gives the stream at least a whole window from then on, and reads that need not be noted too.
    #[test]
    fn it_is_never_over_before_a_window_has_passed_since_its_last_use(
        uses in prop::collection::vec(any_use(), 1..40),
        read_after_ms in 0..2_000_u64,
    ) {
        let mut kept = Kept::default();
        kept.tell(&create("text/plain").living(WINDOW).at(0));
        for command in uses {
            let used = !matches!(kept.tell(&command), Outcome::Refused(_) | Outcome::Deleted | Outcome::Exists { .. })
                && !matches!(command.op, Op::Tend);
            let Some(row) = &kept.row else { return Ok(()) };
            let (now, deadline) = (kept.last_now_ms, row.deadline_ms().expect("it slides"));
            if used {
                prop_assert!(deadline >= now + 16_000, "{command:?}");
            }
            let read = now + read_after_ms;
            if !row.wants_touch(read) && !row.is_over(read) {
                prop_assert!(deadline >= read + 16_000, "a read at {read} was not noted");
            }
            prop_assert!(row.deadline_key_ms.is_some_and(|key| key <= deadline), "the sweeper would come too late");
        }
    }
}
