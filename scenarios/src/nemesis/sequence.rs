//! Blows that belong together, in their order, again and again: some traps open only to two steps at the right distance.

use std::ops::Range;
use std::time::Duration;

use rand::{Rng, RngExt};
use sim::fault::Fault;

use super::hurt_and_mend::throw;
use super::{Blow, Nemesis, millis};

/// Steps, each with how long to wait before it and the faults of which the dice pick one.
#[derive(Clone, Debug, Default)]
pub struct Sequence {
    steps: Vec<(Range<Duration>, Vec<Fault>)>,
    next: usize,
}

impl Sequence {
    /// One more step, so many milliseconds after the one before.
    #[must_use]
    pub fn then(mut self, after_ms: Range<u64>, one_of: impl Into<Vec<Fault>>) -> Self {
        self.steps
            .push((millis(after_ms.start)..millis(after_ms.end), one_of.into()));
        self
    }
}

impl Nemesis for Sequence {
    fn next(&mut self, dice: &mut dyn Rng) -> Option<Blow> {
        let (after, one_of) = self.steps.get(self.next)?;
        self.next = (self.next + 1) % self.steps.len();
        let fault = one_of.get(dice.random_range(0..one_of.len().max(1)))?.clone();
        Some(Blow {
            after: throw(dice, after),
            fault,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use net::dice::Dice;

    #[test]
    fn the_steps_come_in_their_order_again_and_again() {
        let mut nemesis = Sequence::default()
            .then(10..20, [Fault::Heal])
            .then(0..1, [Fault::Mend]);
        let mut dice = Dice::from_seed(1).stream("test");
        let words: Vec<String> = (0..4)
            .filter_map(|_| nemesis.next(&mut dice))
            .map(|blow| blow.fault.to_string())
            .collect();
        assert_eq!(words, ["heal", "mend", "heal", "mend"]);
    }

    #[test]
    fn nothing_is_no_sequence() {
        assert_eq!(Sequence::default().next(&mut Dice::from_seed(1).stream("test")), None);
    }
}
