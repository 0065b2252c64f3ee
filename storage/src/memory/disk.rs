//! Files in memory, durable at once.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;

use crate::disk::{Disk, File, Fut};

/// A directory tree in memory. Clones share it.
#[derive(Clone, Default)]
pub struct MemoryDisk {
    files: Arc<Mutex<BTreeMap<String, Arc<MemoryFile>>>>,
}

/// A file in memory. A removed one lives as long as it is open.
#[derive(Default)]
struct MemoryFile(Mutex<Vec<u8>>);

impl MemoryDisk {
    /// An empty tree.
    pub fn new() -> MemoryDisk {
        MemoryDisk::default()
    }

    fn files(&self) -> MutexGuard<'_, BTreeMap<String, Arc<MemoryFile>>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn create_now(&self, path: &str) -> io::Result<Arc<dyn File>> {
        let mut files = self.files();
        if files.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let file = Arc::new(MemoryFile::default());
        files.insert(path.into(), file.clone());
        Ok(file)
    }

    fn open_now(&self, path: &str) -> io::Result<Arc<dyn File>> {
        match self.files().get(path) {
            Some(file) => Ok(file.clone()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn list_now(&self, folder: &str) -> Vec<String> {
        let direct = |path: &String| {
            let name = if folder.is_empty() {
                path.as_str()
            } else {
                path.strip_prefix(folder)?.strip_prefix('/')?
            };
            (!name.contains('/')).then(|| name.to_string())
        };
        self.files().keys().filter_map(direct).collect()
    }

    fn rename_now(&self, from: &str, to: &str) -> io::Result<()> {
        let mut files = self.files();
        let file = files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        files.insert(to.into(), file);
        Ok(())
    }

    fn remove_now(&self, path: &str) -> io::Result<()> {
        match self.files().remove(path) {
            Some(_) => Ok(()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

impl Disk for MemoryDisk {
    fn create(&self, path: &str) -> Fut<'_, io::Result<Arc<dyn File>>> {
        let result = self.create_now(path);
        Box::pin(async { result })
    }

    fn open(&self, path: &str) -> Fut<'_, io::Result<Arc<dyn File>>> {
        let result = self.open_now(path);
        Box::pin(async { result })
    }

    fn list(&self, folder: &str) -> Fut<'_, io::Result<Vec<String>>> {
        let names = self.list_now(folder);
        Box::pin(async { Ok(names) })
    }

    fn rename(&self, from: &str, to: &str) -> Fut<'_, io::Result<()>> {
        let result = self.rename_now(from, to);
        Box::pin(async { result })
    }

    fn remove(&self, path: &str) -> Fut<'_, io::Result<()>> {
        let result = self.remove_now(path);
        Box::pin(async { result })
    }

    fn sync_dir(&self, _folder: &str) -> Fut<'_, io::Result<()>> {
        Box::pin(async { Ok(()) })
    }
}

impl MemoryFile {
    fn bytes(&self) -> MutexGuard<'_, Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl File for MemoryFile {
    fn write_at(&self, offset: u64, pieces: Vec<Bytes>) -> Fut<'_, io::Result<()>> {
        Box::pin(async move {
            let mut bytes = self.bytes();
            let mut at = offset as usize;
            for piece in pieces {
                let end = at + piece.len();
                if bytes.len() < end {
                    bytes.resize(end, 0);
                }
                bytes[at..end].copy_from_slice(&piece);
                at = end;
            }
            Ok(())
        })
    }

    fn read_at(&self, offset: u64, len: usize) -> Fut<'_, io::Result<Bytes>> {
        Box::pin(async move {
            let bytes = self.bytes();
            let from = bytes.len().min(offset as usize);
            let to = bytes.len().min(from.saturating_add(len));
            Ok(Bytes::copy_from_slice(&bytes[from..to]))
        })
    }

    fn sync(&self) -> Fut<'_, io::Result<()>> {
        Box::pin(async { Ok(()) })
    }

    fn len(&self) -> Fut<'_, io::Result<u64>> {
        Box::pin(async { Ok(self.bytes().len() as u64) })
    }

    fn set_len(&self, len: u64) -> Fut<'_, io::Result<()>> {
        Box::pin(async move {
            self.bytes().resize(len as usize, 0);
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn memory_keeps_the_contract_of_a_disk() {
        crate::contract::disk::all(&MemoryDisk::new()).await;
    }
}
