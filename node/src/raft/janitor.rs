//! What is made durable, purged, swept and freed, and in which order.
//!
//! 1. Note how far each group has applied.
//! 2. Flush the index: all of that survives now.
//! 3. Tell openraft, which purges the log below it; not while a snapshot is on its way to another node.
//! 4. Free the segments of the journal that neither a log nor a row nor a transfer needs.
//!
//! Nothing is purged or freed before what replaces it is durable.

use std::io;
use std::sync::{Arc, atomic::Ordering};

use net::rt;
use storage::index::Index;
use storage::journal::Journal;
use tokio::sync::Notify;

use super::fate::Fate;
use super::group::Group;

/// Keeps house for all groups of a node.
pub(super) struct Janitor {
    pub(super) groups: Vec<Arc<Group>>,
    pub(super) index: Arc<dyn Index>,
    pub(super) journal: Journal,
    pub(super) every: std::time::Duration,
    /// Told when there is much to do, and at the end.
    pub(super) work: Arc<Notify>,
    pub(super) fate: Arc<Fate>,
}

impl Janitor {
    /// Works until it is aborted, or something fails.
    pub(super) async fn run(self) {
        loop {
            // Much to do, or time to look: what both mean is decided by what is found.
            let _either = rt::timeout(self.every, self.work.notified()).await;
            for group in &self.groups {
                group.check();
                group.forget_silent();
            }
            if let Err(error) = self.round().await {
                self.fate.fail(format!("the index or the journal failed: {error}"));
                return;
            }
        }
    }

    /// One round.
    pub(super) async fn round(&self) -> io::Result<()> {
        for group in &self.groups {
            let machine = group.machine.clone();
            while rt::blocking({
                let machine = machine.clone();
                move || machine.sweep()
            })
            .await
            .map_err(io::Error::other)??
            {}
        }
        let dead = self.dead_segments();
        let points: Vec<_> = self.groups.iter().map(|group| group.machine.flush_point()).collect();
        let behind = |(group, point): (&Arc<Group>, &super::machine::Position)| {
            group.machine.state().flushed.applied != point.applied
        };
        let unpurged = |group: &Arc<Group>| group.unpurged.load(Ordering::Relaxed) && !group.machine.log_is_held();
        if dead.is_empty() && !self.groups.iter().zip(&points).any(behind) && !self.groups.iter().any(unpurged) {
            return Ok(());
        }
        let index = self.index.clone();
        rt::offload(async move { index.flush_async().await })
            .await
            .map_err(io::Error::other)??;
        for (group, point) in self.groups.iter().zip(points) {
            let moved = group.machine.state().flushed.applied != point.applied;
            group.machine.set_flushed(point);
            group.machine.log.note_committed();
            group.machine.log.forget_flushed();
            if moved {
                group.unpurged.store(true, Ordering::Relaxed);
            }
            // openraft purges below its snapshot.
            if !group.machine.log_is_held()
                && group.unpurged.swap(false, Ordering::Relaxed)
                && let Err(error) = group.raft.trigger().snapshot().await
            {
                group.failed(error);
            }
        }
        self.free(dead).await
    }

    /// Segments nothing needs any more, though that may not be durable yet.
    fn dead_segments(&self) -> Vec<u64> {
        let sealed = self
            .journal
            .segments()
            .into_iter()
            .filter(|segment| segment.sealed)
            .map(|segment| segment.id);
        sealed
            .filter(|segment| !self.groups.iter().any(|group| group.machine.needs_segment(*segment)))
            .collect()
    }

    /// Frees segments that were dead before the index was flushed.
    async fn free(&self, dead: Vec<u64>) -> io::Result<()> {
        if dead.is_empty() {
            return Ok(());
        }
        // That the log was purged must be durable before its entries go.
        self.journal
            .append_durable(Vec::new())
            .await
            .map_err(io::Error::other)?;
        let journal = self.journal.clone();
        let removed = rt::offload(async move { journal.remove_segments(&dead).await });
        removed.await.map_err(io::Error::other)?.map_err(io::Error::other)
    }
}
