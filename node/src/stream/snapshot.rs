//! Snapshots of a stream: what a reader may begin with instead of the stream's first bytes.
//!
//! PROTOCOL-NOTES, Snapshots and bootstrap. A snapshot is a blob that stands for all bytes before its offset. It is too
//! long for one entry of the log, so it is uploaded first, part by part, under a number of its own, and published last:
//! whatever becomes of an upload, nobody sees a snapshot that is not whole. One that is open takes a [`BlobRow`]; the
//! newest that is published, a [`SnapshotRef`] in the row of its stream.
//!
//! A snapshot never changes: at the offset of the newest, the same content is a repeat, other content is refused. Older
//! ones are refused, and gone once there is a newer one. Publishing may move the stream's first kept byte to the
//! snapshot's offset; [`SnapshotOp::Trim`] may, and is refused past the newest one.

use serde::{Deserialize, Serialize};

use super::apply::{Case, RowChange, Stored, Transition};
use super::etag::Condition;
use super::limits::{BLOB_BYTES_MAX, CONTENT_TYPE_BYTES_MAX, UPLOADS_MAX};
use super::name::StreamName;
use super::offset::Offset;
use super::outcome::{Field, Outcome, Refusal, Standing};
use super::row::{Closing, StreamRow};
use super::versioned::{self, BadFormat};

/// Version byte of an encoded blob row.
const BLOB_VERSION: u8 = 1;

/// What is asked of a stream's snapshots.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum SnapshotOp {
    /// An upload begins, for a snapshot at this offset: refused at once where it could never be published. Its blob is
    /// the log index of this entry.
    Begin {
        /// Where it is to be published.
        offset: Offset,
        /// `If-Match`: a tag of the stream in the life it is in. Which bytes the tag names does not matter: a snapshot
        /// stays true when more is appended, and does not when the stream is another.
        if_match: Option<Condition>,
    },
    /// The body is the next part of a blob. One that is there already is a repeat.
    Part {
        /// The blob.
        blob: u64,
        /// How many bytes of it come before.
        at: u64,
    },
    /// The blob is whole: it is the newest snapshot from now on.
    Publish(Publish),
    /// The upload is given up, unless it has come further than this.
    Drop {
        /// The blob.
        blob: u64,
        /// How long it was when it was given up.
        len: u64,
    },
    /// Bytes before this offset are no longer kept. The newest snapshot stands for them, so it must not be older.
    Trim {
        /// The first byte kept.
        offset: Offset,
    },
}

/// What is published, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Publish {
    /// The blob.
    pub blob: u64,
    /// All bytes before this offset are what the snapshot stands for.
    pub offset: Offset,
    /// How many bytes the blob has when it is whole.
    pub len: u64,
    /// Its media type, as the client spelled it.
    pub content_type: String,
    /// SHA-256 of the blob.
    pub digest: [u8; 32],
    /// Whether bytes before `offset` are no longer kept.
    pub trim: bool,
}

/// The newest snapshot of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotRef {
    /// What it stands for: all bytes before this offset.
    pub offset: Offset,
    /// The blob: the incarnation under which its bytes are stored.
    pub blob: u64,
    /// How many bytes.
    pub len: u64,
    /// Its media type.
    pub content_type: String,
    /// SHA-256 of the blob.
    pub digest: [u8; 32],
    /// When it was published, in Unix milliseconds of the group's time.
    pub made_ms: u64,
}

/// A blob that is being uploaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlobRow {
    /// Whose snapshot it is to be.
    pub stream: StreamName,
    /// Which life of that stream.
    pub incarnation: u64,
    /// How many bytes have come so far.
    pub len: u64,
    /// When it was begun, in Unix milliseconds of the group's time.
    pub begun_ms: u64,
}

impl BlobRow {
    /// As stored.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        versioned::encode(BLOB_VERSION, self)
    }

    /// What [`BlobRow::encode`] wrote.
    ///
    /// # Errors
    /// When it is of an unknown version or damaged.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadFormat> {
        versioned::decode("blob row", BLOB_VERSION, bytes)
    }
}

/// What became of a [`SnapshotOp`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum SnapshotDone {
    /// An upload has begun.
    Begun {
        /// Its blob.
        blob: u64,
    },
    /// The part is there.
    Stored {
        /// How many bytes of the blob there are.
        len: u64,
    },
    /// The snapshot is, or was, the newest.
    Published {
        /// The stream as it stands.
        standing: Standing,
    },
    /// The upload is no more; or it was not there, or has come further since.
    Dropped,
    /// Bytes before the offset are no longer kept, whether by this or before.
    Trimmed {
        /// The stream as it stands.
        standing: Standing,
    },
}

