//! How a node comes up, and how it goes down.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::future::join;
use net::{rt, serve::Shutdown};
use rand::RngExt;

use crate::{
    Core, Node, World, bucket,
    cluster::{self, IdentityError, Standing},
    cold::{self, Store},
    config::{ColdBackend, Config, ConfigProblem},
    desk::Desk,
    door::Door,
    fork,
    http::Http,
    peer::{self, PeerState, Peers},
    raft::{self, Groups},
    renew::Touches,
    restore::Refounder,
    tail::Tails,
};

/// How often one looks whether leadership is even.
const BALANCE_EVERY: Duration = Duration::from_secs(2);

/// How soon after a step towards it: an election must have had the time to pass.
const BALANCE_NEXT: Duration = Duration::from_millis(250);

/// Why a node does not start. The sentence says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration does not hold.
    #[error("the configuration does not hold: {}", list(.0))]
    Config(Vec<ConfigProblem>),
    /// The data directory is not this node's.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The data cannot be used.
    #[error(transparent)]
    Data(#[from] raft::StartError),
    /// The address cannot be had.
    #[error("cannot listen on {address}: {error}. Stop what listens there, or set another `server.listen`")]
    Listen {
        /// Where.
        address: String,
        /// What the system says.
        error: io::Error,
    },
}

fn list(problems: &[ConfigProblem]) -> String {
    problems
        .iter()
        .map(ConfigProblem::to_string)
        .collect::<Vec<_>>()
        .join("; ")
}

/// The end of a node, wherever it comes from.
#[derive(Default)]
pub(crate) struct Ending {
    /// Somebody wants it to end.
    begun: Shutdown,
    /// It has ended.
    done: Shutdown,
    /// It cannot enter its cluster, for this reason.
    cast_out: Shutdown,
    reason: Mutex<String>,
}

impl Ending {
    /// Whether the node was told to end.
    pub(crate) fn has_begun(&self) -> bool {
        self.begun.is_begun()
    }

    fn cast_out(&self, reason: String) {
        *self.reason.lock().unwrap_or_else(PoisonError::into_inner) = reason;
        self.cast_out.begin();
    }

