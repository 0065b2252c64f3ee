//! Whoever waits at the tail is told what comes.
//!
//! PROTOCOL-NOTES, Reads; DESIGN, promise 5. That a live read shows a prefix without gap or repeat the other laws see, for
//! it is recorded as a read. They do not mind one that waits and shows nothing, for it could have ended the moment it
//! began. This law does: once everything is whole, a live read that ended a good while after an append was acknowledged
//! has shown it, if it was still listening. A waiter who sleeps through a change is found here.

use std::collections::BTreeSet;

use crate::history::{Answer, Ending, Event, History, Op};
use crate::verdict::{Law, Verdict};

/// This law.
pub const LAW: Law = Law {
    name: "waiting-readers-are-told",
    judge,
};

/// How long news may take to a reader, in nanoseconds: longer than a follower takes to hear what is committed.
pub const NEWS_NS: u64 = 1_500_000_000;

/// How long after the beginning of the calm a node may still be catching up.
const GRACE_NS: u64 = 1_000_000_000;

fn judge(history: &History) -> Verdict {
    let Some(calm_from) = history.calm_from.filter(|_| history.offsets_are_bytes) else {
        return Verdict::Holds;
    };
    let after = |event: &&Event| event.invoked.order > calm_from;
    let Some(calm_ns) = history.events.iter().find(after).map(|event| event.invoked.ns) else {
        return Verdict::Holds;
    };
    let streams: BTreeSet<_> = history.streams().into_iter().collect();
    for stream in streams.iter().filter(|stream| !history.may_have_been_deleted(stream)) {
        let appends: Vec<(&Event, u64)> = history.of(stream).filter_map(acknowledged).collect();
        for event in history.of(stream).filter(after) {
            let (Some((read, seen)), Some(returned)) = (event.seen(), event.returned) else {
                continue;
            };
            // Who has been shown something and was not at the tail when he left did not wait: he was catching up.
            let waited = read.live.is_some() && (seen.up_to_date || seen.tags.is_empty());
            let Some(next) = bytes(&seen.next).filter(|_| waited) else {
                continue;
            };
            let missed = appends.iter().find(|(append, end)| {
                let since = append
                    .returned
                    .map_or(u64::MAX, |moment| moment.ns)
                    .max(calm_ns + GRACE_NS);
                *end > next && since.saturating_add(NEWS_NS) < returned.ns
            });
            if let Some((append, end)) = missed {
                let because = format!(
                    "{stream}: call {} waited at node {} and ended at {next}; append {} up to {end} had been acknowledged for long",
                    event.id, event.node, append.id
                );
                return Verdict::broken(LAW.name, because, [append.id, event.id]);
            }
        }
    }
    Verdict::Holds
}

/// An append that was acknowledged, and where the stream ended after it.
fn acknowledged(event: &Event) -> Option<(&Event, u64)> {
    match (&event.op, &event.ending) {
        (Op::Append(_), Ending::Done(Answer::Appended { next, .. })) => Some((event, bytes(next.as_deref()?)?)),
        _ => None,
    }
}

fn bytes(offset: &str) -> Option<u64> {
    offset.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checker::tale::{Tale, append, offset, stored_at, tag};
    use crate::history::{Live, Read, Seen};

    fn waiting(from: u64) -> Op {
        Op::Read(Read {
            from: offset(from),
            local: false,
            session: 1,
            before: None,
            bootstrap: false,
            live: Some(Live::LongPoll),
        })
    }

    fn shows(count: u64) -> Ending {
        Ending::Done(Answer::Read(Seen {
            next: offset(count),
            up_to_date: true,
            ..Seen::default()
        }))
    }

    /// Somebody waits at the first record; the second comes so many milliseconds before the answer, which ends there.
    fn tale(before_ms: u64, ends_at: u64) -> Tale {
        let mut tale = Tale::new();
        tale.create().stored(1).calm().pass(2000);
        let waiting = tale.begin(waiting(1));
        tale.call(Op::Append(append(2)), stored_at(2));
        tale.pass(before_ms).end(waiting, shows(ends_at));
        tale
    }

    #[test]
    fn who_leaves_while_he_is_catching_up_did_not_wait() {
        for (tags, up_to_date, lawful) in [(vec![1], false, true), (vec![1], true, false), (vec![], false, false)] {
            let mut tale = Tale::new();
            tale.create().stored(1).calm().pass(2000);
            let catching_up = tale.begin(waiting(0));
            tale.call(Op::Append(append(2)), stored_at(2));
            let seen = Seen {
                next: offset(1),
                tags: tags.into_iter().map(tag).collect(),
                up_to_date,
                ..Seen::default()
            };
            tale.pass(9000).end(catching_up, Ending::Done(Answer::Read(seen)));
            assert_eq!(judge(&tale.history()) == Verdict::Holds, lawful, "{up_to_date}");
        }
    }

    #[test]
    fn who_is_told_in_time_is_lawful() {
        for (before_ms, ends_at) in [(10, 2), (10, 1), (1400, 1), (9000, 2)] {
            assert_eq!(
                judge(&tale(before_ms, ends_at).history()),
                Verdict::Holds,
                "{before_ms} {ends_at}"
            );
        }
    }

    #[test]
    fn who_sleeps_through_an_append_is_found() {
        let verdict = judge(&tale(5000, 1).history());
        assert!(matches!(verdict, Verdict::Broken { operations, .. } if operations == [3, 2]));
    }

    #[test]
    fn in_the_storm_news_may_take_any_time() {
        let mut tale = Tale::new();
        tale.create().stored(1);
        let waiting = tale.begin(waiting(1));
        tale.call(Op::Append(append(2)), stored_at(2));
        tale.pass(9000).end(waiting, shows(1));
        tale.calm().stored(3);
        assert_eq!(judge(&tale.history()), Verdict::Holds);
    }

    #[test]
    fn a_catch_up_read_need_not_wait() {
        let mut tale = Tale::new();
        tale.create().stored(1).calm().pass(2000);
        let read = tale.begin_read();
        tale.call(Op::Append(append(2)), stored_at(2));
        tale.pass(9000).end(read, shows(1));
        assert_eq!(judge(&tale.history()), Verdict::Holds);
    }
}
