//! One bucket with all its streams as one small object: is there an order of the calls, true to real time, in which
//! every answer is lawful?
//!
//! The state is whether the bucket exists, and which streams it holds. A bucket is made by a call that says so, or by a
//! create on the flat route; it goes only when it holds nothing; a create on the bucketed route needs it. A flat create
//! makes the bucket before it makes the stream, and somebody may delete it in between: so as long as such a call is under
//! way, or for ever if it failed, the bucket may appear by itself.
//!
//! The search goes through beginnings and ends in order and keeps every configuration that explains the answers so far
//! (just-in-time linearization). Calls of unknown outcome that do the same are one kind, of which only the number used
//! counts; a configuration that used no more of any kind than another, and is else the same, replaces it.

use std::collections::{BTreeMap, BTreeSet};

use crate::history::{Answer, BucketOp, BucketSaw, Ending, Event, History, Op, Refusal};
use crate::verdict::{Law, Verdict};

/// This law.
pub const LAW: Law = Law {
    name: "buckets-linearizable",
    judge,
};

/// More configurations than this at once are too many to tell.
const CONFIGURATIONS_MAX: usize = 100_000;

/// What a call does, if it takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Make,
    Drop,
    Look,
    /// A stream, by number; whether its bucket must be there beforehand.
    Create(u8, bool),
    Delete(u8),
}

/// What it answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Saw {
    Done,
    /// To a create: it was there already.
    Existed,
    /// 404.
    Nothing,
    /// 409: to a make, it was there; to a drop, it held streams; to a create, another stream was there.
    Conflict,
}

/// What a bucket is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct State {
    exists: bool,
    /// A bit for each stream.
    streams: u32,
}

/// One explanation of what was seen so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Configuration {
    state: State,
    /// The open calls that have taken effect.
    done: BTreeSet<u32>,
    /// How many of each kind of the unknown calls have.
    used: Used,
}

/// How many calls of each kind.
type Used = BTreeMap<What, u32>;

/// The lawful next state, if there is one.
fn step(state: State, what: What, saw: Saw) -> Option<State> {
    let bit = |stream: u8| 1_u32 << stream;
    let State { exists, streams } = state;
    let lawful = |is: bool, next: State| is.then_some(next);
    match (what, saw) {
        (What::Make, Saw::Done) => lawful(!exists, State { exists: true, ..state }),
        (What::Make, Saw::Conflict) | (What::Look, Saw::Done) => lawful(exists, state),
        (What::Drop, Saw::Done) => lawful(exists && streams == 0, State { exists: false, ..state }),
        (What::Drop, Saw::Conflict) => lawful(streams != 0, state),
        (What::Drop | What::Look, Saw::Nothing) => lawful(!exists, state),
        (What::Create(stream, needs), Saw::Done) => lawful(
            streams & bit(stream) == 0 && (exists || !needs),
            State {
                exists: true,
                streams: streams | bit(stream),
            },
        ),
        (What::Create(stream, _), Saw::Existed | Saw::Conflict) => lawful(streams & bit(stream) != 0, state),
        (What::Create(_, needs), Saw::Nothing) => lawful(needs && !exists, state),
        (What::Delete(stream), Saw::Done) => lawful(
            streams & bit(stream) != 0,
            State {
                streams: streams & !bit(stream),
                ..state
            },
        ),
        (What::Delete(stream), Saw::Nothing) => lawful(streams & bit(stream) == 0, state),
        _ => None,
    }
}

/// One call, and when.
#[derive(Clone, Copy, Debug)]
struct Call {
    event: u32,
    what: What,
    /// `None`: unknown, or refused for want of a leader.
    saw: Option<Saw>,
    /// Whether it may have taken effect.
    effective: bool,
    invoked: u64,
    returned: u64,
}

