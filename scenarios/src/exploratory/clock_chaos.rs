//! Wall clocks are wrong, run wrong, and jump: time stamps may suffer, nothing else.
//!
//! Clocks that drift move the lease of a leader, too; a lease must bear what the quartz of a machine does.

use jepsen::workload::{appenders, heads, producers, readers, sequenced};
use sim::fault::{Fault, Whom};

use crate::nemesis::hurt_and_mend;
use crate::scenario::Scenario;

pub(super) fn clock_chaos() -> Scenario {
    let hurts = [
        Fault::ClockSkew {
            whom: Whom::Anyone,
            by_ms: 600_000,
        },
        Fault::ClockSkew {
            whom: Whom::AMinority,
            by_ms: -600_000,
        },
        Fault::ClockJump {
            whom: Whom::LeaderOf(0),
            by_ms: 86_400_000,
        },
        Fault::ClockJump {
            whom: Whom::LeaderOf(0),
            by_ms: -3_000,
        },
        Fault::ClockDrift {
            whom: Whom::Anyone,
            ppm: 10_000,
        },
        Fault::ClockDrift {
            whom: Whom::LeaderOf(1),
            ppm: -10_000,
        },
        Fault::ClockDrift {
            whom: Whom::Everyone,
            ppm: 500,
        },
    ];
    let leaders = [
        Fault::Isolate(Whom::LeaderOf(0)),
        Fault::Crash(Whom::LeaderOf(1)),
        Fault::Freeze(Whom::LeaderOf(0)),
    ];
    Scenario {
        clients: vec![appenders(3), producers(2), readers(2), heads(2), sequenced(2)],
        nemeses: vec![
            Box::new(hurt_and_mend(hurts).calm_ms(200..2000).harm_ms(1000..6000)),
            Box::new(hurt_and_mend(leaders).calm_ms(2000..5000).harm_ms(1000..3500)),
        ],
        ..Scenario::new("clock-chaos")
    }
}
