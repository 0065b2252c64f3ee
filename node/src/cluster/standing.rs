//! This node among the others: keeps the identity, opens the gate to peers, takes the steps of the founding.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use futures_util::future::{BoxFuture, join_all};
use net::rt;
use serde::Serialize;
use storage::disk::Disk;
use tokio::sync::Notify;

use super::{
    acquaintance::{Acquaintance, judge},
    founding::{self, Answers, State, Step},
    identity::{Identity, IdentityError},
    record::{Founding, Hello, Restored, Unique},
};
use crate::peer::{Gate, Peers};

/// The pause between two rounds of asking.
const ROUND: Duration = Duration::from_millis(250);

/// The longest pause between two questions at a route that does not answer, once the cluster serves.
const ROUTE_PAUSE_MAX: Duration = Duration::from_secs(10);

/// What the configuration says about this node's place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// This node's id.
    pub node_id: u64,
    /// Where other nodes reach it, `host:port`.
    pub advertise: String,
    /// How many groups a cluster has.
    pub groups: u32,
    /// The cluster's name; empty for a node on its own.
    pub cluster_name: String,
    /// Who may found the cluster.
    pub bootstrap_node_id: u64,
    /// The other nodes, `host:port`; this one may be among them. None: a node on its own.
    pub routes: Vec<String>,
}

impl Settings {
    /// A node without others.
    pub fn alone(node_id: u64, advertise: impl Into<String>, groups: u32) -> Settings {
        let advertise = advertise.into();
        Settings {
            node_id,
            advertise,
            groups,
            cluster_name: String::new(),
            bootstrap_node_id: node_id,
            routes: Vec::new(),
        }
    }
}

/// The Raft groups, as far as a founding is concerned.
pub trait Founder: Send + Sync {
    /// Whether a group has ever had members.
    ///
    /// # Errors
    /// A sentence; the node cannot go on.
    fn is_initialised(&self, group: u32) -> BoxFuture<'_, Result<bool, String>>;

    /// Gives a group its first members, by node id and address. Never called for one that is initialised.
    ///
    /// # Errors
    /// A sentence; the node cannot go on.
    fn initialise(&self, group: u32, members: BTreeMap<u64, String>) -> BoxFuture<'_, Result<(), String>>;
}

/// Why a node cannot enter its cluster.
#[derive(Debug, thiserror::Error)]
pub enum EnterError {
    /// The cluster exists, and this node cannot be part of it as it is. The sentence says what to do.
    #[error("{0}")]
    Outcast(String),
    /// The identity could not be written.
    #[error("the file `identity` in the data directory cannot be written: {0}")]
    Io(#[from] io::Error),
    /// A group could not be initialised.
    #[error("group {group} cannot be initialised: {reason}")]
    Group {
        /// Which.
        group: u32,
        /// What it said.
        reason: String,
    },
}

/// What an operator may see of a node's place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StandingStatus {
    /// The node's id.
    pub node_id: u64,
    /// The number of its data directory.
    pub data: Unique,
    /// The cluster's name; empty for a node on its own.
    pub cluster_name: String,
    /// The cluster's number, once there is one.
    pub cluster: Option<Unique>,
    /// The members' ids, once there are any.
    pub members: Vec<u64>,
    /// Whether the node has nothing left to do for the founding.
    pub founded: bool,
    /// What the founding waits for, in sentences.
    pub waiting_for: Vec<String>,
}

/// This node's place in its cluster. Clones share it.
#[derive(Clone)]
pub struct Standing(Arc<Inner>);

struct Inner {
    settings: Settings,
    disk: Arc<dyn Disk>,
    /// What the file says.
    identity: Mutex<Identity>,
    /// Held while the file is replaced.
    replacing: Arc<tokio::sync::Mutex<()>>,
    told: Mutex<Told>,
    /// The identity changed, or the node was cast out.
    news: Notify,
}

/// What others told that no file keeps.
#[derive(Default)]
struct Told {
    outcast: Option<String>,
    waiting_for: Vec<String>,
}

impl Standing {
    /// Reads the identity of a data directory, or gives it one.
    ///
    /// # Errors
    /// When the directory belongs to another node, cluster or version, is damaged, or the disk fails.
    pub async fn open(disk: Arc<dyn Disk>, settings: Settings) -> Result<Standing, IdentityError> {
        let Settings {
            node_id,
            cluster_name,
            groups,
            ..
        } = settings.clone();
        let place = disk.clone();
        let opening = rt::offload(async move {
            if let Some(identity) = Identity::read(&*place).await? {
                identity.check(node_id, &cluster_name, groups)?;
                return Ok(identity);
            }
            // Written before anybody is told of it: the number of this directory must never be minted twice.
            let data = Unique::mint();
            let identity = Identity {
                node_id,
                data,
                cluster_name,
                groups,
                founding: None,
                founded: false,
                restored: None,
            };
            identity.clone().write(place).await?;
            Ok::<_, IdentityError>(identity)
        });
        let identity = opening.await.map_err(io::Error::other)??;
        Ok(Standing(Arc::new(Inner {
            settings,
            disk,
            identity: Mutex::new(identity),
            replacing: Arc::default(),
            told: Mutex::default(),
            news: Notify::new(),
        })))
    }

