//! Snapshots of streams: published, fetched, trimmed below, and sent with what came after them.

use std::time::Duration;

use bytes::Bytes;
use http::Response;
use net::rt;
use node::{config::OnSnapshot, stream::StreamName};
use tokio::io::AsyncWriteExt;

use crate::server::{Server, TEXT, code, header, listen, with_config, with_server};

const JSON: [(&str, &str); 1] = [("content-type", "application/json")];

/// `/demo/log/{beside}` for a place.
fn at(beside: &str, offset: u64) -> String {
    format!("/demo/log/{beside}/{offset:020}")
}

/// `0123456789` in three appends: 0..3, 3..4, 4..10.
async fn ten(server: &Server) {
    server.create("demo/log").await;
    for body in ["012", "3", "456789"] {
        server.append("demo/log", body.as_bytes()).await;
    }
}

async fn publish(server: &Server, offset: u64, blob: &[u8]) -> Response<Bytes> {
    server.call_at("PUT", &at("snapshot", offset), &JSON, blob).await
}

async fn published(server: &Server, offset: u64, blob: &[u8]) {
    let answer = publish(server, offset, blob).await;
    assert_eq!(answer.status(), 204, "{:?}", answer.body());
}

/// A blob of many parts is published at 6, and read back as it was.
async fn long_blob_comes_back(server: &Server) -> Vec<u8> {
    let blob: Vec<u8> = (0..300_001_u32).map(|at| (at % 251) as u8).collect();
    published(server, 6, &blob).await;
    let back = server.call_at("GET", &at("snapshot", 6), &[], b"").await;
    assert!(back.body() == &blob, "{} bytes", back.body().len());
    blob
}

/// The parts of a multipart answer: their types and contents.
fn parts(answer: &Response<Bytes>) -> Vec<(String, String)> {
    let kind = header(answer.headers(), "content-type");
    let boundary = kind.strip_prefix("multipart/mixed; boundary=").expect("a boundary");
    let text = std::str::from_utf8(answer.body()).expect("tests write text");
    let delimiter = format!("--{boundary}");
    let inner = text
        .strip_prefix(&format!("{delimiter}\r\n"))
        .and_then(|text| text.strip_suffix(&format!("\r\n{delimiter}--\r\n")))
        .expect("whole");
    inner
        .split(&format!("\r\n{delimiter}\r\n"))
        .map(|part| {
            let (head, content) = part.split_once("\r\n\r\n").expect("a head");
            (
                head.strip_prefix("Content-Type: ").expect("a type").to_owned(),
                content.to_owned(),
            )
        })
        .collect()
}

async fn bootstrap(server: &Server) -> (Response<Bytes>, Vec<(String, String)>) {
    let answer = server.call_at("GET", "/demo/log/bootstrap", &[], b"").await;
    assert_eq!(answer.status(), 200, "{:?}", answer.body());
    let parts = parts(&answer);
    (answer, parts)
}

fn some(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter()
        .map(|(kind, content)| ((*kind).to_owned(), (*content).to_owned()))
        .collect()
}

#[test]
fn a_snapshot_is_published_found_and_fetched() {
    with_server(async |server: &Server| {
        ten(server).await;
        let none = server.call_at("GET", "/demo/log/snapshot", &[], b"").await;
        assert_eq!(
            (none.status().as_u16(), code(&none).as_str()),
            (404, "snapshot_not_found")
        );

        let made = publish(server, 4, b"{\"sum\":6}").await;
        assert_eq!(made.status(), 204, "{:?}", made.body());
        assert_eq!(header(made.headers(), "stream-snapshot-offset"), "00000000000000000004");
        assert_eq!(header(made.headers(), "stream-next-offset"), "00000000000000000010");

        let newest = server.call_at("GET", "/demo/log/snapshot", &[], b"").await;
        assert_eq!(newest.status(), 307);
        assert!(header(newest.headers(), "location").ends_with(&at("snapshot", 4)));
        let blob = server.call_at("GET", &at("snapshot", 4), &[], b"").await;
        assert_eq!((blob.status().as_u16(), &blob.body()[..]), (200, &b"{\"sum\":6}"[..]));
        assert_eq!(header(blob.headers(), "content-type"), "application/json");
        let looked = server.call("HEAD", "demo/log", &[], b"").await;
        assert_eq!(
            header(looked.headers(), "stream-snapshot-offset"),
            "00000000000000000004"
        );
        // Nobody who reads on loses anything by it.
        assert_eq!(server.read("demo/log").await, "0123456789");

        let stays = server.call_at("DELETE", &at("snapshot", 4), &[], b"").await;
        assert_eq!(
            (stays.status().as_u16(), code(&stays).as_str()),
            (409, "snapshot_is_newest")
        );
        published(server, 10, b"").await;
        for method in ["GET", "DELETE"] {
            let gone = server.call_at(method, &at("snapshot", 4), &[], b"").await;
            assert_eq!(
                (gone.status().as_u16(), code(&gone).as_str()),
                (404, "snapshot_not_found")
            );
            assert_eq!(header(gone.headers(), "stream-snapshot-offset"), "00000000000000000010");
        }
        let empty = server.call_at("GET", &at("snapshot", 10), &[], b"").await;
        assert_eq!((empty.status().as_u16(), empty.body().len()), (200, 0));
    });
}

