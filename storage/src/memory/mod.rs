//! The simplest right implementation of every seam: a map under a lock.
//!
//! For tests, and as the model the others are held against. What they hold lives as long as the value.

mod cold;
mod disk;
mod index;

pub use self::{
    cold::MemoryCold,
    disk::MemoryDisk,
    index::{MemoryIndex, apply},
};
