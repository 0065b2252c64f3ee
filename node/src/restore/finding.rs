//! What a cold store holds of clusters.

use std::fmt;

use serde::Serialize;

use super::{Progress, RestoreError};
use crate::cluster::Unique;
use crate::cold::{Chain, Head, Owner, Store, records_of};

/// What is written down of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Found {
    /// Its number.
    pub cluster: Unique,
    /// The name it had.
    pub cluster_name: String,
    /// How many times it was restored.
    pub generation: u64,
    /// Its groups.
    pub groups: Vec<GroupFound>,
}

/// Up to when a group is written down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GroupFound {
    /// Which.
    pub group: u32,
    /// The index of the last entry of its log that is there: every stream of the group is as it was after that.
    pub index: u64,
    /// The term of that entry.
    pub term: u64,
    /// When it was written down, in Unix milliseconds: what was acknowledged later is not there.
    pub at_ms: u64,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = if self.cluster_name.is_empty() {
            "a node on its own"
        } else {
            &self.cluster_name
        };
        writeln!(f, "cluster {} ({name})", self.cluster)?;
        writeln!(f, "  {:>5}  {:<24}  {:>10}  {:>6}", "group", "as of", "entry", "term")?;
        for group in &self.groups {
            let at = moment(group.at_ms);
            writeln!(
                f,
                "  {:>5}  {at:<24}  {:>10}  {:>6}",
                group.group, group.index, group.term
            )?;
        }
        let oldest = self.groups.iter().map(|group| group.at_ms).min().unwrap_or_default();
        write!(
            f,
            "A stream is as its group was at that moment, to the byte; in a group where nothing was written since, that is all \
             there was. The oldest moment is {}.",
            moment(oldest)
        )
    }
}

fn moment(ms: u64) -> String {
    let at = std::time::UNIX_EPOCH + std::time::Duration::from_millis(ms);
    humantime::format_rfc3339_millis(at).to_string()
}

/// The cluster that is meant: the wanted one, or the only one that is there.
pub(super) async fn choose(store: &Store, wanted: Option<Unique>) -> Result<Unique, RestoreError> {
    let clusters = clusters(store).await.map_err(RestoreError::Store)?;
    let named = |clusters: &[Unique]| clusters.iter().map(Unique::to_string).collect::<Vec<_>>().join(", ");
    match (wanted, clusters.as_slice()) {
        (_, []) => Err(RestoreError::Store(
            "no cluster has written anything there: mend the bucket, the prefix or the endpoint".into(),
        )),
        (Some(wanted), all) if all.contains(&wanted) => Ok(wanted),
        (Some(wanted), all) => Err(RestoreError::Store(format!(
            "cluster {wanted} has written nothing there; these have: {}",
            named(all)
        ))),
        (None, [only]) => Ok(*only),
        (None, all) => Err(RestoreError::Store(format!(
            "several clusters have written there: say which with `--cluster`, one of {}",
            named(all)
        ))),
    }
}

/// The clusters that have anything in a store.
async fn clusters(store: &Store) -> Result<Vec<Unique>, String> {
    let (mut found, mut after) = (Vec::new(), None::<String>);
    while let Some(name) = store.page("", after.as_deref(), 1).await?.pop() {
        let cluster = name.split_once('/').and_then(|(first, _)| first.parse::<Unique>().ok());
        after = Some(match cluster {
            // What follows all that begins with it and a slash.
            Some(cluster) => format!("{cluster}0"),
            None => name,
        });
        found.extend(cluster);
    }
    Ok(found)
}

/// The last owner of a cluster's objects.
pub(super) async fn owner(store: &Store, cluster: Unique) -> Result<(u64, Owner), RestoreError> {
    let owner = store.owner(cluster.0).await.map_err(RestoreError::Store)?;
    owner.ok_or_else(|| {
        RestoreError::Store(format!(
            "cluster {cluster} has objects there, but was never written down (`cold.record_every` is 0s, or it was lost before \
             that came): it cannot be restored"
        ))
    })
}

/// Up to when each group is written down.
pub(super) async fn found(
    store: &Store,
    cluster: Unique,
    owner: &Owner,
    progress: &mut dyn Progress,
) -> Result<Found, RestoreError> {
    let mut groups = Vec::new();
    for group in 0..owner.groups {
        progress.step(
            "looking at what is written down of groups",
            group.into(),
            owner.groups.into(),
        );
        let prefix = records_of(cluster.0, group);
        let names = store.names(&prefix, None).await.map_err(RestoreError::Store)?;
        let chain = Chain::find(&prefix, &names);
        let head = last_head(store, &prefix, &chain).await.map_err(RestoreError::Store)?;
        let (Some(head), Some(index)) = (head, chain.end()) else {
            return Err(RestoreError::Store(format!(
                "group {group} of cluster {cluster} was never written down whole: it cannot be restored"
            )));
        };
        groups.push(GroupFound {
            group,
            index,
            term: head.term,
            at_ms: head.at_ms,
        });
    }
    Ok(Found {
        cluster,
        cluster_name: owner.cluster_name.clone(),
        generation: 0,
        groups,
    })
}

/// The head of the last file of a chain; none if there is no state.
pub(super) async fn last_head(store: &Store, prefix: &str, chain: &Chain) -> Result<Option<Head>, String> {
    let name = match (chain.log.last(), chain.state) {
        (_, None) => return Ok(None),
        (Some(log), _) => log.key(prefix),
        (None, Some((state, parts))) => state.part(prefix, parts - 1, true),
    };
    let head = store.record_head(&name.into()).await;
    head.map(Some).map_err(|error| error.to_string())
}
