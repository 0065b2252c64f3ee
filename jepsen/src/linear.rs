//! Is there an order of the calls, true to real time, in which every answer is lawful?
//!
//! The search of Wing and Gong with Lowe's memory of places already visited, one stream at a time (streams do not know
//! of one another: P-compositionality). Three things make it quick, none changes the verdict: a call that is lawful
//! and changes nothing is taken at once, for it can stand in nobody's way; a record that was read tells what lay
//! before it, so it is tried only there; what follows a content that was read on is known, so nothing else is tried.

use std::sync::Arc;

use rustc_hash::FxHashSet;

use crate::history::History;
use crate::known::Known;
use crate::model::{Calls, Effect, State};
use crate::record::{Tag, mix};
use crate::verdict::Verdict;

/// The name of the law.
pub const LAW: &str = "linearizable";

/// How long the search may go on.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// Steps tried in all. A step takes about 100 ns.
    pub steps: u64,
    /// Places remembered. Each takes about 40 bytes.
    pub places: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            steps: 5_000_000,
            places: 1_000_000,
        }
    }
}

/// Judges every stream of the history, with the default budget.
#[must_use]
pub fn linearizable(history: &History) -> Verdict {
    let mut doubt = Verdict::Holds;
    // Where a stream forgets, what lay before is not known to who reads it: judged by where its records lie.
    let forgets = |stream: &Arc<str>| history.policy(stream).is_some();
    for stream in history.streams().into_iter().filter(|stream| !forgets(stream)) {
        match judge_stream(history, &stream, Budget::default()) {
            Verdict::Holds => {}
            broken @ Verdict::Broken { .. } => return broken,
            unknown @ Verdict::Unknown { .. } => doubt = unknown,
        }
    }
    doubt
}

/// Judges one stream.
#[must_use]
pub fn judge_stream(history: &History, stream: &str, budget: Budget) -> Verdict {
    let mut calls = Calls::of(history, stream);
    let known = Known::of(history, stream);
    known.narrow(&mut calls);
    let mut search = Search::new(&calls, &known, budget);
    match search.run() {
        Found::Order => Verdict::Holds,
        Found::NoOrder => search.explain(stream),
        Found::TooFar => {
            let (steps, places) = (search.steps, search.visited.len());
            Verdict::unknown(format!("{stream}: no answer after {steps} steps and {places} places"))
        }
    }
}

enum Found {
    Order,
    NoOrder,
    TooFar,
}

/// A place in the search: what can be done next here, and how far of it has been tried.
struct Place {
    state: State,
    taken: u128,
    options: Vec<(u32, Option<State>)>,
    tried: usize,
    /// The call that led here.
    by: Option<u32>,
}

struct Search<'a> {
    calls: &'a Calls,
    known: &'a Known,
    budget: Budget,
    steps: u64,
    visited: FxHashSet<(u128, u128)>,
    pending: Pending,
    unknown: Vec<u32>,
    taken: Vec<bool>,
    /// Of the place where the most answered calls had been taken: how many, the state, what came last, what was stuck.
    deepest: (usize, State, Vec<u32>, Vec<u32>),
}

impl<'a> Search<'a> {
    fn new(calls: &'a Calls, known: &'a Known, budget: Budget) -> Self {
        let all = || 0..calls.calls.len() as u32;
        let unknown = all().filter(|call| calls.calls[*call as usize].unknown()).collect();
        let pending = Pending::new(calls);
        let taken = vec![false; calls.calls.len()];
        let deepest = (0, State::default(), Vec::new(), Vec::new());
        Self {
            calls,
            known,
            budget,
            steps: 0,
            visited: FxHashSet::default(),
            pending,
            unknown,
            taken,
            deepest,
        }
    }

