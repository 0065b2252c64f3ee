//! What a node says about itself, and how it ends.

use std::time::Duration;

use net::rt;
use node::Node;
use serde_json::Value;
use tokio::io::AsyncWriteExt;

use crate::server::{Server, listen, with_config, with_server, within, world};

async fn json(server: &Server, path: &str) -> (u16, Value) {
    let answer = server.call_at("GET", path, &[], b"").await;
    let body = serde_json::from_slice(answer.body()).expect("JSON");
    (answer.status().as_u16(), body)
}

#[test]
fn a_node_that_lives_is_healthy_and_soon_ready() {
    with_server(async |server: &Server| {
        assert_eq!(json(server, "/healthz").await.0, 200);
        // The groups elect themselves within moments.
        for _ in 0..100 {
            if json(server, "/readyz/cluster").await.0 == 200 {
                break;
            }
            rt::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(json(server, "/readyz/local").await.0, 200);
        assert_eq!(json(server, "/readyz/cluster").await.0, 200);
        let (status, body) = json(server, "/cluster/status").await;
        assert_eq!(status, 200);
        assert_eq!(body["node_id"], 1, "{body:#}");
        assert_eq!(body["groups"].as_array().map(Vec::len), Some(16), "{body:#}");
    });
}

#[test]
fn the_routes_are_described_for_machines() {
    with_server(async |server: &Server| {
        let (status, described) = json(server, "/openapi.json").await;
        assert_eq!((status, described["openapi"].as_str()), (200, Some("3.1.0")));
        for path in ["/v1/stream/{path}", "/{bucket}/{stream}", "/{bucket}", "/healthz"] {
            assert!(described["paths"][path].is_object(), "{path}");
        }
    });
}

#[test]
fn a_second_listener_serves_the_same() {
    let second = within(async {
        let free = rt::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        free.local_addr().expect("its address").to_string()
    });
    let config = |config: &mut node::config::Config| config.server.second_listen = Some(second.clone());
    with_config(config, async |server: &Server| {
        server.create("s").await;
        let mut other = rt::TcpStream::connect(&second).await.expect("it listens there, too");
        other
            .write_all(b"HEAD /v1/stream/s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            .await
            .expect("it is sent");
        let answer = listen(&mut other, Duration::from_secs(5)).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    });
}

#[test]
fn a_shutdown_finishes_what_is_under_way_and_lets_nobody_in() {
    with_server(async |server: &Server| {
        server.create("s").await;
        let mut half = server.connect().await;
        half.write_all(
            b"POST /v1/stream/s HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: 10\r\n\r\n12345",
        )
        .await
        .unwrap();
        rt::sleep(Duration::from_millis(100)).await;
        let node = server.node.clone();
        let ending = rt::spawn("ending", async move { node.shutdown(Duration::from_secs(5)).await });
        rt::sleep(Duration::from_millis(100)).await;
        assert!(!ending.is_finished(), "a request is under way");
        half.write_all(b"67890").await.unwrap();
        let heard = listen(&mut half, Duration::from_secs(2)).await;
        assert!(heard.starts_with("HTTP/1.1 204"), "{heard}");
        ending.await.unwrap();
    });
}

#[test]
fn a_node_comes_back_with_what_it_had() {
    within(async {
        let world = world();
        let mut config = node::config::Config::default();
        config.server.listen = "127.0.0.1:0".to_owned();
        for round in 0..3 {
            let server = Server::new(Node::start(config.clone(), world.clone()).await.expect("it starts"));
            if round == 0 {
                server.create("s").await;
            }
            server.append("s", b"x").await;
            assert_eq!(server.read("s").await.len(), round + 1);
            server.node.shutdown(Duration::from_secs(1)).await;
        }
    });
}

#[test]
fn a_directory_of_another_node_is_refused_at_the_start() {
    within(async {
        let world = world();
        let mut config = node::config::Config::default();
        config.server.listen = "127.0.0.1:0".to_owned();
        let first = Node::start(config.clone(), world.clone()).await.expect("it starts");
        first.shutdown(Duration::ZERO).await;
        config.server.node_id = 2;
        let Err(refused) = Node::start(config, world).await else {
            panic!("it started")
        };
        assert!(refused.to_string().contains("belongs to node 1"), "{refused}");
    });
}

#[test]
fn what_is_done_shows_in_the_metrics() {
    with_server(async |server: &Server| {
        let page = async || {
            let answer = server.call_at("GET", "/metrics", &[], b"").await;
            assert_eq!(answer.status(), 200);
            assert_eq!(
                answer.headers()["content-type"],
                "text/plain; version=0.0.4; charset=utf-8"
            );
            String::from_utf8(answer.body().to_vec()).expect("text")
        };
        let figure = |page: &str, name: &str| -> f64 {
            let line = page
                .lines()
                .find(|line| line.rsplit_once(' ').is_some_and(|(of, _)| of == name));
            let line = line.unwrap_or_else(|| panic!("{name} is not in\n{page}"));
            line.rsplit(' ')
                .next()
                .and_then(|value| value.parse().ok())
                .expect("a number")
        };
        server.create("s").await;
        let before = page().await;
        for _ in 0..3 {
            let kind = [("Content-Type", "text/plain")];
            assert_eq!(
                server.call_at("POST", "/v1/stream/s", &kind, b"12345").await.status(),
                204
            );
        }
        assert_eq!(
            server
                .call_at("GET", "/v1/stream/absent?offset=-1", &[], b"")
                .await
                .status(),
            404
        );
        let after = page().await;
        assert_eq!(
            figure(&after, r#"holdfast_http_requests_total{method="POST",status="204"}"#),
            3.0
        );
        assert_eq!(
            figure(&after, r#"holdfast_http_requests_total{method="GET",status="404"}"#),
            1.0
        );
        let grown = |name| figure(&after, name) - figure(&before, name);
        assert_eq!(grown(r#"holdfast_http_first_byte_seconds_count{errand="write"}"#), 3.0);
        assert!(grown("holdfast_journal_records_total") >= 3.0);
        assert!(grown("holdfast_journal_syncs_total") >= 3.0, "one after the other");
        let applied = |page: &str| -> f64 {
            let of = |group| figure(page, &format!("holdfast_raft_applied_entries{{group=\"{group}\"}}"));
            (0..16).map(of).sum()
        };
        assert!(applied(&after) - applied(&before) >= 3.0);
        assert_eq!(figure(&after, "holdfast_http_held_bytes"), 0.0);
    });
}
