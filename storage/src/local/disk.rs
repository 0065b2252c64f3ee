//! The seam Disk on the files of this machine.
//!
//! The only place of the product that names `std::fs`. Calls block: journal writes happen on the journal's own thread,
//! other callers use `rt::offload`.

use std::{
    fs,
    io::{self, IoSlice},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use rustix::fs::{FallocateFlags, FlockOperation};

use crate::disk::{Disk, File, Fut};

/// The file that is locked while a process uses the directory.
const LOCK: &str = "LOCK";
/// The most pieces one `pwritev` takes on every system.
const MAX_PIECES: usize = 1024;

/// A directory of this machine, in use by this process alone.
#[derive(Debug)]
pub struct LocalDisk {
    root: PathBuf,
    /// Unlocked by the system when it is closed, however the process ends. `None`: only to look, never to change.
    lock: Option<fs::File>,
}

/// Why a directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LocalDiskError {
    /// Another process has it locked.
    #[error("{} is in use by another process; stop it, or choose another data directory", .0.display())]
    InUse(PathBuf),
    /// The system refused.
    #[error("cannot use {} as data directory: {}", .0.display(), .1)]
    Io(PathBuf, #[source] io::Error),
}

impl LocalDisk {
    /// Opens a directory, which is created if it is not there, and locks it. Blocks.
    ///
    /// # Errors
    /// [`LocalDiskError::InUse`] if another process, or another value in this one, has it open.
    pub fn open(root: impl Into<PathBuf>) -> Result<LocalDisk, LocalDiskError> {
        let root = root.into();
        match lock(&root) {
            Ok(Some(lock)) => Ok(LocalDisk { root, lock: Some(lock) }),
            Ok(None) => Err(LocalDiskError::InUse(root)),
            Err(error) => Err(LocalDiskError::Io(root, error)),
        }
    }

    /// Opens a directory only to look at it, also while another process uses it; every change is refused. Blocks.
    ///
    /// # Errors
    /// [`LocalDiskError::Io`] if it is not there.
    pub fn open_to_look(root: impl Into<PathBuf>) -> Result<LocalDisk, LocalDiskError> {
        let root = root.into();
        match open_dir(&root) {
            Ok(_) => Ok(LocalDisk { root, lock: None }),
            Err(error) => Err(LocalDiskError::Io(root, error)),
        }
    }

    /// The directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn may_change(&self) -> io::Result<()> {
        if self.lock.is_some() {
            return Ok(());
        }
        Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "the directory was opened only to look at it",
        ))
    }

    fn path(&self, path: &str) -> io::Result<PathBuf> {
        let plain = |part: &str| !matches!(part, "" | "." | "..");
        if !path.is_empty() && !path.split('/').all(plain) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("not a path within the directory: {path:?}"),
            ));
        }
        Ok(self.root.join(path))
    }

    #[expect(clippy::disallowed_methods, reason = "this is the seam Disk")]
    fn file(&self, path: &str, create: bool) -> io::Result<Arc<dyn File>> {
        if create {
            self.may_change()?;
        }
        let path = self.path(path)?;
        if create && let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        let file = fs::OpenOptions::new()
            .read(true)
            .write(self.lock.is_some())
            .create_new(create)
            .open(path)?;
        Ok(Arc::new(LocalFile(file)))
    }

    #[expect(clippy::disallowed_methods, reason = "this is the seam Disk; the names are sorted")]
    fn names(&self, folder: &str) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(self.path(folder)?) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry?;
            // Names we did not give are not ours.
            if let Ok(name) = entry.file_name().into_string()
                && entry.file_type()?.is_file()
                && !(folder.is_empty() && name == LOCK)
            {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    #[expect(clippy::disallowed_methods, reason = "this is the seam Disk")]
    fn rename_now(&self, from: &str, to: &str) -> io::Result<()> {
        self.may_change()?;
        let to = self.path(to)?;
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::rename(self.path(from)?, to)
    }

    #[expect(clippy::disallowed_methods, reason = "this is the seam Disk")]
    fn remove_now(&self, path: &str) -> io::Result<()> {
        self.may_change()?;
        fs::remove_file(self.path(path)?)
    }

    /// Syncs the folder and those above it, whose entry it may be new in.
    fn sync_dirs(&self, folder: &str) -> io::Result<()> {
        let mut path = self.path(folder)?;
        loop {
            open_dir(&path)?.sync_all()?;
            if path == self.root || !path.pop() {
                return Ok(());
            }
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the seam Disk")]
fn lock(root: &Path) -> io::Result<Option<fs::File>> {
    let new = !root.exists();
    fs::create_dir_all(root)?;
    if new && let Some(parent) = root.canonicalize()?.parent() {
        open_dir(parent)?.sync_all()?;
    }
    let lock = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(root.join(LOCK))?;
    match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(lock)),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the seam Disk")]
fn open_dir(path: &Path) -> io::Result<fs::File> {
    fs::File::open(path)
}

impl Disk for LocalDisk {
    fn create(&self, path: &str) -> Fut<'_, io::Result<Arc<dyn File>>> {
        let path = path.to_string();
        Box::pin(async move { self.file(&path, true) })
    }

    fn open(&self, path: &str) -> Fut<'_, io::Result<Arc<dyn File>>> {
        let path = path.to_string();
        Box::pin(async move { self.file(&path, false) })
    }

    fn list(&self, folder: &str) -> Fut<'_, io::Result<Vec<String>>> {
        let folder = folder.to_string();
        Box::pin(async move { self.names(&folder) })
    }

    fn rename(&self, from: &str, to: &str) -> Fut<'_, io::Result<()>> {
        let (from, to) = (from.to_string(), to.to_string());
        Box::pin(async move { self.rename_now(&from, &to) })
    }

    fn remove(&self, path: &str) -> Fut<'_, io::Result<()>> {
        let path = path.to_string();
        Box::pin(async move { self.remove_now(&path) })
    }

    fn sync_dir(&self, folder: &str) -> Fut<'_, io::Result<()>> {
        let folder = folder.to_string();
        Box::pin(async move { self.sync_dirs(&folder) })
    }
}

