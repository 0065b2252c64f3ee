//! What harm comes next, and when: pure, so that a schedule can also be a list read from a file.
//!
//! A nemesis names roles; who that is, the world settles at the moment of the blow.

use std::time::Duration;

use rand::Rng;
use sim::fault::Fault;

mod hurt_and_mend;
mod rolling_restart;
mod script;
mod sequence;

pub use hurt_and_mend::{HurtAndMend, hurt_and_mend};
pub use rolling_restart::RollingRestart;
pub use script::Script;
pub use sequence::Sequence;

/// A fault, and how long to wait before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blow {
    /// Since the blow before.
    pub after: Duration,
    /// What is struck.
    pub fault: Fault,
}

/// Somebody who strikes.
pub trait Nemesis: Send {
    /// The next blow. `None`: no more, ever.
    fn next(&mut self, dice: &mut dyn Rng) -> Option<Blow>;
}

/// Milliseconds, for schedules.
pub(crate) const fn millis(ms: u64) -> Duration {
    Duration::from_millis(ms)
}
