//! All groups of a node: started from one journal and one index, ended together.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::future::{BoxFuture, join_all};
use net::clock::Clock;
use net::rt::{self, Instant};
use storage::disk::Disk;
use storage::index::{Batch, Index};
use storage::journal::{self, Journal, JournalError};
use tokio::sync::Notify;

use super::EntryId;
use super::codec::{BadBytes, next_index};
use super::fate::Fate;
use super::group::Group;
use super::janitor::Janitor;
use super::log::GroupLog;
use super::machine::{Bounds, Machine};
use super::network::Transport;
use super::recovery::Recovery;
use super::tending::Tending;
use super::{GroupStatus, GroupView, Observer, ProposeError, TailCache};
use crate::cluster::Founder;
use crate::cold::Store;
use crate::config;
use crate::keys::{Key, LAYOUT_VERSION, LAYOUT_VERSION_MIN};
use crate::stream::{Command, Outcome};

/// The numbers the groups of a node are started with.
#[derive(Debug, Clone)]
pub struct Settings {
    /// This node.
    pub node_id: u64,
    /// How many groups there are.
    pub groups: u32,
    /// The number of the data directory: a journal of another is refused.
    pub identity: [u8; 16],
    /// `[raft]`.
    pub raft: config::Raft,
    /// `[journal]`.
    pub journal: config::Journal,
    /// `[index]`.
    pub index: config::Index,
    /// `[cache]`.
    pub cache: config::Cache,
    /// Bytes of a group in the journal beyond which nothing is stored, where old bytes are to move.
    pub hot_max: u64,
}

/// The things the groups of a node are handed.
#[derive(Clone)]
pub struct Seams {
    /// Where the journal lies, in the folder `journal`.
    pub disk: Arc<dyn Disk>,
    /// Where rows lie.
    pub index: Arc<dyn Index>,
    /// Where old bytes are, if they move.
    pub cold: Option<Arc<Store>>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// How other nodes are reached.
    pub transport: Arc<dyn Transport>,
    /// Who wants to know what changed.
    pub observer: Arc<dyn Observer>,
}

/// Why the groups cannot be started. The sentence says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The journal's records make no sense together.
    #[error(
        "the journal cannot be understood: {0}. Leave the node stopped and keep its data directory: its peers hold every \
         acknowledged record while a majority of them runs. Do not start it empty or from an older copy"
    )]
    Records(#[from] BadBytes),
    /// The index.
    #[error("the index cannot be used: {0}")]
    Index(#[from] io::Error),
    /// It lacks what the log no longer holds.
    #[error(
        "the index does not belong to this journal: it ends before entry {next} of group {group}, and the journal begins \
         with entry {first}, so that it cannot be rebuilt. Somebody emptied the folder `index`, or put an older copy there: \
         put back the folder `index` that was there when this journal was last written. Without it leave the node stopped \
         and keep its data directory: its peers hold every acknowledged record while a majority of them runs. Do not start \
         it empty or from an older copy"
    )]
    IndexLost {
        /// Which group.
        group: u32,
        /// The first entry that the index lacks.
        next: u64,
        /// The first entry that the journal still holds.
        first: u64,
    },
    /// It was written by another version.
    #[error("the index has layout version {found}, this program reads {LAYOUT_VERSION}: run the version that wrote it")]
    Layout {
        /// The version found.
        found: u8,
    },
    /// openraft found the state wanting.
    #[error("group {group} cannot be started: {because}")]
    Group {
        /// Which.
        group: u32,
        /// Why.
        because: String,
    },
}

/// Who leads a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lead {
    /// This node, as far as it knows.
    Here,
    /// Another node.
    At {
        /// Which.
        node: u64,
    },
    /// Nobody that this node knows.
    Nobody,
}

/// The groups of a node. Clones are the same groups.
#[derive(Clone)]
pub struct Groups {
    pub(super) shared: Arc<Shared>,
}

pub(super) struct Shared {
    pub(super) settings: Settings,
    groups: Vec<Arc<Group>>,
    clock: Arc<dyn Clock>,
    index: Arc<dyn Index>,
    journal: Journal,
    tail: Arc<TailCache>,
    fate: Arc<Fate>,
    tasks: Mutex<Vec<rt::JoinHandle<()>>>,
    commit_loop: Mutex<Option<rt::JoinHandle<()>>>,
}

