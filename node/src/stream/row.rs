//! What is remembered of a stream, and of each producer that wrote to it. Rows of the index, and of a group's image.

use serde::{Deserialize, Serialize};

use super::command::ProducerTuple;
use super::fork::Base;
use super::lifetime::Lifetime;
use super::offset::Offset;
use super::outcome::Standing;
use super::retention::{Mark, Retention};
use super::snapshot::SnapshotRef;
use super::versioned::{self, BadFormat};

/// Version byte of an encoded stream row.
const STREAM_VERSION: u8 = 1;

/// Version byte of an encoded claim.
const CLAIM_VERSION: u8 = 1;

/// A stream that exists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamRow {
    /// Log index of the entry that created it: no other stream of its group, before or after, has the same.
    pub incarnation: u64,
    /// As the creator spelled it.
    pub content_type: String,
    /// When it was created, in Unix milliseconds of the group's time.
    pub created_ms: u64,
    /// One past the last byte.
    pub tail: Offset,
    /// First byte still there.
    pub earliest: Offset,
    /// Set once, never unset.
    pub closed: Option<Closing>,
    /// The last `Stream-Seq`, if there was one.
    pub last_seq: Option<String>,
    /// How many producers have a claim.
    pub producers: u32,
    /// How long it lives.
    pub lifetime: Lifetime,
    /// When its last use was noted, in Unix milliseconds of the group's time: kept up to date only where a use prolongs
    /// its life.
    pub touched_ms: u64,
    /// Under which time the index of deadlines holds it, if it does: never later than it is due.
    pub deadline_key_ms: Option<u64>,
    /// What it forgets by itself.
    pub retention: Retention,
    /// When its bytes came, oldest first, as far as that matters for `retention`. Bounded.
    pub marks: Vec<Mark>,
    /// When it was last appended to or closed, or else created, in Unix milliseconds of the group's time.
    pub written_ms: u64,
    /// The newest snapshot, if one was published. Few streams have one: it must not make all rows larger.
    pub snapshot: Option<Box<SnapshotRef>>,
    /// If it is a fork: where its first bytes are.
    pub base: Option<Box<Base>>,
    /// How many references to it are kept: for forks, and for attempts at such.
    pub refs: u32,
    /// Deleted, or over, and kept for its forks only.
    pub gone: bool,
}

/// How a stream was closed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closing {
    /// The producer's claim that closed it: its retry is no error.
    pub by: Option<ProducerTuple>,
}

/// The last append of a producer that was accepted. One row per producer and stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// Its life.
    pub epoch: u64,
    /// Its sequence number.
    pub seq: u64,
    /// Where the stream ended after it.
    pub next: Offset,
    /// When it was accepted, in Unix milliseconds of the group's time.
    pub used_ms: u64,
    /// Whether it closed the stream.
    pub closed: bool,
}

impl StreamRow {
    /// The row of an open, empty stream.
    #[must_use]
    pub fn born(incarnation: u64, content_type: String, now_ms: u64) -> Self {
        Self {
            incarnation,
            content_type,
            created_ms: now_ms,
            tail: Offset(0),
            earliest: Offset(0),
            closed: None,
            last_seq: None,
            producers: 0,
            lifetime: Lifetime::Forever,
            touched_ms: now_ms,
            deadline_key_ms: None,
            retention: Retention::default(),
            marks: Vec::new(),
            written_ms: now_ms,
            snapshot: None,
            base: None,
            refs: 0,
            gone: false,
        }
    }

    /// Where the stream stands.
    #[must_use]
    pub fn standing(&self) -> Standing {
        Standing {
            incarnation: self.incarnation,
            earliest: self.earliest,
            tail: self.tail,
            closed: self.closed.is_some(),
        }
    }

    /// As stored.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        versioned::encode(STREAM_VERSION, self)
    }

    /// What [`StreamRow::encode`] wrote.
    ///
    /// # Errors
    /// When it is of an unknown version or damaged.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadFormat> {
        versioned::decode("stream row", STREAM_VERSION, bytes)
    }
}

impl Claim {
    /// As stored.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        versioned::encode(CLAIM_VERSION, self)
    }

    /// What [`Claim::encode`] wrote.
    ///
    /// # Errors
    /// When it is of an unknown version or damaged.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadFormat> {
        versioned::decode("producer row", CLAIM_VERSION, bytes)
    }
}
