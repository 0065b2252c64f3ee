//! What an operator may set. Numbers and names only; things (disks, clocks) are in the world.
//!
//! Layers, each over the one before: defaults, the TOML file, `HOLDFAST_…` variables, flags. Nothing is read here: the
//! text and the variables are handed in, so that a test or a simulator can.
//!
//! `section` says what there is and why, `setting` is the one table of it, `rule` says what must hold.

mod layer;
#[cfg(test)]
mod page;
mod print;
mod problem;
mod rule;
mod section;
mod setting;
#[cfg(test)]
mod tests;
mod unit;

use layer::Draft;

pub use problem::{ConfigProblem, Place};
pub use section::{
    Cache, CacheScope, Cluster, Cold, ColdBackend, DEFAULT_GROUPS, Http, Index, Journal, Log, LogFormat, OnSnapshot,
    Raft, S3, S3Addressing, S3Encryption, Server, WriteRouting,
};

/// The version of the file's format.
pub const VERSION: u64 = 1;

/// A node's configuration. The default is one node on 127.0.0.1:4437 that stores in `./data`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The version of the file's format: 1. Must be written in a file, so that later formats can be told from this.
    pub version: u64,
    /// This node.
    pub server: Server,
    /// Its cluster; `None` for a node that stands alone.
    pub cluster: Option<Cluster>,
    /// What clients may do.
    pub http: Http,
    /// How groups elect, replicate and shorten their logs.
    pub raft: Raft,
    /// The log on disk.
    pub journal: Journal,
    /// What finds the bytes.
    pub index: Index,
    /// What is kept in memory.
    pub cache: Cache,
    /// Where old bytes go.
    pub cold: Cold,
    /// The bucket of an S3 store.
    pub s3: S3,
    /// What the node tells its operator.
    pub log: Log,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            version: VERSION,
            server: Server::default(),
            cluster: None,
            http: Http::default(),
            raft: Raft::default(),
            journal: Journal::default(),
            index: Index::default(),
            cache: Cache::default(),
            cold: Cold::default(),
            s3: S3::default(),
            log: Log::default(),
        }
    }
}

/// What flags say, as they were typed. They stand over everything else.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overrides {
    /// `--node-id`.
    pub node_id: Option<String>,
    /// `--listen`.
    pub listen: Option<String>,
    /// `--advertise`.
    pub advertise: Option<String>,
    /// `--data-dir`.
    pub data_dir: Option<String>,
}

impl Config {
    /// The configuration that a file (empty text where there is none), variables and flags make together. Variables
    /// that do not begin with `HOLDFAST_` are not looked at.
    ///
    /// # Errors
    /// Everything that is wrong, in the order of the layers; a configuration with problems is never returned.
    pub fn check(
        text: &str,
        env: impl IntoIterator<Item = (String, String)>,
        overrides: &Overrides,
    ) -> Result<Self, Vec<ConfigProblem>> {
        let mut draft = Draft::default();
        draft.file(text);
        draft.environment(env);
        draft.flags(overrides);
        let Draft {
            mut config,
            mut problems,
            origins,
        } = draft;
        if config.cluster.is_none() && !origins.contains_key("cold.backend") {
            config.cold.backend = ColdBackend::Local;
        }
        let unread = problems.len();
        for (key, message) in rule::broken(&config) {
            // A setting that could not even be read has its complaint already.
            if problems[..unread].iter().all(|problem| problem.key != key) {
                let place = origins.get(key).cloned().unwrap_or(Place::Whole);
                problems.push(ConfigProblem {
                    place,
                    key: key.to_owned(),
                    message,
                });
            }
        }
        if problems.is_empty() { Ok(config) } else { Err(problems) }
    }

    /// Whether a configuration made by hand fulfils the rules.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub fn validate(&self) -> Result<(), Vec<ConfigProblem>> {
        let broken = rule::broken(self).into_iter();
        let problems: Vec<_> = broken
            .map(|(key, message)| ConfigProblem {
                place: Place::Whole,
                key: key.to_owned(),
                message,
            })
            .collect();
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    /// The configuration in effect, every setting spelled out; [`Config::check`] reads it back.
    #[must_use]
    pub fn to_toml(&self) -> String {
        print::to_toml(self)
    }

    /// How many Raft groups the streams are spread over.
    #[must_use]
    pub fn groups(&self) -> u32 {
        self.cluster.as_ref().map_or(DEFAULT_GROUPS, |cluster| cluster.groups)
    }

    /// Where clients and peers are told to find this node: what it advertises, else where it listens.
    #[must_use]
    pub fn advertised(&self) -> &str {
        self.server.advertise.as_ref().unwrap_or(&self.server.listen)
    }

    fn cluster_mut(&mut self) -> &mut Cluster {
        self.cluster.get_or_insert_default()
    }
}
