//! State Machine Safety: replicas that have applied the same index have applied the same (Raft, figure 3.2).

use std::collections::BTreeMap;

use super::{Broken, Invariant, Observation};

/// The digest first seen at each applied index, and whose it was.
#[derive(Default)]
pub struct SameAppliedSameDigest {
    digests: BTreeMap<(u32, u64), (u64, u64)>,
}

impl Invariant for SameAppliedSameDigest {
    fn observe(&mut self, seen: &Observation) -> Result<(), Broken> {
        let Some((index, _)) = seen.applied else { return Ok(()) };
        let (digest, by) = *self
            .digests
            .entry((seen.group, index))
            .or_insert((seen.digest, seen.node));
        if digest == seen.digest {
            return Ok(());
        }
        Err(Broken {
            invariant: "same-applied-same-digest",
            because: format!(
                "group {} at applied index {index}: n{by} has digest {digest:016x}, n{} has {:016x}",
                seen.group, seen.node, seen.digest
            ),
        })
    }

    fn comes_back(&mut self, group: u32, index: u64) {
        self.digests.retain(|(of, at), _| *of != group || *at <= index);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(node: u64, index: u64, digest: u64) -> Observation {
        Observation {
            node,
            applied: Some((index, 1)),
            digest,
            ..Observation::default()
        }
    }

    #[test]
    fn replicas_may_lag_but_agree_where_they_meet() {
        let mut invariant = SameAppliedSameDigest::default();
        for seen in [
            applied(1, 5, 50),
            applied(2, 4, 40),
            applied(2, 5, 50),
            applied(1, 6, 60),
        ] {
            assert_eq!(invariant.observe(&seen), Ok(()));
        }
    }

    #[test]
    fn a_replica_that_went_another_way_is_caught() {
        let mut invariant = SameAppliedSameDigest::default();
        assert_eq!(invariant.observe(&applied(1, 5, 50)), Ok(()));
        assert!(invariant.observe(&applied(3, 5, 51)).is_err());
    }

    #[test]
    fn a_restarted_node_that_replays_must_come_to_the_same_digest() {
        let mut invariant = SameAppliedSameDigest::default();
        assert_eq!(invariant.observe(&applied(1, 5, 50)), Ok(()));
        assert!(
            invariant
                .observe(&Observation {
                    life: 2,
                    ..applied(1, 5, 55)
                })
                .is_err()
        );
    }
}