/// Why a [`SnapshotOp`] changed nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum SnapshotRefusal {
    /// Nobody has written up to there yet (409).
    BeyondTail {
        /// The stream as it stands.
        standing: Standing,
    },
    /// The bytes there are no longer kept (410).
    Trimmed {
        /// The stream as it stands.
        standing: Standing,
    },
    /// There is a newer snapshot (409).
    Older {
        /// The offset of the newest.
        newest: Offset,
    },
    /// There is another snapshot at this very offset (409).
    Differs {
        /// That offset.
        newest: Offset,
    },
    /// The stream is another by now: it was deleted and created again since the upload began (409).
    AnotherLife,
    /// The upload is not there, or not of this stream: it made no progress for too long (409).
    UploadGone,
    /// Parts are missing in between, or at the end.
    PartsMissing {
        /// How many bytes there are.
        len: u64,
    },
    /// The blob is larger than any may be (413).
    TooLarge,
    /// The group has as many uploads open as it may (503).
    TooManyUploads,
    /// A trim past the newest snapshot, which would lose bytes that nothing stands for (409).
    NothingStandsForIt {
        /// The offset of the newest, if there is one.
        newest: Option<Offset>,
    },
}

impl From<SnapshotRefusal> for Refusal {
    fn from(refusal: SnapshotRefusal) -> Self {
        Self::Snapshot(refusal)
    }
}

impl StreamRow {
    /// A blob seen as a stream that is closed: it is read like one.
    #[must_use]
    pub fn of_blob(snapshot: &SnapshotRef) -> Self {
        Self {
            tail: Offset(snapshot.len),
            closed: Some(Closing { by: None }),
            ..Self::born(snapshot.blob, snapshot.content_type.clone(), snapshot.made_ms)
        }
    }
}

/// What a transition does to blobs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BlobChange {
    /// This is the row of that blob now.
    pub put: Option<(u64, BlobRow)>,
    /// The upload of this blob is over: its row goes.
    pub over: Option<u64>,
    /// The bytes of these blobs are garbage now.
    pub dropped: Vec<u64>,
}

impl Transition {
    /// A snapshot goes with its stream; and when bytes after it go, as a retention by age or size may let them: what
    /// follows it then is not the next byte any more.
    pub(super) fn drop_what_nothing_follows(&mut self, was: &StreamRow) {
        let Some(snapshot) = was.snapshot.as_deref() else {
            return;
        };
        let mut goes = self.dropped == Some(was.incarnation);
        if let RowChange::Put(row) = &mut self.row
            && row.incarnation == was.incarnation
            && row
                .snapshot
                .as_ref()
                .is_some_and(|newest| row.gone || newest.offset < row.earliest)
        {
            row.snapshot = None;
            goes = true;
        }
        if goes {
            self.blobs.dropped.push(snapshot.blob);
        }
    }
}

/// Whether a snapshot of this stream at this offset could be published. `http` asks before it takes an upload, too.
///
/// # Errors
/// Why not.
pub fn may_publish(row: &StreamRow, offset: Offset) -> Result<(), SnapshotRefusal> {
    let standing = row.standing();
    if offset > row.tail {
        return Err(SnapshotRefusal::BeyondTail { standing });
    }
    if offset < row.earliest {
        return Err(SnapshotRefusal::Trimmed { standing });
    }
    match &row.snapshot {
        Some(newest) if offset < newest.offset => Err(SnapshotRefusal::Older { newest: newest.offset }),
        _ => Ok(()),
    }
}

