//! What the disk holds: what everyone sees, what is durable, and the changes that lie between the two, in order.
//!
//! Pure state: no time passes here and nothing is thrown, so that what a power loss may do ([`super::loss`]) can be
//! read apart from how operations fail ([`super::handle`]).

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
};

use bytes::Bytes;

use super::image::{Image, PAGE};

/// A file, whatever its names are.
#[derive(Clone, Debug, Default)]
pub(super) struct Inode {
    /// What reads return.
    pub(super) cached: Image,
    /// What a power loss surely leaves.
    pub(super) durable: Image,
    /// From the one to the other.
    pub(super) pending: Vec<Pending<Change>>,
    /// Handles of the life that runs.
    pub(super) open: u32,
}

/// A change that is not durable yet, with its place among all changes of the disk.
#[derive(Clone, Debug)]
pub(super) struct Pending<T> {
    pub(super) at: u64,
    pub(super) change: T,
}

/// A change of a file.
#[derive(Clone, Debug)]
pub(super) enum Change {
    /// A piece of a write; the pieces of one share its number, and a sector is never written back with some of them.
    Write {
        offset: u64,
        bytes: Bytes,
        write: u64,
    },
    SetLen(u64),
}

impl Change {
    pub(super) fn apply(&self, image: &mut Image) {
        match self {
            Change::Write { offset, bytes, .. } => image.write(*offset, bytes),
            Change::SetLen(len) => image.set_len(*len),
        }
    }
}

/// A change of the names.
#[derive(Clone, Debug)]
pub(super) enum NameChange {
    Create { path: String, inode: u64 },
    Rename { from: String, to: String, inode: u64 },
    Remove { path: String, inode: u64 },
}

impl NameChange {
    fn inode(&self) -> u64 {
        match self {
            NameChange::Create { inode, .. } | NameChange::Rename { inode, .. } | NameChange::Remove { inode, .. } => {
                *inode
            }
        }
    }

    fn paths(&self) -> impl Iterator<Item = &String> {
        let (one, other) = match self {
            NameChange::Create { path, .. } | NameChange::Remove { path, .. } => (path, None),
            NameChange::Rename { from, to, .. } => (from, Some(to)),
        };
        std::iter::once(one).chain(other)
    }

    /// Applies it, to names that show everything which it builds on.
    pub(super) fn apply(&self, names: &mut BTreeMap<String, u64>) {
        match self {
            NameChange::Create { path, inode } => {
                names.insert(path.clone(), *inode);
            }
            NameChange::Rename { from, to, inode } => {
                names.remove(from);
                names.insert(to.clone(), *inode);
            }
            NameChange::Remove { path, .. } => {
                names.remove(path);
            }
        }
    }
}

/// Everything on the disk.
#[derive(Clone, Debug, Default)]
pub(super) struct Store {
    pub(super) names: BTreeMap<String, u64>,
    pub(super) durable_names: BTreeMap<String, u64>,
    pub(super) pending_names: Vec<Pending<NameChange>>,
    pub(super) inodes: BTreeMap<u64, Inode>,
    /// The place of the next change among all changes.
    pub(super) next: u64,
    /// Pages that all files together may take; without a bound if `None`.
    pub(super) pages_max: Option<u64>,
}

