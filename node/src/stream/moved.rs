//! Bytes of a group are in an object of the cold store now: the one command that concerns no stream in particular.
//!
//! It changes nothing that a client could see, so there is no law to it but one: an object counts only if the leader that
//! wrote it still led when it said so. Each leader counts its objects in its own term, so a name is never used twice; and
//! once a leader of a later term has applied what came before it, no object of an earlier term that nothing refers to will
//! ever be referred to: it may be deleted.

use serde::{Deserialize, Serialize};

use super::name::StreamName;
use super::offset::Offset;
use crate::keys::ObjectId;

/// An object, and what it holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moved {
    /// The object. It is whole and durable.
    pub object: ObjectId,
    /// How many bytes of streams are in it.
    pub bytes: u64,
    /// Runs in it. What it holds may be told in several commands, so that none of them takes long to apply.
    pub runs: Vec<MovedRun>,
}

/// A run of a stream's bytes in an object. It begins and ends where chunks of the stream do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MovedRun {
    /// Which life of which stream, or which blob.
    pub incarnation: u64,
    /// Its first byte.
    pub start: Offset,
    /// How many bytes.
    pub len: u32,
    /// How many bytes of the object come before.
    pub at: u64,
    /// Checksum of its bytes.
    pub crc32c: u32,
}

impl MovedRun {
    /// One past its last byte.
    #[must_use]
    pub fn end(&self) -> Offset {
        Offset(self.start.0.saturating_add(self.len.into()))
    }
}

impl Moved {
    /// What stands for a stream in the command.
    #[must_use]
    pub fn no_stream() -> StreamName {
        StreamName::of_bucket("_cold")
    }

    /// Whether it counts, when the leader of this term put it into the log.
    #[must_use]
    pub fn counts_in(&self, term: u64) -> bool {
        self.object.term == term
    }
}
