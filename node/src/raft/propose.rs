//! A command goes into the log of its group, and its outcome comes out. Three endings: an outcome, certainly not stored,
//! or nobody knows.

use std::sync::atomic::Ordering;

use net::rt::{self, Instant};
use openraft::errors::{ClientWriteError, Fatal};

use super::group::Group;
use super::types::{Envelope, Waiting};
use crate::stream::{Command, Outcome};

/// Why a proposal has no outcome.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// Certainly not stored: this node does not lead the group, or cannot be sure that it does.
    #[error("this node does not lead the group")]
    NotLeader,
    /// Certainly not stored: too much is under way.
    #[error("the group has too many proposals under way")]
    Overloaded,
    /// Certainly not stored: the journal holds as much of the group as it may, because the cold store does not take it.
    #[error("the cold store is behind, and the journal holds as much as it may")]
    ColdBehind,
    /// Certainly not stored: the node is ending.
    #[error("the node is ending")]
    Stopped,
    /// Nobody knows: it may be stored, or may yet be.
    #[error("whether it is stored is unknown: {0}")]
    Unknown(String),
}

impl Group {
    /// The time for the next stamp, when this node's clock shows `clock_ms`: never before what was stamped or applied.
    pub(super) fn now_ms(&self, clock_ms: u64) -> u64 {
        let applied = self.machine.state().position.last_now_ms;
        clock_ms.max(applied).max(self.stamped_ms.load(Ordering::Acquire))
    }

    /// Proposes a command, stamped with the time of this node, which within a group never goes back.
    pub(super) async fn propose(
        &self,
        mut command: Command,
        now_ms: u64,
        deadline: Instant,
    ) -> Result<Outcome, ProposeError> {
        if self.fate.reason().is_some() {
            return Err(ProposeError::Stopped);
        }
        if !command.body.is_empty() && self.machine.is_full() {
            return Err(ProposeError::ColdBehind);
        }
        let place = self
            .places
            .clone()
            .try_acquire_owned()
            .map_err(|_| ProposeError::Overloaded)?;
        command.now_ms = now_ms.max(self.stamped_ms.fetch_max(now_ms, Ordering::AcqRel));
        let (meta, body) = command.encode();
        let (waiting, answer) = Waiting::new(place);
        match self.raft.client_write_ff(Envelope { meta, body }, Some(waiting)).await {
            Ok(()) => {}
            // The core was gone before it took the message.
            Err(Fatal::Stopped) => return Err(ProposeError::Stopped),
            Err(error) => return Err(ProposeError::Unknown(self.failed(error))),
        }
        match rt::timeout_at(deadline, answer).await {
            Ok(Ok(Ok(written))) => written
                .data
                .0
                .ok_or_else(|| ProposeError::Unknown("it was no command".into())),
            Ok(Ok(Err(ClientWriteError::ForwardToLeader(_)))) => Err(ProposeError::NotLeader),
            Ok(Ok(Err(error))) => Err(ProposeError::Unknown(error.to_string())),
            Ok(Err(_)) => Err(ProposeError::Unknown("this node stopped before the answer came".into())),
            Err(rt::Elapsed) => Err(ProposeError::Unknown(
                "no majority stored it before the deadline".into(),
            )),
        }
    }
}
