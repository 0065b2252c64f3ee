//! Is there an order of the calls, true to real time, in which every answer is lawful?
//!
//! The search of Wing and Gong with Lowe's memory of places already visited, one stream at a time (streams do not know
//! of one another: P-compositionality). Three things make it quick, none changes the verdict: a call that is lawful
//! and changes nothing is taken at once, for it can stand in nobody's way; a record that was read tells what lay
//! before it, so it is tried only there; what follows a content that was read on is known, so nothing else is tried.

use rustc_hash::{FxHashMap, FxHashSet};

use crate::history::History;
use crate::model::{Call, Calls, Effect, State};
use crate::record::{Content, Tag, mix};
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
            steps: 20_000_000,
            places: 2_000_000,
        }
    }
}

/// Judges every stream of the history, with the default budget.
#[must_use]
pub fn linearizable(history: &History) -> Verdict {
    let mut doubt = Verdict::Holds;
    for stream in history.streams() {
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
    let calls = Calls::of(history, stream);
    let known = Known::of(history, stream);
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

/// What the reads tell about which record lies where.
#[derive(Debug, Default)]
struct Known {
    before: FxHashMap<Tag, Content>,
    next: FxHashMap<Content, Tag>,
}

impl Known {
    fn of(history: &History, stream: &str) -> Self {
        let mut known = Self::default();
        let lives_once = !history.may_have_been_deleted(stream);
        for (read, seen) in history.of(stream).filter_map(|event| event.seen()) {
            // A local read is no call of the search, so it must not steer it either.
            let counts = !read.local && (lives_once || read.begins());
            let Some(mut content) = read.before.filter(|_| counts) else {
                continue;
            };
            for tag in &seen.tags {
                known.before.entry(*tag).or_insert(content);
                known.next.entry(content).or_insert(*tag);
                content = content.then(*tag);
            }
        }
        known
    }

    /// Whether the record may come here. The empty content is not one place: a stream may have several lives.
    fn allows(&self, state: &State, call: &Call) -> bool {
        let Some(tag) = call.appends() else { return true };
        match self.before.get(&tag) {
            Some(before) => *before == state.content,
            None => state.content == Content::default() || !self.next.contains_key(&state.content),
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
