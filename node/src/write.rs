//! The journey of a write: to the group's leader, here or elsewhere, and back with its outcome.
//!
//! A write ends in one of three ways: an outcome of the law; certainly not stored; or nobody knows. What certainly was
//! not stored is tried again until the deadline; what nobody knows is never tried again here, because without producer
//! headers a second attempt could store it twice. The client decides.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use net::rt::{self, Instant};

use crate::{
    Core,
    bucket::Missing,
    config::WriteRouting,
    peer::{BULK, NotDone},
    raft::{Lead, ProposeError},
    stream::{Command, Op, Outcome, group_of},
};

/// Kind of a peer call that carries a command to the leader: `u32 length of meta | meta | body`, big-endian, answered with an
/// encoded outcome behind [`DONE`], or with [`LOST`], [`OVERLOADED`] or [`COLD_BEHIND`] alone.
pub(crate) const FORWARD: u8 = BULK | 0x40;

/// An outcome follows.
const DONE: u8 = 0;
/// Nobody knows what became of it.
const LOST: u8 = 1;
/// Not stored: the group has as many writes under way as it may.
const OVERLOADED: u8 = 2;
/// Not stored: the journal is full of bytes that the cold store does not take.
const COLD_BEHIND: u8 = 3;

/// The pauses between attempts that found no leader.
const PAUSE_MIN: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_millis(200);

/// What is taken off a deadline for the way back of an answer.
const WAY_BACK: Duration = Duration::from_millis(50);

/// Why a write has no outcome.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// Certainly not stored: no leader took it before the deadline.
    #[error("not stored, no leader took it: {because}")]
    NoLeader {
        /// What the last attempt met.
        because: String,
    },
    /// Certainly not stored: the group has as many writes under way as it may.
    #[error("not stored, too many writes are under way")]
    Overloaded,
    /// Certainly not stored: the journal holds as much as it may, because the cold store does not take the old bytes.
    #[error("not stored, the cold store does not take old bytes and the journal is full of them")]
    ColdBehind,
    /// Certainly not stored: this node is shutting down.
    #[error("not stored, this node is shutting down")]
    Stopping,
    /// Certainly not stored here: this node redirects, and this is the leader's address.
    #[error("not stored, {leader} leads")]
    Redirect {
        /// `host:port`.
        leader: String,
    },
    /// Nobody knows: it may be stored, or may yet be.
    #[error("may or may not be stored: {because}")]
    Unknown {
        /// What happened.
        because: String,
    },
}

/// One attempt that brought no outcome.
enum Miss {
    /// Nothing was stored; another attempt may find a leader.
    NotStored(String),
    /// It is over.
    Final(WriteError),
}

impl Core {
    /// Carries a client's command to the leader of its stream's group. A create makes its bucket if there is none.
    ///
    /// # Errors
    /// When there is no outcome; see [`WriteError`].
    pub(crate) async fn write(&self, command: Command, deadline: Instant) -> Result<Outcome, WriteError> {
        if matches!(command.op, Op::Create(_)) {
            return self.create(command, Missing::Made, deadline).await;
        }
        let group = group_of(&command.stream, self.groups.count());
        self.write_to(group, command, deadline).await
    }

