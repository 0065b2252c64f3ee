//! Streams that are read from snapshots: append, bootstrap, publish what is known, let go of it, read on; where everything is reborn,
//! delete, too.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rand::RngExt;

use super::{Actor, reborn, snapped};
use crate::client::Cursor;
use crate::history::{Ending, Refusal};
use crate::snapshots::Known;

pub(super) async fn run(mut actor: Actor, mortal: bool) {
    let mut known: BTreeMap<Arc<str>, (Known, Cursor)> = BTreeMap::new();
    while actor.goes_on().await {
        let number = actor.dice.random_range(0..actor.stage.streams.max(1));
        let stream = if mortal { reborn(number) } else { snapped(number) };
        let node = actor.node;
        let ending = match actor.dice.random_range(0..20) {
            0..8 => {
                let append = actor.fresh(&stream);
                actor.client.append(node, &stream, append).await
            }
            8..12 => {
                let (ending, found) = actor.client.bootstrap(node, &stream, false).await;
                if let Some(found) = found {
                    known.insert(stream.clone(), found);
                }
                ending
            }
            12..16 => match known.get(&stream) {
                Some((known, _)) => {
                    let pause = if actor.dice.random_bool(0.5) {
                        Duration::from_millis(actor.dice.random_range(1..900))
                    } else {
                        Duration::ZERO
                    };
                    actor.client.publish(node, &stream, known, pause).await
                }
                None => continue,
            },
            16 => actor.client.newest(node, &stream).await,
            // Lets go of what somebody has, or has not, published a snapshot for.
            18 => match known.get(&stream) {
                Some((known, _)) => actor.client.trim(node, &stream, &known.offset).await,
                None => continue,
            },
            17 if mortal => {
                let deleted = actor.client.delete(node, &stream).await;
                // Half of the streams are another at once, while uploads for the one before are on their way.
                if matches!(deleted, Ending::Done(_)) && actor.one_in(2) {
                    let create = actor.birth(&stream);
                    actor.client.create(node, &stream, create).await;
                }
                deleted
            }
            // Whoever reads on in a stream that may be another by now learns nothing.
            _ if mortal => continue,
            _ => match known.remove(&stream) {
                Some((_, mut cursor)) => actor.client.read_to_tail(node, &stream, &mut cursor, false).await,
                None => continue,
            },
        };
        if ending == Ending::Refused(Refusal::NotFound) {
            known.remove(&stream);
            let create = actor.birth(&stream);
            actor.client.create(node, &stream, create).await;
        }
    }
}
