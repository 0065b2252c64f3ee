//! Which objects nothing refers to any more, and when they go.
//!
//! An object of an earlier term that nothing refers to, once this leader has applied all that was committed before it
//! asked, will never be referred to again: the log takes word of an object only in the term in which it was written. One of
//! this very term may be spoken of by a command that nobody knows the end of: it counts as dead only in a later one. One of
//! a later term is another leader's. Those that are dead stay for a while, for readers that are under way
//! and for nodes that are behind; how long is counted from when this leader first saw that, so that no clock matters. And
//! they stay until that they are dead is written down: or a cluster that is restored refers to what is no longer there.

use std::collections::BTreeMap;
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

/// What the leader of a group knows of its objects, in one term.
#[derive(Debug, Default)]
pub(super) struct Sweeper {
    /// When they were last looked at.
    looked: Option<Instant>,
    /// Since when each is known to be dead, and the last entry that had been applied then.
    dead: BTreeMap<ObjectId, (Instant, u64)>,
}

impl Sweeper {
    /// Whether it is time to look at the objects.
    pub(super) fn is_due(&self, core: &Core) -> bool {
        self.looked
            .is_none_or(|looked| looked.elapsed() >= core.config.cold.sweep_every)
    }

    /// Looks at the objects of a group that this node leads in this term, if it is time to, and deletes what was dead for
    /// long enough.
    pub(super) async fn sweep(&mut self, core: &Arc<Core>, store: &Arc<Store>, group: u32, term: u64) {
        if !self.is_due(core) {
            return;
        }
        // Of what was dead by then, that is written down, too.
        let written = core.config.cold.records().then(|| store.recorded(group));
        let grace = core.config.cold.grace;
        match self.look(core, store, group, term).await {
            Ok(()) => self.looked = Some(Instant::now()),
            Err(because) => return tracing::debug!(group, because, "the objects of a group are not swept for now"),
        }
        let is_written = |index: u64| written.is_none_or(|next| next > index);
        if let Some(cluster) = store.cluster() {
            let told = self.dead.iter().map(|(object, (since, index))| {
                ToDelete::new(key_of(cluster, group, *object), *since + grace, !is_written(*index))
            });
            store.note(group, |notes| {
                notes.dead_objects = self.dead.len() as u64;
                notes.to_delete = some(told);
            });
        }
        let due: Vec<ObjectId> = self
            .dead
            .iter()
            .filter(|(_, (since, index))| since.elapsed() >= grace && is_written(*index))
            .map(|(object, _)| *object)
            .collect();
        for object in due {
            match store.delete(group, object).await {
                Ok(()) => {
                    tracing::debug!(group, ?object, "an object that nothing refers to is deleted");
                    self.dead.remove(&object);
                }
                Err(because) => return tracing::debug!(group, ?object, because, "an object is not deleted for now"),
            }
        }
    }

    async fn look(&mut self, core: &Arc<Core>, store: &Arc<Store>, group: u32, term: u64) -> Result<(), String> {
        let stored = store.objects_of(group).await?;
        // After the names, and before what the log says: of each of those that were put by now, either this speaks or that.
        let unsettled = core.names.unsettled(group, term);
        // After the names, so that whatever was committed by then has been applied here.
        let deadline = Instant::now() + DEADLINE;
        let index = core.groups.read_index(group, deadline).await?;
        core.groups.wait_applied(group, index).await?;
        if core.groups.leading_term(group) != Some(term) {
            return Err("this node leads no longer".into());
        }
        let living = core.groups.view(group).objects();
        let applied = core.groups.applied(group).map_or(0, |applied| applied.index);
        let is_dead = |object: &ObjectId| {
            !living.contains_key(object) && (object.term < term || object.term == term && !unsettled.contains(object))
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
