//! Every method, as the protocol says.

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2;
use net::{
    conn::{HyperExec, HyperIo, HyperTimer},
    rt,
};

use crate::server::{Server, TEXT, code, header, with_server};

const CLOSED: (&str, &str) = ("stream-closed", "true");

fn producer<'a>(epoch: &'a str, seq: &'a str) -> [(&'a str, &'a str); 4] {
    [
        TEXT[0],
        ("producer-id", "p"),
        ("producer-epoch", epoch),
        ("producer-seq", seq),
    ]
}

#[test]
fn a_stream_is_created_appended_to_read_and_deleted() {
    with_server(async |server: &Server| {
        let created = server.call("PUT", "a/b", &TEXT, b"one ").await;
        assert_eq!(created.status(), 201);
        let location = format!("http://{}/v1/stream/a/b", server.node.address());
        assert_eq!(header(created.headers(), "location"), location);
        assert_eq!(header(created.headers(), "content-type"), "text/plain");
        assert_eq!(header(created.headers(), "stream-next-offset"), "00000000000000000004");

        let again = server.call("PUT", "a/b", &TEXT, b"ignored").await;
        assert_eq!(again.status(), 200);
        assert_eq!(header(again.headers(), "stream-next-offset"), "00000000000000000004");

        let appended = server.append("a/b", b"two").await;
        assert_eq!(header(appended.headers(), "stream-next-offset"), "00000000000000000007");

        let read = server.call("GET", "a/b", &[], b"").await;
        assert_eq!(read.status(), 200);
        assert_eq!(read.body(), "one two");
        assert_eq!(header(read.headers(), "stream-next-offset"), "00000000000000000007");
        assert_eq!(header(read.headers(), "stream-up-to-date"), "true");
        assert_eq!(
            header(read.headers(), "cache-control"),
            "public, max-age=60, stale-while-revalidate=300"
        );
        assert_eq!(header(read.headers(), "content-length"), "7");
        assert!(!read.headers().contains_key("stream-closed"));

        let rest = server.call("GET", "a/b?offset=00000000000000000004", &[], b"").await;
        assert_eq!(rest.body(), "two");

        let head = server.call("HEAD", "a/b", &[], b"").await;
        assert_eq!(head.status(), 200);
        assert_eq!(header(head.headers(), "cache-control"), "no-store");
        assert_eq!(header(head.headers(), "stream-next-offset"), "00000000000000000007");
        assert_eq!(header(head.headers(), "etag"), header(read.headers(), "etag"));

        assert_eq!(server.call("DELETE", "a/b", &[], b"").await.status(), 204);
        let gone = server.call("GET", "a/b", &[], b"").await;
        assert_eq!(
            (gone.status().as_u16(), code(&gone).as_str()),
            (404, "stream_not_found")
        );
        assert_eq!(server.call("DELETE", "a/b", &[], b"").await.status(), 404);
        assert_eq!(server.call("HEAD", "a/b", &[], b"").await.status(), 404);
    });
}

#[test]
fn a_producer_is_heard_once_and_fenced() {
    with_server(async |server: &Server| {
        server.create("s").await;
        let table = [
            // epoch, seq, status, code, (header, value)
            ("0", "1", 400, "producer_seq_not_zero", ("", "")),
            ("0", "0", 200, "", ("producer-seq", "0")),
            ("0", "1", 200, "", ("producer-seq", "1")),
            ("0", "0", 204, "", ("producer-seq", "1")),
            ("0", "3", 409, "producer_seq_conflict", ("producer-expected-seq", "2")),
            ("0", "3", 409, "producer_seq_conflict", ("producer-received-seq", "3")),
            ("2", "1", 400, "producer_seq_not_zero", ("", "")),
            ("2", "0", 200, "", ("producer-epoch", "2")),
            ("1", "0", 403, "producer_fenced", ("producer-epoch", "2")),
        ];
        for (epoch, seq, status, expected, (name, value)) in table {
            let answer = server.call("POST", "s", &producer(epoch, seq), b"x").await;
            assert_eq!(answer.status(), status, "{epoch}.{seq}: {:?}", answer.body());
            if !expected.is_empty() {
                assert_eq!(code(&answer), expected);
            }
            if !name.is_empty() {
                assert_eq!(header(answer.headers(), name), value, "{epoch}.{seq}");
            }
        }
        assert_eq!(server.read("s").await, "xxx");
    });
}

