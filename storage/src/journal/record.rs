//! What the journal stores, and where.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// The largest payload of one record, in bytes.
pub const MAX_PAYLOAD: u64 = 1 << 30;

/// What a record says. The first six are the caller's; the others are the journal's own and are never shown to a
/// visitor of the recovery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[repr(u8)]
pub enum Kind {
    /// A log entry of a group. One with index `i` replaces every earlier entry of its group from `i` on.
    Entry = 1,
    /// A group's vote; the latest counts.
    Vote = 2,
    /// Entries from `index` on are gone.
    Truncate = 3,
    /// Entries up to and including `index` are no longer needed; the latest counts.
    Purge = 4,
    /// Bytes received with a snapshot.
    Hot = 5,
    /// How far a group is committed; the latest counts.
    Committed = 6,
    /// Which segments were freed, all of them, ever.
    Released = 7,
    /// The last record of a segment; `index` is the next segment.
    End = 8,
    /// Nothing, except that everything before it was synced.
    Seal = 9,
}

impl Kind {
    /// The kind a byte stands for.
    pub(super) fn from_byte(byte: u8) -> Option<Kind> {
        Some(match byte {
            1 => Kind::Entry,
            2 => Kind::Vote,
            3 => Kind::Truncate,
            4 => Kind::Purge,
            5 => Kind::Hot,
            6 => Kind::Committed,
            7 => Kind::Released,
            8 => Kind::End,
            9 => Kind::Seal,
            _ => return None,
        })
    }

    /// Whether callers write it, and see it again.
    pub fn is_callers(self) -> bool {
        !matches!(self, Kind::Released | Kind::End | Kind::Seal)
    }
}

/// A record to be appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// What it says.
    pub kind: Kind,
    /// The group it belongs to.
    pub group: u32,
    /// Its log index, or what [`Kind`] says.
    pub index: u64,
    /// Its term.
    pub term: u64,
    /// Its bytes, one piece after the other; large pieces are never copied. At most [`MAX_PAYLOAD`] in all.
    pub payload: Vec<Bytes>,
}

impl Record {
    /// The length of the payload in bytes.
    pub fn payload_len(&self) -> u64 {
        self.payload.iter().map(|piece| piece.len() as u64).sum()
    }
}

/// Where something lies in the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Position {
    /// The segment.
    pub segment: u64,
    /// The byte in the segment. For a record: the first byte of its payload.
    pub offset: u64,
}

/// Where a record's payload lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Placed {
    /// The first byte of the payload.
    pub position: Position,
    /// The length of the payload in bytes.
    pub payload_len: u32,
}

impl Placed {
    /// Where a refused record is said to be; no segment has this number.
    pub const NOWHERE: Placed = Placed {
        position: Position {
            segment: u64::MAX,
            offset: 0,
        },
        payload_len: 0,
    };
}

/// A record found at the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovered {
    /// What it says; never one of the journal's own kinds.
    pub kind: Kind,
    /// The group it belongs to.
    pub group: u32,
    /// Its log index, or what [`Kind`] says.
    pub index: u64,
    /// Its term.
    pub term: u64,
    /// Where its payload lies.
    pub placed: Placed,
    /// Its payload, verified. A slice of the reader's buffer: copy what is to be kept, or a megabyte stays with it.
    pub payload: Bytes,
    /// Whether the journal wrote it at the head of a segment, repeating what held then.
    pub repeated: bool,
}
