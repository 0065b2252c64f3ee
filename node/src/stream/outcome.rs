//! What the law answers. `http` turns it into a status and headers; a follower gets it back from the leader as is.

use serde::{Deserialize, Serialize};

use super::bucket::{BucketOutcome, BucketRefusal};
use super::etag::ETag;
use super::fork::{ForkDone, ForkRefusal};
use super::offset::Offset;
use super::snapshot::{SnapshotDone, SnapshotRefusal};
use super::versioned::{self, BadFormat};

/// Version byte of an encoded outcome.
const VERSION: u8 = 1;

/// Where a stream stands after a command, or when it was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// Which life of the stream.
    pub incarnation: u64,
    /// First byte still there.
    pub earliest: Offset,
    /// One past the last byte: `Stream-Next-Offset`.
    pub tail: Offset,
    /// Whether nothing will ever follow: `Stream-Closed`.
    pub closed: bool,
}

impl Standing {
    /// The tag of the whole stream as it stands, answered by writes and HEAD.
    #[must_use]
    pub fn etag(&self) -> ETag {
        let Self {
            incarnation,
            earliest,
            tail,
            closed,
        } = *self;
        ETag {
            incarnation,
            start: earliest.0,
            end: tail.0,
            closed,
        }
    }
}

/// The highest claim of a producer that was ever accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// `Producer-Epoch`.
    pub epoch: u64,
    /// `Producer-Seq`.
    pub seq: u64,
}

/// What became of a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// `PUT` made the stream.
    Created {
        /// As it stands.
        standing: Standing,
    },
    /// `PUT` asked for the stream that is there. Nothing changed, the body was not stored.
    Exists {
        /// As it stands.
        standing: Standing,
        /// Its media type, as first spelled.
        content_type: String,
    },
    /// `POST` stored its body, or closed the stream, or both.
    Appended {
        /// As it stands after that.
        standing: Standing,
        /// What is now known of the producer, if it named itself.
        producer: Option<Accepted>,
    },
    /// The producer wrote this before. Nothing changed.
    Duplicate {
        /// As it stands now, which may be well past the first time's answer.
        standing: Standing,
        /// The highest claim accepted, which may be higher than the one repeated.
        producer: Accepted,
    },
    /// A close without a body or producer found the stream closed. Nothing changed.
    AlreadyClosed {
        /// As it stands.
        standing: Standing,
    },
    /// `DELETE` removed the stream.
    Deleted,
    /// Nothing changed, because.
    Refused(Refusal),
    /// The bytes below `standing.earliest` are forgotten, some of them perhaps before this.
    Trimmed {
        /// As it stands.
        standing: Standing,
    },
    /// The use is noted, or need not be; or nothing of the stream was due any more.
    Alive {
        /// As it stands.
        standing: Standing,
        /// When its last use was noted.
        touched_ms: u64,
    },
    /// To a command on a bucket as a whole.
    Bucket(BucketOutcome),
    /// Something was done about its snapshots.
    Snapshot(SnapshotDone),
    /// A step of making or unmaking a fork is done.
    Fork(ForkDone),
    /// To [`Moved`](super::Moved); or to a command whose bytes are [`Elsewhere`](super::Elsewhere) and do not count.
    Moved {
        /// Whether the object counts. If not, nothing refers to it, now or ever.
        counts: bool,
    },
}