#[test]
fn a_snapshot_stands_where_it_may_and_never_changes() {
    with_server(async |server: &Server| {
        let nowhere = publish(server, 0, b"x").await;
        assert_eq!(
            (nowhere.status().as_u16(), code(&nowhere).as_str()),
            (404, "stream_not_found")
        );
        ten(server).await;
        published(server, 4, b"four").await;
        published(server, 4, b"four").await;
        let table: [(u64, &[u8], u16, &str); 3] = [
            (11, b"x", 409, "snapshot_beyond_tail"),
            (3, b"x", 409, "snapshot_older"),
            (4, b"five", 409, "snapshot_exists"),
        ];
        for (offset, blob, status, expected) in table {
            let answer = publish(server, offset, blob).await;
            assert_eq!((answer.status().as_u16(), code(&answer).as_str()), (status, expected));
        }
        for offset in ["4", "-1", "now", "x"] {
            let bad = server
                .call_at("PUT", &format!("/demo/log/snapshot/{offset}"), &JSON, b"x")
                .await;
            assert_eq!(
                (bad.status().as_u16(), code(&bad).as_str()),
                (400, "bad_offset"),
                "{offset}"
            );
        }
        let bad = [("content-type", "nonsense")];
        let bad = server.call_at("PUT", &at("snapshot", 4), &bad, b"x").await;
        assert_eq!((bad.status().as_u16(), code(&bad).as_str()), (400, "bad_content_type"));
        let still = server.call_at("GET", &at("snapshot", 4), &[], b"").await;
        assert_eq!(still.body(), "four");
    });
}

#[test]
fn a_snapshot_of_messages_stands_between_two() {
    with_server(async |server: &Server| {
        assert_eq!(server.call("PUT", "demo/log", &JSON, b"[11,22]").await.status(), 201);
        let inside = publish(server, 2, b"x").await;
        assert_eq!((inside.status().as_u16(), code(&inside).as_str()), (400, "bad_offset"));
        published(server, 3, b"{}").await;
        let inside = server.call_at("PUT", &at("retention", 2), &[], b"").await;
        assert_eq!((inside.status().as_u16(), code(&inside).as_str()), (400, "bad_offset"));

        assert_eq!(
            server
                .call("POST", "demo/log", &JSON, b" [ {\"a\": [1, 2]}, \"--x\\r\\n\" ]")
                .await
                .status(),
            204
        );
        let (_, parts) = bootstrap(server).await;
        let json = "application/json";
        let expected = [
            (json, "{}"),
            (json, "22"),
            (json, "{\"a\":[1,2]}"),
            (json, "\"--x\\r\\n\""),
        ];
        assert_eq!(parts, some(&expected));
    });
}

