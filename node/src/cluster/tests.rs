//! Clusters of nodes that have an identity and peers, but no streams: any order, any crash, any lost disk.

use std::{
    collections::BTreeMap,
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::{FutureExt, future::BoxFuture};
use net::{
    dice::Dice,
    rt::{self, TcpListener},
};
use storage::{
    disk::{Disk, File, Fut},
    memory::MemoryDisk,
};
use tokio::io::AsyncReadExt;

use super::{EnterError, Founder, IdentityError, Settings, Standing, Unique};
use crate::peer::{Handler, NotDone, Options, PeerState, Peers, Reply};

const GROUPS: u32 = 3;

/// Groups that only know their first members. They outlive the node, as a disk does.
#[derive(Clone, Default)]
struct Groups(Arc<Mutex<BTreeMap<u32, BTreeMap<u64, String>>>>);

impl Founder for Groups {
    fn is_initialised(&self, group: u32) -> BoxFuture<'_, Result<bool, String>> {
        async move { Ok(self.0.lock().unwrap().contains_key(&group)) }.boxed()
    }

    fn initialise(&self, group: u32, members: BTreeMap<u64, String>) -> BoxFuture<'_, Result<(), String>> {
        async move {
            let before = self.0.lock().unwrap().insert(group, members);
            assert_eq!(before, None, "group {group} is initialised twice");
            Ok(())
        }
        .boxed()
    }
}

/// A disk that fails for good after so many operations.
struct Mortal {
    disk: MemoryDisk,
    left: Arc<AtomicUsize>,
}

struct MortalFile {
    file: Arc<dyn File>,
    left: Arc<AtomicUsize>,
}

fn spend(left: &AtomicUsize) -> io::Result<()> {
    match left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)) {
        Ok(_) => Ok(()),
        Err(_) => Err(io::Error::other("the disk is dead")),
    }
}

impl Disk for Mortal {
    fn create(&self, path: &str) -> Fut<'_, io::Result<Arc<dyn File>>> {
        let path = path.to_owned();
        Box::pin(async move {
            spend(&self.left)?;
            let file = self.disk.create(&path).await?;
            Ok(Arc::new(MortalFile {
                file,
                left: self.left.clone(),
            }) as Arc<dyn File>)
        })
    }

    fn open(&self, path: &str) -> Fut<'_, io::Result<Arc<dyn File>>> {
        self.disk.open(path)
    }

    fn list(&self, folder: &str) -> Fut<'_, io::Result<Vec<String>>> {
        self.disk.list(folder)
    }

    fn rename(&self, from: &str, to: &str) -> Fut<'_, io::Result<()>> {
        let (from, to) = (from.to_owned(), to.to_owned());
        Box::pin(async move {
            spend(&self.left)?;
            self.disk.rename(&from, &to).await
        })
    }

    fn remove(&self, path: &str) -> Fut<'_, io::Result<()>> {
        let path = path.to_owned();
        Box::pin(async move {
            spend(&self.left)?;
            self.disk.remove(&path).await
        })
    }

    fn sync_dir(&self, folder: &str) -> Fut<'_, io::Result<()>> {
        let folder = folder.to_owned();
        Box::pin(async move {
            spend(&self.left)?;
            self.disk.sync_dir(&folder).await
        })
    }
}

impl File for MortalFile {
    fn write_at(&self, offset: u64, pieces: Vec<Bytes>) -> Fut<'_, io::Result<()>> {
        Box::pin(async move {
            spend(&self.left)?;
            self.file.write_at(offset, pieces).await
        })
    }

    fn read_at(&self, offset: u64, len: usize) -> Fut<'_, io::Result<Bytes>> {
        self.file.read_at(offset, len)
    }

    fn sync(&self) -> Fut<'_, io::Result<()>> {
        Box::pin(async move {
            spend(&self.left)?;
            self.file.sync().await
        })
    }

    fn len(&self) -> Fut<'_, io::Result<u64>> {
        self.file.len()
    }

    fn set_len(&self, len: u64) -> Fut<'_, io::Result<()>> {
        self.file.set_len(len)
    }
}

struct Mute;

impl Handler for Mute {
    fn handle(&self, _: u64, _: u8, _: u32, _: Bytes) -> Reply {
        async { Err(NotDone("nothing is served here".into())) }.boxed()
    }
}

/// What outlives a node: its place in the configuration, its disk, its groups.
#[derive(Clone)]
struct Place {
    settings: Settings,
    disk: MemoryDisk,
    groups: Groups,
}

/// A node that is up.
struct Up {
    standing: Standing,
    peers: Peers,
    accepting: rt::JoinHandle<()>,
    entering: Option<rt::JoinHandle<Result<(), EnterError>>>,
}

impl Up {
    /// Waits until it has entered, if it had not before.
    async fn entered(&mut self) -> Result<(), EnterError> {
        match self.entering.take() {
            Some(entering) => entering.await.unwrap(),
            None => Ok(()),
        }
    }

