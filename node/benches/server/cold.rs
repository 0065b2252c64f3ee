//! What old bytes cost that move to a bucket, and how soon they come back. The bucket is moto's, on this machine: a process in
//! Python that shares the cores with all else, so what waits for it is slower here than with a true store.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use net::serve::Client;
use serde_json::{Value, json};

use crate::load::Load;
use crate::moto::Moto;
use crate::processes::{Server, configured};
use crate::{KIB, answer, say, write_large};

/// Bytes move soon after they come.
const SOON: &str = "hot_age = \"1s\"\nevery = \"500ms\"\nrecord_every = \"2s\"\n";

/// A bucket, and nodes that use it.
struct Bucket {
    moto: Arc<Moto>,
    folder: tempfile::TempDir,
}

impl Bucket {
    fn new() -> Self {
        Self {
            moto: Moto::shared(),
            folder: tempfile::tempdir().expect("a folder"),
        }
    }

    fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The sections of a configuration.
    fn sections(&self, prefix: &str, cold: &str) -> String {
        let endpoint = self.moto.options("").endpoint.expect("it has one");
        format!(
            "[cold]\nbackend = \"s3\"\n{cold}[s3]\nbucket = \"bucket\"\nprefix = {prefix:?}\nendpoint = {endpoint:?}\n\
             addressing = \"path\"\naccess_key_id = \"key\"\nsecret_access_key = \"$BENCH_SECRET\"\n"
        )
    }
}

async fn stats(server: &Server) -> Value {
    let url = format!("http://{}/cluster/hot-cold-stats", server.authority);
    let request = Request::get(url).body(Full::new(Bytes::new())).expect("a request");
    let answer = Client::default().call(request, Duration::from_secs(10)).await;
    serde_json::from_slice(answer.expect("an answer").body()).expect("JSON")
}

/// Waits until almost nothing is left in the journal, and all is written down.
async fn moved(server: &Server) {
    let began = Instant::now();
    loop {
        let now = stats(server).await;
        let behind = now["groups"].as_array().into_iter().flatten().any(|group| {
            let recorded = group["sweep"]["recorded_entries"].as_u64().unwrap_or(0);
            recorded == 0
        });
        if now["total"]["hot_bytes"].as_u64() == Some(0) && !behind {
            // Another round: what told of the last moves is written down, too.
            return net::rt::sleep(Duration::from_secs(4)).await;
        }
        assert!(
            began.elapsed() < Duration::from_secs(300),
            "old bytes do not move: {now}"
        );
        net::rt::sleep(Duration::from_millis(200)).await;
    }
}

/// Appends to a node that moves everything at once, and to one that moves nothing, in turns; and what that asks of the bucket.
pub(crate) async fn flush(load: &Load) {
    let bucket = Bucket::new();
    let mut figures = Vec::new();
    for (name, more) in [("still", String::new()), ("moving", bucket.sections("flush", SOON))] {
        let server = configured(bucket.folder(), name, &more).expect("a server");
        server.ready(&Client::default(), "/readyz/cluster").await;
        let authorities = [server.authority.clone()];
        Load {
            span: Duration::from_secs(3),
            ..*load
        }
        .append(&authorities)
        .await;
        let (cpu, before) = (server.cpu_us(), traffic(&server).await);
        let run = load.append(&authorities).await;
        let per_append = (server.cpu_us() - cpu) as f64 / run.acknowledged.max(1) as f64;
        let put_bytes = traffic(&server).await["put_bytes"].as_u64().unwrap_or(0);
        let put_mib = (put_bytes - before["put_bytes"].as_u64().unwrap_or(0)) as f64 / KIB as f64 / KIB as f64;
        figures.push((run.per_second(), per_append, put_mib));
    }
    let [(still, cpu_still, _), (moving, cpu_moving, put_mib)] = figures[..] else {
        return;
    };
    say(
        "flush",
        &format!(
            "{moving:.0} appends/s while all of it moves and is written down ({put_mib:.0} MiB put), {still:.0} while nothing does: \
             {:.2} of it · {cpu_moving:.0} and {cpu_still:.0} µs CPU an append",
            moving / still
        ),
        json!({ "moving_per_second": moving, "still_per_second": still, "ratio": moving / still,
                "cpu_us_moving": cpu_moving, "cpu_us_still": cpu_still, "put_mib": put_mib }),
    );
}

async fn traffic(server: &Server) -> Value {
    stats(server).await["traffic"].clone()
}

