//! Appends of fresh records to logs. What ends Unknown is let go: a second try would be another append.

use super::Actor;

pub(super) async fn run(mut actor: Actor) {
    while actor.goes_on().await {
        let log = actor.any_log();
        let append = actor.fresh(&log);
        actor.client.append(actor.node, &log, append).await;
    }
}
