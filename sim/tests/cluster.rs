//! True nodes in the false world: they find each other, take appends over HTTP, and outlive their faults.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Full;
use net::serve::Client;
use sim::cluster::{Cluster, Shape};
use sim::engine::{Engine, Options};
use sim::fault::{Fault, Whom};
use sim::net::NetOptions;
use sim::trace::{Kept, Written};

async fn call(client: &Client, method: Method, uri: String, body: &'static str) -> (u16, Bytes) {
    let request = Request::builder()
        .method(method)
        .uri(uri)
        .header("content-type", "text/plain")
        .body(Full::new(Bytes::from_static(body.as_bytes())))
        .expect("a valid request");
    match client.call(request, Duration::from_secs(10)).await {
        Ok(answer) => (answer.status().as_u16(), answer.into_body()),
        Err(error) => (0, Bytes::from(error.to_string())),
    }
}

async fn whole(cluster: &Cluster) {
    let mut pending = None;
    for _ in 0..200 {
        pending = cluster.pending();
        if pending.is_none() {
            return;
        }
        cluster.pass(Duration::from_millis(100)).await;
    }
    panic!(
        "after twenty seconds: {pending:?}; last words: {:?}",
        cluster.last_words()
    );
}

/// Appends through one node, reads through another, with whatever happens in between.
fn tale(seed: u64, nodes: u32, between: impl Fn(&Cluster) + Send + 'static) -> (String, u64) {
    let mut engine = Engine::new(seed, Options::default());
    let kept = Kept::default();
    engine.set_trace(Some(Box::new(Written::to(kept.clone()))));
    let cluster = Cluster::new(&engine.control(), Shape::of(nodes, 2), NetOptions::default());
    let control = engine.control();
    let told = engine.run_until(async move {
        cluster.start();
        let watcher = cluster.clone();
        let watch = net::rt::spawn("watch", async move { watcher.watch().await });
        whole(&cluster).await;
        let (first, last) = (cluster.authority(0), cluster.authority(nodes as usize - 1));
        let teller = cluster.clone();
        let host = cluster.clients()[0];
        let client = control.spawn_on(host, "client", async move {
            let client = Client::default();
            let at = |authority: &str| format!("http://{authority}/v1/stream/tale");
            assert_eq!(call(&client, Method::PUT, at(&first), "").await.0, 201);
            assert_eq!(call(&client, Method::POST, at(&first), "once ").await.0, 204);
            between(&teller);
            teller.pass(Duration::from_secs(8)).await;
            whole(&teller).await;
            // Connections from before may have died without a word.
            let client = Client::default();
            assert_eq!(call(&client, Method::POST, at(&last), "more").await.0, 204);
            let (status, body) = call(&client, Method::GET, format!("{}?offset=-1", at(&first)), "").await;
            assert_eq!((status, &body[..]), (200, &b"once more"[..]));
        });
        client.await.expect("the client tells its tale to the end");
        watch.abort();
        assert_eq!(cluster.broken(), None);
        let (observations, confirmed) = cluster.observations();
        assert!(
            observations > 100 && confirmed > 0,
            "{observations} observations, {confirmed} confirmed on disks"
        );
    });
    if let Err(halt) = told {
        let text = kept.text();
        let tail: Vec<&str> = text.lines().rev().take(80).collect();
        panic!("{halt}\n{}", tail.into_iter().rev().collect::<Vec<_>>().join("\n"));
    }
    (kept.text(), engine.control().hash())
}

#[test]
fn one_node_takes_an_append_and_gives_it_back_after_a_power_loss() {
    tale(1, 1, |cluster| {
        cluster.strike(Fault::PowerLoss(Whom::Everyone));
        cluster.strike(Fault::Restart(Whom::Everyone));
    });
}

#[test]
fn three_nodes_outlive_the_power_loss_of_all() {
    tale(2, 3, |cluster| {
        cluster.strike(Fault::PowerLoss(Whom::Everyone));
        cluster.strike(Fault::Restart(Whom::Everyone));
    });
}

#[test]
fn three_nodes_outlive_a_crash_of_the_leader() {
    tale(3, 3, |cluster| {
        cluster.strike(Fault::Crash(Whom::LeaderOf(0)));
        cluster.strike(Fault::Restart(Whom::Everyone));
    });
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let tell = || {
        tale(4, 3, |cluster| {
            cluster.strike(Fault::PowerLoss(Whom::LeaderOf(1)));
            cluster.strike(Fault::Restart(Whom::Everyone));
        })
    };
    let (first, second) = (tell(), tell());
    assert_eq!(first.1, second.1);
    assert_eq!(first.0, second.0);
}
