//! What becomes of changes that no sync covered, when the power goes or a sync fails.
//!
//! The model is that of a page cache over a disk that writes whole sectors, in any order, at any time: each sector
//! holds some version of itself between the last sync and now. The kinder ways (a prefix, a torn end) are cases of it
//! that chance alone would hardly ever meet.

use std::collections::{BTreeMap, BTreeSet};

use net::dice::Stream;
use rand::RngExt;

use super::{
    image::Image,
    store::{Change, NameChange, Pending, Store, with_what_they_build_on},
};

/// What a disk writes whole or not at all, in bytes.
const SECTOR: u64 = 512;

/// What a power loss does to changes that were not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PowerLoss {
    /// All of them are lost.
    LoseAll,
    /// All of them happen to have reached the disk.
    LoseNothing,
    /// Those up to some moment are kept, across all files and names.
    Prefix,
    /// As [`PowerLoss::Prefix`], and of the next write some first bytes.
    Torn,
    /// Every file has a moment of its own, with a torn write after it; every change of a name is kept or lost by itself.
    PerFile,
    /// Every sector of 512 bytes has a moment of its own, and so has the length of every file.
    Sectors,
    /// One of these, by the dice.
    Any,
}

/// How much a power loss took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Loss {
    /// Changes of files that were not synced.
    pub writes: usize,
    /// Files whose bytes are not what was last written.
    pub files_cut: usize,
    /// Changes of names that were not synced.
    pub names: usize,
    /// Changes of names that are undone.
    pub names_lost: usize,
}

/// Leaves of a disk what a power loss may leave.
pub(super) fn power_loss(store: &mut Store, how: PowerLoss, dice: &mut Stream) -> Loss {
    let how = match how {
        PowerLoss::Any => {
            let ways = [
                PowerLoss::LoseAll,
                PowerLoss::LoseNothing,
                PowerLoss::Prefix,
                PowerLoss::Torn,
                PowerLoss::PerFile,
                PowerLoss::Sectors,
            ];
            ways[dice.random_range(0..ways.len())]
        }
        how => how,
    };
    let mut loss = Loss::default();
    let moment = moment(store, how, dice);

    let pending = std::mem::take(&mut store.pending_names);
    let kept = match moment {
        Some(moment) => names_kept(&mut store.durable_names, &pending, |pending| pending.at <= moment),
        None => names_kept(&mut store.durable_names, &pending, |_| dice.random()),
    };
    loss.names = pending.len();
    loss.names_lost = pending.len() - kept.len();
    store.names = store.durable_names.clone();
    for inode in store.inodes.values_mut() {
        inode.open = 0;
    }
    store.collect();

    for inode in store.inodes.values_mut() {
        let pending = std::mem::take(&mut inode.pending);
        if pending.is_empty() {
            inode.cached = inode.durable.clone();
            continue;
        }
        loss.writes += pending.len();
        match (how, moment) {
            (PowerLoss::Torn, Some(moment)) => torn(&mut inode.durable, &pending, moment, dice),
            (_, Some(moment)) => prefix(&mut inode.durable, &pending, moment),
            (PowerLoss::PerFile, None) => {
                let moment = any_moment(&pending, dice);
                torn(&mut inode.durable, &pending, moment, dice);
            }
            (_, None) => sectors(&mut inode.durable, &pending, dice),
        }
        let len = inode.cached.len().max(inode.durable.len());
        let whole =
            inode.cached.len() == inode.durable.len() && inode.cached.read(0..len) == inode.durable.read(0..len);
        loss.files_cut += usize::from(!whole);
        inode.cached = inode.durable.clone();
    }
    loss
}

/// Writes back, as a sync that fails does, an unforeseeable part of a file's changes.
pub(super) fn written_back(durable: &mut Image, pending: &[Pending<Change>], dice: &mut Stream) {
    match dice.random_range(0..4) {
        0 => {}
        1 => torn(durable, pending, any_moment(pending, dice), dice),
        _ => sectors(durable, pending, dice),
    }
}

/// As [`written_back`], for names: each by itself, as far as they do not build on each other. Returns the others.
///
/// Unlike bytes they are not forgotten: file systems keep changes of names in a log of their own, and either it is
/// written later or nothing more is.
pub(super) fn names_written_back(
    names: &mut BTreeMap<String, u64>,
    mut pending: Vec<Pending<NameChange>>,
    dice: &mut Stream,
) -> Vec<Pending<NameChange>> {
    let kept = names_kept(names, &pending, |_| dice.random());
    pending.retain(|pending| !kept.contains(&pending.at));
    pending
}