#[test]
fn closed_stays_closed_and_says_so() {
    with_server(async |server: &Server| {
        server.create("s").await;
        let closed = server.call("POST", "s", &[TEXT[0], CLOSED], b"last").await;
        assert_eq!(closed.status(), 204);
        assert_eq!(header(closed.headers(), "stream-closed"), "true");
        assert_eq!(server.call("POST", "s", &[CLOSED], b"").await.status(), 204);

        let refused = server
            .call("POST", "s", &[("content-type", "application/json")], b"no json")
            .await;
        assert_eq!(
            (refused.status().as_u16(), code(&refused).as_str()),
            (409, "stream_closed")
        );
        assert_eq!(header(refused.headers(), "stream-closed"), "true");
        assert_eq!(header(refused.headers(), "stream-next-offset"), "00000000000000000004");

        for (path, body) in [
            ("s", "last"),
            ("s?offset=now", ""),
            ("s?offset=00000000000000000004", ""),
        ] {
            let read = server.call("GET", path, &[], b"").await;
            assert_eq!((read.status().as_u16(), read.body()), (200, &body.into()), "{path}");
            assert_eq!(header(read.headers(), "stream-closed"), "true", "{path}");
            assert_eq!(header(read.headers(), "stream-up-to-date"), "true", "{path}");
        }
        // The closed state is part of what a PUT asks for.
        assert_eq!(server.call("PUT", "s", &TEXT, b"").await.status(), 409);
        assert_eq!(server.call("PUT", "s", &[TEXT[0], CLOSED], b"").await.status(), 200);
        assert_eq!(
            server
                .call("PUT", "born-closed", &[TEXT[0], CLOSED], b"all")
                .await
                .status(),
            201
        );
        assert_eq!(server.call("POST", "born-closed", &TEXT, b"more").await.status(), 409);
    });
}

#[test]
fn refusals_of_an_append_come_in_their_order() {
    with_server(async |server: &Server| {
        let json = [("content-type", "application/json")];
        server.create("text").await;
        assert_eq!(server.call("PUT", "json", &json, b"").await.status(), 201);
        let table = [
            ("none", &json, &b"no json"[..], 404, "stream_not_found"),
            ("text", &json, b"no json", 409, "content_type_mismatch"),
            ("text", &json, b"[]", 409, "content_type_mismatch"),
            ("json", &json, b"no json", 400, "invalid_json"),
            ("json", &json, b"[]", 400, "empty_body"),
            ("json", &TEXT, b"text", 409, "content_type_mismatch"),
            ("none", &TEXT, b"", 400, "empty_body"),
        ];
        for (path, headers, body, status, expected) in table {
            let answer = server.call("POST", path, headers, body).await;
            assert_eq!(
                (answer.status().as_u16(), code(&answer).as_str()),
                (status, expected),
                "{path} {body:?}"
            );
        }
        let untyped = server.call("POST", "text", &[], b"x").await;
        assert_eq!(
            (untyped.status().as_u16(), code(&untyped).as_str()),
            (400, "missing_content_type")
        );
        assert_eq!(server.read("text").await, "");
    });
}

#[test]
fn a_condition_holds_while_nothing_has_changed() {
    with_server(async |server: &Server| {
        server.create("s").await;
        let appended = server.append("s", b"one").await;
        let etag = header(appended.headers(), "etag").to_owned();
        let read = server.call("GET", "s", &[("if-none-match", &etag)], b"").await;
        assert_eq!((read.status().as_u16(), read.body().len()), (304, 0));
        assert_eq!(header(read.headers(), "etag"), etag);
        assert_eq!(
            server
                .call("HEAD", "s", &[("if-none-match", &etag)], b"")
                .await
                .status(),
            304
        );
        assert_eq!(
            server
                .call("GET", "s", &[("if-none-match", "\"other\"")], b"")
                .await
                .status(),
            200
        );

        let matching = [TEXT[0], ("if-match", &etag)];
        assert_eq!(server.call("POST", "s", &matching, b"two").await.status(), 204);
        let stale = server.call("POST", "s", &matching, b"three").await;
        assert_eq!(
            (stale.status().as_u16(), code(&stale).as_str()),
            (412, "precondition_failed")
        );
        assert_eq!(
            server.call("GET", "s", &[("if-none-match", &etag)], b"").await.status(),
            200
        );
        assert_eq!(
            server
                .call("PUT", "new", &[TEXT[0], ("if-match", "*")], b"")
                .await
                .status(),
            412
        );
        // The tail moves without the tag of `offset=now` telling: it has none.
        let now = server.call("GET", "s?offset=now", &[("if-none-match", "*")], b"").await;
        assert_eq!(now.status(), 200);
        assert_eq!(header(now.headers(), "cache-control"), "no-store");
        assert!(!now.headers().contains_key("etag"));
        assert_eq!(server.read("s").await, "onetwo");
    });
}

