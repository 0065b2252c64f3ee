//! Streams that end by themselves, while the clocks that say when are wrong.
//!
//! The dangerous clock is not one that all go by. It is another node's: one that takes a stream for over while the leader
//! does not, or a new leader's that shows what was an hour ago.

use std::time::Duration;

use jepsen::workload::{appenders, mortals, readers};
use sim::fault::{Fault, Whom};

use crate::nemesis::{HurtAndMend, hurt_and_mend};
use crate::scenario::Scenario;

/// Clocks are off a little, so that one can say when a stream must be there and when not.
pub(super) fn expiry_in_time() -> Scenario {
    const OFF_MS: i64 = 200;
    let clocks = [
        Fault::ClockSkew {
            whom: Whom::LeaderOf(0),
            by_ms: OFF_MS,
        },
        Fault::ClockSkew {
            whom: Whom::LeaderOf(1),
            by_ms: -OFF_MS,
        },
        Fault::ClockSkew {
            whom: Whom::Anyone,
            by_ms: OFF_MS,
        },
        Fault::ClockSkew {
            whom: Whom::AMinority,
            by_ms: -OFF_MS,
        },
    ];
    Scenario {
        clients: vec![mortals(4), appenders(1)],
        nemeses: vec![
            Box::new(hurt_and_mend(clocks).calm_ms(200..2000).harm_ms(1000..4000)),
            Box::new(leaders_go()),
        ],
        clock_error: Some(Duration::from_millis(OFF_MS as u64)),
        ..Scenario::new("expiry-in-time")
    }
}

/// Clocks show anything: when a stream ends nobody can say, but it ends for all.
pub(super) fn expiry_under_clock_chaos() -> Scenario {
    let clocks = [
        Fault::ClockSkew {
            whom: Whom::AMinority,
            by_ms: 3_600_000,
        },
        Fault::ClockSkew {
            whom: Whom::Anyone,
            by_ms: -600_000,
        },
        Fault::ClockJump {
            whom: Whom::Anyone,
            by_ms: 3_000,
        },
        Fault::ClockJump {
            whom: Whom::LeaderOf(0),
            by_ms: 2_000,
        },
        Fault::ClockJump {
            whom: Whom::LeaderOf(1),
            by_ms: -2_000,
        },
        Fault::ClockDrift {
            whom: Whom::Anyone,
            ppm: 10_000,
        },
        Fault::ClockDrift {
            whom: Whom::LeaderOf(0),
            ppm: -10_000,
        },
    ];
    Scenario {
        clients: vec![mortals(6), appenders(1), readers(1)],
        nemeses: vec![
            Box::new(hurt_and_mend(clocks).calm_ms(200..1500).harm_ms(1000..5000)),
            Box::new(leaders_go()),
        ],
        ..Scenario::new("expiry-under-clock-chaos")
    }
}

fn leaders_go() -> HurtAndMend {
    let leaders = [
        Fault::Isolate(Whom::LeaderOf(0)),
        Fault::Crash(Whom::LeaderOf(1)),
        Fault::Freeze(Whom::LeaderOf(0)),
        Fault::Crash(Whom::Anyone),
    ];
    hurt_and_mend(leaders).calm_ms(2000..6000).harm_ms(1000..3500)
}
