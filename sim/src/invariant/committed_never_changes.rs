//! An index, once committed, is committed with that term for ever, on whichever node one asks.
//!
//! Log Matching and Leader Completeness (Raft, figure 3.2) as far as they can be seen from outside: two logs that agree in
//! index and term at a committed entry agree in everything before it, so the pair is enough.

use std::collections::BTreeMap;

use super::{Broken, Invariant, Observation};

/// The term with which each index was first seen committed, and by whom.
#[derive(Default)]
pub struct CommittedNeverChanges {
    terms: BTreeMap<(u32, u64), (u64, u64)>,
}

impl Invariant for CommittedNeverChanges {
    fn observe(&mut self, seen: &Observation) -> Result<(), Broken> {
        for (index, term) in [seen.committed, seen.applied].into_iter().flatten() {
            let (first, by) = *self.terms.entry((seen.group, index)).or_insert((term, seen.node));
            if first != term {
                return Err(Broken {
                    invariant: "committed-never-changes",
                    because: format!(
                        "group {} index {index} was committed with term {first} on n{by} and with term {term} on n{}",
                        seen.group, seen.node
                    ),
                });
            }
        }
        Ok(())
    }

    fn comes_back(&mut self, group: u32, index: u64) {
        self.terms.retain(|(of, at), _| *of != group || *at <= index);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn committed(node: u64, index: u64, term: u64) -> Observation {
        Observation {
            node,
            committed: Some((index, term)),
            ..Observation::default()
        }
    }

    #[test]
    fn nodes_may_learn_of_the_same_commit_one_after_the_other() {
        let mut invariant = CommittedNeverChanges::default();
        for seen in [
            committed(1, 5, 2),
            committed(2, 5, 2),
            committed(3, 4, 2),
            committed(1, 6, 3),
        ] {
            assert_eq!(invariant.observe(&seen), Ok(()));
        }
    }

    #[test]
    fn another_term_at_a_committed_index_is_caught() {
        let mut invariant = CommittedNeverChanges::default();
        assert_eq!(invariant.observe(&committed(1, 5, 2)), Ok(()));
        assert!(invariant.observe(&committed(2, 5, 3)).is_err());
    }

    #[test]
    fn what_was_applied_was_committed() {
        let mut invariant = CommittedNeverChanges::default();
        assert_eq!(invariant.observe(&committed(1, 5, 2)), Ok(()));
        let applied = Observation {
            node: 2,
            applied: Some((5, 1)),
            ..Observation::default()
        };
        assert!(invariant.observe(&applied).is_err());
    }
}
