//! What can be asked of a stream, spelled once: built by `http`, stamped by the leader, carried by the log, judged by
//! [`apply`](super::apply()).
//!
//! The bytes to store travel beside the rest, never inside it, so that they are never copied: an encoded command is a
//! pair (meta, body), and in a log entry the body comes last.

use std::sync::Arc;

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
use crate::keys::ObjectId;

/// Version byte of an encoded command's meta.
const VERSION: u8 = 1;

/// Version byte of an encoded command's meta, where its bytes are elsewhere: that comes first.
const VERSION_ELSEWHERE: u8 = 2;

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
    /// Where the bytes to store are, if they do not travel with the command. The body is empty then.
    #[serde(skip)]
    pub elsewhere: Option<Arc<Elsewhere>>,
    /// The bytes to store; empty where there are none. Not part of the meta.
    #[serde(skip)]
    pub body: Bytes,
}

/// Bytes that were put into the cold store before the log heard of them.
///
/// As with what [`Moved`] tells, such an object counts only if the leader that wrote it still led when it said so; and
/// only for the life, or the blob, that it was written for. Otherwise the command is as if it had not been.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Elsewhere {
    /// The object. It is whole and durable, and holds nothing else.
    pub object: ObjectId,
    /// Of which life of the stream they are to be, or of which blob.
    pub incarnation: u64,
    /// How many bytes of the object come before.
    pub at: u64,
    /// How many bytes.
    pub len: u64,
    /// Checksums of the pieces of [`PIECE_BYTES`], of which the last may be shorter.
    pub crc32c: Vec<u32>,
}

/// The longest piece of a body that is read, and verified, at once.
pub const PIECE_BYTES: usize = 256 << 10;

impl Elsewhere {
    /// Whether it counts, when the leader of this term put it into the log, for bytes that are to be of this life or blob.
    #[must_use]
    pub fn counts_in(&self, term: u64, incarnation: u64) -> bool {
        (self.object.term, self.incarnation) == (term, incarnation)
    }

    /// The pieces: how many bytes of the object come before, how many it has, and its checksum.
    pub fn pieces(&self) -> impl Iterator<Item = (u64, u32, u32)> + '_ {
        (0..self.len)
            .step_by(PIECE_BYTES)
            .zip(&self.crc32c)
            .map(|(skip, crc32c)| {
                let len = (self.len - skip).min(PIECE_BYTES as u64) as u32;
                (self.at + skip, len, *crc32c)
            })
    }
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
        let meta = match &self.elsewhere {
            None => versioned::encode(VERSION, self),
            Some(elsewhere) => versioned::encode(VERSION_ELSEWHERE, &(&**elsewhere, self)),
        };
        (meta.into(), self.body.clone())
    }

    /// The command of a meta and a body.
    ///
    /// # Errors
    /// When the meta is of an unknown version or damaged.
    pub fn decode(meta: &[u8], body: Bytes) -> Result<Self, BadFormat> {
        if meta.first() == Some(&VERSION) {
            let command: Self = versioned::decode("command", VERSION, meta)?;
            return Ok(Self { body, ..command });
        }
        let (elsewhere, command): (Elsewhere, Self) = versioned::decode("command", VERSION_ELSEWHERE, meta)?;
        let pieces = elsewhere.len.div_ceil(PIECE_BYTES as u64);
        if pieces != elsewhere.crc32c.len() as u64 || !body.is_empty() {
            let (sums, bytes) = (elsewhere.crc32c.len(), elsewhere.len);
            return Err(BadFormat::Damaged {
                what: "command",
                because: format!("{sums} checksums for {bytes} bytes elsewhere, {} here", body.len()),
            });
        }
        Ok(Self {
            elsewhere: Some(elsewhere.into()),
            ..command
        })
    }

    /// How many bytes it has to store.
    #[must_use]
    pub fn body_len(&self) -> u64 {
        self.elsewhere
            .as_ref()
            .map_or(self.body.len() as u64, |elsewhere| elsewhere.len)
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
