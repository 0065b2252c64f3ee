//! A stream forgets its oldest bytes as its policy says: never what must be kept, and in time.
//!
//! docs/api.md, Retention. Offsets stay what they were, so every record lies at one place for ever, and what is read from
//! anywhere is the run of records that lie there. Where a stream begins only grows. A record is gone only if it is as old
//! as the age says, by clocks that are off by E at most, or lies before as many bytes as the size says; at most an eighth
//! more than the size is kept, and one append more. When everything is whole, what is older than the age and an eighth of
//! it is gone after a while.
//!
//! Local reads may be of any time before, and say only what lies where.

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;

use crate::client::BEGINNING;
use crate::history::{Answer, Ending, Event, History, Op, Policy, Refusal, Stored};
use crate::record::{LEN_MIN, Tag};
use crate::verdict::{Law, Verdict};

/// This law.
pub const LAW: Law = Law {
    name: "forgets-as-agreed",
    judge,
};

const MS: u64 = 1_000_000;

/// How long what is too old may still be there once everything is whole: the pause between two looks at what is due, a
/// proposal, and a leader that has just been found.
const SWEPT_NS: u64 = 3_000 * MS;

fn judge(history: &History) -> Verdict {
    if !history.offsets_are_bytes {
        return Verdict::Holds;
    }
    for stream in history.streams() {
        if history.may_have_been_deleted(&stream) {
            continue;
        }
        let events: Vec<&Event> = history.of(&stream).collect();
        let judged = begins_later_and_later(&events).and_then(|()| match history.policy(&stream) {
            None => Ok(()),
            Some(policy) => Told::of(&events)?.judge(history, policy),
        });
        if let Err((because, operations)) = judged {
            return Verdict::broken(LAW.name, format!("{stream}: {because}"), operations);
        }
    }
    Verdict::Holds
}

/// What is wrong, and the calls concerned.
type Wrong = (String, Vec<u32>);

/// Where the stream begins, as calls tell it.
fn begins_later_and_later(events: &[&Event]) -> Result<(), Wrong> {
    let told: Vec<(&Event, u64)> = events
        .iter()
        .filter_map(|event| Some((*event, earliest(event)?)))
        .collect();
    for event in events {
        let Some(begins) = begins_at_most(event) else { continue };
        let before = told
            .iter()
            .filter(|(other, _)| other.returned_order() < event.invoked.order);
        if let Some((other, earliest)) = before.max_by_key(|(_, earliest)| *earliest)
            && *earliest > begins
        {
            let because = format!(
                "by call {} it begins at {earliest}, by {}, begun later, at {begins} or before",
                other.id, event.id
            );
            return Err((because, vec![other.id, event.id]));
        }
    }
    Ok(())
}

/// Where the stream began, if the answer says so.
fn earliest(event: &Event) -> Option<u64> {
    match &event.ending {
        Ending::Refused(Refusal::Gone { earliest }) if !is_local(event) => earliest.as_ref()?.parse().ok(),
        Ending::Done(Answer::Trimmed { earliest }) => earliest.parse().ok(),
        // The beginning is where it begins by now.
        Ending::Done(Answer::Read(seen)) if is_of_the_beginning(event) && !is_local(event) => {
            seen.next.parse::<u64>().ok()?.checked_sub(seen.bytes)
        }
        _ => None,
    }
}

fn is_of_the_beginning(event: &Event) -> bool {
    matches!(&event.op, Op::Read(read) if read.from == BEGINNING && !read.bootstrap)
}

/// Where the stream began at the latest, as far as the answer shows.
fn begins_at_most(event: &Event) -> Option<u64> {
    match event.seen() {
        Some((read, _)) if read.local || read.bootstrap => None,
        Some((read, _)) if read.from != BEGINNING => read.from.parse().ok(),
        _ => earliest(event),
    }
}

fn is_local(event: &Event) -> bool {
    matches!(&event.op, Op::Read(read) if read.local)
}

/// A record, and where it lies.
#[derive(Clone, Copy)]
struct Place {
    tag: Tag,
    end: u64,
    told_by: u32,
}

/// Everything that the calls tell of one stream.
struct Told<'a> {
    events: &'a [&'a Event],
    /// By where they begin.
    places: BTreeMap<u64, Place>,
    /// Who wrote each record, the first attempt.
    writers: FxHashMap<Tag, &'a Event>,
    longest: u64,
}

