//! Reads that wait: everything once, in order, and an end.

use std::time::Duration;

use futures_util::future::join;
use http::Response;
use net::{
    rt::{self, Instant},
    serve::Pieces,
};
use node::config::Config;
use serde_json::Value;

use crate::{
    cluster::{end, three},
    server::{Server, TEXT, code, header, with_config, with_server, within},
};

const SHORT: Duration = Duration::from_millis(300);
const LONG: Duration = Duration::from_secs(15);
const JSON: [(&str, &str); 1] = [("content-type", "application/json")];
const CLOSE: [(&str, &str); 2] = [("content-type", "text/plain"), ("stream-closed", "true")];

/// One reader's events as they come.
pub(crate) struct Events {
    answer: Response<Pieces>,
    unread: Vec<u8>,
}

#[derive(Debug, PartialEq)]
pub(crate) enum Heard {
    Data(String),
    Control(Value),
    Beat,
    /// The answer ended in order.
    End,
}

impl Events {
    pub(crate) async fn open(server: &Server, path: &str) -> Self {
        Self::of(server.open(path).await)
    }

    pub(crate) fn of(answer: Response<Pieces>) -> Self {
        assert_eq!(answer.status(), 200);
        assert_eq!(header(answer.headers(), "content-type"), "text/event-stream");
        assert_eq!(header(answer.headers(), "cache-control"), "no-cache");
        Self {
            answer,
            unread: Vec::new(),
        }
    }

    pub(crate) async fn next(&mut self) -> Heard {
        loop {
            if let Some(end) = self.unread.windows(2).position(|two| two == b"\n\n") {
                let rest = self.unread.split_off(end + 2);
                let event = std::mem::replace(&mut self.unread, rest);
                return Self::parsed(std::str::from_utf8(&event[..end]).expect("text"));
            }
            match self.answer.body_mut().next(LONG).await.expect("a piece or the end") {
                Some(piece) => self.unread.extend_from_slice(&piece),
                None => return Heard::End,
            }
        }
    }

