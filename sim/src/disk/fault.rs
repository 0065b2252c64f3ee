//! How a disk is, apart from what it holds: how long things take and what goes wrong with them.

use std::{ops::Range, time::Duration};

/// How long operations of a healthy disk take: somewhere in these ranges, by the dice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Reads.
    pub read: Range<Duration>,
    /// Writes, into the page cache.
    pub write: Range<Duration>,
    /// Creating, opening, listing, renaming, removing.
    pub name: Range<Duration>,
    /// Syncs of files and folders.
    pub sync: Range<Duration>,
    /// Added for every KiB read or written.
    pub per_kib: Duration,
}

impl Default for Timing {
    fn default() -> Timing {
        let micros = |range: Range<u64>| Duration::from_micros(range.start)..Duration::from_micros(range.end);
        Timing {
            read: micros(2..20),
            write: micros(5..20),
            name: micros(5..20),
            sync: micros(50..200),
            per_kib: Duration::from_nanos(500),
        }
    }
}

impl Timing {
    /// Nothing takes any time: for tests outside of a simulation, where nobody could sleep.
    pub fn none() -> Timing {
        let none = Duration::ZERO..Duration::ZERO;
        Timing {
            read: none.clone(),
            write: none.clone(),
            name: none.clone(),
            sync: none,
            per_kib: Duration::ZERO,
        }
    }
}

/// A slow disk.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Slow {
    /// Added to every operation.
    pub by: Duration,
    /// How likely an operation stalls, 0 to 1.
    pub stall_chance: f64,
    /// How long it then takes in addition.
    pub stall: Duration,
}

/// Which syncs fail, of files and of folders.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum FailSync {
    /// None.
    #[default]
    Never,
    /// The next one.
    Once,
    /// Each with this chance, 0 to 1.
    Chance(f64),
    /// All.
    ForGood,
}

/// What is wrong with a disk. The default is a healthy one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Faults {
    /// How slow it is.
    pub slow: Slow,
    /// Which syncs fail. The bytes that a failed sync covered are written back in part or not at all, and never again:
    /// a later sync that succeeds does not cover them, whether or not reads still show them. Names are left for a later
    /// sync of their folder.
    pub fail_sync: FailSync,
    /// How likely a write fails, 0 to 1, after a part of it took effect.
    pub fail_write_chance: f64,
    /// How likely a read fails, 0 to 1.
    pub fail_read_chance: f64,
    /// How likely a read of written bytes returns them with one bit flipped, 0 to 1. What is stored stays as it is.
    pub flip_chance: f64,
    /// The next read of written bytes returns them with one bit flipped.
    pub flip_next: bool,
    /// Every operation fails.
    pub gone: bool,
}
