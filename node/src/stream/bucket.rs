//! The law of a bucket: it is made, and it goes only when it is empty, though its streams live in many groups.
//!
//! Group 0 holds the registry: a row for each bucket. Deleting one takes three steps, each in a log:
//!
//! 1. **begin** (group 0): the bucket is being deleted. The place of this entry, `begun`, names the deletion for ever.
//! 2. **seal** (every group): refused if the group holds a stream of the bucket. Else the group takes from now on only
//!    those creates whose sender had seen the registry at `begun` or later ([`Create::as_of`](super::Create::as_of)).
//! 3. **finish** (group 0): all groups sealed, so the row goes; or one held a stream, so the bucket lives on.
//!
//! Why nothing slips through: a create carries how far its sender had read the registry when it saw the bucket live. Was
//! that before `begun`, every sealed group refuses it, whenever it arrives; a group not yet sealed takes it, and is then
//! not empty when its seal comes. Was it after, the sender saw that the bucket lived on, or is another, later one. One
//! number per group is enough for this, for all buckets there ever were: a create that another bucket's seal refuses
//! looks at the registry again, which has its node's copy in memory, and comes back.
//!
//! All steps may be repeated: a deletion whose owner vanished is finished by whoever finds it.
//!
//! A bucket may say what its streams forget. It says so when it is made, for good, and every stream takes it along when it
//! is created ([`Create::retention_default`](super::Create::retention_default)): so its group never asks the registry. A
//! create that saw an earlier bucket of the name is refused by the seal, and so no stream keeps to the policy of another.

use serde::{Deserialize, Serialize};

use super::apply::Moment;
use super::command::Command;
use super::limits::{BUCKETS_MAX, NAME_BYTES_MAX};
use super::outcome::{Field, Outcome, Refusal};
use super::retention::Retention;
use super::versioned::{self, BadFormat};

/// Version byte of an encoded bucket row.
const VERSION: u8 = 1;

/// A bucket that exists. A row of group 0, and of its image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketRow {
    /// When it was made, in Unix milliseconds of group 0's time.
    pub created_ms: u64,
    /// The deletion under way, by the log index of the entry that began it. `None`: streams may be created.
    pub deleting: Option<u64>,
    /// What its streams forget where they do not say themselves. Set when it is made, for good.
    pub retention: Retention,
}

/// What is done to a bucket as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum BucketOp {
    /// Group 0: make it.
    Create {
        /// What its streams forget where they do not say themselves.
        retention: Retention,
    },
    /// Group 0: nobody creates streams in it from now on.
    BeginDelete,
    /// Any group: refuse creates that saw the registry before `begun`, if no stream of the bucket is here.
    Seal {
        /// Which deletion.
        begun: u64,
    },
    /// Group 0: every group is sealed; forget it.
    FinishDelete {
        /// Which deletion.
        begun: u64,
    },
    /// Group 0: a group holds a stream; streams may be created again.
    AbortDelete {
        /// Which deletion.
        begun: u64,
    },
}

/// What became of a command on a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum BucketOutcome {
    /// It was made.
    Made {
        /// As of when it is certainly live: see [`Create::as_of`](super::Create::as_of).
        as_of: u64,
    },
    /// It was there.
    Exists {
        /// As of when it is certainly live.
        as_of: u64,
        /// What its streams forget where they do not say themselves.
        retention: Retention,
    },
    /// There is none.
    NotFound,
    /// A deletion of it is under way, begun by somebody else.
    Busy,
    /// The deletion has begun, and is the asker's to finish.
    Begun {
        /// Its name.
        begun: u64,
    },
    /// The group is sealed.
    Sealed,
    /// The group, or some group, holds streams of it.
    NotEmpty {
        /// How many; soft-deleted and expired ones that are not yet collected count.
        streams: u64,
    },
    /// It is gone.
    Deleted,
    /// The deletion is over, and the bucket lives on.
    Aborted,
    /// Somebody else has ended this deletion, in whichever way.
    Settled,
    /// There are as many buckets as there may be.
    TooMany,
}

/// Why a stream could not be created in its bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum BucketRefusal {
    /// The sender saw the registry too early: look again once this much of group 0 is applied, and come back.
    Sealed {
        /// Log index of group 0.
        at: u64,
    },
    /// There is no such bucket (404).
    NotFound,
    /// It is being deleted, and that took longer than could be waited for (503).
    Busy,
    /// It would be one bucket too many (409).
    TooMany,
}