    fn parsed<'a>(event: &'a str) -> Heard {
        if event.starts_with(':') {
            return Heard::Beat;
        }
        let mut lines = event.split('\n');
        let kind = lines.next().expect("a line");
        let data = |line: &'a str| line.strip_prefix("data:").expect("data");
        let lines: Vec<&str> = lines
            .map(data)
            .map(|line| line.strip_prefix(' ').unwrap_or(line))
            .collect();
        match kind {
            "event: data" => Heard::Data(lines.join("\n")),
            "event: control" => Heard::Control(serde_json::from_str(&lines.concat()).expect("JSON")),
            other => panic!("{other}"),
        }
    }

    /// Data, and the control event that must follow it.
    pub(crate) async fn both(&mut self) -> (String, Value) {
        match (self.next().await, self.next().await) {
            (Heard::Data(data), Heard::Control(control)) => (data, control),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn control(&mut self) -> Value {
        match self.next().await {
            Heard::Control(control) => control,
            other => panic!("{other:?}"),
        }
    }
}

fn offset(at: u64) -> String {
    format!("{at:020}")
}

fn long_poll(at: u64) -> String {
    format!("s?offset={}&live=long-poll", offset(at))
}

fn with_short_polls<T>(test: impl AsyncFnOnce(&Server) -> T) -> T {
    with_config(|config| config.http.long_poll_timeout = SHORT, test)
}

#[test]
fn a_long_poll_answers_at_once_what_is_there_and_waits_for_what_is_not() {
    with_config(
        |config| config.http.long_poll_timeout = LONG,
        async |server: &Server| {
            server.create("s").await;
            server.append("s", b"one").await;
            let there = server.call("GET", "s?offset=-1&live=long-poll", &[], b"").await;
            assert_eq!((there.status().as_u16(), &there.body()[..]), (200, &b"one"[..]));
            assert_eq!(header(there.headers(), "stream-next-offset"), offset(3));
            assert_eq!(header(there.headers(), "stream-up-to-date"), "true");
            assert!(!header(there.headers(), "stream-cursor").is_empty());
            for place in [long_poll(3), "s?offset=now&live=long-poll".to_owned()] {
                let before = server.read("s").await.len();
                let place = place.replace(&offset(3), &offset(before as u64));
                let appending = async {
                    rt::sleep(Duration::from_millis(50)).await;
                    server.append("s", b"two").await
                };
                let (answer, _) = join(server.call("GET", &place, &[], b""), appending).await;
                assert_eq!((answer.status().as_u16(), &answer.body()[..]), (200, &b"two"[..]));
                assert_eq!(
                    header(answer.headers(), "stream-next-offset"),
                    offset(before as u64 + 3)
                );
            }
        },
    );
}

#[test]
fn a_long_poll_without_news_says_so_after_a_while_and_of_a_closed_stream_at_once() {
    with_short_polls(async |server: &Server| {
        server.create("s").await;
        server.append("s", b"one").await;
        let began = Instant::now();
        let nothing = server.call("GET", &long_poll(3), &[], b"").await;
        assert_eq!((nothing.status().as_u16(), nothing.body().len()), (204, 0));
        assert!(began.elapsed() >= SHORT);
        assert_eq!(header(nothing.headers(), "stream-next-offset"), offset(3));
        assert_eq!(header(nothing.headers(), "stream-up-to-date"), "true");
        assert_eq!(header(nothing.headers(), "stream-closed"), "");
        assert!(!header(nothing.headers(), "stream-cursor").is_empty());
    });
    with_config(
        |config| config.http.long_poll_timeout = LONG,
        async |server: &Server| {
            server.create("s").await;
            server.append("s", b"one").await;
            let closing = async {
                rt::sleep(Duration::from_millis(50)).await;
                server.call("POST", "s", &CLOSE, b"").await
            };
            let path = long_poll(3);
            let began = Instant::now();
            let (waiting, _) = join(server.call("GET", &path, &[], b""), closing).await;
            let again = server.call("GET", &path, &[], b"").await;
            for answer in [waiting, again] {
                assert_eq!(answer.status(), 204);
                assert_eq!(header(answer.headers(), "stream-closed"), "true");
                assert_eq!(header(answer.headers(), "stream-up-to-date"), "true");
            }
            assert!(began.elapsed() < LONG);
        },
    );
}

#[test]
fn a_cursor_goes_up_from_the_one_sent() {
    with_server(async |server: &Server| {
        server.create("s").await;
        server.append("s", b"one").await;
        let mut last = 0;
        for _ in 0..5 {
            let path = format!("s?offset=-1&live=long-poll&cursor={last}");
            let answer = server.call("GET", &path, &[], b"").await;
            let cursor: u64 = header(answer.headers(), "stream-cursor").parse().expect("digits");
            assert!(cursor > last);
            last = cursor;
        }
        let mut events = Events::open(server, &format!("s?offset=-1&live=sse&cursor={last}")).await;
        let mut peer = Events::open(server, "s?offset=-1&live=sse").await;
        peer.both().await;
        for word in ["one", "two", "three"] {
            let (data, control) = events.both().await;
            assert_eq!(data, word);
            let cursor: u64 = control["streamCursor"].as_str().expect("text").parse().expect("digits");
            assert!(cursor > last);
            assert_eq!(control["upToDate"], true);
            if word != "three" {
                let next = if word == "one" { "two" } else { "three" };
                server.append("s", next.as_bytes()).await;
                // Both take the same event, with a cursor of their own.
                assert_eq!(peer.both().await.0, next);
            }
        }
    });
}

#[test]
fn whoever_waits_for_a_stream_that_goes_is_told_and_sees_nothing_of_the_next() {
    with_config(
        |config| config.http.long_poll_timeout = LONG,
        async |server: &Server| {
            for again in [false, true] {
                server.create("s").await;
                server.append("s", b"one").await;
                let mut events = Events::open(server, "s?offset=-1&live=sse").await;
                events.both().await;
                let path = long_poll(3);
                let deleting = async {
                    rt::sleep(Duration::from_millis(50)).await;
                    server.call("DELETE", "s", &[], b"").await;
                    if again {
                        server.call("PUT", "s", &TEXT, b"longer than before").await;
                    }
                };
                let (answer, ()) = join(server.call("GET", &path, &[], b""), deleting).await;
                assert_eq!(
                    (answer.status().as_u16(), code(&answer).as_str()),
                    (404, "stream_not_found")
                );
                assert_eq!(events.next().await, Heard::End);
            }
        },
    );
}

#[test]
fn events_follow_the_stream_to_its_end() {
    with_server(async |server: &Server| {
        server.create("s").await;
        let mut events = Events::open(server, "s?offset=-1&live=sse").await;
        let control = events.control().await;
        assert_eq!(control["streamNextOffset"], offset(0));
        assert_eq!(control["upToDate"], true);
        for (number, body) in ["one", "two\nlines\r\n", "\r\revent: control\n\n"].iter().enumerate() {
            server.append("s", body.as_bytes()).await;
            let (data, control) = events.both().await;
            assert_eq!(data, body.replace("\r\n", "\n").replace('\r', "\n"), "{number}");
            assert_eq!(control["upToDate"], true);
        }
        server.call("POST", "s", &CLOSE, b"the end").await;
        let (data, control) = events.both().await;
        assert_eq!(data, "the end");
        assert_eq!(control["streamClosed"], true);
        assert_eq!(control["streamCursor"], Value::Null);
        assert_eq!(events.next().await, Heard::End);
        let mut late = Events::open(server, "s?offset=now&live=sse").await;
        assert_eq!(late.control().await["streamClosed"], true);
        assert_eq!(late.next().await, Heard::End);
    });
}

#[test]
fn a_close_without_bytes_ends_the_events() {
    with_server(async |server: &Server| {
        server.create("s").await;
        let mut events = Events::open(server, "s?offset=now&live=sse").await;
        events.control().await;
        server.call("POST", "s", &CLOSE, b"").await;
        assert_eq!(events.control().await["streamClosed"], true);
        assert_eq!(events.next().await, Heard::End);
    });
}

#[test]
fn the_last_data_and_the_end_come_in_one_piece() {
    with_server(async |server: &Server| {
        server.create("s").await;
        let mut events = Events::open(server, "s?offset=now&live=sse").await;
        events.control().await;
        server.call("POST", "s", &CLOSE, b"the end").await;
        let piece = events
            .answer
            .body_mut()
            .next(LONG)
            .await
            .expect("a piece")
            .expect("a piece");
        let text = std::str::from_utf8(&piece).expect("text");
        assert!(text.contains("the end") && text.contains("streamClosed"), "{text}");
    });
}

#[test]
fn json_comes_as_arrays_between_whose_messages_every_offset_lies() {
    with_config(
        |config| config.cache.read_piece = 4096,
        async |server: &Server| {
            server.call("PUT", "s", &JSON, b"[]").await;
            // Catching up: more than one event, and one message longer than a piece.
            let long = format!("[{{\"n\":0}},\"{}\",1]", "x".repeat(10_000));
            server.call("POST", "s", &JSON, long.as_bytes()).await;
            let many = format!("[{}]", (2..2000).map(|n| n.to_string()).collect::<Vec<_>>().join(","));
            server.call("POST", "s", &JSON, many.as_bytes()).await;
            let mut events = Events::open(server, "s?offset=-1&live=sse").await;
            let (mut messages, mut count) = (Vec::new(), 0);
            loop {
                let (data, control) = events.both().await;
                let Value::Array(some) = serde_json::from_str(&data).expect("JSON") else {
                    panic!("{data}");
                };
                messages.extend(some);
                count += 1;
                if control["upToDate"] == true {
                    break;
                }
                let place = format!("s?offset={}", control["streamNextOffset"].as_str().expect("text"));
                assert_eq!(server.call("GET", &place, &[], b"").await.status(), 200);
            }
            assert!(count >= 3, "{count}");
            assert_eq!(messages.len(), 2001);
            server.call("POST", "s", &JSON, b"{\"live\": [1, 2]}").await;
            assert_eq!(events.both().await.0, "[{\"live\":[1,2]}]");
        },
    );
}

#[test]
fn a_reader_far_behind_gets_every_byte_once_from_memory_and_from_disk() {
    for tail_cache in [0, 64 << 20] {
        with_config(
            |config| {
                config.cache.tail = tail_cache;
                config.cache.read_piece = 4096;
            },
            async |server: &Server| {
                server.create("s").await;
                let all: String = (0..30_000).map(|n| format!("{n}€ ")).collect();
                for piece in all.as_bytes().chunks(50_001) {
                    server.append("s", piece).await;
                }
                let mut events = Events::open(server, "s?offset=-1&live=sse").await;
                let mut gathered = String::new();
                let mut last = 0;
                while gathered.len() < all.len() {
                    let (data, control) = events.both().await;
                    gathered += &data;
                    let next: u64 = control["streamNextOffset"]
                        .as_str()
                        .expect("text")
                        .parse()
                        .expect("digits");
                    assert_eq!(next - last, data.len() as u64);
                    last = next;
                }
                assert_eq!(gathered, all);
                server.append("s", b"live").await;
                assert_eq!(events.both().await.0, "live");
            },
        );
    }
}

#[test]
fn other_bytes_come_as_base64() {
    with_server(async |server: &Server| {
        let bytes = [("content-type", "application/octet-stream")];
        server.call("PUT", "s", &bytes, &[0xff, 0xfe, 0xfd, 0]).await;
        let mut events = Events::open(server, "s?offset=-1&live=sse").await;
        assert_eq!(header(events.answer.headers(), "stream-sse-data-encoding"), "base64");
        assert_eq!(events.both().await.0, "//79AA==");
    });
}

#[test]
fn a_silent_stream_beats_and_ends_after_a_while() {
    let change = |config: &mut Config| {
        config.http.sse_heartbeat = Duration::from_millis(200);
        config.http.sse_lifetime = Duration::from_secs(1);
    };
    with_config(change, async |server: &Server| {
        server.create("s").await;
        let mut events = Events::open(server, "s?offset=-1&live=sse").await;
        events.control().await;
        let mut beats = 0;
        loop {
            match events.next().await {
                Heard::Beat => beats += 1,
                Heard::End => break,
                other => panic!("{other:?}"),
            }
        }
        assert!((3..=5).contains(&beats), "{beats}");
    });
}

#[test]
fn a_hundred_readers_get_everything_once_and_none_is_remembered() {
    with_config(
        |config| config.http.max_waiters = 100,
        async |server: &Server| {
            server.create("s").await;
            for round in 0..3 {
                let mut readers = Vec::new();
                for _ in 0..100 {
                    let mut events = Events::open(server, "s?offset=now&live=sse").await;
                    events.control().await;
                    readers.push(events);
                }
                let refused = server.call("GET", "s?offset=now&live=sse", &[], b"").await;
                assert_eq!(
                    (refused.status().as_u16(), code(&refused).as_str()),
                    (503, "backpressure")
                );
                for number in 0..20 {
                    server.append("s", format!("{round} {number}.").as_bytes()).await;
                }
                for events in &mut readers {
                    let mut gathered = String::new();
                    while !gathered.ends_with(" 19.") {
                        gathered += &events.both().await.0;
                    }
                    let expected: String = (0..20).map(|number| format!("{round} {number}.")).collect();
                    assert_eq!(gathered, expected);
                }
                drop(readers);
                // Whoever hung up is noticed soon.
                while server
                    .call("GET", "s?offset=-1&live=long-poll", &[], b"")
                    .await
                    .status()
                    != 200
                {
                    rt::sleep(Duration::from_millis(10)).await;
                }
                rt::sleep(Duration::from_millis(200)).await;
            }
        },
    );
}

#[test]
fn a_node_that_ends_keeps_nobody_waiting() {
    with_config(
        |config| config.http.long_poll_timeout = LONG,
        async |server: &Server| {
            server.create("s").await;
            let mut events = Events::open(server, "s?offset=-1&live=sse").await;
            events.control().await;
            let polling = server.call("GET", "s?offset=now&live=long-poll", &[], b"");
            let ending = async {
                rt::sleep(Duration::from_millis(100)).await;
                let began = Instant::now();
                server.node.shutdown(LONG).await;
                began.elapsed()
            };
            let (answer, took) = join(polling, ending).await;
            assert_eq!(answer.status(), 204);
            assert!(took < LONG / 2, "{took:?}");
            assert_eq!(events.next().await, Heard::End);
        },
    );
}

#[test]
fn every_node_tells_its_readers_what_another_took() {
    within(async {
        let servers = three(|_| {}).await;
        for name in ["a", "b", "c", "d"] {
            servers[0].create(name).await;
            let path = format!("{name}?offset=-1&live=sse");
            let mut readers = Vec::new();
            for server in &servers {
                let mut events = Events::open(server, &path).await;
                events.control().await;
                readers.push(events);
            }
            for round in 0..6 {
                let body = format!("{round},");
                servers[round % 3].append(name, body.as_bytes()).await;
                for events in &mut readers {
                    assert_eq!(events.both().await.0, body);
                }
            }
        }
        end(servers).await;
    });
}
