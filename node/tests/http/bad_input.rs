//! What a client gets that sends what no client should: a 4xx of the right kind or a closed connection, nothing stored,
//! and a node that goes on.

use std::time::Duration;

use net::rt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::server::{Server, TEXT, code, listen, with_config, with_server};

/// Longer than an answer takes on a busy machine; most connections end before.
const SOON: Duration = Duration::from_secs(3);

/// The status of the first answer in what was heard; 0 for none.
fn status(heard: &str) -> u16 {
    heard
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .unwrap_or(0)
}

/// The node still serves, and the stream holds what it should.
async fn still_holds(server: &Server, path: &str, expected: &str) {
    assert_eq!(server.read(path).await, expected);
}

#[test]
fn malformed_requests_are_refused_and_the_connection_ends() {
    with_server(async |server: &Server| {
        server.create("s").await;
        let table: [(&[u8], u16); 9] = [
            (b"GET\r\n\r\n", 400),
            (b"GET /v1/stream/s HTTP/9.9\r\n\r\n", 400),
            (
                b"POST /v1/stream/s HTTP/1.1\r\nHost: x\r\nContent-Length: abc\r\n\r\nx",
                400,
            ),
            (
                b"POST /v1/stream/s HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\nx",
                400,
            ),
            (
                b"POST /v1/stream/s HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
                400,
            ),
            (b"POST /v1/stream/s HTTP/1.1\r\nHost: x\r\nBad Header: x\r\n\r\n", 400),
            (b"GET /v1/stream/s HTTP/1.1\r\nHost: x\r\nX: a\x00b\r\n\r\n", 400),
            (b"GET /v1/stream/\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n", 400),
            (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        ];
        for (bytes, expected) in table {
            let heard = server.raw(bytes, SOON).await;
            assert_eq!(status(&heard), expected, "{}: {heard}", bytes.escape_ascii());
        }
        still_holds(server, "s", "").await;
    });
}

#[test]
fn ten_thousand_headers_or_a_huge_one_are_431() {
    with_server(async |server: &Server| {
        let many: String = (0..10_000).map(|number| format!("X-{number}: y\r\n")).collect();
        let heard = server
            .raw(
                format!("GET /healthz HTTP/1.1\r\nHost: x\r\n{many}\r\n").as_bytes(),
                SOON,
            )
            .await;
        // Whoever is still sending when the connection ends may not hear the answer.
        assert!([431, 0].contains(&status(&heard)), "{heard}");
        let some: String = (0..500).map(|number| format!("X-{number}: y\r\n")).collect();
        let heard = server
            .raw(
                format!("GET /healthz HTTP/1.1\r\nHost: x\r\n{some}\r\n").as_bytes(),
                SOON,
            )
            .await;
        assert_eq!(status(&heard), 431, "{heard}");
        let huge = "y".repeat(1 << 20);
        let heard = server
            .raw(
                format!("GET /healthz HTTP/1.1\r\nHost: x\r\nX: {huge}\r\n\r\n").as_bytes(),
                SOON,
            )
            .await;
        assert!([431, 0].contains(&status(&heard)), "{heard}");
        let long_path = "y".repeat(100_000);
        let heard = server
            .raw(
                format!("GET /v1/stream/{long_path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes(),
                SOON,
            )
            .await;
        assert!([414, 431, 400, 0].contains(&status(&heard)), "{heard}");
    });
}

#[test]
fn a_body_cut_off_in_the_middle_stores_nothing() {
    with_server(async |server: &Server| {
        server.create("s").await;
        let head = "POST /v1/stream/s HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\n";
        for cut in [
            format!("{head}Content-Length: 1000\r\n\r\nonly this much"),
            format!("{head}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"),
            format!("{head}Transfer-Encoding: chunked\r\n\r\n5\r\nhel"),
        ] {
            let mut stream = server.connect().await;
            stream.write_all(cut.as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
            let heard = listen(&mut stream, SOON).await;
            assert!([400, 0].contains(&status(&heard)), "{cut}: {heard}");
        }
        let heard = server
            .raw(
                format!("{head}Transfer-Encoding: chunked\r\n\r\nZZ\r\nhello\r\n0\r\n\r\n").as_bytes(),
                SOON,
            )
            .await;
        assert!([400, 0].contains(&status(&heard)), "{heard}");
        still_holds(server, "s", "").await;
    });
}

#[test]
fn a_content_length_that_lies_short_makes_the_rest_another_request() {
    with_server(async |server: &Server| {
        server.create("s").await;
        let request = "POST /v1/stream/s HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\r\nabcdef\r\n\r\n";
        let heard = server.raw(request.as_bytes(), SOON).await;
        assert_eq!(status(&heard), 204, "{heard}");
        assert!(heard.contains("400 Bad Request"), "what follows is no request: {heard}");
        still_holds(server, "s", "abc").await;
    });
}

#[test]
fn a_body_that_is_announced_and_never_sent_runs_out_of_time() {
    with_config(
        |config| config.http.stall_timeout = Duration::from_millis(200),
        async |server: &Server| {
            server.create("s").await;
            let request =
                "POST /v1/stream/s HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: 1000\r\n\r\nabc";
            let heard = server.raw(request.as_bytes(), Duration::from_secs(3)).await;
            assert_eq!(status(&heard), 408, "{heard}");
            assert!(heard.contains("body_timeout"), "{heard}");
            still_holds(server, "s", "").await;
        },
    );
}

#[test]
fn chunks_that_never_end_are_cut_off_at_the_bound() {
    with_config(
        |config| config.http.max_body = 100 << 10,
        async |server: &Server| {
            server.create("s").await;
            let mut stream = server.connect().await;
            let head = "POST /v1/stream/s HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n";
            stream.write_all(head.as_bytes()).await.unwrap();
            let chunk = format!("1000\r\n{}\r\n", "x".repeat(0x1000));
            let mut sent = 0;
            // As long as the node takes it; it must not for ever.
            let feeding = async {
                while stream.write_all(chunk.as_bytes()).await.is_ok() {
                    sent += 1;
                    if sent % 16 == 0 {
                        rt::sleep(Duration::from_millis(1)).await;
                    }
                }
            };
            let ended = rt::timeout(Duration::from_secs(10), feeding).await;
            assert!(ended.is_ok(), "the node hung up after {sent} chunks");
            still_holds(server, "s", "").await;
        },
    );
}

#[test]
fn a_body_over_the_bound_is_413_and_the_sender_hears_it() {
    with_config(
        |config| config.http.max_body = 100 << 10,
        async |server: &Server| {
            server.create("s").await;
            let answer = server.call("POST", "s", &TEXT, &vec![b'x'; 2 << 20]).await;
            assert_eq!(
                (answer.status().as_u16(), code(&answer).as_str()),
                (413, "body_too_large")
            );
            assert_eq!(
                server.call("PUT", "new", &TEXT, &vec![b'x'; 2 << 20]).await.status(),
                413
            );
            // One that asks first is told before it sends.
            let head = "POST /v1/stream/s HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: 2000000\r\nExpect: 100-continue\r\n\r\n";
            let heard = server.raw(head.as_bytes(), SOON).await;
            assert_eq!(status(&heard), 413, "{heard}");
            assert!(!heard.contains("100 Continue"), "{heard}");
            still_holds(server, "s", "").await;
        },
    );
}

#[test]
fn unfinished_bodies_of_all_connections_share_one_bound() {
    with_config(
        |config| {
            config.http.max_body = 1 << 20;
            config.http.max_inflight = 1 << 20;
        },
        async |server: &Server| {
            server.create("s").await;
            // One client sends most of a body and waits.
            let mut slow = server.connect().await;
            let head = "POST /v1/stream/s HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: 1000000\r\nConnection: close\r\n\r\n";
            slow.write_all(head.as_bytes()).await.unwrap();
            slow.write_all(&vec![b'x'; 900_000]).await.unwrap();
            rt::sleep(Duration::from_millis(200)).await;
            let refused = server.call("POST", "s", &TEXT, &vec![b'y'; 500_000]).await;
            assert_eq!(
                (refused.status().as_u16(), code(&refused).as_str()),
                (503, "backpressure")
            );
            assert!(refused.headers().contains_key("retry-after"));
            // Small ones still fit.
            server.append("s", b"small").await;
            slow.write_all(&vec![b'x'; 100_000]).await.unwrap();
            assert_eq!(status(&listen(&mut slow, SOON).await), 204);
            server.append("s", &vec![b'y'; 500_000]).await;
        },
    );
}

#[test]
fn names_offsets_and_tuples_that_make_no_sense_are_400() {
    with_server(async |server: &Server| {
        server.create("s").await;
        let long = "x".repeat(10_000);
        let huge_id = [
            TEXT[0],
            ("producer-id", long.as_str()),
            ("producer-epoch", "0"),
            ("producer-seq", "0"),
        ];
        let big = [
            TEXT[0],
            ("producer-id", "p"),
            ("producer-epoch", "9007199254740992"),
            ("producer-seq", "0"),
        ];
        let half = [TEXT[0], ("producer-id", "p"), ("producer-epoch", "0")];
        for headers in [
            &huge_id[..],
            &big,
            &half,
            &[TEXT[0], ("stream-seq", long.as_str())],
            &[("content-type", "nonsense")],
        ] {
            let answer = server.call("POST", "s", headers, b"x").await;
            assert_eq!(answer.status(), 400, "{:?}", answer.body());
            code(&answer);
        }
        let long_name = "n".repeat(2000);
        for path in [
            "", "a//b", "/a", "a/", "a/../b", ".", "a%00b", "%ff", "a%0Ab", &long_name,
        ] {
            for method in ["GET", "PUT", "DELETE"] {
                let answer = server.call(method, path, &[], b"").await;
                assert_eq!(
                    (answer.status().as_u16(), code(&answer).as_str()),
                    (400, "bad_path"),
                    "{method} {path}"
                );
            }
        }
        for offset in ["", "0,1", "0%201", "a", "12", "-2", "00000000000000000000_", "1e3"] {
            let answer = server.call("GET", &format!("s?offset={offset}"), &[], b"").await;
            assert_eq!(
                (answer.status().as_u16(), code(&answer).as_str()),
                (400, "bad_offset"),
                "{offset}"
            );
        }
        let beyond = server
            .call("GET", "s?offset=9999999999999999_9999999999999999", &[], b"")
            .await;
        assert_eq!(
            (beyond.status().as_u16(), code(&beyond).as_str()),
            (400, "offset_beyond_tail")
        );
        still_holds(server, "s", "").await;
    });
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    with_server(async |server: &Server| {
        server.create("s").await;
        let mut requests = String::new();
        for number in 0..50 {
            let body = format!("{number},");
            let last = if number == 49 { "Connection: close\r\n" } else { "" };
            requests += &format!(
                "POST /v1/stream/s HTTP/1.1\r\nHost: x\r\n{last}Content-Type: text/plain\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
        }
        let heard = server.raw(requests.as_bytes(), SOON).await;
        assert_eq!(heard.matches("HTTP/1.1 204").count(), 50);
        let expected: String = (0..50).map(|number| format!("{number},")).collect();
        still_holds(server, "s", &expected).await;
    });
}

#[test]
fn an_unknown_method_is_405_and_names_the_known_ones() {
    with_server(async |server: &Server| {
        for (path, allowed) in [("/v1/stream/s", "PUT"), ("/healthz", "GET")] {
            let answer = server.call_at("PATCH", path, &[], b"").await;
            assert_eq!(
                (answer.status().as_u16(), code(&answer).as_str()),
                (405, "method_not_allowed")
            );
            assert!(answer.headers()["allow"].to_str().unwrap().contains(allowed));
        }
        let nowhere = server.call_at("GET", "/v1/x", &[], b"").await;
        assert_eq!(
            (nowhere.status().as_u16(), code(&nowhere).as_str()),
            (404, "route_not_found")
        );
    });
}

#[test]
fn a_crowd_that_says_nothing_keeps_nobody_out() {
    // More than may be newcomers at once.
    const SILENT: usize = 1100;
    with_config(
        |config| config.http.header_timeout = Duration::from_secs(120),
        async |server: &Server| {
            let mut silent = Vec::new();
            for _ in 0..SILENT {
                silent.push(server.connect().await);
            }
            let answer = rt::timeout(SOON, server.call_at("GET", "/healthz", &[], b"")).await;
            assert_eq!(answer.expect("heard among the silent").status(), 200);
            // Who came first has gone for the others, who stay.
            let mut buffer = [0; 1];
            let first = rt::timeout(SOON, silent[0].read(&mut buffer)).await;
            assert!(matches!(first, Ok(Ok(0) | Err(_))), "{first:?}");
            let last = silent.last_mut().expect("some");
            assert!(
                rt::timeout(Duration::from_millis(100), last.read(&mut buffer))
                    .await
                    .is_err()
            );
        },
    );
}

#[test]
fn a_prefix_is_no_pattern_and_a_page_is_asked_for_in_plain_words() {
    with_server(async |server: &Server| {
        for name in ["a%2A", "ab", "%5Bab%5D", "a%3Fb", "b%25"] {
            server.create(&format!("demo/{name}")).await;
        }
        let overlong = "x".repeat(2000);
        let overlong = overlong.as_str();
        let list = async |query: &str| {
            let answer = server.call_at("GET", &format!("/demo/streams?{query}"), &[], b"").await;
            if answer.status() != 200 {
                return Err((answer.status().as_u16(), code(&answer)));
            }
            let page: serde_json::Value = serde_json::from_slice(answer.body()).expect("JSON");
            let names = page["streams"].as_array().expect("a list").iter();
            Ok(names
                .map(|stream| stream["stream_id"].as_str().expect("text").to_owned())
                .collect::<Vec<_>>()
                .join(" "))
        };
        let all = "[ab] a* a?b ab b%";
        for (query, expected) in [
            ("", all),
            ("prefix=", all),
            ("prefix=*", ""),
            ("prefix=%2A", ""),
            ("prefix=a", "a* a?b ab"),
            ("prefix=a*", "a*"),
            ("prefix=a%2A", "a*"),
            ("prefix=a?", "a?b"),
            ("prefix=a%3F", "a?b"),
            ("prefix=[", "[ab]"),
            ("prefix=[ab]", "[ab]"),
            ("prefix=[a-z]", ""),
            ("prefix={a,b}", ""),
            ("prefix=**", ""),
            ("prefix=%25", ""),
            ("prefix=b%25", "b%"),
            ("prefix=.*", ""),
            ("prefix=%5C", ""),
            ("prefix=..%2F", ""),
            ("after=*", "[ab] a* a?b ab b%"),
            ("after=a*", "a?b ab b%"),
            ("after=zzz", ""),
            ("prefix=a&after=a*&limit=1", "a?b"),
        ] {
            assert_eq!(list(query).await, Ok(expected.to_owned()), "{query}");
        }
        for query in [
            "prefix=%00",
            "prefix=a%00b",
            "prefix=%ff",
            "prefix=a&prefix=a",
            "prefix=*&prefix=[",
            &format!("prefix={overlong}"),
            "after=%00",
            "after=%ff",
            "after=a&after=b",
            &format!("after={overlong}"),
            "limit=0",
            "limit=",
            "limit=-1",
            "limit=1001",
            "limit=1e3",
            "limit=0x10",
            "limit=*",
            "limit=99999999999999999999",
            "limit=1&limit=1",
            "limit=%00",
        ] {
            assert_eq!(list(query).await, Err((400, "bad_query".to_owned())), "{query}");
        }
    });
}
