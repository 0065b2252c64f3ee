//! Streams are forked while the nodes that make the forks, and the leaders of the groups concerned, are cut off and die.
//!
//! A fork is made in steps, in two groups. Between any two of them the node that takes them may go, and either group may
//! lose its leader; what is left over then must be found and cleaned up, and what is there must be whole.

use std::time::Duration;

use jepsen::workload::{appenders, forkers, readers};
use sim::cluster::Shape;
use sim::fault::{Fault, Whom};

use crate::nemesis::{hurt_and_mend, millis};
use crate::scenario::Scenario;

pub(super) fn forks_under_partitions() -> Scenario {
    let partitions = [
        Fault::Isolate(Whom::LeaderOf(0)),
        Fault::Isolate(Whom::LeaderOf(1)),
        Fault::CutOff(Whom::LeaderOf(2)),
        Fault::Split(Whom::AMinority),
        Fault::OneWay {
            from: Whom::Anyone,
            to: Whom::Everyone,
        },
    ];
    let crashes = [
        Fault::Crash(Whom::Anyone),
        Fault::Crash(Whom::LeaderOf(1)),
        Fault::PowerLoss(Whom::Anyone),
        Fault::Freeze(Whom::LeaderOf(0)),
    ];
    let mut shape = Shape::of(3, 3);
    // So that attempts are given up within the run.
    shape.config.http.request_deadline = Duration::from_secs(3);
    Scenario {
        shape,
        clients: vec![forkers(5).thinking(millis(5)..millis(150)), appenders(1), readers(1)],
        nemeses: vec![
            Box::new(hurt_and_mend(partitions).calm_ms(500..2000).harm_ms(500..3500)),
            Box::new(hurt_and_mend(crashes).calm_ms(1000..3000).harm_ms(200..1500)),
        ],
        ..Scenario::new("forks-under-partitions")
    }
}
