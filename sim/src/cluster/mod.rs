//! The nodes of one simulated cluster: true nodes, started by `Node::start`, each on a machine of the false world.
//!
//! | file | question |
//! |---|---|
//! | `mod.rs` | what is there? |
//! | `machine.rs` | how does a node live, die and come back? |
//! | `strike.rs` | who is meant, and what happens to them? |
//! | `cold.rs` | how do nodes reach the cold store, and is it in order? |
//! | `watch.rs` | do the invariants hold; is the cluster whole again? |
//! | `restore.rs` | how does it come back when all of it is lost? |

mod cold;
mod forks;
mod machine;
mod restore;
mod strike;
mod watch;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use net::dice::{Dice, Stream};
use node::Node;
use node::config::{Cluster as ClusterSection, ColdBackend, Config};

use crate::cold::FalseCold;
use crate::engine::{Control, HostId};
use crate::fault::Fault;
use crate::invariant::{Broken, Invariants};
use crate::net::{Net, NetOptions};
use crate::tell::Tell;
pub use cold::ColdLevel;
use machine::Machine;

/// The port every node serves on.
const PORT: u16 = 4437;

/// How big a cluster is, and how its nodes are set.
#[derive(Clone, Debug)]
pub struct Shape {
    /// How many nodes.
    pub nodes: u32,
    /// How many Raft groups.
    pub groups: u32,
    /// How many hosts clients run on.
    pub clients: u32,
    /// What all nodes are configured with; names and addresses are filled in.
    pub config: Config,
    /// How the nodes meet the cold store, if they are configured so that they use it.
    pub cold: ColdLevel,
}

impl Shape {
    /// The same, where old bytes move to the cold store, soon and in small objects, and what is dead there is swept.
    #[must_use]
    pub fn with_cold(mut self) -> Self {
        let config = &mut self.config;
        // Small bodies, so that segments can be small, and are freed.
        config.http.max_body = 128 << 10;
        // Clients wait for a whole answer only so long, and the cold store is far away.
        config.http.max_read = 4 << 20;
        config.journal.segment = 256 << 10;
        config.journal.queue = 512 << 10;
        // Readers must go where the bytes are.
        config.cache.tail = 8 << 10;
        config.s3.bucket = Some("sim".into());
        // What hangs must not hang for longer than a cluster may take to become whole.
        config.s3.connect_timeout = Duration::from_millis(500);
        config.s3.attempt_timeout = Duration::from_secs(2);
        config.s3.operation_timeout = Duration::from_secs(6);
        let cold = &mut config.cold;
        cold.backend = ColdBackend::S3;
        cold.hot_age = Duration::from_millis(1500);
        cold.hot_stream = 64 << 10;
        cold.hot_group = 256 << 10;
        cold.hot_max = 4 << 20;
        cold.every = Duration::from_millis(300);
        cold.object = 64 << 10;
        cold.sweep_every = Duration::from_millis(700);
        cold.grace = Duration::from_secs(4);
        cold.record_every = Duration::from_millis(900);
        cold.cache = 256 << 10;
        cold.block = 32 << 10;
        cold.patience = Duration::from_secs(3);
        cold.hedge_after = Duration::from_millis(200);
        self
    }

    /// A cluster with numbers that suit a short life: small segments, frequent flushes, quick elections.
    #[must_use]
    pub fn of(nodes: u32, groups: u32) -> Self {
        let mut config = Config::default();
        config.raft.heartbeat = Duration::from_millis(250);
        config.raft.election_min = Duration::from_millis(1000);
        config.raft.election_max = Duration::from_millis(2000);
        config.raft.lease = Duration::from_millis(500);
        config.raft.rpc_deadline = Duration::from_secs(1);
        config.raft.snapshot_entries = 200;
        config.raft.keep_entries = 50;
        config.raft.snapshot_chunk = 16 << 10;
        config.http.max_body = 1 << 20;
        config.http.max_inflight = 16 << 20;
        config.http.request_deadline = Duration::from_secs(5);
        config.http.long_poll_timeout = Duration::from_millis(2500);
        config.http.sse_lifetime = Duration::from_secs(6);
        config.http.sse_heartbeat = Duration::from_millis(900);
        config.journal.segment = 2 << 20;
        config.journal.queue = 4 << 20;
        config.index.flush_interval = Duration::from_millis(700);
        config.cache.tail = 256 << 10;
        config.cache.streams = 16;
        config.server.drain = Duration::from_secs(2);
        Self {
            nodes,
            groups,
            clients: 4,
            config,
            cold: ColdLevel::default(),
        }
    }
}

