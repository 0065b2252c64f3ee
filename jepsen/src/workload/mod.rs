//! What clients do, as data: how many of which kind, how fast, how much; the dice are handed in.
//!
//! One async function per client and kind. Streams are named by family: `log-…` live for the whole run, `closing-…` are
//! closed one after the other, `ephemeral-…` are deleted and created again, `mortal-…` end when nobody uses them,
//! `snapped-…` and `reborn-…` are read through snapshots, the latter deleted and created again, `tree-…` are forked,
//! `fleeting-…` end at a moment, `kept-…` and those of the bucket `keeping` forget. Of each family some are bytes, some text and some JSON, by the number in their names ([`Format`]). A client ends when the
//! stage says that it is over, at the latest one deadline later.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

use crate::client::Client;
use crate::format::Format;
use crate::history::{Append, Create};
use crate::record::LEN_MIN;

mod appenders;
mod bucketeers;
mod closers;
mod conditional;
mod forkers;
mod frame;
mod keepers;
mod mortals;
mod producers;
mod readers;
mod recreators;
mod sequenced;
mod snapshotters;
mod tailers;

pub use frame::{last_look, opening};

/// What a client does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Append to logs; never the same record twice.
    Appenders,
    /// Idempotent producers: what ended Unknown is sent again, and sometimes what ended well.
    Producers,
    /// Producers that share one id and fence one another.
    Zombies,
    /// Catch up with logs, from the beginning or on from where they were, on any node.
    Readers,
    /// The same with `consistency=local`.
    LocalReaders,
    /// Ask for the tail.
    Heads,
    /// Append to a stream and close it, against one another; then the next stream.
    Closers,
    /// Append on condition that the log has not moved.
    Conditional,
    /// Append with `Stream-Seq`.
    Sequenced,
    /// Create, append to, read and delete the same few streams.
    Recreators,
    /// Wait at the tail, by long-poll or events, on any node.
    Tailers,
    /// Use streams that live only while they are used, and leave them alone.
    Mortals,
    /// Make and delete buckets, and create, delete and list streams in them.
    Bucketeers,
    /// Append to, bootstrap, snapshot and read the same few streams.
    Snapshotters,
    /// The same with streams that are deleted now and then.
    MortalSnapshotters,
    /// Append to, read and follow streams that forget.
    Keepers,
    /// Fork streams of their own and of each other, and forks; append to all, read all, delete some, begin anew.
    Forkers,
}

/// So many clients of one kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Workload {
    /// What they do.
    pub kind: Kind,
    /// How many.
    pub clients: u32,
    /// How long each waits between two calls.
    pub think: Range<Duration>,
    /// Bytes of a record.
    pub len: Range<u32>,
    /// One record in so many is of [`LONG`] bytes; 0: none.
    pub long_one_in: u32,
}

/// Bytes of a long record.
pub const LONG: u32 = 64 * 1024;

impl Workload {
    /// So many clients, at the usual pace.
    #[must_use]
    pub fn new(kind: Kind, clients: u32) -> Self {
        let think = Duration::from_millis(20)..Duration::from_millis(400);
        Self {
            kind,
            clients,
            think,
            len: LEN_MIN..400,
            long_one_in: 40,
        }
    }

    /// Another pace.
    #[must_use]
    pub fn thinking(self, think: Range<Duration>) -> Self {
        Self { think, ..self }
    }

    /// What one of them does, until it is over.
    pub async fn run(&self, client: Client, stage: Stage, dice: Box<dyn Rng + Send>) {
        let mut actor = Actor {
            client,
            stage,
            dice,
            workload: self.clone(),
            node: 0,
        };
        actor.node = actor.any_node();
        match self.kind {
            Kind::Appenders => appenders::run(actor).await,
            Kind::Producers => producers::run(actor, false).await,
            Kind::Zombies => producers::run(actor, true).await,
            Kind::Readers => readers::run(actor, false).await,
            Kind::LocalReaders => readers::run(actor, true).await,
            Kind::Heads => readers::heads(actor).await,
            Kind::Closers => closers::run(actor).await,
            Kind::Conditional => conditional::run(actor).await,
            Kind::Sequenced => sequenced::run(actor).await,
            Kind::Recreators => recreators::run(actor).await,
            Kind::Tailers => tailers::run(actor).await,
            Kind::Mortals => mortals::run(actor).await,
            Kind::Bucketeers => bucketeers::run(actor).await,
            Kind::Snapshotters => snapshotters::run(actor, false).await,
            Kind::MortalSnapshotters => snapshotters::run(actor, true).await,
            Kind::Forkers => forkers::run(actor).await,
            Kind::Keepers => keepers::run(actor).await,
        }
    }
}

/// Appenders, this many.
#[must_use]
pub fn appenders(clients: u32) -> Workload {
    Workload::new(Kind::Appenders, clients)
}

/// Idempotent producers, this many.
#[must_use]
pub fn producers(clients: u32) -> Workload {
    Workload::new(Kind::Producers, clients)
}

/// Producers that fence one another, this many.
#[must_use]
pub fn zombies(clients: u32) -> Workload {
    Workload::new(Kind::Zombies, clients)
}

/// Catch-up readers, this many.
#[must_use]
pub fn readers(clients: u32) -> Workload {
    Workload::new(Kind::Readers, clients)
}

/// Readers with `consistency=local`, this many.
#[must_use]
pub fn local_readers(clients: u32) -> Workload {
    Workload::new(Kind::LocalReaders, clients)
}

