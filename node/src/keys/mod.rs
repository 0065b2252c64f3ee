//! The layout of the index, as one enum: which key means what, and in which order keys lie.
//!
//! Keys sort as their fields do (numbers are big-endian, names come last), so everything one wants to walk or drop at
//! once is one range. A format: change it only together with [`LAYOUT_VERSION`].
//!
//! ```text
//! 00                                             the layout's version
//! 01 group                                       how far the group has applied
//! 02 group                                       which generation of its rows is the true one
//! 03 group                                       its last applied membership
//! 10 group generation 01 bucket 00 name          a stream
//! 10 group generation 02 incarnation id          a producer of a stream
//! 10 group generation 03 incarnation end         a run of a stream's bytes
//! 10 group generation 04 segment                 how many bytes of a journal segment its chunks refer to
//! 10 group generation 05 incarnation             a stream with chunks that are still to be swept
//! 10 group generation 06 deadline bucket 00 name a stream that time alone will change
//! 10 group generation 07 blob                    a blob that is being uploaded
//! 10 group generation 08 token                   an attempt at a fork of this group, or the debt of one
//! 10 group generation 09 confirmed incarnation fork's group, token
//!                                                a reference to a stream, for a fork
//! 10 group generation 0a incarnation             a stream with bytes in the journal
//! 10 group generation 0b term sequence           an object of the cold store that chunks refer to
//! 10 group generation 20 bucket                  group 0: a bucket
//! 10 group generation 21 bucket                  how many stream rows of a bucket the group holds
//! 10 group generation 22 begun                   group 0: a bucket that is being deleted
//! 10 group generation 23                         group 0: how many buckets there are
//! 10 group generation 24                         what the group is sealed at
//! ```
//!
//! A snapshot is installed into a new generation beside the rows that are served, and switched in by one batch that
//! puts the generation and the applied row; a crash before it leaves the old state whole.

use std::str;

use bytes::{Buf, Bytes};

use crate::stream::{BadFormat, Offset, StreamName, Token};

#[cfg(test)]
mod tests;
mod value;

pub use value::{Applied, Chunk, ColdPlace, HotRow, ObjectId, ObjectRow, Place, number};

/// The version of the layout, put under [`Key::Version`] when an index is first opened and compared ever after.
pub const LAYOUT_VERSION: u8 = 2;

/// The oldest version that this program reads. 1 has no rows of kind `0a` and `0b`, and is otherwise the same.
pub const LAYOUT_VERSION_MIN: u8 = 1;

