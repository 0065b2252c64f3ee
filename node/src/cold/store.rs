//! How objects are written and read.
//!
//! Reads go by blocks: each is fetched once for all who want it now, kept for a while, and the next ones are fetched ahead
//! of who reads on. A call that fails is tried again until a deadline, one that is slow is asked a second time beside it.
//! Bytes are checked against the checksum of their run before anybody sees them; a block that does not match is fetched
//! once more, and then it is damage, which is said loudly and never served.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared, join_all};
use net::rt::{self, Instant};
use serde::Serialize;
use serde::de::DeserializeOwned;
use storage::cold::Cold;
use storage::disk::Disk;
use storage::error::ColdError;

use super::again::Again;
use super::cache::{BlockId, Cache};
use super::disk_cache::DiskCache;
use super::envelope::{BadObject, HEADER_BYTES, Kind, unspell};
use super::notes::Notes;
use super::object::{Directory, OBJECT, key_of};
use super::record::{self, RECORD};
use crate::keys::ColdPlace;

/// How objects are read and written.
#[derive(Debug, Clone)]
pub struct Options {
    /// Bytes of a block.
    pub block_bytes: u64,
    /// Bytes of blocks in memory.
    pub cache_bytes: usize,
    /// Blocks fetched ahead of who reads on.
    pub read_ahead: u64,
    /// How long a read is tried.
    pub patience: Duration,
    /// How long a call may take before the same is asked a second time beside it.
    pub hedge_after: Duration,
}

/// Why bytes could not be read. The sentence names the object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ColdReadError {
    /// The store did not answer in time.
    #[error("the cold store did not give object {key}: {because}")]
    Unreachable {
        /// The object.
        key: Arc<str>,
        /// What the last attempt met.
        because: String,
    },
    /// There is no such object: somebody has deleted it behind our back.
    #[error("object {key} is missing in the cold store: put it back from a copy of the bucket")]
    Missing {
        /// The object.
        key: Arc<str>,
    },
    /// It is shorter than it was, or its bytes do not match their checksum. Never served.
    #[error("object {key} is damaged in the cold store at byte {offset}: put it back from a copy of the bucket")]
    Damaged {
        /// The object.
        key: Arc<str>,
        /// The first byte of the run that does not match.
        offset: u64,
    },
    /// What stands there is no object of ours.
    #[error("object {key}: {bad}")]
    Bad {
        /// The object.
        key: Arc<str>,
        /// What is wrong with it.
        bad: BadObject,
    },
    /// The node does not know yet of which cluster it is, and so not what its objects are called.
    #[error("this node does not know its cluster yet")]
    NoCluster,
}

/// What went to and came from the store since the start; see [`TrafficNow`].
#[derive(Debug, Default)]
pub struct Traffic {
    pub(super) puts: AtomicU64,
    pub(super) put_bytes: AtomicU64,
    pub(super) ahead: AtomicU64,
    gets: AtomicU64,
    get_bytes: AtomicU64,
    hits: AtomicU64,
    disk_hits: AtomicU64,
    pub(super) failures: AtomicU64,
    hedges: AtomicU64,
    damaged: AtomicU64,
    pub(super) deletes: AtomicU64,
    pub(super) lists: AtomicU64,
}

/// What went to and from the store, at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct TrafficNow {
    /// Objects put, each attempt counted.
    pub puts: u64,
    /// Bytes of those that were stored.
    pub put_bytes: u64,
    /// Bodies that were put before the log heard of them.
    pub ahead: u64,
    /// Ranges asked for, each attempt counted.
    pub gets: u64,
    /// Bytes that came.
    pub get_bytes: u64,
    /// Blocks found in memory.
    pub hits: u64,
    /// Blocks found on the node's own disk.
    pub disk_hits: u64,
    /// Calls that failed, each attempt counted.
    pub failures: u64,
    /// Calls that were asked a second time because they were slow.
    pub hedges: u64,
    /// Runs that did not match their checksum.
    pub damaged: u64,
    /// Objects deleted.
    pub deletes: u64,
    /// Pages of names listed.
    pub lists: u64,
}

impl Traffic {
    /// As it is now.
    #[must_use]
    pub fn now(&self) -> TrafficNow {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        TrafficNow {
            puts: of(&self.puts),
            put_bytes: of(&self.put_bytes),
            ahead: of(&self.ahead),
            gets: of(&self.gets),
            get_bytes: of(&self.get_bytes),
            hits: of(&self.hits),
            disk_hits: of(&self.disk_hits),
            failures: of(&self.failures),
            hedges: of(&self.hedges),
            damaged: of(&self.damaged),
            deletes: of(&self.deletes),
            lists: of(&self.lists),
        }
    }
}

