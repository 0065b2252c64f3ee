//! Nothing goes wrong: whatever fails here is wrong without any help.

use jepsen::workload::{Workload, zombies};
use jepsen::workload::{
    appenders, closers, conditional, heads, local_readers, producers, readers, recreators, sequenced,
};

use crate::scenario::Scenario;

pub(super) fn fair_weather() -> Scenario {
    Scenario {
        clients: everybody(),
        ..Scenario::new("fair-weather")
    }
}

/// One or two of every kind.
pub(super) fn everybody() -> Vec<Workload> {
    vec![
        appenders(2),
        producers(2),
        zombies(2),
        readers(2),
        local_readers(1),
        heads(1),
        closers(2),
        conditional(1),
        sequenced(1),
        recreators(2),
    ]
}
