//! A stream with a window lives while it is used, and not much longer.
//!
//! PROTOCOL-NOTES, TTL. Let W be the window and E how far a server's clock is off at most. A use (an append, or a read
//! that asks for the present) that was answered and began at true time T is stamped T − E or later, and no server takes
//! the stream for over before some clock shows a window more: so nobody may find it gone before T + W − 2E. Likewise, if
//! nobody used it after T, it is over when every clock shows W and a sixteenth of it (at most a minute) more: nobody may
//! find it after T + W + W/16 + 2E. Where clocks may be off by anything, this law says nothing.
//!
//! That it does not come back is for [`linear`](crate::linear) to see.

use crate::history::{Answer, Ending, Event, History, Op, Refusal};
use crate::verdict::{Law, Verdict};

/// This law.
pub const LAW: Law = Law {
    name: "lives-while-used",
    judge,
};

const MS: u64 = 1_000_000;

/// A use that nobody knows the end of may be noted this much later.
const UNCERTAIN_NS: u64 = 20_000 * MS;

/// A use that lasts is noted now and then: this long before its end at the latest, of windows of a few seconds.
const KEEPS_NS: u64 = 1_000 * MS;

/// For so long after the beginning of the calm it may still not be noted.
const GRACE_NS: u64 = 1_000 * MS;

fn judge(history: &History) -> Verdict {
    let Some(error_ms) = history.clock_error_ms else {
        return Verdict::Holds;
    };
    let calm_ns = history.calm_from.and_then(|calm| {
        let after = |event: &&Event| event.invoked.order > calm;
        history.events.iter().find(after).map(|event| event.invoked.ns)
    });
    let calm_ns = calm_ns.map_or(u64::MAX, |ns| ns.saturating_add(GRACE_NS));
    for stream in history.streams() {
        let Some(ttl_s) = history.ttl_s(&stream) else { continue };
        let window_ms = u64::from(ttl_s) * 1000;
        let least_ns = window_ms.saturating_sub(2 * error_ms) * MS;
        let most_ns = (window_ms + (window_ms / 16).min(60_000) + 2 * error_ms) * MS;
        let events: Vec<&Event> = history.of(&stream).collect();
        let deleted = |event: &&Event| event.op == Op::Delete;
        if events.iter().any(deleted) {
            continue;
        }
        for event in &events {
            let verdict = if event.finds_none() {
                too_early(&events, event, least_ns, calm_ns)
            } else if event.finds_one() {
                too_late(&events, event, most_ns)
            } else {
                None
            };
            if let Some((other, what)) = verdict {
                let because = format!("{stream}: call {} {what} call {}", event.id, other.id);
                return Verdict::broken(LAW.name, because, [other.id, event.id]);
            }
        }
    }
    Verdict::Holds
}

/// The use that should have kept the stream alive for this call, which found none.
fn too_early<'a>(events: &[&'a Event], gone: &Event, least_ns: u64, calm_ns: u64) -> Option<(&'a Event, &'static str)> {
    let gone_ns = gone.returned?.ns;
    let before = |event: &&&Event| is_use(event) && event.returned_order() < gone.invoked.order;
    let used_ns = |event: &Event| used_until_ns(event, calm_ns);
    let last = events.iter().filter(before).max_by_key(|event| used_ns(event))?;
    (gone_ns < used_ns(last) + least_ns).then_some((*last, "found none less than a window after"))
}

/// The last call that may have been a use, if it was so long ago that this one should have found no stream.
fn too_late<'a>(events: &[&'a Event], found: &Event, most_ns: u64) -> Option<(&'a Event, &'static str)> {
    let others = events
        .iter()
        .filter(|event| event.id != found.id && may_be_use(event) && event.invoked.order < found.returned_order());
    let last = others.max_by_key(|event| end_ns(event))?;
    (end_ns(last) + most_ns < found.invoked.ns).then_some((*last, "found one long after"))
}

/// When it was certainly in use at last. Who waits uses it as long as he is heard; but while things are broken the node
/// that hears him may not be able to tell anybody.
fn used_until_ns(event: &Event, calm_ns: u64) -> u64 {
    let heard_ns = match (event.seen(), event.returned) {
        (Some((read, seen)), Some(returned)) if read.live.is_some() && event.invoked.ns > calm_ns => {
            seen.heard_ns.unwrap_or(returned.ns).saturating_sub(KEEPS_NS)
        }
        _ => 0,
    };
    event.invoked.ns.max(heard_ns)
}

