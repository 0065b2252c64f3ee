//! Slow links, lost answers, reset connections, and processes that stand still for a while.
//!
//! What is lost here is mostly the answer to something that was done: the clients' retries are under test.

use std::time::Duration;

use jepsen::workload::{appenders, closers, producers, readers, recreators, zombies};
use sim::fault::{Fault, Whom};

use crate::nemesis::{hurt_and_mend, millis};
use crate::scenario::Scenario;

pub(super) fn rough_network() -> Scenario {
    let long = |whom| Fault::SlowLink {
        whom,
        to: None,
        delay: millis(80),
        jitter: millis(150),
    };
    let hurts = [
        long(Whom::Everyone),
        long(Whom::LeaderOf(0)),
        Fault::LossyLink {
            whom: Whom::Everyone,
            loss_ppm: 5_000,
            reset_ppm: 1_000,
        },
        Fault::LossyLink {
            whom: Whom::Anyone,
            loss_ppm: 50_000,
            reset_ppm: 10_000,
        },
        Fault::Mute(Whom::Anyone),
        Fault::Freeze(Whom::Anyone),
        Fault::Freeze(Whom::AMinority),
    ];
    let resets = [
        Fault::ResetConnections(Whom::Anyone),
        Fault::ResetConnections(Whom::Everyone),
    ];
    let mut scenario = Scenario {
        clients: vec![
            appenders(2),
            producers(4),
            zombies(3),
            readers(2),
            closers(2),
            recreators(1),
        ],
        nemeses: vec![
            Box::new(hurt_and_mend(hurts).calm_ms(300..2000).harm_ms(500..4000)),
            Box::new(hurt_and_mend(resets).calm_ms(100..1500)),
        ],
        ..Scenario::new("rough-network")
    };
    scenario.net.link.jitter = Duration::from_millis(2);
    scenario
}
