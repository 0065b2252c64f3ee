//! What stands under the keys that are not the law's: positions and counters.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use storage::journal::Position;

use crate::stream::{BadFormat, versioned};

/// How far a group has applied: put in the same batch as what was applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// The log id of the last entry applied, spelled by `raft`.
    pub log_id: Vec<u8>,
    /// The group's time after it, in Unix milliseconds.
    pub last_now_ms: u64,
}

/// Where a run of a stream's bytes lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunk {
    /// Where its first byte is.
    pub place: Place,
    /// How many bytes. It begins at the key's `end` minus this.
    pub len: u32,
    /// Checksum of these bytes, looked at by every read from a disk.
    pub crc32c: u32,
    /// Whether an append ends with it: longer ones take several chunks.
    pub ends: bool,
}

/// A place that holds bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Place {
    /// In the journal of this node.
    Journal(Position),
}

/// Version byte of an encoded [`Applied`].
const APPLIED_VERSION: u8 = 1;

/// Version byte of an encoded [`Chunk`].
const CHUNK_VERSION: u8 = 1;

impl Applied {
    /// As stored.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        versioned::encode(APPLIED_VERSION, self).into()
    }

    /// What [`Applied::encode`] wrote.
    ///
    /// # Errors
    /// When it is of an unknown version or damaged.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadFormat> {
        versioned::decode("applied row", APPLIED_VERSION, bytes)
    }
}

impl Chunk {
    /// As stored.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        versioned::encode(CHUNK_VERSION, self).into()
    }

    /// What [`Chunk::encode`] wrote.
    ///
    /// # Errors
    /// When it is of an unknown version or damaged.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadFormat> {
        versioned::decode("chunk row", CHUNK_VERSION, bytes)
    }
}

/// The value of [`Key::Generation`](super::Key::Generation) and [`Key::SegmentLive`](super::Key::SegmentLive).
pub mod number {
    use bytes::Bytes;

    use crate::stream::BadFormat;

    /// As stored: eight bytes, big-endian.
    #[must_use]
    pub fn encode(number: u64) -> Bytes {
        Bytes::copy_from_slice(&number.to_be_bytes())
    }

    /// What [`encode`] wrote.
    ///
    /// # Errors
    /// When it is not eight bytes.
    pub fn decode(bytes: &[u8]) -> Result<u64, BadFormat> {
        let because = || format!("{} bytes instead of 8", bytes.len());
        let eight = bytes.try_into().map_err(|_| BadFormat::Damaged {
            what: "index number",
            because: because(),
        })?;
        Ok(u64::from_be_bytes(eight))
    }
}
