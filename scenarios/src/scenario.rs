//! A scenario is data: a cluster, clients, nemeses, laws, and how long it storms.

use std::time::Duration;

use jepsen::checker::LAWS;
use jepsen::verdict::Law;
use jepsen::workload::Workload;
use sim::cluster::Shape;
use sim::engine;
use sim::net::NetOptions;

use crate::nemesis::Nemesis;

/// One tale, before it is told.
pub struct Scenario {
    /// As on the command line and in the corpus.
    pub name: &'static str,
    /// How many nodes and groups, and how they are set.
    pub shape: Shape,
    /// How many logs.
    pub streams: u32,
    /// Who asks for what.
    pub clients: Vec<Workload>,
    /// Who strikes.
    pub nemeses: Vec<Box<dyn Nemesis>>,
    /// What must hold of what the clients saw.
    pub laws: Vec<Law>,
    /// By how much the nodes' clocks are off at most, whoever strikes; `None`: by anything.
    pub clock_error: Option<Duration>,
    /// How long it storms.
    pub storm: Duration,
    /// How long clients go on after the cluster is whole: longer than the grace that the law of answers gives.
    pub calm: Duration,
    /// When all nodes are lost, if they are, so that the cluster must come back from the cold store.
    pub lost: Option<Lost>,
    /// The habits of the network.
    pub net: NetOptions,
    /// The habits of the executor.
    pub engine: engine::Options,
}

impl Scenario {
    /// Three nodes, two groups, two logs, every law, nobody who asks and nobody who strikes.
    #[must_use]
    pub fn new(name: &'static str) -> Self {
        Self {
            name,
            shape: Shape::of(3, 2),
            streams: 2,
            clients: Vec::new(),
            nemeses: Vec::new(),
            laws: LAWS.to_vec(),
            clock_error: None,
            storm: Duration::from_secs(20),
            calm: Duration::from_secs(5),
            lost: None,
            net: NetOptions::default(),
            engine: engine::Options::default(),
        }
    }
}

/// When all nodes are lost with their disks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// When all is over, whole and written down: everything must come back.
    AtTheEnd,
    /// At the height of the storm, with clients at work: what comes back must be what was, up to a moment.
    InTheStorm,
}
