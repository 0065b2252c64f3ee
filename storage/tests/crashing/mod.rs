//! A disk that loses power, and a journal driven by hand on it, for the journal's tests.
//!
//! Everything happens on one thread and by chance from one seed, so a failing case is replayed by its input.

#![allow(dead_code, reason = "every test file uses its own part of this")]

pub(crate) mod driven;

use std::{
    collections::BTreeMap,
    future::pending,
    io,
    sync::{Arc, Mutex, MutexGuard},
};

use bytes::Bytes;
use storage::disk::{Disk, File, Fut};

/// A disk that loses power. Clones share it.
#[derive(Clone)]
pub(crate) struct CrashDisk(Arc<Mutex<Platter>>);

struct Platter {
    chance: u64,
    inodes: Vec<Inode>,
    /// The names as a process sees them, and as they would be after a power cut.
    names: BTreeMap<String, usize>,
    kept_names: BTreeMap<String, usize>,
    /// What happened to names since the last sync of the folder (the tests use one).
    name_ops: Vec<NameOp>,
    /// How many more operations the power lasts.
    fuse: Option<u64>,
    /// How many more syncs succeed.
    syncs: Option<u64>,
    /// How many operations there were.
    operations: u64,
}

#[derive(Default, Clone)]
struct Inode {
    seen: Vec<u8>,
    kept: Vec<u8>,
    dirty: Vec<Dirty>,
}

#[derive(Clone)]
enum Dirty {
    Write(u64, Vec<u8>),
    Len(u64),
}

#[derive(Clone)]
enum NameOp {
    Link(String, usize),
    Unlink(String),
}

impl CrashDisk {
    pub(crate) fn new(seed: u64) -> CrashDisk {
        CrashDisk(Arc::new(Mutex::new(Platter {
            chance: seed | 1,
            inodes: Vec::new(),
            names: BTreeMap::new(),
            kept_names: BTreeMap::new(),
            name_ops: Vec::new(),
            fuse: None,
            syncs: None,
            operations: 0,
        })))
    }

    pub(crate) fn disk(&self) -> Arc<dyn Disk> {
        Arc::new(self.clone())
    }

    fn platter(&self) -> MutexGuard<'_, Platter> {
        self.0.lock().unwrap()
    }

    /// The power goes off in the middle of the operation after the next `operations`; nothing returns from then on.
    pub(crate) fn light_fuse(&self, operations: u64) {
        self.platter().fuse = Some(operations);
    }

    /// The sync after the next `syncs` fails, as Linux does it: what was to be synced counts as clean.
    pub(crate) fn fail_sync(&self, syncs: u64) {
        self.platter().syncs = Some(syncs);
    }

    pub(crate) fn operations(&self) -> u64 {
        self.platter().operations
    }

    /// Cuts the power, and turns it on again.
    pub(crate) fn power_cut(&self) {
        let mut platter = self.platter();
        let platter = &mut *platter;
        // Some cuts lose nearly all, some nearly nothing.
        let keep = [0, 10, 50, 90, 100][platter.chance(5) as usize];
        for inode in 0..platter.inodes.len() {
            platter.settle(inode, keep);
            let inode = &mut platter.inodes[inode];
            inode.seen = inode.kept.clone();
        }
        for op in std::mem::take(&mut platter.name_ops) {
            if platter.chance(100) < keep {
                match op {
                    NameOp::Link(name, inode) => drop(platter.kept_names.insert(name, inode)),
                    NameOp::Unlink(name) => drop(platter.kept_names.remove(&name)),
                }
            }
        }
        platter.names = platter.kept_names.clone();
        platter.fuse = None;
        platter.syncs = None;
    }

    /// The process dies, the machine does not.
    pub(crate) fn restart(&self) {
        let mut platter = self.platter();
        platter.fuse = None;
        platter.syncs = None;
    }

    /// Changes bytes on the medium itself.
    pub(crate) fn with_bytes<T>(&self, path: &str, change: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        let mut platter = self.platter();
        let inode = platter.names[path];
        let inode = &mut platter.inodes[inode];
        let result = change(&mut inode.seen);
        inode.kept = inode.seen.clone();
        inode.dirty.clear();
        result
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.platter().names.keys().cloned().collect()
    }

    /// A file vanishes, unsynced or not.
    pub(crate) fn lose(&self, path: &str) {
        let mut platter = self.platter();
        platter.names.remove(path);
        platter.kept_names.remove(path);
    }
}

