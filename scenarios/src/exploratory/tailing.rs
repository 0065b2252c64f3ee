//! Readers stay at the tail while leaders change, nodes go, and streams end or begin anew under them.
//!
//! The dangerous moment is between the look and the wait: what comes then must still wake. And a name is not a stream:
//! who waited for the one must see nothing of the next.

use jepsen::workload::{appenders, closers, recreators, tailers};
use sim::fault::{Fault, Whom};

use crate::nemesis::{hurt_and_mend, millis};
use crate::scenario::Scenario;

/// Tailing readers over leader changes and lost nodes.
pub(super) fn tailing_readers() -> Scenario {
    let hurts = [
        Fault::Isolate(Whom::LeaderOf(0)),
        Fault::Crash(Whom::Anyone),
        Fault::PowerLoss(Whom::LeaderOf(1)),
        Fault::Freeze(Whom::AMinority),
        Fault::ResetConnections(Whom::Anyone),
        Fault::Stop(Whom::Anyone),
    ];
    Scenario {
        clients: vec![appenders(3).thinking(millis(20)..millis(900)), tailers(5), closers(1)],
        nemeses: vec![Box::new(hurt_and_mend(hurts).calm_ms(500..4000).harm_ms(500..3000))],
        ..Scenario::new("tailing-readers")
    }
}

/// Streams stay quiet for long. Where much is appended, whoever slept through one change is woken by the next; here he is
/// the only one who does not know.
pub(super) fn seldom_news() -> Scenario {
    let mut scenario = Scenario {
        clients: vec![
            appenders(2).thinking(millis(2000)..millis(9000)),
            tailers(10).thinking(millis(1)..millis(100)),
        ],
        nemeses: vec![Box::new(
            hurt_and_mend([Fault::Isolate(Whom::LeaderOf(0)), Fault::Crash(Whom::LeaderOf(1))])
                .calm_ms(500..1500)
                .harm_ms(300..1000),
        )],
        storm: millis(4000),
        calm: millis(30_000),
        ..Scenario::new("seldom-news")
    };
    // Longer than news may take: who missed some is still waiting when that is over.
    scenario.shape.config.http.long_poll_timeout = millis(4000);
    scenario
}

/// Streams are deleted and created again under those who wait for them.
pub(super) fn recreate_under_tail() -> Scenario {
    let hurts = [
        Fault::Isolate(Whom::LeaderOf(0)),
        Fault::Crash(Whom::Anyone),
        Fault::Freeze(Whom::Anyone),
    ];
    Scenario {
        // One of each form.
        streams: 3,
        clients: vec![recreators(5), tailers(6), appenders(1)],
        nemeses: vec![Box::new(hurt_and_mend(hurts).calm_ms(1000..5000).harm_ms(300..2000))],
        ..Scenario::new("recreate-under-tail")
    }
}
