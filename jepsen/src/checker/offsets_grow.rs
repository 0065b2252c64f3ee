//! An offset names one content for ever, and later content has a greater one.
//!
//! PROTOCOL.md, Offsets: opaque, strictly growing, in the order of their text. Every read of a stream shows the same
//! record at the same place, on every node, at every time, local reads too. Where offsets are bytes they must add up.

use std::collections::{BTreeMap, BTreeSet};

use super::sessions::sessions;
use crate::client::BEGINNING;
use crate::history::{Answer, Ending, Event, History, Stored};
use crate::record::{Content, Tag};
use crate::verdict::{Law, Verdict};

/// This law.
pub const LAW: Law = Law {
    name: "offsets-grow",
    judge,
};

fn judge(history: &History) -> Verdict {
    let judges = [
        bytes_add_up,
        same_record_at_the_same_place,
        tokens_follow_contents,
        acknowledged_offsets_grow,
    ];
    let mut verdicts = judges.iter().map(|judge| judge(history));
    verdicts.find(|verdict| !verdict.passes()).unwrap_or(Verdict::Holds)
}

fn bytes_add_up(history: &History) -> Verdict {
    let streams = history.streams();
    let forget: BTreeSet<_> = streams
        .iter()
        .filter(|stream| history.policy(stream).is_some())
        .collect();
    for event in history.events.iter().filter(|_| history.offsets_are_bytes) {
        let Some((read, seen)) = event.seen() else { continue };
        // What forgets begins somewhere.
        if read.from == BEGINNING && forget.contains(&event.stream) {
            continue;
        }
        let from = if read.from == BEGINNING {
            Ok(0)
        } else {
            read.from.parse::<u64>()
        };
        let next = seen.next.parse::<u64>();
        if from.clone().is_err() || next != from.map(|from| from + seen.bytes) {
            let (from, next, bytes) = (&read.from, &seen.next, seen.bytes);
            let because = format!(
                "{}: {bytes} bytes from offset {from} are said to end at {next}",
                event.stream
            );
            return Verdict::broken(LAW.name, because, [event.id]);
        }
    }
    Verdict::Holds
}

fn same_record_at_the_same_place(history: &History) -> Verdict {
    let mut places: BTreeMap<(&str, usize), (Tag, &Event)> = BTreeMap::new();
    for session in sessions(history) {
        if history.may_have_been_deleted(session.stream) {
            continue;
        }
        for (place, (tag, event)) in session.tags.iter().enumerate() {
            let (known, first) = *places.entry((session.stream, place)).or_insert((*tag, event));
            if known != *tag {
                let stream = session.stream;
                let (one, other) = (first.id, event.id);
                let because =
                    format!("{stream}: record number {place} is {known} in read {one}, {tag} in read {other}");
                return Verdict::broken(LAW.name, because, [one, other]);
            }
        }
    }
    Verdict::Holds
}

fn tokens_follow_contents(history: &History) -> Verdict {
    // By count of records: a greater count needs a greater token, the same count the same.
    let streams = history.streams();
    let deleted: BTreeSet<_> = streams
        .iter()
        .filter(|stream| history.may_have_been_deleted(stream))
        .collect();
    let mut tokens: BTreeMap<(&str, u64), (&str, &Event)> = BTreeMap::new();
    for event in &history.events {
        let Some((_, seen)) = event.seen() else { continue };
        let Some(Content { count, .. }) = seen.after.filter(|_| !seen.inside_a_record) else {
            continue;
        };
        if deleted.contains(&event.stream) {
            continue;
        }
        let (token, first) = *tokens.entry((&event.stream, count)).or_insert((&seen.next, event));
        if token != seen.next {
            let (stream, next) = (&event.stream, &seen.next);
            let because = format!("{stream}: behind {count} records the offset is {token} once and {next} once");
            return Verdict::broken(LAW.name, because, [first.id, event.id]);
        }
    }
    let pairs = tokens.iter().zip(tokens.iter().skip(1));
    for (((stream, fewer), (low, one)), ((other_stream, more), (high, other))) in pairs {
        if stream == other_stream && low >= high {
            let because = format!("{stream}: behind {fewer} records the offset is {low}, behind {more} it is {high}");
            return Verdict::broken(LAW.name, because, [one.id, other.id]);
        }
    }
    Verdict::Holds
}

