//! What a stream forgets by itself: bytes older than an age, bytes beyond a size. Off unless asked for.
//!
//! Bytes are forgotten whole appends at a time, so that what is left of a JSON stream begins with a message. The row
//! remembers the ends of a few appends and when they came (its marks); bytes between two marks are forgotten together,
//! with the newest of them. So up to an eighth more is kept than asked for, and one append more.

use serde::{Deserialize, Serialize};

use super::offset::Offset;
use super::row::StreamRow;

/// The part of an age or a size that one mark stands for.
const MARK_PART: u64 = 8;

/// Most marks of a row. There are about [`MARK_PART`] of them for the age and as many for the size.
const MARKS_MAX: usize = 32;

/// What is forgotten. Both may be asked for: what either lets go is gone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retention {
    /// Bytes that came so many milliseconds ago.
    pub age_ms: Option<u64>,
    /// Bytes before so many of the newest ones.
    pub bytes: Option<u64>,
}

/// A run of appends, forgotten together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// One past its last byte.
    pub end: Offset,
    /// When its first append came, in Unix milliseconds of the group's time.
    pub first_ms: u64,
    /// When its last append came.
    pub last_ms: u64,
}

impl Retention {
    /// Whether nothing is ever forgotten.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// This policy, and where it says nothing, the other.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            age_ms: self.age_ms.or(other.age_ms),
            bytes: self.bytes.or(other.bytes),
        }
    }

    /// Up to where bytes may be forgotten now.
    fn permits(&self, marks: &[Mark], tail: Offset, now_ms: u64) -> Option<Offset> {
        let old = |mark: &&Mark| {
            self.age_ms
                .is_some_and(|age| mark.last_ms.saturating_add(age) <= now_ms)
        };
        let far = |mark: &&Mark| {
            self.bytes
                .is_some_and(|bytes| tail.0.saturating_sub(mark.end.0) >= bytes)
        };
        marks.iter().rfind(|mark| old(mark) || far(mark)).map(|mark| mark.end)
    }

    /// When time alone lets the oldest bytes go.
    pub(super) fn due_ms(&self, marks: &[Mark]) -> Option<u64> {
        let (age, oldest) = (self.age_ms?, marks.first()?);
        Some(oldest.last_ms.saturating_add(age))
    }
}

impl StreamRow {
    /// Remembers when bytes came that end at the tail now.
    pub(super) fn mark(&mut self, now_ms: u64) {
        let Retention { age_ms, bytes } = self.retention;
        if self.retention.is_none() {
            return;
        }
        let before = self.marks.iter().rev().nth(1).map_or(self.earliest, |mark| mark.end);
        let tail = self.tail;
        match self.marks.last_mut() {
            Some(last)
                if age_ms.is_none_or(|age| now_ms.saturating_sub(last.first_ms) < age / MARK_PART)
                    && bytes.is_none_or(|bytes| tail.0.saturating_sub(before.0) <= bytes / MARK_PART) =>
            {
                last.end = tail;
                last.last_ms = now_ms;
            }
            _ => self.marks.push(Mark {
                end: tail,
                first_ms: now_ms,
                last_ms: now_ms,
            }),
        }
        if self.marks.len() > MARKS_MAX {
            let oldest = self.marks.remove(0);
            self.marks[0].first_ms = oldest.first_ms;
        }
    }

    /// Forgets what may be forgotten now. `true`: something was.
    pub(super) fn retain(&mut self, now_ms: u64) -> bool {
        match self.retention.permits(&self.marks, self.tail, now_ms) {
            Some(below) => self.trim(below),
            None => false,
        }
    }

    /// Forgets the bytes below an offset; never one past the tail. `true`: there were some. Whoever calls this for a
    /// JSON stream gives an offset between two messages.
    pub(super) fn trim(&mut self, below: Offset) -> bool {
        let below = below.min(self.tail);
        self.marks.retain(|mark| mark.end > below);
        let some = below > self.earliest;
        self.earliest = below.max(self.earliest);
        some
    }
}
