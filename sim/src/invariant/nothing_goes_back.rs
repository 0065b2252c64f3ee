//! The term never goes back, whatever crashes; a vote within a term never changes; commit and applied index never go back
//! within one life of a process.
//!
//! Term and vote are answered for only once they are synced (Raft, 3.8), so a restart must find them. Commit and applied
//! index may be found anew after a restart.

use std::collections::BTreeMap;

use super::{Broken, Invariant, Observation};

/// What was last seen of each replica.
#[derive(Default)]
pub struct NothingGoesBack {
    last: BTreeMap<(u32, u64), Observation>,
}

impl Invariant for NothingGoesBack {
    fn observe(&mut self, seen: &Observation) -> Result<(), Broken> {
        let Some(before) = self.last.insert((seen.group, seen.node), *seen) else {
            return Ok(());
        };
        let broken = |because: String| {
            let because = format!("group {} on n{}: {because}", seen.group, seen.node);
            Err(Broken {
                invariant: "nothing-goes-back",
                because,
            })
        };
        if seen.term < before.term {
            return broken(format!("the term went from {} to {}", before.term, seen.term));
        }
        // A vote for a loser gives way to the name of the winner, never to another vote.
        let learned = seen.elected && !before.elected;
        if seen.term == before.term && before.voted_for.is_some() && seen.voted_for != before.voted_for && !learned {
            return broken(format!(
                "in term {} the vote went from {:?} to {:?}",
                seen.term, before.voted_for, seen.voted_for
            ));
        }
        if seen.life == before.life {
            if seen.committed < before.committed {
                return broken(format!(
                    "committed went from {:?} to {:?}",
                    before.committed, seen.committed
                ));
            }
            if seen.applied < before.applied {
                return broken(format!("applied went from {:?} to {:?}", before.applied, seen.applied));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(life: u64, term: u64, voted_for: Option<u64>, committed: u64) -> Observation {
        let committed = Some((committed, term));
        Observation {
            node: 1,
            life,
            term,
            voted_for,
            committed,
            ..Observation::default()
        }
    }

    fn judge(observations: &[Observation]) -> Result<(), Broken> {
        let mut invariant = NothingGoesBack::default();
        observations.iter().try_for_each(|seen| invariant.observe(seen))
    }

    #[test]
    fn terms_rise_and_votes_are_cast_once() {
        assert_eq!(
            judge(&[at(1, 1, None, 1), at(1, 1, Some(2), 2), at(1, 2, Some(1), 2)]),
            Ok(())
        );
    }

    #[test]
    fn a_restart_may_forget_how_far_was_committed() {
        assert_eq!(judge(&[at(1, 1, Some(1), 9), at(2, 1, Some(1), 3)]), Ok(()));
    }

    #[test]
    fn a_restart_that_forgets_its_term_is_caught() {
        assert!(judge(&[at(1, 5, Some(1), 1), at(2, 4, Some(1), 1)]).is_err());
    }

    #[test]
    fn a_restart_that_votes_again_in_the_same_term_is_caught() {
        assert!(judge(&[at(1, 5, Some(1), 1), at(2, 5, Some(2), 1)]).is_err());
    }

    #[test]
    fn a_vote_for_a_loser_gives_way_to_the_winner_but_the_winner_to_nobody() {
        let elected = |voted_for| Observation {
            elected: true,
            ..at(1, 5, Some(voted_for), 1)
        };
        assert_eq!(judge(&[at(1, 5, Some(1), 1), elected(2), elected(2)]), Ok(()));
        assert!(judge(&[elected(2), elected(1)]).is_err());
        assert!(judge(&[elected(2), at(1, 5, Some(1), 1)]).is_err());
    }

    #[test]
    fn a_commit_that_goes_back_within_a_life_is_caught() {
        assert!(judge(&[at(1, 5, Some(1), 4), at(1, 5, Some(1), 3)]).is_err());
    }
}
