//! The founding of a cluster in a world that kills its nodes, takes their power and cuts their cables all the while.
//!
//! The nodes have an identity and peers, but no streams. However bad the beginning was, once the world is kind all three
//! belong to one cluster; and no member ever knew another.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{FutureExt, future::BoxFuture};
use net::{
    dice::Dice,
    rt::{self, TcpListener},
    serve::{Sniffed, sniff},
};
use node::{
    cluster::{EnterError, Founder, Settings, Standing, Unique},
    peer::{Handler, NotDone, Options as PeerOptions, PeerState, Peers, Reply},
};
use rand::RngExt;
use sim::{
    disk::{FalseDisk, PowerLoss},
    engine::{Control, Down, Engine, HostId, Options},
    net::{Net, NetOptions},
    tell::Tell,
};

const GROUPS: u32 = 3;

/// What outlives a node, and what its lives have seen.
#[derive(Clone)]
struct Place {
    control: Control,
    host: HostId,
    settings: Settings,
    disk: FalseDisk,
    groups: Groups,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    /// Every cluster that a life of this node belonged to.
    clusters: BTreeSet<Unique>,
    /// Whether the present life has entered, and to how many peers it is connected.
    entered: bool,
    connected: usize,
    refused: Option<String>,
}

/// Groups that know their first members. They are as durable as an append of theirs would be: at once, and for good.
#[derive(Clone, Default)]
struct Groups(Arc<Mutex<BTreeMap<u32, BTreeMap<u64, String>>>>);

impl Founder for Groups {
    fn is_initialised(&self, group: u32) -> BoxFuture<'_, Result<bool, String>> {
        async move { Ok(self.0.lock().unwrap().contains_key(&group)) }.boxed()
    }

    fn initialise(&self, group: u32, members: BTreeMap<u64, String>) -> BoxFuture<'_, Result<(), String>> {
        async move {
            rt::sleep(Duration::from_millis(3)).await;
            assert_eq!(
                self.0.lock().unwrap().insert(group, members),
                None,
                "group {group} is initialised twice"
            );
            Ok(())
        }
        .boxed()
    }
}

struct Mute;

impl Handler for Mute {
    fn handle(&self, _: u64, _: u8, _: u32, _: Bytes) -> Reply {
        async { Err(NotDone("nothing is served here".into())) }.boxed()
    }
}

impl Place {
    fn start(&self) {
        {
            let mut seen = self.seen.lock().unwrap();
            let clusters = std::mem::take(&mut seen.clusters);
            *seen = Seen {
                clusters,
                ..Seen::default()
            };
        }
        drop(self.control.spawn_on(self.host, "node", self.clone().live()));
    }

    async fn live(self) {
        // A life that fails to begin is followed by another.
        let Ok(standing) = Standing::open(self.disk.mount(), self.settings.clone()).await else {
            return;
        };
        let dice = Dice::from_seed(self.settings.node_id);
        let peers = Peers::start(Arc::new(standing.clone()), PeerOptions::default(), &dice);
        let listener = TcpListener::bind("0.0.0.0:4437").await.expect("the port is free");
        let accepting = peers.clone();
        drop(rt::spawn("door", async move {
            while let Ok((io, _)) = listener.accept().await {
                let peers = accepting.clone();
                drop(rt::spawn("connection", async move {
                    if let Ok(Sniffed::Peer(io)) = sniff(io, Duration::from_secs(5)).await {
                        peers.serve(io, Arc::new(Mute)).await;
                    }
                }));
            }
        }));
        let watched = (standing.clone(), peers.clone(), self.seen.clone());
        drop(rt::spawn("watch", async move {
            let (standing, peers, seen) = watched;
            loop {
                {
                    let mut seen = seen.lock().unwrap();
                    seen.clusters
                        .extend(standing.founding().map(|founding| founding.cluster));
                    let connected = peers
                        .status()
                        .into_iter()
                        .filter(|peer| peer.state == PeerState::Connected);
                    seen.connected = connected.count();
                }
                rt::sleep(Duration::from_millis(5)).await;
            }
        }));
        match standing.enter(&peers, &self.groups).await {
            Ok(()) => self.seen.lock().unwrap().entered = true,
            Err(EnterError::Outcast(why)) => self.seen.lock().unwrap().refused = Some(why),
            // The disk failed, because the power did.
            Err(_) => {}
        }
    }

