//! The seams on the files of this machine. Calls block the thread that polls them: callers use a thread of their own.

mod cold;

pub use self::cold::LocalCold;
