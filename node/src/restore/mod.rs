//! A cluster that lost all its nodes comes back from what its leaders wrote down in the cold store.
//!
//! [`prepare`] makes sure that the cluster is lost, takes its objects over, and notes in an empty data directory what its
//! node is to bring back. That node then founds a cluster as any other, of as many nodes as there are; only that it does
//! not leave the groups empty, but tells them what was written down (`playing`). The others get it from there.
//!
//! | file | the question |
//! |---|---|
//! | `finding` | which clusters does a store hold, and up to when is each group of one written down? |
//! | `playing` | how does a group take it over? |
//! | `verify` | is all there and whole, without restoring anything? |

mod finding;
mod playing;
mod verify;

use std::sync::Arc;
use std::time::Duration;

use net::rt;
use storage::cold::Cold;
use storage::disk::Disk;

use crate::cluster::{EnterError, IdentityError, Restored, Standing, Unique};
use crate::cold::{Owner, SIGNS_MISSED, Store};
use crate::config::Config;
use crate::start::{cold_options, place};

pub use finding::{Found, GroupFound};
pub(crate) use playing::Refounder;
pub use verify::{Checked, Scratch, StreamFound, Verified, verify};

/// The longest time between two looks for a sign of life.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Why nothing can be restored. The sentence says what to do.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The store failed, or what lies in it does not suffice.
    #[error("{0}")]
    Store(String),
    /// The data directory is not fit.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// It belongs to a cluster.
    #[error(transparent)]
    Used(#[from] EnterError),
    /// The cluster lives.
    #[error(
        "cluster {cluster} lives: it gave a sign of life while one was waited for ({sign}). Two must never work on the same \
         objects: stop all its nodes first"
    )]
    Lives {
        /// Which.
        cluster: Unique,
        /// The name of the sign.
        sign: String,
    },
    /// The configuration does not fit the cluster.
    #[error("{0}")]
    Config(String),
}

/// Tells somebody how it goes.
pub trait Progress: Send {
    /// So many of so many things are done.
    fn step(&mut self, what: &str, done: u64, of: u64);
}

/// Nobody is told.
impl Progress for () {
    fn step(&mut self, _: &str, _: u64, _: u64) {}
}

/// Makes an empty data directory that of the node that brings a cluster back. The node is then started like any other.
///
/// # Errors
/// When the cluster lives, is not written down whole, or the directory or the configuration is not fit; see
/// [`RestoreError`]. Nothing is changed then, but that the directory has a number, and the row of owners may have one more.
pub async fn prepare(
    config: &Config,
    disk: Arc<dyn Disk>,
    cold: Arc<dyn Cold>,
    now_ms: u64,
    wanted: Option<Unique>,
    progress: &mut dyn Progress,
) -> Result<Found, RestoreError> {
    let store = Arc::new(Store::new(cold, cold_options(config)));
    let settings = place(config);
    if settings.bootstrap_node_id != settings.node_id {
        return Err(RestoreError::Config(format!(
            "node {} founds the cluster, and so it restores it: run this there, or set `cluster.bootstrap_node_id = {}`",
            settings.bootstrap_node_id, settings.node_id
        )));
    }
    let cluster = finding::choose(&store, wanted).await?;
    store.of_cluster(cluster.0);
    let (last, owner) = finding::owner(&store, cluster).await?;
    if owner.groups != settings.groups {
        return Err(RestoreError::Config(format!(
            "cluster {cluster} has {} groups, the configuration says {}: the number is fixed at the birth of a cluster, so set \
             `cluster.groups = {}`",
            owner.groups, settings.groups, owner.groups
        )));
    }
    let standing = Standing::open(disk, settings.clone()).await?;
    standing.may_restore()?;
    silent(&store, cluster, progress).await?;
    let found = finding::found(&store, cluster, &owner, progress).await?;
    let ours = Owner {
        data: standing.status().data.0,
        cluster_name: settings.cluster_name,
        groups: settings.groups,
        at_ms: now_ms,
    };
    let generation = last + 1;
    if !store
        .own(cluster.0, generation, &ours)
        .await
        .map_err(RestoreError::Store)?
    {
        return Err(RestoreError::Store(format!(
            "somebody else has just begun to restore cluster {cluster}: only one may"
        )));
    }
    standing.restore(Restored { cluster, generation }).await?;
    // Again, because the lost cluster may have written until it found that it is lost.
    finding::found(&store, cluster, &ours, &mut ())
        .await
        .map(|later| Found {
            generation,
            groups: later.groups,
            ..found
        })
}

/// Waits for as long as a cluster that lives would give several signs of it.
async fn silent(store: &Store, cluster: Unique, progress: &mut dyn Progress) -> Result<(), RestoreError> {
    let sign = || async { store.sign(cluster.0).await.map_err(RestoreError::Store) };
    let Some((first, alive)) = sign().await? else {
        return Ok(());
    };
    let wait = Duration::from_millis(alive.every_ms).max(Duration::from_millis(100)) * SIGNS_MISSED;
    let began = rt::Instant::now();
    loop {
        let waited = began.elapsed();
        progress.step("waiting for a sign of life", waited.min(wait).as_secs(), wait.as_secs());
        match sign().await? {
            Some((last, _)) if last != first => return Err(RestoreError::Lives { cluster, sign: last }),
            _ if waited >= wait => return Ok(()),
            _ => rt::sleep(LOOK_EVERY.min(wait - waited)).await,
        }
    }
}
