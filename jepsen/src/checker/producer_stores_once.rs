//! A producer's tuple is stored once, in order; what an older life of it says later is not stored at all.
//!
//! PROTOCOL.md, Idempotent Producers. Judged on tuples, not on tags: two zombies may claim one tuple with two bodies, and
//! then one of them is told that it was stored before.

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;

use super::sessions::sessions;
use crate::history::{Answer, Ending, Event, History, Op, Producer, Stored};
use crate::record::Tag;
use crate::verdict::{Law, Verdict};

/// This law.
pub const LAW: Law = Law {
    name: "producer-stores-once",
    judge,
};

fn judge(history: &History) -> Verdict {
    for stream in history.streams() {
        if history.may_have_been_deleted(&stream) {
            continue;
        }
        let claims: Vec<(&Producer, &Event)> = history
            .of(&stream)
            .filter_map(|event| Some((producer(event)?, event)))
            .collect();
        for verdict in [answers(&stream, &claims), contents(history, &stream, &claims)] {
            if !verdict.passes() {
                return verdict;
            }
        }
    }
    Verdict::Holds
}

fn producer(event: &Event) -> Option<&Producer> {
    match &event.op {
        Op::Append(append) => append.producer.as_ref(),
        _ => None,
    }
}

/// What the answers alone tell: stored twice, or stored after being fenced.
fn answers(stream: &str, claims: &[(&Producer, &Event)]) -> Verdict {
    let mut stored: BTreeMap<(&str, u64, u64), &Event> = BTreeMap::new();
    for (claim, event) in claims.iter().filter(|(_, event)| event.stored()) {
        let Producer { id, epoch, seq } = claim;
        if let Some(first) = stored.insert((id, *epoch, *seq), event) {
            let because = format!("{stream}: {id} epoch {epoch} seq {seq} was acknowledged as new twice");
            return Verdict::broken(LAW.name, because, [first.id, event.id]);
        }
    }
    // Of each producer, the first acknowledgement of each epoch.
    for ((id, epoch, _), event) in &stored {
        let later = stored
            .iter()
            .filter(|((other, newer, _), _)| other == id && newer > epoch);
        for (_, newer) in later {
            if newer.returned_order() < event.invoked.order {
                let because = format!("{stream}: {id} epoch {epoch} was accepted after a newer epoch had been");
                return Verdict::broken(LAW.name, because, [newer.id, event.id]);
            }
        }
    }
    Verdict::Holds
}

/// What the stored records tell.
fn contents(history: &History, stream: &str, claims: &[(&Producer, &Event)]) -> Verdict {
    let by_tag: FxHashMap<Tag, (&Producer, &Event)> = claims
        .iter()
        .filter_map(|(claim, event)| Some((event.tag()?, (*claim, *event))))
        .collect();
    for session in sessions(history).iter().filter(|session| &**session.stream == stream) {
        let mut last: BTreeMap<&str, (u64, u64, u32)> = BTreeMap::new();
        let mut found: BTreeMap<(&str, u64, u64), usize> = BTreeMap::new();
        for (place, (tag, read)) in session.tags.iter().enumerate() {
            let Some((Producer { id, epoch, seq }, event)) = by_tag.get(tag) else {
                continue;
            };
            found.entry((id, *epoch, *seq)).or_insert(place);
            let follows = match last.insert(id, (*epoch, *seq, event.id)) {
                None => *seq == 0,
                Some((e, s, _)) => (*epoch == e && *seq == s + 1) || (*epoch > e && *seq == 0),
            };
            if !follows {
                let because = format!(
                    "{stream}: in read {}, {id} epoch {epoch} seq {seq} is out of order",
                    read.id
                );
                return Verdict::broken(LAW.name, because, [event.id, read.id]);
            }
        }
        let Some((read, count)) = session.reached_tail.filter(|_| !session.local) else {
            continue;
        };
        for (Producer { id, epoch, seq }, event) in claims {
            let repeated = matches!(
                event.ending,
                Ending::Done(Answer::Appended {
                    stored: Stored::Before(_),
                    ..
                })
            );
            let looked_for = repeated && event.tag().is_some() && event.returned_order() < read.invoked.order;
            if looked_for && found.get(&(id, *epoch, *seq)).is_none_or(|place| *place >= count) {
                let because = format!(
                    "{stream}: {id} epoch {epoch} seq {seq} was said to be stored before, and read {} lacks it",
                    read.id
                );
                return Verdict::broken(LAW.name, because, [event.id, read.id]);
            }
        }
    }
    Verdict::Holds
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checker::tale::{Tale, producing};
    use crate::history::Refusal;

    fn repeat(highest: u64) -> Ending {
        Ending::Done(Answer::Appended {
            stored: Stored::Before(highest),
            next: None,
            etag: None,
        })
    }

    fn broken(tale: &Tale) -> bool {
        matches!(judge(&tale.history()), Verdict::Broken { .. })
    }

    #[test]
    fn a_retry_that_is_told_so_is_lawful() {
        let mut tale = Tale::new();
        tale.create()
            .unknown_but_stored(producing(1, 0, 0))
            .call(Op::Append(producing(1, 0, 0)), repeat(0));
        tale.stores(producing(2, 0, 1)).reads(&[1, 2]);
        assert_eq!(judge(&tale.history()), Verdict::Holds);
    }

    #[test]
    fn a_new_epoch_fences_the_old() {
        let mut tale = Tale::new();
        tale.create().stores(producing(1, 0, 0)).stores(producing(2, 1, 0));
        tale.refused(producing(3, 0, 1), Refusal::Fenced { epoch: 1 })
            .reads(&[1, 2]);
        assert_eq!(judge(&tale.history()), Verdict::Holds);
    }

    #[test]
    fn a_retry_acknowledged_as_new_is_found() {
        let mut tale = Tale::new();
        tale.create().stores(producing(1, 0, 0)).stores(producing(1, 0, 0));
        assert!(broken(&tale));
    }

    #[test]
    fn a_retry_stored_again_is_found() {
        let mut tale = Tale::new();
        tale.create()
            .unknown_but_stored(producing(1, 0, 0))
            .stores(producing(1, 0, 0))
            .reads(&[1, 1]);
        assert!(broken(&tale));
    }

    #[test]
    fn a_repeat_that_is_not_there_is_found() {
        let mut tale = Tale::new();
        tale.create()
            .unknown_but_stored(producing(1, 0, 0))
            .call(Op::Append(producing(1, 0, 0)), repeat(0))
            .reads(&[]);
        assert!(broken(&tale));
    }

    #[test]
    fn a_stale_epoch_accepted_is_found() {
        let mut tale = Tale::new();
        tale.create()
            .stores(producing(1, 0, 0))
            .stores(producing(2, 1, 0))
            .stores(producing(3, 0, 1));
        assert!(broken(&tale));
    }

    #[test]
    fn a_gap_in_what_is_stored_is_found() {
        let mut tale = Tale::new();
        tale.create()
            .unknown(1)
            .stores(producing(2, 0, 0))
            .stores(producing(3, 0, 2))
            .reads(&[2, 3]);
        assert!(broken(&tale));
    }
}
