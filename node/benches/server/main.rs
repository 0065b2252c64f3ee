//! What the server costs, measured on real processes over loopback: `cargo bench -p node --features real`.
//!
//! Load and servers share the machine, so absolute figures mean little; each run also measures a server that does
//! nothing with the same load in the same minute, and every figure stands beside it as a ratio. Names on the command
//! line choose: `cargo bench -p node --features real -- append-three hot-three`.

// A benchmark stands outside the node: it takes time, files and processes from the machine.
#![expect(
    clippy::disallowed_methods,
    reason = "a benchmark measures the machine's own time and files"
)]

mod answer;
mod cold;
mod live;
mod load;
#[expect(dead_code, reason = "tests of storage use all of it")]
#[path = "../../../storage/tests/s3/moto.rs"]
mod moto;
mod null;
mod processes;

use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use live::FanOut;
use load::Load;
use net::serve::Client;
use processes::Server;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const KIB: usize = 1024;

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    let wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|w| w == name);
    let all = net::rt::block_on(async move {
        let spread = Load {
            streams: 100,
            connections: 32,
            body: KIB,
            span: Duration::from_secs(10),
        };
        let hot = Load { streams: 1, ..spread };
        if wanted("null") {
            null_server(&spread).await;
        }
        if wanted("append-one") {
            append("append-one", 1, &spread).await;
        }
        if wanted("append-three") {
            append("append-three", 3, &spread).await;
        }
        if wanted("hot-three") {
            append("hot-three", 3, &hot).await;
        }
        if wanted("idle") {
            idle().await;
        }
        if wanted("restart") {
            restart(100_000).await;
        }
        if wanted("slow-readers") {
            slow_readers(8, 1024).await;
        }
        if wanted("fan-out") {
            fan_out(1000).await;
        }
        if wanted("catch-up") {
            catch_up(64).await;
        }
        if wanted("idle-streams") {
            idle_streams(100_000).await;
        }
        if wanted("flush") {
            cold::flush(&spread).await;
        }
        if wanted("cold-catch-up") {
            cold::catch_up(256).await;
        }
        if wanted("puts") {
            cold::puts(10_000, 1024).await;
        }
        if wanted("restore") {
            cold::restore(100_000, 10_737).await;
        }
    });
    all.expect("a runtime");
}

/// One line for a person, and the same for a machine.
fn say(name: &str, sentence: &str, figures: serde_json::Value) {
    println!("{name:13} {sentence}");
    println!("{}", json!({ "bench": name, "figures": figures }));
    let _ = std::io::stdout().flush();
}

async fn start(folder: &Path, nodes: usize) -> Vec<Server> {
    let servers = match nodes {
        1 => vec![processes::one(folder).expect("a server")],
        _ => processes::three(folder).expect("three servers"),
    };
    let client = Client::default();
    for server in &servers {
        server.ready(&client, "/readyz/cluster").await;
    }
    servers
}

async fn null_server(load: &Load) {
    let authority = null::serve().await.expect("a listener");
    let run = load.append(&[authority]).await;
    say("null", &run.sentence(), run.figures(None));
}

/// Appends to `nodes` nodes, and to a server that does nothing, in turns.
async fn append(name: &str, nodes: usize, load: &Load) {
    let folder = tempfile::tempdir().expect("a folder");
    let servers = start(folder.path(), nodes).await;
    let authorities: Vec<String> = servers.iter().map(|s| s.authority.clone()).collect();
    // Leaders settle and caches warm before anything is measured.
    Load {
        span: Duration::from_secs(3),
        ..*load
    }
    .append(&authorities)
    .await;
    let cpu = |servers: &[Server]| servers.iter().map(Server::cpu_us).sum::<u64>();
    let before = cpu(&servers);
    let run = load.append(&authorities).await;
    let per_append = (cpu(&servers) - before) as f64 / run.acknowledged.max(1) as f64;
    let null = null::serve().await.expect("a listener");
    let ceiling = Load {
        span: Duration::from_secs(3),
        ..*load
    }
    .append(&[null])
    .await;
    let ratio = run.per_second() / ceiling.per_second();
    say(
        name,
        &format!(
            "{} · {per_append:.0} µs CPU an append · {ratio:.2} of a server that does nothing",
            run.sentence()
        ),
        run.figures(Some(json!({ "cpu_us_per_append": per_append, "ratio_to_null": ratio }))),
    );
}

