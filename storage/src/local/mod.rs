//! The seams on the files of this machine. Calls block the thread that polls them: callers use a thread of their own.

mod cold;
mod disk;

pub use self::{
    cold::LocalCold,
    disk::{LocalDisk, LocalDiskError},
};