/// A key of the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key<'a> {
    /// One byte: [`LAYOUT_VERSION`].
    Version,
    /// An [`Applied`].
    Applied {
        /// The group.
        group: u32,
    },
    /// A [`number`]: the generation whose rows are the group's state. Absent: 0.
    Generation {
        /// The group.
        group: u32,
    },
    /// The last applied membership of the group, spelled by `raft`.
    Membership {
        /// The group.
        group: u32,
    },
    /// A [`StreamRow`](crate::stream::StreamRow).
    Stream {
        /// The group.
        group: u32,
        /// The generation of the group's rows.
        generation: u64,
        /// First part of the stream's name.
        bucket: &'a str,
        /// Second part of the stream's name.
        name: &'a str,
    },
    /// A [`Claim`](crate::stream::Claim).
    Producer {
        /// The group.
        group: u32,
        /// The generation of the group's rows.
        generation: u64,
        /// The stream.
        incarnation: u64,
        /// The producer.
        id: &'a str,
    },
    /// A [`Chunk`]: bytes of a stream that end at `end`. By their end, so that the first key past an offset is the
    /// chunk that holds it.
    Chunk {
        /// The group.
        group: u32,
        /// The generation of the group's rows.
        generation: u64,
        /// The stream.
        incarnation: u64,
        /// One past the chunk's last byte.
        end: Offset,
    },
    /// A [`number`]: bytes of a journal segment that the generation's chunks refer to.
    SegmentLive {
        /// The group.
        group: u32,
        /// The generation of the group's rows.
        generation: u64,
        /// The segment.
        segment: u64,
    },
    /// A [`BlobRow`](crate::stream::BlobRow): a blob that is being uploaded.
    Blob {
        /// The group.
        group: u32,
        /// The generation of the group's rows.
        generation: u64,
        /// The blob.
        blob: u64,
    },
    /// Nothing: the stream is deleted, its chunks are still to be swept. Or a [`number`]: it is trimmed, the chunks that
    /// end there or before are still to be swept.
    Trash {
        /// The group.
        group: u32,
        /// The generation of the group's rows.
        generation: u64,
        /// The stream.
        incarnation: u64,
    },
    /// Nothing: the stream is to be looked at when it is this late, because it may be over then, or something of it may.
    Deadline {
        /// The group.
        group: u32,
        /// The generation of the group's rows.
        generation: u64,
        /// Unix milliseconds of the group's time.
        deadline_ms: u64,
        /// First part of the stream's name.
        bucket: &'a str,
        /// Second part of the stream's name.
        name: &'a str,
    },
    /// A [`Pledge`](crate::stream::Pledge).
    Pledge {
        /// The group.
        group: u32,
        /// The generation of the group's rows.
        generation: u64,
        /// Index of its token.
        token: u64,
    },
    /// A [`Reference`](crate::stream::Reference). Those that are still to be looked into lie together.
    Reference {
        /// The group.
        group: u32,
        /// The generation of the group's rows.
        generation: u64,
        /// What the row says, too.
        confirmed: bool,
        /// The stream.
        incarnation: u64,
        /// The fork's.
        token: Token,
    },
    /// A [`HotRow`]. Only in a group whose old bytes move to the cold store.
    Hot {
        /// The group.
        group: u32,
        /// The generation of the group's rows.
        generation: u64,
        /// The stream.
        incarnation: u64,
    },
    /// An [`ObjectRow`].
    Object {
        /// The group.
        group: u32,
        /// The generation of the group's rows.
        generation: u64,
        /// The object.
        object: ObjectId,
    },
    /// A [`BucketRow`](crate::stream::BucketRow), in group 0.
    Bucket {
        /// The group.
        group: u32,
        /// The generation of the group's rows.
        generation: u64,
        /// The bucket.
        name: &'a str,
    },
    /// A [`number`]: how many stream rows of a bucket the group holds. Absent: none.
    BucketCount {
        /// The group.
        group: u32,
        /// The generation of the group's rows.
        generation: u64,
        /// The bucket.
        name: &'a str,
    },
    /// The name of a bucket that is being deleted, by its deletion.
    Deleting {
        /// The group.
        group: u32,
        /// The generation of the group's rows.
        generation: u64,
        /// The deletion.
        begun: u64,
    },
    /// A [`number`]: how many buckets there are, in group 0. Absent: none.
    Buckets {
        /// The group.
        group: u32,
        /// The generation of the group's rows.
        generation: u64,
    },
    /// A [`number`]: what the group is sealed at. Absent: 0.
    Sealed {
        /// The group.
        group: u32,
        /// The generation of the group's rows.
        generation: u64,
    },
}

const VERSION: u8 = 0x00;
const APPLIED: u8 = 0x01;
const GENERATION: u8 = 0x02;
const MEMBERSHIP: u8 = 0x03;
const ROWS: u8 = 0x10;

const STREAM: u8 = 0x01;
const PRODUCER: u8 = 0x02;
const CHUNK: u8 = 0x03;
const SEGMENT_LIVE: u8 = 0x04;
const TRASH: u8 = 0x05;
const DEADLINE: u8 = 0x06;
const BLOB: u8 = 0x07;
const PLEDGE: u8 = 0x08;
const REFERENCE: u8 = 0x09;
const HOT: u8 = 0x0a;
const OBJECT: u8 = 0x0b;
const BUCKET: u8 = 0x20;
const BUCKET_COUNT: u8 = 0x21;
const DELETING: u8 = 0x22;
const BUCKETS: u8 = 0x23;
const SEALED: u8 = 0x24;

