//! Streams that come and go: whoever writes or reads one may meet any of its lives.

use std::sync::Arc;

use rand::RngExt;

use super::Actor;
use crate::history::{Ending, Refusal};

pub(super) async fn run(mut actor: Actor) {
    while actor.goes_on().await {
        let number = actor.dice.random_range(0..actor.stage.streams.max(1));
        let stream: Arc<str> = format!("ephemeral-{number}").into();
        let ending = match actor.dice.random_range(0..10) {
            0 => actor.client.delete(actor.node, &stream).await,
            1 => {
                let create = actor.birth(&stream);
                actor.client.create(actor.node, &stream, create).await
            }
            2..5 => {
                // One answer only: the next could be of another life.
                let mut cursor = actor.client.from_the_beginning();
                actor.client.read(actor.node, &stream, &mut cursor, false).await
            }
            5 => actor.client.head(actor.node, &stream).await,
            _ => {
                let append = actor.fresh(&stream);
                actor.client.append(actor.node, &stream, append).await
            }
        };
        if ending == Ending::Refused(Refusal::NotFound) {
            let create = actor.birth(&stream);
            actor.client.create(actor.node, &stream, create).await;
        }
    }
}
