//! Readers: to the tail, again and again, on any node, from the beginning or on from where they were.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Actor;
use crate::client::Cursor;

pub(super) async fn run(mut actor: Actor, local: bool) {
    let mut cursors: BTreeMap<Arc<str>, Cursor> = BTreeMap::new();
    while actor.goes_on().await {
        let log = actor.any_log();
        // Whoever reads on locally may find himself beyond the tail of another node; that says nothing.
        let anew = local || actor.one_in(3);
        let known = cursors.remove(&log).filter(|_| !anew);
        let mut cursor = known.unwrap_or_else(|| actor.client.from_the_beginning());
        actor.client.read_to_tail(actor.node, &log, &mut cursor, local).await;
        cursors.insert(log, cursor);
    }
}

/// Asks where logs end.
pub(super) async fn heads(mut actor: Actor) {
    while actor.goes_on().await {
        let log = actor.any_log();
        actor.client.head(actor.node, &log).await;
    }
}
