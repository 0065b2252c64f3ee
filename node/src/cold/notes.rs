//! What the leader of a group last saw in the cold store, for whoever looks after it: what will go, and what stays for now.

use net::rt::Instant;
use serde::Serialize;

/// Objects told of, of each kind; there may be more.
const TOLD_MAX: usize = 100;

/// What a leader last saw of a group's objects.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Notes {
    /// The first entry of the log that is not written down.
    pub recorded_entries: u64,
    /// How many objects nothing refers to any more.
    pub dead_objects: u64,
    /// The next of them to be deleted.
    pub to_delete: Vec<ToDelete>,
    /// Objects that are mostly dead: what lives in them is put into others, and they go.
    pub to_rewrite: Vec<ToRewrite>,
}

/// An object that nothing refers to any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ToDelete {
    /// Its name.
    pub key: String,
    /// For how many seconds it stays, at least.
    pub stays_s: u64,
    /// Whether that it is dead has still to be written down.
    pub unrecorded: bool,
}

/// An object that is mostly dead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ToRewrite {
    /// Its name.
    pub key: String,
    /// Bytes in it that are referred to.
    pub live_bytes: u64,
    /// Bytes of streams in it.
    pub bytes: u64,
}

impl ToDelete {
    pub(super) fn new(key: String, due: Instant, unrecorded: bool) -> Self {
        Self {
            key,
            stays_s: due.saturating_duration_since(Instant::now()).as_secs(),
            unrecorded,
        }
    }
}

/// The first ones.
pub(super) fn some<T>(all: impl IntoIterator<Item = T>) -> Vec<T> {
    all.into_iter().take(TOLD_MAX).collect()
}