/// Applies the chosen changes and what they build on; returns the places of these.
fn names_kept(
    names: &mut BTreeMap<String, u64>,
    pending: &[Pending<NameChange>],
    chosen: impl FnMut(&Pending<NameChange>) -> bool,
) -> BTreeSet<u64> {
    let kept = with_what_they_build_on(pending, chosen);
    for pending in pending.iter().filter(|pending| kept.contains(&pending.at)) {
        pending.change.apply(names);
    }
    kept
}

/// The one moment of the whole disk up to which everything is kept, if there is one.
fn moment(store: &Store, how: PowerLoss, dice: &mut Stream) -> Option<u64> {
    match how {
        PowerLoss::LoseAll => Some(0),
        PowerLoss::LoseNothing => Some(u64::MAX),
        PowerLoss::Prefix | PowerLoss::Torn => {
            let writes = store
                .inodes
                .values()
                .flat_map(|inode| inode.pending.iter().map(|pending| pending.at));
            let names = store.pending_names.iter().map(|pending| pending.at);
            let mut places: Vec<u64> = writes.chain(names).collect();
            places.sort_unstable();
            Some(pick(&places, dice))
        }
        PowerLoss::PerFile | PowerLoss::Sectors | PowerLoss::Any => None,
    }
}

fn any_moment(pending: &[Pending<Change>], dice: &mut Stream) -> u64 {
    let places: Vec<u64> = pending.iter().map(|pending| pending.at).collect();
    pick(&places, dice)
}

/// One of these places, or the one before all.
fn pick(places: &[u64], dice: &mut Stream) -> u64 {
    match dice.random_range(0..=places.len()) {
        0 => 0,
        kept => places[kept - 1],
    }
}

fn prefix(durable: &mut Image, pending: &[Pending<Change>], moment: u64) {
    for pending in pending.iter().take_while(|pending| pending.at <= moment) {
        pending.change.apply(durable);
    }
}

fn torn(durable: &mut Image, pending: &[Pending<Change>], moment: u64, dice: &mut Stream) {
    prefix(durable, pending, moment);
    let next = pending.iter().find(|pending| pending.at > moment);
    if let Some(Pending {
        change: Change::Write { offset, bytes, .. },
        ..
    }) = next
    {
        durable.write(*offset, &bytes[..dice.random_range(0..=bytes.len())]);
    }
}

fn sectors(durable: &mut Image, pending: &[Pending<Change>], dice: &mut Stream) {
    // Of every sector the writes that touched it, in order, then those of them that reached the disk.
    let mut versions: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    let mut lengths = 0;
    for pending in pending {
        match &pending.change {
            Change::Write { offset, bytes, write } => {
                for (sector, _, _) in split(*offset, bytes) {
                    let writes = versions.entry(sector).or_default();
                    if writes.last() != Some(write) {
                        writes.push(*write);
                    }
                }
            }
            Change::SetLen(_) => lengths += 1,
        }
    }
    for writes in versions.values_mut() {
        writes.truncate(dice.random_range(0..=writes.len()));
    }
    let mut lengths_left = dice.random_range(0..=lengths);
    let mut len = durable.len();
    for pending in pending {
        match &pending.change {
            Change::Write { offset, bytes, write } => {
                len = len.max(offset + bytes.len() as u64);
                for (sector, at, part) in split(*offset, bytes) {
                    if versions.get(&sector).is_some_and(|kept| kept.contains(write)) {
                        durable.write(at, part);
                    }
                }
            }
            Change::SetLen(new) => {
                len = *new;
                if lengths_left > 0 {
                    lengths_left -= 1;
                    durable.set_len(*new);
                }
            }
        }
    }
    // The length is written by itself: it may be there before the bytes, which then read as zeros.
    if len > durable.len() && dice.random() {
        durable.set_len(len);
    }
}

/// A write as parts of sectors: the sector's number, the part's offset, its bytes.
fn split(offset: u64, bytes: &[u8]) -> impl Iterator<Item = (u64, u64, &[u8])> {
    let mut at = offset;
    let mut rest = bytes;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (part, after) = rest.split_at(rest.len().min((SECTOR - at % SECTOR) as usize));
        let found = (at / SECTOR, at, part);
        at += part.len() as u64;
        rest = after;
        Some(found)
    })
}
