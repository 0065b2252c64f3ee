//! The seam's side of the false disk: operations that take time and may fail.
//!
//! Each takes hold of the disk at its beginning and again when its time is over; a crash between the two leaves of it
//! what had happened by then, and its caller gets an error, as gets every later user of a handle from before the crash.

use std::{io, ops::Range, sync::Arc, time::Duration};

use bytes::Bytes;
use net::rt;
use rand::RngExt;
use storage::disk::{Disk, File, Fut};

use super::{Shared, State, fault::FailSync, loss, store::folder_of};
use crate::tell::word_of;

/// The disk as one life of the node sees it.
#[derive(Clone)]
pub(super) struct Mounted {
    pub(super) shared: Arc<Shared>,
    pub(super) life: u64,
}

/// An open file.
struct Handle {
    mounted: Mounted,
    inode: u64,
    path: String,
}

#[derive(Clone, Copy)]
enum Kind {
    Read(usize),
    Write(usize),
    Name,
    Sync,
}

impl Mounted {
    /// Looks at or changes the disk, now, if it is still this life's and there at all.
    fn now<T>(&self, act: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.shared.lock();
        if state.life != self.life {
            return Err(io::Error::new(
                io::ErrorKind::NotConnected,
                "this handle is of a life that has ended",
            ));
        }
        if state.faults.gone {
            return Err(io::Error::other("the disk is gone"));
        }
        act(&mut state)
    }

    /// Begins an operation: waits while the disk is frozen, does what happens at the beginning, takes its time.
    async fn begin<T>(&self, kind: Kind, act: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        loop {
            let thawed = self.shared.thawed.notified();
            let mut thawed = std::pin::pin!(thawed);
            // Before looking: a thaw between the look and the wait must not be missed.
            thawed.as_mut().enable();
            if !self.now(|state| Ok(state.frozen))? {
                break;
            }
            thawed.await;
        }
        let (result, time) = self.now(|state| {
            let time = state.time_for(kind);
            Ok((act(state), time))
        })?;
        if !time.is_zero() {
            rt::sleep(time).await;
        }
        result
    }

    /// An operation that happens in one moment, before or after its time, by the dice: whether it did, nobody knows
    /// who is told by a crash.
    async fn do_once<T>(&self, kind: Kind, act: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        let mut act = Some(act);
        let early = self
            .begin(kind, |state| {
                let early = if state.dice.random() { act.take() } else { None };
                early.map(|act| act(state)).transpose()
            })
            .await?;
        match (early, act) {
            (Some(done), _) => self.now(|_| Ok(done)),
            (None, Some(act)) => self.now(act),
            (None, None) => unreachable!("an act that was taken has been done"),
        }
    }

    fn handle(&self, inode: u64, path: &str) -> Arc<dyn File> {
        Arc::new(Handle {
            mounted: self.clone(),
            inode,
            path: path.to_owned(),
        })
    }
}

impl State {
    fn time_for(&mut self, kind: Kind) -> Duration {
        let (range, bytes) = match kind {
            Kind::Read(bytes) => (self.timing.read.clone(), bytes),
            Kind::Write(bytes) => (self.timing.write.clone(), bytes),
            Kind::Name => (self.timing.name.clone(), 0),
            Kind::Sync => (self.timing.sync.clone(), 0),
        };
        let slow = self.faults.slow;
        let mut time = slow.by + self.timing.per_kib * u32::try_from(bytes / 1024).unwrap_or(u32::MAX);
        time += if range.is_empty() {
            range.start
        } else {
            self.dice.random_range(range)
        };
        if slow.stall_chance > 0.0 && self.dice.random_bool(slow.stall_chance) {
            self.tell.line(0x57A1, format_args!("disk stalls for {:?}", slow.stall));
            time += slow.stall;
        }
        time
    }

    fn throw(&mut self, chance: f64) -> bool {
        chance > 0.0 && self.dice.random_bool(chance)
    }

    fn sync_fails(&mut self) -> bool {
        match self.faults.fail_sync {
            FailSync::Never => false,
            FailSync::Once => {
                self.faults.fail_sync = FailSync::Never;
                true
            }
            FailSync::Chance(chance) => self.throw(chance),
            FailSync::ForGood => true,
        }
    }

