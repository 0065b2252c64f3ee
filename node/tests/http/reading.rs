//! Answers are streamed, bounded, and cut off rather than wrong.

use std::time::Duration;

use net::rt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::server::{Server, TEXT, header, with_config, with_server};

/// Bytes that say where they are.
fn numbered(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at / 251 + at % 251) as u8).collect()
}

#[test]
fn a_long_stream_comes_whole_from_memory_and_from_disk() {
    for tail_cache in [0, 64 << 20] {
        with_config(
            |config| {
                config.cache.tail = tail_cache;
                config.journal.segment = 4 << 20;
                config.http.max_body = 1 << 20;
            },
            async |server: &Server| {
                server.create("s").await;
                let all = numbered(3_000_000);
                for piece in all.chunks(700_001) {
                    server.append("s", piece).await;
                }
                assert_eq!(server.read("s").await, all);
                let from = server.call("GET", "s?offset=00000000000001234567", &[], b"").await;
                assert_eq!(from.body(), &all[1_234_567..]);
            },
        );
    }
}

#[test]
fn many_short_appends_come_back_in_order() {
    with_server(async |server: &Server| {
        server.create("s").await;
        let mut expected = String::new();
        for number in 0..300 {
            let body = format!("{number},");
            server.append("s", body.as_bytes()).await;
            expected += &body;
        }
        assert_eq!(server.read("s").await, expected);
    });
}

#[test]
fn a_bounded_read_says_where_to_go_on() {
    with_config(
        |config| config.http.max_read = 64 << 10,
        async |server: &Server| {
            let all = numbered(150_000);
            server.create("s").await;
            server.append("s", &all).await;
            let (mut offset, mut gathered, mut answers) = ("-1".to_owned(), Vec::new(), 0);
            loop {
                let answer = server.call("GET", &format!("s?offset={offset}"), &[], b"").await;
                gathered.extend_from_slice(answer.body());
                answers += 1;
                offset = header(answer.headers(), "stream-next-offset").to_owned();
                if header(answer.headers(), "stream-up-to-date") == "true" {
                    break;
                }
            }
            assert_eq!((answers, gathered == all), (3, true));
        },
    );
}

#[test]
fn a_bounded_read_of_messages_ends_between_two() {
    with_config(
        |config| config.http.max_read = 64 << 10,
        async |server: &Server| {
            let json = [("content-type", "application/json")];
            server.call("PUT", "s", &json, b"").await;
            let long = format!("\"{}\"", "x".repeat(50_000));
            for _ in 0..3 {
                assert_eq!(server.call("POST", "s", &json, long.as_bytes()).await.status(), 204);
            }
            let first = server.call("GET", "s", &[], b"").await;
            assert_eq!(first.body(), &format!("[{long},{long}]"));
            let offset = header(first.headers(), "stream-next-offset");
            assert!(!first.headers().contains_key("stream-up-to-date"));
            let rest = server.call("GET", &format!("s?offset={offset}"), &[], b"").await;
            assert_eq!(rest.body(), &format!("[{long}]"));
            assert_eq!(header(rest.headers(), "stream-up-to-date"), "true");
        },
    );
}

#[test]
fn a_stream_deleted_under_a_reader_cuts_the_answer_off() {
    with_config(
        |config| config.cache.tail = 0,
        async |server: &Server| {
            server.create("s").await;
            for _ in 0..24 {
                server.append("s", &numbered(1 << 20)).await;
            }
            // The reader takes a little and waits: socket buffers fill long before 24 MiB are through.
            let mut reader = server.connect().await;
            reader
                .write_all(b"GET /v1/stream/s HTTP/1.1\r\nHost: x\r\n\r\n")
                .await
                .unwrap();
            let mut some = [0; 1000];
            reader.read_exact(&mut some).await.unwrap();
            assert!(some.starts_with(b"HTTP/1.1 200"));
            assert_eq!(server.call("DELETE", "s", &[], b"").await.status(), 204);
            assert_eq!(server.call("PUT", "s", &TEXT, b"another stream").await.status(), 201);

            let mut rest = Vec::new();
            let ended = rt::timeout(Duration::from_secs(10), reader.read_to_end(&mut rest)).await;
            assert!(ended.is_ok(), "the connection ends");
            assert!(rest.len() < 24 << 20, "and the answer is short of its Content-Length");
            assert!(!String::from_utf8_lossy(&rest).contains("another stream"));
        },
    );
}

#[test]
fn a_reader_who_does_not_read_is_cut_off() {
    with_config(
        |config| config.http.stall_timeout = Duration::from_millis(300),
        async |server: &Server| {
            server.create("s").await;
            for _ in 0..24 {
                server.append("s", &numbered(1 << 20)).await;
            }
            let mut reader = server.connect().await;
            reader
                .write_all(b"GET /v1/stream/s HTTP/1.1\r\nHost: x\r\n\r\n")
                .await
                .unwrap();
            rt::sleep(Duration::from_millis(1500)).await;
            let mut got = Vec::new();
            // Whether by an end or a reset: it is over, and not all of it came.
            let _ = rt::timeout(Duration::from_secs(10), reader.read_to_end(&mut got))
                .await
                .expect("an end");
            assert!(got.len() < 24 << 20, "{} bytes came", got.len());
        },
    );
}