fn judge(history: &History) -> Verdict {
    let buckets: BTreeSet<&str> = history
        .events
        .iter()
        .filter(|event| matches!(event.op, Op::Bucket(_)))
        .map(|event| &*event.stream)
        .collect();
    for bucket in buckets {
        match judge_bucket(history, bucket) {
            Verdict::Holds => {}
            other => return other,
        }
    }
    Verdict::Holds
}

fn judge_bucket(history: &History, bucket: &str) -> Verdict {
    let mut streams: Vec<&str> = Vec::new();
    let mut calls = Vec::new();
    for event in &history.events {
        if let Some(call) = call(event, bucket, &mut streams) {
            calls.push(call);
        }
        if streams.len() > 32 {
            return Verdict::unknown(format!("{bucket}: more than 32 streams"));
        }
    }
    let mut moments: Vec<(u64, usize, bool)> = Vec::new();
    for (number, call) in calls.iter().enumerate() {
        moments.push((call.invoked, number, true));
        if call.saw.is_some() {
            moments.push((call.returned, number, false));
        }
    }
    moments.sort_unstable();
    let mut search = Search {
        calls: &calls,
        open: BTreeSet::new(),
        unknown: BTreeMap::new(),
        appears_for_ever: false,
    };
    let mut all = BTreeSet::from([Configuration::default()]);
    for (_, number, begins) in moments {
        if begins {
            search.begin(number);
            continue;
        }
        let before = all.clone();
        all = search.end(number, all);
        if all.is_empty() {
            return explain(bucket, &calls, number, &search.open, &before, &streams);
        }
        if all.len() > CONFIGURATIONS_MAX {
            return Verdict::unknown(format!("{bucket}: more than {CONFIGURATIONS_MAX} explanations"));
        }
    }
    Verdict::Holds
}

fn explain(
    bucket: &str,
    calls: &[Call],
    number: usize,
    open: &BTreeSet<u32>,
    before: &BTreeSet<Configuration>,
    streams: &[&str],
) -> Verdict {
    let states: BTreeSet<State> = before.iter().map(|configuration| configuration.state).collect();
    let in_words = |state: &State| {
        let held: Vec<&str> = (0..streams.len())
            .filter(|stream| state.streams & (1 << stream) != 0)
            .map(|stream| streams[stream])
            .collect();
        match (state.exists, held.is_empty()) {
            (false, true) => "gone".to_owned(),
            (false, false) => format!("gone, holding {held:?}"),
            (true, _) => format!("there, holding {held:?}"),
        }
    };
    let states: Vec<String> = states.iter().take(6).map(in_words).collect();
    let Call { event, what, saw, .. } = calls[number];
    let because = format!(
        "{bucket}: nothing explains the answer of call {event} ({what:?}: {saw:?}); before it the bucket was {}",
        states.join(", or ")
    );
    let mut operations: Vec<u32> = open.iter().map(|open| calls[*open as usize].event).collect();
    operations.push(event);
    operations.sort_unstable();
    operations.dedup();
    Verdict::broken(LAW.name, because, operations)
}