    fn run(&mut self) -> Found {
        let answered = self.pending.left;
        let mut path = vec![self.place(State::default(), 0, None)];
        while let Some(here) = path.last_mut() {
            if self.pending.left == 0 {
                return Found::Order;
            }
            let Some((call, to)) = here.options.get_mut(here.tried) else {
                let dead = path.pop().expect("the last place is there");
                if let Some(call) = dead.by {
                    self.put_back(call);
                }
                continue;
            };
            here.tried += 1;
            let (call, to) = (*call, to.take());
            let taken = here.taken ^ name(call);
            let state = to.unwrap_or_else(|| here.state.clone());
            if !self.visited.insert((taken, state.fingerprint())) {
                continue;
            }
            if self.steps > self.budget.steps || self.visited.len() > self.budget.places {
                return Found::TooFar;
            }
            self.take(call);
            let place = self.place(state, taken, Some(call));
            let done = answered - self.pending.left;
            if place.options.is_empty() && done >= self.deepest.0 && self.pending.left > 0 {
                let last = path.iter().rev().filter_map(|place| place.by).take(4);
                let last = std::iter::once(call).chain(last).collect();
                self.deepest = (done, place.state.clone(), last, self.pending.open().collect());
            }
            path.push(place);
        }
        Found::NoOrder
    }

    /// What can be done next in this state.
    fn place(&mut self, state: State, taken: u128, by: Option<u32>) -> Place {
        let mut options = Vec::new();
        let first_end = self.pending.first_end(self.calls);
        for call in self.pending.open() {
            self.steps += 1;
            let what = &self.calls.calls[call as usize];
            if !self.known.allows(&state, what) {
                continue;
            }
            match self.calls.step(&state, what) {
                Some(Effect::Same) => {
                    options = vec![(call, None)];
                    return Place {
                        state,
                        taken,
                        options,
                        tried: 0,
                        by,
                    };
                }
                Some(Effect::To(to)) => options.push((call, Some(to))),
                None => {}
            }
        }
        // The one whose end comes first is the likeliest to have come first.
        options.sort_by_key(|(call, _)| self.calls.calls[*call as usize].returned);
        let answered = options.len();
        let mut repeats: Vec<Tag> = Vec::new();
        for call in &self.unknown {
            let what = &self.calls.calls[*call as usize];
            if what.invoked > first_end {
                break;
            }
            if self.taken[*call as usize] {
                continue;
            }
            self.steps += 1;
            // Attempts of one append are alike; the earliest stands for all.
            if !self.known.allows(&state, what) || what.appends().is_some_and(|tag| repeats.contains(&tag)) {
                continue;
            }
            if let Some(Effect::To(to)) = self.calls.step(&state, what) {
                repeats.extend(what.appends());
                options.push((*call, Some(to)));
            }
        }
        // One that was read later has certainly happened; the others may be a long way astray.
        let calls = &self.calls.calls;
        options[answered..].sort_by_key(|(call, _)| !self.known.was_read(&calls[*call as usize]));
        Place {
            state,
            taken,
            options,
            tried: 0,
            by,
        }
    }

    fn take(&mut self, call: u32) {
        self.taken[call as usize] = true;
        if !self.calls.calls[call as usize].unknown() {
            self.pending.remove(call);
        }
    }

    fn put_back(&mut self, call: u32) {
        self.taken[call as usize] = false;
        if !self.calls.calls[call as usize].unknown() {
            self.pending.restore(call);
        }
    }

    fn explain(&self, stream: &str) -> Verdict {
        let event = |call: &u32| self.calls.calls[*call as usize].event;
        let (_, state, last, stuck) = &self.deepest;
        let stuck = if stuck.is_empty() {
            self.pending.open().collect()
        } else {
            stuck.clone()
        };
        let stuck: Vec<u32> = stuck.iter().map(event).collect();
        let because = format!(
            "{stream}: no order of the calls explains all answers. The longest explanation gets to {}; \
             then none of {stuck:?} can come next",
            state.in_words(),
        );
        let mut operations: Vec<u32> = last.iter().map(event).chain(stuck).collect();
        operations.sort_unstable();
        operations.dedup();
        Verdict::broken(LAW, because, operations)
    }
}

/// A wide number for a call; a set of calls is the exclusive or of its numbers.
fn name(call: u32) -> u128 {
    let call = u64::from(call);
    u128::from(mix(call ^ 0x5EED_0000_0000_0000)) << 64 | u128::from(mix(!call))
}

/// The answered calls not taken yet, as a linked list in the order of their beginnings: taking one out and putting it
/// back (in reverse order) costs nothing.
struct Pending {
    next: Vec<u32>,
    previous: Vec<u32>,
    invoked: Vec<u64>,
    returned: Vec<u64>,
    left: usize,
}

