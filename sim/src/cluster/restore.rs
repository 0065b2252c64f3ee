//! All nodes are lost with their disks, and the cluster comes back from the cold store.

use std::time::Duration;

use node::restore;
use rand::RngExt;

use super::Cluster;
use crate::disk::FalseDisk;
use crate::engine::{Down, HostId};
use crate::fault::{Fault, Whom};
use crate::tell::Tell;

/// How often one tries to prepare the first node.
const TRIES: u32 = 20;

impl Cluster {
    /// Loses every node and everything on its disks, at once.
    pub fn lose_all(&self) {
        for machine in &self.0.machines {
            self.kill(machine.id, Down::PowerLoss);
            machine.replace();
        }
        let mut state = self.state();
        state.restoring = true;
        state.invariants.all_lost();
        state.led.fill(None);
        drop(state);
        self.0
            .control
            .tell(HostId::WORLD, 0x105, format_args!("everything is lost"));
    }

    /// Prepares the first node to bring the cluster back, as an operator does: again, if it fails or its machine dies.
    ///
    /// # Errors
    /// What the last attempt said.
    pub async fn prepare_restore(&self) -> Result<(), String> {
        let first = &self.0.machines[0];
        let mut said = String::new();
        for attempt in 0..TRIES {
            self.0.control.boot(first.host);
            let (config, disk, clock) = (self.config(first.id), first.disk.mount(), first.clock.mount());
            let cold = self.mount_cold(clock.clone());
            let preparing = self.0.control.spawn_on(first.host, "restore", async move {
                restore::prepare(&config, disk, cold, clock.now_ms(), None, &mut ()).await
            });
            // Now and then the machine dies in the middle.
            let dies = self.state().dice.random_bool(0.2) && attempt + 5 < TRIES;
            if dies {
                let after = self.state().dice.random_range(0..6000);
                let (cluster, id) = (self.clone(), first.id);
                drop(
                    self.0
                        .control
                        .spawn_on(HostId::WORLD, "death of who restores", async move {
                            cluster.0.control.sleep(Duration::from_millis(after)).await;
                            // It is another's business once it serves.
                            if !cluster.machine(id).is_wanted() {
                                cluster.kill(id, Down::PowerLoss);
                            }
                        }),
                );
            }
            let ended = preparing.await;
            self.kill(first.id, Down::Crash);
            match ended {
                Ok(Ok(found)) => {
                    let mut state = self.state();
                    for group in found.groups {
                        state.invariants.comes_back(group.group, group.index);
                    }
                    return Ok(());
                }
                Ok(Err(error)) => said = error.to_string(),
                Err(_) => said = "its machine died".into(),
            }
            self.0.control.sleep(Duration::from_millis(500)).await;
        }
        Err(said)
    }

    /// Tries to bring the cluster back on another machine while it lives, as an operator does who takes it for lost.
    ///
    /// # Errors
    /// Why it was refused: so it must be.
    pub async fn restore_beside(&self) -> Result<(), String> {
        let tell = Tell::on(&self.0.control, HostId::WORLD);
        let disk = FalseDisk::new(&self.0.control.dice().fork("beside"), tell);
        let clock = self.0.machines[0].clock.mount();
        let (config, now_ms) = (self.config(1), clock.now_ms());
        let cold = self.mount_cold(clock);
        let disk = disk.mount();
        let preparing = self
            .0
            .control
            .spawn_on(self.0.clients[0], "restore beside", async move {
                restore::prepare(&config, disk, cold, now_ms, None, &mut ()).await
            });
        match preparing.await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("its machine died".into()),
        }
    }

    /// Brings the cluster back, with a few more misfortunes: nodes that die while it is told what was written down.
    pub async fn come_back(&self) {
        self.start();
        let blows = self.state().dice.random_range(0..4);
        for _ in 0..blows {
            let after = self.state().dice.random_range(50..2500);
            self.pass(Duration::from_millis(after)).await;
            let whom = if self.state().dice.random_bool(0.7) {
                Whom::Nodes(vec![1])
            } else {
                Whom::Anyone
            };
            let how = self.state().dice.random_bool(0.5);
            let blow = if how {
                Fault::PowerLoss(whom)
            } else {
                Fault::Crash(whom)
            };
            self.strike(blow);
            self.pass(Duration::from_millis(300)).await;
            self.strike(Fault::Restart(Whom::Everyone));
        }
    }

    /// The cluster is whole again: from now on what is committed is on the disks of a majority.
    pub fn is_back(&self) {
        self.state().restoring = false;
    }
}