impl<'a> Key<'a> {
    /// The key of a stream's row.
    #[must_use]
    pub fn stream(group: u32, generation: u64, stream: &'a StreamName) -> Self {
        Self::Stream {
            group,
            generation,
            bucket: stream.bucket(),
            name: stream.name(),
        }
    }

    /// The key of a stream in the index of deadlines.
    #[must_use]
    pub fn deadline(group: u32, generation: u64, deadline_ms: u64, stream: &'a StreamName) -> Self {
        Self::Deadline {
            group,
            generation,
            deadline_ms,
            bucket: stream.bucket(),
            name: stream.name(),
        }
    }

    /// As the index holds it.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut key = Vec::with_capacity(32);
        match *self {
            Self::Version => key.push(VERSION),
            Self::Applied { group } => {
                key.push(APPLIED);
                key.extend(group.to_be_bytes());
            }
            Self::Generation { group } => {
                key.push(GENERATION);
                key.extend(group.to_be_bytes());
            }
            Self::Membership { group } => {
                key.push(MEMBERSHIP);
                key.extend(group.to_be_bytes());
            }
            Self::Stream {
                group,
                generation,
                bucket,
                name,
            } => {
                key = row_prefix(group, generation, STREAM);
                key.extend(bucket.as_bytes());
                // Neither part holds a NUL, so buckets sort as a whole before their names do.
                key.push(0);
                key.extend(name.as_bytes());
            }
            Self::Producer {
                group,
                generation,
                incarnation,
                id,
            } => {
                key = row_prefix(group, generation, PRODUCER);
                key.extend(incarnation.to_be_bytes());
                key.extend(id.as_bytes());
            }
            Self::Chunk {
                group,
                generation,
                incarnation,
                end,
            } => {
                key = row_prefix(group, generation, CHUNK);
                key.extend(incarnation.to_be_bytes());
                key.extend(end.0.to_be_bytes());
            }
            Self::SegmentLive {
                group,
                generation,
                segment,
            } => {
                key = row_prefix(group, generation, SEGMENT_LIVE);
                key.extend(segment.to_be_bytes());
            }
            Self::Trash {
                group,
                generation,
                incarnation,
            } => key = incarnation_prefix(group, generation, TRASH, incarnation),
            Self::Deadline {
                group,
                generation,
                deadline_ms,
                bucket,
                name,
            } => {
                key = row_prefix(group, generation, DEADLINE);
                key.extend(deadline_ms.to_be_bytes());
                key.extend(bucket.as_bytes());
                key.push(0);
                key.extend(name.as_bytes());
            }
            Self::Pledge {
                group,
                generation,
                token,
            } => key = incarnation_prefix(group, generation, PLEDGE, token),
            Self::Reference {
                group,
                generation,
                confirmed,
                incarnation,
                token,
            } => {
                key = row_prefix(group, generation, REFERENCE);
                key.push(u8::from(confirmed));
                key.extend(incarnation.to_be_bytes());
                key.extend(token.group.to_be_bytes());
                key.extend(token.index.to_be_bytes());
            }
            Self::Hot {
                group,
                generation,
                incarnation,
            } => key = incarnation_prefix(group, generation, HOT, incarnation),
            Self::Object {
                group,
                generation,
                object,
            } => {
                key = row_prefix(group, generation, OBJECT);
                key.extend(object.term.to_be_bytes());
                key.extend(object.sequence.to_be_bytes());
            }
            Self::Bucket {
                group,
                generation,
                name,
            } => {
                key = row_prefix(group, generation, BUCKET);
                key.extend(name.as_bytes());
            }
            Self::BucketCount {
                group,
                generation,
                name,
            } => {
                key = row_prefix(group, generation, BUCKET_COUNT);
                key.extend(name.as_bytes());
            }
            Self::Deleting {
                group,
                generation,
                begun,
            } => {
                key = row_prefix(group, generation, DELETING);
                key.extend(begun.to_be_bytes());
            }
            Self::Buckets { group, generation } => key = row_prefix(group, generation, BUCKETS),
            Self::Sealed { group, generation } => key = row_prefix(group, generation, SEALED),
            Self::Blob {
                group,
                generation,
                blob,
            } => key = incarnation_prefix(group, generation, BLOB, blob),
        }
        key.into()
    }

    /// What [`Key::encode`] wrote.
    ///
    /// # Errors
    /// When it is no key of this layout.
    pub fn decode(key: &'a [u8]) -> Result<Self, BadFormat> {
        Self::read(key).ok_or_else(|| {
            let because = format!("no key of layout {LAYOUT_VERSION}: {:02x?}", &key[..key.len().min(64)]);
            BadFormat::Damaged {
                what: "index key",
                because,
            }
        })
    }

    fn read(key: &'a [u8]) -> Option<Self> {
        let mut rest = key;
        let key = match rest.try_get_u8().ok()? {
            VERSION => Self::Version,
            APPLIED => Self::Applied {
                group: rest.try_get_u32().ok()?,
            },
            GENERATION => Self::Generation {
                group: rest.try_get_u32().ok()?,
            },
            MEMBERSHIP => Self::Membership {
                group: rest.try_get_u32().ok()?,
            },
            ROWS => {
                let (group, generation) = (rest.try_get_u32().ok()?, rest.try_get_u64().ok()?);
                match rest.try_get_u8().ok()? {
                    STREAM => {
                        let (bucket, name) = str::from_utf8(rest).ok()?.split_once('\0')?;
                        rest = &[];
                        Self::Stream {
                            group,
                            generation,
                            bucket,
                            name,
                        }
                    }
                    PRODUCER => {
                        let incarnation = rest.try_get_u64().ok()?;
                        let id = str::from_utf8(rest).ok()?;
                        rest = &[];
                        Self::Producer {
                            group,
                            generation,
                            incarnation,
                            id,
                        }
                    }
                    CHUNK => {
                        let (incarnation, end) = (rest.try_get_u64().ok()?, Offset(rest.try_get_u64().ok()?));
                        Self::Chunk {
                            group,
                            generation,
                            incarnation,
                            end,
                        }
                    }
                    SEGMENT_LIVE => Self::SegmentLive {
                        group,
                        generation,
                        segment: rest.try_get_u64().ok()?,
                    },
                    TRASH => Self::Trash {
                        group,
                        generation,
                        incarnation: rest.try_get_u64().ok()?,
                    },
                    DEADLINE => {
                        let deadline_ms = rest.try_get_u64().ok()?;
                        let (bucket, name) = str::from_utf8(rest).ok()?.split_once('\0')?;
                        rest = &[];
                        Self::Deadline {
                            group,
                            generation,
                            deadline_ms,
                            bucket,
                            name,
                        }
                    }
                    PLEDGE => Self::Pledge {
                        group,
                        generation,
                        token: rest.try_get_u64().ok()?,
                    },
                    REFERENCE => Self::Reference {
                        group,
                        generation,
                        confirmed: match rest.try_get_u8().ok()? {
                            0 => false,
                            1 => true,
                            _ => return None,
                        },
                        incarnation: rest.try_get_u64().ok()?,
                        token: Token {
                            group: rest.try_get_u32().ok()?,
                            index: rest.try_get_u64().ok()?,
                        },
                    },
                    HOT => Self::Hot {
                        group,
                        generation,
                        incarnation: rest.try_get_u64().ok()?,
                    },
                    OBJECT => Self::Object {
                        group,
                        generation,
                        object: ObjectId {
                            term: rest.try_get_u64().ok()?,
                            sequence: rest.try_get_u64().ok()?,
                        },
                    },
                    BUCKET => Self::Bucket {
                        group,
                        generation,
                        name: str::from_utf8(std::mem::take(&mut rest)).ok()?,
                    },
                    BUCKET_COUNT => Self::BucketCount {
                        group,
                        generation,
                        name: str::from_utf8(std::mem::take(&mut rest)).ok()?,
                    },
                    DELETING => Self::Deleting {
                        group,
                        generation,
                        begun: rest.try_get_u64().ok()?,
                    },
                    BUCKETS => Self::Buckets { group, generation },
                    SEALED => Self::Sealed { group, generation },
                    BLOB => Self::Blob {
                        group,
                        generation,
                        blob: rest.try_get_u64().ok()?,
                    },
                    _ => return None,
                }
            }
            _ => return None,
        };
        rest.is_empty().then_some(key)
    }
}

