//! Who waits for which stream.
//!
//! Whatever is applied on this node is told here, on leaders and followers alike, and wakes the readers of that stream and
//! nobody else. A stream nobody waits for is not remembered. Nothing is lost between a look and the wait after it, because
//! a [`Waiter`] is there before its reader looks, and counts the changes from then on.
//!
//! | file | the question |
//! |---|---|
//! | `topic` | one stream: what was told last, and who waits |
//! | `shared` | what was made once for all who stand at the same place |

mod shared;
mod topic;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

pub(crate) use shared::{Event, Place};
pub(crate) use topic::News;

use crate::{
    raft::Observer,
    stream::{StreamName, StreamRow, group_of},
};
use topic::Topic;

/// Parts the topics are spread over, so that two groups that apply at once seldom meet at a lock.
const SHARDS: u32 = 64;

/// All who wait on a node. Bounded by `http.max_waiters`.
pub(crate) struct Tails {
    shards: Vec<Mutex<BTreeMap<StreamName, Watched>>>,
    waiters: AtomicUsize,
    waiters_max: usize,
    /// Bytes of events kept for sharing, over all streams.
    shared_bytes: Arc<AtomicUsize>,
    /// The node is ending: nobody waits any more.
    over: AtomicBool,
}

/// A stream that somebody waits for.
struct Watched {
    topic: Arc<Topic>,
    /// How many. The entry goes with the last one.
    waiters: usize,
}

/// One who waits for a stream; dropped, it is forgotten.
pub(crate) struct Waiter {
    tails: Arc<Tails>,
    topic: Arc<Topic>,
    /// Its place among the topic's wakers.
    slot: usize,
    /// The change it has looked at.
    seen: u64,
    /// Whether `seen` came after it was there. What was told before may be older than what its reader has seen.
    listening: bool,
}

/// As many wait as may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooMany;

impl Tails {
    pub(crate) fn new(waiters_max: usize) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            waiters: AtomicUsize::new(0),
            waiters_max,
            shared_bytes: Arc::default(),
            over: AtomicBool::new(false),
        }
    }

    /// How many wait.
    pub(crate) fn waiters(&self) -> usize {
        self.waiters.load(Ordering::Relaxed)
    }

    /// Begins to wait for a stream of a group. Its reader looks at the stream after this, or it may wait for what is
    /// there already.
    pub(crate) fn wait(self: &Arc<Self>, group: u32, stream: &StreamName) -> Result<Waiter, TooMany> {
        if self.waiters.fetch_add(1, Ordering::Relaxed) >= self.waiters_max {
            self.waiters.fetch_sub(1, Ordering::Relaxed);
            return Err(TooMany);
        }
        let mut shard = self.shard(stream);
        let watched = shard.entry(stream.clone()).or_insert_with(|| Watched {
            topic: Arc::new(Topic::new(stream.clone(), group, self.shared_bytes.clone())),
            waiters: 0,
        });
        watched.waiters += 1;
        let topic = watched.topic.clone();
        drop(shard);
        let (slot, seen) = topic.enter();
        Ok(Waiter {
            tails: self.clone(),
            topic,
            slot,
            seen,
            listening: false,
        })
    }

    /// Ends all waiting, now and later.
    pub(crate) fn end(&self) {
        self.over.store(true, Ordering::SeqCst);
        self.each(|topic| topic.ring(None));
    }

    fn each(&self, mut visit: impl FnMut(&Topic)) {
        for shard in &self.shards {
            let topics: Vec<_> = {
                let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
                shard.values().map(|watched| watched.topic.clone()).collect()
            };
            topics.iter().for_each(|topic| visit(topic));
        }
    }

    fn shard(&self, stream: &StreamName) -> MutexGuard<'_, BTreeMap<StreamName, Watched>> {
        let shard = &self.shards[group_of(stream, SHARDS) as usize];
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn leave(&self, topic: &Topic, slot: usize) {
        topic.leave(slot);
        let mut shard = self.shard(&topic.stream);
        if let Some(watched) = shard.get_mut(&topic.stream) {
            watched.waiters -= 1;
            if watched.waiters == 0 {
                shard.remove(&topic.stream);
            }
        }
        self.waiters.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Observer for Tails {
    fn changed(&self, _group: u32, stream: &StreamName, row: Option<&StreamRow>) {
        let topic = self.shard(stream).get(stream).map(|watched| watched.topic.clone());
        if let Some(topic) = topic {
            topic.ring(Some(row.map(StreamRow::standing)));
        }
    }

    fn replaced(&self, group: u32) {
        self.each(|topic| {
            if topic.group == group {
                topic.ring(None);
            }
        });
    }
}

impl Waiter {
    /// What is known now. A change after this ends the next wait.
    pub(crate) fn news(&mut self) -> News {
        let (seen, told) = self.topic.told();
        // What was told before it listened may be older than what its reader has seen.
        let listened = self.listening || seen != self.seen;
        self.listening = listened;
        self.seen = seen;
        match told {
            _ if self.tails.over.load(Ordering::SeqCst) => News::Over,
            Some(told) if listened => told,
            _ => News::Look,
        }
    }

    /// Ready if anything happened since [`Waiter::news`].
    pub(crate) fn poll_change(&mut self, cx: &mut std::task::Context<'_>) -> std::task::Poll<()> {
        self.topic.poll_change(self.slot, self.seen, cx.waker())
    }

    /// Waits until something happens that was not there at the last [`Waiter::news`].
    pub(crate) async fn change(&mut self) {
        std::future::poll_fn(|cx| self.poll_change(cx)).await;
    }

    /// Which stream.
    pub(crate) fn stream(&self) -> &StreamName {
        &self.topic.stream
    }

    /// The event at a place, made if it is not there; kept if others wait for the same stream.
    pub(crate) fn shared(&self, place: Place, make: impl FnOnce() -> Option<Event>) -> Option<Event> {
        self.topic.shared(place, make)
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.tails.leave(&self.topic, self.slot);
    }
}

#[cfg(test)]
mod tests;