impl Platter {
    /// A throw from 0 to `below` - 1.
    fn chance(&mut self, below: u64) -> u64 {
        self.chance ^= self.chance << 13;
        self.chance ^= self.chance >> 7;
        self.chance ^= self.chance << 17;
        (self.chance >> 11) % below
    }

    /// Lets about `keep` percent of what is dirty reach the medium, in pieces cut anywhere.
    fn settle(&mut self, inode: usize, keep: u64) {
        for dirty in std::mem::take(&mut self.inodes[inode].dirty) {
            match dirty {
                Dirty::Len(len) if self.chance(100) < keep => self.inodes[inode].kept.resize(len as usize, 0),
                Dirty::Len(_) => {}
                Dirty::Write(offset, bytes) => {
                    let mut from = 0;
                    while from < bytes.len() {
                        let most = (bytes.len() - from) as u64;
                        let to = from + 1 + self.chance(most) as usize;
                        if self.chance(100) < keep {
                            put(&mut self.inodes[inode].kept, offset + from as u64, &bytes[from..to]);
                        }
                        from = to;
                    }
                }
            }
        }
    }

    /// Counts an operation; whether it is the last, in the middle of which the power goes off.
    fn burns_out(&mut self) -> bool {
        self.operations += 1;
        match &mut self.fuse {
            Some(0) => true,
            Some(left) => {
                *left -= 1;
                *left == 0
            }
            None => false,
        }
    }
}

fn put(file: &mut Vec<u8>, offset: u64, bytes: &[u8]) {
    let end = offset as usize + bytes.len();
    if file.len() < end {
        file.resize(end, 0);
    }
    file[offset as usize..end].copy_from_slice(bytes);
}

/// Runs an operation under the lock, and hangs for ever if the power went off meanwhile.
fn operate<'a, T: Send + 'a>(
    platter: &'a Mutex<Platter>,
    operation: impl FnOnce(&mut Platter) -> io::Result<T> + Send + 'a,
) -> Fut<'a, io::Result<T>> {
    Box::pin(async move {
        let result = {
            let mut platter = platter.lock().unwrap();
            let already_off = platter.fuse == Some(0);
            let off = platter.burns_out();
            let result = if already_off {
                None
            } else {
                Some(operation(&mut platter))
            };
            if off { None } else { result }
        };
        match result {
            Some(result) => result,
            None => pending().await,
        }
    })
}

