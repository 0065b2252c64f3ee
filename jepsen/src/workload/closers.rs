//! Appends and closes that race: whoever finds a stream closed goes on to the next.

use std::sync::Arc;

use rand::RngExt;

use super::Actor;
use crate::history::{Append, Ending, Producer, Refusal};

pub(super) async fn run(mut actor: Actor) {
    let mut number = 0;
    // As a producer on the present stream.
    let mut seq = 0;
    while actor.goes_on().await {
        let stream: Arc<str> = format!("closing-{number}").into();
        let ending = match actor.dice.random_range(0..16) {
            0 => {
                let close = Append {
                    close: true,
                    ..Append::default()
                };
                actor.client.append(actor.node, &stream, close).await
            }
            1 => {
                let last = Append {
                    close: true,
                    ..actor.fresh(&stream)
                };
                actor.client.append(actor.node, &stream, last).await
            }
            2 => {
                let producer = Some(Producer {
                    id: format!("closer-{}", actor.client.id),
                    epoch: 0,
                    seq,
                });
                let last = Append {
                    close: true,
                    producer,
                    ..actor.fresh(&stream)
                };
                let ending = actor.client.append(actor.node, &stream, last.clone()).await;
                // The same tuple closes once, however often it is said.
                if matches!(ending, Ending::Unknown(_)) {
                    actor.node = actor.any_node();
                    actor.client.append(actor.node, &stream, last).await
                } else {
                    ending
                }
            }
            3..6 => {
                let producer = Some(Producer {
                    id: format!("closer-{}", actor.client.id),
                    epoch: 0,
                    seq,
                });
                let append = Append {
                    producer,
                    ..actor.fresh(&stream)
                };
                let ending = actor.client.append(actor.node, &stream, append).await;
                if !matches!(ending, Ending::Refused(_)) {
                    // After an unknown one this may leave a gap, and a gap is refused: lawful, and this stream ends soon.
                    seq += 1;
                }
                ending
            }
            6..9 => actor.client.head(actor.node, &stream).await,
            9..11 => {
                let mut cursor = actor.client.from_the_beginning();
                actor.client.read_to_tail(actor.node, &stream, &mut cursor, false).await
            }
            _ => {
                let append = actor.fresh(&stream);
                actor.client.append(actor.node, &stream, append).await
            }
        };
        match ending {
            Ending::Refused(Refusal::Closed { .. }) => (number, seq) = (number + 1, 0),
            Ending::Refused(Refusal::NotFound) => {
                let create = actor.birth(&stream);
                actor.client.create(actor.node, &stream, create).await;
            }
            _ => {}
        }
    }
}
