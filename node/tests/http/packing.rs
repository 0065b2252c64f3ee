//! JSON answers packed with gzip, and what browsers and caches are told.

use std::io::Read;

use bytes::Bytes;
use http::Response;

use crate::server::{Server, header, with_config, with_server};

const JSON: [(&str, &str); 1] = [("content-type", "application/json")];
const GZIP: (&str, &str) = ("accept-encoding", "gzip, deflate");

fn unpacked(answer: &Response<Bytes>) -> Vec<u8> {
    assert_eq!(header(answer.headers(), "content-encoding"), "gzip");
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(&answer.body()[..])
        .read_to_end(&mut plain)
        .expect("gzip, whole");
    plain
}

#[test]
fn a_long_json_answer_is_packed_for_those_who_ask() {
    with_server(async |server: &Server| {
        server.call("PUT", "s", &JSON, b"").await;
        // Several pieces, in which no message is like another.
        let messages: Vec<String> = (0..60_000)
            .map(|number| format!("{{\"n\":{}}}", number * 7919))
            .collect();
        let all = format!("[{}]", messages.join(","));
        assert_eq!(server.call("POST", "s", &JSON, all.as_bytes()).await.status(), 204);

        let plain = server.call("GET", "s", &[], b"").await;
        assert_eq!(plain.body(), all.as_bytes());
        assert_eq!(header(plain.headers(), "vary"), "accept-encoding");
        let strong = header(plain.headers(), "etag").to_owned();

        let packed = server.call("GET", "s", &[GZIP], b"").await;
        assert!(packed.body().len() < all.len() / 3, "{} bytes", packed.body().len());
        assert!(unpacked(&packed) == all.as_bytes());
        assert_eq!(header(packed.headers(), "content-type"), "application/json");
        assert_eq!(header(packed.headers(), "vary"), "accept-encoding");
        assert!(!packed.headers().contains_key("content-length"));
        let weak = header(packed.headers(), "etag").to_owned();
        assert_eq!(weak, format!("W/{strong}"));
        for name in ["stream-next-offset", "stream-up-to-date"] {
            assert_eq!(packed.headers()[name], plain.headers()[name]);
        }

        // Either tag says what the client has; only the strong one is a precondition.
        for tag in [&strong, &weak] {
            let known = server.call("GET", "s", &[GZIP, ("if-none-match", tag)], b"").await;
            assert_eq!(known.status(), 304, "{tag}");
            assert_eq!(header(known.headers(), "vary"), "accept-encoding");
        }
        for (tag, status) in [(&weak, 412), (&strong, 204)] {
            let answer = server.call("POST", "s", &[JSON[0], ("if-match", tag)], b"1").await;
            assert_eq!(answer.status(), status, "{tag}");
        }
        let refused = [("accept-encoding", "gzip;q=0")];
        assert!(
            !server
                .call("GET", "s", &refused, b"")
                .await
                .headers()
                .contains_key("content-encoding")
        );
    });
}

#[test]
fn small_answers_and_other_types_go_out_as_they_are() {
    with_server(async |server: &Server| {
        server.call("PUT", "small", &JSON, b"[1,2]").await;
        let small = server.call("GET", "small", &[GZIP], b"").await;
        assert_eq!(small.body(), "[1,2]");
        assert_eq!(header(small.headers(), "vary"), "accept-encoding");
        server.create("text").await;
        server.append("text", &[b'x'; 10_000]).await;
        let text = server.call("GET", "text", &[GZIP], b"").await;
        assert_eq!(text.body().len(), 10_000);
        assert!(!text.headers().contains_key("content-encoding") && !text.headers().contains_key("vary"));
        let status = server.call_at("GET", "/cluster/status", &[GZIP], b"").await;
        let status: serde_json::Value = serde_json::from_slice(&unpacked(&status)).expect("JSON");
        assert_eq!(status["node_id"], 1);
    });
}

#[test]
fn only_listed_origins_are_let_in() {
    with_config(
        |config| config.http.cors_origin = vec!["https://app.example".to_owned()],
        async |server: &Server| {
            server.create("s").await;
            for method in ["GET", "OPTIONS"] {
                let friend = server
                    .call(method, "s", &[("origin", "https://app.example")], b"")
                    .await;
                let stranger = server
                    .call(method, "s", &[("origin", "https://evil.example")], b"")
                    .await;
                assert_eq!(
                    header(friend.headers(), "access-control-allow-origin"),
                    "https://app.example"
                );
                assert!(!stranger.headers().contains_key("access-control-allow-origin"));
                assert_eq!(friend.status(), stranger.status());
                assert_eq!(
                    (header(friend.headers(), "vary"), header(stranger.headers(), "vary")),
                    ("origin", "origin")
                );
            }
        },
    );
}

#[test]
fn every_answer_is_dated() {
    with_server(async |server: &Server| {
        for path in ["/healthz", "/v1/stream/none", "/nowhere at all"] {
            let answer = server.call_at("GET", &path.replace(' ', "%20"), &[], b"").await;
            let date = header(answer.headers(), "date");
            assert!(date.ends_with(" GMT") && date.len() == 29, "{path}: {date}");
        }
    });
}