    async fn outcast(&self) -> String {
        self.cast_out.begun().await;
        self.reason.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

pub(crate) async fn start(config: Config, world: World) -> Result<Node, StartError> {
    config.validate().map_err(StartError::Config)?;
    let standing = Standing::open(world.disk.clone(), place(&config)).await?;
    let body_max = usize::try_from(config.http.max_body).unwrap_or(usize::MAX);
    let options = peer::Options::for_bodies_up_to(body_max);
    let peers = Peers::start(Arc::new(standing.clone()), options, &world.dice);
    let settings = raft::Settings {
        node_id: config.server.node_id,
        groups: config.groups(),
        identity: standing.status().data.0.to_be_bytes(),
        raft: config.raft.clone(),
        journal: config.journal.clone(),
        index: config.index.clone(),
        cache: config.cache.clone(),
        hot_max: config.cold.hot_max,
    };
    let tails = Arc::new(Tails::new(
        usize::try_from(config.http.max_waiters).unwrap_or(usize::MAX),
    ));
    let cold = world.cold.filter(|_| config.cold.backend != ColdBackend::None);
    let cold = cold.map(|seam| {
        let store = Store::new(seam, cold_options(&config));
        Arc::new(store.caching_on(world.disk.clone(), config.cold.disk_cache))
    });
    if let (Some(cold), Some(cluster)) = (&cold, standing.status().cluster) {
        cold.of_cluster(cluster.0);
    }
    let seams = raft::Seams {
        disk: world.disk,
        index: world.index,
        cold: cold.clone(),
        clock: world.clock.clone(),
        transport: Arc::new(peers.clone()),
        observer: tails.clone(),
    };
    let groups = Groups::start(settings, seams).await?;
    let core = Arc::new(Core {
        config,
        standing,
        groups,
        peers,
        touches: Touches::default(),
        tails,
        cold,
        names: cold::Names::new(world.dice.stream("names")),
        respite: cold::Respite::default(),
        ending: Ending::default(),
    });
    let opened = Door::open(
        &core.config,
        Http::new(core.clone(), world.clock, &world.dice),
        core.peers.clone(),
        Arc::new(Desk(core.clone())),
    )
    .await;
    let door = match opened {
        Ok(door) => Arc::new(door),
        Err((address, error)) => {
            core.peers.shutdown();
            core.groups.shutdown().await;
            return Err(StartError::Listen { address, error });
        }
    };
    until_the_end(&core, "enter", enter(core.clone()));
    until_the_end(&core, "buckets", bucket::tend(core.clone()));
    until_the_end(&core, "uploads", core.clone().watch_uploads());
    until_the_end(&core, "forks", fork::tend(core.clone()));
    if let Some(store) = core.cold.clone() {
        let chance = world.dice.stream("cold");
        until_the_end(&core, "cold", cold::tend(core.clone(), store.clone(), chance));
        if core.config.cold.records() {
            let chance = world.dice.stream("records");
            until_the_end(&core, "records", cold::write_down(core.clone(), store.clone(), chance));
            until_the_end(&core, "signs", cold::say_alive(core.clone(), store.clone()));
            until_the_end(&core, "owner", watch_owner(core.clone(), store));
        }
    }
    until_the_end(&core, "balance", balance(core.clone(), world.dice.stream("balance")));
    Ok(Node { core, door })
}

pub(crate) fn cold_options(config: &Config) -> cold::Options {
    let cold = &config.cold;
    cold::Options {
        block_bytes: cold.block,
        cache_bytes: usize::try_from(cold.cache).unwrap_or(usize::MAX),
        read_ahead: cold.read_ahead,
        patience: cold.patience,
        hedge_after: cold.hedge_after,
    }
}

/// A task that ends with the node, if not before.
fn until_the_end(core: &Arc<Core>, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
    let begun = core.ending.begun.clone();
    drop(rt::spawn(name, async move {
        tokio::select! {
            biased;
            () = begun.begun() => {}
            () = task => {}
        }
    }));
}

/// What the configuration says about the node's place.
pub(crate) fn place(config: &Config) -> cluster::Settings {
    let node_id = config.server.node_id;
    match &config.cluster {
        None => cluster::Settings::alone(node_id, config.advertised(), config.groups()),
        Some(cluster) => cluster::Settings {
            node_id,
            advertise: config.advertised().to_owned(),
            groups: cluster.groups,
            cluster_name: cluster.name.clone(),
            bootstrap_node_id: cluster.bootstrap_node_id,
            routes: cluster.routes.clone(),
        },
    }
}

/// Becomes part of the cluster, whatever it takes.
async fn enter(core: Arc<Core>) {
    let founder = Refounder {
        groups: core.groups.clone(),
        standing: core.standing.clone(),
        store: core.cold.clone(),
    };
    match core.standing.enter(&core.peers, &founder).await {
        Ok(()) => {
            tracing::info!("this node belongs to its cluster");
            if let (Some(cold), Some(cluster)) = (&core.cold, core.standing.status().cluster) {
                cold.of_cluster(cluster.0);
            }
        }
        Err(error) => core.ending.cast_out(error.to_string()),
    }
}

/// Ends this node when its cluster was given up for lost, and its objects belong to another.
async fn watch_owner(core: Arc<Core>, store: Arc<Store>) {
    let every = cold::alive_every(core.config.cold.record_every);
    let standing = core.standing.clone();
    let is_ours = move |data| {
        let founding = standing.founding();
        founding.is_none_or(|founding| founding.members.values().any(|member| member.data == data))
    };
    let because = cold::lost(store, every, is_ours).await;
    tracing::error!(because, "this cluster is another's");
    core.ending.cast_out(because);
}

/// Keeps leadership spread over the members.
///
/// Nobody is given anything soon after a node has come or gone: one that has just started votes for nobody for a while,
/// and a group handed to it would stand still until that is over.
async fn balance(core: Arc<Core>, mut chance: net::dice::Stream) {
    let settled = core.config.raft.election_max + BALANCE_EVERY;
    let mut reached = core.reached();
    let mut pause = settled;
    loop {
        // Not in step with the others, or two nodes hand the same group to and fro.
        rt::sleep(pause.mul_f64(chance.random_range(1.0..1.4))).await;
        let now_reached = core.reached();
        pause = if now_reached != reached {
            reached = now_reached;
            settled
        } else if core.groups.balance().await {
            BALANCE_NEXT
        } else {
            BALANCE_EVERY
        };
    }
}

pub(crate) async fn shutdown(core: &Core, door: &Door, drain: Duration) {
    if core.ending.begun.is_begun() {
        return core.ending.done.begun().await;
    }
    core.ending.begun.begin();
    door.close();
    core.tails.end();
    let handing_over = core.groups.transfer_all(drain);
    let draining = rt::timeout(drain, door.drained());
    let (handed_over, drained) = join(handing_over, draining).await;
    if !handed_over {
        tracing::warn!("the drain deadline passed before others had taken over all groups");
    }
    if drained.is_err() {
        tracing::warn!("the drain deadline passed with requests under way");
    }
    door.cut();
    core.peers.shutdown();
    core.groups.shutdown().await;
    core.ending.done.begin();
}

impl Core {
    /// The nodes this one is connected to.
    fn reached(&self) -> Vec<u64> {
        let peers = self.peers.status().into_iter();
        peers
            .filter(|peer| peer.state == PeerState::Connected)
            .map(|peer| peer.node_id)
            .collect()
    }

    pub(crate) async fn fatal(&self) -> String {
        tokio::select! {
            biased;
            reason = self.groups.fatal() => reason,
            reason = self.ending.outcast() => reason,
        }
    }
}
