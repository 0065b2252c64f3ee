//! What stands under the keys that are not the law's: positions and counters.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use storage::journal::Position;

use crate::stream::{BadFormat, Offset, versioned};

/// How far a group has applied: put in the same batch as what was applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// The log id of the last entry applied, spelled by `raft`.
    pub log_id: Vec<u8>,
    /// The group's time after it, in Unix milliseconds.
    pub last_now_ms: u64,
}

/// Where a run of a stream's bytes lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// Where its first byte is.
    pub place: Place,
    /// How many bytes. It begins at the key's `end` minus this.
    pub len: u32,
    /// Checksum of these bytes, looked at by every read from a disk.
    pub crc32c: u32,
    /// Whether an append ends with it: longer ones take several chunks.
    pub ends: bool,
    /// Where in it other appends end, counted from its first byte, ascending. Always none in the journal, where a run is
    /// of one append; what is moved from there is put together into longer ones.
    pub cuts: Vec<u32>,
}

/// A place that holds bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Place {
    /// In the journal of this node.
    Journal(Position),
    /// In an object of the cold store.
    Cold(ColdPlace),
}

/// A place in an object of the cold store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColdPlace {
    /// Which object, of those of the group.
    pub object: ObjectId,
    /// How many bytes of the object come before.
    pub offset: u64,
}

/// An object of the cold store, among those of its group. No two leaders choose the same: each counts in its own term.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ObjectId {
    /// The Raft term of the leader that wrote it.
    pub term: u64,
    /// How many it had written before.
    pub sequence: u64,
}

/// What a group knows of an object that its chunks refer to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ObjectRow {
    /// Bytes that chunks refer to.
    pub live: u64,
    /// Bytes that chunks referred to at first.
    pub len: u64,
}

/// The first byte of a stream that is still in the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HotRow {
    /// Which byte.
    pub from: Offset,
    /// When it came, in Unix milliseconds of the group's time.
    pub since_ms: u64,
}

/// Version byte of an encoded [`Applied`].
const APPLIED_VERSION: u8 = 1;

/// Version byte of an encoded [`Chunk`] in the journal.
const CHUNK_VERSION: u8 = 1;

/// Version byte of an encoded [`Chunk`] in the cold store.
const COLD_CHUNK_VERSION: u8 = 2;

/// Version byte of an encoded [`ObjectRow`].
const OBJECT_VERSION: u8 = 1;

/// Version byte of an encoded [`HotRow`].
const HOT_VERSION: u8 = 1;

/// A chunk of one append.
#[derive(Serialize, Deserialize)]
struct InJournal {
    place: Place,
    len: u32,
    crc32c: u32,
    ends: bool,
}

/// A chunk of several.
#[derive(Serialize, Deserialize)]
struct InCold {
    place: Place,
    len: u32,
    crc32c: u32,
    ends: bool,
    /// How many bytes each append takes that ends in it: small numbers, which take little room.
    lens: Vec<u32>,
}

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
        let Self {
            place,
            len,
            crc32c,
            ends,
            ref cuts,
        } = *self;
        match place {
            Place::Journal(_) => {
                let row = InJournal {
                    place,
                    len,
                    crc32c,
                    ends,
                };
                versioned::encode(CHUNK_VERSION, &row).into()
            }
            Place::Cold(_) => {
                let before = std::iter::once(0).chain(cuts.iter().copied());
                let row = InCold {
                    place,
                    len,
                    crc32c,
                    ends,
                    lens: cuts.iter().zip(before).map(|(cut, before)| cut - before).collect(),
                };
                versioned::encode(COLD_CHUNK_VERSION, &row).into()
            }
        }
    }

    /// What [`Chunk::encode`] wrote.
    ///
    /// # Errors
    /// When it is of an unknown version or damaged.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadFormat> {
        if bytes.first() == Some(&CHUNK_VERSION) {
            let InJournal {
                place,
                len,
                crc32c,
                ends,
            } = versioned::decode("chunk row", CHUNK_VERSION, bytes)?;
            return Ok(Self {
                place,
                len,
                crc32c,
                ends,
                cuts: Vec::new(),
            });
        }
        let InCold {
            place,
            len,
            crc32c,
            ends,
            lens,
        } = versioned::decode("chunk row", COLD_CHUNK_VERSION, bytes)?;
        let mut at = 0_u32;
        let cuts = lens.into_iter().map(|len| {
            at = at.saturating_add(len);
            at
        });
        Ok(Self {
            place,
            len,
            crc32c,
            ends,
            cuts: cuts.collect(),
        })
    }

    /// Where appends end in it, as offsets of its stream, when it ends at `end`: strictly ascending, its own end last if one
    /// ends there.
    pub fn append_ends(&self, end: Offset) -> impl Iterator<Item = Offset> + '_ {
        let start = end.0.saturating_sub(self.len.into());
        let inside = self.cuts.iter().map(move |cut| Offset(start + u64::from(*cut)));
        inside.chain(self.ends.then_some(end))
    }
}

impl ObjectRow {
    /// As stored.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        versioned::encode(OBJECT_VERSION, self).into()
    }

    /// What [`ObjectRow::encode`] wrote.
    ///
    /// # Errors
    /// When it is of an unknown version or damaged.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadFormat> {
        versioned::decode("object row", OBJECT_VERSION, bytes)
    }
}

impl HotRow {
    /// As stored.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        versioned::encode(HOT_VERSION, self).into()
    }

    /// What [`HotRow::encode`] wrote.
    ///
    /// # Errors
    /// When it is of an unknown version or damaged.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadFormat> {
        versioned::decode("hot row", HOT_VERSION, bytes)
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