impl Case<'_> {
    pub(super) fn snapshot(self, stream: &StreamName, op: &SnapshotOp) -> Result<Transition, Refusal> {
        match op {
            SnapshotOp::Begin { offset, if_match } => self.begin(stream, *offset, if_match.as_ref()),
            SnapshotOp::Part { blob, at } => self.part(stream, *blob, *at),
            SnapshotOp::Publish(publish) => self.publish(stream, publish),
            SnapshotOp::Drop { blob, len } => Ok(self.drop_upload(stream, *blob, *len)),
            SnapshotOp::Trim { offset } => self.trim_below(*offset),
        }
    }

    fn begin(self, stream: &StreamName, offset: Offset, if_match: Option<&Condition>) -> Result<Transition, Refusal> {
        let row = self.loaded.row.ok_or(Refusal::NotFound)?;
        if if_match.is_some_and(|condition| !condition.is_of_life(row.incarnation)) {
            return Err(Refusal::IfMatch {
                standing: Some(row.standing()),
            });
        }
        may_publish(row, offset)?;
        if self.loaded.uploads >= UPLOADS_MAX {
            return Err(SnapshotRefusal::TooManyUploads.into());
        }
        let upload = BlobRow {
            stream: stream.clone(),
            incarnation: row.incarnation,
            len: 0,
            begun_ms: self.now_ms,
        };
        let begun = self.unchanged(Outcome::Snapshot(SnapshotDone::Begun { blob: self.index }));
        Ok(Transition {
            blobs: BlobChange {
                put: Some((self.index, upload)),
                ..BlobChange::default()
            },
            ..begun
        })
    }

    fn part(self, stream: &StreamName, blob: u64, at: u64) -> Result<Transition, Refusal> {
        let (_, upload) = self.upload(stream)?;
        let stored = |len| self.unchanged(Outcome::Snapshot(SnapshotDone::Stored { len }));
        let end = at.checked_add(self.body_len).ok_or(SnapshotRefusal::TooLarge)?;
        if end <= upload.len {
            return Ok(stored(upload.len));
        }
        if at != upload.len {
            return Err(SnapshotRefusal::PartsMissing { len: upload.len }.into());
        }
        if end > BLOB_BYTES_MAX {
            return Err(SnapshotRefusal::TooLarge.into());
        }
        let upload = BlobRow {
            len: end,
            ..upload.clone()
        };
        Ok(Transition {
            stored: Some(Stored {
                incarnation: blob,
                offset: Offset(at),
                len: self.body_len,
            }),
            blobs: BlobChange {
                put: Some((blob, upload)),
                ..BlobChange::default()
            },
            ..stored(end)
        })
    }

    fn publish(self, stream: &StreamName, publish: &Publish) -> Result<Transition, Refusal> {
        if publish.content_type.len() > CONTENT_TYPE_BYTES_MAX {
            return Err(Refusal::TooLong {
                field: Field::ContentType,
            });
        }
        let row = self.loaded.row.ok_or(Refusal::NotFound)?;
        let published = |row: &StreamRow| {
            self.unchanged(Outcome::Snapshot(SnapshotDone::Published {
                standing: row.standing(),
            }))
        };
        let newest = row.snapshot.as_deref();
        if newest.is_some_and(|newest| newest.blob == publish.blob) {
            return Ok(published(row));
        }
        let (row, upload) = self.upload(stream)?;
        may_publish(row, publish.offset)?;
        if upload.len != publish.len {
            return Err(SnapshotRefusal::PartsMissing { len: upload.len }.into());
        }
        if let Some(newest) = newest.filter(|newest| newest.offset == publish.offset) {
            if (newest.digest, &newest.content_type) != (publish.digest, &publish.content_type) {
                return Err(SnapshotRefusal::Differs { newest: newest.offset }.into());
            }
            return Ok(Transition {
                blobs: BlobChange {
                    over: Some(publish.blob),
                    dropped: vec![publish.blob],
                    ..BlobChange::default()
                },
                ..published(row)
            });
        }
        let snapshot = SnapshotRef {
            offset: publish.offset,
            blob: publish.blob,
            len: publish.len,
            content_type: publish.content_type.clone(),
            digest: publish.digest,
            made_ms: self.now_ms,
        };
        let dropped = newest.map(|replaced| replaced.blob).into_iter().collect();
        let mut row = StreamRow {
            snapshot: Some(Box::new(snapshot)),
            ..row.clone()
        };
        if publish.trim {
            row.trim(publish.offset);
        }
        row.touch(self.now_ms);
        Ok(Transition {
            blobs: BlobChange {
                over: Some(publish.blob),
                dropped,
                ..BlobChange::default()
            },
            row: RowChange::Put(row.clone()),
            ..published(&row)
        })
    }

    fn drop_upload(self, stream: &StreamName, blob: u64, len: u64) -> Transition {
        let dropped = self.unchanged(Outcome::Snapshot(SnapshotDone::Dropped));
        match self.loaded.blob {
            Some(upload) if upload.stream == *stream && upload.len == len => Transition {
                blobs: BlobChange {
                    over: Some(blob),
                    dropped: vec![blob],
                    ..BlobChange::default()
                },
                ..dropped
            },
            _ => dropped,
        }
    }

    fn trim_below(self, offset: Offset) -> Result<Transition, Refusal> {
        let row = self.loaded.row.ok_or(Refusal::NotFound)?;
        let newest = row.snapshot.as_ref().map(|newest| newest.offset);
        if newest.is_none_or(|newest| offset > newest) {
            return Err(SnapshotRefusal::NothingStandsForIt { newest }.into());
        }
        let trimmed = |row: &StreamRow| {
            self.unchanged(Outcome::Snapshot(SnapshotDone::Trimmed {
                standing: row.standing(),
            }))
        };
        let mut row = row.clone();
        if !row.trim(offset) {
            return Ok(trimmed(&row));
        }
        Ok(Transition {
            row: RowChange::Put(row.clone()),
            ..trimmed(&row)
        })
    }

    /// The open upload that the command speaks of, and the stream it belongs to, which must still be the same.
    fn upload(&self, stream: &StreamName) -> Result<(&StreamRow, &BlobRow), Refusal> {
        let row = self.loaded.row.ok_or(Refusal::NotFound)?;
        let upload = self.loaded.blob.filter(|upload| upload.stream == *stream);
        let upload = upload.ok_or(SnapshotRefusal::UploadGone)?;
        if upload.incarnation != row.incarnation {
            return Err(SnapshotRefusal::AnotherLife.into());
        }
        Ok((row, upload))
    }
}
