//! The world settles who is meant and strikes.
//!
//! A fault names a role; what is kept of it, in the trace and for a replay, is the settled form.

use std::collections::BTreeSet;
use std::time::Duration;

use rand::RngExt;

use super::Cluster;
use crate::disk::FailSync;
use crate::engine::{Down, HostId};
use crate::fault::{Fault, Whom};

/// The folder of the journal on a node's disk.
const JOURNAL: &str = "journal";

impl Cluster {
    /// Strikes, and answers the fault as settled.
    pub fn strike(&self, mut fault: Fault) -> Fault {
        for whom in fault.whom_mut() {
            *whom = Whom::Nodes(self.settle(whom));
        }
        let at_ns = self.0.control.now_ns();
        self.0
            .control
            .tell(HostId::WORLD, 0xb10, format_args!("strikes: {fault}"));
        self.state().struck.push((at_ns, fault.clone()));
        self.befall(&fault);
        fault
    }

    /// Who plays a role now.
    fn settle(&self, whom: &Whom) -> Vec<u32> {
        let nodes = self.0.shape.nodes;
        let mut leaders = self.leaders();
        let mut state = self.state();
        for (group, leader) in leaders.iter().enumerate() {
            if leader.is_some() {
                state.led[group] = *leader;
            }
        }
        for (now, before) in leaders.iter_mut().zip(&state.led) {
            *now = now.or(*before);
        }
        let leader_of = |group: u32| leaders.get(group as usize % leaders.len().max(1)).copied().flatten();
        let mut any = || state.dice.random_range(1..=nodes);
        match whom {
            Whom::Nodes(ids) => ids.iter().copied().filter(|id| (1..=nodes).contains(id)).collect(),
            Whom::LeaderOf(group) => vec![leader_of(*group).unwrap_or_else(any)],
            Whom::FollowerOf(group) => {
                let leader = leader_of(*group);
                let others: Vec<u32> = (1..=nodes).filter(|id| Some(*id) != leader).collect();
                if others.is_empty() {
                    vec![1]
                } else {
                    vec![others[any() as usize % others.len()]]
                }
            }
            Whom::Anyone => vec![any()],
            Whom::AMinority => {
                let most = ((nodes - 1) / 2).max(1);
                let count = state.dice.random_range(1..=most);
                let mut ids: Vec<u32> = (1..=nodes).collect();
                while ids.len() > count as usize {
                    let at = state.dice.random_range(0..ids.len());
                    ids.remove(at);
                }
                ids
            }
            Whom::Everyone => (1..=nodes).collect(),
        }
    }

