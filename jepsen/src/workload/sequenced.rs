//! Appends with `Stream-Seq`: writers that order themselves by their clocks, so that some come too late.

use rand::RngExt;

use super::Actor;
use crate::history::Append;

pub(super) async fn run(mut actor: Actor) {
    while actor.goes_on().await {
        let log = actor.any_log();
        let append = actor.fresh(&log);
        // A little in the past by the dice: the later of two writers often has the smaller number.
        let late_ms = actor.dice.random_range(0..50);
        let now_ms = actor.client.transport.now_ns() / 1_000_000;
        let seq = format!("{:015}-{:03}", now_ms.saturating_sub(late_ms), actor.client.id);
        actor
            .client
            .append(
                actor.node,
                &log,
                Append {
                    seq: Some(seq),
                    ..append
                },
            )
            .await;
    }
}