/// Clients that ask for the tail, this many.
#[must_use]
pub fn heads(clients: u32) -> Workload {
    Workload::new(Kind::Heads, clients)
}

/// Closers racing appends, this many.
#[must_use]
pub fn closers(clients: u32) -> Workload {
    Workload::new(Kind::Closers, clients)
}

/// Conditional appenders, this many.
#[must_use]
pub fn conditional(clients: u32) -> Workload {
    Workload::new(Kind::Conditional, clients)
}

/// Writers with `Stream-Seq`, this many.
#[must_use]
pub fn sequenced(clients: u32) -> Workload {
    Workload::new(Kind::Sequenced, clients)
}

/// Readers that wait at the tail, this many.
#[must_use]
pub fn tailers(clients: u32) -> Workload {
    Workload::new(Kind::Tailers, clients)
}

/// Clients that delete and re-create, this many.
#[must_use]
pub fn recreators(clients: u32) -> Workload {
    Workload::new(Kind::Recreators, clients)
}

/// Users of streams that end when they are left alone, this many.
#[must_use]
pub fn mortals(clients: u32) -> Workload {
    Workload::new(Kind::Mortals, clients)
}

/// Clients that make and delete buckets under one another, this many.
#[must_use]
pub fn bucketeers(clients: u32) -> Workload {
    Workload::new(Kind::Bucketeers, clients)
}

/// Clients that publish snapshots and begin with them, this many.
#[must_use]
pub fn snapshotters(clients: u32) -> Workload {
    Workload::new(Kind::Snapshotters, clients)
}

/// The same with streams that are deleted and created again, this many.
#[must_use]
pub fn mortal_snapshotters(clients: u32) -> Workload {
    Workload::new(Kind::MortalSnapshotters, clients)
}

/// Clients that fork streams, this many.
#[must_use]
pub fn forkers(clients: u32) -> Workload {
    Workload::new(Kind::Forkers, clients)
}

/// Users of streams that forget, this many.
#[must_use]
pub fn keepers(clients: u32) -> Workload {
    Workload {
        // Short ones only: one long record would be all that a stream keeps.
        long_one_in: 0,
        ..Workload::new(Kind::Keepers, clients)
    }
}

/// What all clients of a run share. Cheap to clone; all clones are one.
#[derive(Clone, Debug)]
pub struct Stage {
    /// How many nodes there are to ask.
    pub nodes: usize,
    /// How many `log-…` streams (and as many `ephemeral-…`).
    pub streams: u32,
    over: Arc<AtomicBool>,
}

impl Stage {
    /// Nodes are 0 to `nodes - 1`.
    #[must_use]
    pub fn new(nodes: usize, streams: u32) -> Self {
        Self {
            nodes,
            streams,
            over: Arc::default(),
        }
    }

    /// Every client shall end.
    pub fn curtain(&self) {
        self.over.store(true, Ordering::SeqCst);
    }

    /// Whether every client shall end.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    /// The names of the logs.
    pub fn logs(&self) -> impl Iterator<Item = Arc<str>> {
        (0..self.streams).map(log)
    }
}

fn log(number: u32) -> Arc<str> {
    format!("log-{number}").into()
}

/// A stream that is read through its snapshots.
fn snapped(number: u32) -> Arc<str> {
    format!("{SNAPPED}{number}").into()
}

/// The same, deleted now and then.
fn reborn(number: u32) -> Arc<str> {
    format!("{REBORN}{number}").into()
}

/// What the names of these streams begin with. A plain read from the beginning may find that it is gone.
const SNAPPED: &str = "snapped-";
const REBORN: &str = "reborn-";

/// A client at work.
struct Actor {
    client: Client,
    stage: Stage,
    dice: Box<dyn Rng + Send>,
    workload: Workload,
    node: usize,
}

impl Actor {
    /// Waits a moment; whether to go on.
    async fn goes_on(&mut self) -> bool {
        let Range { start, end } = self.workload.think;
        let ns = if start < end {
            self.dice.random_range(start.as_nanos() as u64..end.as_nanos() as u64)
        } else {
            0
        };
        self.client.transport.sleep(Duration::from_nanos(ns)).await;
        // Clients have a node they like, and leave it now and then.
        if self.one_in(4) {
            self.node = self.any_node();
        }
        !self.stage.is_over()
    }

    fn any_node(&mut self) -> usize {
        self.dice.random_range(0..self.stage.nodes)
    }

    fn one_in(&mut self, count: u32) -> bool {
        count > 0 && self.dice.random_range(0..count) == 0
    }

    fn any_log(&mut self) -> Arc<str> {
        log(self.dice.random_range(0..self.stage.streams.max(1)))
    }

    fn len(&mut self) -> u32 {
        if self.one_in(self.workload.long_one_in) {
            LONG
        } else {
            self.dice.random_range(self.workload.len.clone())
        }
    }

    /// A record nobody has written yet, to be appended.
    fn fresh(&mut self, stream: &str) -> Append {
        let tag = Some(self.client.tag());
        Append {
            tag,
            len: self.len(),
            content_type: Format::of(stream).content_type().into(),
            ..Append::default()
        }
    }

    /// A stream to be created, that begins with a record nobody has written yet: so every life of it can be told.
    fn birth(&mut self, stream: &str) -> Create {
        let tag = Some(self.client.tag());
        Create {
            content_type: Format::of(stream).content_type().into(),
            closed: false,
            tag,
            len: self.len(),
            ..Create::default()
        }
    }
}
