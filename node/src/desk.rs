//! What other nodes ask of this one, and who answers.

use std::sync::Arc;

use bytes::Bytes;

use crate::{
    Core,
    peer::{Handler, NotDone, Reply},
    raft::is_raft,
    read::READ_INDEX,
    write::FORWARD,
};

/// Hands the requests of peers to whom they are for.
pub(crate) struct Desk(pub(crate) Arc<Core>);

impl Handler for Desk {
    fn handle(&self, from: u64, kind: u8, group: u32, payload: Bytes) -> Reply {
        let core = self.0.clone();
        Box::pin(async move {
            if group >= core.groups.count() {
                return Err(NotDone(format!("there is no group {group} here")));
            }
            match kind {
                FORWARD => core.forwarded(group, payload).await,
                READ_INDEX => core.asked_read_index(group).await,
                raft if is_raft(raft) => core.groups.handle(raft, group, payload).await.map_err(NotDone),
                unknown => {
                    tracing::debug!(from, kind = unknown, "a peer asked for something unknown");
                    Err(NotDone(format!(
                        "requests of kind {unknown} are not known here: run the same version everywhere"
                    )))
                }
            }
        })
    }
}
