//! What can go wrong in the journal. One error may be told to many waiters, so it can be cloned.

use std::{io, sync::Arc};

use super::record::Position;

/// An error of the journal.
#[derive(Debug, Clone, thiserror::Error)]
pub enum JournalError {
    /// The disk refused an operation. Where it was a write, a sync or a creation, the journal is poisoned by it.
    #[error("cannot {doing} journal file {file}: {error}")]
    Io {
        /// The verb: what was attempted.
        doing: &'static str,
        /// The file or folder, as the seam Disk names it.
        file: String,
        /// What the disk said.
        error: Arc<io::Error>,
    },
    /// A write or a sync failed earlier. Nothing more is taken: a retried sync may lie, so the node must end.
    #[error("the journal is poisoned and takes nothing more: {reason}")]
    Poisoned {
        /// The first error.
        reason: Arc<str>,
    },
    /// The journal was closed, or its commit loop is gone; whether the records were stored is unknown.
    #[error("the journal is closed")]
    Closed,
    /// Bytes that were synced are not what was written, or not there.
    #[error(
        "the journal is damaged in segment {segment:016x} at byte {offset}: {what}. Acknowledged records may be lost here, \
         so the node does not start. Leave it stopped and keep its data directory: its peers hold every acknowledged \
         record while a majority of them runs. Do not start it empty or from an older copy, which have forgotten what it \
         voted and acknowledged; only a copy made after it last stopped may take the directory's place. \
         `holdfast journal inspect` shows what is left"
    )]
    Damaged {
        /// The segment.
        segment: u64,
        /// The first byte that is not as it was written.
        offset: u64,
        /// What was found there, in words.
        what: String,
    },
    /// The file was written by a version of the format that this program does not know.
    #[error(
        "journal segment {segment:016x} has format version {found}; this program reads version {known}. Use the program that wrote it"
    )]
    Version {
        /// The segment.
        segment: u64,
        /// The version found.
        found: u16,
        /// The version this program writes.
        known: u16,
    },
    /// The file belongs to another journal.
    #[error("journal segment {segment:016x} belongs to another journal: this is not the data directory of this node")]
    Foreign {
        /// The segment.
        segment: u64,
    },
    /// A read of a position in a segment that was freed.
    #[error("journal segment {} was freed; nothing at byte {} can be read any more", .position.segment, .position.offset)]
    Freed {
        /// What was to be read.
        position: Position,
    },
    /// A read of a position where no record was ever placed.
    #[error("the journal has no record at byte {} of segment {}", .position.offset, .position.segment)]
    Nowhere {
        /// What was to be read.
        position: Position,
    },
    /// A record that is larger than the journal stores.
    #[error("a record of {bytes} bytes is larger than the journal takes ({max})")]
    TooLarge {
        /// The size of its payload.
        bytes: u64,
        /// The largest payload.
        max: u64,
    },
    /// A segment that cannot be freed, because it is still written to, or does not exist.
    #[error("journal segment {segment:016x} cannot be freed: {why}")]
    NotFreeable {
        /// The segment.
        segment: u64,
        /// Why, in words.
        why: &'static str,
    },
}

impl JournalError {
    /// Wraps what the disk said.
    pub(super) fn io(doing: &'static str, file: impl Into<String>, error: io::Error) -> JournalError {
        JournalError::Io {
            doing,
            file: file.into(),
            error: Arc::new(error),
        }
    }
}

/// Adds the verb and the file to what the disk said.
pub(super) trait Told<T> {
    /// `Err` becomes [`JournalError::Io`].
    fn told(self, doing: &'static str, file: &str) -> Result<T, JournalError>;
}

impl<T> Told<T> for io::Result<T> {
    fn told(self, doing: &'static str, file: &str) -> Result<T, JournalError> {
        self.map_err(|error| JournalError::io(doing, file, error))
    }
}
