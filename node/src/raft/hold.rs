//! Why a log is not shortened for a while: a follower is being sent a snapshot and will need what comes after it.
//!
//! Clients go on writing meanwhile. Were the log purged past the snapshot before the follower can go on from there, it would
//! need the next snapshot, and so on for as long as clients are busy. A follower that is too slow for that must not fill this
//! node's disk, though: the log is held for a bounded time, and while it is not too large.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use net::rt;

use super::machine::Machine;

/// How long the log is kept, for the receiver of a snapshot to go on from there, after the snapshot was sent.
const HELD_AFTER: Duration = Duration::from_secs(10);

/// How long it is kept in all, however long snapshots take.
const HELD_AT_MOST: Duration = Duration::from_secs(600);

/// Snapshots on their way to other nodes.
pub(super) struct Sending {
    state: Mutex<State>,
    /// Bytes of the journal beyond which the log is held no longer.
    bytes_max: u64,
}

#[derive(Default)]
struct State {
    under_way: usize,
    since: Option<rt::Instant>,
    /// When the last one ended.
    ended: Option<rt::Instant>,
}

impl State {
    /// Whether the last one ended only just now.
    fn is_fresh(&self) -> bool {
        self.ended.is_some_and(|ended| ended.elapsed() < HELD_AFTER)
    }
}

impl Sending {
    pub(super) fn new(bytes_max: u64) -> Self {
        Self {
            state: Mutex::default(),
            bytes_max,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps the log from being purged while it lives, and for [`HELD_AFTER`] more.
pub(super) struct HeldLog {
    machine: Arc<Machine>,
}

impl Drop for HeldLog {
    fn drop(&mut self) {
        let mut state = self.machine.sending.state();
        state.under_way -= 1;
        state.ended = Some(rt::Instant::now());
    }
}

impl Machine {
    /// Keeps the log as it is while a snapshot is sent.
    pub(super) fn hold_log(self: &Arc<Self>) -> HeldLog {
        let mut state = self.sending.state();
        if state.under_way == 0 && !state.is_fresh() {
            state.since = Some(rt::Instant::now());
        }
        state.under_way += 1;
        HeldLog { machine: self.clone() }
    }

    /// Whether the log must stay as it is, see [`Machine::hold_log`].
    pub(super) fn log_is_held(&self) -> bool {
        let wanted = {
            let state = self.sending.state();
            let young = state.since.is_some_and(|since| since.elapsed() < HELD_AT_MOST);
            young && (state.under_way > 0 || state.is_fresh())
        };
        wanted && self.journal_from_log() <= self.sending.bytes_max
    }

    /// Bytes of the journal, of all groups, from this log's first segment on: what could be freed if the log were short.
    fn journal_from_log(&self) -> u64 {
        let Some(first) = self.log.first_segment() else {
            return 0;
        };
        let segments = self.journal.segments();
        segments
            .iter()
            .filter(|segment| segment.id >= first)
            .map(|segment| segment.bytes)
            .sum()
    }
}
