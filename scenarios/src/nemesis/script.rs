//! A literal list of blows: a failure of yesterday, struck again.

use std::collections::VecDeque;
use std::time::Duration;

use rand::Rng;
use sim::fault::Fault;

use super::{Blow, Nemesis};

/// Strikes what is written, when it is written.
#[derive(Clone, Debug)]
pub struct Script {
    blows: VecDeque<(Duration, Fault)>,
    now: Duration,
}

impl Script {
    /// Moments since the storm began, in their order.
    #[must_use]
    pub fn new(blows: impl IntoIterator<Item = (Duration, Fault)>) -> Self {
        Self {
            blows: blows.into_iter().collect(),
            now: Duration::ZERO,
        }
    }
}

impl Nemesis for Script {
    fn next(&mut self, _: &mut dyn Rng) -> Option<Blow> {
        let (at, fault) = self.blows.pop_front()?;
        let after = at.saturating_sub(self.now);
        self.now = self.now.max(at);
        Some(Blow { after, fault })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use net::dice::Dice;

    #[test]
    fn moments_become_waits() {
        let at = |ms| (Duration::from_millis(ms), Fault::Heal);
        let (mut script, mut dice) = (Script::new([at(10), at(25), at(25)]), Dice::from_seed(1).stream("test"));
        let waits: Vec<u128> = std::iter::from_fn(|| script.next(&mut dice))
            .map(|blow| blow.after.as_millis())
            .collect();
        assert_eq!(waits, [10, 15, 0]);
    }
}
