//! Exactly-once appends: who may write next, and what is a repeat.
//!
//! PROTOCOL.md 5.2.1. The order of the arms below is the order of the rules there; that an unknown producer must start
//! at 0 is our reading, the pseudo-code there begins with a known one.

use std::cmp::Ordering;

use super::command::ProducerTuple;
use super::row::Claim;

/// What the rules say about a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ruling {
    /// New bytes: append them, and remember the claim in the same step.
    Accept,
    /// Stored before; say so again and append nothing.
    Repeat { last: Claim },
    /// An older life of this producer is still talking.
    Fenced { epoch: u64 },
    /// Something between the last append and this one is missing.
    Gap { expected: u64 },
    /// A new life starts at sequence zero.
    MustStartAtZero,
}

/// Judges a claim against the last one accepted.
pub(super) fn judge(last: Option<&Claim>, claim: &ProducerTuple) -> Ruling {
    let Some(last) = last else {
        return if claim.seq == 0 {
            Ruling::Accept
        } else {
            Ruling::MustStartAtZero
        };
    };
    let expected = last.seq.saturating_add(1);
    match claim.epoch.cmp(&last.epoch) {
        Ordering::Less => Ruling::Fenced { epoch: last.epoch },
        Ordering::Greater if claim.seq == 0 => Ruling::Accept,
        Ordering::Greater => Ruling::MustStartAtZero,
        Ordering::Equal if claim.seq <= last.seq => Ruling::Repeat { last: *last },
        Ordering::Equal if claim.seq == expected => Ruling::Accept,
        Ordering::Equal => Ruling::Gap { expected },
    }
}