    fn write(&mut self, file: &Handle, write: u64, offset: u64, pieces: Vec<Bytes>) -> io::Result<()> {
        let word = offset ^ word_of(pieces.iter().map(|piece| &piece[..]));
        let bytes: usize = pieces.iter().map(Bytes::len).sum();
        let result = self.store.write(file.inode, write, offset, pieces);
        let cut = if result.is_err() { ", but is full" } else { "" };
        if bytes > 0 {
            self.tell.line(
                word,
                format_args!("disk takes {bytes} bytes at {offset} of {}{cut}", file.path),
            );
        }
        result
    }

    fn read(&mut self, inode: u64, path: &str, range: Range<u64>) -> io::Result<Bytes> {
        if self.throw(self.faults.fail_read_chance) {
            self.tell.line(
                range.start,
                format_args!("disk read of {path} at {} fails", range.start),
            );
            return Err(io::Error::other("the disk could not read"));
        }
        let file = self.store.inode(inode)?;
        let written = file.cached.holds(range.clone());
        let mut bytes = file.cached.read(range.clone());
        if written && !bytes.is_empty() && (self.faults.flip_next || self.throw(self.faults.flip_chance)) {
            self.faults.flip_next = false;
            self.flipped += 1;
            let (at, bit) = (self.dice.random_range(0..bytes.len()), self.dice.random_range(0..8));
            bytes[at] ^= 1_u8 << bit;
            let at = range.start + at as u64;
            self.tell.line(
                at << 3 | bit,
                format_args!("disk flips bit {bit} at {at} of {path} on read"),
            );
        }
        Ok(Bytes::from(bytes))
    }

    fn sync(&mut self, inode: u64, path: &str, upto: u64) -> io::Result<()> {
        let pending = self.store.take_pending(inode, upto)?;
        if !self.sync_fails() {
            self.tell
                .line(upto, format_args!("disk syncs {path}: {} writes", pending.len()));
            let file = self.store.inode(inode)?;
            for pending in pending {
                pending.change.apply(&mut file.durable);
            }
            return Ok(());
        }
        let evicted = self.dice.random();
        let file = self.store.inode(inode)?;
        loss::written_back(&mut file.durable, &pending, &mut self.dice);
        if evicted {
            file.cached = file.durable.clone();
            for pending in &file.pending {
                pending.change.apply(&mut file.cached);
            }
        }
        let seen = if evicted { "gone" } else { "still seen" };
        self.tell.line(
            !upto,
            format_args!("disk sync of {path} fails, {} writes {seen}", pending.len()),
        );
        Err(io::Error::other("the disk could not sync"))
    }

    fn sync_dir(&mut self, folder: &str, upto: u64) -> io::Result<()> {
        let pending = self.store.take_pending_names(folder, upto);
        let count = pending.len();
        let result = if self.sync_fails() {
            let State { store, dice, .. } = self;
            let left = loss::names_written_back(&mut store.durable_names, pending, dice);
            self.tell.line(
                !upto,
                format_args!(
                    "disk sync of folder {folder:?} fails, {} of {count} names left",
                    left.len()
                ),
            );
            self.store.give_back_names(left);
            Err(io::Error::other("the disk could not sync the folder"))
        } else {
            self.tell
                .line(upto, format_args!("disk syncs folder {folder:?}: {count} names"));
            for pending in &pending {
                pending.change.apply(&mut self.store.durable_names);
            }
            Ok(())
        };
        self.store.collect();
        result
    }
}

impl Disk for Mounted {
    fn create(&self, path: &str) -> Fut<'_, io::Result<Arc<dyn File>>> {
        let path = path.to_owned();
        Box::pin(async move {
            check_path(&path)?;
            let inode = self.do_once(Kind::Name, |state| state.store.create(&path)).await?;
            Ok(self.handle(inode, &path))
        })
    }

    fn open(&self, path: &str) -> Fut<'_, io::Result<Arc<dyn File>>> {
        let path = path.to_owned();
        Box::pin(async move {
            check_path(&path)?;
            let inode = self.do_once(Kind::Name, |state| state.store.open(&path)).await?;
            Ok(self.handle(inode, &path))
        })
    }

    fn list(&self, folder: &str) -> Fut<'_, io::Result<Vec<String>>> {
        let folder = folder.to_owned();
        Box::pin(async move {
            self.do_once(Kind::Name, |state| {
                let inside = state.store.names.keys().filter(|path| folder_of(path) == folder);
                Ok(inside
                    .map(|path| path[folder.len()..].trim_start_matches('/').to_owned())
                    .collect())
            })
            .await
        })
    }

    fn rename(&self, from: &str, to: &str) -> Fut<'_, io::Result<()>> {
        let (from, to) = (from.to_owned(), to.to_owned());
        Box::pin(async move {
            check_path(&from)?;
            check_path(&to)?;
            self.do_once(Kind::Name, |state| state.store.rename(&from, &to)).await
        })
    }

    fn remove(&self, path: &str) -> Fut<'_, io::Result<()>> {
        let path = path.to_owned();
        Box::pin(async move {
            check_path(&path)?;
            self.do_once(Kind::Name, |state| state.store.remove(&path)).await
        })
    }

    fn sync_dir(&self, folder: &str) -> Fut<'_, io::Result<()>> {
        let folder = folder.to_owned();
        Box::pin(async move {
            // What happens while it syncs is not covered by it.
            let upto = self.begin(Kind::Sync, |state| Ok(state.store.next)).await?;
            self.now(|state| state.sync_dir(&folder, upto))
        })
    }
}

