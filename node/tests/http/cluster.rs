//! Three nodes in this process: every one of them takes every request, and says the same.

use std::time::Duration;

use net::rt::{self, TcpListener};
use node::{
    Node,
    config::{Cluster, Config, WriteRouting},
};

use crate::server::{Server, TEXT, code, header, within, world};

/// Three nodes that have found each other.
pub(crate) async fn three(change: impl Fn(&mut Config)) -> Vec<Server> {
    let mut addresses = Vec::new();
    for _ in 0..3 {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        addresses.push(listener.local_addr().expect("an address").to_string());
    }
    let mut servers = Vec::new();
    for (place, address) in addresses.iter().enumerate() {
        let mut config = Config::default();
        config.server.node_id = place as u64 + 1;
        config.server.listen = address.clone();
        config.server.advertise = Some(address.clone());
        config.cluster = Some(Cluster {
            name: "three".to_owned(),
            bootstrap_node_id: 1,
            routes: addresses.iter().filter(|other| *other != address).cloned().collect(),
            groups: 4,
        });
        config.raft.heartbeat = Duration::from_millis(100);
        config.raft.election_min = Duration::from_millis(400);
        config.raft.election_max = Duration::from_millis(800);
        config.raft.lease = Duration::from_millis(150);
        change(&mut config);
        servers.push(Server::new(Node::start(config, world()).await.expect("it starts")));
    }
    for server in &servers {
        while server.call_at("GET", "/readyz/cluster", &[], b"").await.status() != 200 {
            rt::sleep(Duration::from_millis(50)).await;
        }
    }
    servers
}

pub(crate) async fn end(servers: Vec<Server>) {
    for server in servers {
        server.node.shutdown(Duration::ZERO).await;
    }
}

#[test]
fn every_node_takes_writes_and_reads_what_another_just_took() {
    within(async {
        let servers = three(|_| {}).await;
        let mut expected = String::new();
        // Names enough to meet every group.
        for name in ["a", "b", "c", "d", "e", "f", "g", "h"] {
            servers[0].create(name).await;
            expected.clear();
            for round in 0..6 {
                let body = format!("{round},");
                servers[round % 3].append(name, body.as_bytes()).await;
                expected += &body;
                assert_eq!(servers[(round + 1) % 3].read(name).await, expected, "{name}");
            }
        }
        end(servers).await;
    });
}

#[test]
fn a_node_that_redirects_names_the_leader() {
    within(async {
        let servers = three(|config| config.http.write_routing = WriteRouting::Redirect).await;
        let mut redirected = 0;
        for name in ["a", "b", "c", "d", "e", "f"] {
            for server in &servers {
                let answer = server.call("PUT", &format!("{name}?x=1"), &TEXT, b"").await;
                if answer.status() != 307 {
                    assert!([200, 201].contains(&answer.status().as_u16()), "{:?}", answer.body());
                    continue;
                }
                redirected += 1;
                assert_eq!(code(&answer), "not_leader");
                let location = header(answer.headers(), "location");
                let leader = servers
                    .iter()
                    .find(|other| location == format!("http://{}/v1/stream/{name}?x=1", other.node.address()));
                let answer = leader.expect(location).call("PUT", name, &TEXT, b"").await;
                assert!([200, 201].contains(&answer.status().as_u16()), "{:?}", answer.body());
            }
        }
        assert!(redirected >= 6, "two of three nodes do not lead: {redirected}");
        end(servers).await;
    });
}

#[test]
fn a_node_cut_off_from_the_majority_says_so_and_still_tells_what_it_knows() {
    within(async {
        let servers = three(|config| config.http.request_deadline = Duration::from_millis(1500)).await;
        servers[0].create("s").await;
        servers[0].append("s", b"known").await;
        // Long enough for the last node to have applied it.
        assert_eq!(servers[2].read("s").await, "known");
        servers[0].node.shutdown(Duration::ZERO).await;
        servers[1].node.shutdown(Duration::ZERO).await;
        let alone = &servers[2];

        let read = alone.call("GET", "s", &[], b"").await;
        assert_eq!((read.status().as_u16(), code(&read).as_str()), (503, "no_leader"));
        assert!(read.headers().contains_key("retry-after"));
        let written = alone.call("POST", "s", &TEXT, b"lost").await;
        assert!(
            [(503, "no_leader"), (504, "outcome_unknown")].contains(&(written.status().as_u16(), &code(&written))),
            "{:?}",
            written.body()
        );
        let local = alone.call("GET", "s?consistency=local", &[], b"").await;
        assert_eq!((local.status().as_u16(), &local.body()[..]), (200, &b"known"[..]));
        assert_eq!(alone.call_at("GET", "/readyz/local", &[], b"").await.status(), 200);
        let ready = alone.call_at("GET", "/readyz/cluster", &[], b"").await;
        assert_eq!(ready.status(), 503, "{:?}", ready.body());
        alone.node.shutdown(Duration::ZERO).await;
    });
}

#[test]
fn a_node_that_is_told_to_end_hands_over_and_nobody_waits_for_an_election() {
    within(async {
        // Elections take so long here that one would be noticed.
        let servers = three(|config| {
            config.raft.election_min = Duration::from_secs(8);
            config.raft.election_max = Duration::from_secs(10);
            config.raft.lease = Duration::from_secs(1);
        })
        .await;
        for name in ["a", "b", "c", "d", "e", "f"] {
            servers[2].create(name).await;
        }
        // Whoever leads most goes.
        let led = |server: &Server| {
            let me = server.node.status().standing.node_id;
            server
                .node
                .status()
                .groups
                .iter()
                .filter(|group| group.leader == Some(me))
                .count()
        };
        let place = (0..3).max_by_key(|place| led(&servers[*place])).expect("three");
        assert!(led(&servers[place]) > 0);
        let began = rt::Instant::now();
        servers[place].node.shutdown(Duration::from_secs(5)).await;
        let stays = &servers[(place + 1) % 3];
        for name in ["a", "b", "c", "d", "e", "f"] {
            stays.append(name, b"x").await;
        }
        assert!(began.elapsed() < Duration::from_secs(7), "{:?}", began.elapsed());
        for (other, server) in servers.into_iter().enumerate() {
            if other != place {
                server.node.shutdown(Duration::ZERO).await;
            }
        }
    });
}
