//! To whom the objects of a cluster belong, and whether it lives.
//!
//! A cluster that is restored goes on with the objects of the one that was lost, under the same number. So that there are
//! never two at work on them, each restoration first puts the next of a row of objects whose names only one can take; and
//! every node looks, again and again, whether the last of that row is still its own cluster's. One that finds another is a
//! node of the cluster that was given up for lost: it ends. So that nobody gives up a cluster that lives, one of its
//! leaders puts a sign of life, again and again.
//!
//! ```text
//! CLUSTER/owner/GENERATION       who it belongs to
//! CLUSTER/alive/TERM-COUNT       a sign of life
//! ```

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use net::rt::{self, Instant};
use serde::{Deserialize, Serialize};

use super::calls::Put;
use super::envelope::{BadObject, Kind};
use super::object::Packed;
use super::store::{ColdReadError, Store};
use crate::Core;
use crate::cluster::Unique;

/// How far apart signs of life are at most.
const ALIVE_EVERY_MAX: Duration = Duration::from_secs(10);

/// How many signs of life may fail before a cluster counts as lost.
pub(crate) const SIGNS_MISSED: u32 = 3;

/// How long a sign of life is tried to be given at least; else until the next is due.
const ALIVE_PATIENCE_MIN: Duration = Duration::from_secs(1);

/// How long one object is tried to be put.
const PUT_PATIENCE: Duration = Duration::from_secs(20);

const OWNER: Kind = Kind {
    magic: b"HFOW",
    version: 1,
    name: "word of who owns a cluster's objects",
};

const ALIVE: Kind = Kind {
    magic: b"HFAL",
    version: 1,
    name: "sign of life",
};

/// Who owns the objects of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Owner {
    /// The number of the data directory of a member: of the first leader, or of the node that restored the cluster.
    pub(crate) data: u128,
    /// The name of the cluster; empty for a node on its own.
    pub(crate) cluster_name: String,
    /// How many groups it has.
    pub(crate) groups: u32,
    /// When that was written, in Unix milliseconds.
    pub(crate) at_ms: u64,
}

/// What a sign of life says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Alive {
    /// The next one comes after this, in milliseconds.
    pub(crate) every_ms: u64,
    /// When it was written, in Unix milliseconds.
    pub(crate) at_ms: u64,
}

/// A row of owners.
pub(crate) fn owners_of(cluster: u128) -> String {
    format!("{cluster:032x}/owner/")
}

/// The signs of life of a cluster.
pub(crate) fn signs_of(cluster: u128) -> String {
    format!("{cluster:032x}/alive/")
}

/// How often a cluster that is written down so often says that it lives.
pub(crate) fn alive_every(record_every: Duration) -> Duration {
    record_every.min(ALIVE_EVERY_MAX)
}

fn generation_of(prefix: &str, name: &str) -> Option<u64> {
    let digits = name.strip_prefix(prefix)?;
    (digits.len() == 16).then(|| u64::from_str_radix(digits, 16).ok())?
}

impl Store {
    /// The last owner of the objects of a cluster, and which of the row it is; none if it never had one.
    pub(crate) async fn owner(&self, cluster: u128) -> Result<Option<(u64, Owner)>, String> {
        let prefix = owners_of(cluster);
        let names = self.names(&prefix, None).await?;
        let Some((generation, name)) = names
            .iter()
            .rev()
            .find_map(|name| Some((generation_of(&prefix, name)?, name)))
        else {
            return Ok(None);
        };
        let owner = self.small(OWNER, name).await?;
        Ok(Some((generation, owner)))
    }

    /// Becomes the owner of this generation; `false` if another has.
    pub(crate) async fn own(&self, cluster: u128, generation: u64, owner: &Owner) -> Result<bool, String> {
        let key = format!("{}{generation:016x}", owners_of(cluster));
        let put = self
            .put(&key, &packed(OWNER, owner), Instant::now() + PUT_PATIENCE)
            .await?;
        Ok(put == Put::Stored)
    }

