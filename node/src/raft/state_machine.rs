//! The machine as openraft sees it: entries go in, answers come out, and a snapshot is a promise to send the state.
//!
//! openraft purges its log only up to its last snapshot. For us a snapshot that is "built" is a mark, nothing more: the
//! position up to which the index is durable. What a follower that fell behind is sent is taken from the machine when it
//! is needed, at whatever it has applied by then.

use std::io;
use std::sync::Arc;

use futures_util::{Stream, StreamExt};
use net::rt;
use openraft::OptionalSend;
use openraft::storage::{EntryResponder, RaftSnapshotBuilder, RaftStateMachine, Snapshot, SnapshotMeta};

use super::fate::Fate;
use super::incoming::Incoming;
use super::log_reader::{BATCH_BYTES, BATCH_ENTRIES};
use super::machine::{Machine, Position};
use super::types::{LogId, Payload, StoredMembership, Types};

/// One group's machine, given to openraft.
#[derive(Clone)]
pub(super) struct StateMachine {
    pub(super) machine: Arc<Machine>,
    pub(super) fate: Arc<Fate>,
}

/// What a snapshot is, between those who make it and those who take it.
pub(super) enum Image {
    /// The state of this machine, taken when it is sent.
    Here(Arc<Machine>),
    /// The state another node sent, complete and durable but not yet in force.
    Received(Box<Incoming>),
}

/// openraft's snapshot of ours.
pub(super) type ImageSnapshot = openraft::alias::SnapshotOf<Types, Image>;
/// openraft's meta of a snapshot.
pub(super) type ImageMeta = openraft::alias::SnapshotMetaOf<Types>;

/// What openraft calls the meta of a snapshot at a position.
pub(super) fn meta_of(position: &Position) -> ImageMeta {
    SnapshotMeta {
        last_log_id: position.applied,
        last_membership: position.membership.clone(),
    }
}

impl StateMachine {
    fn snapshot(&self) -> ImageSnapshot {
        let meta = meta_of(&self.machine.state().flushed);
        Snapshot {
            meta,
            snapshot: Image::Here(self.machine.clone()),
        }
    }
}

impl RaftSnapshotBuilder<Types> for StateMachine {
    type SnapshotData = Image;

    async fn build_snapshot(&mut self) -> io::Result<ImageSnapshot> {
        Ok(self.snapshot())
    }
}

impl RaftStateMachine<Types> for StateMachine {
    type SnapshotData = Image;
    type SnapshotBuilder = Self;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        let state = self.machine.state();
        Ok((state.position.applied, state.position.membership.clone()))
    }

    async fn apply<Strm>(&mut self, entries: Strm) -> io::Result<()>
    where
        Strm: Stream<Item = Result<EntryResponder<Types>, io::Error>> + Unpin + OptionalSend,
    {
        let applied = self.apply_all(entries).await;
        self.told(applied)
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        self.clone()
    }

    async fn install_snapshot(&mut self, meta: &ImageMeta, snapshot: Image) -> io::Result<()> {
        let installed = self.install(meta, snapshot).await;
        self.told(installed)
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<ImageSnapshot>> {
        let snapshot = self.snapshot();
        Ok(snapshot.meta.last_log_id.is_some().then_some(snapshot))
    }
}

impl StateMachine {
    /// A machine that failed ends the node: its memory may be ahead of the index.
    fn told<T>(&self, done: io::Result<T>) -> io::Result<T> {
        if let Err(error) = &done {
            self.fate.fail(format!(
                "the state of group {} cannot be kept: {error}",
                self.machine.group
            ));
        }
        done
    }

    async fn apply_all<Strm>(&self, mut entries: Strm) -> io::Result<()>
    where
        Strm: Stream<Item = Result<EntryResponder<Types>, io::Error>> + Unpin + OptionalSend,
    {
        let mut more = true;
        while more {
            let (mut batch, mut waiting) = (Vec::new(), Vec::new());
            let mut bytes = 0;
            while bytes < BATCH_BYTES && (batch.len() as u64) < BATCH_ENTRIES {
                let Some(next) = entries.next().await else {
                    more = false;
                    break;
                };
                let (entry, responder) = next?;
                if let Payload::Normal(envelope) = &entry.payload {
                    bytes += envelope.body.len();
                }
                batch.push(entry);
                waiting.push(responder);
            }
            let Some(last) = batch.last() else { break };
            // A quorum may have it while our own disk does not yet, and a chunk row must never outlive its bytes.
            self.machine.log.durable(last.log_id.index).await?;
            let answers = self.machine.apply(&batch)?;
            for (responder, answer) in waiting.into_iter().zip(answers) {
                if let Some(responder) = responder {
                    responder.send(answer);
                }
            }
        }
        Ok(())
    }

    async fn install(&self, meta: &ImageMeta, snapshot: Image) -> io::Result<()> {
        let incoming = match snapshot {
            Image::Received(incoming) => incoming,
            // A restart asks for this when the log is behind the state; and the state is here already.
            Image::Here(_) => return Ok(()),
        };
        self.machine.install(*incoming, meta)?;
        let flushing = self.machine.clone();
        rt::offload(async move {
            let position = flushing.flush_point();
            flushing.index.flush_async().await?;
            flushing.set_flushed(position);
            io::Result::Ok(())
        })
        .await
        .map_err(io::Error::other)??;
        Ok(())
    }
}