/// Why a command changed nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// There is no such stream (404).
    NotFound,
    /// `PUT`: a stream of that name is there with another media type, closed state, lifetime or retention (409).
    Conflict {
        /// As it stands.
        standing: Standing,
        /// Its media type.
        content_type: String,
    },
    /// The stream is closed (409, with `Stream-Closed` and `Stream-Next-Offset`).
    Closed {
        /// As it stands.
        standing: Standing,
    },
    /// The body is of another media type than the stream (409).
    ContentType {
        /// The stream's.
        expected: String,
    },
    /// `Stream-Seq` is not greater than the last one (409, with `Stream-Next-Offset`, so that who lost a race can read
    /// on from there).
    StreamSeq {
        /// As it stands.
        standing: Standing,
        /// The last one.
        last: String,
    },
    /// A newer life of this producer has written (403, with `Producer-Epoch`).
    Fenced {
        /// The newest epoch known.
        epoch: u64,
    },
    /// Appends of this producer are missing in between (409, with both numbers).
    Gap {
        /// `Producer-Expected-Seq`.
        expected: u64,
        /// `Producer-Received-Seq`.
        received: u64,
    },
    /// The first append of a producer's life has sequence 0 (400).
    MustStartAtZero {
        /// What it had.
        received: u64,
    },
    /// The stream remembers [`PRODUCERS_MAX`](super::PRODUCERS_MAX) producers and knows not this one (409).
    TooManyProducers,
    /// `If-Match` does not hold (412).
    IfMatch {
        /// As it stands; `None` when there is no stream.
        standing: Option<Standing>,
    },
    /// `POST` with neither a body nor a close (400).
    EmptyAppend,
    /// Something is longer or larger than the law allows (400). `http` refuses these first.
    TooLong {
        /// What.
        field: Field,
    },
    /// The stream would end past the last offset there is (413). Nobody will live to see it.
    Full,
    /// `PUT`: its bucket does not take it.
    Bucket(BucketRefusal),
    /// It was about a snapshot.
    Snapshot(SnapshotRefusal),
    /// The stream was deleted and is kept for its forks only (410; for `PUT` 409).
    Gone,
    /// A step of making a fork is not lawful.
    Fork(ForkRefusal),
}

/// What was too long or too large.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Field {
    /// The path: [`NAME_BYTES_MAX`](super::NAME_BYTES_MAX).
    Name,
    /// `Content-Type`: [`CONTENT_TYPE_BYTES_MAX`](super::CONTENT_TYPE_BYTES_MAX).
    ContentType,
    /// `Stream-Seq`: [`STREAM_SEQ_BYTES_MAX`](super::STREAM_SEQ_BYTES_MAX).
    StreamSeq,
    /// `Producer-Id`: [`PRODUCER_ID_BYTES_MAX`](super::PRODUCER_ID_BYTES_MAX), and never empty.
    ProducerId,
    /// `Producer-Epoch` or `Producer-Seq`: [`PRODUCER_NUMBER_MAX`](super::PRODUCER_NUMBER_MAX).
    ProducerNumber,
}

impl Outcome {
    /// For the way back to a node that forwarded the command.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        versioned::encode(VERSION, self)
    }

    /// What [`Outcome::encode`] wrote.
    ///
    /// # Errors
    /// When it is of an unknown version or damaged.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadFormat> {
        versioned::decode("outcome", VERSION, bytes)
    }

    /// Where the stream stands, if the answer says so.
    #[must_use]
    pub fn standing(&self) -> Option<&Standing> {
        match self {
            Self::Created { standing }
            | Self::Exists { standing, .. }
            | Self::Appended { standing, .. }
            | Self::Duplicate { standing, .. }
            | Self::AlreadyClosed { standing }
            | Self::Trimmed { standing }
            | Self::Alive { standing, .. }
            | Self::Refused(
                Refusal::Closed { standing } | Refusal::Conflict { standing, .. } | Refusal::StreamSeq { standing, .. },
            ) => Some(standing),
            Self::Refused(Refusal::IfMatch { standing }) => standing.as_ref(),
            Self::Snapshot(SnapshotDone::Published { standing } | SnapshotDone::Trimmed { standing }) => Some(standing),
            Self::Deleted
            | Self::Bucket(_)
            | Self::Snapshot(_)
            | Self::Fork(_)
            | Self::Moved { .. }
            | Self::Refused(_) => None,
        }
    }
}