impl File for Handle {
    fn write_at(&self, offset: u64, pieces: Vec<Bytes>) -> Fut<'_, io::Result<()>> {
        Box::pin(async move {
            let len = pieces.iter().map(Bytes::len).sum();
            let fails = |state: &mut State| {
                let fails = state.throw(state.faults.fail_write_chance);
                if fails {
                    state
                        .tell
                        .line(offset, format_args!("disk write to {} at {offset} fails", self.path));
                }
                fails
            };
            // Some of it at the beginning and the rest at the end: others see, and a crash leaves, half a write.
            let (write, late_offset, late, failed) = self
                .mounted
                .begin(Kind::Write(len), |state| {
                    let failed = fails(state);
                    let cut = if failed || state.dice.random() {
                        state.dice.random_range(0..=len)
                    } else {
                        0
                    };
                    let (early, late) = split_at(pieces, cut);
                    let write = state.store.place();
                    state.write(self, write, offset, early)?;
                    Ok((write, offset + cut as u64, late, failed))
                })
                .await?;
            if failed {
                return Err(io::Error::other("the disk could not write"));
            }
            self.mounted.now(|state| state.write(self, write, late_offset, late))
        })
    }

    fn read_at(&self, offset: u64, len: usize) -> Fut<'_, io::Result<Bytes>> {
        Box::pin(async move {
            let range = offset..offset.saturating_add(len as u64);
            self.mounted
                .do_once(Kind::Read(len), |state| state.read(self.inode, &self.path, range))
                .await
        })
    }

    fn sync(&self) -> Fut<'_, io::Result<()>> {
        Box::pin(async move {
            // What is written while it syncs is not covered by it.
            let upto = self.mounted.begin(Kind::Sync, |state| Ok(state.store.next)).await?;
            self.mounted.now(|state| state.sync(self.inode, &self.path, upto))
        })
    }

    fn len(&self) -> Fut<'_, io::Result<u64>> {
        Box::pin(async move {
            let len = |state: &mut State| state.store.inode(self.inode).map(|file| file.cached.len());
            self.mounted.do_once(Kind::Read(0), len).await
        })
    }

    fn set_len(&self, len: u64) -> Fut<'_, io::Result<()>> {
        Box::pin(async move {
            self.mounted
                .do_once(Kind::Write(0), |state| {
                    // Some file systems reserve the room here, others find out at the write that there is none.
                    if !state.store.has_room(self.inode, len)? && state.dice.random() {
                        state
                            .tell
                            .line(len, format_args!("disk full, {} stays short of {len} bytes", self.path));
                        return Err(io::Error::new(io::ErrorKind::StorageFull, "no space left on the disk"));
                    }
                    state.store.set_len(self.inode, len)
                })
                .await
        })
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let mut state = self.mounted.shared.lock();
        if state.life != self.mounted.life {
            return;
        }
        if let Ok(inode) = state.store.inode(self.inode) {
            inode.open = inode.open.saturating_sub(1);
            if inode.open == 0 {
                state.store.collect();
            }
        }
    }
}

/// Pieces cut in two after so many bytes.
fn split_at(pieces: Vec<Bytes>, mut at: usize) -> (Vec<Bytes>, Vec<Bytes>) {
    let (mut before, mut after) = (Vec::new(), Vec::new());
    for mut piece in pieces {
        let head = piece.split_to(at.min(piece.len()));
        at -= head.len();
        if !head.is_empty() {
            before.push(head);
        }
        if !piece.is_empty() {
            after.push(piece);
        }
    }
    (before, after)
}

fn check_path(path: &str) -> io::Result<()> {
    if path
        .split('/')
        .any(|part| part.is_empty() || part == "." || part == "..")
    {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("{path:?} is no path of a file"),
        ));
    }
    Ok(())
}
