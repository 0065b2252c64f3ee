//! Groups on one node, and on three, in one process: a transport that can be cut, an index that forgets what was not
//! flushed.

mod batches;
mod cluster;
mod lifetime;
mod lost_index;
mod moving;
mod single;
mod suite;

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use net::clock::Clock;
use net::rt::{self, Instant};
use storage::disk::Disk;
use storage::index::{Batch, Index};
use storage::memory::{MemoryDisk, MemoryIndex};

use super::*;
use crate::cluster::Founder;
use crate::cold::Store;
use crate::config;
use crate::peer::{PeerError, Why};
use crate::stream::{
    Append, Command, Create, Delete, Lifetime, Offset, Op, Outcome, ProducerTuple, Retention, SnapshotOp, StreamName,
    Trim,
};

/// An index whose unflushed batches can be lost.
pub(super) struct Forgetful {
    inner: Mutex<(MemoryIndex, MemoryIndex, Vec<Batch>)>,
    pub(super) flushes: Mutex<u64>,
}

impl Forgetful {
    pub(super) fn new() -> Arc<Self> {
        let inner = Mutex::new((MemoryIndex::new(), MemoryIndex::new(), Vec::new()));
        Arc::new(Self {
            inner,
            flushes: Mutex::new(0),
        })
    }

    /// Nothing is left, as after the folder was lost.
    pub(super) fn empty(&self) {
        *self.inner.lock().unwrap() = (MemoryIndex::new(), MemoryIndex::new(), Vec::new());
    }

    /// A crash: only what was flushed is left.
    pub(super) fn crash(&self) {
        let mut inner = self.inner.lock().unwrap();
        let flushed = MemoryIndex::new();
        let all = inner.1.scan(&[], &[0xff; 64], usize::MAX).unwrap();
        let mut batch = Batch::default();
        for (key, value) in all {
            batch.put(key, value);
        }
        flushed.write(batch).unwrap();
        inner.0 = flushed;
        inner.2.clear();
    }
}

impl Index for Forgetful {
    fn write(&self, batch: Batch) -> io::Result<()> {
        let mut inner = self.inner.lock().unwrap();
        inner.2.push(batch.clone());
        inner.0.write(batch)
    }
    fn get(&self, key: &[u8]) -> io::Result<Option<Bytes>> {
        self.inner.lock().unwrap().0.get(key)
    }
    fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> io::Result<Vec<(Bytes, Bytes)>> {
        self.inner.lock().unwrap().0.scan(from, to, limit)
    }
    fn last(&self, from: &[u8], to: &[u8]) -> io::Result<Option<(Bytes, Bytes)>> {
        self.inner.lock().unwrap().0.last(from, to)
    }
    fn flush(&self) -> io::Result<()> {
        let mut inner = self.inner.lock().unwrap();
        for batch in std::mem::take(&mut inner.2) {
            inner.1.write(batch)?;
        }
        *self.flushes.lock().unwrap() += 1;
        Ok(())
    }
    fn approximate_bytes(&self) -> u64 {
        0
    }
}

/// What was told to those who wait, stream by stream.
#[derive(Default)]
pub(super) struct Heard(Mutex<Vec<StreamName>>);
impl Observer for Heard {
    fn changed(&self, _: u32, stream: &StreamName, _: Option<&StreamRow>) {
        self.0.lock().unwrap().push(stream.clone());
    }
    fn replaced(&self, _: u32) {}
}

struct Fixed;
impl Clock for Fixed {
    fn now_ms(&self) -> u64 {
        1_000
    }
}

/// Who can be reached. Calls go straight to the other node's groups.
#[derive(Default)]
pub(super) struct Wires {
    nodes: Mutex<BTreeMap<u64, Groups>>,
    cut: Mutex<Vec<u64>>,
    slow_snapshots: AtomicBool,
}

struct Wire {
    me: u64,
    wires: Arc<Wires>,
}

impl Transport for Wire {
    fn call(
        &self,
        to: u64,
        kind: u8,
        group: u32,
        parts: Vec<Bytes>,
        deadline: Duration,
    ) -> BoxFuture<'_, Result<Bytes, PeerError>> {
        let lost = |sent| PeerError {
            sent,
            why: Why::NotConnected("cut".into()),
        };
        Box::pin(async move {
            let cut = {
                self.wires
                    .cut
                    .lock()
                    .unwrap()
                    .iter()
                    .any(|node| *node == to || *node == self.me)
            };
            if cut {
                return Err(lost(false));
            }
            let Some(node) = self.wires.nodes.lock().unwrap().get(&to).cloned() else {
                return Err(lost(false));
            };
            if kind == wire::SNAPSHOT && self.wires.slow_snapshots.load(Ordering::Relaxed) {
                rt::sleep(Duration::from_millis(100)).await;
            }
            let payload = Bytes::from(parts.concat());
            match rt::timeout(deadline, node.handle(kind, group, payload)).await {
                Ok(Ok(answer)) => Ok(answer.concat().into()),
                Ok(Err(why)) => Err(PeerError {
                    sent: false,
                    why: Why::NotDone(why),
                }),
                Err(rt::Elapsed) => Err(PeerError {
                    sent: true,
                    why: Why::Deadline,
                }),
            }
        })
    }
}

/// What one node keeps when it stops.
pub(super) struct Node {
    id: u64,
    disk: MemoryDisk,
    pub(super) index: Arc<Forgetful>,
    pub(super) heard: Arc<Heard>,
    /// Where old bytes are, if they move.
    pub(super) cold: Option<Arc<Store>>,
    wires: Arc<Wires>,
    settings: Settings,
}

