//! What a node says to whoever looks after it: is it alive, is it ready, how does it stand?
//!
//! `/healthz` answers as long as the process does: restart it when it does not. `/readyz/local` says whether this node
//! can serve from its own state, `/readyz/cluster` whether it can also write and read what is newest: send clients
//! elsewhere when not. `/cluster/status` tells a person all of it, `/metrics` tells Prometheus, `/cluster/hot-cold-stats` says
//! where the bytes are.

pub(crate) mod exposition;
pub(crate) mod metrics;

use std::time::Duration;

use futures_util::future::join_all;
use net::rt::Instant;
use serde::Serialize;
use serde_json::{Value, json};

use crate::{Core, raft::HotAndCold};

/// How long the leaders have to confirm themselves.
const PROBE: Duration = Duration::from_secs(1);

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

/// `/readyz/cluster`: besides, a read of every group that began now could be answered: its leader is known, and a
/// majority confirms it.
pub(crate) async fn ready_cluster(core: &Core) -> Report {
    let mut reasons: Vec<String> = Vec::new();
    if core.ending.has_begun() {
        reasons.push("this node is shutting down".to_owned());
    }
    let standing = core.standing.status();
    reasons.extend(standing.waiting_for);
    if standing.cluster.is_none() && reasons.is_empty() {
        reasons.push("this node does not belong to a cluster yet".to_owned());
    }
    if reasons.is_empty() {
        let deadline = Instant::now() + PROBE;
        let asked = (0..core.groups.count()).map(|group| core.read_index(group, deadline));
        let answers = join_all(asked).await.into_iter().enumerate();
        reasons.extend(answers.filter_map(|(group, answer)| Some(format!("group {group}: {}", answer.err()?))));
    }
    ready(reasons)
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

/// `/cluster/hot-cold-stats`: how much of what this node's replicas hold is in the journal, and how much in the cold store;
/// and of groups that it leads, what will be deleted and rewritten there.
pub(crate) fn hot_and_cold(core: &Core) -> Report {
    let groups: Vec<HotAndCold> = (0..core.groups.count())
        .map(|group| core.groups.view(group).hot_and_cold())
        .collect();
    let sum = |of: fn(&HotAndCold) -> u64| groups.iter().map(of).sum::<u64>();
    let total = json!({
        "hot_bytes": sum(|group| group.hot_bytes),
        "hot_streams": sum(|group| group.hot_streams),
        "cold_bytes": sum(|group| group.cold_bytes),
        "objects": sum(|group| group.objects),
        "dead_bytes": sum(|group| group.dead_bytes),
    });
    let per_group: Vec<Value> = (0..)
        .zip(&groups)
        .map(|(number, group): (u32, _)| {
            let mut shown = json!(group);
            shown["group"] = number.into();
            shown["leads"] = core.groups.leading_term(number).is_some().into();
            if let Some(notes) = core.cold.as_ref().and_then(|store| store.notes(number)) {
                shown["sweep"] = json!(notes);
            }
            shown
        })
        .collect();
    let traffic = core.cold.as_ref().map(|store| json!(store.traffic().now()));
    Report {
        ok: true,
        body: json!({ "backend": core.cold.is_some().then_some(core.config.cold.backend.name()),
                      "total": total, "groups": per_group, "traffic": traffic }),
    }
}
