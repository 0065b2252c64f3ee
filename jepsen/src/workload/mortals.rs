//! Streams that end when nobody uses them: used for a while, then left alone for about as long as they live.

use std::sync::Arc;
use std::time::Duration;

use rand::RngExt;

use super::Actor;
use crate::client::CONTENT_TYPE;
use crate::history::{Create, Ending, Refusal};

/// Most uses in a row.
const USES: u32 = 6;

pub(super) async fn run(mut actor: Actor) {
    // Each keeps to one stream, so that a stream is left alone now and then.
    let number = actor.client.id % actor.stage.streams.max(1);
    let stream: Arc<str> = format!("mortal-{number}").into();
    let ttl_s = 2 + number % 2;
    while actor.goes_on().await {
        if actor.one_in(2) {
            for _ in 0..actor.dice.random_range(1..=USES) {
                uses(&mut actor, &stream, ttl_s).await;
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
        actor.client.head(actor.node, &stream).await;
    }
}

async fn uses(actor: &mut Actor, stream: &Arc<str>, ttl_s: u32) {
    let ending = match actor.dice.random_range(0..10) {
        0..3 => {
            let append = actor.fresh();
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
        let create = Create {
            content_type: CONTENT_TYPE.into(),
            closed: false,
            tag: Some(actor.client.tag()),
            len: actor.len(),
            ttl_s: Some(ttl_s),
            in_bucket: false,
        };
        actor.client.create(actor.node, stream, create).await;
    }
}