impl Groups {
    /// Opens journal and index, recovers all groups, and starts them. Committed entries that the index had not kept are
    /// applied again before this returns.
    ///
    /// # Errors
    /// If the data cannot be used; see [`StartError`].
    pub async fn start(settings: Settings, seams: Seams) -> Result<Self, StartError> {
        let Seams {
            disk,
            index,
            clock,
            cold,
            transport,
            observer,
        } = seams;
        let began = Instant::now();
        let flushing = index.clone();
        // What a process that ended by itself left unflushed is as good as lost: make it durable, or it is not there.
        rt::blocking(move || flushing.flush())
            .await
            .map_err(io::Error::other)??;
        check_layout(&*index)?;

        let options = journal::Options {
            identity: settings.identity,
            segment_bytes: settings.journal.segment,
            queue_bytes: settings.journal.queue,
            ..journal::Options::default()
        };
        let opening = async move {
            let mut recovery = Recovery::default();
            let opened = Journal::open(disk, "journal", options, &mut |record| recovery.visit(&record)).await;
            opened.map(|opened| (opened, recovery))
        };
        let (opened, recovery) = rt::offload(opening).await.map_err(io::Error::other)??;
        if let Some(cut) = &opened.cut {
            let (segment, offset, bytes) = (cut.from.segment, cut.from.offset, cut.bytes);
            tracing::warn!(
                segment,
                offset,
                bytes,
                "an unfinished write at the journal's end, never acknowledged, was cut off"
            );
        }
        let entries = recovery.entries();
        let mut recovered = recovery.finish()?;

        let fate = Arc::new(Fate::default());
        let work = Arc::new(Notify::new());
        let (journal, commit_loop) = (opened.journal, opened.commit_loop);
        let failing = fate.clone();
        let commit_loop = rt::dedicated("journal", async move {
            if let Err(error) = commit_loop.run().await {
                failing.fail(error.to_string());
            }
        });

        let tail = Arc::new(TailCache::new(bytes(settings.cache.tail)));
        let count = settings.groups.max(1);
        let cache_bytes = (bytes(settings.cache.tail) / count as usize).clamp(256 << 10, 4 << 20);
        let bounds = Bounds {
            flush_entries: settings.raft.snapshot_entries,
            hold_bytes: settings.raft.hold_bytes,
            rows: (bytes(settings.cache.streams) / count as usize).max(16),
            hot_max: settings.hot_max,
        };
        let mut groups = Vec::with_capacity(count as usize);
        for number in 0..count {
            let state = recovered.remove(&number).unwrap_or_default();
            let log = GroupLog::new(number, journal.clone(), cache_bytes, state);
            let machine = Machine::open(
                log,
                index.clone(),
                tail.clone(),
                observer.clone(),
                work.clone(),
                cold.clone(),
                bounds,
            )?;
            let next = next_index(machine.flush_point().applied);
            let first = next_index(machine.log.state().purged);
            if next < first {
                return Err(StartError::IndexLost {
                    group: number,
                    next,
                    first,
                });
            }
            let started = Group::start(Arc::new(machine), &settings, transport.clone(), fate.clone()).await;
            let because = |error: openraft::errors::Fatal<_>| StartError::Group {
                group: number,
                because: error.to_string(),
            };
            groups.push(started.map_err(because)?);
        }
        tracing::info!(groups = count, entries, took = ?began.elapsed(), "the groups are recovered");

        let janitor = Janitor {
            groups: groups.clone(),
            index: index.clone(),
            journal: journal.clone(),
            every: settings.index.flush_interval,
            work,
            fate: fate.clone(),
        };
        let tending = Tending {
            groups: groups.clone(),
            clock: clock.clone(),
        };
        let tasks = vec![rt::spawn("janitor", janitor.run()), rt::spawn("tending", tending.run())];
        let shared = Shared {
            settings,
            groups,
            clock,
            index,
            journal,
            tail,
            fate,
            tasks: Mutex::new(tasks),
            commit_loop: Mutex::new(Some(commit_loop)),
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// How many groups there are.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.shared.groups.len() as u32
    }

    pub(super) fn all(&self) -> &[Arc<Group>] {
        &self.shared.groups
    }

    pub(super) fn group(&self, group: u32) -> &Arc<Group> {
        &self.shared.groups[group as usize % self.shared.groups.len()]
    }

    /// Who leads a group, as far as this node knows.
    #[must_use]
    pub fn leader(&self, group: u32) -> Lead {
        self.group(group).leader()
    }

    /// The term in which this node leads a group, if it does, as far as it knows.
    #[must_use]
    pub fn leading_term(&self, group: u32) -> Option<u64> {
        self.group(group).leading_term()
    }

    /// Puts a command into the log of a group that this node leads, stamped with its time, and waits for the outcome.
    ///
    /// # Errors
    /// When there is no outcome; see [`ProposeError`].
    pub async fn propose(&self, group: u32, command: Command, deadline: Instant) -> Result<Outcome, ProposeError> {
        self.group(group)
            .propose(command, self.shared.clock.now_ms(), deadline)
            .await
    }

    /// The time by which this node, if it leads the group, would stamp a command now, in Unix milliseconds.
    #[must_use]
    pub fn now_ms(&self, group: u32) -> u64 {
        self.group(group).now_ms(self.shared.clock.now_ms())
    }

    /// The log index that must have been applied, wherever, before a read of the group that began before this call is
    /// answered. Only the leader can say.
    ///
    /// # Errors
    /// If this node does not lead, or no majority confirmed that it does in time. The sentence says which.
    pub async fn read_index(&self, group: u32, deadline: Instant) -> Result<u64, String> {
        self.group(group).read_index(deadline).await
    }

    /// Waits until this node has applied the entry of that index.
    ///
    /// # Errors
    /// If the node cannot go on.
    pub async fn wait_applied(&self, group: u32, index: u64) -> Result<(), String> {
        self.group(group).wait_applied(index).await
    }

    /// The state of a group on this node, to be read.
    #[must_use]
    pub fn view(&self, group: u32) -> GroupView {
        GroupView {
            machine: self.group(group).machine.clone(),
        }
    }

    /// Answers a request of another node whose kind [`is_raft`](super::is_raft).
    ///
    /// # Errors
    /// If nothing was done. The sentence says why.
    pub async fn handle(&self, kind: u8, group: u32, payload: Bytes) -> Result<Vec<Bytes>, String> {
        if group >= self.count() {
            return Err(format!("there is no group {group} here"));
        }
        if let Some(reason) = self.shared.fate.reason() {
            return Err(reason);
        }
        self.group(group).handle(kind, payload).await
    }

    /// All groups, as they are now.
    #[must_use]
    pub fn status(&self) -> Vec<GroupStatus> {
        self.all().iter().map(|group| group.status()).collect()
    }

    /// The terms of the entries `from..to` that the log of a group holds.
    #[must_use]
    pub fn log_terms(&self, group: u32, from: u64, to: u64) -> Vec<EntryId> {
        self.group(group).log_terms(from, to)
    }

    /// Bytes of memory the tail cache takes.
    #[must_use]
    pub fn tail_bytes(&self) -> usize {
        self.shared.tail.bytes()
    }

    /// The journal, for metrics.
    #[must_use]
    pub fn journal(&self) -> &Journal {
        &self.shared.journal
    }

    /// Waits until the node cannot go on, and says why: an error of the disk or the index, or a bug.
    pub async fn fatal(&self) -> String {
        tokio::select! {
            biased;
            reason = self.shared.fate.failed() => reason,
            reason = self.shared.journal.fatal() => reason,
        }
    }

    /// Ends all groups, makes everything durable, and closes the journal.
    pub async fn shutdown(&self) {
        let tasks = std::mem::take(&mut *self.shared.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        for task in tasks {
            task.abort();
            // Aborted or done: either way it is over.
            let _ended = task.await;
        }
        join_all(self.all().iter().map(|group| group.raft.shutdown())).await;
        for group in self.all() {
            group.machine.log.note_committed();
        }
        self.shared.journal.close();
        let commit_loop = self
            .shared
            .commit_loop
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(commit_loop) = commit_loop {
            let _ended = commit_loop.await;
        }
        let index = self.shared.index.clone();
        match rt::offload(async move { index.flush_async().await }).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the index was not flushed at the end; the journal has it all"),
            Err(error) => tracing::warn!(%error, "the index was not flushed at the end; the journal has it all"),
        }
    }
}

impl Founder for Groups {
    fn is_initialised(&self, group: u32) -> BoxFuture<'_, Result<bool, String>> {
        Box::pin(self.group(group).is_initialized())
    }

    fn initialise(&self, group: u32, members: BTreeMap<u64, String>) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(self.group(group).initialize(members))
    }
}

fn check_layout(index: &dyn Index) -> Result<(), StartError> {
    let key = Key::Version.encode();
    match index.get(&key)?.as_deref() {
        Some([LAYOUT_VERSION]) => Ok(()),
        None | Some([LAYOUT_VERSION_MIN..LAYOUT_VERSION]) => {
            let mut batch = Batch::default();
            batch.put(key, vec![LAYOUT_VERSION]);
            Ok(index.write(batch)?)
        }
        Some(other) => Err(StartError::Layout {
            found: other.first().copied().unwrap_or_default(),
        }),
    }
}

fn bytes(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