impl Node {
    pub(super) fn new(id: u64, wires: &Arc<Wires>) -> Self {
        let raft = config::Raft {
            heartbeat: Duration::from_millis(30),
            election_min: Duration::from_millis(120),
            election_max: Duration::from_millis(240),
            lease: Duration::from_millis(50),
            rpc_deadline: Duration::from_millis(1000),
            batch_entries: 64,
            appends_in_flight: 4,
            snapshot_entries: 1_000_000,
            keep_entries: 10,
            hold_bytes: 256 << 10,
            snapshot_chunk: 4 << 10,
        };
        let settings = Settings {
            node_id: id,
            groups: 2,
            identity: [7; 16],
            raft,
            journal: config::Journal {
                segment: 64 << 10,
                ..config::Journal::default()
            },
            index: config::Index {
                flush_interval: Duration::from_secs(3600),
                ..config::Index::default()
            },
            cache: config::Cache {
                tail: 1 << 20,
                ..config::Cache::default()
            },
            hot_max: u64::MAX,
        };
        Self {
            id,
            disk: MemoryDisk::new(),
            index: Forgetful::new(),
            heard: Arc::default(),
            cold: None,
            wires: wires.clone(),
            settings,
        }
    }

    pub(super) async fn try_start(&self) -> Result<Groups, StartError> {
        let disk: Arc<dyn Disk> = Arc::new(self.disk.clone());
        let index: Arc<dyn Index> = self.index.clone();
        let transport = Arc::new(Wire {
            me: self.id,
            wires: self.wires.clone(),
        });
        let seams = Seams {
            cold: self.cold.clone(),
            disk,
            index,
            clock: Arc::new(Fixed),
            transport,
            observer: self.heard.clone(),
        };
        let groups = Groups::start(self.settings.clone(), seams).await?;
        self.wires.nodes.lock().unwrap().insert(self.id, groups.clone());
        Ok(groups)
    }

    pub(super) async fn start(&self) -> Groups {
        self.try_start().await.expect("the node starts")
    }

    /// Ends the node; `crash`: the index forgets what was not flushed.
    pub(super) async fn stop(&self, groups: Groups, crash: bool) {
        self.wires.nodes.lock().unwrap().remove(&self.id);
        if crash {
            self.index.crash();
        }
        groups.shutdown().await;
        if crash {
            // The orderly end flushed again; a crash would not have.
            self.index.crash();
        }
    }
}

pub(super) fn run<T>(test: impl Future<Output = T>) -> T {
    rt::block_on(async { rt::timeout(Duration::from_secs(60), test).await.expect("the test ends") })
        .expect("there are threads")
}

pub(super) fn name(text: &str) -> StreamName {
    StreamName::flat(text).unwrap()
}

fn command(stream: &str, op: Op, body: &[u8]) -> Command {
    Command {
        now_ms: 0,
        stream: name(stream),
        op,
        elsewhere: None,
        body: Bytes::copy_from_slice(body),
    }
}

pub(super) fn create(stream: &str, body: &[u8]) -> Command {
    create_for(stream, Lifetime::Forever, body)
}

pub(super) fn create_for(stream: &str, lifetime: Lifetime, body: &[u8]) -> Command {
    let op = Op::Create(Create {
        content_type: "text/plain".into(),
        closed: false,
        if_match: None,
        lifetime,
        retention: Retention::default(),
        retention_default: Retention::default(),
        as_of: 0,
    });
    command(stream, op, body)
}

pub(super) fn append(stream: &str, body: &[u8]) -> Command {
    append_by(stream, body, None)
}

pub(super) fn append_by(stream: &str, body: &[u8], producer: Option<(&str, u64, u64)>) -> Command {
    let producer = producer.map(|(id, epoch, seq)| ProducerTuple {
        id: id.into(),
        epoch,
        seq,
    });
    let content_type = Some("text/plain".into());
    command(
        stream,
        Op::Append(Append {
            content_type,
            close: false,
            producer,
            seq: None,
            if_match: None,
        }),
        body,
    )
}

pub(super) fn delete(stream: &str) -> Command {
    command(stream, Op::Delete(Delete { if_match: None }), b"")
}

pub(super) fn trim(stream: &str, incarnation: u64, below: Offset) -> Command {
    command(stream, Op::Trim(Trim { incarnation, below }), b"")
}

pub(super) fn snapshot(stream: &str, op: SnapshotOp, body: &[u8]) -> Command {
    command(stream, Op::Snapshot(op), body)
}

pub(super) fn soon() -> Instant {
    Instant::now() + Duration::from_secs(5)
}

/// Everything a stream holds, as this node has it.
pub(super) async fn content(groups: &Groups, group: u32, stream: &str) -> Option<Vec<u8>> {
    let view = groups.view(group);
    let row = view.row(&name(stream)).unwrap()?;
    let (mut bytes, mut at) = (Vec::new(), row.earliest);
    while at < row.tail {
        for piece in view.read(row.incarnation, at, row.tail).await.unwrap() {
            at = Offset(at.0 + piece.len() as u64);
            bytes.extend_from_slice(&piece);
        }
    }
    Some(bytes)
}

pub(super) async fn until(what: &str, mut is: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !is() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        rt::sleep(Duration::from_millis(5)).await;
    }
}

pub(super) fn is_stored(outcome: &Result<Outcome, ProposeError>) -> bool {
    matches!(outcome, Ok(Outcome::Created { .. } | Outcome::Appended { .. }))
}

pub(super) async fn found(groups: &Groups, members: &[u64]) {
    for group in 0..groups.count() {
        assert_eq!(groups.is_initialised(group).await, Ok(false));
        let members = members.iter().map(|id| (*id, format!("node-{id}:1"))).collect();
        groups.initialise(group, members).await.unwrap();
        assert_eq!(groups.is_initialised(group).await, Ok(true));
    }
}
