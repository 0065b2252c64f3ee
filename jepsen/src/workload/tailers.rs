//! Tailers: they stay at the tail, by long-poll or by events, and go on at another node where they were at the last.
//!
//! Logs they follow for the whole run. Of a stream that comes and goes, and of one that is about to be closed, they want
//! all from the beginning in one answer: whatever happens to the stream meanwhile, that answer is of one life.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rand::RngExt;

use super::Actor;
use crate::client::Cursor;

/// How long a tailer listens to events.
const LISTENS_MS: std::ops::Range<u64> = 200..4000;

pub(super) async fn run(mut actor: Actor) {
    let mut cursors: BTreeMap<Arc<str>, Cursor> = BTreeMap::new();
    while actor.goes_on().await {
        let span = Duration::from_millis(actor.dice.random_range(LISTENS_MS));
        if actor.one_in(3)
            && let Some(stream) = passing(&mut actor)
        {
            let mut cursor = actor.client.from_the_beginning();
            actor.client.events(actor.node, &stream, &mut cursor, span).await;
            continue;
        }
        let log = actor.any_log();
        let known = cursors.remove(&log);
        let mut cursor = known.unwrap_or_else(|| actor.client.from_the_beginning());
        if actor.one_in(2) {
            // The server waits for a while of its own, and may take as long as for any other answer besides.
            let patience = actor.client.deadline * 2;
            actor.client.long_poll(actor.node, &log, &mut cursor, patience).await;
        } else {
            actor.client.events(actor.node, &log, &mut cursor, span).await;
        }
        cursors.insert(log, cursor);
    }
}

/// A stream that may end or go at any moment, if there is one: mostly one of the newest.
fn passing(actor: &mut Actor) -> Option<Arc<str>> {
    let passing = |name: &Arc<str>| name.starts_with("ephemeral-") || name.starts_with("closing-");
    let streams: Vec<Arc<str>> = actor.client.recorder.streams().into_iter().filter(passing).collect();
    let count = streams.len();
    let at = actor.dice.random_range(count.saturating_sub(6)..count.max(1));
    streams.get(at).cloned()
}
