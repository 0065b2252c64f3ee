//! What comes before the storm and after the calm: logs are created; everything is read to the end on every node.

use std::time::Duration;

use super::{REBORN, SNAPPED, Stage, forkers, keepers};
use crate::client::Client;
use crate::format::Format;
use crate::history::{Append, Create, Ending};
use crate::record::LEN_MIN;

/// How often something is tried that must succeed.
const TRIES: u32 = 40;
const BETWEEN: Duration = Duration::from_millis(250);

/// Creates the logs. Whether all are there: if not, there is no cluster to judge.
pub async fn opening(client: &mut Client, stage: &Stage) -> bool {
    for log in stage.logs() {
        let mut created = false;
        for attempt in 0..TRIES {
            let tag = Some(client.tag());
            let create = Create {
                content_type: Format::of(&log).content_type().into(),
                closed: false,
                tag,
                len: LEN_MIN,
                ..Create::default()
            };
            if let Ending::Done(_) = client.create(attempt as usize % stage.nodes, &log, create).await {
                created = true;
                break;
            }
            client.transport.sleep(BETWEEN).await;
        }
        if !created {
            return false;
        }
    }
    true
}

/// Appends to every log through every node, then reads every stream there ever was to its tail on every node. Each is
/// asked once: after the calm the first answer counts.
pub async fn last_look(client: &mut Client, stage: &Stage) {
    for log in stage.logs() {
        for node in 0..stage.nodes {
            let tag = Some(client.tag());
            let append = Append {
                tag,
                len: LEN_MIN,
                content_type: Format::of(&log).content_type().into(),
                ..Append::default()
            };
            client.append(node, &log, append).await;
        }
    }
    forkers::last_look(client, stage).await;
    for stream in client.recorder.streams() {
        for node in 0..stage.nodes {
            if stream.starts_with(SNAPPED) || stream.starts_with(REBORN) {
                client.bootstrap(node, &stream, false).await;
            } else if keepers::is_kept(&stream) {
                keepers::from_where_it_begins(client, node, &stream, keepers::ZERO).await;
            } else {
                let mut cursor = client.from_the_beginning();
                client.read_to_tail(node, &stream, &mut cursor, false).await;
            }
            client.head(node, &stream).await;
        }
    }
}
