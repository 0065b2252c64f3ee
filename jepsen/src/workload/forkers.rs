//! Streams that are forked, and forks of forks, and what becomes of them when some go.
//!
//! Every stream has one client that writes to it, so what it holds is known but for what that client does not know
//! itself; all clients read all of them and fork all of them. Every life of a stream begins with a record of its own, and
//! all records are as long as each other, so any multiple of that is an offset between two.

use std::sync::Arc;
use std::time::Duration;

use rand::RngExt;

use super::{Actor, Stage};
use crate::client::Client;
use crate::format::Format;
use crate::history::{Append, Create, Ending, Fork, Refusal};
use crate::record::LEN_MIN;

/// Streams of one client.
const OWN_MAX: usize = 8;

/// How long the last look waits between two tries.
const BETWEEN: Duration = Duration::from_millis(300);

/// A stream of one's own.
struct Own {
    name: Arc<str>,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    There,
    NotThere,
    /// Nobody knows: it is left alone.
    Lost,
}

pub(super) async fn run(mut actor: Actor) {
    actor.client.recorder = actor.client.recorder.of_forks();
    let mut own: Vec<Own> = Vec::new();
    while actor.goes_on().await {
        let of = |state| own.iter().position(|own: &Own| own.state == state);
        match actor.dice.random_range(0..20) {
            // The one that has been there longest: it has had the time to be forked.
            0 | 1 if own.len() > 2 => {
                if let Some(which) = of(State::There) {
                    own[which].state = match actor.client.delete(actor.node, &own[which].name).await {
                        Ending::Done(_) => State::NotThere,
                        Ending::Refused(_) => State::There,
                        _ => State::Lost,
                    };
                    own.rotate_left(which);
                }
            }
            2 => {
                if let Some(which) = of(State::NotThere) {
                    let name = own[which].name.clone();
                    own[which].state = begin(&mut actor, &name).await;
                }
            }
            3..8 if own.len() < OWN_MAX => {
                let name: Arc<str> = format!("tree-{}-{}", actor.client.id, own.len()).into();
                let state = begin(&mut actor, &name).await;
                own.push(Own { name, state });
            }
            3..12 if !own.is_empty() => {
                let which = actor.dice.random_range(0..own.len());
                if own[which].state == State::There {
                    let append = append(&mut actor.client, &own[which].name);
                    actor.client.append(actor.node, &own[which].name, append).await;
                }
            }
            _ => {
                if let Some(stream) = any(&mut actor) {
                    let mut cursor = actor.client.from_the_beginning();
                    actor.client.read(actor.node, &stream, &mut cursor, false).await;
                }
            }
        }
    }
}

fn append(client: &mut Client, stream: &str) -> Append {
    Append {
        tag: Some(client.tag()),
        len: LEN_MIN,
        content_type: Format::of(stream).content_type().into(),
        ..Append::default()
    }
}

/// A stream somebody has spoken of.
fn any(actor: &mut Actor) -> Option<Arc<str>> {
    let streams = actor.client.recorder.streams();
    let which = actor.dice.random_range(0..streams.len().max(1));
    streams.get(which).cloned()
}

/// Creates a stream: mostly as a fork of any other of its form.
async fn begin(actor: &mut Actor, name: &Arc<str>) -> State {
    let source = any(actor).filter(|source| source != name && Format::of(source) == Format::of(name));
    let ending = match source {
        Some(source) if !actor.one_in(5) => {
            let offset = actor.dice.random_bool(0.5).then(|| actor.dice.random_range(0..6));
            let sub = u64::from(offset.is_some() && actor.one_in(3));
            let len = u64::from(LEN_MIN);
            let fork = Fork {
                source,
                offset: offset.map(|offset: u64| offset * len),
                sub: sub * len,
                tag: actor.client.tag(),
                len: LEN_MIN,
            };
            actor.client.fork(actor.node, name, fork).await
        }
        _ => {
            let create = Create {
                len: LEN_MIN,
                ..actor.birth(name)
            };
            actor.client.create(actor.node, name, create).await
        }
    };
    match ending {
        Ending::Done(_) => State::There,
        Ending::Refused(Refusal::Other { .. }) => State::Lost,
        Ending::Refused(_) => State::NotThere,
        _ => State::Lost,
    }
}

/// Reads every stream that was ever forked or might have been, on every node. What a node did not answer is asked again:
/// here the contents count.
pub(super) async fn last_look(client: &mut Client, stage: &Stage) {
    let of_forks = client.recorder.of_forks();
    let recorder = std::mem::replace(&mut client.recorder, of_forks);
    for stream in client.recorder.streams() {
        for node in 0..stage.nodes {
            for _ in 0..3 {
                let mut cursor = client.from_the_beginning();
                match client.read(node, &stream, &mut cursor, false).await {
                    Ending::Unknown(_) | Ending::Refused(Refusal::Unavailable { .. }) => {
                        client.transport.sleep(BETWEEN).await;
                    }
                    _ => break,
                }
            }
        }
    }
    client.recorder = recorder;
}
