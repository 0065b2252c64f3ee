//! Streams that forget: by size, by age, by both, by what their bucket says; read from wherever they begin by now.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rand::RngExt;

use super::Actor;
use crate::client::{BEGINNING, Client, Cursor};
use crate::history::{BucketOp, Create, Ending, Policy, Refusal};

/// What the names of these streams begin with, and the bucket of some of them.
const KEPT: &str = "kept-";
const BUCKET: &str = "keeping";

/// What the bucket's streams forget where they do not say themselves.
const OF_BUCKET: Policy = Policy {
    age_s: None,
    bytes: Some(1500),
};

/// The first offset there ever was.
pub(super) const ZERO: &str = "00000000000000000000";

/// How long one listens to events.
const LISTENS_MS: std::ops::Range<u64> = 200..3000;

/// The streams, and what each says itself.
fn all() -> [(&'static str, Option<Policy>); 5] {
    let policy = |age_s, bytes| Some(Policy { age_s, bytes });
    [
        ("kept-0", policy(None, Some(2_000))),
        ("kept-1", policy(Some(1), None)),
        ("kept-2", policy(Some(2), Some(4_000))),
        ("keeping/s0", None),
        ("keeping/s1", policy(Some(1), None)),
    ]
}

/// Whether a stream may begin somewhere behind its beginning.
pub(super) fn is_kept(stream: &str) -> bool {
    stream.starts_with(KEPT) || stream.strip_prefix(BUCKET).is_some_and(|rest| rest.starts_with('/'))
}

pub(super) async fn run(mut actor: Actor) {
    let mut cursors: BTreeMap<Arc<str>, Cursor> = BTreeMap::new();
    while actor.goes_on().await {
        let (name, says) = all()[actor.dice.random_range(0..all().len())];
        let (stream, node): (Arc<str>, usize) = (name.into(), actor.node);
        let ending = match actor.dice.random_range(0..20) {
            0..10 => {
                let append = actor.fresh(&stream);
                actor.client.append(node, &stream, append).await
            }
            10..13 => actor.client.head(node, &stream).await,
            13..16 => {
                let from = if actor.one_in(2) { BEGINNING } else { ZERO };
                let (ending, cursor) = from_where_it_begins(&mut actor.client, node, &stream, from).await;
                cursors.insert(stream.clone(), cursor);
                ending
            }
            which => match cursors.remove(&stream) {
                // Whoever is too slow finds that it is gone.
                Some(mut cursor) => {
                    let ending = if which < 18 {
                        actor.client.read_to_tail(node, &stream, &mut cursor, false).await
                    } else {
                        let span = Duration::from_millis(actor.dice.random_range(LISTENS_MS));
                        actor.client.events(node, &stream, &mut cursor, span).await
                    };
                    if matches!(ending, Ending::Done(_)) {
                        cursors.insert(stream.clone(), cursor);
                    }
                    ending
                }
                None => continue,
            },
        };
        if ending == Ending::Refused(Refusal::NotFound) {
            create(&mut actor, &stream, says).await;
        }
    }
}

/// Nobody makes the bucket but with its policy, for it must be there before its streams.
async fn create(actor: &mut Actor, stream: &Arc<str>, says: Option<Policy>) {
    let in_bucket = stream.starts_with(BUCKET);
    if in_bucket {
        let make = BucketOp::MakeKeeping(OF_BUCKET);
        actor.client.bucket(actor.node, &BUCKET.into(), make).await;
    }
    let create = Create {
        keeps: says,
        in_bucket,
        ..actor.birth(stream)
    };
    actor.client.create(actor.node, stream, create).await;
}

/// All there is, to the tail, and a cursor there. From [`BEGINNING`] it is read as it is; from [`ZERO`] it may be gone, and
/// then the answer tells where it begins.
pub(super) async fn from_where_it_begins(
    client: &mut Client,
    node: usize,
    stream: &Arc<str>,
    from: &str,
) -> (Ending, Cursor) {
    let mut cursor = client.from_offset(from);
    // What begins here may be gone before it is asked for, again and again, but not for long.
    for _ in 0..4 {
        match client.read_to_tail(node, stream, &mut cursor, false).await {
            Ending::Refused(Refusal::Gone { earliest }) => {
                cursor = client.from_offset(earliest.as_deref().unwrap_or(ZERO));
            }
            ending => return (ending, cursor),
        }
    }
    let ending = client.head(node, stream).await;
    (ending, cursor)
}
