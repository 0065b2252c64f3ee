//! What is committed is on the synced disks of a majority: Holdfast's first promise, seen from the disks' side.
//!
//! A node's own word does not count here. The world reads what each false disk would still hold after a power cut at
//! this moment and hands the entries found there to [`committed_is_on_a_majority`].

use std::collections::BTreeMap;

use super::Broken;

/// What the synced part of one node's disk holds of one group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Durable {
    /// Index → term of every entry there.
    pub entries: BTreeMap<u64, u64>,
    /// Entries up to here are not in the log any more: they are covered by what was purged or by an installed snapshot.
    pub covered_to: u64,
}

impl Durable {
    fn holds(&self, index: u64, term: u64) -> bool {
        index <= self.covered_to || self.entries.get(&index) == Some(&term)
    }
}

/// Judges one committed entry of one group.
///
/// # Errors
/// When fewer than a majority of `disks` hold it.
pub fn committed_is_on_a_majority(group: u32, index: u64, term: u64, disks: &[Durable]) -> Result<(), Broken> {
    let holding = disks.iter().filter(|disk| disk.holds(index, term)).count();
    if holding > disks.len() / 2 {
        return Ok(());
    }
    Err(Broken {
        invariant: "committed-is-on-a-majority",
        because: format!(
            "group {group} index {index} term {term} is committed and on the synced disks of {holding} of {} nodes",
            disks.len()
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(entries: &[(u64, u64)], covered_to: u64) -> Durable {
        Durable {
            entries: entries.iter().copied().collect(),
            covered_to,
        }
    }

    #[test]
    fn two_of_three_are_enough() {
        let disks = [
            disk(&[(1, 1), (2, 1)], 0),
            disk(&[(1, 1), (2, 1)], 0),
            disk(&[(1, 1)], 0),
        ];
        assert_eq!(committed_is_on_a_majority(0, 2, 1, &disks), Ok(()));
    }

    #[test]
    fn one_of_three_is_not() {
        let disks = [disk(&[(1, 1), (2, 1)], 0), disk(&[(1, 1)], 0), disk(&[(1, 1)], 0)];
        assert!(committed_is_on_a_majority(0, 2, 1, &disks).is_err());
    }

    #[test]
    fn another_entry_at_the_same_index_does_not_count() {
        let disks = [disk(&[(2, 1)], 0), disk(&[(2, 2)], 0), disk(&[(2, 3)], 0)];
        assert!(committed_is_on_a_majority(0, 2, 1, &disks).is_err());
    }

    #[test]
    fn what_was_purged_was_covered_by_a_snapshot() {
        let disks = [disk(&[], 5), disk(&[(2, 1)], 0), disk(&[], 0)];
        assert_eq!(committed_is_on_a_majority(0, 2, 1, &disks), Ok(()));
    }

    #[test]
    fn half_of_four_is_not_a_majority() {
        let disks = [disk(&[(1, 1)], 0), disk(&[(1, 1)], 0), disk(&[], 0), disk(&[], 0)];
        assert!(committed_is_on_a_majority(0, 1, 1, &disks).is_err());
    }
}