/// A cluster in the false world. Clones are hands on the same one.
#[derive(Clone)]
pub struct Cluster(Arc<Inner>);

struct Inner {
    control: Control,
    net: Net,
    shape: Shape,
    machines: Vec<Machine>,
    /// The cold store of all nodes; used if they are configured so.
    cold: FalseCold,
    #[cfg(feature = "sdk")]
    s3: Option<crate::s3::FalseS3>,
    clients: Vec<HostId>,
    state: Mutex<State>,
}

struct State {
    dice: Stream,
    invariants: Invariants,
    broken: Option<Broken>,
    /// Faults as struck, with the true time in nanoseconds.
    struck: Vec<(u64, Fault)>,
    /// Who led each group when somebody last did.
    led: Vec<Option<u32>>,
    /// Looks at what the disks hold: how many entries were found durable on a majority.
    confirmed_on_disks: u64,
    /// Whether all nodes were lost and the cluster is coming back: what it knows to be committed, it knows from the cold
    /// store, and not from a majority.
    restoring: bool,
    /// Snapshots of others that each replica was seen to have put in force, by node, life of its process and group.
    snapshots: BTreeMap<(u32, u64, u32), u64>,
}

impl Cluster {
    /// Builds machines and network in a world; nothing runs yet.
    #[must_use]
    pub fn new(control: &Control, shape: Shape, net: NetOptions) -> Self {
        let dice: Dice = control.dice().fork("cluster");
        let net = Net::new(control, net);
        let machines = (1..=shape.nodes).map(|id| Machine::new(control, &dice, id)).collect();
        let clients = (1..=shape.clients).map(|id| control.host(format!("c{id}"))).collect();
        let state = State {
            dice: dice.stream("strike"),
            invariants: Invariants::default(),
            broken: None,
            struck: Vec::new(),
            led: vec![None; shape.groups as usize],
            confirmed_on_disks: 0,
            restoring: false,
            snapshots: BTreeMap::new(),
        };
        let cold = FalseCold::new(&dice, Tell::on(control, HostId::WORLD));
        #[cfg(feature = "sdk")]
        let s3 = (shape.cold == ColdLevel::Sdk).then(|| crate::s3::FalseS3::new(control, &net, &cold, &dice));
        let control = control.clone();
        Self(Arc::new(Inner {
            cold,
            #[cfg(feature = "sdk")]
            s3,
            control,
            net,
            shape,
            machines,
            clients,
            state: Mutex::new(state),
        }))
    }

    /// How big it is, and how it is set.
    #[must_use]
    pub fn shape(&self) -> &Shape {
        &self.0.shape
    }

    /// The hosts that clients run on.
    #[must_use]
    pub fn clients(&self) -> &[HostId] {
        &self.0.clients
    }

    /// `host:port` of a node, by its place from 0.
    #[must_use]
    pub fn authority(&self, at: usize) -> String {
        authority(self.0.machines[at].host)
    }

    /// The running node at a place from 0, if it runs.
    #[must_use]
    pub fn node(&self, at: usize) -> Option<Node> {
        self.0.machines[at].node()
    }

    /// Faults as they were struck, with their moments in nanoseconds of true time.
    #[must_use]
    pub fn struck(&self) -> Vec<(u64, Fault)> {
        self.state().struck.clone()
    }

    /// What the nodes said when they ended by themselves or refused to start, in order of nodes.
    #[must_use]
    pub fn last_words(&self) -> Vec<String> {
        self.0.machines.iter().flat_map(Machine::last_words).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The configuration of one node.
    fn config(&self, id: u32) -> Config {
        let Inner { shape, machines, .. } = &*self.0;
        let mut config = shape.config.clone();
        let own = authority(machines[id as usize - 1].host);
        config.server.node_id = u64::from(id);
        config.server.listen.clone_from(&own);
        config.server.advertise = Some(own);
        let others = machines
            .iter()
            .filter(|machine| machine.id != id)
            .map(|machine| authority(machine.host));
        config.cluster = Some(ClusterSection {
            name: "sim".into(),
            bootstrap_node_id: 1,
            routes: others.collect(),
            groups: shape.groups,
        });
        config
    }
}

fn authority(host: HostId) -> String {
    Net::addr(host, PORT).to_string()
}
