//! Which bytes answer a read. PROTOCOL-NOTES, Reads.

use super::etag::ETag;
use super::offset::{Offset, Whence};
use super::row::StreamRow;

/// The bytes `start..end` of one incarnation, and what they mean. An empty plan is a good answer: nothing new yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadPlan {
    /// Which life of the stream.
    pub incarnation: u64,
    /// First byte.
    pub start: Offset,
    /// One past the last byte: `Stream-Next-Offset`.
    pub end: Offset,
    /// The stream's tail when the plan was made.
    pub tail: Offset,
    /// Whether `end` is that tail: `Stream-Up-To-Date`.
    pub at_tail: bool,
    /// Whether `end` is the end of a closed stream: `Stream-Closed`.
    pub closed: bool,
}

/// Why there is nothing to read from there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadRefusal {
    /// Nobody has written there yet (400).
    BeyondTail {
        /// The stream's tail.
        tail: Offset,
    },
    /// Those bytes are no longer kept (410, with `Stream-Earliest-Offset`).
    Trimmed {
        /// The first byte still there.
        earliest: Offset,
    },
}

impl ReadPlan {
    /// How many bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.end.0 - self.start.0
    }

    /// Whether there is nothing to fetch.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// The tag of this answer.
    #[must_use]
    pub fn etag(&self) -> ETag {
        ETag {
            incarnation: self.incarnation,
            start: self.start.0,
            end: self.end.0,
            closed: self.closed,
        }
    }
}

/// Plans a read of at most `want_bytes` bytes.
///
/// # Errors
/// When the place is beyond the tail or no longer kept.
pub fn plan(row: &StreamRow, whence: Whence, want_bytes: u64) -> Result<ReadPlan, ReadRefusal> {
    let StreamRow {
        incarnation,
        tail,
        earliest,
        ..
    } = *row;
    let start = match whence {
        Whence::Start => earliest,
        Whence::Now => tail,
        Whence::At(offset) if offset > tail => return Err(ReadRefusal::BeyondTail { tail }),
        Whence::At(offset) if offset < earliest => return Err(ReadRefusal::Trimmed { earliest }),
        Whence::At(offset) => offset,
    };
    let end = Offset(start.0.saturating_add(want_bytes)).min(tail);
    let at_tail = end == tail;
    Ok(ReadPlan {
        incarnation,
        start,
        end,
        tail,
        at_tail,
        closed: at_tail && row.closed.is_some(),
    })
}
