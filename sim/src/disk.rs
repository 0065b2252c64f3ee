//! The false disk: one per node, kept by the world across the lives of the node.
//!
//! It holds two images of every file and of the names, what everyone sees and what is durable, with the changes
//! between them in order ([`store`]). A power loss leaves any lawful mixture of the two ([`loss`]); a mere crash of the
//! process leaves what was written, for the page cache is the kernel's. Operations take simulated time and fail as
//! [`Faults`] says ([`handle`]).
//!
//! Chance comes from one stream, so that the same calls in the same order meet the same fate.

mod fault;
mod handle;
mod image;
mod loss;
mod store;
#[cfg(test)]
mod tests;

use std::{
    fmt,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use net::dice::{Dice, Stream};
use rand::RngExt;
use storage::disk::Disk;
use tokio::sync::Notify;

pub use self::{
    fault::{FailSync, Faults, Slow, Timing},
    loss::{Loss, PowerLoss},
};
use self::{
    handle::Mounted,
    image::PAGE,
    store::{Store, folder_of},
};
use crate::tell::Tell;

/// A disk in the hands of the world. Clones are the same disk.
#[derive(Clone)]
pub struct FalseDisk {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    thawed: Notify,
}

struct State {
    store: Store,
    timing: Timing,
    faults: Faults,
    frozen: bool,
    /// Counts the lives of the node: a handle of an earlier one is worth nothing.
    life: u64,
    /// Reads that were answered with a bit flipped.
    flipped: u64,
    dice: Stream,
    tell: Tell,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Whoever panicked is a test that has failed already.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FalseDisk {
    /// An empty, healthy disk. It throws the stream `disk` of these dice.
    pub fn new(dice: &Dice, tell: Tell) -> FalseDisk {
        FalseDisk::of(State {
            store: Store::default(),
            timing: Timing::default(),
            faults: Faults::default(),
            frozen: false,
            life: 0,
            flipped: 0,
            dice: dice.stream("disk"),
            tell,
        })
    }

    fn of(state: State) -> FalseDisk {
        FalseDisk {
            shared: Arc::new(Shared {
                state: Mutex::new(state),
                thawed: Notify::new(),
            }),
        }
    }

    /// The same disk with other timing.
    #[must_use]
    pub fn with_timing(self, timing: Timing) -> FalseDisk {
        self.shared.lock().timing = timing;
        self
    }

    /// Another disk with the same content, names, unsynced changes and faults, and a future of its own: so that one
    /// moment can be followed by many crashes.
    #[must_use]
    pub fn fork(&self, dice: &Dice) -> FalseDisk {
        let state = self.shared.lock();
        FalseDisk::of(State {
            store: state.store.clone(),
            timing: state.timing.clone(),
            faults: state.faults.clone(),
            frozen: false,
            life: state.life + 1,
            flipped: 0,
            dice: dice.stream("disk"),
            tell: state.tell.clone(),
        })
    }

    /// The disk for the life of the node that begins now.
    pub fn mount(&self) -> Arc<dyn Disk> {
        let life = self.shared.lock().life;
        Arc::new(Mounted {
            shared: self.shared.clone(),
            life,
        })
    }

    // What happens to it.

    /// The process ended, in whatever way: its handles are worth nothing, what it wrote stays, synced or not.
    pub fn process_crash(&self) {
        let mut state = self.shared.lock();
        state.life += 1;
        for inode in state.store.inodes.values_mut() {
            inode.open = 0;
        }
        state.store.collect();
        drop(state);
        self.shared.thawed.notify_waiters();
    }

    /// The machine burned down: another disk is in its place, empty and healthy.
    pub fn replace(&self) {
        let mut state = self.shared.lock();
        state.life += 1;
        state.store = Store {
            next: state.store.next,
            ..Store::default()
        };
        state.faults = Faults::default();
        state.frozen = false;
        drop(state);
        self.shared.thawed.notify_waiters();
    }

    /// The power went: as [`FalseDisk::process_crash`], and what was not synced is lost in some lawful way.
    pub fn power_loss(&self, how: PowerLoss) -> Loss {
        let mut state = self.shared.lock();
        let State { store, dice, .. } = &mut *state;
        let loss = loss::power_loss(store, how, dice);
        state.life += 1;
        let word = (loss.writes ^ loss.files_cut << 16 ^ loss.names << 32 ^ loss.names_lost << 48) as u64;
        state.tell.line(
            word,
            format_args!(
                "disk loses power ({how:?}): {} unsynced writes, {} files cut; {} unsynced names, {} lost",
                loss.writes, loss.files_cut, loss.names, loss.names_lost
            ),
        );
        drop(state);
        self.shared.thawed.notify_waiters();
        loss
    }

    /// Changes what is wrong with the disk, from the next operation on.
    pub fn change(&self, change: impl FnOnce(&mut Faults)) {
        change(&mut self.shared.lock().faults);
    }

    /// What is wrong with it.
    pub fn faults(&self) -> Faults {
        self.shared.lock().faults.clone()
    }

    /// Leaves room for so many more bytes, in whole pages of 4 KiB; writes beyond that fail, overwrites of what was
    /// written do not. Growing a file beyond it fails or not, by the dice, and reserves nothing. Removing files makes
    /// room once the removal is durable.
    pub fn fill(&self, room: u64) {
        let mut state = self.shared.lock();
        state.store.pages_max = Some(state.store.pages() + room / PAGE);
    }

    /// Operations hang from now on.
    pub fn freeze(&self) {
        self.shared.lock().frozen = true;
    }

    /// Operations go on.
    pub fn thaw(&self) {
        self.shared.lock().frozen = false;
        self.shared.thawed.notify_waiters();
    }

    /// A healthy disk again: quick, with room, without faults, not frozen. What was lost or rotted stays so.
    pub fn mend(&self) {
        let mut state = self.shared.lock();
        state.faults = Faults::default();
        state.store.pages_max = None;
        drop(state);
        self.thaw();
    }

    /// Flips one stored bit of a file, for good. Returns whether there is such a byte.
    pub fn rot(&self, path: &str, offset: u64, bit: u8) -> bool {
        let mut state = self.shared.lock();
        let Some(inode) = state.store.names.get(path).copied() else {
            return false;
        };
        let Some(file) = state.store.inodes.get_mut(&inode) else {
            return false;
        };
        if offset >= file.cached.len() {
            return false;
        }
        file.cached.flip(offset, bit);
        file.durable.flip(offset, bit);
        state.tell.line(
            offset << 3 | u64::from(bit),
            format_args!("disk rots bit {bit} at {offset} of {path}"),
        );
        true
    }

    /// Flips one stored bit somewhere in the files of a folder (not of folders in it), for good, where something was
    /// written: where, or `None` if nothing was.
    pub fn rot_somewhere(&self, folder: &str) -> Option<(String, u64)> {
        let mut state = self.shared.lock();
        let State { store, dice, .. } = &mut *state;
        let within = |path: &str| folder_of(path) == folder;
        let files: Vec<(&String, &u64)> = store.names.iter().filter(|(path, _)| within(path)).collect();
        // Preallocated zeros are most of a file and nobody's data: look for something else, but not for ever.
        for _ in 0..256 {
            if files.is_empty() {
                break;
            }
            let (path, inode): (&String, &u64) = files[dice.random_range(0..files.len())];
            let Some(image) = store.inodes.get(inode).map(|file| &file.durable) else {
                continue;
            };
            let Some(page) = image.page_at(dice.random()) else {
                continue;
            };
            let offset = page * PAGE + dice.random_range(0..PAGE);
            if image.read(offset..offset + 1).first().is_some_and(|byte| *byte != 0) {
                let (path, bit) = (path.clone(), dice.random_range(0..8));
                drop(state);
                self.rot(&path, offset, bit);
                return Some((path, offset));
            }
        }
        None
    }

    // What the invariants look at. None of it takes time or meets faults.

    /// How many reads were answered with a bit flipped, since the disk was new.
    pub fn flipped(&self) -> u64 {
        self.shared.lock().flipped
    }

    /// The bytes of a file that a power loss would surely leave; `None` if it might leave no such file.
    pub fn durable(&self, path: &str) -> Option<Bytes> {
        self.durable_range(path, 0..u64::MAX)
    }

    /// What there surely is, after a power loss, of a range of a file.
    pub fn durable_range(&self, path: &str, range: Range<u64>) -> Option<Bytes> {
        let state = self.shared.lock();
        let file = state.store.inodes.get(state.store.durable_names.get(path)?)?;
        Some(Bytes::from(file.durable.read(range)))
    }

    /// The bytes of a file as they were last written.
    pub fn written(&self, path: &str) -> Option<Bytes> {
        let state = self.shared.lock();
        let file = state.store.inodes.get(state.store.names.get(path)?)?;
        Some(Bytes::from(file.cached.read(0..u64::MAX)))
    }

    /// Whether a power loss now would surely leave this range of a file as it was last written.
    pub fn is_durable(&self, path: &str, range: Range<u64>) -> bool {
        let state = self.shared.lock();
        let inode = state.store.names.get(path);
        if inode.is_none() || inode != state.store.durable_names.get(path) {
            return false;
        }
        let file = inode.and_then(|inode| state.store.inodes.get(inode));
        file.is_some_and(|file| {
            range.end <= file.durable.len() && file.durable.read(range.clone()) == file.cached.read(range)
        })
    }

    /// The paths of all files, sorted.
    pub fn files(&self) -> Vec<String> {
        self.shared.lock().store.names.keys().cloned().collect()
    }

    /// The paths of all files that a power loss would surely leave, sorted.
    pub fn durable_files(&self) -> Vec<String> {
        self.shared.lock().store.durable_names.keys().cloned().collect()
    }

    /// How many changes of files and names a power loss could take.
    pub fn unsynced(&self) -> usize {
        let state = self.shared.lock();
        let writes: usize = state.store.inodes.values().map(|inode| inode.pending.len()).sum();
        writes + state.store.pending_names.len()
    }

    /// How many bytes all files take, in whole pages.
    pub fn used(&self) -> u64 {
        self.shared.lock().store.pages() * PAGE
    }
}

impl fmt::Debug for FalseDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.shared.lock();
        f.debug_struct("FalseDisk")
            .field("life", &state.life)
            .field("names", &state.store.names)
            .finish()
    }
}
