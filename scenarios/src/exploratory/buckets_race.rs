//! Buckets are deleted while others create streams in them, and leaders come and go.
//!
//! A bucket's streams live in many groups, so its deletion takes many steps: whoever owns it may vanish between any two.

use std::time::Duration;

use jepsen::workload::{appenders, bucketeers, readers};
use sim::cluster::Shape;
use sim::fault::{Fault, Whom};

use crate::nemesis::hurt_and_mend;
use crate::scenario::Scenario;

pub(super) fn buckets_race() -> Scenario {
    let leader = |group| Whom::LeaderOf(group);
    let hurts = [
        Fault::Isolate(leader(0)),
        Fault::Crash(leader(0)),
        Fault::PowerLoss(leader(1)),
        Fault::Freeze(leader(2)),
        Fault::Stop(leader(0)),
    ];
    let quick = Duration::from_millis(1)..Duration::from_millis(80);
    Scenario {
        shape: Shape::of(3, 3),
        clients: vec![bucketeers(6).thinking(quick), appenders(1), readers(1)],
        nemeses: vec![Box::new(hurt_and_mend(hurts).calm_ms(1500..5000).harm_ms(800..2500))],
        ..Scenario::new("buckets-race")
    }
}