/// How little of a blob is held in memory is weighed in `tests/memory/snapshot.rs`.
#[test]
fn a_blob_is_stored_in_parts_and_read_back_whole() {
    let small = |config: &mut node::config::Config| {
        config.http.snapshot_part = 4 << 10;
        config.http.max_snapshot = 512 << 10;
    };
    with_config(small, async |server: &Server| {
        ten(server).await;
        let blob = long_blob_comes_back(server).await;
        published(server, 10, &blob[..4096]).await;
        let back = server.call_at("GET", &at("snapshot", 10), &[], b"").await;
        assert!(back.body() == &blob[..4096], "{} bytes", back.body().len());

        server.append("demo/log", b"x").await;
        let large = publish(server, 11, &vec![b'x'; (512 << 10) + 1]).await;
        assert_eq!(
            (large.status().as_u16(), code(&large).as_str()),
            (413, "body_too_large")
        );
        // Without an announced length it is found out on the way.
        let mut head = format!(
            "PUT {} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n",
            at("snapshot", 11)
        );
        for _ in 0..140 {
            head.push_str(&format!("1000\r\n{}\r\n", "x".repeat(4096)));
        }
        head.push_str("0\r\n\r\n");
        let heard = server.raw(head.as_bytes(), Duration::from_secs(2)).await;
        assert!(heard.starts_with("HTTP/1.1 413"), "{heard}");
        let newest = server.call_at("GET", "/demo/log/snapshot", &[], b"").await;
        assert_eq!(
            header(newest.headers(), "stream-snapshot-offset"),
            "00000000000000000010"
        );
    });
}

#[test]
fn large_bodies_and_parts_go_to_the_cold_store_at_once_and_are_read_back_whole() {
    let small = |config: &mut node::config::Config| {
        config.cold.backend = node::config::ColdBackend::Local;
        config.cold.reference = 64 << 10;
        config.http.snapshot_part = 4 << 10;
    };
    with_config(small, async |server: &Server| {
        ten(server).await;
        long_blob_comes_back(server).await;
        server.append("demo/log", &vec![b'x'; 70_000]).await;
        server.append("demo/log", b"small").await;
        let metrics = server.call_at("GET", "/metrics", &[], b"").await;
        let metrics = String::from_utf8_lossy(metrics.body()).into_owned();
        // Four whole parts of the blob, of which the last goes through the log, and one append.
        assert!(metrics.contains("\nholdfast_cold_ahead_total 5\n"), "{metrics}");
    });
}

#[test]
fn an_upload_that_breaks_off_publishes_nothing_and_leaves_nothing() {
    let hasty = |config: &mut node::config::Config| {
        config.http.snapshot_part = 1 << 10;
        config.http.stall_timeout = Duration::from_millis(200);
        config.http.request_deadline = Duration::from_secs(1);
    };
    with_config(hasty, async |server: &Server| {
        ten(server).await;
        let name = StreamName::flat("demo/log").expect("legal");
        let uploads = || {
            let groups = server.node.groups();
            let group = node::stream::group_of(&name, groups.count());
            groups.view(group).uploads().len()
        };
        let head = format!(
            "PUT {} HTTP/1.1\r\nHost: x\r\nContent-Length: 10000\r\n\r\n",
            at("snapshot", 4)
        );
        let half = [head.as_bytes(), &[b'x'; 5000][..]].concat();
        // One that hangs up, one that falls silent.
        let mut stream = server.connect().await;
        stream.write_all(&half).await.expect("sent");
        rt::sleep(Duration::from_millis(50)).await;
        drop(stream);
        let mut stream = server.connect().await;
        stream.write_all(&half).await.expect("sent");
        let heard = listen(&mut stream, Duration::from_secs(2)).await;
        assert!(heard.starts_with("HTTP/1.1 408"), "{heard}");

        let newest = server.call_at("GET", "/demo/log/snapshot", &[], b"").await;
        assert_eq!(
            (newest.status().as_u16(), code(&newest).as_str()),
            (404, "snapshot_not_found")
        );
        for _ in 0..100 {
            if uploads() == 0 {
                return;
            }
            rt::sleep(Duration::from_millis(50)).await;
        }
        panic!("{} uploads are left", uploads());
    });
}

