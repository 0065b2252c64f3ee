//! One machine: what outlives a node (disk, index, clock) and the node that lives on it now.
//!
//! A node that ends by itself is started again after a while, as an init system would; one that a fault took down stays
//! down until it is told otherwise.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use net::dice::Dice;
use node::Node;
use node::world::World;

use super::Cluster;
use crate::clock::FalseClock;
use crate::disk::{FalseDisk, PowerLoss};
use crate::engine::{Control, Down, HostId};
use crate::index::{FalseIndex, Keep};
use crate::tell::Tell;

/// How long the init system waits before it starts a node again that ended by itself.
const INIT_PAUSE: Duration = Duration::from_secs(1);

/// Last words that are kept of one machine.
const WORDS_MAX: usize = 16;

pub(super) struct Machine {
    pub(super) id: u32,
    pub(super) host: HostId,
    pub(super) disk: FalseDisk,
    pub(super) index: FalseIndex,
    pub(super) clock: FalseClock,
    dice: Dice,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// Counts the starts.
    life: u64,
    node: Option<Node>,
    /// Whether it is meant to run.
    wanted: bool,
    words: Vec<String>,
    /// Whose journal lies on the disk, once a node has said it.
    identity: Option<[u8; 16]>,
}

impl Machine {
    pub(super) fn new(control: &Control, dice: &Dice, id: u32) -> Self {
        let host = control.host(format!("n{id}"));
        let dice = dice.fork(&format!("n{id}"));
        let tell = Tell::on(control, host);
        let truth = control.clone();
        Self {
            id,
            host,
            disk: FalseDisk::new(&dice, tell.clone()),
            index: FalseIndex::new(&dice, tell.clone()),
            clock: FalseClock::new(move || truth.now_ns(), tell),
            dice,
            state: Arc::default(),
        }
    }

    pub(super) fn node(&self) -> Option<Node> {
        self.state().node.clone()
    }

    pub(super) fn life(&self) -> u64 {
        self.state().life
    }

    pub(super) fn is_wanted(&self) -> bool {
        self.state().wanted
    }

    pub(super) fn identity(&self) -> Option<[u8; 16]> {
        self.state().identity
    }

    pub(super) fn last_words(&self) -> Vec<String> {
        self.state().words.clone()
    }

    /// Another machine stands in its place, with nothing on its disk.
    pub(super) fn replace(&self) {
        self.disk.replace();
        self.index.wipe();
        self.state().identity = None;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cluster {
    /// Starts every node that does not run.
    pub fn start(&self) {
        for id in 1..=self.0.shape.nodes {
            self.boot(id);
        }
    }

    /// Starts a node, unless it runs.
    pub(super) fn boot(&self, id: u32) {
        let machine = &self.0.machines[id as usize - 1];
        {
            let mut state = machine.state();
            if state.wanted {
                return;
            }
            state.wanted = true;
        }
        self.0.control.boot(machine.host);
        let cluster = self.clone();
        let init = async move { cluster.supervise(id).await };
        drop(self.0.control.spawn_on(HostId::WORLD, "init", init));
    }

    /// Starts a node again and again, for as long as it is meant to run and its machine is up.
    async fn supervise(&self, id: u32) {
        let machine = &self.0.machines[id as usize - 1];
        let control = &self.0.control;
        loop {
            let life = {
                let mut state = machine.state();
                if !state.wanted {
                    return;
                }
                state.life += 1;
                state.life
            };
            control.boot(machine.host);
            control.tell(machine.host, life, format_args!("starts, life {life}"));
            let world = World {
                disk: machine.disk.mount(),
                index: machine.index.mount(),
                cold: Some(self.mount_cold(machine.clock.mount())),
                clock: machine.clock.mount(),
                dice: machine.dice.fork(&format!("life {life}")),
            };
            let (config, state) = (self.config(id), machine.state.clone());
            let run = control.spawn_on(machine.host, "node", async move {
                match Node::start(config, world).await {
                    Ok(node) => {
                        {
                            let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
                            state.identity = Some(node.status().standing.data.0.to_be_bytes());
                            state.node = Some(node.clone());
                        }
                        node.fatal().await.to_string()
                    }
                    Err(refused) => format!("refuses to start: {refused}"),
                }
            });
            // An error: the machine was taken down, and whoever did it has said what happens next.
            let Ok(words) = run.await else { return };
            if machine.life() != life {
                return;
            }
            self.kill(id, Down::Crash);
            control.tell(machine.host, 0xe17, format_args!("ended by itself: {words}"));
            {
                let mut state = machine.state();
                state.wanted = true;
                if state.words.len() < WORDS_MAX {
                    state.words.push(format!("n{id} life {life}: {words}"));
                }
            }
            control.sleep(INIT_PAUSE).await;
            if machine.life() != life {
                return;
            }
        }
    }

    /// Takes a node down at once; it stays down until [`Cluster::boot`].
    pub(super) fn kill(&self, id: u32, how: Down) {
        let machine = &self.0.machines[id as usize - 1];
        let node = {
            let mut state = machine.state();
            state.wanted = false;
            state.node.take()
        };
        self.0.control.kill(machine.host, how);
        drop(node);
        match how {
            Down::Crash => {
                machine.disk.process_crash();
            }
            Down::PowerLoss => {
                machine.disk.power_loss(PowerLoss::Any);
            }
        }
        machine.index.crash(Keep::Any);
    }

    /// Tells a node to end, as SIGTERM does; when it has ended it stays down.
    pub(super) fn stop(&self, id: u32) {
        let machine = &self.0.machines[id as usize - 1];
        let Some(node) = machine.node() else { return };
        let (cluster, drain, life) = (self.clone(), self.0.shape.config.server.drain, machine.life());
        let shutdown = self
            .0
            .control
            .spawn_on(machine.host, "sigterm", async move { node.shutdown(drain).await });
        let end = async move {
            let _ = shutdown.await;
            let machine = &cluster.0.machines[id as usize - 1];
            if machine.life() == life && machine.is_wanted() {
                cluster.kill(id, Down::Crash);
            }
        };
        drop(self.0.control.spawn_on(HostId::WORLD, "sigterm", end));
    }
}