/// What a call says about the bucket, if anything.
fn call<'a>(event: &'a Event, bucket: &str, streams: &mut Vec<&'a str>) -> Option<Call> {
    let name = event
        .stream
        .strip_prefix(bucket)
        .and_then(|rest| rest.strip_prefix('/'));
    let mut number = |name: &'a str| {
        let known = streams.iter().position(|known| *known == name);
        known.unwrap_or_else(|| {
            streams.push(name);
            streams.len() - 1
        }) as u8
    };
    let what = match (&event.op, name) {
        (Op::Bucket(op), None) if &*event.stream == bucket => match op {
            BucketOp::Make | BucketOp::MakeKeeping(_) => What::Make,
            BucketOp::Drop => What::Drop,
            BucketOp::Count | BucketOp::List { .. } => What::Look,
        },
        (Op::Create(create), Some(name)) => What::Create(number(name), create.in_bucket),
        (Op::Delete, Some(name)) => What::Delete(number(name)),
        _ => return None,
    };
    let brings_the_bucket = matches!(what, What::Create(_, false));
    let (saw, effective) = match &event.ending {
        Ending::Open | Ending::Unknown(_) if what == What::Look => return None,
        Ending::Open | Ending::Unknown(_) => (None, true),
        Ending::Done(Answer::Created { new: false, .. }) => (Some(Saw::Existed), true),
        Ending::Done(Answer::Bucket(
            BucketSaw::Made | BucketSaw::Dropped | BucketSaw::Count(_) | BucketSaw::Listed { .. },
        ))
        | Ending::Done(Answer::Created { .. } | Answer::Deleted) => (Some(Saw::Done), true),
        Ending::Refused(Refusal::NotFound) => (Some(Saw::Nothing), true),
        Ending::Refused(Refusal::Conflict) => (Some(Saw::Conflict), true),
        Ending::Refused(Refusal::Unavailable { .. }) if brings_the_bucket => (None, false),
        _ => return None,
    };
    Some(Call {
        event: event.id,
        what,
        saw,
        effective,
        invoked: event.invoked.order,
        returned: event.returned_order(),
    })
}

struct Search<'a> {
    calls: &'a [Call],
    /// Answered calls under way.
    open: BTreeSet<u32>,
    /// Unknown calls begun so far, by what they do.
    unknown: BTreeMap<What, u32>,
    /// A create on the flat route has failed: the bucket it may have made can come at any time.
    appears_for_ever: bool,
}

impl Search<'_> {
    fn begin(&mut self, number: usize) {
        let Call {
            what, saw, effective, ..
        } = self.calls[number];
        if saw.is_some() {
            self.open.insert(number as u32);
            return;
        }
        self.appears_for_ever |= matches!(what, What::Create(_, false));
        if effective {
            *self.unknown.entry(what).or_default() += 1;
        }
    }

    /// The configurations in which the call has taken effect by now.
    fn end(&mut self, number: usize, all: BTreeSet<Configuration>) -> BTreeSet<Configuration> {
        let call = number as u32;
        let mut seen: BTreeSet<Configuration> = BTreeSet::new();
        let mut ended = BTreeSet::new();
        let mut todo: Vec<Configuration> = all.into_iter().collect();
        while let Some(mut here) = todo.pop() {
            if here.done.remove(&call) {
                ended.insert(here);
                continue;
            }
            if seen.len() + ended.len() > CONFIGURATIONS_MAX {
                break;
            }
            for next in self.next(&here) {
                if seen.insert(next.clone()) {
                    todo.push(next);
                }
            }
        }
        self.open.remove(&call);
        least(ended)
    }

    /// What may happen next, before any other call ends.
    fn next(&self, here: &Configuration) -> Vec<Configuration> {
        let mut found = Vec::new();
        for open in self.open.iter().filter(|open| !here.done.contains(open)) {
            let Call { what, saw, .. } = self.calls[*open as usize];
            if let Some(state) = saw.and_then(|saw| step(here.state, what, saw)) {
                let mut next = here.clone();
                next.state = state;
                next.done.insert(*open);
                found.push(next);
            }
        }
        for (what, begun) in &self.unknown {
            let used = here.used.get(what).copied().unwrap_or_default();
            match step(here.state, *what, Saw::Done) {
                Some(state) if used < *begun => {
                    let mut next = here.clone();
                    next.state = state;
                    next.used.insert(*what, used + 1);
                    found.push(next);
                }
                _ => {}
            }
        }
        let brings = |open: &u32| matches!(self.calls[*open as usize].what, What::Create(_, false));
        if !here.state.exists && (self.appears_for_ever || self.open.iter().any(brings)) {
            let mut next = here.clone();
            next.state.exists = true;
            found.push(next);
        }
        found
    }
}

