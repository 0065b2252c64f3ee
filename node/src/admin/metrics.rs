//! `/metrics`: what a node counts and measures, for Prometheus. Families are named after the part they are of; their
//! names and labels are listed in `docs/api.md` and do not change their meaning.

use super::exposition::{Exposition, Kind};
use crate::{
    Core,
    peer::PeerState,
    raft::{GroupStatus, HotAndCold},
};

/// Adds what the node knows besides its HTTP.
pub(crate) fn show(core: &Core, page: &mut Exposition) {
    page.family("holdfast_build_info", Kind::Gauge, "Always 1; the version is a label.");
    page.sample(&[("version", &env!("CARGO_PKG_VERSION"))], 1);
    tails(core, page);
    journal(core, page);
    raft(&core.groups.status(), core.config.server.node_id, page);
    peers(core, page);
    hot(core, page);
    cold(core, page);
}

fn tails(core: &Core, page: &mut Exposition) {
    let (waiters, tail_bytes) = (core.tails.waiters(), core.groups.tail_bytes());
    page.single(
        "holdfast_live_readers",
        Kind::Gauge,
        "Readers that wait at the tail of a stream.",
        waiters,
    );
    page.single(
        "holdfast_tail_cache_bytes",
        Kind::Gauge,
        "Newest bytes of streams kept in memory.",
        tail_bytes,
    );
}

fn journal(core: &Core, page: &mut Exposition) {
    let journal = core.groups.journal();
    let (totals, segments) = (journal.totals(), journal.segments());
    let counters = [
        (
            "holdfast_journal_records_total",
            "Records made durable.",
            totals.records,
        ),
        ("holdfast_journal_bytes_total", "Bytes made durable.", totals.bytes),
        (
            "holdfast_journal_syncs_total",
            "Batches made durable, each with one write and one sync.",
            totals.syncs,
        ),
    ];
    for (name, help, value) in counters {
        page.single(name, Kind::Counter, help, value);
    }
    let bytes: u64 = segments.iter().map(|segment| segment.bytes).sum();
    let gauges = [
        (
            "holdfast_journal_segments",
            "Segments on the disk.",
            segments.len() as u64,
        ),
        ("holdfast_journal_segment_bytes", "Bytes written to them.", bytes),
        (
            "holdfast_journal_queued_bytes",
            "Bytes that wait for the disk.",
            journal.queued_bytes(),
        ),
        (
            "holdfast_journal_poisoned",
            "1 if a write or a sync failed: the node is ending.",
            u64::from(journal.poisoned().is_some()),
        ),
    ];
    for (name, help, value) in gauges {
        page.single(name, Kind::Gauge, help, value);
    }
}

/// A figure of a group.
type OfGroup<'a> = (&'static str, Kind, &'static str, &'a dyn Fn(&GroupStatus) -> u64);

fn raft(groups: &[GroupStatus], node_id: u64, page: &mut Exposition) {
    // Entries count from 1 here: 0 is none.
    let next = |id: Option<crate::raft::EntryId>| id.map_or(0, |id| id.index + 1);
    let families: [OfGroup<'_>; 9] = [
        (
            "holdfast_raft_term",
            Kind::Gauge,
            "The term this node is in.",
            &|group| group.term,
        ),
        (
            "holdfast_raft_leads",
            Kind::Gauge,
            "1 if this node leads the group.",
            &|group| u64::from(group.leader == Some(node_id)),
        ),
        (
            "holdfast_raft_leader_known",
            Kind::Gauge,
            "1 if this node knows who leads the group.",
            &|group| u64::from(group.leader.is_some()),
        ),
        (
            "holdfast_raft_log_entries",
            Kind::Gauge,
            "One past the last entry of the log.",
            &|group| next(group.last_log),
        ),
        (
            "holdfast_raft_committed_entries",
            Kind::Gauge,
            "One past the last entry known here to be committed.",
            &|group| next(group.committed),
        ),
        (
            "holdfast_raft_applied_entries",
            Kind::Gauge,
            "One past the last entry applied here.",
            &|group| next(group.applied),
        ),
        (
            "holdfast_raft_flushed_entries",
            Kind::Gauge,
            "One past the last entry whose effect survives without the log.",
            &|group| next(group.flushed),
        ),
        (
            "holdfast_raft_purged_entries",
            Kind::Gauge,
            "One past the last entry that the log no longer holds.",
            &|group| next(group.purged),
        ),
        (
            "holdfast_raft_snapshots_installed_total",
            Kind::Counter,
            "Snapshots of other nodes put in force here.",
            &|group| group.snapshots,
        ),
    ];
    for (name, kind, help, of) in families {
        page.family(name, kind, help);
        for group in groups {
            page.sample(&[("group", &group.group)], of(group));
        }
    }
}

