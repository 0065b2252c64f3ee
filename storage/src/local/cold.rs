//! The cold store as a folder: an object is a file that appears whole, under its name, once.
//!
//! An object is written to `tmp/`, synced, and linked to its name: a link fails where the name is taken, whoever raced
//! for it, and a crash leaves no half an object. The suffix of an object's file (`@1`) is the version of this layout and
//! no part of any key, so that the object `a` and the folder of `a/b` do not meet.

use std::{
    collections::BTreeSet,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    ops::Range,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;

use crate::{
    cold::{Cold, check_key},
    disk::Fut,
    error::ColdError,
};

/// What an object's file name ends with.
const SUFFIX: &str = "@1";

/// A [`Cold`] in a folder of this machine. Its calls block the thread that polls them. One process at a time: whoever
/// opens it holds the lock of the data directory.
#[derive(Debug)]
pub struct LocalCold {
    objects: PathBuf,
    tmp: PathBuf,
    next_tmp: AtomicU64,
}

impl LocalCold {
    /// Opens the store in a folder, which is created where it is missing, and removes what a crash left half written.
    ///
    /// # Errors
    /// Those of the file system, with the path.
    #[expect(clippy::disallowed_methods, reason = "this is the seam's own implementation")]
    pub fn open(root: impl Into<PathBuf>) -> io::Result<LocalCold> {
        let root = root.into();
        let (objects, tmp) = (root.join("objects"), root.join("tmp"));
        for folder in [&objects, &tmp] {
            fs::create_dir_all(folder).map_err(|error| at(folder, error))?;
        }
        sync_folder(&root)?;
        for left in read_folder(&tmp)? {
            remove_file(&tmp.join(left))?;
        }
        Ok(LocalCold {
            objects,
            tmp,
            next_tmp: AtomicU64::new(0),
        })
    }

    fn path(&self, key: &str) -> Result<PathBuf, ColdError> {
        check_key(key)?;
        Ok(self.objects.join(format!("{key}{SUFFIX}")))
    }

    #[expect(clippy::disallowed_methods, reason = "this is the seam's own implementation")]
    fn put_now(&self, key: &str, pieces: &[Bytes]) -> Result<(), ColdError> {
        let path = self.path(key)?;
        let folder = path.parent().unwrap_or(&self.objects);
        fs::create_dir_all(folder).map_err(|error| at(folder, error))?;
        let tmp = self.tmp.join(self.next_tmp.fetch_add(1, Ordering::Relaxed).to_string());
        let result = write_synced(&tmp, pieces).and_then(|()| fs::hard_link(&tmp, &path));
        // Left behind by a crash here, it is removed at the next open.
        let cleaned = remove_file(&tmp);
        match result {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                // The winner of a race may not have synced the name yet, and whoever is told `Exists` builds on it.
                sync_folders(folder, &self.objects)?;
                return Err(ColdError::Exists);
            }
            Err(error) => return Err(at(&path, error).into()),
        }
        cleaned?;
        // All of them, not only those created here: another writer may have created one and not synced it yet.
        Ok(sync_folders(folder, &self.objects)?)
    }

    fn get_now(&self, key: &str, range: Range<u64>) -> Result<Bytes, ColdError> {
        let path = self.path(key)?;
        let read = || {
            let file = open_file(&path)?;
            let end = range.end.min(file.metadata()?.len());
            let len = usize::try_from(end.saturating_sub(range.start)).map_err(io::Error::other)?;
            let mut bytes = vec![0; len];
            file.read_exact_at(&mut bytes, range.start)?;
            Ok(Bytes::from(bytes))
        };
        read().map_err(|error: io::Error| match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => ColdError::NotFound,
            _ => at(&path, error).into(),
        })
    }

    fn list_now(&self, prefix: &str, after: Option<&str>, limit: usize) -> io::Result<Vec<String>> {
        // The least `limit` keys so far: memory is bounded by the page, not by the store.
        let mut page: BTreeSet<String> = BTreeSet::new();
        let mut folders = vec![String::new()];
        while let Some(folder) = folders.pop() {
            for name in read_folder(&self.objects.join(&folder))? {
                let path = format!("{folder}{name}");
                let Some(key) = path.strip_suffix(SUFFIX) else {
                    let inside = format!("{path}/");
                    if inside.starts_with(prefix) || prefix.starts_with(&inside) {
                        folders.push(inside);
                    }
                    continue;
                };
                if key.starts_with(prefix) && after.is_none_or(|after| key > after) {
                    page.insert(key.to_owned());
                    if page.len() > limit {
                        page.pop_last();
                    }
                }
            }
        }
        Ok(page.into_iter().collect())
    }

    fn delete_now(&self, key: &str) -> Result<(), ColdError> {
        let path = self.path(key)?;
        match remove_file(&path) {
            // Folders stay, for another writer may be about to put an object there; they cost little.
            Ok(()) => Ok(sync_folder(path.parent().unwrap_or(&self.objects))?),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl Cold for LocalCold {
    fn put_if_absent(&self, key: &str, pieces: Vec<Bytes>) -> Fut<'_, Result<(), ColdError>> {
        let key = key.to_owned();
        Box::pin(async move { self.put_now(&key, &pieces) })
    }

    fn get_range(&self, key: &str, range: Range<u64>) -> Fut<'_, Result<Bytes, ColdError>> {
        let key = key.to_owned();
        Box::pin(async move { self.get_now(&key, range) })
    }

    fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Fut<'_, Result<Vec<String>, ColdError>> {
        let (prefix, after) = (prefix.to_owned(), after.map(str::to_owned));
        Box::pin(async move { Ok(self.list_now(&prefix, after.as_deref(), limit)?) })
    }

    fn delete(&self, key: &str) -> Fut<'_, Result<(), ColdError>> {
        let key = key.to_owned();
        Box::pin(async move { self.delete_now(&key) })
    }
}