/// Without those that are another one with more used up.
fn least(all: BTreeSet<Configuration>) -> BTreeSet<Configuration> {
    let mut by_rest: BTreeMap<(State, BTreeSet<u32>), Vec<Used>> = BTreeMap::new();
    let less = |one: &Used, other: &Used| {
        one.iter()
            .all(|(what, used)| other.get(what).is_some_and(|more| used <= more))
    };
    for Configuration { state, done, used } in all {
        let kept = by_rest.entry((state, done)).or_default();
        if kept.iter().any(|known| less(known, &used)) {
            continue;
        }
        kept.retain(|known| !less(&used, known));
        kept.push(used);
    }
    let mut least = BTreeSet::new();
    for ((state, done), kept) in by_rest {
        least.extend(kept.into_iter().map(|used| Configuration {
            state,
            done: done.clone(),
            used,
        }));
    }
    least
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checker::bucket_tale::{BucketTale, conflict, created, done, missing, unavailable, unknown};

    fn holds(tale: &BucketTale) -> bool {
        let verdict = judge(&tale.history());
        assert!(!matches!(verdict, Verdict::Unknown { .. }), "{verdict:?}");
        verdict.passes()
    }

    #[test]
    fn a_bucket_comes_and_goes_in_turn() {
        let mut tale = BucketTale::new();
        tale.look(missing())
            .make(done())
            .make(conflict())
            .create("a", true, created())
            .drop(conflict());
        tale.delete("a", done())
            .drop(done())
            .drop(missing())
            .create("a", true, missing());
        tale.create("a", false, created()).make(conflict());
        assert!(holds(&tale));
    }

    #[test]
    fn a_bucket_that_goes_with_a_stream_in_it_is_found() {
        let mut tale = BucketTale::new();
        tale.make(done()).create("a", true, created()).drop(done());
        assert!(!holds(&tale));
    }

    #[test]
    fn a_create_that_races_the_deletion_loses_or_wins() {
        for (created_one, dropped, look, lawful) in [
            (created(), done(), missing(), false),
            (created(), conflict(), done(), true),
            (missing(), done(), missing(), true),
            (missing(), conflict(), done(), false),
        ] {
            let mut tale = BucketTale::new();
            tale.make(done());
            let create = tale.begin_create("a", true);
            let drop = tale.begin_drop();
            tale.end(create, created_one.clone()).end(drop, dropped.clone());
            tale.look(look);
            assert_eq!(holds(&tale), lawful, "{created_one:?} {dropped:?}");
        }
    }

    #[test]
    fn a_flat_create_may_make_the_bucket_twice_and_a_bucketed_one_never() {
        for (needs, lawful) in [(false, true), (true, false)] {
            let mut tale = BucketTale::new();
            let create = tale.begin_create("a", needs);
            tale.drop(done()).drop(done()).end(create, created()).drop(conflict());
            assert_eq!(holds(&tale), lawful, "{needs}");
        }
    }

    #[test]
    fn a_bucket_does_not_appear_once_the_create_that_may_make_it_is_over() {
        let mut tale = BucketTale::new();
        tale.create("a", false, created())
            .delete("a", done())
            .drop(done())
            .look(done());
        assert!(!holds(&tale));
        let mut tale = BucketTale::new();
        tale.create("a", false, unavailable())
            .look(missing())
            .look(done())
            .create("a", true, created());
        assert!(holds(&tale));
    }

    #[test]
    fn an_unknown_deletion_happens_at_most_once_and_only_when_it_may() {
        let mut tale = BucketTale::new();
        tale.make(done())
            .drop(unknown())
            .look(done())
            .look(missing())
            .make(done());
        assert!(holds(&tale));
        tale.look(missing());
        assert!(!holds(&tale));
        let mut tale = BucketTale::new();
        tale.make(done())
            .create("a", true, created())
            .drop(unknown())
            .look(missing());
        assert!(!holds(&tale));
    }

    #[test]
    fn what_is_refused_for_ever_is_found() {
        let mut tale = BucketTale::new();
        tale.make(done()).create("a", true, missing());
        assert!(!holds(&tale));
    }
}
