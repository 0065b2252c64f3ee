//! Snapshots are published while others append, begin with them, read on below them, and delete what they stand for.
//!
//! A publish takes many steps: an upload of many parts, whose leader may go away between any two, into a stream that may
//! be another before it is whole. Whoever begins with a snapshot while the next one replaces it, and what is below is
//! trimmed, must see the whole stream all the same.

use jepsen::workload::{Workload, appenders, mortal_snapshotters, snapshotters};
use net::dice::Dice;
use node::config::OnSnapshot;
use rand::RngExt;
use sim::fault::{Fault, Whom};

use crate::nemesis::{hurt_and_mend, millis};
use crate::scenario::Scenario;

pub(super) fn snapshots_race_trims(dice: &Dice) -> Scenario {
    let hurts = [
        Fault::Isolate(Whom::LeaderOf(0)),
        Fault::Isolate(Whom::LeaderOf(1)),
        Fault::Crash(Whom::LeaderOf(0)),
        Fault::PowerLoss(Whom::LeaderOf(1)),
        Fault::PowerLoss(Whom::FollowerOf(0)),
        Fault::Freeze(Whom::LeaderOf(0)),
        Fault::Stop(Whom::FollowerOf(1)),
    ];
    let busy = |workload: Workload| workload.thinking(millis(10)..millis(200));
    let mut scenario = Scenario {
        clients: vec![busy(snapshotters(5)), busy(mortal_snapshotters(5)), appenders(1)],
        nemeses: vec![Box::new(hurt_and_mend(hurts).calm_ms(500..3000).harm_ms(500..3000))],
        ..Scenario::new("snapshots-race-trims")
    };
    let http = &mut scenario.shape.config.http;
    http.snapshot_part = 1 << 10;
    http.stall_timeout = millis(1000);
    if dice.stream("snapshots").random_bool(0.7) {
        http.on_snapshot = OnSnapshot::Trim;
    }
    scenario
}
