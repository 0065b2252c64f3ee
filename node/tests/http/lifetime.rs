//! How long streams live and what they forget, by a clock that the test holds.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use net::{clock::Clock, rt};
use node::{Node, World, config::Config};

use crate::server::{Server, TEXT, code, header, within, world};

/// 2026-07-01T00:00:00Z.
const BEGIN_MS: u64 = 1_782_864_000_000;

#[derive(Clone)]
struct Held(Arc<AtomicU64>);

impl Clock for Held {
    fn now_ms(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

impl Held {
    fn pass(&self, ms: u64) {
        self.0.fetch_add(ms, Ordering::SeqCst);
    }
}

fn with_clock<T>(test: impl AsyncFnOnce(&Server, &Held) -> T) -> T {
    let clock = Held(Arc::new(AtomicU64::new(BEGIN_MS)));
    within(async {
        let mut config = Config::default();
        config.server.listen = "127.0.0.1:0".to_owned();
        let world = World {
            clock: Arc::new(clock.clone()),
            ..world()
        };
        let server = Server::new(Node::start(config, world).await.expect("it starts"));
        let result = test(&server, &clock).await;
        server.node.shutdown(Duration::ZERO).await;
        result
    })
}

const TTL: [(&str, &str); 2] = [TEXT[0], ("stream-ttl", "16")];

#[test]
fn a_stream_lives_while_it_is_read_or_written_and_no_longer() {
    with_clock(async |server: &Server, clock: &Held| {
        let created = server.call("PUT", "s", &TTL, b"a").await;
        assert_eq!(
            (created.status().as_u16(), header(created.headers(), "stream-ttl")),
            (201, "16")
        );
        let uses = [
            ("GET", "s"),
            ("GET", "s?offset=now"),
            ("POST", "s"),
            ("GET", "s?consistency=local"),
        ];
        for (method, path) in uses {
            clock.pass(15_000);
            let used = server.call(method, path, &TEXT, b"b").await;
            assert!(used.status().is_success(), "{method} {path}: {}", used.status());
            // A local read is noted a little later.
            rt::sleep(Duration::from_millis(200)).await;
        }
        clock.pass(15_000);
        let head = server.call("HEAD", "s", &[], b"").await;
        assert_eq!(
            (head.status().as_u16(), header(head.headers(), "stream-ttl")),
            (200, "16")
        );
        clock.pass(2_000);
        for (method, path) in [
            ("HEAD", "s"),
            ("GET", "s"),
            ("POST", "s"),
            ("DELETE", "s"),
            ("GET", "s?consistency=local"),
        ] {
            let gone = server.call(method, path, &TEXT, b"c").await;
            assert_eq!(gone.status(), 404, "{method} {path}");
        }
        let anew = server.call("PUT", "s", &TEXT, b"").await;
        assert_eq!(anew.status(), 201);
        assert_eq!(server.read("s").await, "");
    });
}

#[test]
fn a_reader_that_waits_keeps_the_stream_alive() {
    with_clock(async |server: &Server, clock: &Held| {
        for (path, live) in [("polled", "long-poll"), ("tailed", "sse")] {
            let ttl = [TEXT[0], ("stream-ttl", "1")];
            assert_eq!(server.call("PUT", path, &ttl, b"").await.status(), 201);
            let target = format!("{path}?offset=-1&live={live}");
            let reads = server.call("GET", &target, &[], b"");
            let passes = async {
                for _ in 0..6 {
                    // Several times the quarter of a window after which it says that it is still there.
                    rt::sleep(Duration::from_millis(700)).await;
                    clock.pass(900);
                }
                server
                    .call("POST", path, &[TEXT[0], ("stream-closed", "true")], b"end")
                    .await
            };
            let (read, closed) = futures_util::future::join(reads, passes).await;
            assert_eq!((read.status().as_u16(), closed.status().as_u16()), (200, 204), "{live}");
            assert!(String::from_utf8_lossy(read.body()).contains("end"), "{live}");
        }
    });
}

#[test]
fn a_moment_comes_whoever_reads_or_writes() {
    with_clock(async |server: &Server, clock: &Held| {
        let until = [TEXT[0], ("stream-expires-at", "2026-07-01T02:00:10+02:00")];
        assert_eq!(server.call("PUT", "s", &until, b"a").await.status(), 201);
        assert_eq!(server.call("PUT", "s", &until, b"a").await.status(), 200);
        let otherwise = server.call("PUT", "s", &TTL, b"a").await;
        assert_eq!(
            (otherwise.status().as_u16(), code(&otherwise).as_str()),
            (409, "stream_exists")
        );
        clock.pass(9_999);
        let read = server.call("GET", "s", &[], b"").await;
        assert_eq!(read.status(), 200);
        assert_eq!(header(read.headers(), "stream-expires-at"), "2026-07-01T00:00:10.000Z");
        server.append("s", b"b").await;
        clock.pass(1);
        assert_eq!(server.call("GET", "s", &[], b"").await.status(), 404);
        assert_eq!(server.call("PUT", "s", &TTL, b"").await.status(), 201);
    });
}

#[test]
fn streams_that_are_over_are_swept_away_without_anybody_asking() {
    with_clock(async |server: &Server, clock: &Held| {
        for number in 0..200 {
            assert_eq!(
                server.call("PUT", &format!("s{number}"), &TTL, b"x").await.status(),
                201
            );
        }
        server.create("stays").await;
        let there = |name: &str| {
            let name = node::stream::StreamName::flat(name).expect("legal");
            let groups = server.node.groups();
            let group = node::stream::group_of(&name, groups.count());
            groups.view(group).row(&name).expect("readable").is_some()
        };
        clock.pass(10_000);
        server.append("s7", b"used").await;
        clock.pass(10_000);
        while (0..200).any(|number| number != 7 && there(&format!("s{number}"))) {
            rt::sleep(Duration::from_millis(50)).await;
        }
        assert!(there("stays") && there("s7"), "it was used");
        clock.pass(10_000);
        while there("s7") {
            rt::sleep(Duration::from_millis(50)).await;
        }
    });
}

#[test]
fn old_bytes_are_forgotten_by_age_and_by_size_at_whole_messages() {
    with_clock(async |server: &Server, clock: &Held| {
        let json = ("content-type", "application/json");
        let aged = [json, ("stream-retention-age", "8")];
        assert_eq!(server.call("PUT", "aged", &aged, b"").await.status(), 201);
        for message in ["[1,2]", "3"] {
            assert_eq!(
                server.call("POST", "aged", &[json], message.as_bytes()).await.status(),
                204
            );
            clock.pass(4_000);
        }
        while server.read("aged").await != "[3]" {
            rt::sleep(Duration::from_millis(50)).await;
        }
        let trimmed = server.call("GET", "aged?offset=00000000000000000000", &[], b"").await;
        assert_eq!(
            (trimmed.status().as_u16(), code(&trimmed).as_str()),
            (410, "offset_trimmed")
        );
        let earliest = header(trimmed.headers(), "stream-earliest-offset").to_owned();
        let rest = server.call("GET", &format!("aged?offset={earliest}"), &[], b"").await;
        assert_eq!(rest.body(), "[3]");

        let sized = [TEXT[0], ("stream-retention-bytes", "80")];
        assert_eq!(server.call("PUT", "sized", &sized, b"").await.status(), 201);
        for _ in 0..30 {
            server.append("sized", b"0123456789").await;
        }
        let left = server.read("sized").await;
        assert!((80..=100).contains(&left.len()), "{} bytes are left", left.len());
        let head = server.call("HEAD", "sized", &[], b"").await;
        assert_eq!(header(head.headers(), "stream-retention-bytes"), "80");
        assert_eq!(header(head.headers(), "stream-next-offset"), "00000000000000000300");
    });
}

#[test]
fn streams_of_a_bucket_forget_as_it_says_where_they_do_not_say() {
    with_clock(async |server: &Server, _: &Held| {
        let policy = [("stream-retention-bytes", "80"), ("stream-retention-age", "3600")];
        let made = server.call_at("PUT", "/demo", &policy, b"").await;
        let looked = server.call_at("GET", "/demo", &[], b"").await;
        assert_eq!((made.status().as_u16(), looked.status().as_u16()), (201, 200));
        for answer in [&made, &looked] {
            assert_eq!(header(answer.headers(), "stream-retention-bytes"), "80");
            assert_eq!(header(answer.headers(), "stream-retention-age"), "3600");
        }
        // Enough names for every group.
        let mut paths: Vec<String> = (0..8).map(|number| format!("/demo/log-{number}")).collect();
        paths.push("/v1/stream/demo/deep/log".into());
        for path in &paths {
            assert_eq!(server.call_at("PUT", path, &TEXT, b"").await.status(), 201);
            for _ in 0..30 {
                assert_eq!(server.call_at("POST", path, &TEXT, b"0123456789").await.status(), 204);
            }
            let left = server.call_at("GET", &format!("{path}?offset=-1"), &[], b"").await;
            assert!(
                (80..=100).contains(&left.body().len()),
                "{path}: {} bytes are left",
                left.body().len()
            );
            let head = server.call_at("HEAD", path, &[], b"").await;
            assert_eq!(header(head.headers(), "stream-retention-age"), "3600");
            // Who does not say finds it as it is.
            assert_eq!(server.call_at("PUT", path, &TEXT, b"").await.status(), 200);
        }
        let own = [TEXT[0], ("stream-retention-bytes", "200")];
        assert_eq!(server.call_at("PUT", "/demo/own", &own, b"").await.status(), 201);
        let head = server.call_at("HEAD", "/demo/own", &[], b"").await;
        assert_eq!(header(head.headers(), "stream-retention-bytes"), "200");

        let bad = server
            .call_at("PUT", "/another", &[("stream-retention-age", "0")], b"")
            .await;
        assert_eq!((bad.status().as_u16(), code(&bad).as_str()), (400, "bad_retention"));
        assert_eq!(server.call_at("PUT", "/another", &[], b"").await.status(), 201);
        let none = server.call_at("HEAD", "/another", &[], b"").await;
        assert!(!none.headers().contains_key("stream-retention-bytes"));
    });
}

#[test]
fn lifetimes_of_all_wrong_shapes_are_refused() {
    with_clock(async |server: &Server, _: &Held| {
        for (name, sent, expected) in [
            ("stream-ttl", "-1", "bad_ttl"),
            ("stream-ttl", "060", "bad_ttl"),
            ("stream-ttl", "1e3", "bad_ttl"),
            ("stream-expires-at", "tomorrow", "bad_expires_at"),
            ("stream-retention-age", "0", "bad_retention"),
            ("stream-retention-bytes", "1MiB", "bad_retention"),
        ] {
            let answer = server.call("PUT", "s", &[TEXT[0], (name, sent)], b"").await;
            assert_eq!(
                (answer.status().as_u16(), code(&answer).as_str()),
                (400, expected),
                "{name}: {sent}"
            );
        }
        let both = [
            TEXT[0],
            ("stream-ttl", "60"),
            ("stream-expires-at", "2027-01-01T00:00:00Z"),
        ];
        assert_eq!(code(&server.call("PUT", "s", &both, b"").await), "bad_ttl");
        assert_eq!(
            server.call("GET", "s", &[], b"").await.status(),
            404,
            "nothing was made"
        );
    });
}
