//! Streams are closed while others append to them, wait at their tail and ask for their end.
//!
//! A close is decided in the log, between two appends; nothing may be stored behind it, whichever leader takes it and
//! however late an append arrives that was sent before.

use jepsen::workload::{appenders, closers, readers, tailers};
use sim::fault::{Fault, Whom};

use crate::nemesis::{hurt_and_mend, millis};
use crate::scenario::Scenario;

pub(super) fn closes_race_appends() -> Scenario {
    let hurts = [
        Fault::Isolate(Whom::LeaderOf(0)),
        Fault::PowerLoss(Whom::LeaderOf(1)),
        Fault::Freeze(Whom::Anyone),
        Fault::ResetConnections(Whom::Everyone),
    ];
    Scenario {
        clients: vec![
            closers(6).thinking(millis(1)..millis(120)),
            tailers(2),
            appenders(1),
            readers(1),
        ],
        nemeses: vec![Box::new(hurt_and_mend(hurts).calm_ms(1000..4000).harm_ms(300..2500))],
        ..Scenario::new("closes-race-appends")
    }
}