/// Keys `from..to` of the index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRange {
    /// The first.
    pub from: Bytes,
    /// One past the last.
    pub to: Bytes,
}

impl KeyRange {
    /// All rows of all generations of a group.
    #[must_use]
    pub fn group(group: u32) -> Self {
        let mut prefix = vec![ROWS];
        prefix.extend(group.to_be_bytes());
        Self::of_prefix(&prefix)
    }

    /// All rows of a generation of a group: streams, producers, chunks, then the books.
    #[must_use]
    pub fn generation(group: u32, generation: u64) -> Self {
        Self::of_prefix(&generation_prefix(group, generation))
    }

    /// All streams of a generation, by bucket, then by name.
    #[must_use]
    pub fn streams(group: u32, generation: u64) -> Self {
        Self::of_prefix(&row_prefix(group, generation, STREAM))
    }

    /// All producers of a generation, by stream.
    #[must_use]
    pub fn all_producers(group: u32, generation: u64) -> Self {
        Self::of_prefix(&row_prefix(group, generation, PRODUCER))
    }

    /// All chunks of a generation, by stream, then by offset.
    #[must_use]
    pub fn all_chunks(group: u32, generation: u64) -> Self {
        Self::of_prefix(&row_prefix(group, generation, CHUNK))
    }

    /// All producers of a stream.
    #[must_use]
    pub fn producers(group: u32, generation: u64, incarnation: u64) -> Self {
        Self::of_prefix(&incarnation_prefix(group, generation, PRODUCER, incarnation))
    }

