//! Which objects nothing refers to any more, and when they go.
//!
//! An object of an earlier term that nothing refers to, once this leader has applied all that was committed before it
//! asked, will never be referred to again: the log takes word of an object only in the term in which it was written. One of
//! this very term may be spoken of by a command that nobody knows the end of: it counts as dead only in a later one. One of
//! a later term is another leader's. Those that are dead stay for a while, for readers that are under way
//! and for nodes that are behind; how long is counted from when this leader first saw that, so that no clock matters. And
//! they stay until that they are dead is written down: or a cluster that is restored refers to what is no longer there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use net::rt::Instant;

use super::notes::{ToDelete, some};
use super::object::key_of;
use super::store::Store;
use crate::Core;
use crate::keys::ObjectId;

/// How long the barrier is waited for.
const DEADLINE: Duration = Duration::from_secs(5);

/// What a leader knows of the objects of its groups.
#[derive(Debug, Default)]
pub(super) struct Sweeper {
    groups: BTreeMap<u32, Known>,
}

#[derive(Debug, Default)]
struct Known {
    term: u64,
    /// When they were last looked at.
    looked: Option<Instant>,
    /// Since when each is known to be dead, and the last entry that had been applied then.
    dead: BTreeMap<ObjectId, (Instant, u64)>,
}

impl Sweeper {
    /// This node does not lead the group.
    pub(super) fn no_longer(&mut self, group: u32) {
        self.groups.remove(&group);
    }

    /// Whether it is time to look at the objects of a group.
    pub(super) fn is_due(&self, core: &Core, group: u32, term: u64) -> bool {
        let known = self.groups.get(&group).filter(|known| known.term == term);
        let looked = known.and_then(|known| known.looked);
        looked.is_none_or(|looked| looked.elapsed() >= core.config.cold.sweep_every)
    }

    /// Looks at the objects of a group that this node leads in this term, if it is time to, and deletes what was dead for
    /// long enough. `written`: the first entry that is not written down, if this cluster is.
    pub(super) async fn sweep(
        &mut self,
        core: &Arc<Core>,
        store: &Arc<Store>,
        group: u32,
        term: u64,
        doubtful: &BTreeSet<ObjectId>,
        written: Option<u64>,
    ) {
        if !self.is_due(core, group, term) {
            return;
        }
        let grace = core.config.cold.grace;
        let known = self.groups.entry(group).or_default();
        if known.term != term {
            *known = Known {
                term,
                ..Known::default()
            };
        }
        match known.look(core, store, group, doubtful).await {
            Ok(()) => known.looked = Some(Instant::now()),
            Err(because) => return tracing::debug!(group, because, "the objects of a group are not swept for now"),
        }
        let is_written = |index: u64| written.is_none_or(|next| next > index);
        if let Some(cluster) = store.cluster() {
            let told = known.dead.iter().map(|(object, (since, index))| {
                ToDelete::new(key_of(cluster, group, *object), *since + grace, !is_written(*index))
            });
            store.note(group, |notes| {
                notes.dead_objects = known.dead.len() as u64;
                notes.to_delete = some(told);
            });
        }
        let due: Vec<ObjectId> = known
            .dead
            .iter()
            .filter(|(_, (since, index))| since.elapsed() >= grace && is_written(*index))
            .map(|(object, _)| *object)
            .collect();
        for object in due {
            match store.delete(group, object).await {
                Ok(()) => {
                    tracing::debug!(group, ?object, "an object that nothing refers to is deleted");
                    known.dead.remove(&object);
                }
                Err(because) => return tracing::debug!(group, ?object, because, "an object is not deleted for now"),
            }
        }
    }
}

impl Known {
    async fn look(
        &mut self,
        core: &Arc<Core>,
        store: &Arc<Store>,
        group: u32,
        doubtful: &BTreeSet<ObjectId>,
    ) -> Result<(), String> {
        let stored = store.objects_of(group).await?;
        // After the names, so that whatever was committed by then has been applied here.
        let deadline = Instant::now() + DEADLINE;
        let index = core.groups.read_index(group, deadline).await?;
        core.groups.wait_applied(group, index).await?;
        if core.groups.leading_term(group) != Some(self.term) {
            return Err("this node leads no longer".into());
        }
        let living = core.groups.view(group).objects();
        let applied = core.groups.applied(group).map_or(0, |applied| applied.index);
        let is_dead = |object: &ObjectId| {
            !living.contains_key(object)
                && (object.term < self.term || object.term == self.term && !doubtful.contains(object))
        };
        let now = Instant::now();
        let dead: Vec<ObjectId> = stored.into_iter().filter(is_dead).collect();
        let before = std::mem::take(&mut self.dead);
        self.dead = dead
            .into_iter()
            .map(|object| (object, before.get(&object).copied().unwrap_or((now, applied))))
            .collect();
        Ok(())
    }
}