/// The rows a command on a bucket concerns, as they are in its group.
#[derive(Debug, Clone, Copy, Default)]
pub struct LoadedBucket<'a> {
    /// Group 0: the bucket's row.
    pub row: Option<&'a BucketRow>,
    /// Group 0: how many buckets there are.
    pub buckets: u64,
    /// How many stream rows of the bucket this group holds.
    pub streams: u64,
    /// What this group is sealed at.
    pub sealed: u64,
}

/// What a command on a bucket does, all in one batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketTransition {
    /// What to answer.
    pub outcome: Outcome,
    /// What happens to the bucket's row.
    pub row: BucketChange,
    /// What the group is sealed at now.
    pub sealed: u64,
    /// The group's time after this, in Unix milliseconds.
    pub now_ms: u64,
}

/// What happens to a bucket's row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BucketChange {
    /// Nothing.
    Keep,
    /// This is the row now.
    Put(BucketRow),
    /// The row goes.
    Delete,
}

/// Judges a command on a bucket. Total, like [`apply`](super::apply()).
#[must_use]
pub fn apply_bucket(loaded: LoadedBucket<'_>, command: &Command, op: BucketOp, moment: Moment) -> BucketTransition {
    use BucketChange::{Delete, Keep, Put};
    use BucketOutcome as O;

    let now_ms = command.now_ms.max(moment.last_now_ms);
    let deleting = loaded.row.and_then(|row| row.deleting);
    let with = |row: &BucketRow, deleting| {
        Put(BucketRow {
            deleting,
            ..row.clone()
        })
    };
    let mut sealed = loaded.sealed;
    let (outcome, row) = match (op, loaded.row) {
        (BucketOp::Create { .. }, _) if command.stream.bucket().len() > NAME_BYTES_MAX => {
            let outcome = Outcome::Refused(Refusal::TooLong { field: Field::Name });
            return BucketTransition {
                outcome,
                row: Keep,
                sealed,
                now_ms,
            };
        }
        (BucketOp::Create { .. }, None) if loaded.buckets >= BUCKETS_MAX => (O::TooMany, Keep),
        (BucketOp::Create { retention }, None) => {
            let row = BucketRow {
                created_ms: now_ms,
                deleting: None,
                retention,
            };
            (O::Made { as_of: moment.index }, Put(row))
        }
        (BucketOp::Create { .. }, Some(_)) if deleting.is_some() => (O::Busy, Keep),
        (BucketOp::Create { .. }, Some(row)) => {
            let (as_of, retention) = (moment.index, row.retention);
            (O::Exists { as_of, retention }, Keep)
        }

        (BucketOp::BeginDelete, None) => (O::NotFound, Keep),
        (BucketOp::BeginDelete, Some(_)) if deleting.is_some() => (O::Busy, Keep),
        (BucketOp::BeginDelete, Some(row)) => {
            let begun = moment.index;
            (O::Begun { begun }, with(row, Some(begun)))
        }

        (BucketOp::Seal { .. }, _) if loaded.streams > 0 => {
            let streams = loaded.streams;
            (O::NotEmpty { streams }, Keep)
        }
        (BucketOp::Seal { begun }, _) => {
            sealed = sealed.max(begun);
            (O::Sealed, Keep)
        }

        (BucketOp::FinishDelete { begun }, Some(_)) if deleting == Some(begun) => (O::Deleted, Delete),
        (BucketOp::AbortDelete { begun }, Some(row)) if deleting == Some(begun) => (O::Aborted, with(row, None)),
        (BucketOp::FinishDelete { .. } | BucketOp::AbortDelete { .. }, _) => (O::Settled, Keep),
    };
    BucketTransition {
        outcome: Outcome::Bucket(outcome),
        row,
        sealed,
        now_ms,
    }
}

/// Whether a group sealed at `sealed` takes a create whose sender saw its bucket live at `as_of`.
pub(super) fn admits(sealed: u64, as_of: u64) -> Result<(), Refusal> {
    if as_of < sealed {
        return Err(Refusal::Bucket(BucketRefusal::Sealed { at: sealed }));
    }
    Ok(())
}

impl BucketRow {
    /// As stored.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        versioned::encode(VERSION, self)
    }

    /// What [`BucketRow::encode`] wrote.
    ///
    /// # Errors
    /// When it is of an unknown version or damaged.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadFormat> {
        versioned::decode("bucket row", VERSION, bytes)
    }
}
