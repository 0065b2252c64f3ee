//! What a node says to whoever looks after it: is it alive, is it ready, how does it stand?
//!
//! `/healthz` answers as long as the process does: restart it when it does not. `/readyz/local` says whether this node
//! can serve from its own state, `/readyz/cluster` whether it can also write and read what is newest: send clients
//! elsewhere when not. `/cluster/status` tells a person all of it.

use serde::Serialize;
use serde_json::{Value, json};

use crate::{Core, raft::GroupStatus};

/// What a route answers: whether things are as they should be, and the body.
pub(crate) struct Report {
    pub(crate) ok: bool,
    pub(crate) body: Value,
}

/// `/healthz`.
pub(crate) fn health() -> Report {
    Report {
        ok: true,
        body: json!({ "status": "ok" }),
    }
}

/// `/readyz/local`: the journal was read and the groups run, or nobody would answer here; what is left to say is
/// whether the node is on its way out.
pub(crate) fn ready_local(core: &Core) -> Report {
    let mut reasons = Vec::new();
    if core.ending.has_begun() {
        reasons.push("this node is shutting down".to_owned());
    }
    if let Some(reason) = core.groups.journal().poisoned() {
        reasons.push(format!("the journal failed: {reason}"));
    }
    ready(reasons)
}

/// `/readyz/cluster`: besides, every group has a leader that this node knows.
pub(crate) fn ready_cluster(core: &Core) -> Report {
    let mut reasons: Vec<String> = Vec::new();
    if core.ending.has_begun() {
        reasons.push("this node is shutting down".to_owned());
    }
    let standing = core.standing.status();
    reasons.extend(standing.waiting_for);
    if standing.cluster.is_none() && reasons.is_empty() {
        reasons.push("this node does not belong to a cluster yet".to_owned());
    }
    let leaderless: Vec<u32> = core
        .groups
        .status()
        .iter()
        .filter(|group| group.leader.is_none())
        .map(|group| group.group)
        .collect();
    if !leaderless.is_empty() {
        reasons.push(format!(
            "no leader is known for {} of {} groups: {leaderless:?}",
            leaderless.len(),
            core.groups.count()
        ));
    }
    let unreachable = led_without_quorum(core);
    if !unreachable.is_empty() {
        reasons.push(format!(
            "this node leads groups without reaching a majority: {unreachable:?}"
        ));
    }
    ready(reasons)
}

/// Groups this node leads while too few of the voters are connected to answer it.
fn led_without_quorum(core: &Core) -> Vec<u32> {
    let me = core.config.server.node_id;
    let connected: Vec<u64> = core
        .peers
        .status()
        .into_iter()
        .filter(|peer| peer.state == crate::peer::PeerState::Connected)
        .map(|peer| peer.node_id)
        .collect();
    let reached = |group: &GroupStatus| {
        group
            .voters
            .iter()
            .filter(|id| **id == me || connected.contains(id))
            .count()
    };
    let groups = core.groups.status();
    let led = groups.iter().filter(|group| group.leader == Some(me));
    led.filter(|group| reached(group) * 2 <= group.voters.len())
        .map(|group| group.group)
        .collect()
}

fn ready(reasons: Vec<String>) -> Report {
    let ok = reasons.is_empty();
    let status = if ok { "ready" } else { "not ready" };
    Report {
        ok,
        body: json!({ "status": status, "reasons": reasons }),
    }
}

#[derive(Serialize)]
struct Status {
    version: &'static str,
    advertise: String,
    #[serde(flatten)]
    node: crate::NodeStatus,
    journal: Journal,
    tail_cache_bytes: usize,
}

#[derive(Serialize)]
struct Journal {
    segments: usize,
    bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    poisoned: Option<String>,
}

/// `/cluster/status`.
pub(crate) fn status(core: &Core) -> Report {
    let journal = core.groups.journal();
    let segments = journal.segments();
    let status = Status {
        version: env!("CARGO_PKG_VERSION"),
        advertise: core.config.advertised().to_owned(),
        node: core.status(),
        journal: Journal {
            segments: segments.len(),
            bytes: segments.iter().map(|segment| segment.bytes).sum(),
            poisoned: journal.poisoned(),
        },
        tail_cache_bytes: core.groups.tail_bytes(),
    };
    let body = serde_json::to_value(status).unwrap_or_else(|error| json!({ "error": error.to_string() }));
    Report { ok: true, body }
}