fn end_ns(event: &Event) -> u64 {
    match event.returned {
        // Nobody may notice for a while that a reader waits no longer.
        Some(returned) if is_live(event) => returned.ns + UNCERTAIN_NS,
        Some(returned) if event.uncertain() => returned.ns + UNCERTAIN_NS,
        Some(returned) => returned.ns,
        None => u64::MAX / 2,
    }
}

fn is_live(event: &Event) -> bool {
    matches!(&event.op, Op::Read(read) if read.live.is_some())
}

/// Certainly prolongs a life, or begins one.
fn is_use(event: &Event) -> bool {
    match (&event.op, &event.ending) {
        (Op::Create(_), Ending::Done(Answer::Created { new, .. })) => *new,
        (Op::Append(_), Ending::Done(_)) => true,
        (Op::Read(read), Ending::Done(_)) => !read.local,
        _ => false,
    }
}

fn may_be_use(event: &Event) -> bool {
    let nothing = matches!(event.ending, Ending::Refused(Refusal::NotSent));
    !nothing && event.op != Op::Head
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checker::tale::{Tale, append};
    use crate::history::Create;

    /// A stream of two seconds, and clocks that are off by a tenth at most. Each call of a tale takes 1 ms.
    fn tale() -> Tale {
        let mut tale = Tale::new();
        tale.clock_error(100);
        born(&mut tale);
        tale
    }

    fn born(tale: &mut Tale) -> &mut Tale {
        let create = Create {
            ttl_s: Some(2),
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

    fn found(tale: &mut Tale) -> &mut Tale {
        let answer = Answer::Head {
            next: String::new(),
            closed: false,
            content_type: String::new(),
            etag: None,
        };
        tale.call(Op::Head, Ending::Done(answer))
    }

    fn broken(tale: &Tale) -> bool {
        matches!(judge(&tale.history()), Verdict::Broken { .. })
    }

    #[test]
    fn a_stream_that_is_gone_a_window_after_its_last_use_is_lawful() {
        let mut tale = tale();
        tale.pass(1_500).stored(1).pass(1_500).reads(&[1]).pass(1_850);
        gone(&mut tale);
        born(&mut tale);
        assert_eq!(judge(&tale.history()), Verdict::Holds);
    }

    #[test]
    fn an_early_end_is_found() {
        for minute in 0..4 {
            let mut tale = tale();
            tale.pass(1_500);
            match minute {
                0 => drop(tale.stored(1)),
                1 => drop(tale.reads(&[])),
                2 => drop(tale.reads_locally(&[])),
                _ => drop(found(&mut tale)),
            }
            tale.pass(1_500);
            gone(&mut tale);
            assert_eq!(
                broken(&tale),
                minute < 2,
                "only uses count, and local reads as they can"
            );
        }
    }

    #[test]
    fn a_new_stream_in_place_of_a_living_one_is_found() {
        let mut tale = tale();
        tale.pass(1_000);
        born(&mut tale);
        assert!(broken(&tale));
    }

    #[test]
    fn a_stream_that_nobody_uses_and_that_does_not_end_is_found() {
        let mut tale = tale();
        found(tale.pass(2_300));
        assert!(!broken(&tale));
        found(tale.pass(200));
        assert!(broken(&tale));
    }

    #[test]
    fn a_use_of_unknown_end_may_have_prolonged_it_or_not() {
        let mut tale = tale();
        tale.pass(1_500)
            .call(Op::Append(append(1)), Ending::Unknown("deadline".into()));
        tale.pass(1_500);
        found(&mut tale);
        gone(&mut tale);
        assert_eq!(judge(&tale.history()), Verdict::Holds);
    }

    #[test]
    fn in_the_calm_who_waits_keeps_it_alive() {
        use crate::history::{Live, Read, Seen};
        for (heard_ms, early) in [(1_200, false), (4_100, true)] {
            let mut tale = tale();
            tale.calm().stored(1).pass(1_100);
            let read = Read {
                from: crate::client::BEGINNING.into(),
                local: false,
                session: 1,
                before: None,
                bootstrap: false,
                live: Some(Live::Sse),
            };
            let read = tale.begin(Op::Read(read));
            let seen = Seen {
                heard_ns: Some(heard_ms * MS),
                ..Seen::default()
            };
            tale.pass(3_000).end(read, Ending::Done(Answer::Read(seen)));
            gone(&mut tale);
            assert_eq!(broken(&tale), early, "heard until {heard_ms} ms");
        }
    }

    #[test]
    fn where_clocks_may_show_anything_nothing_is_early() {
        let mut tale = Tale::new();
        gone(born(&mut tale));
        assert_eq!(judge(&tale.history()), Verdict::Holds);
    }
}