impl Pending {
    /// Call `i` is link `i + 1`; link 0 is the head, and the end.
    fn new(calls: &Calls) -> Self {
        let count = calls.calls.len();
        let (mut next, mut previous) = (vec![0; count + 1], vec![0; count + 1]);
        let (mut last, mut left) = (0, 0);
        for (call, what) in calls.calls.iter().enumerate() {
            if what.unknown() {
                continue;
            }
            let link = call + 1;
            next[last] = link as u32;
            previous[link] = last as u32;
            last = link;
            left += 1;
        }
        next[last] = 0;
        previous[0] = last as u32;
        let invoked = calls.calls.iter().map(|call| call.invoked).collect();
        let returned = calls.calls.iter().map(|call| call.returned).collect();
        Self {
            next,
            previous,
            invoked,
            returned,
            left,
        }
    }

    fn remove(&mut self, call: u32) {
        let link = call as usize + 1;
        let (before, after) = (self.previous[link], self.next[link]);
        self.next[before as usize] = after;
        self.previous[after as usize] = before;
        self.left -= 1;
    }

    fn restore(&mut self, call: u32) {
        let link = call as usize + 1;
        let (before, after) = (self.previous[link], self.next[link]);
        self.next[before as usize] = link as u32;
        self.previous[after as usize] = link as u32;
        self.left += 1;
    }

    /// Those that may come next: begun before any other has ended.
    fn open(&self) -> impl Iterator<Item = u32> {
        let mut link = self.next[0];
        let mut first_end = u64::MAX;
        std::iter::from_fn(move || {
            let call = link.checked_sub(1)?;
            if self.invoked[call as usize] > first_end {
                return None;
            }
            first_end = first_end.min(self.returned[call as usize]);
            link = self.next[link as usize];
            Some(call)
        })
    }