/// A block that somebody wants.
enum Block {
    /// It is in memory.
    Here(Bytes),
    /// It is being fetched since just now.
    Asked(Coming),
    /// It is being fetched for somebody else, for some time.
    Joined(Coming),
}

type Coming = Shared<BoxFuture<'static, Result<Bytes, ColdReadError>>>;

/// The cold store as the node uses it.
pub struct Store {
    pub(super) seam: Arc<dyn Cold>,
    pub(super) options: Options,
    state: Mutex<State>,
    /// Blocks on the node's own disk, if there is room for them.
    on_disk: Option<Arc<DiskCache>>,
    pub(super) traffic: Traffic,
}

struct State {
    /// Of which cluster the objects are, once that is known.
    cluster: Option<u128>,
    cache: Cache,
    /// Blocks that somebody is fetching.
    coming: BTreeMap<BlockId, Coming>,
    /// What this node last saw of the groups it leads.
    notes: BTreeMap<u32, Notes>,
}

pub(super) fn count(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Ordering::Relaxed);
}

impl Store {
    /// The store behind this seam.
    #[must_use]
    pub fn new(seam: Arc<dyn Cold>, options: Options) -> Self {
        let state = State {
            cluster: None,
            cache: Cache::new(options.cache_bytes),
            coming: BTreeMap::new(),
            notes: BTreeMap::new(),
        };
        Self {
            seam,
            options,
            state: Mutex::new(state),
            on_disk: None,
            traffic: Traffic::default(),
        }
    }

    /// The same, with so many bytes of blocks on this disk.
    #[must_use]
    pub fn caching_on(mut self, disk: Arc<dyn Disk>, bytes: u64) -> Self {
        self.on_disk = DiskCache::new(disk, bytes, self.options.block_bytes).map(Arc::new);
        self
    }

    /// Says of which cluster the objects are. The first word counts.
    pub fn of_cluster(&self, cluster: u128) {
        self.state().cluster.get_or_insert(cluster);
    }

    /// Of which cluster the objects are, once that is known.
    #[must_use]
    pub fn cluster(&self) -> Option<u128> {
        self.state().cluster
    }

    /// What went to and fro.
    #[must_use]
    pub fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// Notes what the leader of a group has seen of its objects.
    pub(super) fn note(&self, group: u32, change: impl FnOnce(&mut Notes)) {
        change(self.state().notes.entry(group).or_default());
    }

    /// This node does not lead the group any more.
    pub(super) fn forget_notes(&self, group: u32) {
        self.state().notes.remove(&group);
    }

    /// The first entry of a group that is not written down, as far as this node has seen as its leader.
    #[must_use]
    pub fn recorded(&self, group: u32) -> u64 {
        self.state().notes.get(&group).map_or(0, |notes| notes.recorded_entries)
    }

    /// What this node last saw of the objects of a group that it leads.
    #[must_use]
    pub fn notes(&self, group: u32) -> Option<Notes> {
        self.state().notes.get(&group).cloned()
    }

