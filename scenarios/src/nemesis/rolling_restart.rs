//! One node after the other is told to end and started again, as in an upgrade.

use std::ops::Range;
use std::time::Duration;

use rand::Rng;
use sim::fault::{Fault, Whom};

use super::hurt_and_mend::throw;
use super::{Blow, Nemesis, millis};

/// Round after round over all nodes.
#[derive(Clone, Debug)]
pub struct RollingRestart {
    nodes: u32,
    /// How long a node is down; it has been told to end before, and drains within this time.
    down: Range<Duration>,
    /// How long it may run before the next goes down.
    up: Range<Duration>,
    steps: u32,
}

impl RollingRestart {
    /// Over nodes 1 to `nodes`.
    #[must_use]
    pub fn of(nodes: u32) -> Self {
        Self {
            nodes,
            down: millis(1000)..millis(3500),
            up: millis(300)..millis(2500),
            steps: 0,
        }
    }
}

impl Nemesis for RollingRestart {
    fn next(&mut self, dice: &mut dyn Rng) -> Option<Blow> {
        let whom = Whom::node(self.steps / 2 % self.nodes + 1);
        let goes_down = self.steps.is_multiple_of(2);
        self.steps += 1;
        Some(if goes_down {
            Blow {
                after: throw(dice, &self.up),
                fault: Fault::Stop(whom),
            }
        } else {
            Blow {
                after: throw(dice, &self.down),
                fault: Fault::Restart(whom),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use net::dice::Dice;

    #[test]
    fn each_node_goes_down_and_comes_back_in_turn() {
        let (mut nemesis, mut dice) = (RollingRestart::of(2), Dice::from_seed(1).stream("test"));
        let words: Vec<String> = (0..5)
            .filter_map(|_| nemesis.next(&mut dice))
            .map(|blow| blow.fault.to_string())
            .collect();
        assert_eq!(words, ["stop n1", "restart n1", "stop n2", "restart n2", "stop n1"]);
    }
}