    fn kill(&self, how: Down) {
        self.control.kill(self.host, how);
        match how {
            Down::Crash => self.disk.process_crash(),
            Down::PowerLoss => drop(self.disk.power_loss(PowerLoss::Any)),
        }
    }
}

struct World {
    engine: Engine,
    net: Net,
    places: Vec<Place>,
}

fn world(seed: u64) -> World {
    let engine = Engine::new(seed, Options::default());
    let net = Net::new(&engine, NetOptions::default());
    let hosts: Vec<HostId> = (1..=3).map(|id| engine.host(format!("n{id}"))).collect();
    let addresses: Vec<String> = hosts.iter().map(|host| Net::addr(*host, 4437).to_string()).collect();
    let place = |(at, host): (usize, &HostId)| Place {
        control: engine.control(),
        host: *host,
        settings: Settings {
            node_id: at as u64 + 1,
            advertise: addresses[at].clone(),
            groups: GROUPS,
            cluster_name: "prod".into(),
            bootstrap_node_id: 1,
            routes: addresses.clone(),
        },
        disk: FalseDisk::new(
            &engine.dice().fork(&format!("n{at}")),
            Tell::on(&engine.control(), *host),
        ),
        groups: Groups::default(),
        seen: Arc::default(),
    };
    let places = hosts.iter().enumerate().map(place).collect();
    World { engine, net, places }
}

/// Storm, calm, judgement. The hash of everything that happened.
fn tell(seed: u64) -> u64 {
    let World {
        mut engine,
        net,
        places,
    } = world(seed);
    let mut dice = engine.dice().stream("founding");
    places.iter().for_each(Place::start);
    for _ in 0..dice.random_range(0..25) {
        let it = &places[dice.random_range(0..3)];
        let other = &places[dice.random_range(0..3)];
        match dice.random_range(0..6) {
            0 if it.host != other.host => net.cut(it.host, other.host),
            1 if it.host != other.host => net.cut_one_way(it.host, other.host),
            2 => net.heal_all(),
            3 => engine.freeze(it.host),
            4 => engine.thaw(it.host),
            _ => {
                it.kill(if dice.random() { Down::Crash } else { Down::PowerLoss });
                // At any moment between two steps of the founding, and also much later.
                let pause = if dice.random() { 30_000 } else { 1_000_000 };
                engine
                    .run_for(Duration::from_micros(dice.random_range(0..pause)))
                    .unwrap();
                engine.boot(it.host);
                it.start();
            }
        }
        let pause = if dice.random() { 20_000 } else { 2_000_000 };
        engine
            .run_for(Duration::from_micros(dice.random_range(0..pause)))
            .unwrap();
    }

    net.heal_all();
    places.iter().for_each(|place| engine.thaw(place.host));
    for _ in 0..60 {
        engine.run_for(Duration::from_millis(500)).unwrap();
        let well = |place: &Place| {
            let seen = place.seen.lock().unwrap();
            assert_eq!(seen.refused, None, "seed {seed}: node {}", place.settings.node_id);
            seen.entered && seen.connected == 2
        };
        if places.iter().all(well) {
            break;
        }
    }
    for place in &places {
        let seen = place.seen.lock().unwrap();
        let (id, entered, connected) = (place.settings.node_id, seen.entered, seen.connected);
        assert!(
            entered && connected == 2,
            "seed {seed}: after 30 s of calm node {id}: {entered}, {connected} peers"
        );
    }
    let clusters: BTreeSet<Unique> = places
        .iter()
        .flat_map(|place| place.seen.lock().unwrap().clusters.clone())
        .collect();
    assert_eq!(clusters.len(), 1, "seed {seed}: {clusters:?}");
    let members: BTreeMap<u64, String> = places
        .iter()
        .map(|place| (place.settings.node_id, place.settings.advertise.clone()))
        .collect();
    let expected: BTreeMap<u32, _> = (0..GROUPS).map(|group| (group, members.clone())).collect();
    assert_eq!(*places[0].groups.0.lock().unwrap(), expected, "seed {seed}");
    engine.hash()
}

#[test]
fn whatever_befalls_a_founding_one_cluster_comes_of_it() {
    for seed in 0..1000 {
        tell(seed);
    }
}

#[test]
fn the_same_seed_is_the_same_founding() {
    for seed in 0..10 {
        assert_eq!(tell(seed), tell(seed), "seed {seed}");
    }
}