    fn cluster(&self) -> Option<Unique> {
        self.standing.status().cluster
    }

    fn connected(&self) -> usize {
        self.peers
            .status()
            .iter()
            .filter(|peer| peer.state == PeerState::Connected)
            .count()
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        self.accepting.abort();
        if let Some(entering) = &self.entering {
            entering.abort();
        }
        self.peers.shutdown();
    }
}

impl Place {
    /// Starts the node; its disk dies after so many operations.
    async fn start_mortal(&self, operations: usize) -> Result<Up, IdentityError> {
        let disk = Mortal {
            disk: self.disk.clone(),
            left: Arc::new(AtomicUsize::new(operations)),
        };
        let standing = Standing::open(Arc::new(disk), self.settings.clone()).await?;
        let ms = Duration::from_millis;
        let options = Options {
            handshake: ms(1000),
            ping_every: ms(100),
            backoff_min: ms(5),
            backoff_max: ms(50),
            ..Options::default()
        };
        let peers = Peers::start(
            Arc::new(standing.clone()),
            options,
            &Dice::from_seed(self.settings.node_id),
        );
        let listener = bind(&self.settings.advertise).await;
        let serving = peers.clone();
        let accepting = rt::spawn("accept", async move {
            loop {
                let (mut io, _) = listener.accept().await.unwrap();
                let serving = serving.clone();
                drop(rt::spawn("serve", async move {
                    if io.read_exact(&mut [0; 16]).await.is_ok() {
                        serving.serve(io, Arc::new(Mute)).await;
                    }
                }));
            }
        });
        let (enters, among, groups) = (standing.clone(), peers.clone(), self.groups.clone());
        let entering = Some(rt::spawn("enter", async move { enters.enter(&among, &groups).await }));
        Ok(Up {
            standing,
            peers,
            accepting,
            entering,
        })
    }

    async fn start(&self) -> Up {
        self.start_mortal(usize::MAX).await.unwrap()
    }

    /// The same node with an empty disk.
    fn wiped(&self) -> Place {
        Place {
            settings: self.settings.clone(),
            disk: MemoryDisk::new(),
            groups: Groups::default(),
        }
    }
}

/// A port that a node had a moment ago may take a moment to be free.
async fn bind(address: &str) -> TcpListener {
    for _ in 0..200 {
        if let Ok(listener) = TcpListener::bind(address).await {
            return listener;
        }
        rt::sleep(Duration::from_millis(5)).await;
    }
    panic!("{address} is never free");
}

/// Three places whose nodes name each other; node 1 founds.
async fn places() -> [Place; 3] {
    let mut addresses = Vec::new();
    let mut held = Vec::new();
    for _ in 0..3 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        addresses.push(listener.local_addr().unwrap().to_string());
        held.push(listener);
    }
    drop(held);
    [1, 2, 3].map(|node_id: u64| Place {
        settings: Settings {
            node_id,
            advertise: addresses[node_id as usize - 1].clone(),
            groups: GROUPS,
            cluster_name: "prod".into(),
            bootstrap_node_id: 1,
            // Some name themselves too, some do not.
            routes: addresses.iter().skip(usize::from(node_id == 1)).cloned().collect(),
        },
        disk: MemoryDisk::new(),
        groups: Groups::default(),
    })
}

fn run(test: impl Future<Output = ()>) {
    rt::block_on(async {
        rt::timeout(Duration::from_secs(60), test)
            .await
            .expect("a test in time")
    })
    .unwrap();
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    for _ in 0..2000 {
        if condition() {
            return;
        }
        rt::sleep(Duration::from_millis(5)).await;
    }
    panic!("never: {what}");
}

/// All have entered the same cluster of three, its groups are initialised, and everybody is connected with everybody.
async fn founded(places: &[Place; 3], ups: &mut [Up]) {
    for up in ups.iter_mut() {
        up.entered().await.unwrap();
    }
    let cluster = ups[0].cluster();
    assert!(cluster.is_some());
    for up in &*ups {
        let status = up.standing.status();
        assert_eq!(
            (status.cluster, status.members, status.founded),
            (cluster, vec![1, 2, 3], true)
        );
    }
    let groups = places[0].groups.0.lock().unwrap().clone();
    let members: BTreeMap<u64, String> = places
        .iter()
        .map(|place| (place.settings.node_id, place.settings.advertise.clone()))
        .collect();
    assert_eq!(groups, (0..GROUPS).map(|group| (group, members.clone())).collect());
    assert!(
        places[1..]
            .iter()
            .all(|place| place.groups.0.lock().unwrap().is_empty()),
        "others initialise nothing"
    );
    until("all are connected", || ups.iter().all(|up| up.connected() == 2)).await;
}

#[test]
fn three_nodes_found_one_cluster_in_any_order_of_their_starts() {
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0], [2, 0, 1]] {
        run(async {
            let places = places().await;
            let mut ups = Vec::new();
            for at in order {
                ups.push(places[at].start().await);
                rt::sleep(Duration::from_millis(30)).await;
            }
            founded(&places, &mut ups).await;
        });
    }
}

