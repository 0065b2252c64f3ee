//! Along a log the terms never fall, and the log reaches what is committed.
//!
//! Ongaro's dissertation, lemma A.2 ("the terms of a log's entries grow monotonically"). A replaced tail that comes back
//! after a restart shows here first: behind the new entries stand old ones of a lower term, so the node believes its log
//! to be older than it is, and gives its vote away to whoever lacks what it has.

use super::{Broken, Invariant, Observation};

/// Looks at each observation by itself.
#[derive(Default)]
pub struct LogTermsGrow;

impl Invariant for LogTermsGrow {
    fn observe(&mut self, seen: &Observation) -> Result<(), Broken> {
        let broken = |because: String| {
            let because = format!("group {} on n{}: {because}", seen.group, seen.node);
            Err(Broken {
                invariant: "log-terms-grow",
                because,
            })
        };
        if let Some((index, before, after)) = seen.term_falls {
            return broken(format!(
                "entry {index} has term {after} and follows an entry of term {before}"
            ));
        }
        let (Some((last, last_term)), Some((committed, term))) = (seen.last_log, seen.committed) else {
            return Ok(());
        };
        if last < committed || last_term < term {
            return broken(format!(
                "the log ends at {last} of term {last_term}, but {committed} of term {term} is committed"
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(last: (u64, u64), committed: (u64, u64)) -> Observation {
        Observation {
            last_log: Some(last),
            committed: Some(committed),
            ..Observation::default()
        }
    }

    #[test]
    fn a_log_that_goes_on_behind_what_is_committed_is_lawful() {
        let mut invariant = LogTermsGrow;
        assert_eq!(invariant.observe(&Observation::default()), Ok(()));
        assert_eq!(invariant.observe(&log((5, 2), (5, 2))), Ok(()));
        assert_eq!(invariant.observe(&log((9, 3), (5, 2))), Ok(()));
    }

    #[test]
    fn a_tail_of_an_older_term_than_the_committed_is_caught() {
        assert!(LogTermsGrow.observe(&log((9, 1), (5, 2))).is_err());
    }

    #[test]
    fn a_log_that_lacks_the_committed_is_caught() {
        assert!(LogTermsGrow.observe(&log((4, 2), (5, 2))).is_err());
    }

    #[test]
    fn a_term_that_falls_within_the_log_is_caught() {
        let seen = Observation {
            term_falls: Some((7, 3, 2)),
            ..Observation::default()
        };
        assert!(LogTermsGrow.observe(&seen).is_err());
    }
}
