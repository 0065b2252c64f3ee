//! Election Safety: at most one leader can be elected in a given term (Raft, figure 3.2).

use std::collections::BTreeMap;

use super::{Broken, Invariant, Observation};

/// Who was seen leading, by group and term.
#[derive(Default)]
pub struct OneLeaderPerTerm {
    leaders: BTreeMap<(u32, u64), u64>,
}

impl Invariant for OneLeaderPerTerm {
    fn observe(&mut self, seen: &Observation) -> Result<(), Broken> {
        if !seen.leads {
            return Ok(());
        }
        let first = *self.leaders.entry((seen.group, seen.term)).or_insert(seen.node);
        if first == seen.node {
            return Ok(());
        }
        Err(Broken {
            invariant: "one-leader-per-term",
            because: format!(
                "group {} term {} is led by n{first} and by n{}",
                seen.group, seen.term, seen.node
            ),
        })
    }

    fn all_lost(&mut self) {
        // A term in which somebody led and wrote nothing down is forgotten with him.
        self.leaders.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leads(node: u64, term: u64) -> Observation {
        Observation {
            node,
            term,
            leads: true,
            ..Observation::default()
        }
    }

    #[test]
    fn a_leader_may_lead_for_long_and_be_followed_by_another_in_a_later_term() {
        let mut invariant = OneLeaderPerTerm::default();
        for seen in [leads(1, 1), leads(1, 1), leads(2, 2), leads(1, 3)] {
            assert_eq!(invariant.observe(&seen), Ok(()));
        }
    }

    #[test]
    fn two_leaders_in_one_term_are_caught_even_long_apart() {
        let mut invariant = OneLeaderPerTerm::default();
        assert_eq!(invariant.observe(&leads(1, 1)), Ok(()));
        assert_eq!(invariant.observe(&leads(2, 2)), Ok(()));
        assert!(invariant.observe(&leads(2, 1)).is_err());
    }

    #[test]
    fn the_same_term_in_another_group_is_another_election() {
        let mut invariant = OneLeaderPerTerm::default();
        assert_eq!(invariant.observe(&leads(1, 1)), Ok(()));
        assert_eq!(
            invariant.observe(&Observation {
                group: 1,
                ..leads(2, 1)
            }),
            Ok(())
        );
    }
}
