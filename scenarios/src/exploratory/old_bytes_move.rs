//! Bytes move to the cold store a moment after they were written, while leaders change and the store is slow, out, forgetful
//! or lies; readers go where the bytes are and see one stream.
//!
//! The dangerous moments: a leader that is deposed while it uploads; a put whose answer is lost; a power loss between the
//! upload and the word of it in the log; a sweep while somebody still reads; a snapshot of rows that point to objects.

use std::time::Duration;

use jepsen::workload::{
    Kind, Workload, appenders, forkers, keepers, mortal_snapshotters, producers, readers, recreators, snapshotters,
    tailers,
};
use net::dice::Dice;
use rand::RngExt;
use sim::fault::{Fault, Whom};

use crate::nemesis::{hurt_and_mend, millis};
use crate::scenario::{Lost, Scenario};

pub(super) fn old_bytes_move(dice: &Dice) -> Scenario {
    let throw = &mut dice.stream("old bytes");
    let hurts = [
        Fault::Isolate(Whom::LeaderOf(0)),
        Fault::Crash(Whom::LeaderOf(1)),
        Fault::PowerLoss(Whom::LeaderOf(0)),
        Fault::PowerLoss(Whom::Everyone),
        Fault::Freeze(Whom::LeaderOf(0)),
        Fault::Stop(Whom::FollowerOf(0)),
    ];
    let busy = |workload: Workload| workload.thinking(millis(10)..millis(150));
    let mut clients = vec![busy(appenders(3)), producers(1), busy(readers(3)), tailers(1)];
    // Whatever else makes chunks, drops them or reads them.
    for other in [
        recreators(2),
        keepers(2),
        snapshotters(2),
        mortal_snapshotters(2),
        forkers(2),
    ] {
        if throw.random_bool(0.4) {
            clients.push(other);
        }
    }
    let mut scenario = Scenario {
        clients,
        nemeses: vec![
            Box::new(hurt_and_mend(hurts).calm_ms(500..4000).harm_ms(300..3000)),
            Box::new(hurt_and_mend(cold_hurts(throw)).calm_ms(200..3000).harm_ms(300..4000)),
        ],
        ..Scenario::new("old-bytes-move")
    };
    scenario.shape = scenario.shape.with_cold();
    if throw.random_bool(0.5) {
        scenario.shape.config.cold.disk_cache = throw.random_range(32 << 10..1 << 20);
    }
    scenario.shape.config.cold.reference = reference(throw);
    let http = &mut scenario.shape.config.http;
    http.snapshot_part = 1 << 10;
    http.request_deadline = millis(3000);
    scenario
}

/// A shorter storm of the same kind; then all nodes are lost with their disks, and everything that was acknowledged and
/// written down must come back, to the byte.
pub(super) fn all_is_lost(dice: &Dice) -> Scenario {
    Scenario {
        name: "all-is-lost",
        storm: Duration::from_secs(8),
        lost: Some(Lost::AtTheEnd),
        ..old_bytes_move(dice)
    }
}

/// All nodes are lost at the height of the storm. Clients cannot be asked whether what comes back is right, because what was
/// acknowledged last is gone; but every group must be what it was after an entry that was committed, and refer to nothing
/// that was swept.
pub(super) fn lost_in_the_storm(dice: &Dice) -> Scenario {
    let mut scenario = old_bytes_move(dice);
    // Groups come back as of different moments: what holds two of them together is another matter.
    scenario.clients.retain(|workload| workload.kind != Kind::Forkers);
    let throw = &mut dice.stream("lost in the storm");
    let cold = &mut scenario.shape.config.cold;
    cold.record_every = millis(throw.random_range(300..5000));
    cold.grace = millis(throw.random_range(200..4000));
    Scenario {
        name: "lost-in-the-storm",
        storm: Duration::from_secs(8),
        lost: Some(Lost::InTheStorm),
        laws: Vec::new(),
        ..scenario
    }
}

/// From how many bytes on a body goes to the cold store before the log hears of it: never, some, almost all.
pub(super) fn reference(throw: &mut impl RngExt) -> u64 {
    [0, 1 << 10, 100, 1][throw.random_range(0..4)]
}

/// What goes wrong with a cold store.
pub(super) fn cold_hurts(throw: &mut impl RngExt) -> Vec<Fault> {
    vec![
        Fault::ColdOut,
        Fault::SlowCold {
            by: millis(throw.random_range(50..2500)),
        },
        Fault::ColdFails {
            before_ppm: throw.random_range(0..500_000),
            after_ppm: throw.random_range(0..500_000),
        },
        Fault::ColdLies {
            ppm: throw.random_range(10_000..200_000),
        },
    ]
}