#[test]
fn bytes_before_a_snapshot_go_when_they_are_told_to() {
    with_server(async |server: &Server| {
        ten(server).await;
        let kept = server.call_at("PUT", &at("retention", 4), &[], b"").await;
        assert_eq!((kept.status().as_u16(), code(&kept).as_str()), (409, "no_snapshot"));
        published(server, 6, b"six").await;
        let kept = server.call_at("PUT", &at("retention", 7), &[], b"").await;
        assert_eq!((kept.status().as_u16(), code(&kept).as_str()), (409, "no_snapshot"));
        let trimmed = server.call_at("PUT", &at("retention", 4), &[], b"").await;
        assert_eq!(trimmed.status(), 204);
        assert_eq!(
            header(trimmed.headers(), "stream-earliest-offset"),
            "00000000000000000004"
        );

        let gone = server
            .call("GET", "demo/log?offset=00000000000000000003", &[], b"")
            .await;
        assert_eq!((gone.status().as_u16(), code(&gone).as_str()), (410, "offset_trimmed"));
        assert_eq!(header(gone.headers(), "stream-earliest-offset"), "00000000000000000004");
        assert_eq!(server.read("demo/log").await, "456789");
        let late = publish(server, 3, b"x").await;
        assert_eq!((late.status().as_u16(), code(&late).as_str()), (410, "offset_trimmed"));
        let (_, parts) = bootstrap(server).await;
        assert_eq!(parts, some(&[("application/json", "six"), ("text/plain", "6789")]));
    });
}

#[test]
fn publishing_trims_where_that_is_wanted() {
    let trims = |config: &mut node::config::Config| config.http.on_snapshot = OnSnapshot::Trim;
    with_config(trims, async |server: &Server| {
        ten(server).await;
        published(server, 4, b"four").await;
        assert_eq!(server.read("demo/log").await, "456789");
        let gone = server
            .call("GET", "demo/log?offset=00000000000000000000", &[], b"")
            .await;
        assert_eq!(gone.status(), 410);
        published(server, 10, b"ten").await;
        let (answer, parts) = bootstrap(server).await;
        assert_eq!(parts, some(&[("application/json", "ten")]));
        assert_eq!(
            header(answer.headers(), "stream-snapshot-offset"),
            "00000000000000000010"
        );
    });
}

#[test]
fn a_bootstrap_is_the_snapshot_and_one_part_for_each_append_after_it() {
    with_server(async |server: &Server| {
        let nowhere = server.call_at("GET", "/demo/log/bootstrap", &[], b"").await;
        assert_eq!(
            (nowhere.status().as_u16(), code(&nowhere).as_str()),
            (404, "stream_not_found")
        );
        ten(server).await;
        let (text, none) = ("text/plain", "application/octet-stream");
        let (answer, parts) = bootstrap(server).await;
        assert_eq!(parts, some(&[(none, ""), (text, "012"), (text, "3"), (text, "456789")]));
        assert_eq!(header(answer.headers(), "stream-snapshot-offset"), "none");
        assert_eq!(header(answer.headers(), "stream-next-offset"), "00000000000000000010");
        assert_eq!(header(answer.headers(), "stream-up-to-date"), "true");
        assert_eq!(header(answer.headers(), "cache-control"), "no-store");

        // Whoever knows the delimiter of one answer does not know that of the next.
        let known = header(answer.headers(), "content-type")
            .split_once('=')
            .expect("a boundary")
            .1;
        let forged = format!("\r\n--{known}\r\nContent-Type: a/b\r\n\r\nforged\r\n--{known}--\r\n");
        server.append("demo/log", forged.as_bytes()).await;
        // An append that takes several chunks, one of exactly a chunk, and one behind them.
        let long = "l".repeat(600 << 10);
        let chunk = "c".repeat(256 << 10);
        for body in [&long, &chunk, "end"] {
            server.append("demo/log", body.as_bytes()).await;
        }
        published(server, 4, b"four").await;
        let closing = [("stream-closed", "true")];
        assert_eq!(server.call("POST", "demo/log", &closing, b"").await.status(), 204);
        let (answer, parts) = bootstrap(server).await;
        assert_eq!(header(answer.headers(), "stream-closed"), "true");
        assert_eq!(
            header(answer.headers(), "stream-snapshot-offset"),
            "00000000000000000004"
        );
        let json = "application/json";
        let expected = [
            (json, "four"),
            (text, "456789"),
            (text, &forged),
            (text, &long),
            (text, &chunk),
            (text, "end"),
        ];
        assert!(
            parts == some(&expected),
            "{:?}",
            parts.iter().map(|(_, part)| part.len()).collect::<Vec<_>>()
        );

        let live = server.call_at("GET", "/demo/log/bootstrap?live=sse", &[], b"").await;
        assert_eq!((live.status().as_u16(), code(&live).as_str()), (400, "bad_live"));
        // A snapshot inside an append: the first part is what is left of it.
        published(server, 6, b"six").await;
        assert_eq!(
            bootstrap(server).await.1[1],
            ("text/plain".to_owned(), "6789".to_owned())
        );
    });
}

