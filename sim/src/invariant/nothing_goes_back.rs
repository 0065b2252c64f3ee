//! The saved term never goes back, whatever crashes; a saved vote within a term never changes; within one life of a
//! process the term, commit and applied index never go back.
//!
//! Term and vote are answered for only once they are synced (Raft, 3.8), so a restart must find what was saved; a term
//! whose sync failed was nobody's business. Commit and applied index may be found anew after a restart.

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
        if let Some(before) = before.saved {
            let Some(saved) = seen.saved else {
                return broken(format!("the vote of term {} is forgotten", before.term));
            };
            if saved.term < before.term {
                return broken(format!("the saved term went from {} to {}", before.term, saved.term));
            }
            // A vote for a loser gives way to the name of the winner, never to another vote.
            let learned = saved.elected && !before.elected;
            if saved.term == before.term && saved.voted_for != before.voted_for && !learned {
                return broken(format!(
                    "in term {} the vote went from n{} to n{}",
                    saved.term, before.voted_for, saved.voted_for
                ));
            }
        }
        if seen.life == before.life {
            if seen.term < before.term {
                return broken(format!("the term went from {} to {}", before.term, seen.term));
            }
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

    fn all_lost(&mut self) {
        self.last.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::super::Ballot;
    use super::*;

    fn at(life: u64, term: u64, voted_for: u64, committed: u64) -> Observation {
        let saved = Ballot {
            term,
            voted_for,
            elected: false,
        };
        Observation {
            node: 1,
            life,
            term,
            saved: Some(saved),
            committed: Some((committed, term)),
            ..Observation::default()
        }
    }

    fn judge(observations: &[Observation]) -> Result<(), Broken> {
        let mut invariant = NothingGoesBack::default();
        observations.iter().try_for_each(|seen| invariant.observe(seen))
    }

    #[test]
    fn terms_rise_and_votes_are_cast_once() {
        assert_eq!(judge(&[at(1, 1, 2, 1), at(1, 1, 2, 2), at(1, 2, 1, 2)]), Ok(()));
    }

    #[test]
    fn a_restart_may_forget_how_far_was_committed() {
        assert_eq!(judge(&[at(1, 1, 1, 9), at(2, 1, 1, 3)]), Ok(()));
    }

    #[test]
    fn a_restart_may_forget_a_term_that_was_never_saved() {
        let ahead = Observation {
            term: 2,
            ..at(1, 1, 1, 1)
        };
        assert_eq!(judge(&[ahead, at(2, 1, 1, 1)]), Ok(()));
        assert!(judge(&[ahead, at(1, 1, 1, 1)]).is_err(), "but not within a life");
    }

    #[test]
    fn a_restart_that_forgets_its_term_is_caught() {
        assert!(judge(&[at(1, 5, 1, 1), at(2, 4, 1, 1)]).is_err());
        let nothing = Observation {
            saved: None,
            ..at(2, 5, 1, 1)
        };
        assert!(judge(&[at(1, 5, 1, 1), nothing]).is_err());
    }

    #[test]
    fn a_restart_that_votes_again_in_the_same_term_is_caught() {
        assert!(judge(&[at(1, 5, 1, 1), at(2, 5, 2, 1)]).is_err());
    }

    #[test]
    fn a_vote_for_a_loser_gives_way_to_the_winner_but_the_winner_to_nobody() {
        let elected = |voted_for| {
            let mut seen = at(1, 5, voted_for, 1);
            seen.saved = seen.saved.map(|saved| Ballot { elected: true, ..saved });
            seen
        };
        assert_eq!(judge(&[at(1, 5, 1, 1), elected(2), elected(2)]), Ok(()));
        assert!(judge(&[elected(2), elected(1)]).is_err());
        assert!(judge(&[elected(2), at(1, 5, 1, 1)]).is_err());
    }

    #[test]
    fn a_commit_that_goes_back_within_a_life_is_caught() {
        assert!(judge(&[at(1, 5, 1, 4), at(1, 5, 1, 3)]).is_err());
    }
}
