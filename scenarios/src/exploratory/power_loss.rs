//! Machines lose power, and with it what they had not synced: any prefix of a file, any subset of files, torn anywhere.

use jepsen::workload::{appenders, closers, producers, readers, recreators, sequenced};
use sim::fault::{Fault, Whom};

use crate::nemesis::{hurt_and_mend, millis};
use crate::scenario::Scenario;

pub(super) fn power_loss_one() -> Scenario {
    let hurts = [
        Fault::PowerLoss(Whom::Anyone),
        Fault::PowerLoss(Whom::LeaderOf(0)),
        Fault::PowerLoss(Whom::FollowerOf(0)),
        Fault::Crash(Whom::Anyone),
    ];
    // A slow index loses more than a quick one, and recovery has more to replay.
    let slow = Fault::SlowIndexFlush {
        whom: Whom::Anyone,
        by: millis(3000),
    };
    Scenario {
        clients: vec![appenders(3), producers(3), readers(2), closers(1), recreators(1)],
        nemeses: vec![
            Box::new(hurt_and_mend(hurts).calm_ms(300..2500).harm_ms(100..2500)),
            Box::new(hurt_and_mend([slow]).harm_ms(4000..8000)),
        ],
        ..Scenario::new("power-loss-one")
    }
}

pub(super) fn power_loss_all() -> Scenario {
    // Sometimes a second blow falls while the first is still being recovered from.
    let hurts = [
        Fault::PowerLoss(Whom::Everyone),
        Fault::PowerLoss(Whom::Everyone),
        Fault::Crash(Whom::Everyone),
        Fault::PowerLoss(Whom::AMinority),
    ];
    // Slow disks make the moment between a write and its sync long enough for a blow to fall into it.
    let slow = Fault::SlowDisk {
        whom: Whom::Everyone,
        by: millis(25),
    };
    Scenario {
        clients: vec![appenders(3), producers(3), readers(2), sequenced(1), closers(1)],
        nemeses: vec![
            Box::new(hurt_and_mend(hurts).calm_ms(50..5000).harm_ms(50..1500)),
            Box::new(hurt_and_mend([slow]).calm_ms(500..2000).harm_ms(1500..4000)),
        ],
        ..Scenario::new("power-loss-all")
    }
}