/// Makes a folder durable, its names and those of the folders above it up to `root`.
fn sync_folders(folder: &Path, root: &Path) -> io::Result<()> {
    for folder in folder.ancestors().take_while(|above| above.starts_with(root)) {
        sync_folder(folder)?;
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "this is the seam's own implementation")]
fn write_synced(path: &Path, pieces: &[Bytes]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    for piece in pieces {
        file.write_all(piece)?;
    }
    file.sync_all()
}

#[expect(clippy::disallowed_methods, reason = "this is the seam's own implementation")]
fn open_file(path: &Path) -> io::Result<File> {
    File::open(path)
}

#[expect(clippy::disallowed_methods, reason = "this is the seam's own implementation")]
fn remove_file(path: &Path) -> io::Result<()> {
    fs::remove_file(path).map_err(|error| at(path, error))
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is the seam's own implementation; callers sort"
)]
fn read_folder(folder: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(at(folder, error)),
    };
    // A name that is not UTF-8 is none of ours.
    entries
        .filter_map(|entry| entry.map(|entry| entry.file_name().into_string().ok()).transpose())
        .collect()
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    open_file(folder)
        .and_then(|file| file.sync_all())
        .map_err(|error| at(folder, error))
}

/// The error with the path, of the same kind.
fn at(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::{
        cell::RefCell,
        sync::{Arc, Barrier},
    };

    use futures_util::FutureExt;

    use super::*;
    use crate::contract;

    #[tokio::test]
    async fn keeps_the_contract() {
        let folders = RefCell::new(Vec::new());
        contract::cold::all(&|| {
            let folder = tempfile::tempdir().unwrap();
            let cold = LocalCold::open(folder.path().join("deep/cold")).unwrap();
            folders.borrow_mut().push(folder);
            Arc::new(cold)
        })
        .await;
    }

    #[test]
    fn threads_that_race_for_a_name_have_one_winner() {
        let folder = tempfile::tempdir().unwrap();
        let cold = LocalCold::open(folder.path()).unwrap();
        for round in 0..20 {
            let start = Barrier::new(4);
            let winners: usize = std::thread::scope(|scope| {
                let racers: Vec<_> = (0..4)
                    .map(|racer: u8| {
                        let (cold, start) = (&cold, &start);
                        scope.spawn(move || {
                            start.wait();
                            cold.put_now(&format!("race/{round}"), &[Bytes::from(vec![racer; 3000])])
                                .is_ok()
                        })
                    })
                    .collect();
                racers.into_iter().map(|racer| usize::from(racer.join().unwrap())).sum()
            });
            assert_eq!(winners, 1);
            let object = cold.get_now(&format!("race/{round}"), 0..5000).unwrap();
            assert!(
                object.len() == 3000 && object.iter().all(|byte| *byte == object[0]),
                "an object of one writer"
            );
        }
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "what a crash leaves is made by hand")]
    fn reopens_with_its_objects_and_without_leftovers() {
        let folder = tempfile::tempdir().unwrap();
        let cold = LocalCold::open(folder.path()).unwrap();
        cold.put_now("a/b", &[Bytes::from_static(b"stays")]).unwrap();
        drop(cold);
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(folder.path().join("tmp/7"))
            .unwrap();
        let cold = LocalCold::open(folder.path()).unwrap();
        assert_eq!(cold.get_range("a/b", 0..9).now_or_never().unwrap().unwrap(), "stays");
        assert_eq!(read_folder(&cold.tmp).unwrap(), Vec::<String>::new());
    }
}