    /// Bytes of blocks in memory.
    #[must_use]
    pub fn cached_bytes(&self) -> usize {
        self.state().cache.bytes()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads a run and verifies it.
    ///
    /// # Errors
    /// When it cannot be had; see [`ColdReadError`].
    pub async fn read(
        self: &Arc<Self>,
        group: u32,
        place: ColdPlace,
        len: u32,
        crc32c: u32,
    ) -> Result<Bytes, ColdReadError> {
        let cluster = self.cluster().ok_or(ColdReadError::NoCluster)?;
        let key: Arc<str> = key_of(cluster, group, place.object).into();
        let range = place.offset..place.offset + u64::from(len);
        // What is wrong may have become so on the way: once more, then it is damage.
        for attempt in 0..2 {
            let bytes = self.range(&key, range.clone()).await?;
            if bytes.len() == len as usize && crc32c::crc32c(&bytes) == crc32c {
                return Ok(bytes);
            }
            count(&self.traffic.damaged, 1);
            tracing::warn!(%key, offset = place.offset, len, attempt, "bytes from the cold store do not match their checksum");
            self.forget(&key, &range);
        }
        tracing::error!(%key, offset = place.offset, len, "an object of the cold store is damaged");
        Err(ColdReadError::Damaged {
            key,
            offset: place.offset,
        })
    }

    /// The directory of an object.
    ///
    /// # Errors
    /// When it cannot be had or makes no sense.
    pub async fn directory(&self, key: &Arc<str>) -> Result<Directory, ColdReadError> {
        self.head(OBJECT, key).await
    }

    /// What a part of a group's state, or a piece of its log, says of itself.
    ///
    /// # Errors
    /// When it cannot be had or makes no sense.
    pub async fn record_head(&self, key: &Arc<str>) -> Result<record::Head, ColdReadError> {
        self.head(RECORD, key).await
    }

    async fn head<T: DeserializeOwned>(&self, kind: Kind, key: &Arc<str>) -> Result<T, ColdReadError> {
        let bad = |bad| ColdReadError::Bad { key: key.clone(), bad };
        let header = self.get(key, 0..HEADER_BYTES).await?;
        let (len, crc32c) = kind.header(&header).map_err(bad)?;
        let spelled = self.get(key, HEADER_BYTES..HEADER_BYTES + len).await?;
        unspell(&spelled, crc32c).map_err(bad)
    }

    /// Bytes of an object, shorter only at its end.
    async fn range(self: &Arc<Self>, key: &Arc<str>, range: Range<u64>) -> Result<Bytes, ColdReadError> {
        let block = self.options.block_bytes.max(1);
        let numbers = range.start / block..=range.end.saturating_sub(1).max(range.start) / block;
        let (first, last) = (*numbers.start(), *numbers.end());
        let whole: Vec<_> = numbers.map(|number| self.whole_block(key, number)).collect();
        let mut blocks = Vec::with_capacity(whole.len());
        for found in join_all(whole).await {
            blocks.push(found?);
        }
        let goes_on = blocks
            .last()
            .is_some_and(|block_bytes| block_bytes.len() as u64 == block);
        if goes_on && self.reads_on(key, first) {
            self.fetch_ahead(key, last);
        }
        let cut = |number: u64, bytes: &Bytes| {
            let at = |offset: u64| {
                let inside = offset.saturating_sub(number * block);
                usize::try_from(inside).unwrap_or(usize::MAX).min(bytes.len())
            };
            bytes.slice(at(range.start)..at(range.end))
        };
        let mut pieces = (first..).zip(&blocks).map(|(number, bytes)| cut(number, bytes));
        if blocks.len() == 1 {
            return Ok(pieces.next().unwrap_or_default());
        }
        let mut whole = BytesMut::with_capacity((range.end - range.start) as usize);
        for piece in pieces {
            whole.extend_from_slice(&piece);
        }
        Ok(whole.freeze())
    }

    /// A block. Who joins others that wait for it may join them when their patience is almost at its end: then it is asked
    /// for once more, with a patience of one's own.
    async fn whole_block(self: &Arc<Self>, key: &Arc<str>, number: u64) -> Result<Bytes, ColdReadError> {
        match self.block(key, number) {
            Block::Here(bytes) => Ok(bytes),
            Block::Asked(coming) => coming.await,
            Block::Joined(coming) => match coming.await {
                Err(ColdReadError::Unreachable { .. }) => match self.block(key, number) {
                    Block::Here(bytes) => Ok(bytes),
                    Block::Asked(coming) | Block::Joined(coming) => coming.await,
                },
                found => found,
            },
        }
    }

    /// Whether somebody has just read what comes before this block.
    fn reads_on(&self, key: &Arc<str>, number: u64) -> bool {
        let before = |number| BlockId {
            key: key.clone(),
            number,
        };
        number == 0 || self.state().cache.get(&before(number - 1)).is_some()
    }

    fn fetch_ahead(self: &Arc<Self>, key: &Arc<str>, last: u64) {
        for number in last + 1..=last + self.options.read_ahead {
            let id = BlockId {
                key: key.clone(),
                number,
            };
            let known = {
                let mut state = self.state();
                state.coming.contains_key(&id) || state.cache.get(&id).is_some()
            };
            if !known {
                // It comes by itself; who wants it finds it, or joins.
                let _ahead = self.block(key, number);
            }
        }
    }

    /// A block, from memory, or as it comes for somebody else, or as it comes for us.
    fn block(self: &Arc<Self>, key: &Arc<str>, number: u64) -> Block {
        let id = BlockId {
            key: key.clone(),
            number,
        };
        let mut state = self.state();
        if let Some(bytes) = state.cache.get(&id) {
            count(&self.traffic.hits, 1);
            return Block::Here(bytes);
        }
        if let Some(coming) = state.coming.get(&id) {
            return Block::Joined(coming.clone());
        }
        let (store, wanted) = (self.clone(), id.clone());
        let fetching = async move {
            let start = wanted.number * store.options.block_bytes;
            if let Some(bytes) = store.kept_on_disk(&wanted).await {
                count(&store.traffic.disk_hits, 1);
                let mut state = store.state();
                state.coming.remove(&wanted);
                state.cache.put(wanted, bytes.clone());
                return Ok(bytes);
            }
            let found = store.get(&wanted.key, start..start + store.options.block_bytes).await;
            {
                let mut state = store.state();
                state.coming.remove(&wanted);
                if let Ok(bytes) = &found {
                    state.cache.put(wanted.clone(), bytes.clone());
                }
            }
            if let (Ok(bytes), Some(on_disk)) = (&found, store.on_disk.clone()) {
                // Nobody waits for that.
                let bytes = bytes.clone();
                drop(rt::spawn("cold block to disk", async move {
                    on_disk.put(&wanted, bytes).await
                }));
            }
            found
        };
        let coming = fetching.boxed().shared();
        state.coming.insert(id, coming.clone());
        drop(state);
        // A task of its own, as long as its patience: whoever gives up neither stops those that wait with him nor leaves
        // behind what nobody drives.
        drop(rt::spawn("cold fetch", coming.clone().map(drop)));
        Block::Asked(coming)
    }

    async fn kept_on_disk(&self, id: &BlockId) -> Option<Bytes> {
        self.on_disk.as_ref()?.get(id).await
    }

    fn forget(&self, key: &Arc<str>, range: &Range<u64>) {
        let block = self.options.block_bytes.max(1);
        for number in range.start / block..=range.end / block {
            let id = BlockId {
                key: key.clone(),
                number,
            };
            self.state().cache.remove(&id);
            if let Some(on_disk) = &self.on_disk {
                on_disk.remove(&id);
            }
        }
    }

    /// A range of an object, whatever it takes, for as long as one is patient.
    pub(super) async fn get(&self, key: &Arc<str>, range: Range<u64>) -> Result<Bytes, ColdReadError> {
        let mut again = Again::until(Instant::now() + self.options.patience);
        loop {
            let because = match rt::timeout_at(again.until, self.hedged(key, &range)).await {
                Ok(Ok(bytes)) => {
                    count(&self.traffic.get_bytes, bytes.len() as u64);
                    return Ok(bytes);
                }
                Ok(Err(ColdError::NotFound)) => {
                    tracing::error!(%key, "an object is missing in the cold store");
                    return Err(ColdReadError::Missing { key: key.clone() });
                }
                Ok(Err(error)) => error.to_string(),
                Err(rt::Elapsed) => "no answer in time".to_owned(),
            };
            count(&self.traffic.failures, 1);
            if !again.may().await {
                return Err(ColdReadError::Unreachable {
                    key: key.clone(),
                    because,
                });
            }
            tracing::debug!(%key, because, "the cold store is asked again");
        }
    }

    /// One attempt: the first answer of one call, or of a second that is made when the first is slow.
    async fn hedged(&self, key: &Arc<str>, range: &Range<u64>) -> Result<Bytes, ColdError> {
        let mut first = std::pin::pin!(self.call_get(key, range.clone()));
        if let Ok(answer) = rt::timeout(self.options.hedge_after, &mut first).await {
            return answer;
        }
        count(&self.traffic.hedges, 1);
        let mut second = std::pin::pin!(self.call_get(key, range.clone()));
        tokio::select! {
            biased;
            answer = &mut first => match answer {
                Ok(bytes) => Ok(bytes),
                Err(_) => second.await,
            },
            answer = &mut second => match answer {
                Ok(bytes) => Ok(bytes),
                Err(_) => first.await,
            },
        }
    }

    pub(super) async fn call_get(&self, key: &Arc<str>, range: Range<u64>) -> Result<Bytes, ColdError> {
        count(&self.traffic.gets, 1);
        let (seam, key) = (self.seam.clone(), key.clone());
        let call = rt::offload(async move { seam.get_range(&key, range).await });
        call.await.map_err(std::io::Error::other)?
    }
}
