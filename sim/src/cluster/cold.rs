//! What the cold store holds, and what the nodes refer to.

use super::Cluster;
use crate::invariant::{all_is_written_down, cold_keeps_what_is_referred_to};

impl Cluster {
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
