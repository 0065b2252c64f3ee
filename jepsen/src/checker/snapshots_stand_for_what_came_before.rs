//! A snapshot stands for what came before its offset, and is never lost for an older one.
//!
//! PROTOCOL-NOTES, Snapshots and bootstrap. That a snapshot and the rest are the whole stream, without a gap or a repeat,
//! is told by the laws on reads: a bootstrap is recorded as a read from the beginning. Here: what was found was published
//! there, as it was published; it is not older than what was acknowledged before; and bytes are only gone where a
//! snapshot was published that stands for them.

use crate::history::{Answer, Ending, Event, History, Op, Publish, Refusal, Snapshot};
use crate::verdict::{Law, Verdict};

/// This law.
pub const LAW: Law = Law {
    name: "snapshots-stand-for-what-came-before",
    judge,
};

fn judge(history: &History) -> Verdict {
    for stream in history.streams() {
        let published: Vec<(&Publish, &Event)> = history.of(&stream).filter_map(publishing).collect();
        let lives_once = !history.may_have_been_deleted(&stream);
        let forgets = history.policy(&stream).is_some();
        for event in history.of(&stream) {
            let broken = |because: String| Verdict::broken(LAW.name, format!("{stream}: {because}"), [event.id]);
            let (id, ended) = (event.id, event.returned_order());
            if let Ending::Done(Answer::Newest {
                garbage: Some(what), ..
            }) = &event.ending
            {
                return broken(format!("{id} fetched a snapshot nobody published: {what}"));
            }
            let found = found(event);
            if let Some(Some(Snapshot { offset, content })) = found {
                let is_it = |(publish, by): &&(&Publish, &Event)| {
                    publish.offset == *offset && publish.content == *content && by.invoked.order < ended
                };
                if !published.iter().any(|one| is_it(&one)) {
                    return broken(format!("{id} found a snapshot at {offset} that nobody published there"));
                }
            }
            let local = matches!(&event.op, Op::Read(read) if read.local);
            if let Some(found) = found.filter(|_| lives_once && !local) {
                let before = published.iter().filter(|(_, by)| {
                    by.ending == Ending::Done(Answer::Published) && by.returned_order() < event.invoked.order
                });
                let found = found.map(|snapshot| snapshot.offset.as_str());
                if let Some((newest, by)) = before.max_by_key(|(publish, _)| &publish.offset)
                    && found.is_none_or(|found| found < newest.offset.as_str())
                {
                    let found = found.unwrap_or("none");
                    let because = format!(
                        "{stream}: {} published a snapshot at {}, and {id}, begun later, found {found}",
                        by.id, newest.offset
                    );
                    return Verdict::broken(LAW.name, because, [by.id, id]);
                }
            }
            if let (Op::Trim { offset }, Ending::Done(Answer::Trimmed { earliest })) = (&event.op, &event.ending) {
                let stands = |(publish, by): &(&Publish, &Event)| by.invoked.order < ended && publish.offset >= *offset;
                if !published.iter().any(stands) {
                    return broken(format!(
                        "{id} let go of bytes below {offset}, and no snapshot stands for them"
                    ));
                }
                if earliest < offset {
                    return broken(format!(
                        "{id} let go of bytes below {offset}, and it begins at {earliest}"
                    ));
                }
            }
            if let Ending::Refused(Refusal::Gone { earliest }) = &event.ending
                && !forgets
            {
                let stands = |(publish, by): &(&Publish, &Event)| {
                    by.invoked.order < ended && earliest.as_ref().is_none_or(|earliest| publish.offset >= *earliest)
                };
                if !published.iter().any(stands) {
                    let earliest = earliest.as_deref().unwrap_or("somewhere");
                    return broken(format!(
                        "{id} was told that bytes below {earliest} are gone, and no snapshot stands for them"
                    ));
                }
            }
        }
    }
    Verdict::Holds
}

/// An attempt to publish that may have succeeded.
fn publishing(event: &Event) -> Option<(&Publish, &Event)> {
    match &event.op {
        Op::Publish(publish) if !matches!(event.ending, Ending::Refused(_)) => Some((publish, event)),
        _ => None,
    }
}

