//! How nodes reach the cold store, what it holds, and what the nodes refer to.

use std::sync::Arc;

use net::clock::Clock;
use storage::cold::Cold;

use super::Cluster;
use crate::cold::ColdFaults;
use crate::invariant::{all_is_written_down, cold_keeps_what_is_referred_to};

/// At which level the nodes meet the cold store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ColdLevel {
    /// The false store is handed to them.
    #[default]
    Seam,
    /// They are handed the true one, with the AWS SDK in it, and a false S3 on the network.
    #[cfg(feature = "sdk")]
    Sdk,
}

impl Cluster {
    /// The cold store for a node with this clock.
    pub(super) fn mount_cold(&self, clock: Arc<dyn Clock>) -> Arc<dyn Cold> {
        #[cfg(feature = "sdk")]
        if let Some(s3) = &self.0.s3 {
            let config = &self.0.shape.config.s3;
            let options = storage::s3::S3Options {
                connect_timeout: config.connect_timeout,
                attempt_timeout: config.attempt_timeout,
                operation_timeout: config.operation_timeout,
                attempts: u32::try_from(config.attempts).unwrap_or(u32::MAX),
                ..s3.options()
            };
            return Arc::new(s3.open(options, clock));
        }
        drop(clock);
        self.0.cold.mount()
    }

    /// Changes what is wrong with the cold store, at the level at which the nodes meet it.
    pub(super) fn change_cold(&self, change: impl FnOnce(&mut ColdFaults)) {
        self.0.cold.change(change);
        #[cfg(feature = "sdk")]
        if let Some(s3) = &self.0.s3 {
            s3.change(|faults| *faults = (&self.0.cold.faults()).into());
        }
    }

    /// Nothing is wrong with it any more.
    pub(super) fn mend_cold(&self) {
        self.change_cold(|faults| *faults = ColdFaults::default());
        #[cfg(feature = "sdk")]
        if let Some(s3) = &self.0.s3 {
            s3.mend();
        }
    }

    /// The false S3, if the nodes meet one.
    #[cfg(feature = "sdk")]
    #[must_use]
    pub fn s3(&self) -> Option<&crate::s3::FalseS3> {
        self.0.s3.as_ref()
    }

    /// How many objects were put, and how many reads of them were answered with a bit flipped.
    #[must_use]
    pub fn cold_traffic(&self) -> (u64, u64) {
        (self.0.cold.puts(), self.0.cold.flipped())
    }

    /// What is not in order between the cold store and the nodes that run, in words: a reference to nothing, an object
    /// that nothing refers to, or what is not written down. In the calm, after the grace period, there is nothing of these.
    #[must_use]
    pub fn cold_disorder(&self) -> Option<String> {
        let stored = self.0.cold.objects().keys();
        self.0.machines.iter().find_map(|machine| {
            let node = machine.node()?;
            let cluster = node.status().standing.cluster?.0;
            let groups = node.groups();
            for group in 0..groups.count() {
                match groups.view(group).wrong_books() {
                    Ok(None) => {}
                    Ok(Some(wrong)) => return Some(format!("n{}, group {group}: {wrong}", machine.id)),
                    Err(error) => return Some(format!("n{}, group {group} cannot be looked at: {error}", machine.id)),
                }
            }
            let referred = (0..groups.count()).map(|group| groups.view(group).objects());
            let applied = (0..groups.count()).map(|group| groups.applied(group).map(|id| id.index));
            let records = self.0.shape.config.cold.records();
            let unwritten = || all_is_written_down(cluster, &applied.collect::<Vec<_>>(), &stored);
            let wrong = cold_keeps_what_is_referred_to(cluster, &referred.collect::<Vec<_>>(), &stored)
                .or_else(|| records.then(unwritten).flatten())?;
            Some(format!("n{}: {wrong}", machine.id))
        })
    }
}