#[test]
fn stream_seq_goes_up_byte_by_byte() {
    with_server(async |server: &Server| {
        server.create("s").await;
        for (seq, status) in [("2", 204), ("10", 409), ("2", 409), ("20", 204), ("a", 204), ("B", 409)] {
            let answer = server.call("POST", "s", &[TEXT[0], ("stream-seq", seq)], b"x").await;
            assert_eq!(answer.status(), status, "{seq}");
        }
    });
}

#[test]
fn messages_go_in_as_json_and_come_out_as_one_array() {
    with_server(async |server: &Server| {
        let json = [("content-type", "application/json; charset=utf-8")];
        assert_eq!(server.call("PUT", "s", &json, b"[]").await.status(), 201);
        assert_eq!(server.read("s").await, "[]");
        assert_eq!(server.call("GET", "s?offset=now", &[], b"").await.body(), "[]");
        let first = server.call("POST", "s", &json, br#" {"b": 1.0, "a": [1, 2]} "#).await;
        assert_eq!(first.status(), 204);
        assert_eq!(server.call("POST", "s", &json, br#"["x, y", [3]]"#).await.status(), 204);
        assert_eq!(server.read("s").await, r#"[{"b":1.0,"a":[1,2]},"x, y",[3]]"#);

        let offset = header(first.headers(), "stream-next-offset");
        let rest = server.call("GET", &format!("s?offset={offset}"), &[], b"").await;
        assert_eq!(rest.body(), r#"["x, y",[3]]"#);
        let inside = server.call("GET", "s?offset=00000000000000000003", &[], b"").await;
        assert_eq!((inside.status().as_u16(), code(&inside).as_str()), (400, "bad_offset"));
    });
}

#[test]
fn every_answer_carries_the_headers_for_browsers() {
    with_server(async |server: &Server| {
        server.create("s").await;
        let calls = [
            ("GET", "s"),
            ("HEAD", "s"),
            ("GET", "none"),
            ("OPTIONS", "s"),
            ("PATCH", "s"),
            ("GET", "s?offset=x"),
        ];
        for (method, path) in calls {
            let answer = server.call(method, path, &[], b"").await;
            assert_eq!(
                header(answer.headers(), "x-content-type-options"),
                "nosniff",
                "{method} {path}"
            );
            assert_eq!(
                header(answer.headers(), "cross-origin-resource-policy"),
                "cross-origin",
                "{method} {path}"
            );
            assert_eq!(
                header(answer.headers(), "access-control-allow-origin"),
                "*",
                "{method} {path}"
            );
        }
        let preflight = server
            .call(
                "OPTIONS",
                "s",
                &[("access-control-request-headers", "if-none-match")],
                b"",
            )
            .await;
        assert_eq!(preflight.status(), 204);
        let allowed = header(preflight.headers(), "access-control-allow-headers");
        assert!(
            ["if-none-match", "stream-closed", "producer-id"]
                .iter()
                .all(|name| allowed.contains(name)),
            "{allowed}"
        );
    });
}

#[test]
fn what_is_not_there_yet_answers_501_with_a_sentence() {
    with_server(async |server: &Server| {
        server.create("s").await;
        for (method, path) in [("GET", "/v1/stream/__ds/subscriptions/x")] {
            let answer = server.call_at(method, path, &[], b"").await;
            assert_eq!(
                (answer.status().as_u16(), code(&answer).as_str()),
                (501, "not_implemented"),
                "{method} {path}"
            );
        }
    });
}

#[test]
fn cleartext_http2_is_spoken_with_whoever_opens_so() {
    with_server(async |server: &Server| {
        server.create("s").await;
        let io = HyperIo::new(server.connect().await);
        let handshake = http2::Builder::new(HyperExec).timer(HyperTimer::new()).handshake(io);
        let (mut sender, connection) = handshake.await.expect("two who speak it");
        drop(rt::spawn("client", async move { drop(connection.await) }));
        let url = format!("http://{}/v1/stream/s", server.node.address());
        let bodies = ["one,", "two,", "three"];
        for body in bodies {
            let request = Request::post(&url)
                .header("content-type", "text/plain")
                .body(Full::new(Bytes::from(body)));
            let answer = sender
                .send_request(request.expect("a request"))
                .await
                .expect("an answer");
            assert_eq!(answer.status(), 204);
        }
        let request = Request::get(&url).body(Full::new(Bytes::new())).expect("a request");
        let answer = sender.send_request(request).await.expect("an answer");
        assert_eq!(answer.status(), 200);
        let body = answer.into_body().collect().await.expect("a body").to_bytes();
        assert_eq!(body, bodies.concat());
    });
}
