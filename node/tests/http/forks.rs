//! Forks: a stream that begins as a part of another one, wherever both are kept.

use crate::{
    cluster::{end, three},
    server::{Server, TEXT, code, header, with_server, within},
};

/// PUT of a fork; status and code, or where it ends.
async fn fork(server: &Server, path: &str, headers: &[(&str, &str)], body: &[u8]) -> (u16, String) {
    let answer = server.call("PUT", path, headers, body).await;
    let status = answer.status().as_u16();
    if status < 300 {
        return (status, header(answer.headers(), "stream-next-offset").to_owned());
    }
    (status, code(&answer))
}

async fn status(server: &Server, method: &str, path: &str) -> (u16, String) {
    let answer = server.call(method, path, &TEXT, b"x").await;
    let status = answer.status().as_u16();
    let code = if status < 300 { String::new() } else { code(&answer) };
    (status, code)
}

/// The headers of a request.
type Headers<'a> = &'a [(&'a str, &'a str)];

#[test]
fn what_a_put_of_a_fork_may_ask_for() {
    with_server(async |server: &Server| {
        server.create("a").await;
        server.append("a", b"01234").await;
        server.append("a", b"56789").await;
        let of_a = ("stream-forked-from", "/v1/stream/a");
        let at = |offset: &'static str| ("stream-fork-offset", offset);
        let sub = |sub: &'static str| ("stream-fork-sub-offset", sub);
        let ok = |status, end: u64| (status, format!("{end:020}"));
        let no = |status, code: &str| (status, code.to_owned());
        let table: [(&str, Headers<'_>, (u16, String)); 16] = [
            ("f0", &[of_a], ok(201, 10)),
            ("f0", &[of_a], ok(200, 10)),
            ("f0", &[of_a, at("00000000000000000005")], no(409, "stream_exists")),
            ("f1", &[of_a, at("00000000000000000005")], ok(201, 5)),
            ("f2", &[of_a, at("00000000000000000005"), sub("3")], ok(201, 8)),
            (
                "f2",
                &[of_a, at("00000000000000000005"), sub("4")],
                no(409, "stream_exists"),
            ),
            ("f3", &[of_a, at("00000000000000000002"), sub("3")], ok(201, 5)),
            (
                "f4",
                &[of_a, at("00000000000000000002"), sub("4")],
                no(400, "fork_sub_offset_beyond_append"),
            ),
            (
                "f4",
                &[of_a, at("00000000000000000010"), sub("1")],
                no(400, "fork_sub_offset_beyond_append"),
            ),
            ("f4", &[of_a, at("00000000000000000011")], no(400, "offset_beyond_tail")),
            ("f4", &[of_a, at("-1")], no(400, "bad_offset")),
            ("f4", &[of_a, sub("1")], no(400, "bad_fork")),
            ("f4", &[at("00000000000000000005")], no(400, "bad_fork")),
            ("f4", &[("stream-forked-from", "/healthz")], no(400, "bad_fork")),
            (
                "f4",
                &[("stream-forked-from", "/v1/stream/none")],
                no(404, "fork_source_not_found"),
            ),
            ("f4", &[of_a, ("content-type", "a/b")], no(409, "content_type_mismatch")),
        ];
        for (path, headers, expected) in table {
            assert_eq!(fork(server, path, headers, b"").await, expected, "{path} {headers:?}");
        }
        assert_eq!(server.read("f2").await, "01234567");
        server.append("f2", b"!").await;
        server.append("a", b"?").await;
        assert_eq!(server.read("f2").await, "01234567!");
        // The refused ones left nothing behind.
        for path in ["f0", "f1", "f2", "f3"] {
            assert_eq!(status(server, "DELETE", path).await.0, 204);
        }
        assert_eq!(status(server, "DELETE", "a").await.0, 204);
        assert_eq!(status(server, "GET", "a").await, no(404, "stream_not_found"));
    });
}

#[test]
fn messages_are_whole_on_both_sides_of_the_border() {
    with_server(async |server: &Server| {
        let json = [("content-type", "application/json")];
        server.call("PUT", "a", &json, b"[1,[2],3]").await;
        server.call("POST", "a", &json, b"[4,5]").await;
        let zero = ("stream-fork-offset", "00000000000000000000");
        let of_a = ("stream-forked-from", "/v1/stream/a");
        let table = [("2", "[1,[2]]"), ("3", "[1,[2],3]")];
        for (sub, expected) in table {
            let path = format!("f{sub}");
            let headers = [of_a, zero, ("stream-fork-sub-offset", sub)];
            assert_eq!(fork(server, &path, &headers, b"").await.0, 201);
            assert_eq!(server.read(&path).await, expected);
            server.call("POST", &path, &json, b"{\"x\": 6}").await;
            let more = format!("{},{{\"x\":6}}]", &expected[..expected.len() - 1]);
            assert_eq!(server.read(&path).await, more);
        }
        let past = [of_a, zero, ("stream-fork-sub-offset", "4")];
        assert_eq!(fork(server, "f4", &past, b"").await.0, 400);
        let inside = [of_a, ("stream-fork-offset", "00000000000000000001")];
        assert_eq!(fork(server, "f4", &inside, b"").await, (400, "bad_offset".to_owned()));
        // At the border of the fork an offset is one between two messages, too.
        let answer = server.call("GET", "f2?offset=00000000000000000006", &[], b"").await;
        assert_eq!(
            (answer.status().as_u16(), &answer.body()[..]),
            (200, &b"[{\"x\":6}]"[..])
        );
        let answer = server.call("GET", "f2?offset=00000000000000000003", &[], b"").await;
        assert_eq!(code(&answer), "bad_offset");
    });
}

#[test]
fn chains_over_all_groups_are_read_and_go_on_every_node() {
    within(async {
        let servers = three(|_| {}).await;
        let mut expected = String::from("root,");
        servers[0].create("level-0").await;
        servers[0].append("level-0", expected.as_bytes()).await;
        for level in 1..8 {
            let source = format!("/v1/stream/level-{}", level - 1);
            let path = format!("level-{level}");
            let own = format!("{level},");
            let made = fork(
                &servers[level % 3],
                &path,
                &[("stream-forked-from", &source)],
                own.as_bytes(),
            )
            .await;
            assert_eq!(made.0, 201, "{made:?}");
            expected += &own;
            servers[0]
                .append(&format!("level-{}", level - 1), b"not for forks")
                .await;
            for server in &servers {
                assert_eq!(server.read(&path).await, expected);
            }
        }
        for level in 0..7 {
            let path = format!("level-{level}");
            assert_eq!(status(&servers[level % 3], "DELETE", &path).await.0, 204);
            for (method, expected) in [("GET", 410), ("POST", 410), ("DELETE", 410), ("PUT", 409)] {
                let (status, code) = status(&servers[(level + 1) % 3], method, &path).await;
                assert_eq!((status, code.as_str()), (expected, "stream_gone"), "{method} {path}");
            }
        }
        let of_gone = [("stream-forked-from", "/v1/stream/level-3")];
        assert_eq!(
            fork(&servers[1], "late", &of_gone, b"").await,
            (409, "fork_source_gone".to_owned())
        );
        assert_eq!(servers[2].read("level-7").await, expected);
        assert_eq!(status(&servers[2], "DELETE", "level-7").await.0, 204);
        for level in 0..8 {
            let path = format!("level-{level}");
            assert_eq!(status(&servers[level % 3], "GET", &path).await.0, 404, "{path}");
        }
        end(servers).await;
    });
}

#[test]
fn what_a_fork_has_from_its_source_is_read_live_and_in_a_bootstrap_and_when_the_source_forgets_it() {
    with_server(async |server: &Server| {
        server.create("tree/a").await;
        for body in ["012", "3", "456789"] {
            server.append("tree/a", body.as_bytes()).await;
        }
        let of_a = ("stream-forked-from", "/tree/a");
        let at = ("stream-fork-offset", "00000000000000000004");
        let sub = ("stream-fork-sub-offset", "2");
        assert_eq!(fork(server, "tree/b", &[of_a, at, sub], b"bc").await.0, 201);
        let closed = ("stream-closed", "true");
        assert_eq!(fork(server, "tree/d", &[of_a, at, sub, closed], b"d").await.0, 201);

        let path = "tree/b?offset=00000000000000000001&live=long-poll";
        let answer = server.call("GET", path, &[], b"").await;
        assert_eq!((answer.status().as_u16(), &answer.body()[..]), (200, &b"12345bc"[..]));
        let path = "tree/d?offset=00000000000000000001&live=sse";
        let answer = server.call("GET", path, &[], b"").await;
        let events = std::str::from_utf8(answer.body()).expect("text");
        let data: String = events
            .split("\n\n")
            .filter_map(|event| event.strip_prefix("event: data\ndata:"))
            .collect();
        assert_eq!(data, "12345d", "{events}");
        assert!(events.contains("\"streamClosed\":true"), "{events}");
        // Appends stay apart as they were; the one that was forked in its middle ends there.
        let answer = server.call_at("GET", "/tree/b/bootstrap", &[], b"").await;
        let text = std::str::from_utf8(answer.body()).expect("text");
        let parts: Vec<&str> = text
            .split("\r\n--")
            .filter_map(|part| Some(part.split_once("\r\n\r\n")?.1))
            .collect();
        assert_eq!(parts, ["", "012", "3", "45", "bc"], "{text}");

        let snapshot = "/tree/a/snapshot/00000000000000000010";
        let answer = server.call_at("PUT", snapshot, &TEXT, b"all of it").await;
        assert_eq!(answer.status(), 204);
        let retention = "/tree/a/retention/00000000000000000010";
        assert_eq!(server.call_at("PUT", retention, &[], b"").await.status(), 204);
        let trimmed = (410, "offset_trimmed".to_owned());
        assert_eq!(fork(server, "tree/late", &[of_a, at], b"").await, trimmed);
        assert_eq!(server.read("tree/b").await, "012345bc");
        // Who still has them may be forked there.
        let of_b = ("stream-forked-from", "/tree/b");
        assert_eq!(fork(server, "tree/e", &[of_b, at], b"e").await.0, 201);
        for path in ["tree/a", "tree/b"] {
            assert_eq!(status(server, "DELETE", path).await.0, 204);
            assert_eq!(status(server, "GET", path).await, (410, "stream_gone".to_owned()));
        }
        assert_eq!(server.read("tree/e").await, "0123e");
        assert_eq!(server.read("tree/d").await, "012345d");
        for path in ["tree/e", "tree/d"] {
            assert_eq!(status(server, "DELETE", path).await.0, 204);
        }
        assert_eq!(
            status(server, "GET", "tree/a").await,
            (404, "stream_not_found".to_owned())
        );
    });
}