/// A stream of `mib` MiB that is in the bucket, read by one client after the server has forgotten it.
pub(crate) async fn catch_up(mib: usize) {
    let bucket = Bucket::new();
    let mut server = configured(bucket.folder(), "history", &bucket.sections("history", SOON)).expect("a server");
    server.ready(&Client::default(), "/readyz/cluster").await;
    write_large(&server.authority, "history", mib).await;
    moved(&server).await;
    server.again().expect("a restart");
    server.ready(&Client::default(), "/readyz/cluster").await;
    let (began, cpu) = (Instant::now(), server.cpu_us());
    answer::read_all(&server.authority, "history", mib * KIB * KIB).await;
    let seconds = began.elapsed().as_secs_f64();
    let cpu_ms = (server.cpu_us() - cpu) as f64 / 1e3 / mib as f64;
    let gets = traffic(&server).await["gets"].as_u64().unwrap_or(0);
    say(
        "cold-catch-up",
        &format!(
            "{mib} MiB from the bucket: {:.0} MiB/s · {cpu_ms:.2} ms CPU a MiB · {gets} gets",
            mib as f64 / seconds
        ),
        json!({ "mib": mib, "mib_per_second": mib as f64 / seconds, "cpu_ms_per_mib": cpu_ms, "gets": gets }),
    );
}

/// What appends to many streams ask of the bucket.
pub(crate) async fn puts(streams: usize, mib: usize) {
    let bucket = Bucket::new();
    let seldom = "hot_age = \"10s\"\n";
    let server = configured(bucket.folder(), "puts", &bucket.sections("puts", seldom)).expect("a server");
    server.ready(&Client::default(), "/readyz/cluster").await;
    let load = Load {
        streams,
        connections: 32,
        body: KIB,
        span: Duration::from_secs(240),
    };
    let run = load
        .append_count(std::slice::from_ref(&server.authority), mib * KIB)
        .await;
    moved(&server).await;
    let traffic = traffic(&server).await;
    let puts = traffic["puts"].as_u64().unwrap_or(0);
    let gib = run.acknowledged as f64 / KIB as f64 / KIB as f64;
    say(
        "puts",
        &format!(
            "{gib:.2} GiB in appends of 1 KiB to {streams} streams: {puts} puts, {:.0} a GiB",
            puts as f64 / gib
        ),
        json!({ "streams": streams, "gib": gib, "puts": puts, "puts_per_gib": puts as f64 / gib, "traffic": traffic }),
    );
}

/// A node that lost everything, brought back from the bucket.
pub(crate) async fn restore(streams: usize, body: usize) {
    let bucket = Bucket::new();
    let sections = bucket.sections("restore", SOON);
    let mut server = configured(bucket.folder(), "lost", &sections).expect("a server");
    server.ready(&Client::default(), "/readyz/cluster").await;
    let load = Load {
        streams: 1,
        connections: 32,
        body,
        span: Duration::from_secs(240),
    };
    load.create(&server.authority, streams).await;
    moved(&server).await;
    server.kill();
    fs::remove_dir_all(bucket.folder().join("lost")).expect("its data");

    let config: PathBuf = bucket.folder().join("lost.toml");
    let began = Instant::now();
    let prepared = Command::new(env!("CARGO_BIN_EXE_holdfast"))
        .args(["restore", "--config"])
        .arg(&config)
        .env("BENCH_SECRET", "secret")
        .output()
        .expect("the program");
    assert!(
        prepared.status.success(),
        "{}",
        String::from_utf8_lossy(&prepared.stderr)
    );
    let preparing = began.elapsed().as_secs_f64();
    server.again().expect("a start");
    server.ready(&Client::default(), "/readyz/cluster").await;
    let restored = began.elapsed().as_secs_f64();
    let there = stats(&server).await;
    let gib = (streams * body) as f64 / f64::from(1 << 30);
    let cold = there["total"]["cold_bytes"].as_u64().unwrap_or(0) + there["total"]["hot_bytes"].as_u64().unwrap_or(0);
    assert_eq!(cold, (streams * body) as u64, "all bytes are there again");
    say(
        "restore",
        &format!(
            "{gib:.2} GiB in {streams} streams: serving {restored:.1} s after it began ({preparing:.1} s of them waiting for signs of life)"
        ),
        json!({ "streams": streams, "gib": gib, "restored_after_s": restored, "preparing_s": preparing }),
    );
}