    fn befall(&self, fault: &Fault) {
        let each = |whom: &Whom, strike: &dyn Fn(u32)| ids(whom).iter().for_each(|id| strike(*id));
        match fault {
            Fault::Crash(whom) => each(whom, &|id| self.kill(id, Down::Crash)),
            Fault::PowerLoss(whom) => each(whom, &|id| self.kill(id, Down::PowerLoss)),
            Fault::Stop(whom) => each(whom, &|id| self.stop(id)),
            Fault::Restart(whom) => each(whom, &|id| self.boot(id)),
            Fault::Freeze(whom) => each(whom, &|id| {
                let machine = self.machine(id);
                if self.0.control.is_up(machine.host) {
                    self.0.control.freeze(machine.host);
                }
            }),
            Fault::Thaw(whom) => each(whom, &|id| self.0.control.thaw(self.machine(id).host)),
            Fault::Isolate(whom) => each(whom, &|id| {
                for other in self.0.machines.iter().filter(|other| other.id != id) {
                    self.0.net.cut(self.machine(id).host, other.host);
                }
            }),
            Fault::CutOff(whom) => each(whom, &|id| {
                let host = self.machine(id).host;
                for other in self.everyone().filter(|other| *other != host) {
                    self.0.net.cut(host, other);
                }
            }),
            Fault::Split(whom) => {
                let here = ids(whom);
                for a in self.0.machines.iter().filter(|machine| here.contains(&machine.id)) {
                    for b in self.0.machines.iter().filter(|machine| !here.contains(&machine.id)) {
                        self.0.net.cut(a.host, b.host);
                    }
                }
            }
            Fault::OneWay { from, to } => self.ways(from, to, |a, b| self.0.net.cut_one_way(a, b)),
            Fault::Clog { from, to } => self.ways(from, to, |a, b| self.0.net.clog(a, b)),
            Fault::SlowLink {
                whom,
                to,
                delay,
                jitter,
            } => {
                for (from, to) in self.links(whom, to.as_ref()) {
                    let mut link = self.0.net.link(from, to);
                    link.latency += *delay;
                    link.jitter += *jitter;
                    self.0.net.set_link_one_way(from, to, link);
                }
            }
            Fault::LossyLink {
                whom,
                loss_ppm,
                reset_ppm,
            } => each(whom, &|id| {
                let host = self.machine(id).host;
                for other in self.everyone().filter(|other| *other != host) {
                    let mut link = self.0.net.link(host, other);
                    link.loss = f64::from(*loss_ppm) / 1e6;
                    link.reset = f64::from(*reset_ppm) / 1e6;
                    self.0.net.set_link(host, other, link);
                }
            }),
            Fault::Mute(whom) => each(whom, &|id| {
                for client in &self.0.clients {
                    self.0.net.cut_one_way(self.machine(id).host, *client);
                }
            }),
            Fault::ResetConnections(whom) => each(whom, &|id| self.0.net.reset_all_of(self.machine(id).host)),
            Fault::Heal => self.0.net.heal_all(),
            Fault::SlowDisk { whom, by } => {
                each(whom, &|id| self.machine(id).disk.change(|faults| faults.slow.by = *by))
            }
            Fault::FullDisk(whom) => each(whom, &|id| self.machine(id).disk.fill(0)),
            Fault::FailSync { whom, once } => {
                let how = if *once { FailSync::Once } else { FailSync::ForGood };
                each(whom, &|id| {
                    self.machine(id).disk.change(|faults| faults.fail_sync = how)
                });
            }
            Fault::FlipBitOnRead(whom) => each(whom, &|id| {
                self.machine(id).disk.change(|faults| faults.flip_next = true)
            }),
            Fault::RotBit(whom) => each(whom, &|id| drop(self.machine(id).disk.rot_somewhere(JOURNAL))),
            Fault::SlowIndexFlush { whom, by } => {
                each(whom, &|id| {
                    self.machine(id).index.change(|faults| faults.slow_flush = *by)
                });
            }
            Fault::MendDisk(whom) => each(whom, &|id| self.mend_disk(id)),
            Fault::ClockSkew { whom, by_ms } => each(whom, &|id| self.machine(id).clock.skew(*by_ms)),
            Fault::ClockDrift { whom, ppm } => each(whom, &|id| {
                let machine = self.machine(id);
                machine.clock.drift(*ppm);
                // Both clocks of a machine hang on one quartz; the monotonic one is never off by more than a quartz is.
                self.0.control.set_drift(machine.host, (*ppm).clamp(-10_000, 10_000));
            }),
            Fault::ClockJump { whom, by_ms } => each(whom, &|id| self.machine(id).clock.jump(*by_ms)),
            Fault::MendClock(whom) => each(whom, &|id| self.mend_clock(id)),
            Fault::ColdOut => self.change_cold(|faults| faults.out = true),
            Fault::SlowCold { by } => self.change_cold(|faults| faults.slow = *by),
            Fault::ColdFails { before_ppm, after_ppm } => self.change_cold(|faults| {
                faults.fail_before_chance = f64::from(*before_ppm) / 1e6;
                faults.fail_after_chance = f64::from(*after_ppm) / 1e6;
            }),
            Fault::ColdLies { ppm } => self.change_cold(|faults| faults.flip_chance = f64::from(*ppm) / 1e6),
            Fault::MendCold => self.mend_cold(),
            Fault::Mend => {
                self.0.net.heal_all();
                self.mend_cold();
                for id in 1..=self.0.shape.nodes {
                    self.mend_disk(id);
                    self.mend_clock(id);
                    self.0.control.thaw(self.machine(id).host);
                    self.boot(id);
                }
            }
        }
    }

