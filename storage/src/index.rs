//! The seam Index: ordered key-values that find the bytes.
//!
//! Writes are atomic by batch, visible at once, and **lazily durable**: what survives a crash is an exact prefix of the
//! batches written, at least up to the last [`Index::flush`]. Calls are short and synchronous (memory, or a page from
//! the block cache); only `flush` waits for a disk, and callers keep it off the path of an acknowledgement.

use std::io;

use bytes::Bytes;

use crate::disk::Fut;

/// One change of a [`Batch`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Sets a key.
    Put(Bytes, Bytes),
    /// Removes a key, if it is there.
    Delete(Bytes),
    /// Removes all keys in `from..to`; none if `from` is not before `to`.
    DeleteRange(Bytes, Bytes),
}

/// Changes that happen together or not at all, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    /// The changes, first to last.
    pub changes: Vec<Change>,
}

impl Batch {
    /// Sets a key.
    pub fn put(&mut self, key: impl Into<Bytes>, value: impl Into<Bytes>) {
        self.changes.push(Change::Put(key.into(), value.into()));
    }

    /// Removes a key, if it is there.
    pub fn delete(&mut self, key: impl Into<Bytes>) {
        self.changes.push(Change::Delete(key.into()));
    }

    /// Removes all keys in `from..to`; none if `from` is not before `to`.
    pub fn delete_range(&mut self, from: impl Into<Bytes>, to: impl Into<Bytes>) {
        self.changes.push(Change::DeleteRange(from.into(), to.into()));
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }
}

/// Ordered key-values with lazy durability.
pub trait Index: Send + Sync + 'static {
    /// Applies a batch atomically. Visible to every later call; durable at some later time, in order.
    ///
    /// # Errors
    /// Those of the disk below. The batch is then applied whole or not at all.
    fn write(&self, batch: Batch) -> io::Result<()>;

    /// The value of a key.
    ///
    /// # Errors
    /// Those of the disk below; a page that does not match its checksum is [`io::ErrorKind::InvalidData`].
    fn get(&self, key: &[u8]) -> io::Result<Option<Bytes>>;

    /// Up to `limit` pairs with keys in `from..to`, ascending; none if `from` is not before `to`.
    ///
    /// # Errors
    /// As [`Index::get`].
    fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> io::Result<Vec<(Bytes, Bytes)>>;

    /// The last pair with a key in `from..to`.
    ///
    /// # Errors
    /// As [`Index::get`].
    fn last(&self, from: &[u8], to: &[u8]) -> io::Result<Option<(Bytes, Bytes)>>;

    /// Makes every batch written before this call durable. Blocks on the disk.
    ///
    /// # Errors
    /// Those of the disk. What is durable is then still a prefix, at least what it was before.
    fn flush(&self) -> io::Result<()>;

    /// [`Index::flush`] as a future, for callers that run in a world where a disk takes time without blocking a thread.
    /// Elsewhere it blocks the thread that polls it.
    ///
    /// # Errors
    /// As [`Index::flush`].
    fn flush_async(&self) -> Fut<'_, io::Result<()>> {
        Box::pin(async move { self.flush() })
    }

    /// About how many bytes the index takes, in memory and on disk; for metrics.
    fn approximate_bytes(&self) -> u64;
}