    /// All chunks of a stream, by offset.
    #[must_use]
    pub fn chunks(group: u32, generation: u64, incarnation: u64) -> Self {
        Self::of_prefix(&incarnation_prefix(group, generation, CHUNK, incarnation))
    }

    /// The chunks of a stream that hold the byte at `offset` or a later one, by offset.
    #[must_use]
    pub fn chunks_from(group: u32, generation: u64, incarnation: u64, offset: Offset) -> Self {
        let end = Offset(offset.0.saturating_add(1));
        let from = Key::Chunk {
            group,
            generation,
            incarnation,
            end,
        }
        .encode();
        Self {
            from,
            ..Self::chunks(group, generation, incarnation)
        }
    }

    /// The live bytes of all journal segments a generation refers to, by segment.
    #[must_use]
    pub fn segments(group: u32, generation: u64) -> Self {
        Self::of_prefix(&row_prefix(group, generation, SEGMENT_LIVE))
    }

    /// The chunks of a stream that hold only bytes below `offset`, by offset.
    #[must_use]
    pub fn chunks_below(group: u32, generation: u64, incarnation: u64, offset: Offset) -> Self {
        let Self { from: to, .. } = Self::chunks_from(group, generation, incarnation, offset);
        let Self { from, .. } = Self::chunks(group, generation, incarnation);
        Self { from, to }
    }

    /// All streams of a generation with bytes in the journal.
    #[must_use]
    pub fn hot(group: u32, generation: u64) -> Self {
        Self::of_prefix(&row_prefix(group, generation, HOT))
    }

