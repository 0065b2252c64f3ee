//! Streams forget their oldest bytes, by size and by age, while clocks are a little wrong and leaders come and go.
//!
//! What is forgotten is judged by everyone when a command is applied, and by the leader's clock. The dangerous moments: a
//! new leader whose clock is another one, a node that applies again what it had applied, and a reader on his way through
//! bytes that go under him.

use std::time::Duration;

use jepsen::workload::{appenders, keepers};
use sim::fault::{Fault, Whom};

use crate::nemesis::{hurt_and_mend, millis};
use crate::scenario::Scenario;

pub(super) fn streams_forget() -> Scenario {
    const OFF_MS: i64 = 100;
    let skew = |whom, by_ms| Fault::ClockSkew { whom, by_ms };
    let clocks = [
        skew(Whom::LeaderOf(0), OFF_MS),
        skew(Whom::LeaderOf(1), -OFF_MS),
        skew(Whom::AMinority, OFF_MS),
    ];
    let hurts = [
        Fault::Isolate(Whom::LeaderOf(0)),
        Fault::Crash(Whom::LeaderOf(1)),
        Fault::PowerLoss(Whom::Anyone),
        Fault::PowerLoss(Whom::Everyone),
        Fault::Freeze(Whom::LeaderOf(0)),
        Fault::Stop(Whom::FollowerOf(1)),
    ];
    Scenario {
        clients: vec![keepers(6).thinking(millis(10)..millis(250)), appenders(1)],
        nemeses: vec![
            Box::new(hurt_and_mend(clocks).calm_ms(200..2000).harm_ms(1000..4000)),
            Box::new(hurt_and_mend(hurts).calm_ms(1000..4000).harm_ms(500..3000)),
        ],
        clock_error: Some(Duration::from_millis(OFF_MS as u64)),
        ..Scenario::new("streams-forget")
    }
}
