//! Whether all that a restored cluster would need is there and whole.
//!
//! Nothing less than a restore says that: each group is told, in a scratch place, what was written down of it, by the same
//! code that would restore it; then every run of bytes that its streams refer to is read and held against its checksum.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{BoxFuture, ready};
use futures_util::stream::{self, StreamExt};
use net::clock::Clock;
use serde::Serialize;
use storage::cold::Cold;
use storage::disk::Disk;
use storage::index::Index;

use super::finding::{self, Found};
use super::playing::play;
use super::{Progress, RestoreError};
use crate::cluster::Unique;
use crate::cold::Store;
use crate::config::Config;
use crate::peer::{PeerError, Why};
use crate::raft::{Census, Groups, Observer, Seams, Settings, Transport};
use crate::start::cold_options;
use crate::stream::{StreamName, StreamRow};

/// Runs read at once.
const AT_ONCE: usize = 8;

/// Problems told of; there may be more.
const PROBLEMS_MAX: usize = 100;

/// A place where groups may be built up and thrown away.
pub struct Scratch {
    /// Empty.
    pub disk: Arc<dyn Disk>,
    /// Empty.
    pub index: Arc<dyn Index>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
}

/// What a look at everything has shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verified {
    /// What is written down.
    pub found: Found,
    /// What there is, all groups together.
    pub checked: Checked,
    /// What is wrong, in sentences; the first hundred.
    pub problems: Vec<String>,
    /// Every stream, if that was asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub streams: Vec<StreamFound>,
}

/// How much was looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Checked {
    /// Streams.
    pub streams: u64,
    /// Objects that their bytes are in.
    pub objects: u64,
    /// Runs of bytes there, each read and held against its checksum.
    pub runs: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Bytes that are written down with the groups, and not in objects.
    pub written_bytes: u64,
}

/// A stream that would be restored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StreamFound {
    /// Its name, as in `/v1/stream/NAME`.
    pub name: String,
    /// Its group, which says as of when it is.
    pub group: u32,
    /// One past its last byte.
    pub tail: u64,
    /// Whether it is closed.
    pub closed: bool,
    /// When that was so, in Unix milliseconds.
    pub as_of_ms: u64,
}

/// Looks at everything that is written down of a cluster.
///
/// # Errors
/// When what is written down cannot be read, or the scratch place fails; see [`RestoreError`]. What is merely missing or
/// damaged is among the [`Verified::problems`].
pub async fn verify(
    config: &Config,
    scratch: Scratch,
    cold: Arc<dyn Cold>,
    wanted: Option<Unique>,
    tell_streams: bool,
    progress: &mut dyn Progress,
) -> Result<Verified, RestoreError> {
    let store = Arc::new(Store::new(cold, cold_options(config)));
    let cluster = finding::choose(&store, wanted).await?;
    store.of_cluster(cluster.0);
    let (generation, owner) = finding::owner(&store, cluster).await?;
    let found = finding::found(&store, cluster, &owner, progress).await?;
    let groups = started(config, owner.groups, scratch, store.clone()).await?;
    let mut verified = Verified {
        found: Found { generation, ..found },
        checked: Checked::default(),
        problems: Vec::new(),
        streams: Vec::new(),
    };
    let done = each_group(&groups, &store, &mut verified, tell_streams, progress).await;
    groups.shutdown().await;
    done?;
    Ok(verified)
}

async fn each_group(
    groups: &Groups,
    store: &Arc<Store>,
    verified: &mut Verified,
    tell_streams: bool,
    progress: &mut dyn Progress,
) -> Result<(), RestoreError> {
    let (cluster, count) = (verified.found.cluster.0, groups.count());
    for group in 0..count {
        progress.step("groups checked", group.into(), count.into());
        let nobody = BTreeMap::from([(1, "nowhere:1".to_owned())]);
        play(groups, store, cluster, group, nobody)
            .await
            .map_err(RestoreError::Store)?;
        let census = groups
            .census(group)
            .await
            .map_err(|error| RestoreError::Store(error.to_string()))?;
        let as_of_ms = verified
            .found
            .groups
            .iter()
            .find(|found| found.group == group)
            .map_or(0, |found| found.at_ms);
        verified.checked.streams += census.streams.len() as u64;
        verified.checked.written_bytes += census.hot_bytes;
        if tell_streams {
            verified
                .streams
                .extend(census.streams.iter().map(|(name, row)| StreamFound {
                    name: name.to_string(),
                    group,
                    tail: row.tail.0,
                    closed: row.closed.is_some(),
                    as_of_ms,
                }));
        }
        runs(store, group, &census, verified).await;
    }
    progress.step("groups checked", count.into(), count.into());
    Ok(())
}

/// Reads every run that streams of a group refer to.
async fn runs(store: &Arc<Store>, group: u32, census: &Census, verified: &mut Verified) {
    let mut objects: Vec<_> = census.runs.iter().map(|run| run.place.object).collect();
    objects.dedup();
    verified.checked.objects += objects.len() as u64;
    let read = |run: &crate::raft::ColdRunFound| {
        let (store, run) = (store.clone(), *run);
        async move { (run, store.read(group, run.place, run.len, run.crc32c).await) }
    };
    let mut reads = stream::iter(census.runs.iter().map(read)).buffered(AT_ONCE);
    while let Some((run, read)) = reads.next().await {
        verified.checked.runs += 1;
        verified.checked.bytes += u64::from(run.len);
        if let Err(error) = read
            && verified.problems.len() < PROBLEMS_MAX
        {
            let (incarnation, to) = (run.incarnation, run.end);
            let name = census.name_of(incarnation).unwrap_or_else(|| "a snapshot".into());
            verified.problems.push(format!(
                "group {group}, {name}, bytes {}..{to}: {error}",
                to - u64::from(run.len)
            ));
        }
    }
}

async fn started(config: &Config, groups: u32, scratch: Scratch, store: Arc<Store>) -> Result<Groups, RestoreError> {
    let settings = Settings {
        node_id: 1,
        groups,
        identity: [0; 16],
        raft: config.raft.clone(),
        journal: config.journal.clone(),
        index: config.index.clone(),
        cache: config.cache.clone(),
        hot_max: u64::MAX,
    };
    let seams = Seams {
        disk: scratch.disk,
        index: scratch.index,
        cold: Some(store),
        clock: scratch.clock,
        transport: Arc::new(Nowhere),
        observer: Arc::new(Nobody),
    };
    Groups::start(settings, seams)
        .await
        .map_err(|error| RestoreError::Store(format!("the scratch place cannot be used: {error}")))
}

/// There are no other nodes.
struct Nowhere;

impl Transport for Nowhere {
    fn call(&self, _: u64, _: u8, _: u32, _: Vec<Bytes>, _: Duration) -> BoxFuture<'_, Result<Bytes, PeerError>> {
        Box::pin(ready(Err(PeerError {
            sent: false,
            why: Why::NoAddress,
        })))
    }
}

/// Nobody wants to know what changed.
struct Nobody;

impl Observer for Nobody {
    fn changed(&self, _: u32, _: &StreamName, _: Option<&StreamRow>) {}

    fn replaced(&self, _: u32) {}
}