    fn first_end(&self, calls: &Calls) -> u64 {
        self.open()
            .map(|call| calls.calls[call as usize].returned)
            .min()
            .unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checker::tale::{Tale, append, closing, offset, producing, seen, stored_at};
    use crate::format::Format;
    use crate::history::{Answer, Append, Create, Ending, Op, Refusal, Stored};

    fn holds(tale: &Tale) -> bool {
        let verdict = linearizable(&tale.history());
        assert!(!matches!(verdict, Verdict::Unknown { .. }), "{verdict:?}");
        verdict.passes()
    }

    fn head(count: u64, closed: bool) -> Ending {
        let content_type = Format::Bytes.content_type().into();
        Ending::Done(Answer::Head {
            next: offset(count),
            closed,
            content_type,
            etag: None,
        })
    }

    fn repeat(highest: u64) -> Ending {
        Ending::Done(Answer::Appended {
            stored: Stored::Before(highest),
            next: None,
            etag: None,
        })
    }

    #[test]
    fn an_unknown_append_may_take_effect_long_after() {
        let mut tale = Tale::new();
        tale.create().unknown(1).reads(&[]).stored(2).reads(&[2]).reads(&[2, 1]);
        assert!(holds(&tale));
    }

    #[test]
    fn an_unknown_append_takes_effect_once() {
        let mut tale = Tale::new();
        tale.create().unknown(1).reads(&[1]).reads(&[1, 1]);
        assert!(!holds(&tale));
    }

    #[test]
    fn no_append_takes_effect_before_it_is_sent() {
        let mut tale = Tale::new();
        tale.create().reads(&[1]).unknown(1);
        assert!(!holds(&tale));
    }

    #[test]
    fn a_head_tells_the_present_tail() {
        for (count, lawful) in [(1, false), (2, true), (3, false)] {
            let mut tale = Tale::new();
            tale.create().stored(1).stored(2).call(Op::Head, head(count, false));
            assert_eq!(holds(&tale), lawful, "{count}");
        }
    }

    #[test]
    fn an_answered_offset_is_where_the_record_ends() {
        let mut tale = Tale::new();
        tale.create().stored(1).call(Op::Append(append(2)), stored_at(3));
        assert!(!holds(&tale));
        let mut tale = Tale::new();
        tale.create()
            .stored(1)
            .unknown(9)
            .call(Op::Append(append(2)), stored_at(3));
        assert!(holds(&tale), "the unknown one lies between");
    }

    #[test]
    fn opaque_offsets_are_learnt_and_must_grow() {
        for (token, lawful) in [("b", true), ("c", true), ("a", false)] {
            let mut tale = Tale::new();
            tale.create().stored(1).stored(2);
            let mut history = tale.history();
            history.offsets_are_bytes = false;
            for (event, token) in history.events.iter_mut().zip(["Z", "a", token]) {
                match &mut event.ending {
                    Ending::Done(Answer::Created { next, .. } | Answer::Appended { next, .. }) => {
                        *next = Some(token.into())
                    }
                    _ => unreachable!("both were done"),
                }
            }
            assert_eq!(linearizable(&history).passes(), lawful, "{token}");
        }
    }

    #[test]
    fn not_found_is_lawful_only_while_there_is_none() {
        let mut tale = Tale::new();
        tale.refused(append(1), Refusal::NotFound)
            .create()
            .delete()
            .refused(append(2), Refusal::NotFound);
        assert!(holds(&tale));
        tale.create().refused(append(3), Refusal::NotFound);
        assert!(!holds(&tale));
    }

    #[test]
    fn a_create_finds_what_is_there() {
        let create = |content_type: &str| {
            Op::Create(Create {
                content_type: content_type.into(),
                ..Create::default()
            })
        };
        let found = || {
            Ending::Done(Answer::Created {
                new: false,
                next: Some(offset(0)),
                etag: None,
            })
        };
        let conflict = || Ending::Refused(Refusal::Conflict);
        for (content_type, ending, lawful) in [
            (Format::Bytes.content_type(), found(), true),
            (Format::Bytes.content_type(), conflict(), false),
            ("text/plain", conflict(), true),
            ("text/plain", found(), false),
        ] {
            let mut tale = Tale::new();
            tale.create().call(create(content_type), ending.clone());
            assert_eq!(holds(&tale), lawful, "{content_type} {ending:?}");
        }
    }

    #[test]
    fn a_new_life_has_nothing_of_the_old() {
        let mut tale = Tale::new();
        tale.create()
            .stored(1)
            .delete()
            .create()
            .reads(&[])
            .stored(2)
            .reads(&[2]);
        assert!(holds(&tale));
        let mut tale = Tale::new();
        tale.create().stored(1).delete().create().reads(&[1]);
        assert!(!holds(&tale));
    }

    #[test]
    fn a_producer_is_fenced_repeated_and_stopped_at_gaps() {
        let refused = |append, refusal| (Op::Append(append), Ending::Refused(refusal));
        for ((op, ending), lawful) in [
            ((Op::Append(producing(2, 1, 1)), stored_at(2)), true),
            ((Op::Append(producing(2, 2, 0)), stored_at(2)), true),
            ((Op::Append(producing(2, 2, 1)), stored_at(2)), false),
            ((Op::Append(producing(2, 1, 2)), stored_at(2)), false),
            ((Op::Append(producing(2, 0, 5)), stored_at(2)), false),
            ((Op::Append(producing(1, 1, 0)), stored_at(2)), false),
            ((Op::Append(producing(1, 1, 0)), repeat(0)), true),
            ((Op::Append(producing(1, 1, 0)), repeat(1)), false),
            (refused(producing(2, 0, 5), Refusal::Fenced { epoch: 1 }), true),
            (refused(producing(2, 0, 5), Refusal::Fenced { epoch: 2 }), false),
            (refused(producing(2, 1, 1), Refusal::Fenced { epoch: 1 }), false),
            (
                refused(
                    producing(2, 1, 3),
                    Refusal::Gap {
                        expected: 1,
                        received: 3,
                    },
                ),
                true,
            ),
            (
                refused(
                    producing(2, 1, 1),
                    Refusal::Gap {
                        expected: 1,
                        received: 1,
                    },
                ),
                false,
            ),
        ] {
            let mut tale = Tale::new();
            tale.create()
                .stores(producing(1, 1, 0))
                .call(op.clone(), ending.clone());
            assert_eq!(holds(&tale), lawful, "{op:?} {ending:?}");
        }
    }

    #[test]
    fn a_repeat_needs_a_first_time() {
        let mut tale = Tale::new();
        tale.create().call(Op::Append(producing(1, 0, 0)), repeat(0));
        assert!(!holds(&tale));
        let mut tale = Tale::new();
        tale.create()
            .unknown_but_stored(producing(1, 0, 0))
            .call(Op::Append(producing(1, 0, 0)), repeat(0));
        assert!(holds(&tale));
    }

    #[test]
    fn the_end_is_the_end() {
        let mut tale = Tale::new();
        tale.create()
            .stored(1)
            .stores(closing())
            .stores(closing())
            .reads_closed(&[1]);
        tale.refused(append(2), Refusal::Closed { next: Some(offset(1)) })
            .call(Op::Head, head(1, true));
        assert!(holds(&tale));
        for wrong in [(Op::Head, head(1, false)), (Op::Append(append(2)), stored_at(2))] {
            let mut tale = Tale::new();
            tale.create().stored(1).stores(closing()).call(wrong.0, wrong.1);
            assert!(!holds(&tale));
        }
    }

    #[test]
    fn only_the_tuple_that_closed_may_be_said_again() {
        let last = || Append {
            close: true,
            ..producing(2, 0, 1)
        };
        let mut tale = Tale::new();
        tale.create()
            .stores(producing(1, 0, 0))
            .stores(last())
            .call(Op::Append(last()), repeat(1));
        assert!(holds(&tale));
        tale.call(Op::Append(producing(1, 0, 0)), repeat(1));
        assert!(!holds(&tale));
    }

    #[test]
    fn a_sequence_grows() {
        let at = |number, seq: &str| Append {
            seq: Some(seq.into()),
            ..append(number)
        };
        let mut tale = Tale::new();
        tale.create()
            .stores(at(1, "10"))
            .stored(2)
            .stores(at(3, "9"))
            .refused(at(4, "9"), Refusal::StreamSeq);
        assert!(holds(&tale), "byte by byte, 9 is above 10");
        tale.stores(at(5, "1"));
        assert!(!holds(&tale));
        let mut tale = Tale::new();
        tale.create().stores(at(1, "1")).refused(at(2, "2"), Refusal::StreamSeq);
        assert!(!holds(&tale));
    }

    #[test]
    fn a_condition_is_met_or_not() {
        let tagged = |count: u64, etag: &str| {
            Ending::Done(Answer::Appended {
                stored: Stored::Now,
                next: Some(offset(count)),
                etag: Some(etag.into()),
            })
        };
        let on = |number, etag: &str| {
            Op::Append(Append {
                if_match: Some(etag.into()),
                ..append(number)
            })
        };
        let refused = || Ending::Refused(Refusal::IfMatch);
        for (op, ending, lawful) in [
            (on(3, "\"two\""), stored_at(3), true),
            (on(3, "\"one\""), stored_at(3), false),
            (on(3, "\"one\""), refused(), true),
            (on(3, "\"two\""), refused(), false),
        ] {
            let mut tale = Tale::new();
            tale.create().call(Op::Append(append(1)), tagged(1, "\"one\""));
            tale.call(Op::Append(append(2)), tagged(2, "\"two\""))
                .call(op.clone(), ending.clone());
            assert_eq!(holds(&tale), lawful, "{op:?} {ending:?}");
        }
    }

    #[test]
    fn a_tail_that_shrinks_is_found_by_who_reads_on() {
        let mut tale = Tale::new();
        tale.create().stored(1);
        let read = |from: String| {
            Op::Read(crate::history::Read {
                from,
                local: false,
                session: 99,
                before: None,
                bootstrap: false,
                live: None,
            })
        };
        tale.call(read(offset(1)), Ending::Refused(Refusal::BeyondTail));
        assert!(!holds(&tale));
    }

    #[test]
    fn a_local_read_is_not_asked_to_be_new() {
        let mut tale = Tale::new();
        tale.create().stored(1).reads_locally(&[]);
        assert!(holds(&tale));
    }

    #[test]
    fn overlapping_calls_may_come_in_any_order() {
        let mut tale = Tale::new();
        tale.create();
        let (one, two, read) = (tale.begin_append(1), tale.begin_append(2), tale.begin_read());
        tale.end(read, Ending::Done(seen(&[2])))
            .end(one, stored_at(2))
            .end(two, stored_at(1))
            .reads(&[2, 1]);
        assert!(holds(&tale));
    }

    #[test]
    fn a_search_that_goes_too_far_does_not_pass() {
        let mut tale = Tale::new();
        tale.create();
        for number in 1..20 {
            tale.unknown(number);
        }
        tale.call(Op::Head, head(20, false));
        let verdict = judge_stream(
            &tale.history(),
            "log-0",
            Budget {
                steps: 1000,
                places: 1000,
            },
        );
        assert!(matches!(verdict, Verdict::Unknown { .. }), "{verdict:?}");
    }
}
