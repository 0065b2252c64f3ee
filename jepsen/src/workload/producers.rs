//! Idempotent producers: what may not have arrived is sent again with the same tuple, to another node.
//!
//! Zombies are producers that share an id per log, as a process and its successor would: each believes itself to be the
//! one, until it is fenced and takes a newer epoch itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Actor;
use crate::history::{Answer, Append, Ending, Producer, Refusal, Stored};

/// What a producer knows about itself on one log.
#[derive(Default)]
struct Life {
    epoch: u64,
    seq: u64,
    /// Sent, and not known to be stored.
    pending: Option<Append>,
}

impl Life {
    fn begin(&mut self, epoch: u64) {
        *self = Self {
            epoch,
            ..Self::default()
        };
    }
}

pub(super) async fn run(mut actor: Actor, zombie: bool) {
    let mut lives: BTreeMap<Arc<str>, Life> = BTreeMap::new();
    while actor.goes_on().await {
        let log = actor.any_log();
        let id = if zombie {
            format!("zombie-of-{log}")
        } else {
            format!("producer-{}", actor.client.id)
        };
        let life = lives.entry(Arc::clone(&log)).or_default();
        // A process that starts anew takes a new epoch, and forgets what it had sent.
        if actor.one_in(if zombie { 12 } else { 40 }) {
            life.begin(life.epoch + 1);
        }
        let append = match life.pending.take() {
            Some(append) => append,
            None => Append {
                producer: Some(Producer {
                    id,
                    epoch: life.epoch,
                    seq: life.seq,
                }),
                ..actor.fresh(&log)
            },
        };
        let ending = actor.client.append(actor.node, &log, append.clone()).await;
        match ending {
            Ending::Done(Answer::Appended {
                stored: Stored::Before(highest),
                ..
            }) => life.seq = highest + 1,
            // Sometimes the good news is lost on the way: it asks again.
            Ending::Done(_) if actor.one_in(8) => life.pending = Some(append),
            Ending::Done(_) => life.seq += 1,
            Ending::Refused(Refusal::Fenced { epoch }) => life.begin(epoch + 1),
            Ending::Refused(Refusal::Gap { expected, .. }) => life.seq = expected,
            Ending::Refused(Refusal::NotSent | Refusal::Unavailable { .. }) | Ending::Unknown(_) => {
                life.pending = Some(append);
                actor.node = actor.any_node();
            }
            // A new life that did not begin at zero, or the like.
            _ => life.begin(life.epoch + 1),
        }
    }
}
