//! What openraft is told about us: which types make up our Raft.

use std::fmt;

use bytes::Bytes;
use openraft::raft::responder::Responder;
use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::runtime::Runtime;
use crate::stream::Outcome;

/// Our Raft: one leader a term, log ids of (term, index).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Types;

impl openraft::RaftTypeConfig for Types {
    type D = Envelope;
    type R = Answer;
    type NodeId = u64;
    type Node = Member;
    type Term = u64;
    type LeaderId = openraft::impls::leader_id_std::LeaderId<u64, u64>;
    type Vote = openraft::impls::Vote<Self::LeaderId>;
    type Payload = openraft::EntryPayload<Envelope, u64, Member>;
    type Entry = openraft::Entry<<Self::LeaderId as openraft::vote::RaftLeaderId>::Committed, Self::Payload>;
    type AsyncRuntime = Runtime;
    type Responder<T>
        = Waiting<T>
    where
        T: openraft::OptionalSend + 'static;
    type Batch<T>
        = openraft::impls::InlineBatch<T>
    where
        T: openraft::OptionalSend + 'static;
    type ErrorSource = openraft::impls::BoxedErrorSource;
}

/// (term, index).
pub(super) type LogId = openraft::alias::LogIdOf<Types>;
/// Term, candidate, and whether a quorum granted it.
pub(super) type Vote = openraft::alias::VoteOf<Types>;
/// A log id and what it carries.
pub(super) type Entry = openraft::alias::EntryOf<Types>;
/// What a log entry carries.
pub(super) type Payload = openraft::EntryPayload<Envelope, u64, Member>;
/// Voters and learners.
pub(super) type Membership = openraft::Membership<u64, Member>;
/// Voters and learners, and the log id that made them so.
pub(super) type StoredMembership = openraft::alias::StoredMembershipOf<Types>;

/// A log id of a term and an index.
pub(super) fn log_id(term: u64, index: u64) -> LogId {
    LogId::new(openraft::alias::CommittedLeaderIdOf::<Types>::new(term), index)
}

/// A member of a group.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Member {
    /// Where its peers reach it: `host:port`.
    pub addr: String,
}

/// An encoded [`Command`](crate::stream::Command): the log carries it without looking inside.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Envelope {
    /// Everything but the body.
    #[serde(with = "shared")]
    pub meta: Bytes,
    /// The bytes to store, shared and never copied.
    #[serde(with = "shared")]
    pub body: Bytes,
}

impl fmt::Debug for Envelope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Envelope({} + {} bytes)", self.meta.len(), self.body.len())
    }
}

impl fmt::Display for Envelope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// `Bytes` as serde sees them. openraft asks for it; our own formats ([`codec`](super::codec)) never use it.
mod shared {
    use bytes::Bytes;
    use serde::{Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
        serde_bytes::serialize(&bytes[..], serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
        serde_bytes::deserialize::<Vec<u8>, D>(deserializer).map(Bytes::from)
    }
}

/// What applying an entry answered: the law's outcome, or nothing for an entry that was no command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Answer(pub Option<Outcome>);

/// Who waits for a proposal. Holds its place in the group's bound until the answer is known, whether or not somebody
/// still listens: a client that hangs up does not make room for another.
pub(super) struct Waiting<T> {
    sender: oneshot::Sender<T>,
    _place: OwnedSemaphorePermit,
}

impl<T> Waiting<T> {
    /// The waiting end, and where the answer arrives.
    pub(super) fn new(place: OwnedSemaphorePermit) -> (Self, oneshot::Receiver<T>) {
        let (sender, receiver) = oneshot::channel();
        (Self { sender, _place: place }, receiver)
    }
}

impl<T: openraft::OptionalSend + 'static> Responder<Types, T> for Waiting<T> {
    fn on_complete(self, result: T) {
        // Nobody may be listening any more: the client hung up or its deadline passed.
        drop(self.sender.send(result));
    }
}
