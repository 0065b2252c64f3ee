//! RocksDB keeps the contract of the index, and says in a sentence what it cannot do.
#![cfg(feature = "real")]
#![expect(
    clippy::disallowed_methods,
    reason = "a test of the real thing, outside of any world"
)]

use std::{cell::RefCell, fs, io, path::Path, sync::Arc};

use storage::{
    contract::index::{self as contract, Lives},
    index::{Batch, Index},
    rocks::{Options, RocksIndex},
};
use tempfile::TempDir;

#[test]
fn keeps_the_contract() {
    let folders = RefCell::new(Vec::new());
    contract::all(&|| {
        let folder = tempfile::tempdir().unwrap();
        let index = open(folder.path());
        folders.borrow_mut().push(folder);
        index
    });
}

/// A life ends by a copy of the folder while RocksDB runs on: the copy is what a kill at that moment would have left.
struct Copied {
    index: Arc<RocksIndex>,
    folder: TempDir,
}

impl Lives for Copied {
    fn index(&self) -> Arc<dyn Index> {
        self.index.clone()
    }

    fn crash(&mut self) {
        let copy = copied(self.folder.path());
        self.index = open(copy.path());
        self.folder = copy;
    }
}

/// The folder as it was at one moment, though RocksDB makes and removes files in the background meanwhile. The
/// manifest goes first, so that every table it names is whole; and a copy during which a file came or went is made
/// again, so that every table it names is there. File numbers only grow: equal names mean that nothing happened.
fn copied(folder: &Path) -> TempDir {
    loop {
        let copy = tempfile::tempdir().unwrap();
        let names = names(folder);
        let whole = names
            .iter()
            .try_for_each(|name| fs::copy(folder.join(name), copy.path().join(name)).map(|_| ()));
        match whole {
            Ok(()) if names == self::names(folder) => return copy,
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => panic!("{}: {e}", folder.display()),
        }
    }
}

/// The files of a database, manifests first, without the lock: that is the process's, not the disk's.
fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != "LOCK")
        .collect();
    names.sort_by_key(|name| (!name.starts_with("MANIFEST"), name.clone()));
    names
}

#[test]
fn keeps_the_contract_of_crashes() {
    for seed in 0..4 {
        let folder = tempfile::tempdir().unwrap();
        let index = open(folder.path());
        contract::crashes(&mut Copied { index, folder }, seed, 12);
    }
}

#[test]
fn a_clean_end_keeps_everything() {
    let folder = tempfile::tempdir().unwrap();
    let index = open(folder.path());
    let mut batch = Batch::default();
    batch.put("a", "1");
    index.write(batch).unwrap();
    drop(index);
    assert_eq!(open(folder.path()).get(b"a").unwrap().as_deref(), Some(&b"1"[..]));
}

#[test]
fn a_second_opener_is_told_that_it_is_the_second() {
    let folder = tempfile::tempdir().unwrap();
    let _first = open(folder.path());
    let error = RocksIndex::open(folder.path(), &Options::default())
        .map(|_| ())
        .unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ResourceBusy, "{error}");
    assert!(error.to_string().contains("another process has it open"), "{error}");
}

#[test]
fn a_damaged_page_is_an_error_and_not_an_answer() {
    let folder = tempfile::tempdir().unwrap();
    let index = open(folder.path());
    let mut batch = Batch::default();
    for key in 0..100_u32 {
        batch.put(key.to_be_bytes().to_vec(), vec![7; 100]);
    }
    index.write(batch).unwrap();
    index.flush().unwrap();
    drop(index);
    for entry in fs::read_dir(folder.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "sst") {
            let mut bytes = fs::read(&path).unwrap();
            bytes[1000] ^= 1;
            fs::write(&path, bytes).unwrap();
        }
    }
    let error = match RocksIndex::open(folder.path(), &Options::default()) {
        Ok(index) => index.scan(&[], &[255], 1000).unwrap_err(),
        Err(error) => error,
    };
    assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{error}");
}

fn open(folder: &Path) -> Arc<RocksIndex> {
    Arc::new(RocksIndex::open(folder, &Options::default()).unwrap())
}