async fn idle() {
    let folder = tempfile::tempdir().expect("a folder");
    let servers = start(folder.path(), 1).await;
    net::rt::sleep(Duration::from_secs(3)).await;
    let before = servers[0].cpu_us();
    net::rt::sleep(Duration::from_secs(5)).await;
    let cpu_us = servers[0].cpu_us() - before;
    let (now, peak) = servers[0].memory_kib();
    say(
        "idle",
        &format!(
            "{} MiB resident (highest {} MiB), {:.1} ms CPU a second",
            now / 1024,
            peak / 1024,
            cpu_us as f64 / 5e3
        ),
        json!({ "rss_kib": now, "peak_kib": peak, "cpu_ms_per_s": cpu_us as f64 / 5e3 }),
    );
}

async fn restart(records: usize) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut servers = start(folder.path(), 1).await;
    let load = Load {
        streams: 100,
        connections: 32,
        body: KIB,
        span: Duration::from_secs(120),
    };
    let run = load.append_count(&[servers[0].authority.clone()], records).await;
    servers[0].again().expect("a restart");
    let client = Client::default();
    let path = format!("/v1/stream/{}?offset=-1", load::stream_name(0));
    let took = servers[0].ready(&client, &path).await;
    say(
        "restart",
        &format!(
            "killed with {} records of 1 KiB, readable after {} ms",
            run.acknowledged,
            took.as_millis()
        ),
        json!({ "records": run.acknowledged, "readable_after_ms": took.as_millis() as u64 }),
    );
}

/// A stream of `mib` MiB, read by clients that take about a MiB a second each, for some seconds.
async fn slow_readers(readers: usize, mib: usize) {
    let folder = tempfile::tempdir().expect("a folder");
    let servers = start(folder.path(), 1).await;
    let authority = servers[0].authority.clone();
    let client = Client::default();
    let url = format!("http://{authority}/v1/stream/large");
    let octets = "application/octet-stream";
    let call = |request: Request<Full<Bytes>>| {
        let client = client.clone();
        async move {
            client
                .call(request, Duration::from_secs(60))
                .await
                .expect("an answer")
                .status()
        }
    };
    let put = Request::put(&url)
        .header("content-type", octets)
        .body(Full::new(Bytes::new()))
        .expect("a request");
    assert!(call(put).await.is_success());
    let piece = Bytes::from(vec![b'x'; 4 * KIB * KIB]);
    for _ in 0..mib / 4 {
        let post = Request::post(&url)
            .header("content-type", octets)
            .body(Full::new(piece.clone()))
            .expect("a request");
        assert!(call(post).await.is_success());
    }
    let (written, _) = servers[0].memory_kib();
    let mut tasks = Vec::new();
    for _ in 0..readers {
        let authority = authority.clone();
        tasks.push(net::rt::spawn("slow reader", async move {
            let mut stream = net::rt::TcpStream::connect(&authority).await.expect("a connection");
            let request = format!("GET /v1/stream/large?offset=-1 HTTP/1.1\r\nHost: {authority}\r\n\r\n");
            stream.write_all(request.as_bytes()).await.expect("a request");
            let mut taken = 0_usize;
            let mut buffer = vec![0_u8; 64 * KIB];
            for _ in 0..160 {
                taken += stream.read(&mut buffer).await.expect("bytes");
                net::rt::sleep(Duration::from_millis(60)).await;
            }
            taken
        }));
    }
    let mut highest = 0;
    for _ in 0..90 {
        net::rt::sleep(Duration::from_millis(100)).await;
        highest = highest.max(servers[0].memory_kib().0);
    }
    let mut taken = 0;
    for task in tasks {
        taken += task.await.expect("a reader");
    }
    say(
        "slow-readers",
        &format!(
            "{readers} slow readers of a {mib} MiB stream: {} MiB resident at most ({} MiB after writing it), {} MiB read",
            highest / 1024,
            written / 1024,
            taken / KIB / KIB
        ),
        json!({ "readers": readers, "rss_kib_max": highest, "rss_kib_after_write": written, "read_bytes": taken }),
    );
}