    /// Carries a command to the leader of a group, which must be one where it [belongs](Command::belongs_to). `now_ms` is
    /// stamped there.
    ///
    /// # Errors
    /// When there is no outcome; see [`WriteError`].
    pub(crate) async fn write_to(
        &self,
        group: u32,
        command: Command,
        deadline: Instant,
    ) -> Result<Outcome, WriteError> {
        let redirects = self.config.http.write_routing == WriteRouting::Redirect && command.is_of_client();
        let mut pause = PAUSE_MIN;
        loop {
            let attempt = match self.groups.leader(group) {
                Lead::Here => self.propose(group, command.clone(), deadline).await,
                Lead::At { node } if redirects => {
                    return Err(match self.peers.known().remove(&node) {
                        Some(leader) => WriteError::Redirect { leader },
                        None => WriteError::NoLeader {
                            because: format!("the address of node {node} is not known"),
                        },
                    });
                }
                Lead::At { node } => self.forward(node, group, &command, deadline).await,
                Lead::Nobody => Err(Miss::NotStored("no leader is known".into())),
            };
            let because = match attempt {
                Ok(outcome) => return Ok(outcome),
                Err(Miss::Final(error)) => return Err(error),
                Err(Miss::NotStored(because)) => because,
            };
            if Instant::now() + pause >= deadline {
                return Err(WriteError::NoLeader { because });
            }
            rt::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    async fn propose(&self, group: u32, command: Command, deadline: Instant) -> Result<Outcome, Miss> {
        let answer = match self.send_ahead(group, &command, deadline).await {
            Some(ahead) => {
                let answer = self.groups.propose(group, ahead.command.clone(), deadline).await;
                ahead.answered(&answer);
                answer
            }
            None => self.groups.propose(group, command, deadline).await,
        };
        let outcome = answer.map_err(|error| match error {
            ProposeError::NotLeader => Miss::NotStored("leadership has just moved".into()),
            ProposeError::Overloaded => Miss::Final(WriteError::Overloaded),
            ProposeError::ColdBehind => Miss::Final(WriteError::ColdBehind),
            ProposeError::Stopped => Miss::Final(WriteError::Stopping),
            ProposeError::Unknown(because) => Miss::Final(WriteError::Unknown { because }),
        })?;
        match outcome {
            // Its body had gone ahead, and is not where or whose it was to be.
            Outcome::Moved { counts: false } => {
                Err(Miss::NotStored("leadership moved, or the stream is another".into()))
            }
            outcome => Ok(outcome),
        }
    }

    async fn forward(&self, to: u64, group: u32, command: &Command, deadline: Instant) -> Result<Outcome, Miss> {
        let (meta, body) = command.encode();
        let mut head = BytesMut::with_capacity(4 + meta.len());
        head.extend_from_slice(
            &u32::try_from(meta.len())
                .expect("a command without its body is small")
                .to_be_bytes(),
        );
        head.extend_from_slice(&meta);
        let left = deadline.saturating_duration_since(Instant::now());
        let unknown = |because: String| Miss::Final(WriteError::Unknown { because });
        match self
            .peers
            .call(to, FORWARD, group, vec![head.freeze(), body], left)
            .await
        {
            Ok(answer) => match answer.split_first() {
                Some((&DONE, outcome)) => Outcome::decode(outcome)
                    .map_err(|error| unknown(format!("the answer of node {to} makes no sense: {error}"))),
                Some((&OVERLOADED, _)) => Err(Miss::Final(WriteError::Overloaded)),
                Some((&COLD_BEHIND, _)) => Err(Miss::Final(WriteError::ColdBehind)),
                _ => Err(unknown(format!("node {to} lost track of it"))),
            },
            Err(error) if error.sent => Err(unknown(format!("node {to}: {error}"))),
            Err(error) => Err(Miss::NotStored(format!("node {to}: {error}"))),
        }
    }

    /// The other end of [`FORWARD`]: proposes once, here or nowhere.
    pub(crate) async fn forwarded(&self, group: u32, payload: Bytes) -> Result<Vec<Bytes>, NotDone> {
        let command = decode_forward(payload).map_err(NotDone)?;
        if !command.belongs_to(group, self.groups.count()) {
            return Err(NotDone("the command belongs to another group".into()));
        }
        let deadline = Instant::now() + self.config.http.request_deadline.saturating_sub(WAY_BACK);
        match self.propose(group, command, deadline).await {
            Ok(outcome) => Ok(vec![Bytes::from_static(&[DONE]), outcome.encode().into()]),
            Err(Miss::Final(WriteError::Unknown { because })) => {
                tracing::debug!(group, because, "the outcome of a forwarded write is unknown");
                Ok(vec![Bytes::from_static(&[LOST])])
            }
            Err(Miss::Final(WriteError::Overloaded)) => Ok(vec![Bytes::from_static(&[OVERLOADED])]),
            Err(Miss::Final(WriteError::ColdBehind)) => Ok(vec![Bytes::from_static(&[COLD_BEHIND])]),
            Err(Miss::Final(error)) => Err(NotDone(error.to_string())),
            Err(Miss::NotStored(because)) => Err(NotDone(because)),
        }
    }
}

fn decode_forward(mut payload: Bytes) -> Result<Command, String> {
    if payload.len() < 4 {
        return Err("a forwarded command is cut off".into());
    }
    let head = payload.split_to(4);
    let meta_len = u32::from_be_bytes(head[..].try_into().expect("four bytes")) as usize;
    if payload.len() < meta_len {
        return Err("a forwarded command is cut off".into());
    }
    let meta = payload.split_to(meta_len);
    Command::decode(&meta, payload).map_err(|error| error.to_string())
}