    /// All objects of the cold store that chunks of a generation refer to, by term.
    #[must_use]
    pub fn objects(group: u32, generation: u64) -> Self {
        Self::of_prefix(&row_prefix(group, generation, OBJECT))
    }

    /// All streams of a generation with chunks that are still to be swept.
    #[must_use]
    pub fn trash(group: u32, generation: u64) -> Self {
        Self::of_prefix(&row_prefix(group, generation, TRASH))
    }

    /// The streams of a generation that are to be looked at at this time, or were before, by time.
    #[must_use]
    pub fn deadlines(group: u32, generation: u64, now_ms: u64) -> Self {
        let Self { from, .. } = Self::of_prefix(&row_prefix(group, generation, DEADLINE));
        let mut to = row_prefix(group, generation, DEADLINE);
        to.extend(now_ms.saturating_add(1).to_be_bytes());
        Self { from, to: to.into() }
    }

    /// All pledges of a generation, by token.
    #[must_use]
    pub fn pledges(group: u32, generation: u64) -> Self {
        Self::of_prefix(&row_prefix(group, generation, PLEDGE))
    }

    /// All references of a generation: first the ones that are still to be looked into.
    #[must_use]
    pub fn references(group: u32, generation: u64) -> Self {
        Self::of_prefix(&row_prefix(group, generation, REFERENCE))
    }

    /// The references of a generation that are still to be looked into.
    #[must_use]
    pub fn doubts(group: u32, generation: u64) -> Self {
        let mut prefix = row_prefix(group, generation, REFERENCE);
        prefix.push(0);
        Self::of_prefix(&prefix)
    }

    /// The streams of a bucket whose names begin so, by name.
    #[must_use]
    pub fn streams_of(group: u32, generation: u64, bucket: &str, name_prefix: &str) -> Self {
        let stream = Key::Stream {
            group,
            generation,
            bucket,
            name: name_prefix,
        };
        Self::of_prefix(&stream.encode())
    }

    /// All buckets, by name.
    #[must_use]
    pub fn buckets(group: u32, generation: u64) -> Self {
        Self::of_prefix(&row_prefix(group, generation, BUCKET))
    }

    /// How many stream rows of each bucket the group holds, by name.
    #[must_use]
    pub fn bucket_counts(group: u32, generation: u64) -> Self {
        Self::of_prefix(&row_prefix(group, generation, BUCKET_COUNT))
    }

    /// All deletions of buckets under way, the oldest first.
    #[must_use]
    pub fn deleting(group: u32, generation: u64) -> Self {
        Self::of_prefix(&row_prefix(group, generation, DELETING))
    }

    /// All blobs of a generation that are being uploaded.
    #[must_use]
    pub fn blobs(group: u32, generation: u64) -> Self {
        Self::of_prefix(&row_prefix(group, generation, BLOB))
    }

    /// All keys that begin so.
    fn of_prefix(prefix: &[u8]) -> Self {
        let keep = prefix
            .iter()
            .rposition(|byte| *byte != 0xff)
            .expect("every prefix begins with a tag below 0xff");
        let mut to = prefix[..=keep].to_vec();
        to[keep] += 1;
        Self {
            from: Bytes::copy_from_slice(prefix),
            to: to.into(),
        }
    }
}

fn generation_prefix(group: u32, generation: u64) -> Vec<u8> {
    let mut prefix = Vec::with_capacity(32);
    prefix.push(ROWS);
    prefix.extend(group.to_be_bytes());
    prefix.extend(generation.to_be_bytes());
    prefix
}

fn row_prefix(group: u32, generation: u64, kind: u8) -> Vec<u8> {
    let mut prefix = generation_prefix(group, generation);
    prefix.push(kind);
    prefix
}

fn incarnation_prefix(group: u32, generation: u64, kind: u8, incarnation: u64) -> Vec<u8> {
    let mut prefix = row_prefix(group, generation, kind);
    prefix.extend(incarnation.to_be_bytes());
    prefix
}
