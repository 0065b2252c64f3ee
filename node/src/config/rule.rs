//! What every configuration must fulfil: each setting within its bounds, and all of them together.

use std::net::SocketAddr;

use super::section::{ColdBackend, S3Encryption};
use super::setting::{Kind, SETTINGS};
use super::unit::{KIB, show_size, show_time};
use super::{Cluster, Config};

/// What a record of the journal holds besides a body, at most.
const RECORD_OVERHEAD: u64 = 64 * KIB;

/// Longest name of a cluster, in bytes. It is sent with every hello.
const CLUSTER_NAME_BYTES_MAX: usize = 64;

/// Everything that is wrong: a setting's key, and the sentence.
pub(super) fn broken(config: &Config) -> Vec<(&'static str, String)> {
    let mut broken = Vec::new();
    let mut note = |key: &'static str, message: String| broken.push((key, message));
    bounds(config, &mut note);
    server(config, &mut note);
    if let Some(cluster) = &config.cluster {
        members(config, cluster, &mut note);
    }
    times(config, &mut note);
    sizes(config, &mut note);
    cold(config, &mut note);
    origins(config, &mut note);
    broken
}

/// Each setting for itself.
fn bounds(config: &Config, note: &mut impl FnMut(&'static str, String)) {
    for setting in SETTINGS.iter().filter(|setting| setting.is_in(config)) {
        let outside = match &setting.kind {
            Kind::Number { get, min, max, .. } if !(*min..=*max).contains(&get(config)) => {
                (get(config).to_string(), min.to_string(), max.to_string())
            }
            Kind::Size { get, min, max, .. } if !(*min..=*max).contains(&get(config)) => {
                (show_size(get(config)), show_size(*min), show_size(*max))
            }
            Kind::Time { get, min, max, .. } if !(*min..=*max).contains(&get(config)) => {
                (show_time(get(config)), show_time(*min), show_time(*max))
            }
            _ => continue,
        };
        let (found, min, max) = outside;
        // What was never given has no value to complain about; `members` says that it is missing.
        if setting.key == "cluster.bootstrap_node_id" && found == "0" {
            continue;
        }
        let message = match setting.key {
            "version" => format!("this binary reads version {min}, not {found}: take the binary that wrote the file"),
            _ => format!("is {found}: it must be {min} to {max}"),
        };
        note(setting.key, message);
    }
}

fn server(config: &Config, note: &mut impl FnMut(&'static str, String)) {
    let server = &config.server;
    let listeners = [
        ("server.listen", Some(&server.listen)),
        ("server.second_listen", server.second_listen.as_ref()),
    ];
    for (key, listen) in listeners {
        if let Some(listen) = listen.filter(|listen| listen.parse::<SocketAddr>().is_err()) {
            let message =
                format!("{listen:?} is no address to listen on: write an IP and a port, as in \"0.0.0.0:4437\"");
            note(key, message);
        }
    }
    if server.second_listen.as_ref() == Some(&server.listen) {
        let message = "is the same as server.listen: leave it out, or name another address";
        note("server.second_listen", message.to_owned());
    }
    if server.data_dir.is_empty() {
        note(
            "server.data_dir",
            "is empty: name the folder that holds what this node stores".to_owned(),
        );
    }
    if let Some(advertise) = &server.advertise
        && let Err(message) = host_and_port(advertise)
    {
        note("server.advertise", message);
    }
}

fn members(config: &Config, cluster: &Cluster, note: &mut impl FnMut(&'static str, String)) {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if cluster.name.is_empty() {
        note(
            "cluster.name",
            "is missing: give the cluster a name, the same on every node".to_owned(),
        );
    } else if cluster.name.len() > CLUSTER_NAME_BYTES_MAX || !cluster.name.chars().all(legal) {
        let message = format!("has up to {CLUSTER_NAME_BYTES_MAX} letters, digits, dots, dashes and underscores");
        note("cluster.name", message);
    }
    if cluster.bootstrap_node_id == 0 {
        let message = "is missing: name the one node that may found the cluster, the same on every node";
        note("cluster.bootstrap_node_id", message.to_owned());
    }
    for (place, route) in cluster.routes.iter().enumerate() {
        if let Err(message) = host_and_port(route) {
            note("cluster.routes", message);
        }
        if cluster.routes[..place].contains(route) {
            note(
                "cluster.routes",
                format!("{route} is listed twice: list every other node once"),
            );
        }
        if config.server.advertise.as_ref() == Some(route) {
            note(
                "cluster.routes",
                format!("{route} is this node itself: list only the others"),
            );
        }
    }
    if !cluster.routes.is_empty() && config.server.advertise.is_none() {
        let message = "is missing: where there are routes, say at which host and port the others reach this node";
        note("server.advertise", message.to_owned());
    }
    if cluster.routes.is_empty() && cluster.bootstrap_node_id != 0 && cluster.bootstrap_node_id != config.server.node_id
    {
        let message = format!(
            "is empty, but node {} founds the cluster: list where that node and the others are reached",
            cluster.bootstrap_node_id
        );
        note("cluster.routes", message);
    }
}

fn times(config: &Config, note: &mut impl FnMut(&'static str, String)) {
    let raft = &config.raft;
    if raft.election_min < raft.heartbeat * 2 {
        let (is, heartbeat) = (show_time(raft.election_min), show_time(raft.heartbeat));
        let message =
            format!("is {is}: at least twice raft.heartbeat ({heartbeat}), or one lost message topples a leader");
        note("raft.election_min", message);
    }
    if raft.election_max <= raft.election_min {
        let (is, min) = (show_time(raft.election_max), show_time(raft.election_min));
        note(
            "raft.election_max",
            format!("is {is}: more than raft.election_min ({min}), or nodes stand at once for ever"),
        );
    }
    if raft.lease > raft.election_min / 2 {
        let (is, min) = (show_time(raft.lease), show_time(raft.election_min));
        note(
            "raft.lease",
            format!("is {is}: at most half of raft.election_min ({min}), or a deposed leader may serve stale reads"),
        );
    }
}

fn sizes(config: &Config, note: &mut impl FnMut(&'static str, String)) {
    let max_body = config.http.max_body;
    let shown = show_size(max_body);
    if config.http.max_inflight < max_body {
        note(
            "http.max_inflight",
            format!("is smaller than http.max_body ({shown}): no such body would ever be let in"),
        );
    }
    for (key, size) in [
        ("journal.segment", config.journal.segment),
        ("journal.queue", config.journal.queue),
    ] {
        if size < max_body.saturating_add(RECORD_OVERHEAD) {
            let (size, overhead) = (show_size(size), show_size(RECORD_OVERHEAD));
            note(
                key,
                format!("is {size}: at least http.max_body ({shown}) and {overhead}, or a body does not fit"),
            );
        }
    }
    if config.raft.keep_entries > config.raft.snapshot_entries {
        let message = format!(
            "is {}: no more than raft.snapshot_entries ({})",
            config.raft.keep_entries, config.raft.snapshot_entries
        );
        note("raft.keep_entries", message);
    }
}

fn cold(config: &Config, note: &mut impl FnMut(&'static str, String)) {
    match config.cold.backend {
        ColdBackend::Local if config.cluster.is_some() => {
            let message = "\"local\" is a folder that the other nodes cannot read: write \"none\", and the journal keeps \
                           everything";
            note("cold.backend", message.to_owned());
        }
        ColdBackend::S3 => s3(config, note),
        ColdBackend::None | ColdBackend::Local => {}
    }
    let cold = &config.cold;
    if cold.hot_max <= cold.hot_group {
        let (is, group) = (show_size(cold.hot_max), show_size(cold.hot_group));
        note(
            "cold.hot_max",
            format!("is {is}: more than cold.hot_group ({group}), or appends are refused before anything moves"),
        );
    }
}

fn s3(config: &Config, note: &mut impl FnMut(&'static str, String)) {
    let s3 = &config.s3;
    if s3.bucket.is_none() {
        let message = "is missing: cold.backend is \"s3\", so write the name of the bucket under [s3]";
        note("s3.bucket", message.to_owned());
    }
    match (&s3.access_key_id, &s3.secret_access_key) {
        (Some(_), None) => note(
            "s3.secret_access_key",
            "is missing: an access key has an id and a secret, so give both, or neither for the standard chain"
                .to_owned(),
        ),
        (None, Some(_)) => note(
            "s3.access_key_id",
            "is missing: an access key has an id and a secret, so give both, or neither for the standard chain"
                .to_owned(),
        ),
        (Some(_), Some(_)) | (None, None) => {}
    }
    if s3
        .secret_access_key
        .as_deref()
        .is_some_and(|secret| !secret.starts_with('$'))
    {
        let message = "stands in the open: write \"$NAME\", and the secret into the environment variable NAME";
        note("s3.secret_access_key", message.to_owned());
    }
    if (s3.encryption == S3Encryption::Kms) != s3.kms_key.is_some() {
        let message = "goes with s3.encryption = \"kms\": give both or neither";
        note("s3.kms_key", message.to_owned());
    }
}

/// Origins are compared letter by letter, so one that no browser would send is a mistake.
fn origins(config: &Config, note: &mut impl FnMut(&'static str, String)) {
    let origins = &config.http.cors_origin;
    if origins.len() > 1 && origins.iter().any(|origin| origin == "*") {
        let message = "has \"*\" and others: write [\"*\"] alone, or name each origin";
        note("http.cors_origin", message.to_owned());
    }
    for origin in origins.iter().filter(|origin| *origin != "*") {
        let host = origin.split_once("://").map_or("", |(_, host)| host);
        let lawful = |b: u8| b.is_ascii_graphic() && !b.is_ascii_uppercase() && b"/?#@,*".iter().all(|no| *no != b);
        if host.is_empty() || !host.bytes().all(lawful) || !origin.bytes().all(|b| b.is_ascii_graphic()) {
            let message = format!(
                "{origin:?} is no origin: write scheme, host and port as browsers send them, \
                 as in \"https://example.org\" or \"http://localhost:3000\", without a slash at the end"
            );
            note("http.cors_origin", message);
        }
    }
}

/// Whether others can dial this.
fn host_and_port(text: &str) -> Result<(), String> {
    let wrong = |because: &str| {
        Err(format!(
            "{text:?} {because}: write a host and a port, as in \"10.0.0.2:4437\""
        ))
    };
    if let Ok(address) = text.parse::<SocketAddr>() {
        return match (address.ip().is_unspecified(), address.port()) {
            (true, _) => wrong("is every address of a machine, and none that others can dial"),
            (_, 0) => wrong("has no port that others can dial"),
            _ => Ok(()),
        };
    }
    let Some((host, port)) = text.rsplit_once(':') else {
        return wrong("has no port");
    };
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    if host.is_empty() || !host.chars().all(legal) {
        return wrong("has no host");
    }
    match port.parse::<u16>() {
        Ok(port) if port > 0 => Ok(()),
        _ => wrong("has no port that others can dial"),
    }
}
