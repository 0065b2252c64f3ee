//! Histories of a stream that keeps two seconds, or three records, by hand. Each call takes 1 ms.

use super::*;
use crate::checker::tale::{Tale, append, offset, seen, stored_at, tag};
use crate::history::{Create, Read, Seen};

fn keeping(policy: Policy) -> Tale {
    let mut tale = Tale::new();
    tale.clock_error(100);
    let create = Create {
        keeps: Some(policy),
        ..Create::default()
    };
    let answer = Answer::Created {
        new: true,
        next: Some(offset(0)),
        etag: None,
    };
    tale.call(Op::Create(create), Ending::Done(answer));
    tale
}

/// Twenty records of 32 bytes.
fn size() -> Tale {
    keeping(Policy {
        age_s: None,
        bytes: Some(20 * u64::from(LEN_MIN)),
    })
}

fn age() -> Tale {
    keeping(Policy {
        age_s: Some(2),
        bytes: None,
    })
}

fn stores(tale: &mut Tale, count: u32) {
    for number in 1..=count {
        tale.stored(number);
    }
}

fn read(from: &str) -> Op {
    Op::Read(Read {
        from: from.into(),
        local: false,
        session: 900,
        before: None,
        bootstrap: false,
        live: None,
    })
}

fn gone(tale: &mut Tale, count: u64) -> &mut Tale {
    let earliest = Some(offset(count));
    tale.call(read(&offset(0)), Ending::Refused(Refusal::Gone { earliest }))
}

/// A read of these records that follow so many others.
fn reads_behind<'a>(tale: &'a mut Tale, count: u64, numbers: &[u32]) -> &'a mut Tale {
    let Answer::Read(found) = seen(numbers) else {
        unreachable!("seen is a read")
    };
    let found = Seen {
        next: offset(count + numbers.len() as u64),
        after: None,
        ..found
    };
    tale.call(read(&offset(count)), Ending::Done(Answer::Read(found)))
}

fn broken(tale: &Tale) -> bool {
    matches!(judge(&tale.history()), Verdict::Broken { .. })
}

#[test]
fn what_is_beyond_the_size_may_go_and_the_rest_is_read() {
    let mut tale = size();
    stores(&mut tale, 25);
    gone(&mut tale, 4);
    reads_behind(&mut tale, 4, &(5..=25).collect::<Vec<_>>());
    gone(&mut tale, 5);
    reads_behind(&mut tale, 25, &[]);
    assert_eq!(judge(&tale.history()), Verdict::Holds);
}

#[test]
fn a_record_that_went_too_early_is_found() {
    for (went, unlawful) in [(5, false), (6, true)] {
        let mut tale = size();
        stores(&mut tale, 25);
        gone(&mut tale, went);
        reads_behind(&mut tale, 25, &[]);
        assert_eq!(broken(&tale), unlawful, "{went} of 25 went");
    }
    for (passes, unlawful) in [(1_900, false), (1_500, true)] {
        let mut tale = age();
        tale.stored(1).pass(passes);
        gone(&mut tale, 1);
        assert_eq!(broken(&tale), unlawful, "after {passes} ms");
    }
}

#[test]
fn whoever_reads_from_the_beginning_reads_from_where_it_begins() {
    for (begins, unlawful) in [(4, false), (5, false), (6, true)] {
        let mut tale = size();
        stores(&mut tale, 25);
        let numbers: Vec<u32> = (begins + 1..=25).collect();
        let Answer::Read(found) = seen(&numbers) else {
            unreachable!("seen is a read")
        };
        let found = Seen {
            next: offset(25),
            after: None,
            ..found
        };
        tale.call(read(BEGINNING), Ending::Done(Answer::Read(found)));
        reads_behind(&mut tale, 25, &[]);
        assert_eq!(broken(&tale), unlawful, "from {begins}");
    }
}

#[test]
fn where_clocks_may_show_anything_nothing_is_too_young() {
    let mut tale = Tale::new();
    let create = Create {
        keeps: Some(Policy {
            age_s: Some(2),
            bytes: None,
        }),
        ..Create::default()
    };
    tale.call(Op::Create(create), stored_at(0)).stored(1);
    gone(&mut tale, 1);
    assert_eq!(judge(&tale.history()), Verdict::Holds);
}

#[test]
fn a_beginning_that_goes_back_is_found() {
    let mut tale = size();
    stores(&mut tale, 30);
    gone(&mut tale, 6);
    gone(&mut tale, 5);
    assert!(broken(&tale));
    let mut tale = size();
    stores(&mut tale, 25);
    gone(&mut tale, 5);
    reads_behind(&mut tale, 4, &(5..=25).collect::<Vec<_>>());
    assert!(broken(&tale));
}

#[test]
fn a_beginning_inside_of_a_record_is_found() {
    let mut tale = size();
    stores(&mut tale, 30);
    let earliest = Some(format!("{:020}", 3 * 32 + 7));
    tale.call(read(&offset(0)), Ending::Refused(Refusal::Gone { earliest }));
    assert!(broken(&tale));
}

#[test]
fn a_stream_that_forgets_too_little_is_found() {
    // Twenty records, an eighth of that, and one more.
    for (stored, unlawful) in [(23, false), (24, true)] {
        let mut tale = size();
        stores(&mut tale, stored);
        reads_behind(&mut tale, 0, &(1..=stored).collect::<Vec<_>>());
        assert_eq!(broken(&tale), unlawful, "{stored}");
    }
}

#[test]
fn in_the_calm_what_is_too_old_goes_in_time() {
    for (passes, unlawful) in [(4_000, false), (6_000, true)] {
        let mut tale = age();
        tale.stored(1).calm();
        gone(&mut tale, 0).pass(passes);
        let mut history = tale.history();
        // The first call of the calm is only there for its time.
        history.events.last_mut().expect("a call").ending = Ending::Unknown("deadline".into());
        assert_eq!(judge(&history), Verdict::Holds);
        reads_behind(&mut tale, 0, &[1]);
        let mut history = tale.history();
        history.events[2].ending = Ending::Unknown("deadline".into());
        let verdict = judge(&history);
        assert_eq!(matches!(verdict, Verdict::Broken { .. }), unlawful, "after {passes} ms");
    }
}

#[test]
fn records_that_change_places_are_found() {
    let mut tale = size();
    tale.stored(1).stored(2).stored(3);
    reads_behind(&mut tale, 1, &[3, 2]);
    assert!(broken(&tale));
    // One that was acknowledged and is left out.
    let mut tale = size();
    tale.stored(1).stored(2).stored(3);
    reads_behind(&mut tale, 1, &[3]);
    assert!(broken(&tale));
    // One that nobody knows the place of is somewhere between.
    let mut tale = size();
    tale.stored(1).unknown_but_stored(append(2)).stored(3);
    reads_behind(&mut tale, 1, &[2, 3]);
    assert_eq!(judge(&tale.history()), Verdict::Holds);
    assert_eq!(tag(2).number, 2);
}

#[test]
fn a_tail_that_goes_back_is_found() {
    let mut tale = size();
    tale.stored(1).stored(2);
    reads_behind(&mut tale, 0, &[1]);
    assert!(broken(&tale));
}
