//! What can be asked of a stream, spelled once: built by `http`, stamped by the leader, carried by the log, judged by
//! [`apply`](super::apply()).
//!
//! The bytes to store travel beside the rest, never inside it, so that they are never copied: an encoded command is a
//! pair (meta, body), and in a log entry the body comes last.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::bucket::BucketOp;
use super::etag::Condition;
use super::fork::ForkOp;
use super::lifetime::Lifetime;
use super::moved::Moved;
use super::name::{StreamName, group_of};
use super::offset::Offset;
use super::retention::Retention;
use super::snapshot::{Publish, SnapshotOp};
use super::versioned::{self, BadFormat};

/// Version byte of an encoded command's meta.
const VERSION: u8 = 1;

/// The group that holds the registry of buckets.
pub const REGISTRY: u32 = 0;

/// One change asked of one stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// Unix milliseconds, stamped by the leader that proposes it; 0 until then. The law lets time never go back.
    pub now_ms: u64,
    /// Which stream.
    pub stream: StreamName,
    /// What to do.
    pub op: Op,
    /// The bytes to store; empty where there are none. Not part of the meta.
    #[serde(skip)]
    pub body: Bytes,
}

/// What to do with a stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Op {
    /// `PUT`: make it, with the body as its first bytes.
    Create(Create),
    /// `POST`: add the body at the tail, or close, or both. An empty body must close.
    Append(Append),
    /// `DELETE`: forget it.
    Delete(Delete),
    /// Forget its oldest bytes.
    Trim(Trim),
    /// Somebody uses it: note that, if it prolongs its life.
    Touch(Touch),
    /// Do to it what time has made due: let it go if it is over, forget what is too old.
    Tend,
    /// Something about the bucket as a whole; the command's stream is [`StreamName::of_bucket`].
    Bucket(BucketOp),
    /// Something about its snapshots.
    Snapshot(SnapshotOp),
    /// A step of making or unmaking a fork: of it, or for it.
    Fork(ForkOp),
    /// Bytes of the group have moved to the cold store; the command's stream is [`Moved::no_stream`].
    Moved(Moved),
}

/// `PUT`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Create {
    /// Media type of the stream, for good.
    pub content_type: String,
    /// Whether it is born closed: the body is all there will ever be.
    pub closed: bool,
    /// `If-Match`.
    pub if_match: Option<Condition>,
    /// `Stream-TTL` or `Stream-Expires-At`.
    pub lifetime: Lifetime,
    /// What it forgets by itself, as far as the client says so.
    pub retention: Retention,
    /// What it forgets by itself where the client does not say.
    pub retention_default: Retention,
    /// How far of group 0's log its sender had applied when it saw the bucket live there: see the law of buckets. Set by
    /// the node that carries it.
    pub as_of: u64,
}

/// `POST`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Append {
    /// Media type of the body; must be the stream's. Not looked at when the body is empty.
    pub content_type: Option<String>,
    /// `Stream-Closed: true`: nothing comes after this.
    pub close: bool,
    /// The three `Producer-` headers.
    pub producer: Option<ProducerTuple>,
    /// `Stream-Seq`: must be greater, byte by byte, than the last one.
    pub seq: Option<String>,
    /// `If-Match`.
    pub if_match: Option<Condition>,
}

/// `DELETE`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delete {
    /// `If-Match`.
    pub if_match: Option<Condition>,
}

/// Trimming: asked for by a snapshot that stands for the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trim {
    /// Of this life of the stream only.
    pub incarnation: u64,
    /// The first byte to keep. In a JSON stream, the first one of a message. Past the tail it means the tail.
    pub below: Offset,
}

/// A use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Touch {
    /// Of this life of the stream only.
    pub incarnation: u64,
}

/// Who writes, in which of its lives, and which of its appends this is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProducerTuple {
    /// `Producer-Id`.
    pub id: String,
    /// `Producer-Epoch`: raised by every new life of the producer.
    pub epoch: u64,
    /// `Producer-Seq`: 0, 1, 2, … within an epoch.
    pub seq: u64,
}

impl Command {
    /// Meta and body. The body is shared, not copied.
    #[must_use]
    pub fn encode(&self) -> (Bytes, Bytes) {
        (Bytes::from(versioned::encode(VERSION, self)), self.body.clone())
    }

    /// The command of a meta and a body.
    ///
    /// # Errors
    /// When the meta is of an unknown version or damaged.
    pub fn decode(meta: &[u8], body: Bytes) -> Result<Self, BadFormat> {
        let mut command: Self = versioned::decode("command", VERSION, meta)?;
        command.body = body;
        Ok(command)
    }

    /// Whether the command may go into the log of this group, of so many: the group of its stream, unless it is one of
    /// those that concern several groups.
    #[must_use]
    pub fn belongs_to(&self, group: u32, groups: u32) -> bool {
        match self.op {
            Op::Create(_)
            | Op::Append(_)
            | Op::Delete(_)
            | Op::Trim(_)
            | Op::Touch(_)
            | Op::Tend
            | Op::Snapshot(_)
            | Op::Fork(_) => group == group_of(&self.stream, groups),
            Op::Bucket(BucketOp::Seal { .. }) | Op::Moved(_) => group < groups,
            Op::Bucket(_) => group == REGISTRY,
        }
    }

    /// Whether a client asked for exactly this, and may be told to ask the leader itself. Steps of something larger are
    /// carried there by the node.
    #[must_use]
    pub fn is_of_client(&self) -> bool {
        match &self.op {
            Op::Create(_) | Op::Append(_) | Op::Delete(_) => true,
            Op::Trim(_) | Op::Touch(_) | Op::Tend | Op::Bucket(_) | Op::Fork(_) | Op::Moved(_) => false,
            Op::Snapshot(op) => matches!(op, SnapshotOp::Begin { .. } | SnapshotOp::Trim { .. }),
        }
    }

    /// The producer whose claim must be loaded before the law can judge.
    #[must_use]
    pub fn producer(&self) -> Option<&ProducerTuple> {
        match &self.op {
            Op::Append(append) => append.producer.as_ref(),
            _ => None,
        }
    }

    /// The blob whose row must be looked for before the law can judge.
    #[must_use]
    pub fn blob(&self) -> Option<u64> {
        match &self.op {
            Op::Snapshot(
                SnapshotOp::Part { blob, .. }
                | SnapshotOp::Publish(Publish { blob, .. })
                | SnapshotOp::Drop { blob, .. },
            ) => Some(*blob),
            _ => None,
        }
    }

    /// The step of making or unmaking a fork that it is, if it is one: more rows must be loaded before the law can judge.
    #[must_use]
    pub fn fork(&self) -> Option<&ForkOp> {
        match &self.op {
            Op::Fork(fork) => Some(fork),
            _ => None,
        }
    }
}
