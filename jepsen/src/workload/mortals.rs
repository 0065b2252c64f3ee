//! Streams that end by themselves: used for a while, then left alone for about as long as they live.
//!
//! Most live as long as they are used; of these, every other one is also waited at, which is a use as well. The rest end at
//! a moment that was said at their birth, whoever uses them.

use std::sync::Arc;
use std::time::Duration;

use rand::RngExt;

use super::Actor;
use crate::history::{Create, Ending, Refusal};

/// Most uses in a row.
const USES: u32 = 6;

/// How long a stream with a moment lives at most.
const LIVES_MS: std::ops::Range<u64> = 500..4000;

pub(super) async fn run(mut actor: Actor) {
    // Each keeps to one stream of each kind, so that a stream is left alone now and then.
    let number = actor.client.id % actor.stage.streams.max(1);
    let mortal: Arc<str> = format!("mortal-{number}").into();
    let fleeting: Arc<str> = format!("fleeting-{number}").into();
    let ttl_s = 2 + number % 2;
    // A reader that nobody hears of any more may keep it alive for a while: then little can be said.
    let is_waited_at = number % 2 == 1;
    let has_moments = actor.client.transport.epoch_ms().is_some();
    while actor.goes_on().await {
        if has_moments && actor.one_in(4) {
            uses(&mut actor, &fleeting, None).await;
            continue;
        }
        if actor.one_in(2) {
            for _ in 0..actor.dice.random_range(1..=USES) {
                if is_waited_at && actor.one_in(3) {
                    waits(&mut actor, &mortal, ttl_s).await;
                } else {
                    uses(&mut actor, &mortal, Some(ttl_s)).await;
                }
                if !actor.goes_on().await {
                    return;
                }
            }
            continue;
        }
        let window_ms = u64::from(ttl_s) * 1000;
        let left_ms = actor.dice.random_range(0..window_ms * 3 / 2);
        actor.client.transport.sleep(Duration::from_millis(left_ms)).await;
        // Looking is no use.
        actor.client.head(actor.node, &mortal).await;
    }
}

/// Stays at the tail for longer than the stream would live, or less.
async fn waits(actor: &mut Actor, stream: &Arc<str>, ttl_s: u32) {
    let mut cursor = actor.client.from_the_beginning();
    if actor.one_in(3) {
        actor.client.read(actor.node, stream, &mut cursor, false).await;
        let patience = actor.client.deadline * 2;
        actor.client.long_poll(actor.node, stream, &mut cursor, patience).await;
    } else {
        let window_ms = u64::from(ttl_s) * 1000;
        let span = Duration::from_millis(actor.dice.random_range(200..window_ms * 3 / 2));
        actor.client.events(actor.node, stream, &mut cursor, span).await;
    }
}

async fn uses(actor: &mut Actor, stream: &Arc<str>, ttl_s: Option<u32>) {
    let ending = match actor.dice.random_range(0..10) {
        0..3 => {
            let append = actor.fresh(stream);
            actor.client.append(actor.node, stream, append).await
        }
        3 => {
            let mut cursor = actor.client.from_the_beginning();
            actor.client.read(actor.node, stream, &mut cursor, true).await
        }
        4 => actor.client.head(actor.node, stream).await,
        _ => {
            // One answer only: the next could be of another life.
            let mut cursor = actor.client.from_the_beginning();
            actor.client.read(actor.node, stream, &mut cursor, false).await
        }
    };
    if ending == Ending::Refused(Refusal::NotFound) {
        let lives_ms = actor.dice.random_range(LIVES_MS);
        let expires_ms = actor.client.transport.now_ns() / 1_000_000 + lives_ms;
        let create = Create {
            ttl_s,
            expires_ms: ttl_s.is_none().then_some(expires_ms),
            ..actor.birth(stream)
        };
        actor.client.create(actor.node, stream, create).await;
    }
}
