//! However an append is framed, the same bytes are stored; a frame that lies stores nothing.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::client::conn::http2;
use net::{
    conn::{HyperExec, HyperIo, HyperTimer},
    rt,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::server::{Server, TEXT, code, header, listen, with_config, with_server};

/// Longer than an answer takes on a busy machine; most connections end before.
const SOON: Duration = Duration::from_secs(3);

const HEAD: &str = "POST /v1/stream/s HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: text/plain\r\n";

fn status(heard: &str) -> &str {
    heard.split(' ').nth(1).unwrap_or_default()
}

#[test]
fn chunks_of_any_shape_are_one_append() {
    with_server(async |server: &Server| {
        server.create("s").await;
        for framed in [
            "5\r\nhello\r\n0\r\n\r\n",
            "1\r\nh\r\n1\r\ne\r\n3\r\nllo\r\n0\r\n\r\n",
            "0005;name=\"a;b\"\r\nhello\r\n000\r\n\r\n",
            "5\r\nhello\r\n0\r\nStream-Closed: true\r\nTrailer: ignored\r\n\r\n",
        ] {
            let heard = server
                .raw(
                    format!("{HEAD}Transfer-Encoding: chunked\r\n\r\n{framed}").as_bytes(),
                    SOON,
                )
                .await;
            assert_eq!(status(&heard), "204", "{framed}: {heard}");
        }
        assert_eq!(server.read("s").await, "hello".repeat(4));
        let head = server.call("HEAD", "s", &[], b"").await;
        assert!(!head.headers().contains_key("stream-closed"), "a trailer is no header");
    });
}

#[test]
fn frames_that_contradict_themselves_store_nothing() {
    with_server(async |server: &Server| {
        server.create("s").await;
        for lie in [
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            "Transfer-Encoding: gzip\r\n\r\nhello",
            "Content-Length: 5, 6\r\n\r\nhello!",
            "Content-Length: +5\r\n\r\nhello",
            "Content-Length: 0x5\r\n\r\nhello",
            "Content-Length: 99999999999999999999999\r\n\r\nhello",
            "Transfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\n",
            "Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\nhello\r\n0\r\n\r\n",
            "Transfer-Encoding: chunked\r\n\r\n5\r\nhelloX0\r\n\r\n",
            "Content-Length : 5\r\n\r\nhello",
        ] {
            let heard = server.raw(format!("{HEAD}{lie}").as_bytes(), SOON).await;
            assert!(
                ["400", "411", "413", "501", ""].contains(&status(&heard)),
                "{lie}: {heard}"
            );
        }
        assert_eq!(server.read("s").await, "");
    });
}

#[test]
fn chunks_win_over_a_length_and_nothing_is_smuggled_behind_them() {
    with_server(async |server: &Server| {
        server.create("s").await;
        let hidden =
            "POST /v1/stream/s HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: 6\r\n\r\nhidden";
        let request = format!(
            "POST /v1/stream/s HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\
             Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}",
            5 + hidden.len()
        );
        let heard = server.raw(request.as_bytes(), SOON).await;
        // By the chunks the body is empty, which is refused; what follows must never count as part of the first request.
        assert_eq!(status(&heard), "400", "{heard}");
        let stored = server.read("s").await;
        assert!(stored.is_empty() || stored == "hidden", "{stored:?}");
        assert!(heard.matches("HTTP/1.1 ").count() <= 2, "{heard}");
    });
}

#[test]
fn a_client_that_expects_to_be_told_is_told_and_then_heard() {
    with_server(async |server: &Server| {
        server.create("s").await;
        let mut stream = server.connect().await;
        let head = format!("{HEAD}Content-Length: 5\r\nExpect: 100-continue\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut told = [0; 25];
        rt::timeout(SOON, stream.read_exact(&mut told))
            .await
            .expect("soon")
            .unwrap();
        assert_eq!(&told, b"HTTP/1.1 100 Continue\r\n\r\n");
        stream.write_all(b"hello").await.unwrap();
        let heard = listen(&mut stream, SOON).await;
        assert_eq!(status(&heard), "204", "{heard}");
        assert_eq!(server.read("s").await, "hello");

        // Who is refused by the head alone is not asked for the body.
        let bad = head.replace("Content-Type: text/plain\r\n", "Stream-Closed: perhaps\r\n");
        let heard = server.raw(bad.as_bytes(), SOON).await;
        assert_eq!(status(&heard), "400", "{heard}");
        assert!(!heard.contains("100 Continue"), "{heard}");
    });
}

#[test]
fn an_append_over_http2_may_come_without_a_length_and_in_pieces() {
    with_server(async |server: &Server| {
        server.create("s").await;
        let io = HyperIo::new(server.connect().await);
        let (mut sender, connection) = http2::Builder::new(HyperExec)
            .timer(HyperTimer::new())
            .handshake(io)
            .await
            .expect("HTTP/2");
        drop(rt::spawn("connection", async move { drop(connection.await) }));
        let uri = format!("http://{}/v1/stream/s", server.node.address());
        let frame = |number| http_body::Frame::data(Bytes::from(format!("{number},")));
        let pieces = (0..200).map(move |number| Ok::<_, std::convert::Infallible>(frame(number)));
        let pieces = futures_util::stream::iter(pieces);
        let request = Request::post(&uri)
            .header("content-type", "text/plain")
            .body(StreamBody::new(pieces).boxed())
            .unwrap();
        let answer = sender.send_request(request).await.expect("an answer");
        assert_eq!(answer.status(), 204);
        assert!(answer.headers().contains_key("date"));
        let expected: String = (0..200).map(|number| format!("{number},")).collect();
        assert_eq!(server.read("s").await, expected);

        // A length that the frames contradict is an error of that request alone.
        let liar = Request::post(&uri)
            .header("content-type", "text/plain")
            .header("content-length", "3")
            .body(Full::new(Bytes::from_static(b"four")).boxed())
            .unwrap();
        match sender.send_request(liar).await {
            Ok(answer) => assert_eq!(answer.status(), 400),
            Err(reset) => drop(reset),
        }
        assert_eq!(server.read("s").await, expected);
        let get = Request::get(&uri).body(Full::new(Bytes::new()).boxed()).unwrap();
        let read = sender.send_request(get).await.expect("the connection goes on");
        assert_eq!(read.into_body().collect().await.expect("a body").to_bytes(), expected);
    });
}

#[test]
fn nul_carriage_returns_and_all_other_bytes_are_kept_in_text() {
    with_server(async |server: &Server| {
        server.create("s").await;
        let all: Vec<u8> = (0..=255)
            .chain(*b"\r\n\r\n0\r\n\r\n\0\0data: x\n\nevent: y\r\r")
            .collect();
        server.append("s", &all).await;
        let chunked = format!("{HEAD}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n", all.len());
        let request = [chunked.as_bytes(), &all, b"\r\n0\r\n\r\n"].concat();
        assert_eq!(status(&server.raw(&request, SOON).await), "204");
        assert_eq!(server.read("s").await, [&all[..], &all].concat());
    });
}

#[test]
fn json_past_its_bounds_is_refused_with_the_bound_and_stores_nothing() {
    let bounds = |config: &mut node::config::Config| {
        config.http.json_max_messages = 3;
        config.http.json_max_message = 1000;
    };
    with_config(bounds, async |server: &Server| {
        let json = [("content-type", "application/json")];
        server.call("PUT", "s", &json, b"").await;
        let deep = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        let table = [
            (deep(128), 204, "", ""),
            (deep(129), 400, "json_too_deep", "max_depth"),
            (deep(1_000_000), 400, "json_too_deep", "max_depth"),
            (
                format!("{{\"a\":{}}}", deep(1_000_000)),
                400,
                "json_too_deep",
                "max_depth",
            ),
            ("[1,2,3]".to_owned(), 204, "", ""),
            ("[1,2,3,4]".to_owned(), 413, "json_too_many_messages", "max_messages"),
            (format!("\"{}\"", "x".repeat(998)), 204, "", ""),
            (
                format!("\"{}\"", "x".repeat(999)),
                413,
                "json_message_too_large",
                "max_bytes",
            ),
            ("\"\0\"".to_owned(), 400, "invalid_json", "code"),
            ("[1]\r\n[2]".to_owned(), 400, "invalid_json", "code"),
        ];
        for (body, expected, expected_code, field) in table {
            let start = &body[..body.len().min(20)];
            for (method, path) in [("POST", "s"), ("PUT", "fresh")] {
                let answer = server.call(method, path, &json, body.as_bytes()).await;
                if expected < 300 {
                    assert!(answer.status().is_success(), "{method} {start}: {:?}", answer.body());
                    server.call("DELETE", "fresh", &[], b"").await;
                    continue;
                }
                assert_eq!(
                    (answer.status().as_u16(), code(&answer).as_str()),
                    (expected, expected_code),
                    "{start}"
                );
                let said: serde_json::Value = serde_json::from_slice(answer.body()).unwrap();
                assert!(!said["error"][field].is_null(), "{said}");
            }
        }
        assert_eq!(server.call("GET", "fresh", &[], b"").await.status(), 404);
        let offset = server.call("HEAD", "s", &[], b"").await;
        assert!(!header(offset.headers(), "stream-next-offset").is_empty());
        // TEXT streams do not care.
        server.create("text").await;
        assert_eq!(
            server.call("POST", "text", &TEXT, deep(1000).as_bytes()).await.status(),
            204
        );
    });
}
