//! What a stream forgets: on request, by age, by size; whole appends, and never too much.

use proptest::prelude::*;

use super::*;

fn trim(incarnation: u64, below: u64) -> Command {
    let below = Offset(below);
    command(Op::Trim(Trim { incarnation, below }))
}

fn by_age(age_ms: u64) -> Retention {
    Retention {
        age_ms: Some(age_ms),
        bytes: None,
    }
}

fn by_size(bytes: u64) -> Retention {
    Retention {
        age_ms: None,
        bytes: Some(bytes),
    }
}

fn earliest(kept: &Kept) -> u64 {
    kept.standing().earliest.0
}

#[test]
fn trimming_moves_the_beginning_forward_and_never_past_the_tail() {
    holds(
        &mut Kept::default(),
        &[
            (trim(1, 1), "refused: not found"),
            (create("text/plain").body("0123456789"), "created 10"),
            (trim(2, 4), "trimmed to 4"),
            (trim(2, 3), "trimmed to 4"),
            (trim(3, 5), "refused: not found"),
            (append("ab"), "appended 12"),
            (trim(2, 99), "trimmed to 12"),
            (append("cd"), "appended 14"),
        ],
    );
}

#[test]
fn old_bytes_go_by_whole_appends_when_the_stream_is_tended_or_appended_to() {
    let mut kept = Kept::default();
    kept.tell(&create("text/plain").keeping(by_age(8_000)).at(0));
    assert_eq!(
        kept.row.as_ref().expect("there").due_ms(),
        None,
        "nothing is there to be forgotten"
    );
    for at in 0..8 {
        kept.tell(&append("ab").at(at * 1_000));
    }
    let row = kept.row.clone().expect("there");
    assert_eq!((row.deadline_key_ms, row.due_ms()), (Some(8_000), Some(8_000)));
    kept.tell(&command(Op::Tend).at(7_999));
    assert_eq!(earliest(&kept), 0);
    kept.tell(&command(Op::Tend).at(10_500));
    assert_eq!(earliest(&kept), 6);
    assert_eq!(kept.row.as_ref().expect("there").deadline_key_ms, Some(11_000));
    kept.tell(&append("ab").at(12_000));
    assert_eq!(earliest(&kept), 10);
    kept.tell(&command(Op::Tend).at(60_000));
    let row = kept.row.clone().expect("there");
    assert_eq!(
        (row.earliest, row.tail, row.deadline_key_ms),
        (Offset(18), Offset(18), None)
    );
}

#[test]
fn bytes_beyond_the_size_go_with_the_next_append() {
    let mut kept = Kept::default();
    kept.tell(&create("text/plain").keeping(by_size(80)));
    for number in 1..=100_u64 {
        kept.tell(&append("0123456"));
        let left = number * 7 - earliest(&kept);
        assert!(left >= (number * 7).min(80), "too much went");
        assert!(left <= 80 + 10 + 7, "{left} are left");
        assert_eq!(earliest(&kept) % 7, 0, "whole appends");
    }
}

#[test]
fn a_policy_is_part_of_what_a_create_asks_for_where_it_says_something() {
    let mut kept = Kept::default();
    let mut asked = create("text/plain").keeping(by_age(5));
    asked.create().retention_default = Retention {
        age_ms: Some(9),
        bytes: Some(7),
    };
    holds(
        &mut kept,
        &[
            (asked, "created 0"),
            (create("text/plain"), "exists 0"),
            (create("text/plain").keeping(by_age(5)), "exists 0"),
            (create("text/plain").keeping(by_size(7)), "exists 0"),
            (create("text/plain").keeping(by_age(9)), "refused: conflict"),
        ],
    );
    let retention = kept.row.expect("there").retention;
    assert_eq!(
        retention,
        Retention {
            age_ms: Some(5),
            bytes: Some(7)
        }
    );
}

proptest! {
    #[test]
    fn only_old_or_far_bytes_are_forgotten_and_in_time(
        appends in prop::collection::vec((1..40_usize, 0..3_000_u64), 1..80),
        age_ms in prop::option::of(1..20_000_u64),
        bytes in prop::option::of(1..300_u64),
    ) {
        let mut kept = Kept::default();
        kept.tell(&create("text/plain").keeping(Retention { age_ms, bytes }).at(0));
        let (mut now, mut came) = (0, Vec::new());
        for (len, pause) in appends {
            now += pause;
            kept.tell(&append(&"x".repeat(len)).at(now));
            let row = kept.row.clone().expect("there");
            came.push((row.tail.0, now));
            prop_assert!(row.marks.len() <= 32);
            prop_assert!(row.earliest == Offset(0) || came.iter().any(|(end, _)| *end == row.earliest.0));
            let young = came.iter().find(|(end, _)| *end > row.earliest.0);
            for (end, at) in &came {
                if *end <= row.earliest.0 {
                    let old = age_ms.is_some_and(|age| at + age <= now);
                    let far = bytes.is_some_and(|bytes| row.tail.0 - end >= bytes);
                    prop_assert!(old || far, "{end} went too early");
                }
            }
            if let (Some(age), Some((_, at))) = (age_ms, young) {
                prop_assert!(at + age + age / 8 + 1 > now, "what came at {at} is still there at {now}");
            }
            let wanted = row.due_ms();
            prop_assert!(wanted.is_none() || row.deadline_key_ms <= wanted, "the sweeper would come too late");
        }
    }
}
