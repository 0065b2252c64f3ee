//! The cluster falls in two, with clients on both sides: the smaller one may not answer for the whole.

use jepsen::workload::{appenders, conditional, heads, local_readers, producers, readers};
use sim::fault::{Fault, Whom};

use crate::nemesis::hurt_and_mend;
use crate::scenario::Scenario;

pub(super) fn minority_partition() -> Scenario {
    let hurts = [
        Fault::Split(Whom::AMinority),
        Fault::Split(Whom::LeaderOf(0)),
        Fault::Split(Whom::LeaderOf(1)),
        Fault::CutOff(Whom::AMinority),
        Fault::CutOff(Whom::LeaderOf(0)),
    ];
    let mut scenario = Scenario {
        clients: vec![
            appenders(3),
            producers(2),
            readers(3),
            heads(2),
            conditional(1),
            local_readers(1),
        ],
        nemeses: vec![Box::new(hurt_and_mend(hurts).calm_ms(500..3000).harm_ms(1000..6000))],
        ..Scenario::new("minority-partition")
    };
    scenario.shape.nodes = 5;
    scenario
}
