//! A stream that is to end at a moment ends then, whoever uses it.
//!
//! PROTOCOL-NOTES, TTL. Let M be the moment and E how far a server's clock is off at most. Nobody may find it gone before
//! M − E; and whoever finds one after M + E has found another, which was to live longer. Where clocks may be off by
//! anything, this law says nothing. That it does not come back is for [`linear`](crate::linear) to see.

use crate::history::{Create, Ending, Event, History, Op};
use crate::verdict::{Law, Verdict};

/// This law.
pub const LAW: Law = Law {
    name: "ends-at-its-moment",
    judge,
};

const MS: u64 = 1_000_000;

fn judge(history: &History) -> Verdict {
    let Some(error_ms) = history.clock_error_ms else {
        return Verdict::Holds;
    };
    for stream in history.streams() {
        let events: Vec<&Event> = history.of(&stream).collect();
        // Every attempt at a life, and when it is over.
        let lives: Vec<(&Event, u64)> = events
            .iter()
            .filter_map(|event| Some((*event, expires_ms(event)?)))
            .collect();
        if lives.is_empty() || events.iter().any(|event| event.op == Op::Delete) {
            continue;
        }
        for event in events {
            let judged = if event.finds_none() {
                too_early(&lives, event, error_ms)
            } else if event.finds_one() {
                too_late(&lives, event, error_ms)
            } else {
                None
            };
            if let Some((other, what)) = judged {
                let because = format!("{stream}: call {} {what} of call {}", event.id, other.id);
                return Verdict::broken(LAW.name, because, [other.id, event.id]);
            }
        }
    }
    Verdict::Holds
}

fn expires_ms(event: &Event) -> Option<u64> {
    match &event.op {
        Op::Create(Create { expires_ms, .. }) => *expires_ms,
        _ => None,
    }
}

/// The life that was not over yet, if this call found none.
fn too_early<'a>(lives: &[(&'a Event, u64)], gone: &Event, error_ms: u64) -> Option<(&'a Event, &'static str)> {
    let gone_ns = gone.returned?.ns;
    let lived = |(born, ms): &&(&Event, u64)| {
        born.stored()
            && born.returned_order() < gone.invoked.order
            && gone_ns < ms.saturating_sub(error_ms).saturating_mul(MS)
    };
    let (born, _) = lives.iter().find(lived)?;
    Some((*born, "found none before the moment"))
}

/// The latest life there can have been, if it was over when this call found one.
fn too_late<'a>(lives: &[(&'a Event, u64)], found: &Event, error_ms: u64) -> Option<(&'a Event, &'static str)> {
    let may_be = |(born, _): &&(&'a Event, u64)| {
        born.invoked.order < found.returned_order() && !matches!(born.ending, Ending::Refused(_))
    };
    let (born, ms) = lives.iter().filter(may_be).max_by_key(|(_, ms)| *ms)?;
    ((ms + error_ms) * MS < found.invoked.ns).then_some((*born, "found one after the moment"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checker::tale::Tale;
    use crate::history::{Answer, Refusal};

    /// Clocks that are off by a tenth of a second at most. Each call takes 1 ms.
    fn tale() -> Tale {
        let mut tale = Tale::new();
        tale.clock_error(100);
        tale
    }

    fn born(tale: &mut Tale, expires_ms: u64) -> &mut Tale {
        let create = Create {
            expires_ms: Some(expires_ms),
            ..Create::default()
        };
        let answer = Answer::Created {
            new: true,
            next: None,
            etag: None,
        };
        tale.call(Op::Create(create), Ending::Done(answer))
    }

    fn gone(tale: &mut Tale) -> &mut Tale {
        tale.call(Op::Head, Ending::Refused(Refusal::NotFound))
    }

    fn broken(tale: &Tale) -> bool {
        matches!(judge(&tale.history()), Verdict::Broken { .. })
    }

    #[test]
    fn a_stream_that_ends_about_its_moment_is_lawful() {
        let mut tale = tale();
        born(&mut tale, 1000).pass(1050).reads(&[]);
        gone(&mut tale);
        born(&mut tale, 3000).pass(500).reads(&[]);
        gone(tale.pass(1500));
        assert_eq!(judge(&tale.history()), Verdict::Holds);
    }

    #[test]
    fn an_early_end_is_found_though_nobody_uses_it() {
        for (passes, early) in [(850, true), (950, false)] {
            let mut tale = tale();
            gone(born(&mut tale, 1000).pass(passes));
            assert_eq!(broken(&tale), early, "after {passes} ms");
        }
    }

    #[test]
    fn a_new_stream_in_place_of_a_living_one_is_found() {
        let mut tale = tale();
        born(&mut tale, 1000).pass(200);
        born(&mut tale, 2000);
        assert!(broken(&tale));
    }

    #[test]
    fn a_stream_that_outlives_its_moment_is_found_however_it_is_used() {
        for (passes, late) in [(40, false), (400, true)] {
            let mut tale = tale();
            born(&mut tale, 1000).pass(500).stored(1).pass(500).reads(&[1]);
            tale.pass(passes).reads(&[1]);
            assert_eq!(broken(&tale), late, "{passes} ms more");
        }
    }

    #[test]
    fn where_clocks_may_show_anything_nothing_is_early() {
        let mut tale = Tale::new();
        gone(born(&mut tale, 1000));
        assert_eq!(judge(&tale.history()), Verdict::Holds);
    }
}