fn peers(core: &Core, page: &mut Exposition) {
    let peers = core.peers.status();
    page.family(
        "holdfast_peer_connected",
        Kind::Gauge,
        "1 if this node can ask the peer.",
    );
    for peer in &peers {
        let connected = u8::from(peer.state == PeerState::Connected);
        page.sample(&[("peer", &peer.node_id)], connected);
    }
    page.family(
        "holdfast_peer_queued_bytes",
        Kind::Gauge,
        "Bytes that wait to be sent to the peer.",
    );
    for peer in &peers {
        page.sample(&[("peer", &peer.node_id)], peer.queued_bytes);
    }
}

/// A figure of where a group's bytes are.
type OfBytes = (&'static str, &'static str, fn(&HotAndCold) -> u64);

fn hot(core: &Core, page: &mut Exposition) {
    let groups: Vec<(u32, HotAndCold)> = (0..core.groups.count())
        .map(|group| (group, core.groups.view(group).hot_and_cold()))
        .collect();
    let families: [OfBytes; 4] = [
        ("holdfast_hot_bytes", "Bytes of streams in the journal.", |group| {
            group.hot_bytes
        }),
        ("holdfast_cold_bytes", "Bytes of streams in the cold store.", |group| {
            group.cold_bytes
        }),
        (
            "holdfast_cold_dead_bytes",
            "Bytes in objects of the cold store that nothing refers to any more.",
            |group| group.dead_bytes,
        ),
        (
            "holdfast_cold_objects",
            "Objects of the cold store that the group refers to.",
            |group| group.objects,
        ),
    ];
    for (name, help, of) in families {
        page.family(name, Kind::Gauge, help);
        for (number, group) in &groups {
            page.sample(&[("group", number)], of(group));
        }
    }
}

fn cold(core: &Core, page: &mut Exposition) {
    let Some(store) = &core.cold else { return };
    let now = store.traffic().now();
    let counters = [
        (
            "holdfast_cold_puts_total",
            "Objects put, each attempt counted.",
            now.puts,
        ),
        (
            "holdfast_cold_put_bytes_total",
            "Bytes of objects stored.",
            now.put_bytes,
        ),
        (
            "holdfast_cold_ahead_total",
            "Large bodies put before the log heard of them.",
            now.ahead,
        ),
        (
            "holdfast_cold_gets_total",
            "Ranges asked for, each attempt counted.",
            now.gets,
        ),
        ("holdfast_cold_get_bytes_total", "Bytes that came back.", now.get_bytes),
        ("holdfast_cold_cache_hits_total", "Blocks found in memory.", now.hits),
        (
            "holdfast_cold_disk_hits_total",
            "Blocks found on this node's own disk.",
            now.disk_hits,
        ),
        (
            "holdfast_cold_failures_total",
            "Calls that failed, each attempt counted.",
            now.failures,
        ),
        (
            "holdfast_cold_hedges_total",
            "Reads that were asked a second time because they were slow.",
            now.hedges,
        ),
        (
            "holdfast_cold_damaged_total",
            "Reads that did not match their checksum.",
            now.damaged,
        ),
        ("holdfast_cold_deletes_total", "Objects deleted.", now.deletes),
        ("holdfast_cold_lists_total", "Pages of names listed.", now.lists),
    ];
    for (name, help, value) in counters {
        page.single(name, Kind::Counter, help, value);
    }
    page.family(
        "holdfast_cold_recorded_entries",
        Kind::Gauge,
        "One past the last entry of the log that is written down in the cold store; of groups that this node leads.",
    );
    for group in 0..core.groups.count() {
        if let Some(notes) = store.notes(group).filter(|_| core.config.cold.records()) {
            page.sample(&[("group", &group)], notes.recorded_entries);
        }
    }
    page.single(
        "holdfast_cold_cache_bytes",
        Kind::Gauge,
        "Bytes of objects kept in memory.",
        store.cached_bytes() as u64,
    );
}
