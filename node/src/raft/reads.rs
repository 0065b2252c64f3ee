//! As of which log index a read may be answered: the leader must be sure that it still leads.
//!
//! It is if a quorum answered it within the lease; else it asks a quorum anew (ReadIndex). Reads that come while one
//! question is under way share the next one: a question begun before a read cannot answer it.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use net::rt::{self, Instant};
use openraft::LinearizerOption;
use openraft::errors::{LinearizableReadError, RaftError};
use tokio::sync::oneshot;

use super::group::Group;

/// Reads that may wait for one question.
const WAITING: usize = 65_536;

/// Who waits for the next answer.
#[derive(Default)]
pub(super) struct ReadDesk {
    desk: Mutex<Desk>,
}

#[derive(Default)]
struct Desk {
    waiting: Vec<oneshot::Sender<Result<u64, String>>>,
    /// Somebody is asking, and will ask again for those who wait.
    asking: bool,
}

impl Group {
    /// The index that must have been applied before a read that began before this call is answered.
    pub(super) async fn read_index(self: &std::sync::Arc<Self>, deadline: Instant) -> Result<u64, String> {
        let (sender, receiver) = oneshot::channel();
        let ask = {
            let mut desk = self.reads.desk.lock().unwrap_or_else(PoisonError::into_inner);
            if desk.waiting.len() >= WAITING {
                return Err("too many reads wait".into());
            }
            desk.waiting.push(sender);
            !std::mem::replace(&mut desk.asking, true)
        };
        if ask {
            let group = self.clone();
            // A task of its own: whoever asks for the others must not stop when its own caller hangs up.
            drop(rt::spawn("raft: read index", async move { group.ask_for_all().await }));
        }
        match rt::timeout_at(deadline, receiver).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err("this node is ending".into()),
            Err(rt::Elapsed) => Err("no majority confirmed the leader in time".into()),
        }
    }

    async fn ask_for_all(&self) {
        loop {
            let waiting = {
                let mut desk = self.reads.desk.lock().unwrap_or_else(PoisonError::into_inner);
                if desk.waiting.is_empty() {
                    desk.asking = false;
                    return;
                }
                std::mem::take(&mut desk.waiting)
            };
            let answer = self.ask().await;
            for reader in waiting {
                // Whoever hung up does not hear it.
                drop(reader.send(answer.clone()));
            }
        }
    }

    async fn ask(&self) -> Result<u64, String> {
        let option = LinearizerOption::new(Some(self.lease), true).with_wait_timeout(Duration::from_secs(2));
        match self.raft.get_read_log_id(option).await {
            Ok((read, _)) => Ok(read.log_id().index),
            Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(_))) => {
                Err("this node does not lead the group".into())
            }
            Err(RaftError::APIError(error)) => Err(error.to_string()),
            Err(RaftError::Fatal(error)) => Err(self.failed(error)),
        }
    }
}
