//! Data and places that no kind client sends: letters that are part of events, offsets of another stream or life, readers
//! that are gone before they were answered.

use std::time::Duration;

use net::rt;
use tokio::io::AsyncWriteExt;

use crate::{
    live::{Events, Heard},
    server::{Server, TEXT, code, header, with_config, with_server},
};

#[test]
fn no_text_opens_an_event_and_no_letter_is_lost() {
    with_server(async |server: &Server| {
        let table = [
            ("a\0b", "a\0b"),
            ("\0", "\0"),
            ("one\r\ntwo\rthree\n", "one\ntwo\nthree\n"),
            (
                "x\n\nevent: control\ndata:{\"streamClosed\":true}\n\n",
                "x\n\nevent: control\ndata:{\"streamClosed\":true}\n\n",
            ),
            ("x\r\revent: data\r\rdata:y\r\r", "x\n\nevent: data\n\ndata:y\n\n"),
            (
                ": a comment\r\nid: 7\r\nretry: 1\r\n\r\n",
                ": a comment\nid: 7\nretry: 1\n\n",
            ),
            (" \u{feff} \u{2028}€", " \u{feff} \u{2028}€"),
        ];
        for (number, (sent, expected)) in table.iter().enumerate() {
            let path = format!("odd/{number}");
            server.create(&path).await;
            server.append(&path, sent.as_bytes()).await;
            server.call("POST", &path, &[("stream-closed", "true")], b"").await;
            let mut events = Events::open(server, &format!("{path}?offset=-1&live=sse")).await;
            let (data, control) = events.both().await;
            assert_eq!(data, *expected, "{sent:?}");
            let end = format!("{:020}", sent.len());
            assert_eq!(control["streamNextOffset"], end, "{sent:?}");
            assert_eq!(control["streamClosed"], true, "{sent:?}");
            assert_eq!(events.next().await, Heard::End);
            // What is read without events is as it was sent.
            assert_eq!(server.read(&path).await, sent.as_bytes());
        }
    });
}

#[test]
fn offsets_and_tags_of_another_stream_or_life_lead_nowhere() {
    with_server(async |server: &Server| {
        server.create("long").await;
        let end = server.append("long", b"0123456789").await;
        let offset = header(end.headers(), "stream-next-offset").to_owned();
        let tag = header(server.call("GET", "long", &[], b"").await.headers(), "etag").to_owned();
        let standing = header(server.call("HEAD", "long", &[], b"").await.headers(), "etag").to_owned();
        server.create("short").await;
        server.append("short", b"012").await;
        assert_eq!(server.call("DELETE", "long", &[], b"").await.status(), 204);
        server.create("long").await;
        server.append("long", b"012").await;
        for path in ["short", "long"] {
            for live in ["", "&live=long-poll", "&live=sse"] {
                let place = format!("{path}?offset={offset}{live}");
                let answer = server.call("GET", &place, &[], b"").await;
                assert_eq!(
                    (answer.status().as_u16(), code(&answer).as_str()),
                    (400, "offset_beyond_tail"),
                    "{place}"
                );
                assert_eq!(header(answer.headers(), "stream-next-offset"), format!("{:020}", 3));
            }
            let fresh = server.call("GET", path, &[("if-none-match", &tag)], b"").await;
            assert_eq!(
                (fresh.status().as_u16(), &fresh.body()[..]),
                (200, &b"012"[..]),
                "{path}"
            );
            let refused = server
                .call("POST", path, &[TEXT[0], ("if-match", &standing)], b"x")
                .await;
            assert_eq!(
                (refused.status().as_u16(), code(&refused).as_str()),
                (412, "precondition_failed"),
                "{path}"
            );
        }
        // An offset of a stream of bytes is seldom one between two messages.
        let json = [("content-type", "application/json")];
        server.call("PUT", "messages", &json, b"[1000,2000,3000]").await;
        for live in ["", "&live=long-poll", "&live=sse"] {
            let place = format!("messages?offset={:020}{live}", 2);
            let answer = server.call("GET", &place, &[], b"").await;
            assert_eq!(
                (answer.status().as_u16(), code(&answer).as_str()),
                (400, "bad_offset"),
                "{place}"
            );
        }
    });
}

#[test]
fn readers_that_hang_up_at_once_are_forgotten() {
    const READERS: usize = 50;
    with_config(
        |config| config.http.max_waiters = READERS as u64,
        async |server: &Server| {
            server.create("s").await;
            let ask = b"GET /v1/stream/s?offset=now&live=sse HTTP/1.1\r\nHost: x\r\n\r\n";
            for _ in 0..6 {
                for _ in 0..READERS {
                    let mut connection = server.connect().await;
                    // The node may be too busy to listen to the end.
                    let _ = connection.write_all(ask).await;
                }
            }
            // There is room for as many as ever, as soon as the node has noticed.
            let mut readers = Vec::new();
            while readers.len() < READERS {
                let answer = server.open("s?offset=now&live=sse").await;
                match answer.status().as_u16() {
                    200 => readers.push(Events::of(answer)),
                    503 => rt::sleep(Duration::from_millis(20)).await,
                    other => panic!("{other}"),
                }
            }
            for events in &mut readers {
                events.control().await;
            }
            server.append("s", b"everybody").await;
            for events in &mut readers {
                assert_eq!(events.both().await.0, "everybody");
            }
        },
    );
}

#[test]
fn half_a_character_and_half_a_line_end_wait_for_the_rest_at_the_tail_too() {
    with_server(async |server: &Server| {
        server.create("s").await;
        // Two, who share their events.
        let mut readers = Vec::new();
        for _ in 0..2 {
            let mut events = Events::open(server, "s?offset=-1&live=sse").await;
            assert_eq!(events.control().await["upToDate"], true);
            readers.push(events);
        }
        let steps: [(&[u8], &str, u64); 5] = [
            (b"a\xe2", "a", 1),
            (b"\x82\xac\r", "€", 4),
            (b"\nb", "\nb", 7),
            // There is nothing to say.
            (b"\r", "", 7),
            (b"c\r\n\xf0\x9f", "\nc\n", 11),
        ];
        for (sent, expected, next) in steps {
            server.append("s", sent).await;
            if expected.is_empty() {
                continue;
            }
            for events in &mut readers {
                let (data, control) = events.both().await;
                assert_eq!(data, expected, "{}", sent.escape_ascii());
                assert_eq!(control["streamNextOffset"], format!("{next:020}"));
                assert_eq!(control["upToDate"], true);
            }
        }
        // Who comes back to where it stood waits like the others, and who begins at the beginning sees no more than they.
        let mut back = Events::open(server, &format!("s?offset={:020}&live=sse", 11)).await;
        let control = back.control().await;
        assert_eq!(control["streamNextOffset"], format!("{:020}", 11));
        assert_eq!(control["upToDate"], true);
        let mut whole = Events::open(server, "s?offset=-1&live=sse").await;
        assert_eq!(whole.both().await.0, "a€\nb\nc\n");
        readers.extend([back, whole]);
        // What never becomes whole is shown when nothing follows any more.
        server
            .call("POST", "s", &[TEXT[0], ("stream-closed", "true")], b"")
            .await;
        for events in &mut readers {
            let (data, control) = events.both().await;
            assert_eq!(data, "\u{fffd}");
            assert_eq!(control["streamNextOffset"], format!("{:020}", 13));
            assert_eq!(control["streamClosed"], true);
            assert_eq!(events.next().await, Heard::End);
        }
        assert_eq!(&server.read("s").await[..], b"a\xe2\x82\xac\r\nb\rc\r\n\xf0\x9f");
    });
}