    pub(super) fn machine(&self, id: u32) -> &super::Machine {
        &self.0.machines[id as usize - 1]
    }

    fn mend_disk(&self, id: u32) {
        self.machine(id).disk.mend();
        self.machine(id).index.mend();
    }

    fn mend_clock(&self, id: u32) {
        let machine = self.machine(id);
        machine.clock.mend();
        self.0.control.set_drift(machine.host, 0);
    }

    /// Every host there is, the one of the false S3, too, if there is one.
    fn everyone(&self) -> impl Iterator<Item = HostId> {
        #[cfg(feature = "sdk")]
        let s3 = self.0.s3.as_ref().map(crate::s3::FalseS3::host);
        #[cfg(not(feature = "sdk"))]
        let s3 = None;
        let machines = self.0.machines.iter().map(|machine| machine.host);
        machines.chain(self.0.clients.iter().copied()).chain(s3)
    }

    /// Both directions of every link between these nodes and everyone else, or only those nodes; each direction once.
    fn links(&self, whom: &Whom, to: Option<&Whom>) -> BTreeSet<(HostId, HostId)> {
        let hosts = |whom: &Whom| -> Vec<HostId> { ids(whom).iter().map(|id| self.machine(*id).host).collect() };
        let others = to.map_or_else(|| self.everyone().collect(), hosts);
        let pairs = hosts(whom)
            .into_iter()
            .flat_map(|host| others.iter().map(move |other| (host, *other)));
        let apart = pairs.filter(|(host, other)| host != other);
        apart.flat_map(|(host, other)| [(host, other), (other, host)]).collect()
    }

    fn ways(&self, from: &Whom, to: &Whom, close: impl Fn(HostId, HostId)) {
        for a in ids(from) {
            for b in ids(to).into_iter().filter(|b| *b != a) {
                close(self.machine(a).host, self.machine(b).host);
            }
        }
    }

    /// Lets true time pass.
    pub async fn pass(&self, time: Duration) {
        self.0.control.sleep(time).await;
    }
}

fn ids(whom: &Whom) -> Vec<u32> {
    match whom {
        Whom::Nodes(ids) => ids.clone(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::Shape;
    use crate::engine::{Engine, Options};
    use crate::net::NetOptions;

    #[test]
    fn a_slow_link_is_slower_than_it_was_by_what_is_said_and_the_others_are_not() {
        let ms = Duration::from_millis;
        let usual = NetOptions::default().link;
        let engine = Engine::new(1, Options::default());
        let cluster = Cluster::new(&engine.control(), Shape::of(3, 1), NetOptions::default());
        let slower = |from: u32, to: u32| {
            let (from, to) = (cluster.machine(from).host, cluster.machine(to).host);
            let link = cluster.0.net.link(from, to);
            (link.latency - usual.latency, link.jitter - usual.jitter)
        };
        let slow = |whom, to| Fault::SlowLink {
            whom,
            to,
            delay: ms(20),
            jitter: ms(7),
        };
        cluster.strike(slow(Whom::node(1), Some(Whom::node(2))));
        assert_eq!([slower(1, 2), slower(2, 1)], [(ms(20), ms(7)); 2]);
        assert_eq!([slower(1, 3), slower(2, 3)], [(ms(0), ms(0)); 2]);
        cluster.strike(slow(Whom::Everyone, None));
        assert_eq!([slower(1, 2), slower(3, 2)], [(ms(40), ms(14)), (ms(20), ms(7))]);
        cluster.strike(Fault::Heal);
        assert_eq!(slower(1, 2), (ms(0), ms(0)));
    }
}