    /// The name of the last sign of life, and what it says.
    pub(crate) async fn sign(&self, cluster: u128) -> Result<Option<(String, Alive)>, String> {
        let names = self.names(&signs_of(cluster), None).await?;
        let Some(name) = names.last() else {
            return Ok(None);
        };
        match self.whole(name).await {
            Ok(bytes) => Ok(Some((name.clone(), unpacked(ALIVE, name, &bytes)?))),
            // The next one has just taken its place.
            Err(ColdReadError::Missing { .. }) => Ok(Some((name.clone(), Alive { every_ms: 0, at_ms: 0 }))),
            Err(error) => Err(error.to_string()),
        }
    }

    async fn small<T: for<'de> Deserialize<'de>>(&self, kind: Kind, name: &str) -> Result<T, String> {
        let bytes = self.whole(name).await.map_err(|error| error.to_string())?;
        unpacked(kind, name, &bytes)
    }
}

fn packed(kind: Kind, head: &impl Serialize) -> Packed {
    Packed {
        head: kind.seal(head),
        data: Vec::new(),
    }
}

fn unpacked<T: for<'de> Deserialize<'de>>(kind: Kind, name: &str, bytes: &Bytes) -> Result<T, String> {
    let (head, _) = kind.unseal(bytes).map_err(|bad: BadObject| format!("{name}: {bad}"))?;
    Ok(head)
}

/// Gives signs of life whenever this node leads the first group, for as long as it lives. Nothing else stands before that:
/// a cluster that is too busy to say that it lives could be taken for lost.
pub(crate) async fn say_alive(core: Arc<Core>, store: Arc<Store>) {
    let every = alive_every(core.config.cold.record_every);
    let mut signs = Signs::default();
    loop {
        rt::sleep(every).await;
        let Some(term) = core.groups.leading_term(0) else {
            continue;
        };
        let status = core.standing.status();
        let owner = Owner {
            data: status.data.0,
            cluster_name: status.cluster_name,
            groups: core.groups.count(),
            at_ms: core.groups.now_ms(0),
        };
        if let Err(because) = signs.give(&store, term, every, &owner).await {
            tracing::warn!(because, "this cluster cannot say for now that it lives");
        }
    }
}

/// The signs of life that this node gives, as the leader of the first group.
#[derive(Debug, Default)]
struct Signs {
    term: u64,
    count: u64,
    /// The name of the last one.
    name: Option<String>,
}

impl Signs {
    /// Gives one, and says to whom the objects belong if nobody has.
    async fn give(&mut self, store: &Store, term: u64, every: Duration, owner: &Owner) -> Result<(), String> {
        let Some(cluster) = store.cluster() else { return Ok(()) };
        if self.term != term {
            if store.owner(cluster).await?.is_none() {
                store.own(cluster, 0, owner).await?;
            }
            *self = Self {
                term,
                ..Self::default()
            };
        }
        let alive = Alive {
            every_ms: u64::try_from(every.as_millis()).unwrap_or(u64::MAX),
            at_ms: owner.at_ms,
        };
        let prefix = signs_of(cluster);
        let name = format!("{prefix}{term:016x}-{:016x}", self.count);
        self.count += 1;
        store
            .put(
                &name,
                &packed(ALIVE, &alive),
                Instant::now() + every.max(ALIVE_PATIENCE_MIN),
            )
            .await?;
        let before = match self.name.replace(name.clone()) {
            Some(before) => vec![before],
            // Those of earlier leaders.
            None => store
                .names(&prefix, None)
                .await?
                .into_iter()
                .filter(|other| *other < name)
                .collect(),
        };
        for name in before {
            store.remove(&name).await?;
        }
        Ok(())
    }
}

