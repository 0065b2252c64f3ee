//! The seam Disk: files in one directory tree, as little as the journal needs.
//!
//! What an implementation may do at a power cut, and a false one must: lose every write that no [`File::sync`] covered,
//! whole or torn at any byte, and in any subset across files; forget a file, a rename or a removal that no
//! [`Disk::sync_dir`] covered.

use std::{future::Future, io, pin::Pin, sync::Arc};

use bytes::Bytes;

/// A boxed future: the seams are used as trait objects, one allocation an operation.
pub type Fut<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A directory tree. Paths are relative, `/`-separated, without `..`; folders appear with the first file in them.
pub trait Disk: Send + Sync + 'static {
    /// Creates an empty file and opens it.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`] if there is one.
    fn create(&self, path: &str) -> Fut<'_, io::Result<Arc<dyn File>>>;

    /// Opens a file for reading and writing.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] if there is none.
    fn open(&self, path: &str) -> Fut<'_, io::Result<Arc<dyn File>>>;

    /// The names of the files directly in a folder, sorted; none if the folder is not there.
    fn list(&self, folder: &str) -> Fut<'_, io::Result<Vec<String>>>;

    /// Renames a file over whatever bears the new name. Durable after [`Disk::sync_dir`] of the folder.
    fn rename(&self, from: &str, to: &str) -> Fut<'_, io::Result<()>>;

    /// Removes a file. Durable after [`Disk::sync_dir`] of the folder.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] if there is none.
    fn remove(&self, path: &str) -> Fut<'_, io::Result<()>>;

    /// Makes the names in a folder durable (creations, renames, removals).
    fn sync_dir(&self, folder: &str) -> Fut<'_, io::Result<()>>;
}

/// An open file. Offsets and lengths are bytes.
#[expect(clippy::len_without_is_empty, reason = "nobody asks, and it may fail")]
pub trait File: Send + Sync + 'static {
    /// Writes the pieces one after the other at `offset`, growing the file where needed. Not durable yet.
    fn write_at(&self, offset: u64, pieces: Vec<Bytes>) -> Fut<'_, io::Result<()>>;

    /// Reads up to `len` bytes at `offset`; fewer only at the end of the file.
    fn read_at(&self, offset: u64, len: usize) -> Fut<'_, io::Result<Bytes>>;

    /// Makes all writes so far durable (`fdatasync`). After an error nothing may be assumed of any unsynced write, and
    /// a second call may lie: the caller must stop.
    fn sync(&self) -> Fut<'_, io::Result<()>>;

    /// The length of the file.
    fn len(&self) -> Fut<'_, io::Result<u64>>;

    /// Cuts or grows the file (with zeros) to `len`. Durable after [`File::sync`].
    fn set_len(&self, len: u64) -> Fut<'_, io::Result<()>>;
}