/// An open file.
struct LocalFile(fs::File);

impl LocalFile {
    fn write_all_at(&self, mut offset: u64, mut pieces: &[Bytes]) -> io::Result<()> {
        // How much of the first piece is written already.
        let mut skip = 0;
        while let Some(first) = pieces.first() {
            let rest = IoSlice::new(&first[skip..]);
            let more = pieces[1..].iter().take(MAX_PIECES - 1).map(|piece| IoSlice::new(piece));
            let slices: Vec<IoSlice<'_>> = std::iter::once(rest).chain(more).collect();
            let wanted: usize = slices.iter().map(|slice| slice.len()).sum();
            let mut written = match rustix::io::pwritev(&self.0, &slices, offset) {
                Ok(0) if wanted > 0 => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => written,
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            };
            offset += written as u64;
            for slice in &slices {
                if written < slice.len() {
                    break;
                }
                written -= slice.len();
                pieces = &pieces[1..];
                skip = 0;
            }
            skip += written;
        }
        Ok(())
    }

    fn read_up_to(&self, offset: u64, len: usize) -> io::Result<Bytes> {
        // Not more memory than there are bytes, whatever is asked for.
        let there = self.0.metadata()?.len().saturating_sub(offset);
        let mut buffer = vec![0; len.min(usize::try_from(there).unwrap_or(usize::MAX))];
        let mut have = 0;
        while have < buffer.len() {
            match self.0.read_at(&mut buffer[have..], offset + have as u64) {
                Ok(0) => break,
                Ok(read) => have += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        buffer.truncate(have);
        Ok(buffer.into())
    }

    fn resize(&self, len: u64) -> io::Result<()> {
        let now = self.0.metadata()?.len();
        if len > now {
            // Takes the space now, so that a full disk is noticed here and not in the middle of a write.
            match rustix::fs::fallocate(&self.0, FallocateFlags::empty(), now, len - now) {
                Ok(()) => return Ok(()),
                Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS | rustix::io::Errno::INVAL) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.0.set_len(len)
    }
}

impl File for LocalFile {
    fn write_at(&self, offset: u64, pieces: Vec<Bytes>) -> Fut<'_, io::Result<()>> {
        Box::pin(async move { self.write_all_at(offset, &pieces) })
    }

    fn read_at(&self, offset: u64, len: usize) -> Fut<'_, io::Result<Bytes>> {
        Box::pin(async move { self.read_up_to(offset, len) })
    }

    fn sync(&self) -> Fut<'_, io::Result<()>> {
        Box::pin(async move { self.0.sync_data() })
    }

    fn len(&self) -> Fut<'_, io::Result<u64>> {
        Box::pin(async move { Ok(self.0.metadata()?.len()) })
    }

    fn set_len(&self, len: u64) -> Fut<'_, io::Result<()>> {
        Box::pin(async move { self.resize(len) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_files_of_this_machine_keep_the_contract_of_a_disk() {
        let root = tempfile::tempdir().unwrap();
        crate::contract::disk::all(&LocalDisk::open(root.path()).unwrap()).await;
    }

    #[test]
    fn a_directory_is_used_by_one_at_a_time() {
        let root = tempfile::tempdir().unwrap();
        let first = LocalDisk::open(root.path()).unwrap();
        assert!(matches!(LocalDisk::open(root.path()), Err(LocalDiskError::InUse(_))));
        let looking = LocalDisk::open_to_look(root.path()).unwrap();
        assert!(looking.file("a", true).is_err(), "who looks changes nothing");
        drop(first);
        LocalDisk::open(root.path()).unwrap();
    }

    #[tokio::test]
    async fn a_path_does_not_leave_the_directory() {
        let root = tempfile::tempdir().unwrap();
        let disk = LocalDisk::open(root.path().join("a/b")).unwrap();
        for path in ["../x", "a/../../x", "/etc/x", "a//x", "./x"] {
            let refused = disk.create(path).await.err().map(|error| error.kind());
            assert_eq!(refused, Some(io::ErrorKind::InvalidInput), "{path}");
        }
    }
}