    fn identity(&self) -> MutexGuard<'_, Identity> {
        self.0
            .identity
            .lock()
            .expect("nothing panics while it holds the identity")
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.0.told.lock().expect("nothing panics while it holds what was told")
    }

    /// Whether this data directory may be that of a node which brings back a cluster.
    ///
    /// # Errors
    /// When it belongs to a cluster already.
    pub fn may_restore(&self) -> Result<(), EnterError> {
        match self.founding() {
            None => Ok(()),
            Some(founding) => Err(EnterError::Outcast(format!(
                "this data directory belongs to cluster {}: name an empty one in `server.data_dir`, and keep this one until you \
                 know that nothing in it is missed",
                founding.cluster
            ))),
        }
    }

    /// Notes in a data directory that was not used before that its node is to bring back a cluster.
    ///
    /// # Errors
    /// When it belongs to a cluster already, or the disk fails.
    pub async fn restore(&self, restored: Restored) -> Result<(), EnterError> {
        self.may_restore()?;
        self.replace(|identity| Identity {
            restored: Some(restored),
            ..identity
        })
        .await?;
        Ok(())
    }

    /// The cluster that this node brings back, or has brought back, as the one that founds.
    pub fn restored(&self) -> Option<Restored> {
        self.identity().restored
    }

    /// The cluster this node belongs to, once it does.
    pub fn founding(&self) -> Option<Founding> {
        self.identity().founding.clone()
    }

    /// For the operator.
    pub fn status(&self) -> StandingStatus {
        let waiting_for = self.told().waiting_for.clone();
        let identity = self.identity();
        let founding = identity.founding.as_ref();
        StandingStatus {
            node_id: identity.node_id,
            data: identity.data,
            cluster_name: identity.cluster_name.clone(),
            cluster: founding.map(|founding| founding.cluster),
            members: founding
                .map(|founding| founding.members.keys().copied().collect())
                .unwrap_or_default(),
            founded: identity.founded,
            waiting_for,
        }
    }

    /// Founds the cluster or waits to become part of it, whatever it takes; returns when this node belongs to it and
    /// its peers are being dialled. The node must accept connections meanwhile.
    ///
    /// # Errors
    /// When the node can never enter as it is, or its disk or a group fails.
    pub async fn enter(&self, peers: &Peers, founder: &dyn Founder) -> Result<(), EnterError> {
        let mut answers = None;
        loop {
            if let Some(why) = &self.told().outcast {
                return Err(EnterError::Outcast(why.clone()));
            }
            match founding::next(&self.state(), answers.as_ref()) {
                Step::Enter => break,
                Step::Found(members) => {
                    let founding = Founding {
                        cluster: self.restored().map_or_else(Unique::mint, |restored| restored.cluster),
                        members,
                    };
                    tracing::info!(cluster = %founding.cluster, members = ?founding.addresses(), "founding a cluster");
                    self.replace(|identity| Identity {
                        founding: Some(founding),
                        ..identity
                    })
                    .await?;
                }
                Step::Initialise(founding) => {
                    self.dial(peers, &founding);
                    self.initialise(founder, &founding).await?;
                    self.replace(|identity| Identity {
                        founded: true,
                        ..identity
                    })
                    .await?;
                }
                Step::Join(founding) => self.join(founding).await?,
                Step::Refuse(why) => return Err(EnterError::Outcast(why)),
                Step::Wait(obstacles) => {
                    if answers.is_some() {
                        self.say(obstacles);
                        let _either = rt::timeout(ROUND, self.0.news.notified()).await;
                    }
                    answers = Some(self.ask(peers).await);
                }
            }
        }
        self.told().waiting_for.clear();
        if let Some(founding) = self.founding() {
            self.dial(peers, &founding);
        }
        drop(rt::spawn("routes", self.clone().follow_routes(peers.clone())));
        Ok(())
    }

    fn state(&self) -> State {
        let alone = self
            .0
            .settings
            .routes
            .iter()
            .all(|route| *route == self.0.settings.advertise);
        let me = self.hello();
        let identity = self.identity();
        State {
            me,
            alone,
            founded: identity.founded,
            restores: identity.restored.is_some(),
        }
    }

    /// Asks every route at once who is there.
    async fn ask(&self, peers: &Peers) -> Answers {
        let ask = |route: &String| {
            let route = route.clone();
            async move {
                let answer = peers.greet(&route).await;
                (route, answer)
            }
        };
        join_all(self.0.settings.routes.iter().map(ask))
            .await
            .into_iter()
            .collect()
    }

    /// Tells the log what is waited for, when that changes.
    fn say(&self, obstacles: Vec<String>) {
        let mut told = self.told();
        if told.waiting_for != obstacles {
            tracing::info!(waiting_for = ?obstacles, "the cluster is not founded yet");
            told.waiting_for = obstacles;
        }
    }

    fn dial(&self, peers: &Peers, founding: &Founding) {
        for (id, address) in founding.addresses() {
            // Whoever dialled us has told its address of today.
            if !peers.known().contains_key(&id) {
                peers.set_address(id, &address);
            }
        }
    }

    async fn initialise(&self, founder: &dyn Founder, founding: &Founding) -> Result<(), EnterError> {
        for group in 0..self.0.settings.groups {
            let failed = |reason| EnterError::Group { group, reason };
            if !founder.is_initialised(group).await.map_err(failed)? {
                founder.initialise(group, founding.addresses()).await.map_err(failed)?;
            }
        }
        Ok(())
    }

    async fn join(&self, founding: Founding) -> io::Result<()> {
        tracing::info!(cluster = %founding.cluster, members = ?founding.addresses(), "joining a cluster");
        self.replace(|identity| match identity.founding {
            Some(_) => identity,
            None => Identity {
                founding: Some(founding),
                founded: true,
                ..identity
            },
        })
        .await
    }

    /// Changes the identity, on disk and then in memory. Goes on to its end even if the caller is gone.
    async fn replace(&self, change: impl FnOnce(Identity) -> Identity) -> io::Result<()> {
        let turn = self.0.replacing.clone().lock_owned().await;
        let before = self.identity().clone();
        let after = change(before.clone());
        if after == before {
            return Ok(());
        }
        let this = self.clone();
        let replacing = rt::spawn("identity", async move {
            let _turn = turn;
            rt::offload(after.clone().write(this.0.disk.clone()))
                .await
                .map_err(io::Error::other)??;
            *this.identity() = after;
            this.0.news.notify_one();
            Ok(())
        });
        replacing.await.map_err(io::Error::other)?
    }

    /// Learns where peers have moved to, from routes that lead to none of the known addresses.
    async fn follow_routes(self, peers: Peers) {
        let mut pause = ROUND;
        let mut routes = self.0.settings.routes.clone();
        routes.retain(|route| *route != self.0.settings.advertise);
        while !routes.is_empty() && !peers.is_closed() {
            let mut unanswered = Vec::new();
            for route in routes {
                if peers.known().values().any(|address| *address == route) {
                    continue;
                }
                match peers.greet(&route).await {
                    Ok(them) if matches!(judge(&self.hello(), &them), Acquaintance::Friend) => {
                        peers.set_address(them.node_id, &them.advertise);
                    }
                    Ok(_) => {} // a stranger, or this node itself: the log says so when it dials, or is dialled
                    Err(_) => unanswered.push(route),
                }
            }
            routes = unanswered;
            rt::sleep(pause).await;
            pause = (pause * 2).min(ROUTE_PAUSE_MAX);
        }
    }
}

impl Gate for Standing {
    fn hello(&self) -> Hello {
        let settings = &self.0.settings;
        let identity = self.identity();
        Hello {
            node_id: identity.node_id,
            data: identity.data,
            advertise: settings.advertise.clone(),
            cluster_name: identity.cluster_name.clone(),
            groups: identity.groups,
            bootstrap_node_id: settings.bootstrap_node_id,
            founding: identity.founding.clone(),
        }
    }

    fn meet<'a>(&'a self, theirs: &'a Hello) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move {
            if let Acquaintance::Join(founding) = judge(&self.hello(), theirs) {
                self.join(founding)
                    .await
                    .map_err(|error| format!("its identity cannot be written: {error}"))?;
            }
            match judge(&self.hello(), theirs) {
                Acquaintance::Friend => Ok(()),
                Acquaintance::Join(_) | Acquaintance::Unfounded => Err("no cluster has been founded yet".into()),
                Acquaintance::Stranger(why) => Err(why),
                Acquaintance::Outcast(why) => {
                    self.told().outcast = Some(why.clone());
                    self.0.news.notify_one();
                    Err(why)
                }
            }
        })
    }
}