/// A stream with so many subscribers, 50 messages of 256 bytes a second.
async fn fan_out(subscribers: usize) {
    let folder = tempfile::tempdir().expect("a folder");
    let servers = start(folder.path(), 1).await;
    let load = FanOut {
        subscribers,
        body: 256,
        per_second: 50,
        span: Duration::from_secs(10),
    };
    let done = load.run(&servers[0]).await;
    let (p50, p99) = (done.quantile_us(0.5), done.quantile_us(0.99));
    say(
        "fan-out",
        &format!(
            "{} of {} events · {:.1} µs CPU an event · p50 {:.1} ms · p99 {:.1} ms · {:.1} KiB a subscriber",
            done.events,
            done.expected,
            done.cpu_us_per_event,
            f64::from(p50) / 1e3,
            f64::from(p99) / 1e3,
            done.kib_per_subscriber
        ),
        json!({
            "subscribers": subscribers, "events": done.events, "expected": done.expected,
            "cpu_us_per_event": done.cpu_us_per_event, "p50_us": p50, "p99_us": p99,
            "kib_per_subscriber": done.kib_per_subscriber,
        }),
    );
}

/// A stream of `mib` MiB, written in appends of 64 KiB, read from its beginning again and again by one client.
async fn catch_up(mib: usize) {
    let folder = tempfile::tempdir().expect("a folder");
    let servers = start(folder.path(), 1).await;
    let authority = &servers[0].authority;
    write_large(authority, "history", mib).await;
    let whole = mib * KIB * KIB;
    let read = || answer::read_all(authority, "history", whole);
    read().await;
    let (before, _) = servers[0].memory_kib();
    let (cpu, began, rounds) = (servers[0].cpu_us(), std::time::Instant::now(), 8);
    let mut highest = before;
    for _ in 0..rounds {
        read().await;
        highest = highest.max(servers[0].memory_kib().0);
    }
    let seconds = began.elapsed().as_secs_f64();
    let per_second = (rounds * mib) as f64 / 1024.0 / seconds;
    let cpu_ms = (servers[0].cpu_us() - cpu) as f64 / 1e3 / (rounds * mib) as f64;
    let extra_kib = highest - before;
    say(
        "catch-up",
        &format!(
            "{mib} MiB, {rounds} times: {per_second:.2} GiB/s · {cpu_ms:.2} ms CPU a MiB · {extra_kib} KiB more memory"
        ),
        json!({ "mib": mib, "gib_per_second": per_second, "cpu_ms_per_mib": cpu_ms, "extra_kib": extra_kib }),
    );
}

/// Makes a stream of `mib` MiB, in appends of 64 KiB.
async fn write_large(authority: &str, name: &str, mib: usize) {
    let client = Client::default();
    let url = format!("http://{authority}/v1/stream/{name}");
    let octets = "application/octet-stream";
    let call = |request: http::request::Builder, body: Bytes| {
        let request = request.header("content-type", octets).body(Full::new(body));
        let client = client.clone();
        async move {
            let answer = client.call(request.expect("a request"), Duration::from_secs(10)).await;
            assert!(answer.expect("an answer").status().is_success());
        }
    };
    call(Request::put(&url), Bytes::new()).await;
    let piece = Bytes::from(vec![b'x'; 64 * KIB]);
    for _ in 0..mib * 16 {
        call(Request::post(&url), piece.clone()).await;
    }
}

/// What a stream costs that nobody uses.
async fn idle_streams(streams: usize) {
    let folder = tempfile::tempdir().expect("a folder");
    let servers = start(folder.path(), 1).await;
    let load = Load {
        streams: 1,
        connections: 32,
        body: 100,
        span: Duration::from_secs(2),
    };
    // A server that has served: what it takes once is not counted for the streams.
    load.append(&[servers[0].authority.clone()]).await;
    net::rt::sleep(Duration::from_secs(10)).await;
    let (before, _) = servers[0].memory_kib();
    Load { body: 0, ..load }.create(&servers[0].authority, streams).await;
    // Idle is what has been left alone: by then the index has written its rows and memory has gone back to the system.
    net::rt::sleep(Duration::from_secs(60)).await;
    let (after, peak) = servers[0].memory_kib();
    let each = (after.saturating_sub(before) * 1024) as f64 / streams as f64;
    say(
        "idle-streams",
        &format!(
            "{streams} streams: {each:.0} bytes resident each ({} MiB in all, highest {} MiB)",
            after / 1024,
            peak / 1024
        ),
        json!({ "streams": streams, "bytes_each": each, "rss_kib": after, "peak_kib": peak }),
    );
}
