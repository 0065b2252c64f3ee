//! One node after the other is told to end and started again under load, as in an upgrade.

use jepsen::workload::{appenders, closers, heads, producers, readers};

use crate::nemesis::RollingRestart;
use crate::scenario::Scenario;

pub(super) fn rolling_restart() -> Scenario {
    Scenario {
        clients: vec![appenders(4), producers(3), readers(2), heads(1), closers(1)],
        nemeses: vec![Box::new(RollingRestart::of(3))],
        ..Scenario::new("rolling-restart")
    }
}
