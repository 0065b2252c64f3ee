//! Directed stories: one trap each, told step by step, so that it stays told when seeds have rotted.

use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jepsen::client::Client;
use jepsen::format::Format;
use jepsen::history::{Answer, Append, Create, Ending, Producer, Recorder};
use jepsen::record::{LEN_MIN, Tag};
use jepsen::transport::Transport;
use net::rt;
use sim::cluster::{Cluster, Shape};
use sim::engine::{Engine, Options};
use sim::fault::{Fault, Whom};
use sim::net::NetOptions;

use crate::transport::SimTransport;

/// How long a client of a story waits for an answer.
const DEADLINE: Duration = Duration::from_secs(4);

/// A story that is about to be told.
pub struct Story {
    seed: u64,
    shape: Shape,
}

impl Story {
    /// With these dice; three nodes, one group.
    #[must_use]
    pub fn seed(seed: u64) -> Self {
        Self {
            seed,
            shape: Shape::of(3, 1),
        }
    }

    /// With so many nodes.
    #[must_use]
    pub fn nodes(mut self, nodes: u32) -> Self {
        self.shape.nodes = nodes;
        self
    }

    /// With other settings.
    #[must_use]
    pub fn set(mut self, change: impl FnOnce(&mut Shape)) -> Self {
        change(&mut self.shape);
        self
    }

    /// Tells it.
    ///
    /// # Panics
    /// When a step of the story, or an invariant of the world, does not hold.
    pub fn tell<F: Future<Output = ()> + Send + 'static>(self, tale: impl FnOnce(Teller) -> F) {
        let mut engine = Engine::new(self.seed, Options::default());
        let control = engine.control();
        let cluster = Cluster::new(&control, self.shape, NetOptions::default());
        let way = Arc::new(SimTransport::new(&control, &cluster));
        let transport: Arc<dyn Transport> = way.clone();
        let client = Client::new(1, transport, Recorder::new(true), DEADLINE);
        let teller = Teller {
            cluster: cluster.clone(),
            way,
            client: Arc::new(Mutex::new(client)),
        };
        // On a host of its own, so that what befalls clients befalls the story's.
        let host = cluster.clients()[0];
        let whole = teller.clone();
        let tale = tale(teller);
        let ended = engine.run_until(async {
            cluster.start();
            let watcher = cluster.clone();
            let watch = rt::spawn("watch", async move { watcher.watch().await });
            whole.whole().await;
            let told = control.spawn_on(host, "story", tale).await;
            told.expect("nobody aborts a story");
            watch.abort();
        });
        if let Err(halt) = ended {
            panic!("{halt}; last words: {:?}", cluster.last_words());
        }
        assert_eq!(cluster.broken(), None, "an invariant of the world");
    }
}

/// What can be done and seen in a story. Clones are the same.
#[derive(Clone)]
pub struct Teller {
    cluster: Cluster,
    way: Arc<SimTransport>,
    client: Arc<Mutex<Client>>,
}

impl Teller {
    /// A fault.
    pub fn strike(&self, fault: Fault) {
        self.cluster.strike(fault);
    }

    /// Everything is mended, and this waits until it shows.
    pub async fn mend(&self) {
        self.cluster.strike(Fault::Mend);
        self.pass_ms(500).await;
        self.whole().await;
        self.way.reconnect();
    }

    /// Time passes.
    pub async fn pass_ms(&self, ms: u64) {
        self.cluster.pass(Duration::from_millis(ms)).await;
    }

    /// Waits until the cluster is whole.
    ///
    /// # Panics
    /// When it does not become so.
    pub async fn whole(&self) {
        let mut pending = None;
        for _ in 0..400 {
            pending = self.cluster.pending();
            if pending.is_none() {
                return;
            }
            self.pass_ms(100).await;
        }
        panic!(
            "after forty seconds: {pending:?}; last words: {:?}",
            self.cluster.last_words()
        );
    }

    /// The false S3 of a story that is told over the AWS SDK.
    ///
    /// # Panics
    /// When it is told at the seam.
    #[cfg(feature = "sdk")]
    #[must_use]
    pub fn s3(&self) -> &sim::s3::FalseS3 {
        self.cluster.s3().expect("the shape says that there is one")
    }

