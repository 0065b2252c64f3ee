//! One node hears the others and is not heard, or the other way round.
//!
//! A leader that is not heard must step down although it hears everyone; a follower that does not hear must not disturb
//! the others with elections for ever.

use jepsen::workload::{appenders, heads, producers, readers};
use sim::fault::{Fault, Whom};

use crate::nemesis::hurt_and_mend;
use crate::scenario::Scenario;

pub(super) fn asymmetric_partition() -> Scenario {
    let hurts = [
        Fault::OneWay {
            from: Whom::LeaderOf(0),
            to: Whom::Everyone,
        },
        Fault::OneWay {
            from: Whom::Everyone,
            to: Whom::LeaderOf(0),
        },
        Fault::OneWay {
            from: Whom::FollowerOf(0),
            to: Whom::Everyone,
        },
        Fault::OneWay {
            from: Whom::Everyone,
            to: Whom::FollowerOf(1),
        },
        Fault::Clog {
            from: Whom::LeaderOf(1),
            to: Whom::Everyone,
        },
        Fault::Clog {
            from: Whom::Everyone,
            to: Whom::LeaderOf(0),
        },
        Fault::Mute(Whom::LeaderOf(0)),
    ];
    Scenario {
        clients: vec![appenders(3), producers(2), readers(3), heads(2)],
        nemeses: vec![Box::new(hurt_and_mend(hurts).calm_ms(500..2500).harm_ms(1000..5000))],
        ..Scenario::new("asymmetric-partition")
    }
}
