//! Leaders come and go while writers write and readers follow.
//!
//! The dangerous leader is not the dead one. It is the one that has been replaced and does not know yet: a read it
//! answers alone may be stale, an append it takes may never commit.

use jepsen::workload::{appenders, heads, producers, readers, zombies};
use sim::fault::{Fault, Whom};

use crate::nemesis::hurt_and_mend;
use crate::scenario::Scenario;

pub(super) fn leader_churn() -> Scenario {
    let leader = |group| Whom::LeaderOf(group);
    let hurts = [
        Fault::Isolate(leader(0)),
        Fault::Isolate(leader(1)),
        Fault::Crash(leader(0)),
        Fault::PowerLoss(leader(1)),
        Fault::Freeze(leader(0)),
        Fault::Stop(leader(1)),
    ];
    Scenario {
        clients: vec![appenders(3), producers(2), zombies(2), readers(3), heads(2)],
        nemeses: vec![Box::new(hurt_and_mend(hurts).calm_ms(500..3000).harm_ms(1500..4000))],
        ..Scenario::new("leader-churn")
    }
}
