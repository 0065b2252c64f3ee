//! A group is told what was written down of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream, StreamExt};

use super::finding::last_head;
use crate::cluster::{Founder, Standing};
use crate::cold::{Chain, Store, read, records_of};
use crate::raft::{EntryId, Groups};

/// Files fetched ahead.
const AHEAD: usize = 4;

/// Founds a cluster: with empty groups, or with what was written down of one that was lost.
pub(crate) struct Refounder {
    pub(crate) groups: Groups,
    pub(crate) standing: Standing,
    pub(crate) store: Option<Arc<Store>>,
}

impl Founder for Refounder {
    fn is_initialised(&self, group: u32) -> BoxFuture<'_, Result<bool, String>> {
        match self.standing.restored() {
            // It has a log long before it has been told everything.
            Some(_) => Box::pin(std::future::ready(Ok(self.groups.has_members(group)))),
            None => self.groups.is_initialised(group),
        }
    }

    fn initialise(&self, group: u32, members: BTreeMap<u64, String>) -> BoxFuture<'_, Result<(), String>> {
        let Some(restored) = self.standing.restored() else {
            return self.groups.initialise(group, members);
        };
        Box::pin(async move {
            let Some(store) = &self.store else {
                return Err(
                    "this node was to bring back a cluster, and has no cold store: set `cold.backend` to what it was"
                        .into(),
                );
            };
            store.of_cluster(restored.cluster.0);
            let last = play(&self.groups, store, restored.cluster.0, group, members).await?;
            tracing::info!(group, of = self.groups.count(), ?last, "a group is restored");
            Ok(())
        })
    }
}

/// Tells a group what was written down of it, and who the members are; the last entry that was.
pub(super) async fn play(
    groups: &Groups,
    store: &Arc<Store>,
    cluster: u128,
    group: u32,
    members: BTreeMap<u64, String>,
) -> Result<Option<EntryId>, String> {
    let prefix = records_of(cluster, group);
    let chain = Chain::find(&prefix, &store.names(&prefix, None).await?);
    let (Some((state, parts)), Some(last)) = (chain.state, last_head(store, &prefix, &chain).await?) else {
        return Err(format!("group {group} was never written down whole"));
    };
    // Higher than any in which somebody led who left a trace, so that no name of an object comes twice.
    let objects = store.objects_of(group).await?;
    let term = objects
        .iter()
        .map(|object| object.term)
        .chain([last.term])
        .max()
        .unwrap_or(0)
        + 1;
    let mut restoration = groups.restoration(group, term);
    let names: Vec<String> = (0..parts)
        .map(|part| state.part(&prefix, part, part + 1 == parts))
        .collect();
    let mut files = fetched(store.clone(), names);
    while let Some(frames) = files.next().await {
        for frame in frames? {
            restoration.piece(frame).await?;
        }
    }
    restoration.state_is_whole().await?;
    let names: Vec<String> = chain.log.iter().map(|log| log.key(&prefix)).collect();
    let mut files = fetched(store.clone(), names);
    while let Some(frames) = files.next().await {
        for frame in frames? {
            restoration.entry(&frame).await?;
        }
    }
    let told = restoration.told();
    restoration.members(members).await?;
    Ok(told)
}

/// The frames of files, in order, the next ones fetched ahead.
fn fetched(store: Arc<Store>, names: Vec<String>) -> BoxStream<'static, Result<Vec<Bytes>, String>> {
    let fetch = move |name: String| {
        let store = store.clone();
        async move {
            let bytes = store.whole(&name).await.map_err(|error| error.to_string())?;
            let (_, frames) = read(&bytes).map_err(|bad| format!("{name}: {bad}"))?;
            Ok(frames)
        }
    };
    stream::iter(names).map(fetch).buffered(AHEAD).boxed()
}
