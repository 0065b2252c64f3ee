//! What a stream server is.
//!
//! | module | the question |
//! |---|---|
//! | [`stream`] | the law: what may a command do, what may a reader see? Pure |
//! | [`write`](mod@write), [`read`], `fork` | the journeys |
//! | `renew` | how does a read prolong a stream's life? |
//! | `bucket`, `listing` | the journeys that concern whole buckets |
//! | `tail` | who waits for which stream? |
//! | `snapshot` | the journeys that concern snapshots |
//! | [`raft`] | how do nodes agree, and how is what they agreed on kept? |
//! | [`cluster`], [`peer`] | who are the others, and how does one talk to them? |
//! | `http`, `admin`, `door` | what do clients and operators see? |
//! | `cli` | what does a person type? |
//! | [`config`], [`world`] | what is a node told, and what is it handed? |
//! | [`keys`] | how is the index laid out? |
//! | [`cold`] | how do old bytes leave the node, and come back to readers? |
//! | [`restore`] | how does a cluster come back that lost all its nodes? |
//!
//! A node is a value: several live in one process, as in the simulator. It takes files, time and chance from its
//! [`World`], sockets and tasks from [`net::rt`], and does not know whether they are real.

mod admin;
mod bucket;
#[cfg(feature = "cli")]
pub mod cli;
pub mod cluster;
pub mod cold;
pub mod config;
mod desk;
mod door;
mod fork;
mod http;
pub mod keys;
mod listing;
pub mod peer;
pub mod raft;
pub mod read;
mod renew;
pub mod restore;
mod snapshot;
mod start;
pub mod stream;
mod tail;
pub mod world;
pub mod write;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use net::rt::Instant;

use cluster::StandingStatus;
use config::Config;
use door::Door;
use peer::{PeerStatus, Peers};
use raft::{GroupStatus, Groups};
use read::{Query, ReadError, Reading};
use renew::Touches;
use start::Ending;
use stream::{Command, Outcome, StreamName, StreamRow};
use tail::Tails;
use write::WriteError;

pub use start::StartError;
pub use world::World;

/// A running node. Clones are the same node.
#[derive(Clone)]
pub struct Node {
    core: Arc<Core>,
    door: Arc<Door>,
}

/// What the journeys need of a node.
pub(crate) struct Core {
    config: Config,
    standing: cluster::Standing,
    groups: Groups,
    peers: Peers,
    touches: Touches,
    tails: Arc<Tails>,
    /// Where old bytes are, if they move.
    cold: Option<Arc<cold::Store>>,
    /// What its objects are called.
    names: cold::Names,
    /// Whether it is left alone, for it did not take a body.
    respite: cold::Respite,
    ending: Ending,
}

/// A node as an operator sees it.
#[derive(Debug, Clone, serde::Serialize)]
pub struct NodeStatus {
    /// Its place in its cluster.
    #[serde(flatten)]
    pub standing: StandingStatus,
    /// The other nodes.
    pub peers: Vec<PeerStatus>,
    /// Its groups.
    pub groups: Vec<GroupStatus>,
}

impl Node {
    /// Starts a node: the one way to do it. When this returns, it listens; it may still have to find its cluster.
    ///
    /// # Errors
    /// When it cannot start as things are. The sentence says what to do.
    pub async fn start(config: Config, world: World) -> Result<Self, StartError> {
        start::start(config, world).await
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.door.address()
    }

    /// Changes a stream, and waits until that is durable on a majority.
    ///
    /// # Errors
    /// When there is no outcome; see [`WriteError`].
    pub async fn write(&self, command: Command, deadline: Instant) -> Result<Outcome, WriteError> {
        self.core.write(command, deadline).await
    }

    /// Begins to read a stream.
    ///
    /// # Errors
    /// When there is nothing to read; see [`ReadError`].
    pub async fn read(&self, query: Query) -> Result<Reading, ReadError> {
        self.core.read(query).await
    }

    /// Looks at a stream without reading it.
    ///
    /// # Errors
    /// When it is not there, or nobody can tell; see [`ReadError`].
    pub async fn look(&self, stream: &StreamName, local: bool, deadline: Instant) -> Result<Arc<StreamRow>, ReadError> {
        self.core.look(stream, local, deadline).await
    }

    /// The node as it is now.
    #[must_use]
    pub fn status(&self) -> NodeStatus {
        self.core.status()
    }

    /// The groups of this node: for the simulator's invariants.
    #[must_use]
    pub fn groups(&self) -> &Groups {
        &self.core.groups
    }

    /// Ends the node in order: lets nobody in, hands its leadership over, finishes the requests under way, both for at
    /// most `drain`; then makes everything durable.
    pub async fn shutdown(&self, drain: Duration) {
        start::shutdown(&self.core, &self.door, drain).await;
    }

    /// Waits until the node cannot go on, and says why: its disk failed, or its cluster does not know it. What remains
    /// is to end the process.
    pub async fn fatal(&self) -> String {
        self.core.fatal().await
    }
}

impl Core {
    fn status(&self) -> NodeStatus {
        NodeStatus {
            standing: self.standing.status(),
            peers: self.peers.status(),
            groups: self.groups.status(),
        }
    }
}
