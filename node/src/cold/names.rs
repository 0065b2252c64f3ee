//! What a leader calls its objects, and of which of them the log may yet hear.
//!
//! Each leader counts in its own term, so no two choose the same name. An object that was put, or is being put, and that
//! nothing refers to yet, must not be taken for a dead one while a command that speaks of it may still come. A name is
//! open from before the put until the log's answer; after an answer that nobody heard it is doubtful until something that
//! was told behind it is answered.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use net::dice::Stream;
use rand::Rng;

use crate::keys::ObjectId;

/// The names of this node, of all groups that it leads. Clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct Names(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    chance: Stream,
    groups: BTreeMap<u32, OfTerm>,
}

/// Those of one group in one term.
#[derive(Debug, Default)]
struct OfTerm {
    term: u64,
    next: u64,
    open: BTreeSet<ObjectId>,
    doubtful: BTreeSet<ObjectId>,
}

/// A name that nobody else has, while the log may hear of its object. Dropped without a word, it becomes doubtful.
#[derive(Debug)]
pub(super) struct Name {
    names: Names,
    group: u32,
    pub(super) object: ObjectId,
    /// A number by which its writer knows the object again.
    pub(super) nonce: u64,
    known: bool,
}

impl Names {
    /// No names yet. Numbers that tell objects apart are thrown with `chance`.
    pub(crate) fn new(chance: Stream) -> Self {
        let groups = BTreeMap::new();
        Self(Arc::new(Mutex::new(State { chance, groups })))
    }

    /// The next name of a group that this node leads in this term; none if it has led in a later one since.
    pub(super) fn open(&self, group: u32, term: u64) -> Option<Name> {
        let mut state = self.state();
        let State { chance, groups } = &mut *state;
        let of_term = groups.entry(group).or_default();
        if of_term.term < term {
            *of_term = OfTerm {
                term,
                ..OfTerm::default()
            };
        } else if of_term.term > term {
            return None;
        }
        let object = ObjectId {
            term,
            sequence: of_term.next,
        };
        of_term.next += 1;
        of_term.open.insert(object);
        Some(Name {
            names: self.clone(),
            group,
            object,
            nonce: chance.next_u64(),
            known: false,
        })
    }

    /// The objects of this term that the log may yet hear of.
    pub(super) fn unsettled(&self, group: u32, term: u64) -> BTreeSet<ObjectId> {
        self.of_term(group, term, |of_term| &of_term.open | &of_term.doubtful)
    }

    /// The objects of this term that the log was told of, and nobody knows whether it heard.
    pub(super) fn doubtful(&self, group: u32, term: u64) -> BTreeSet<ObjectId> {
        self.of_term(group, term, |of_term| of_term.doubtful.clone())
    }

    /// What was told before these were no longer open has been applied, or never will be.
    pub(super) fn settled(&self, group: u32, doubtful: &BTreeSet<ObjectId>) {
        if let Some(of_term) = self.state().groups.get_mut(&group) {
            of_term.doubtful.retain(|object| !doubtful.contains(object));
        }
    }

    /// Some of what was said in this term; nothing if that was another.
    fn of_term(&self, group: u32, term: u64, some: impl FnOnce(&OfTerm) -> BTreeSet<ObjectId>) -> BTreeSet<ObjectId> {
        let state = self.state();
        let of_term = state.groups.get(&group).filter(|of_term| of_term.term == term);
        of_term.map_or_else(BTreeSet::new, some)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Name {
    /// The log's answer has been heard, or it was told nothing.
    pub(super) fn close(mut self) {
        self.known = true;
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        let mut state = self.names.state();
        if let Some(of_term) = state.groups.get_mut(&self.group)
            && of_term.open.remove(&self.object)
            && !self.known
        {
            of_term.doubtful.insert(self.object);
        }
    }
}

#[cfg(test)]
mod tests {
    use net::dice::Dice;

    use super::*;

    fn names() -> Names {
        Names::new(Dice::from_seed(1).stream("names"))
    }

    fn object(term: u64, sequence: u64) -> ObjectId {
        ObjectId { term, sequence }
    }

    #[test]
    fn each_name_is_given_once_in_a_term_and_a_later_term_counts_anew() {
        let names = names();
        let given: Vec<ObjectId> = [(3, 7), (3, 7), (4, 7), (3, 8)]
            .iter()
            .map(|(group, term)| names.open(*group, *term).expect("a name").object)
            .collect();
        assert_eq!(given, [object(7, 0), object(7, 1), object(7, 0), object(8, 0)]);
        assert!(names.open(3, 7).is_none(), "who led then leads no longer");
    }

    #[test]
    fn a_name_is_unsettled_until_it_is_closed_and_doubtful_when_it_is_dropped() {
        let names = names();
        let (closed, dropped) = (names.open(0, 1).expect("a name"), names.open(0, 1).expect("a name"));
        assert_eq!(names.unsettled(0, 1), BTreeSet::from([object(1, 0), object(1, 1)]));
        assert_eq!(names.doubtful(0, 1), BTreeSet::new());
        closed.close();
        drop(dropped);
        assert_eq!(names.unsettled(0, 1), BTreeSet::from([object(1, 1)]));
        let doubtful = names.doubtful(0, 1);
        let open = names.open(0, 1).expect("a name");
        drop(names.open(0, 1));
        names.settled(0, &doubtful);
        assert_eq!(names.unsettled(0, 1), BTreeSet::from([object(1, 2), object(1, 3)]));
        open.close();
        assert_eq!(names.unsettled(0, 2), BTreeSet::new(), "nothing was said in that term");
    }

    #[test]
    fn what_is_left_of_an_earlier_term_says_nothing_about_this_one() {
        let names = names();
        let old = names.open(0, 1).expect("a name");
        let new = names.open(0, 2).expect("a name");
        drop(old);
        assert_eq!(names.unsettled(0, 2), BTreeSet::from([new.object]));
    }
}
