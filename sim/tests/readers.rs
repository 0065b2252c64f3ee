//! Readers at nodes that do not lead: as soon told as those at the leader, and no burden to the log.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use http::{Request, Response};
use http_body_util::Full;
use net::rt::{self, Instant};
use net::serve::Client;
use sim::cluster::{Cluster, Shape};
use sim::engine::{Control, Engine, Options};
use sim::net::NetOptions;

const NODES: usize = 3;

/// Longer than anything here waits.
const PATIENCE: Duration = Duration::from_secs(60);

async fn call(client: &Client, method: &str, uri: &str, headers: &[(&str, &str)], body: &str) -> Response<Bytes> {
    let mut request = Request::builder().method(method).uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(Bytes::copy_from_slice(body.as_bytes())));
    let answer = client.call(request.expect("a valid request"), PATIENCE).await;
    answer.expect("an answer")
}

/// Tells a tale to a whole cluster of three with one group, on a client's host.
fn told<T: Future<Output = ()> + Send + 'static>(seed: u64, shape: Shape, tale: fn(Cluster, Control) -> T) {
    let mut engine = Engine::new(seed, Options::default());
    let control = engine.control();
    let cluster = Cluster::new(&control, shape, NetOptions::default());
    let ended = engine.run_until(async move {
        cluster.start();
        let mut pending = cluster.pending();
        for _ in 0..2_000 {
            if pending.is_none() {
                break;
            }
            cluster.pass(Duration::from_millis(100)).await;
            pending = cluster.pending();
        }
        assert_eq!(pending, None, "last words: {:?}", cluster.last_words());
        let host = cluster.clients()[0];
        let client = control.spawn_on(host, "client", tale(cluster.clone(), control.clone()));
        client.await.expect("the tale is told to its end");
    });
    ended.unwrap_or_else(|halt| panic!("{halt}"));
}

fn shape() -> Shape {
    let mut shape = Shape::of(NODES as u32, 1);
    // As one by hand, with a group so calm that no chance word of the leader's helps.
    shape.config.raft.heartbeat = Duration::from_secs(10);
    shape.config.raft.election_min = Duration::from_secs(30);
    shape.config.raft.election_max = Duration::from_secs(60);
    shape.config.http.request_deadline = Duration::from_secs(30);
    shape.config.http.long_poll_timeout = Duration::from_secs(40);
    shape
}

/// A follower learns what is committed with the next word of its leader. That must be the next thing the leader says, not
/// its next heartbeat.
#[test]
fn a_follower_tells_its_readers_of_an_append_long_before_the_next_heartbeat() {
    told(1, shape(), |cluster, _| async move {
        let client = Client::default();
        let streams: Vec<String> = (0..NODES)
            .map(|at| format!("http://{}/v1/stream/tale", cluster.authority(at)))
            .collect();
        let text = [("content-type", "text/plain")];
        assert_eq!(call(&client, "PUT", &streams[0], &text, "").await.status(), 201);
        let mut next = "0".to_owned();
        for round in 0..5 {
            let waiting = streams.iter().map(|stream| {
                let (client, uri) = (client.clone(), format!("{stream}?offset=now&live=long-poll"));
                rt::spawn("reader", async move {
                    let answer = call(&client, "GET", &uri, &[], "").await;
                    (answer, Instant::now())
                })
            });
            let waiting: Vec<_> = waiting.collect();
            // Until the last of them surely waits, and no word of the leader's is under way.
            rt::sleep(Duration::from_secs(3)).await;
            let appended = call(&client, "POST", &streams[round % NODES], &text, "news").await;
            assert_eq!(appended.status(), 204);
            let appended = Instant::now();
            for (at, reader) in waiting.into_iter().enumerate() {
                let (answer, heard) = reader.await.expect("it ends");
                assert_eq!(
                    (answer.status().as_u16(), &answer.body()[..]),
                    (200, &b"news"[..]),
                    "node {at}"
                );
                let after = heard.saturating_duration_since(appended);
                assert!(after < Duration::from_millis(100), "node {at} told it {after:?} later");
                let offset = answer.headers()["stream-next-offset"]
                    .to_str()
                    .expect("text")
                    .to_owned();
                assert!(offset >= next, "{offset} after {next}");
                next = offset;
            }
        }
    });
}

/// How many entries the logs hold: all nodes have applied all of them.
async fn log_len(cluster: &Cluster) -> u64 {
    let last = |at| cluster.node(at).expect("it runs").status().groups[0].last_log;
    let ends = (0..NODES).filter_map(last).map(|entry| entry.index);
    ends.max().expect("a log")
}

#[test]
fn a_thousand_reads_of_a_stream_that_lives_by_its_use_are_a_few_entries_of_the_log() {
    let mut shape = shape();
    shape.config.raft.heartbeat = Duration::from_millis(250);
    told(2, shape, |cluster, _| async move {
        let client = Client::default();
        let streams: Vec<String> = (0..NODES)
            .map(|at| format!("http://{}/v1/stream/kept", cluster.authority(at)))
            .collect();
        // A use is noted when the last one noted is older than a sixteenth of this.
        let headers = [("content-type", "text/plain"), ("stream-ttl", "160")];
        assert_eq!(call(&client, "PUT", &streams[0], &headers, "x").await.status(), 201);
        let read = async |at: usize| {
            let answer = call(&client, "GET", &format!("{}?offset=-1", streams[at]), &[], "").await;
            assert_eq!((answer.status().as_u16(), &answer.body()[..]), (200, &b"x"[..]));
        };
        for (manner, at_most) in [("one after the other", 4), ("all at once", NODES as u64)] {
            rt::sleep(Duration::from_secs(11)).await;
            let (before, began) = (log_len(&cluster).await, Instant::now());
            if at_most == 4 {
                for number in 0..1_000 {
                    read(number % NODES).await;
                }
            } else {
                join_all((0..1_000).map(|number| read(number % NODES))).await;
            }
            let (entries, took) = (log_len(&cluster).await - before, began.elapsed());
            assert!(
                (1..=at_most).contains(&entries),
                "{manner}: {entries} entries for 1000 reads in {took:?}"
            );
        }
    });
}