#[test]
fn many_small_appends_are_as_many_parts() {
    with_server(async |server: &Server| {
        server.create("demo/log").await;
        let mut expected = vec![("application/octet-stream".to_owned(), String::new())];
        for number in 0..300 {
            let body = format!("{number},");
            server.append("demo/log", body.as_bytes()).await;
            expected.push(("text/plain".to_owned(), body));
        }
        assert_eq!(bootstrap(server).await.1, expected);
    });
}

#[test]
fn on_the_flat_route_the_same_words_are_names() {
    with_server(async |server: &Server| {
        for name in ["demo/log/snapshot", "demo/log/bootstrap"] {
            server.create(name).await;
            server.append(name, b"x").await;
            assert_eq!(server.read(name).await, "x");
        }
        let none = server.call_at("GET", "/demo/log/snapshot", &TEXT, b"").await;
        assert_eq!(
            (none.status().as_u16(), code(&none).as_str()),
            (404, "stream_not_found")
        );
    });
}

#[test]
fn a_snapshot_of_what_is_not_there_yet_is_refused_before_its_body_is_read() {
    with_server(async |server: &Server| {
        ten(server).await;
        // A life before had more.
        server.append("demo/log", b"more").await;
        let past = format!("{:020}", 14);
        published(server, 14, b"of another life").await;
        assert_eq!(server.call_at("DELETE", "/demo/log", &[], b"").await.status(), 204);
        ten(server).await;
        let two = format!("{:016}_{:016}", 3, 11);
        let huge = format!("{0}_{0}", "9".repeat(16));
        for (place, status, expected) in [
            ("00000000000000000011", 409, "snapshot_beyond_tail"),
            (&past, 409, "snapshot_beyond_tail"),
            ("18446744073709551615", 409, "snapshot_beyond_tail"),
            ("18446744073709551616", 409, "snapshot_beyond_tail"),
            ("99999999999999999999", 409, "snapshot_beyond_tail"),
            (&two, 409, "snapshot_beyond_tail"),
            (&huge, 409, "snapshot_beyond_tail"),
            ("999999999999999999999", 400, "bad_offset"),
            ("0000000000000011", 400, "bad_offset"),
            ("0000000000000000001a", 400, "bad_offset"),
            ("-0000000000000000011", 400, "bad_offset"),
            ("%2B0000000000000000001", 400, "bad_offset"),
        ] {
            let path = format!("/demo/log/snapshot/{place}");
            let answer = server.call_at("PUT", &path, &JSON, b"blob").await;
            assert_eq!(
                (answer.status().as_u16(), code(&answer).as_str()),
                (status, expected),
                "{place}"
            );
            // Refused by its head: of neither body does the node wait for the end, and one is not even invited.
            for more in ["Transfer-Encoding: chunked\r\n", "Content-Length: 1000000\r\n"] {
                for waits in ["", "Expect: 100-continue\r\n"] {
                    let head = format!("PUT {path} HTTP/1.1\r\nHost: x\r\n{more}{waits}\r\n");
                    let mut connection = server.connect().await;
                    connection.write_all(head.as_bytes()).await.expect("an open connection");
                    if waits.is_empty() && more.starts_with('T') {
                        connection
                            .write_all(b"5\r\nhello\r\n")
                            .await
                            .expect("an open connection");
                    }
                    let heard = listen(&mut connection, Duration::from_millis(1500)).await;
                    assert!(heard.starts_with(&format!("HTTP/1.1 {status}")), "{head}: {heard}");
                    assert!(heard.contains(expected), "{head}: {heard}");
                }
            }
        }
        let none = server.call_at("GET", "/demo/log/snapshot", &[], b"").await;
        assert_eq!(
            (none.status().as_u16(), code(&none).as_str()),
            (404, "snapshot_not_found")
        );
        // The same two numbers, in the stream.
        let inside = format!("/demo/log/snapshot/{:016}_{:016}", 3, 10);
        assert_eq!(server.call_at("PUT", &inside, &JSON, b"blob").await.status(), 204);
    });
}