impl<'a> Told<'a> {
    fn of(events: &'a [&'a Event]) -> Result<Self, Wrong> {
        let mut told = Self {
            events,
            places: BTreeMap::new(),
            writers: FxHashMap::default(),
            longest: 0,
        };
        for event in events {
            if let Some((tag, len)) = written(event) {
                told.writers.entry(tag).or_insert(event);
                told.longest = told.longest.max(len);
            }
        }
        let mut starts: FxHashMap<Tag, u64> = FxHashMap::default();
        for event in events {
            for (tag, start, end) in told.lie_at(event) {
                let told_by = event.id;
                let before = told.places.range(..end).next_back().map(|(at, place)| (*at, *place));
                let same = |(at, place): &(u64, Place)| (*at, place.tag, place.end) == (start, tag, end);
                if let Some((at, other)) = before.filter(|it| it.1.end > start && !same(it)) {
                    let because = format!(
                        "by call {told_by} {tag} lies at {start}..{end}, by {} {} at {at}..{}",
                        other.told_by, other.tag, other.end
                    );
                    return Err((because, vec![other.told_by, told_by]));
                }
                let known = *starts.entry(tag).or_insert(start);
                if known != start {
                    return Err((format!("{tag} lies at {known} and at {start}"), vec![told_by]));
                }
                told.places.entry(start).or_insert(Place { tag, end, told_by });
            }
        }
        Ok(told)
    }

    /// The records that an answer tells the places of.
    fn lie_at(&self, event: &Event) -> Vec<(Tag, u64, u64)> {
        let one = |next: &Option<String>| {
            let (tag, len) = written(event)?;
            let end: u64 = next.as_ref()?.parse().ok()?;
            Some((tag, end.checked_sub(len)?, end))
        };
        match &event.ending {
            Ending::Done(Answer::Created { new: true, next, .. }) => one(next).into_iter().collect(),
            Ending::Done(Answer::Appended {
                stored: Stored::Now,
                next,
                ..
            }) => one(next).into_iter().collect(),
            Ending::Done(Answer::Read(seen)) if !seen.inside_a_record => {
                let Ok(mut end) = seen.next.parse::<u64>() else {
                    return Vec::new();
                };
                let mut found = Vec::new();
                for tag in seen.tags.iter().rev() {
                    let len = self.writers.get(tag).and_then(|writer| written(writer));
                    let Some(start) = len.and_then(|(_, len)| end.checked_sub(len)) else {
                        break;
                    };
                    found.push((*tag, start, end));
                    end = start;
                }
                found
            }
            _ => Vec::new(),
        }
    }

    fn judge(&self, history: &History, policy: Policy) -> Result<(), Wrong> {
        self.tail_grows()?;
        let error_ns = history.clock_error_ms.map(|ms| ms * MS);
        let calm_ns = history.calm_from.and_then(|calm| {
            let after = |event: &&Event| event.invoked.order > calm;
            history.events.iter().find(after).map(|event| (calm, event.invoked.ns))
        });
        for event in self.events {
            if let (Some(earliest), Some(returned)) = (earliest(event), event.returned) {
                self.must_not_be_kept(policy, event, earliest, returned.ns, error_ns)?;
            }
            if let Some(begins) = begins_at_most(event) {
                self.is_not_too_much(policy, event, begins)?;
                if let (Some(age_s), Some(error_ns), Some((calm, calm_ns))) = (policy.age_s, error_ns, calm_ns)
                    && event.invoked.order > calm
                {
                    self.is_not_too_old(age_s, event, begins, error_ns, calm_ns)?;
                }
            }
        }
        Ok(())
    }

    /// Whoever asks later finds no less.
    fn tail_grows(&self) -> Result<(), Wrong> {
        for event in self.events {
            let Some(next) = next(event).filter(|_| !is_local(event)) else {
                continue;
            };
            // A read that did not reach the tail ends where it likes.
            if event
                .seen()
                .is_some_and(|(read, seen)| !seen.up_to_date || read.live.is_some())
            {
                continue;
            }
            let Some((end, other)) = self.tail_before(event) else {
                continue;
            };
            if end > next {
                let because = format!(
                    "by call {} it ended at {end}, by {}, begun later, at {next}",
                    other.id, event.id
                );
                return Err((because, vec![other.id, event.id]));
            }
        }
        Ok(())
    }

    /// Where the stream ended at least when a call began.
    fn tail_before(&self, event: &Event) -> Option<(u64, &'a Event)> {
        let before = self
            .events
            .iter()
            .filter(|other| other.returned_order() < event.invoked.order);
        before
            .filter_map(|other| Some((next(other)?, *other)))
            .max_by_key(|(end, _)| *end)
    }

    /// What lay before the beginning that a call tells might go, by age or by size.
    fn must_not_be_kept(
        &self,
        policy: Policy,
        event: &Event,
        earliest: u64,
        returned_ns: u64,
        error_ns: Option<u64>,
    ) -> Result<(), Wrong> {
        if earliest == 0 {
            return match event.ending {
                Ending::Refused(_) => Err((
                    format!("call {} was told that nothing is gone", event.id),
                    vec![event.id],
                )),
                _ => Ok(()),
            };
        }
        let reaches_over = self.places.range(..earliest).next_back();
        if let Some((start, place)) = reaches_over.filter(|(_, place)| place.end > earliest) {
            let because = format!(
                "by call {} it begins at {earliest}, inside of {} at {start}..{}",
                event.id, place.tag, place.end
            );
            return Err((because, vec![place.told_by, event.id]));
        }
        let far = policy.bytes.is_some_and(|bytes| {
            let later = self.events.iter().filter(|other| {
                other.invoked.order > event.returned_order() && !is_local(other) && reached_tail(other)
            });
            let tail_at_most = later.filter_map(|other| next(other)).min();
            tail_at_most.is_none_or(|tail| tail.saturating_sub(earliest) >= bytes)
        });
        let writer = reaches_over.and_then(|(_, place)| self.writers.get(&place.tag));
        let old = policy.age_s.is_some_and(|age_s| {
            let since = writer.zip(error_ns);
            since.is_none_or(|(writer, error_ns)| {
                writer.invoked.ns + u64::from(age_s) * 1000 * MS <= returned_ns + 2 * error_ns
            })
        });
        if far || old {
            return Ok(());
        }
        let because = format!(
            "by call {} it begins at {earliest}, and what lay before had to be kept: {policy:?}",
            event.id
        );
        Err((
            because,
            writer.map(|writer| writer.id).into_iter().chain([event.id]).collect(),
        ))
    }

    /// No more is kept than the size and an eighth of it, and one append.
    fn is_not_too_much(&self, policy: Policy, event: &Event, begins: u64) -> Result<(), Wrong> {
        let (Some(bytes), Some((tail, other))) = (policy.bytes, self.tail_before(event)) else {
            return Ok(());
        };
        // The runs that are forgotten together are as long, or one append, and the last one may be longer by one.
        let most = bytes + (bytes / 8).max(self.longest) + self.longest;
        if tail.saturating_sub(begins) <= most {
            return Ok(());
        }
        let because = format!(
            "call {} found bytes at {begins} though it ended at {tail} before, and {bytes} bytes are kept",
            event.id
        );
        Err((because, vec![other.id, event.id]))
    }

    /// What came long ago is gone, once everything is whole.
    fn is_not_too_old(&self, age_s: u32, event: &Event, begins: u64, error_ns: u64, calm_ns: u64) -> Result<(), Wrong> {
        let Some(place) = self.places.get(&begins) else {
            return Ok(());
        };
        let writer = self.writers.get(&place.tag).filter(|writer| !writer.uncertain());
        let Some((writer, came)) = writer.and_then(|writer| Some((writer, writer.returned?))) else {
            return Ok(());
        };
        let age_ns = u64::from(age_s) * 1000 * MS;
        let due_ns = (came.ns + age_ns + age_ns / 8 + 2 * error_ns).max(calm_ns) + SWEPT_NS;
        if event.invoked.ns <= due_ns {
            return Ok(());
        }
        let because = format!(
            "call {} found {}, which came with {} and is kept for {age_s} s",
            event.id, place.tag, writer.id
        );
        Err((because, vec![writer.id, event.id]))
    }
}

/// The record that a call writes, and its length.
fn written(event: &Event) -> Option<(Tag, u64)> {
    let len = match &event.op {
        Op::Create(create) => create.len,
        Op::Append(append) => append.len,
        _ => return None,
    };
    Some((event.tag()?, u64::from(len.max(LEN_MIN))))
}

/// Where an answer says that it ends.
fn next(event: &Event) -> Option<u64> {
    let next = match &event.ending {
        Ending::Done(Answer::Created { next, .. } | Answer::Appended { next, .. }) => next.as_deref()?,
        Ending::Done(Answer::Head { next, .. }) => next,
        Ending::Done(Answer::Read(seen)) => &seen.next,
        _ => return None,
    };
    next.parse().ok()
}

fn reached_tail(event: &Event) -> bool {
    event.seen().is_none_or(|(_, seen)| seen.up_to_date)
}

#[cfg(test)]
#[path = "forgets_as_agreed/tests.rs"]
mod tests;