#[test]
fn all_restart_into_the_cluster_they_left() {
    run(async {
        let places = places().await;
        let mut before = None;
        for _ in 0..3 {
            let mut ups = Vec::new();
            for place in &places {
                ups.push(place.start().await);
            }
            founded(&places, &mut ups).await;
            assert!(before.is_none() || before == ups[0].cluster());
            before = ups[0].cluster();
        }
    });
}

#[test]
fn a_crash_of_any_node_at_any_write_ends_well() {
    for victim in 0..3 {
        for operations in 0..16 {
            run(async {
                let places = places().await;
                let mut ups = Vec::new();
                for (at, place) in places.iter().enumerate() {
                    if at != victim {
                        ups.push(place.start().await);
                    }
                }
                // With few operations it does not even get its identity.
                if let Ok(mut up) = places[victim].start_mortal(operations).await {
                    let _ended = rt::timeout(Duration::from_millis(400), up.entered()).await;
                }
                ups.insert(0, places[victim].start().await);
                founded(&places, &mut ups).await;
            });
        }
    }
}

#[test]
fn the_founder_waits_for_all_and_says_for_whom() {
    run(async {
        let places = places().await;
        let one = places[0].start().await;
        let _two = places[1].start().await;
        until("it says so", || !one.standing.status().waiting_for.is_empty()).await;
        let waiting_for = one.standing.status().waiting_for;
        assert!(
            waiting_for
                .iter()
                .any(|what| what.contains(&places[2].settings.advertise)),
            "{waiting_for:?}"
        );
        assert_eq!(one.cluster(), None);
    });
}

#[test]
fn a_member_that_lost_its_disk_refuses_to_start_and_is_refused() {
    for lost in 0..3 {
        run(async {
            let places = places().await;
            let mut ups = Vec::new();
            for place in &places {
                ups.push(place.start().await);
            }
            founded(&places, &mut ups).await;
            drop(ups.remove(lost));

            let empty = places[lost].wiped();
            let mut impostor = empty.start().await;
            let error = impostor.entered().await.unwrap_err().to_string();
            let node = format!("node {} took part in cluster", lost + 1);
            assert!(
                error.contains(&node) && error.contains("Start it with the directory it had"),
                "{error}"
            );
            assert!(empty.groups.0.lock().unwrap().is_empty(), "it initialised groups");
            let refused = || {
                ups.iter().all(|up| {
                    up.peers
                        .status()
                        .iter()
                        .any(|peer| peer.reason.as_ref().is_some_and(|reason| reason.contains(&node)))
                })
            };
            until("the others say why", refused).await;
            drop(impostor);

            // With its old directory it is welcome.
            ups.insert(0, places[lost].start().await);
            founded(&places, &mut ups).await;
        });
    }
}

#[test]
fn nodes_that_all_moved_find_each_other_by_their_routes() {
    run(async {
        let mut places = places().await;
        let mut ups = Vec::new();
        for place in &places {
            ups.push(place.start().await);
        }
        founded(&places, &mut ups).await;
        drop(ups);
        let moved = self::places().await;
        let mut ups = Vec::new();
        for (place, moved) in places.iter_mut().zip(moved) {
            place.settings.routes = moved.settings.routes;
            place.settings.advertise = moved.settings.advertise;
            ups.push(place.start().await);
        }
        until("all are connected", || ups.iter().all(|up| up.connected() == 2)).await;
    });
}

#[test]
fn a_node_on_its_own_founds_itself_and_stays_so() {
    run(async {
        let settings = Settings::alone(1, places().await[0].settings.advertise.clone(), GROUPS);
        let place = Place {
            settings,
            disk: MemoryDisk::new(),
            groups: Groups::default(),
        };
        let mut clusters = Vec::new();
        for _ in 0..2 {
            let mut up = place.start().await;
            up.entered().await.unwrap();
            clusters.push(up.cluster().unwrap());
            assert_eq!(place.groups.0.lock().unwrap().len(), GROUPS as usize);
        }
        assert_eq!(clusters[0], clusters[1]);
    });
}

#[test]
fn a_directory_of_another_node_cluster_or_size_is_refused() {
    run(async {
        let place = places().await[0].clone();
        drop(place.start().await);
        let configured = place.settings.clone();
        let table = [
            (
                Settings {
                    node_id: 2,
                    ..configured.clone()
                },
                "belongs to node 1, but the configuration says node 2",
            ),
            (
                Settings {
                    cluster_name: "test".into(),
                    ..configured.clone()
                },
                "belongs to cluster `prod`",
            ),
            (
                Settings {
                    groups: 8,
                    ..configured
                },
                "was made for 3 groups",
            ),
        ];
        for (settings, expected) in table {
            let error = Standing::open(Arc::new(place.disk.clone()), settings)
                .await
                .err()
                .unwrap()
                .to_string();
            assert!(error.contains(expected), "{error}");
        }
    });
}