impl Disk for CrashDisk {
    fn create(&self, path: &str) -> Fut<'_, io::Result<Arc<dyn File>>> {
        let path = path.to_string();
        operate(&self.0, move |platter| {
            if platter.names.contains_key(&path) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            let inode = platter.inodes.len();
            platter.inodes.push(Inode::default());
            platter.names.insert(path.clone(), inode);
            platter.name_ops.push(NameOp::Link(path, inode));
            Ok(Arc::new(Open {
                disk: self.clone(),
                inode,
            }) as Arc<dyn File>)
        })
    }

    fn open(&self, path: &str) -> Fut<'_, io::Result<Arc<dyn File>>> {
        let path = path.to_string();
        operate(&self.0, move |platter| match platter.names.get(&path) {
            Some(&inode) => Ok(Arc::new(Open {
                disk: self.clone(),
                inode,
            }) as Arc<dyn File>),
            None => Err(io::ErrorKind::NotFound.into()),
        })
    }

    fn list(&self, folder: &str) -> Fut<'_, io::Result<Vec<String>>> {
        let folder = folder.to_string();
        operate(&self.0, move |platter| {
            let direct = |path: &String| {
                let name = if folder.is_empty() {
                    path
                } else {
                    path.strip_prefix(&folder)?.strip_prefix('/')?
                };
                (!name.contains('/')).then(|| name.to_string())
            };
            Ok(platter.names.keys().filter_map(direct).collect())
        })
    }

    fn rename(&self, from: &str, to: &str) -> Fut<'_, io::Result<()>> {
        let (from, to) = (from.to_string(), to.to_string());
        operate(&self.0, move |platter| {
            let inode = platter.names.remove(&from).ok_or(io::ErrorKind::NotFound)?;
            platter.names.insert(to.clone(), inode);
            // In this order, so that a kept first half loses no name.
            platter.name_ops.push(NameOp::Link(to, inode));
            platter.name_ops.push(NameOp::Unlink(from));
            Ok(())
        })
    }

    fn remove(&self, path: &str) -> Fut<'_, io::Result<()>> {
        let path = path.to_string();
        operate(&self.0, move |platter| {
            platter.names.remove(&path).ok_or(io::ErrorKind::NotFound)?;
            platter.name_ops.push(NameOp::Unlink(path));
            Ok(())
        })
    }

    fn sync_dir(&self, _folder: &str) -> Fut<'_, io::Result<()>> {
        operate(&self.0, move |platter| {
            if platter.fuse != Some(0) {
                platter.kept_names = platter.names.clone();
                platter.name_ops.clear();
            }
            Ok(())
        })
    }
}

struct Open {
    disk: CrashDisk,
    inode: usize,
}

impl File for Open {
    fn write_at(&self, offset: u64, pieces: Vec<Bytes>) -> Fut<'_, io::Result<()>> {
        operate(&self.disk.0, move |platter| {
            let bytes = pieces.concat();
            let inode = &mut platter.inodes[self.inode];
            put(&mut inode.seen, offset, &bytes);
            inode.dirty.push(Dirty::Write(offset, bytes));
            Ok(())
        })
    }

    fn read_at(&self, offset: u64, len: usize) -> Fut<'_, io::Result<Bytes>> {
        operate(&self.disk.0, move |platter| {
            let seen = &platter.inodes[self.inode].seen;
            let from = seen.len().min(offset as usize);
            Ok(Bytes::copy_from_slice(&seen[from..seen.len().min(from + len)]))
        })
    }

    fn sync(&self) -> Fut<'_, io::Result<()>> {
        operate(&self.disk.0, move |platter| {
            if platter.fuse == Some(0) {
                // The power goes off in the middle.
                let keep = platter.chance(101);
                platter.settle(self.inode, keep);
                return Ok(());
            }
            match &mut platter.syncs {
                Some(0) => {
                    let keep = platter.chance(101);
                    platter.settle(self.inode, keep);
                    // Once, or for good.
                    if platter.chance(2) == 0 {
                        platter.syncs = None;
                    }
                    return Err(io::Error::other("the medium is failing"));
                }
                Some(left) => *left -= 1,
                None => {}
            }
            let inode = &mut platter.inodes[self.inode];
            for dirty in std::mem::take(&mut inode.dirty) {
                match dirty {
                    Dirty::Write(offset, bytes) => put(&mut inode.kept, offset, &bytes),
                    Dirty::Len(len) => inode.kept.resize(len as usize, 0),
                }
            }
            Ok(())
        })
    }

    fn len(&self) -> Fut<'_, io::Result<u64>> {
        operate(&self.disk.0, move |platter| {
            Ok(platter.inodes[self.inode].seen.len() as u64)
        })
    }

    fn set_len(&self, len: u64) -> Fut<'_, io::Result<()>> {
        operate(&self.disk.0, move |platter| {
            let inode = &mut platter.inodes[self.inode];
            inode.seen.resize(len as usize, 0);
            inode.dirty.push(Dirty::Len(len));
            Ok(())
        })
    }
}