/// Waits until the objects of this node's cluster belong to another, and says so in a sentence.
pub(crate) async fn lost(store: Arc<Store>, every: Duration, is_ours: impl Fn(Unique) -> bool) -> String {
    loop {
        rt::sleep(every).await;
        let Some(cluster) = store.cluster() else { continue };
        match store.owner(cluster).await {
            Ok(Some((generation, owner))) if !is_ours(Unique(owner.data)) => {
                return format!(
                    "cluster {} was given up for lost and restored from the cold store (restoration {generation}): this node \
                     belongs to what it was before. Stop all its nodes, and keep their data directories until you know that \
                     nothing in them is missed",
                    Unique(cluster)
                );
            }
            Ok(_) => {}
            Err(because) => tracing::debug!(because, "nobody says whose the objects of this cluster are"),
        }
    }
}

#[cfg(test)]
mod tests {
    use storage::memory::MemoryCold;

    use super::super::store::Options;
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn owner(data: u128) -> Owner {
        Owner {
            data,
            cluster_name: "prod".into(),
            groups: 4,
            at_ms: 300,
        }
    }

    #[test]
    fn words_of_owners_and_of_life_are_written_as_by_the_first_release() {
        let alive = Alive {
            every_ms: 300,
            at_ms: 301,
        };
        assert_eq!(hex(&packed(OWNER, &owner(300)).head), GOLDEN_OWNER.replace(' ', ""));
        assert_eq!(hex(&packed(ALIVE, &alive).head), GOLDEN_ALIVE.replace(' ', ""));
    }

    const GOLDEN_OWNER: &str = "48464f57 01 0000000a 0bc3eb38 ac02 0470726f64 04 ac02";
    const GOLDEN_ALIVE: &str = "4846414c 01 00000004 aaa4c574 ac02 ad02";

    fn store() -> Arc<Store> {
        let options = Options {
            block_bytes: 1024,
            cache_bytes: 1024,
            read_ahead: 0,
            patience: Duration::from_secs(1),
            hedge_after: Duration::from_secs(1),
        };
        let store = Arc::new(Store::new(Arc::new(MemoryCold::default()), options));
        store.of_cluster(7);
        store
    }

    #[test]
    fn each_generation_has_one_owner_and_the_last_one_counts() {
        rt::block_on(async {
            let store = store();
            assert_eq!(store.owner(7).await, Ok(None));
            assert_eq!(store.own(7, 0, &owner(1)).await, Ok(true));
            assert_eq!(store.own(7, 1, &owner(2)).await, Ok(true));
            assert_eq!(store.own(7, 1, &owner(3)).await, Ok(false));
            assert_eq!(store.own(7, 1, &owner(2)).await, Ok(true), "an answer that was lost");
            assert_eq!(store.owner(7).await, Ok(Some((1, owner(2)))));
        })
        .unwrap();
    }

    #[test]
    fn a_cluster_that_lives_gives_one_sign_after_the_other_and_leaves_none_behind() {
        rt::block_on(async {
            let store = store();
            let mut signs = Signs::default();
            assert_eq!(store.sign(7).await, Ok(None));
            let mut last = String::new();
            for term in [1, 1, 2] {
                signs.give(&store, term, Duration::ZERO, &owner(1)).await.unwrap();
                let (name, _) = store.sign(7).await.unwrap().expect("a sign");
                assert!(name > last, "{name} follows {last}");
                last = name;
            }
            assert_eq!(store.names(&signs_of(7), None).await.map(|names| names.len()), Ok(1));
            assert_eq!(
                store.owner(7).await,
                Ok(Some((0, owner(1)))),
                "the first leader says whose the objects are"
            );
        })
        .unwrap();
    }

    #[test]
    fn a_node_whose_cluster_was_restored_elsewhere_is_told() {
        rt::block_on(async {
            let store = store();
            store.own(7, 0, &owner(1)).await.unwrap();
            let lost = lost(store.clone(), Duration::from_millis(1), |data| data == Unique(1));
            let told = rt::timeout(Duration::from_secs(5), async {
                let restoring = async {
                    rt::sleep(Duration::from_millis(20)).await;
                    store.own(7, 1, &owner(2)).await
                };
                futures_util::future::join(lost, restoring).await.0
            });
            let why = told.await.expect("in time");
            assert!(why.contains("restored from the cold store (restoration 1)"), "{why}");
        })
        .unwrap();
    }
}
