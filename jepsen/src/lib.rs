//! What clients saw, and was it lawful.
//!
//! Judges a server of durable streams from outside, over HTTP alone; it imports nothing of ours and could judge another
//! vendor's. [`workload`]s speak through a [`client`] over a [`transport`] that the caller brings; everything they do
//! is in the [`history`]; the laws in [`checker`] read it, and [`report`] says to a person what they found.

pub mod buckets;
pub mod checker;
pub mod client;
pub mod format;
pub mod history;
mod known;
pub mod linear;
pub mod model;
pub mod record;
pub mod report;
pub mod snapshots;
pub mod transport;
pub mod verdict;
pub mod workload;