fn acknowledged_offsets_grow(history: &History) -> Verdict {
    for stream in history.streams() {
        if history.may_have_been_deleted(&stream) {
            continue;
        }
        let mut stored: Vec<(&str, &Event)> = history
            .of(&stream)
            .filter_map(|event| Some((offset(event)?, event)))
            .collect();
        stored.sort_by_key(|(offset, event)| (*offset, event.invoked.order));
        let mut latest_begun: Option<(&str, &Event)> = None;
        for (offset, event) in stored {
            if let Some((before, other)) = latest_begun {
                let wrong = if before == offset {
                    Some("the same offset")
                } else if event.returned_order() < other.invoked.order {
                    Some("offsets against the order of time")
                } else {
                    None
                };
                if let Some(wrong) = wrong {
                    let because = format!(
                        "{stream}: appends {} and {} were answered with {wrong}: {before} and {offset}",
                        other.id, event.id
                    );
                    return Verdict::broken(LAW.name, because, [other.id, event.id]);
                }
            }
            if latest_begun.is_none_or(|(_, other)| other.invoked.order < event.invoked.order) {
                latest_begun = Some((offset, event));
            }
        }
    }
    Verdict::Holds
}

/// The offset behind a record that this very call has stored.
fn offset(event: &Event) -> Option<&str> {
    event.tag()?;
    match &event.ending {
        Ending::Done(Answer::Appended {
            stored: Stored::Now,
            next,
            ..
        }) => next.as_deref(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checker::tale::{Tale, append, seen, stored_at};
    use crate::history::Op;

    fn broken(tale: &Tale) -> bool {
        matches!(judge(&tale.history()), Verdict::Broken { .. })
    }

    #[test]
    fn growing_offsets_are_lawful() {
        let mut tale = Tale::new();
        tale.create()
            .stored(1)
            .reads(&[1])
            .stored(2)
            .reads(&[1, 2])
            .reads_locally(&[1]);
        assert_eq!(judge(&tale.history()), Verdict::Holds);
    }

    #[test]
    fn overlapping_appends_may_be_stored_in_either_order() {
        let mut tale = Tale::new();
        tale.create();
        let (one, two) = (tale.begin_append(1), tale.begin_append(2));
        tale.end(one, stored_at(2)).end(two, stored_at(1)).reads(&[2, 1]);
        assert_eq!(judge(&tale.history()), Verdict::Holds);
    }

    #[test]
    fn a_record_that_changes_is_found_even_by_a_local_read() {
        let mut tale = Tale::new();
        tale.create().unknown(1).unknown(2).reads(&[1]).reads_locally(&[2]);
        assert!(broken(&tale));
    }

    #[test]
    fn an_offset_given_twice_is_found() {
        let mut tale = Tale::new();
        tale.create()
            .call(Op::Append(append(1)), stored_at(1))
            .call(Op::Append(append(2)), stored_at(1));
        assert!(broken(&tale));
    }

    #[test]
    fn a_later_append_at_a_smaller_offset_is_found() {
        let mut tale = Tale::new();
        tale.create()
            .call(Op::Append(append(1)), stored_at(2))
            .call(Op::Append(append(2)), stored_at(1));
        assert!(broken(&tale));
    }

    #[test]
    fn bytes_that_do_not_add_up_are_found() {
        let mut tale = Tale::new();
        tale.create().stored(1);
        let read = tale.begin_read();
        let Answer::Read(mut seen) = seen(&[1]) else {
            unreachable!("seen is a read")
        };
        seen.bytes += 1;
        tale.end(read, Ending::Done(Answer::Read(seen)));
        assert!(broken(&tale));
    }
}