/// The newest snapshot that a call found, or that there was none.
fn found(event: &Event) -> Option<Option<&Snapshot>> {
    match (&event.op, &event.ending) {
        (Op::Read(read), Ending::Done(Answer::Read(seen))) if read.bootstrap => Some(seen.snapshot.as_ref()),
        (_, Ending::Done(Answer::Newest { snapshot, .. })) => Some(snapshot.as_ref()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checker::tale::{Tale, offset, seen, tag};
    use crate::history::{Read, Seen};
    use crate::record::Content;
    use crate::snapshots::content;

    fn records(numbers: &[u32]) -> Content {
        let tags: Vec<_> = numbers.iter().map(|number| tag(*number)).collect();
        content(&tags)
    }

    fn publish(numbers: &[u32]) -> Op {
        Op::Publish(Publish {
            offset: offset(numbers.len() as u64),
            content: records(numbers),
        })
    }

    fn snapshot(numbers: &[u32]) -> Snapshot {
        Snapshot {
            offset: offset(numbers.len() as u64),
            content: records(numbers),
        }
    }

    fn bootstrap(local: bool) -> Op {
        bootstrap_in(1, local)
    }

    fn bootstrap_in(session: u32, local: bool) -> Op {
        Op::Read(Read {
            from: crate::client::BEGINNING.into(),
            local,
            session,
            before: Some(Content::default()),
            bootstrap: true,
            live: None,
        })
    }

    /// A bootstrap that saw these records, the first of them in a snapshot.
    fn bootstrapped(numbers: &[u32], from: Option<Snapshot>) -> Ending {
        let Answer::Read(seen) = seen(numbers) else {
            unreachable!("seen is a read")
        };
        Ending::Done(Answer::Read(Seen { snapshot: from, ..seen }))
    }

    fn published() -> Ending {
        Ending::Done(Answer::Published)
    }

    fn gone(count: u64) -> Ending {
        Ending::Refused(Refusal::Gone {
            earliest: Some(offset(count)),
        })
    }

    /// Records 1, 2 and 3, and a snapshot behind the second.
    fn snapped() -> Tale {
        let mut tale = Tale::new();
        tale.create()
            .stored(1)
            .stored(2)
            .call(publish(&[1, 2]), published())
            .stored(3);
        tale
    }

    fn broken(tale: &Tale) -> bool {
        matches!(judge(&tale.history()), Verdict::Broken { .. })
    }

    #[test]
    fn what_was_published_is_found() {
        let mut tale = snapped();
        let newest = Answer::Newest {
            snapshot: Some(snapshot(&[1, 2])),
            garbage: None,
        };
        tale.call(bootstrap(false), bootstrapped(&[1, 2, 3], Some(snapshot(&[1, 2]))))
            .call(Op::Newest, Ending::Done(newest))
            .call(bootstrap_in(2, true), bootstrapped(&[1], None))
            .call(bootstrap_in(3, false), gone(2));
        assert_eq!(judge(&tale.history()), Verdict::Holds);
    }

    #[test]
    fn an_unknown_publish_may_be_found_or_not() {
        for found in [None, Some(snapshot(&[1]))] {
            let mut tale = Tale::new();
            tale.create()
                .stored(1)
                .call(publish(&[1]), Ending::Unknown("deadline".into()));
            tale.call(bootstrap(false), bootstrapped(&[1], found));
            assert_eq!(judge(&tale.history()), Verdict::Holds);
        }
    }

    #[test]
    fn a_snapshot_nobody_published_is_found() {
        for wrong in [
            snapshot(&[1]),
            snapshot(&[2, 1]),
            Snapshot {
                content: records(&[1]),
                ..snapshot(&[1, 2])
            },
        ] {
            let mut tale = snapped();
            tale.call(bootstrap(false), bootstrapped(&[1, 2, 3], Some(wrong)));
            assert!(broken(&tale));
        }
    }

    #[test]
    fn a_refused_snapshot_is_found() {
        let mut tale = Tale::new();
        tale.create()
            .stored(1)
            .call(publish(&[1]), Ending::Refused(Refusal::IfMatch));
        tale.call(bootstrap(false), bootstrapped(&[1], Some(snapshot(&[1]))));
        assert!(broken(&tale));
    }

    #[test]
    fn a_lost_snapshot_is_found() {
        let mut tale = snapped();
        tale.call(bootstrap(false), bootstrapped(&[1, 2, 3], None));
        assert!(broken(&tale));
        let mut tale = snapped();
        tale.call(publish(&[1, 2, 3]), published())
            .call(bootstrap(false), bootstrapped(&[1, 2, 3], Some(snapshot(&[1, 2]))));
        assert!(broken(&tale));
        // In another life of the stream there is none.
        let mut tale = snapped();
        tale.delete().create().call(bootstrap(false), bootstrapped(&[], None));
        assert_eq!(judge(&tale.history()), Verdict::Holds);
    }

    #[test]
    fn bytes_that_went_without_a_snapshot_are_found() {
        let mut tale = snapped();
        tale.call(bootstrap(false), gone(3));
        assert!(broken(&tale));
    }

    #[test]
    fn a_trim_without_a_snapshot_for_it_is_found() {
        let trim = |count| Op::Trim { offset: offset(count) };
        let trimmed = |count| {
            Ending::Done(Answer::Trimmed {
                earliest: offset(count),
            })
        };
        for (below, begins, unlawful) in [(1, 1, false), (2, 2, false), (1, 2, false), (3, 3, true), (2, 1, true)] {
            let mut tale = snapped();
            tale.call(trim(below), trimmed(begins));
            assert_eq!(broken(&tale), unlawful, "below {below}, from {begins}");
        }
    }

    #[test]
    fn a_gap_between_snapshot_and_rest_is_found_by_the_law_of_logs() {
        let mut tale = snapped();
        tale.call(bootstrap(false), bootstrapped(&[1, 2, 3], Some(snapshot(&[1, 2]))))
            .call(bootstrap_in(2, false), bootstrapped(&[1, 3], Some(snapshot(&[1, 2]))));
        let verdict = (crate::checker::log::LAW.judge)(&tale.history());
        assert!(matches!(verdict, Verdict::Broken { .. }));
    }
}
