//! A follower was away for so long that the others have dropped what it lacks: only a snapshot helps.
//!
//! The crash that falls while the snapshot is received is the point: half of it must not count.

use jepsen::workload::{appenders, closers, producers, readers, recreators, zombies};
use sim::fault::{Fault, Whom};

use crate::nemesis::{hurt_and_mend, millis};
use crate::scenario::Scenario;

pub(super) fn snapshot_catch_up() -> Scenario {
    let away = [
        Fault::Crash(Whom::FollowerOf(0)),
        Fault::PowerLoss(Whom::FollowerOf(1)),
        Fault::CutOff(Whom::FollowerOf(0)),
        Fault::Freeze(Whom::FollowerOf(1)),
    ];
    let blinks = [
        Fault::PowerLoss(Whom::Anyone),
        Fault::Crash(Whom::Anyone),
        Fault::ResetConnections(Whom::Anyone),
    ];
    let busy = |workload: jepsen::workload::Workload| workload.thinking(millis(5)..millis(150));
    let mut scenario = Scenario {
        clients: vec![
            busy(appenders(3)),
            busy(producers(3)),
            zombies(2),
            readers(2),
            closers(1),
            recreators(1),
        ],
        nemeses: vec![
            Box::new(hurt_and_mend(away).calm_ms(200..2500).harm_ms(3000..8000)),
            Box::new(hurt_and_mend(blinks).calm_ms(2000..6000).harm_ms(50..600)),
        ],
        ..Scenario::new("snapshot-catch-up")
    };
    scenario.shape.config.raft.snapshot_entries = 30;
    scenario.shape.config.raft.keep_entries = 5;
    scenario.shape.config.raft.snapshot_chunk = 4 << 10;
    scenario
}
