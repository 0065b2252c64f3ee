//! Whether anything of forks is left over, on any node.

use super::Cluster;
use crate::invariant::forks_leak_nothing;

impl Cluster {
    /// What forks have left over that is still to be cleaned up, in words. Of nodes that run.
    #[must_use]
    pub fn left_over(&self) -> Option<String> {
        self.0.machines.iter().find_map(|machine| {
            let node = machine.node()?;
            let groups = node.groups();
            let census: Result<Vec<_>, _> = (0..groups.count())
                .map(|group| groups.view(group).fork_census())
                .collect();
            let left = match census {
                Ok(census) => forks_leak_nothing(&census)?,
                Err(error) => format!("it cannot be looked at: {error}"),
            };
            Some(format!("n{}: {left}", machine.id))
        })
    }
}