impl Store {
    /// The next place among all changes; also names whatever begins there.
    pub(super) fn place(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    pub(super) fn pages(&self) -> u64 {
        self.inodes.values().map(|inode| inode.cached.pages()).sum()
    }

    pub(super) fn create(&mut self, path: &str) -> io::Result<u64> {
        if self.names.contains_key(path) {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, format!("{path} exists")));
        }
        let inode = self.place();
        self.inodes.insert(
            inode,
            Inode {
                open: 1,
                ..Inode::default()
            },
        );
        self.rename_to(NameChange::Create {
            path: path.to_owned(),
            inode,
        });
        Ok(inode)
    }

    pub(super) fn open(&mut self, path: &str) -> io::Result<u64> {
        let inode = self.find(path)?;
        self.inode(inode)?.open += 1;
        Ok(inode)
    }

    pub(super) fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        let inode = self.find(from)?;
        if from != to {
            self.rename_to(NameChange::Rename {
                from: from.to_owned(),
                to: to.to_owned(),
                inode,
            });
            self.collect();
        }
        Ok(())
    }

    pub(super) fn remove(&mut self, path: &str) -> io::Result<()> {
        let inode = self.find(path)?;
        self.rename_to(NameChange::Remove {
            path: path.to_owned(),
            inode,
        });
        self.collect();
        Ok(())
    }

    fn rename_to(&mut self, change: NameChange) {
        change.apply(&mut self.names);
        let at = self.place();
        self.pending_names.push(Pending { at, change });
    }

    fn find(&self, path: &str) -> io::Result<u64> {
        let missing = || io::Error::new(io::ErrorKind::NotFound, format!("there is no {path}"));
        self.names.get(path).copied().ok_or_else(missing)
    }

    pub(super) fn inode(&mut self, inode: u64) -> io::Result<&mut Inode> {
        self.inodes
            .get_mut(&inode)
            .ok_or_else(|| io::Error::other("the file is gone"))
    }

    /// Writes as much as there is room for, as a part of the write of this number.
    pub(super) fn write(&mut self, inode: u64, write: u64, mut offset: u64, pieces: Vec<Bytes>) -> io::Result<()> {
        for mut piece in pieces {
            let room = self.room(inode, offset, piece.len())?;
            let full = room < piece.len();
            piece.truncate(room);
            if !piece.is_empty() {
                let at = self.place();
                let file = self.inode(inode)?;
                let change = Change::Write {
                    offset,
                    bytes: piece.clone(),
                    write,
                };
                change.apply(&mut file.cached);
                file.pending.push(Pending { at, change });
            }
            if full {
                return Err(io::Error::new(io::ErrorKind::StorageFull, "no space left on the disk"));
            }
            offset += piece.len() as u64;
        }
        Ok(())
    }

    /// How many of `len` bytes at `offset` find room.
    fn room(&mut self, inode: u64, offset: u64, len: usize) -> io::Result<usize> {
        let Some(pages_max) = self.pages_max else {
            return Ok(len);
        };
        let free = pages_max.saturating_sub(self.pages());
        let cached = &self.inode(inode)?.cached;
        let end = offset + len as u64;
        if cached.pages_missing(offset..end) <= free {
            return Ok(len);
        }
        // Page by page, up to the first that finds none.
        let mut fits = offset;
        while cached.pages_missing(offset..((fits / PAGE + 1) * PAGE).min(end)) <= free {
            fits = (fits / PAGE + 1) * PAGE;
        }
        Ok((fits - offset) as usize)
    }

    /// Whether all bytes up to `len` would find room.
    pub(super) fn has_room(&mut self, inode: u64, len: u64) -> io::Result<bool> {
        let Some(pages_max) = self.pages_max else {
            return Ok(true);
        };
        let free = pages_max.saturating_sub(self.pages());
        Ok(self.inode(inode)?.cached.pages_missing(0..len) <= free)
    }

    pub(super) fn set_len(&mut self, inode: u64, len: u64) -> io::Result<()> {
        let at = self.place();
        let file = self.inode(inode)?;
        file.cached.set_len(len);
        file.pending.push(Pending {
            at,
            change: Change::SetLen(len),
        });
        Ok(())
    }

    /// The changes of a file up to a place, taken out of those that are pending.
    pub(super) fn take_pending(&mut self, inode: u64, upto: u64) -> io::Result<Vec<Pending<Change>>> {
        let file = self.inode(inode)?;
        let covered = file.pending.iter().take_while(|pending| pending.at <= upto).count();
        Ok(file.pending.drain(..covered).collect())
    }

    /// The changes of names in a folder up to a place, with all earlier ones that they build on, taken out of those
    /// that are pending.
    pub(super) fn take_pending_names(&mut self, folder: &str, upto: u64) -> Vec<Pending<NameChange>> {
        let covered = with_what_they_build_on(&self.pending_names, |pending| {
            pending.at <= upto && pending.change.paths().any(|path| folder_of(path) == folder)
        });
        let (taken, left) = std::mem::take(&mut self.pending_names)
            .into_iter()
            .partition(|p| covered.contains(&p.at));
        self.pending_names = left;
        taken
    }

    /// Makes changes pending again that were taken out.
    pub(super) fn give_back_names(&mut self, names: Vec<Pending<NameChange>>) {
        self.pending_names.extend(names);
        self.pending_names.sort_by_key(|pending| pending.at);
    }

    /// Forgets files without a name and without a handle.
    pub(super) fn collect(&mut self) {
        let named: BTreeSet<u64> = (self.names.values().chain(self.durable_names.values()).copied())
            .chain(self.pending_names.iter().map(|pending| pending.change.inode()))
            .collect();
        self.inodes.retain(|id, inode| inode.open > 0 || named.contains(id));
    }
}

/// The places of the chosen changes, and of all earlier ones of the same files and names: no disk shows a change
/// without those (a file that was renamed away is not there for the next one of its name to replace).
pub(super) fn with_what_they_build_on(
    pending: &[Pending<NameChange>],
    mut chosen: impl FnMut(&Pending<NameChange>) -> bool,
) -> BTreeSet<u64> {
    let mut inodes = BTreeSet::new();
    let mut paths = BTreeSet::new();
    let mut places = BTreeSet::new();
    for pending in pending.iter().rev() {
        let change = &pending.change;
        let needed = inodes.contains(&change.inode()) || change.paths().any(|path| paths.contains(path));
        if chosen(pending) || needed {
            inodes.insert(change.inode());
            paths.extend(change.paths());
            places.insert(pending.at);
        }
    }
    places
}

/// The folder of a path; the root is empty.
pub(super) fn folder_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}