    /// How many objects were put into the cold store.
    #[must_use]
    pub fn moved(&self) -> u64 {
        self.cluster.cold_traffic().0
    }

    /// Waits until everything in the cold store is referred to, and everything referred to is there.
    ///
    /// # Panics
    /// When it does not become so.
    pub async fn cold_in_order(&self) {
        let mut disorder = None;
        for _ in 0..300 {
            disorder = self.cluster.cold_disorder();
            if disorder.is_none() {
                return;
            }
            self.pass_ms(100).await;
        }
        panic!("after thirty seconds: {disorder:?}");
    }

    /// The place of the leader of group 0, from 0.
    ///
    /// # Panics
    /// When nobody leads.
    #[must_use]
    pub fn leader(&self) -> usize {
        self.cluster.leaders()[0].expect("somebody leads") as usize - 1
    }

    /// How many nodes there are.
    #[must_use]
    pub fn nodes(&self) -> usize {
        self.cluster.shape().nodes as usize
    }

    /// Whether the node at a place runs.
    #[must_use]
    pub fn runs(&self, place: usize) -> bool {
        self.cluster.node(place).is_some()
    }

    /// What nodes said when they ended by themselves or refused to start.
    #[must_use]
    pub fn last_words(&self) -> Vec<String> {
        self.cluster.last_words()
    }

    /// A node by its place, as a fault names it.
    #[must_use]
    pub fn at(&self, place: usize) -> Whom {
        Whom::node(place as u32 + 1)
    }

    /// Creates a stream.
    ///
    /// # Panics
    /// When that does not succeed.
    pub async fn create(&self, name: &str) -> Arc<str> {
        let stream: Arc<str> = name.into();
        let create = Create {
            content_type: Format::of(name).content_type().into(),
            ..Create::default()
        };
        let client = self.client();
        let ending = client.create(self.leader(), &stream, create).await;
        assert!(matches!(ending, Ending::Done(_)), "{ending:?}");
        stream
    }

    /// A record nobody has written yet.
    #[must_use]
    pub fn record(&self) -> Append {
        let tag = Some(self.client.lock().expect("no step of a story panics in here").tag());
        Append {
            tag,
            len: LEN_MIN,
            content_type: Format::Bytes.content_type().into(),
            ..Append::default()
        }
    }

    /// A record of a producer.
    #[must_use]
    pub fn produced(&self, id: &str, epoch: u64, seq: u64) -> Append {
        Append {
            producer: Some(Producer {
                id: id.into(),
                epoch,
                seq,
            }),
            ..self.record()
        }
    }

    /// Appends through a node.
    pub async fn append(&self, node: usize, stream: &Arc<str>, append: &Append) -> Ending {
        self.client().append(node, stream, append.clone()).await
    }

    /// Appends a fresh record through a node, and must succeed.
    ///
    /// # Panics
    /// When it does not.
    pub async fn stores(&self, node: usize, stream: &Arc<str>) -> Tag {
        let append = self.record();
        let ending = self.append(node, stream, &append).await;
        assert!(matches!(ending, Ending::Done(_)), "{ending:?}");
        append.tag.expect("it is a record")
    }

    /// Everything in a stream, by a linearizable read on a node; what went wrong if it is not answered.
    ///
    /// # Errors
    /// How the read ended instead.
    pub async fn read(&self, node: usize, stream: &Arc<str>) -> Result<Vec<Tag>, Ending> {
        let mut client = self.client();
        let mut cursor = client.from_the_beginning();
        let mut tags = Vec::new();
        loop {
            match client.read(node, stream, &mut cursor, false).await {
                Ending::Done(Answer::Read(seen)) => {
                    assert_eq!(seen.garbage, None);
                    tags.extend(&seen.tags);
                    if seen.up_to_date {
                        return Ok(tags);
                    }
                }
                ending => return Err(ending),
            }
        }
    }

    /// A client of its own for one step, so that steps may overlap.
    fn client(&self) -> Client {
        let transport: Arc<dyn Transport> = self.way.clone();
        Client::new(2, transport, Recorder::new(true), DEADLINE)
    }
}
