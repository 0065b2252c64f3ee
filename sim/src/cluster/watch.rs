//! Looks at every node again and again: the invariants, who leads, and whether the cluster is whole again.

use std::collections::BTreeMap;
use std::time::Duration;

use node::Node;
use node::raft::{EntryId, GroupStatus};
use storage::journal::{self, Journal, Kind, Recovered};

use super::Cluster;
use crate::disk::PowerLoss;
use crate::engine::HostId;
use crate::invariant::{Ballot, Broken, Durable, Observation, committed_is_on_a_majority};

/// How often the nodes are looked at, in true time.
const LOOK: Duration = Duration::from_millis(50);

/// How often the disks are read as a power loss would leave them; every so many looks.
const LOOKS_PER_DISK_CHECK: u64 = 100;

/// How many entries at the end of each log are looked at.
const TAIL: u64 = 64;

impl Cluster {
    /// Watches the invariants until the world ends. The first that breaks is kept, see [`Cluster::broken`].
    pub async fn watch(&self) {
        for look in 1_u64.. {
            self.0.control.sleep(LOOK).await;
            if self.state().broken.is_some() {
                return;
            }
            let mut judged = self.look();
            let restoring = self.state().restoring;
            if judged.is_ok() && look.is_multiple_of(LOOKS_PER_DISK_CHECK) && !restoring {
                judged = self.check_disks().await;
            }
            if let Err(broken) = judged {
                self.breaks(broken);
                return;
            }
        }
    }

    /// The invariant that broke, if one did.
    #[must_use]
    pub fn broken(&self) -> Option<Broken> {
        self.state().broken.clone()
    }

    /// How many observations of replicas were judged, and how many committed entries were found on the disks of a
    /// majority: without any of either, nothing was proved.
    #[must_use]
    pub fn observations(&self) -> (u64, u64) {
        let state = self.state();
        (state.invariants.observations(), state.confirmed_on_disks)
    }

    /// How many snapshots of others nodes were seen to have put in force. One whose node died before the next look is
    /// missed.
    #[must_use]
    pub fn snapshots(&self) -> u64 {
        self.state().snapshots.values().sum()
    }

    /// How many reads of disks were answered with a bit flipped.
    #[must_use]
    pub fn flipped(&self) -> u64 {
        self.0.machines.iter().map(|machine| machine.disk.flipped()).sum()
    }

    fn look(&self) -> Result<(), Broken> {
        let at_ns = self.0.control.now_ns();
        for machine in &self.0.machines {
            let Some(node) = machine.node() else { continue };
            let life = machine.life();
            for status in node.groups().status() {
                let seen = observe(&node, &status, at_ns, u64::from(machine.id), life);
                let mut state = self.state();
                state
                    .snapshots
                    .insert((machine.id, life, status.group), status.snapshots);
                state.invariants.observe(&seen)?;
            }
        }
        Ok(())
    }

    /// Looks at the disks now: right after a blow is when what was only written would be missed.
    pub async fn look_at_disks(&self) {
        if let Err(broken) = self.check_disks().await {
            self.breaks(broken);
        }
    }

    /// Keeps the first invariant that breaks.
    fn breaks(&self, broken: Broken) {
        self.0.control.tell(HostId::WORLD, 0xbad, format_args!("{broken}"));
        self.state().broken.get_or_insert(broken);
    }

    /// Who leads each group now, as far as the nodes that run say: of several, the one of the highest term.
    #[must_use]
    pub fn leaders(&self) -> Vec<Option<u32>> {
        let mut leaders = vec![None; self.0.shape.groups as usize];
        for machine in &self.0.machines {
            let Some(node) = machine.node() else { continue };
            for status in node.groups().status().iter().filter(|status| leads(status)) {
                let known: &mut Option<(u64, u32)> = &mut leaders[status.group as usize];
                if known.is_none_or(|(term, _)| term < status.term) {
                    *known = Some((status.term, machine.id));
                }
            }
        }
        leaders.into_iter().map(|leader| leader.map(|(_, id)| id)).collect()
    }

    /// How far the foremost replica of each group has applied.
    #[must_use]
    pub fn foremost(&self) -> BTreeMap<u32, u64> {
        let mut foremost: BTreeMap<u32, u64> = BTreeMap::new();
        for node in self.0.machines.iter().filter_map(|machine| machine.node()) {
            for status in node.groups().status() {
                let applied = status.applied.map_or(0, |at| at.index);
                let known = foremost.entry(status.group).or_default();
                *known = applied.max(*known);
            }
        }
        foremost
    }

    /// What keeps the cluster from being whole while clients are at work, in words: as [`Cluster::pending`], but a replica
    /// need only have applied so much. Under load over a long line, one is always an entry behind another.
    #[must_use]
    pub fn pending_up_to(&self, marks: &BTreeMap<u32, u64>) -> Option<String> {
        let pending = self.unserved();
        pending.or_else(|| {
            for machine in &self.0.machines {
                for status in machine.node()?.groups().status() {
                    let (mark, at) = (marks.get(&status.group), status.applied.map_or(0, |at| at.index));
                    if mark.is_none_or(|mark| at < *mark) {
                        let (id, group) = (machine.id, status.group);
                        return Some(format!(
                            "group {group}: n{id} has applied {at}, and another {mark:?} before"
                        ));
                    }
                }
            }
            None
        })
    }

