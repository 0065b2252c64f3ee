//! Disks that are slow, and disks that fail.
//!
//! After an error from a sync nothing may be assumed of what was written: the node ends rather than guess. A bit that
//! flips on its way from the disk is noticed, never served.

use jepsen::workload::{appenders, closers, producers, readers, recreators};
use sim::fault::{Fault, Whom};

use crate::nemesis::{hurt_and_mend, millis};
use crate::scenario::Scenario;

pub(super) fn slow_disk() -> Scenario {
    let slow = |whom, ms| Fault::SlowDisk { whom, by: millis(ms) };
    let hurts = [
        slow(Whom::LeaderOf(0), 20),
        slow(Whom::AMinority, 150),
        slow(Whom::Everyone, 30),
        slow(Whom::FollowerOf(0), 500),
        Fault::SlowIndexFlush {
            whom: Whom::Everyone,
            by: millis(2000),
        },
    ];
    let crashes = [Fault::PowerLoss(Whom::Anyone), Fault::Crash(Whom::LeaderOf(1))];
    Scenario {
        clients: vec![appenders(3), producers(2), readers(2), recreators(1)],
        nemeses: vec![
            Box::new(hurt_and_mend(hurts).harm_ms(1000..6000)),
            Box::new(hurt_and_mend(crashes).calm_ms(2000..7000).harm_ms(100..2000)),
        ],
        ..Scenario::new("slow-disk")
    }
}

pub(super) fn failing_disk() -> Scenario {
    // One at a time: beyond what a majority can repair the promise is only to say so and stop.
    let hurts = [
        Fault::FailSync {
            whom: Whom::Anyone,
            once: true,
        },
        Fault::FailSync {
            whom: Whom::LeaderOf(0),
            once: true,
        },
        Fault::FailSync {
            whom: Whom::FollowerOf(0),
            once: false,
        },
        Fault::FullDisk(Whom::Anyone),
        Fault::FlipBitOnRead(Whom::Anyone),
        Fault::FlipBitOnRead(Whom::LeaderOf(0)),
    ];
    let crash = [Fault::Crash(Whom::Anyone)];
    let mut scenario = Scenario {
        clients: vec![appenders(3), producers(2), readers(4), closers(1)],
        nemeses: vec![
            Box::new(hurt_and_mend(hurts).calm_ms(500..2500).harm_ms(500..3000)),
            Box::new(hurt_and_mend(crash).calm_ms(3000..9000).harm_ms(100..1000)),
        ],
        ..Scenario::new("failing-disk")
    };
    // Reads must reach the disk for a flipped bit to be met.
    scenario.shape.config.cache.tail = 8 << 10;
    scenario
}