    /// What keeps the cluster from being whole, in words; `None` once every node runs, every group has one leader, and
    /// all replicas have applied the same.
    #[must_use]
    pub fn pending(&self) -> Option<String> {
        /// A node, how far it has applied, and what came out.
        type Applied = (u32, Option<(u64, u64)>, u64);
        let mut applied: BTreeMap<u32, Applied> = BTreeMap::new();
        if let Some(pending) = self.unserved() {
            return Some(pending);
        }
        for machine in &self.0.machines {
            for status in machine.node()?.groups().status() {
                let (group, at, digest) = (status.group, status.applied.map(place), status.digest);
                let (first, there, theirs) = *applied.entry(group).or_insert((machine.id, at, digest));
                if (there, theirs) != (at, digest) {
                    return Some(format!(
                        "group {group}: n{first} has applied {there:?} and n{} has applied {at:?}",
                        machine.id
                    ));
                }
            }
        }
        None
    }

    /// The first node that does not run, or group that has no leader, in words.
    fn unserved(&self) -> Option<String> {
        for machine in &self.0.machines {
            let Some(node) = machine.node() else {
                return Some(format!("n{} does not run", machine.id));
            };
            if node.groups().status().len() < self.0.shape.groups as usize {
                return Some(format!("n{} has not started all groups", machine.id));
            }
        }
        let leaders = self.leaders();
        let headless = leaders.iter().position(Option::is_none);
        headless.map(|group| format!("group {group} has no leader"))
    }

    /// Reads every disk as a power loss at this moment would surely leave it, and looks there for what the nodes say is
    /// committed.
    async fn check_disks(&self) -> Result<(), Broken> {
        // First what is committed, then the disks: what is durable only grows, so this order accuses nobody wrongly.
        let mut committed: BTreeMap<u32, (u64, u64)> = BTreeMap::new();
        for machine in &self.0.machines {
            let Some(node) = machine.node() else { continue };
            for status in node.groups().status() {
                if let Some(at) = status.committed.map(place) {
                    let highest = committed.entry(status.group).or_insert(at);
                    *highest = (*highest).max(at);
                }
            }
        }
        let mut disks = Vec::new();
        for machine in &self.0.machines {
            let disk = machine
                .disk
                .fork(&self.0.control.dice())
                .with_timing(crate::disk::Timing::none());
            disk.mend();
            disk.power_loss(PowerLoss::LoseAll);
            let mut found: BTreeMap<u32, Durable> = BTreeMap::new();
            let Some(identity) = machine.identity() else {
                disks.push(found);
                continue;
            };
            let segment_bytes = self.0.shape.config.journal.segment;
            let options = journal::Options {
                identity,
                segment_bytes,
                ..journal::Options::default()
            };
            let mut visit = |record: Recovered| collect(&mut found, &record);
            let opened = Journal::open(disk.mount(), "journal", options, &mut visit).await;
            // A journal that cannot be read holds nothing for sure; a majority must still have everything.
            disks.push(if opened.is_ok() { found } else { BTreeMap::new() });
        }
        for (group, (index, term)) in committed {
            let of_group: Vec<Durable> = disks
                .iter()
                .map(|disk| disk.get(&group).cloned().unwrap_or_default())
                .collect();
            committed_is_on_a_majority(group, index, term, &of_group)?;
            self.state().confirmed_on_disks += 1;
        }
        Ok(())
    }
}

/// A replica as its node tells it.
fn observe(node: &Node, status: &GroupStatus, at_ns: u64, id: u64, life: u64) -> Observation {
    Observation {
        at_ns,
        node: id,
        life,
        group: status.group,
        term: status.term,
        saved: status.saved_vote.map(|vote| Ballot {
            term: vote.term,
            voted_for: vote.voted_for,
            elected: vote.committed,
        }),
        leads: leads(status),
        last_log: status.last_log.map(place),
        term_falls: status.last_log.and_then(|last| term_falls(node, status.group, last)),
        committed: status.committed.map(place),
        applied: status.applied.map(place),
        digest: status.digest,
    }
}

fn leads(status: &GroupStatus) -> bool {
    status.role == "Leader" && status.vote_committed
}

fn place(entry: EntryId) -> (u64, u64) {
    (entry.index, entry.term)
}

/// Where the term falls among the last entries of a log: index, the term before, the term there.
fn term_falls(node: &Node, group: u32, last: EntryId) -> Option<(u64, u64, u64)> {
    let tail = node
        .groups()
        .log_terms(group, last.index.saturating_sub(TAIL), last.index + 1);
    let mut pairs = tail.windows(2).map(|pair| (pair[0], pair[1]));
    pairs
        .find(|(before, after)| after.term < before.term)
        .map(|(before, after)| (after.index, before.term, after.term))
}

fn collect(found: &mut BTreeMap<u32, Durable>, record: &Recovered) {
    let durable = found.entry(record.group).or_default();
    match record.kind {
        Kind::Entry => {
            durable.entries.split_off(&record.index);
            durable.entries.insert(record.index, record.term);
        }
        Kind::Truncate => drop(durable.entries.split_off(&record.index)),
        Kind::Purge => durable.covered_to = durable.covered_to.max(record.index),
        _ => {}
    }
}
