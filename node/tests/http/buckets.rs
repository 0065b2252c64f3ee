//! Buckets, and the second shape of a stream's URL.

use crate::server::{Server, TEXT, code, header, with_server};

#[test]
fn both_shapes_of_a_url_lead_to_the_same_stream() {
    with_server(async |server: &Server| {
        assert_eq!(server.call_at("PUT", "/demo", &[], b"").await.status(), 201);
        let made = server.call_at("PUT", "/demo/greeting", &TEXT, b"one,").await;
        assert_eq!(made.status(), 201);
        assert!(header(made.headers(), "location").ends_with("/demo/greeting"));
        let appended = server.call_at("POST", "/demo/greeting", &TEXT, b"two,").await;
        assert_eq!(appended.status(), 204);
        server.append("demo/greeting", b"three").await;

        let read = server.call_at("GET", "/demo/greeting?offset=-1", &[], b"").await;
        assert_eq!((read.status().as_u16(), &read.body()[..]), (200, &b"one,two,three"[..]));
        assert_eq!(server.read("demo/greeting").await, "one,two,three");
        let looked = server.call_at("HEAD", "/demo/greeting", &[], b"").await;
        assert_eq!(header(looked.headers(), "stream-next-offset"), "00000000000000000013");
        let preflight = server.call_at("OPTIONS", "/demo/greeting", &[], b"").await;
        assert_eq!(preflight.status(), 204);

        assert_eq!(server.call_at("DELETE", "/demo/greeting", &[], b"").await.status(), 204);
        let gone = server.call("GET", "demo/greeting", &[], b"").await;
        assert_eq!(
            (gone.status().as_u16(), code(&gone).as_str()),
            (404, "stream_not_found")
        );
    });
}

#[test]
fn names_in_a_bucket_are_stricter_than_on_the_flat_route() {
    with_server(async |server: &Server| {
        let long = format!("/demo/{}", "x".repeat(119));
        let table = [
            ("/abc/stream", "bad_bucket"),
            ("/Demo/stream", "bad_bucket"),
            ("/demo/a%2Fb", "bad_path"),
            ("/demo/a%00b", "bad_path"),
            ("/demo/a..b", "bad_path"),
            ("/demo/", "bad_path"),
            (&long, "bad_path"),
        ];
        for (path, expected) in table {
            let answer = server.call_at("PUT", path, &TEXT, b"").await;
            assert_eq!(
                (answer.status().as_u16(), code(&answer).as_str()),
                (400, expected),
                "{path}"
            );
        }
    });
}

async fn ask(server: &Server, method: &str, path: &str) -> (u16, String) {
    let answer = server.call_at(method, path, &TEXT, b"").await;
    let status = answer.status().as_u16();
    let told = match status {
        200 => {
            serde_json::from_slice::<serde_json::Value>(answer.body()).map_or(String::new(), |body| body.to_string())
        }
        201 | 204 => String::new(),
        _ => code(&answer),
    };
    (status, told)
}

#[test]
fn a_bucket_is_made_looked_at_and_deleted_when_it_is_empty() {
    with_server(async |server: &Server| {
        let table = [
            ("GET", "/demo", 404, "bucket_not_found"),
            ("DELETE", "/demo", 404, "bucket_not_found"),
            ("PUT", "/demo", 201, ""),
            ("PUT", "/demo", 409, "bucket_exists"),
            ("GET", "/demo", 200, r#"{"bucket_id":"demo","streams":0}"#),
            ("PUT", "/demo/a", 201, ""),
            ("PUT", "/demo/b", 201, ""),
            ("PUT", "/demo/b", 200, ""),
            ("PUT", "/v1/stream/demo/deep/er", 201, ""),
            ("GET", "/demo", 200, r#"{"bucket_id":"demo","streams":3}"#),
            (
                "GET",
                "/demo?consistency=local",
                200,
                r#"{"bucket_id":"demo","streams":3}"#,
            ),
            ("DELETE", "/demo", 409, "bucket_not_empty"),
            ("DELETE", "/demo/a", 204, ""),
            ("DELETE", "/demo/b", 204, ""),
            ("DELETE", "/demo", 409, "bucket_not_empty"),
            ("DELETE", "/v1/stream/demo/deep/er", 204, ""),
            ("DELETE", "/demo", 204, ""),
            ("GET", "/demo", 404, "bucket_not_found"),
            ("PUT", "/demo", 201, ""),
            ("PUT", "/demo/a", 201, ""),
            ("POST", "/demo", 405, "method_not_allowed"),
            ("PUT", "/abc", 400, "bad_bucket"),
            ("PUT", "/streams", 404, "route_not_found"),
            ("GET", "/demo?consistency=global", 400, "bad_query"),
        ];
        for (row, (method, path, status, told)) in table.into_iter().enumerate() {
            let answer = ask(server, method, path).await;
            // A PUT of a stream that is there has no body to look at.
            let answer = if path.contains("/b") && answer.0 == 200 {
                (200, String::new())
            } else {
                answer
            };
            assert_eq!(answer, (status, told.to_owned()), "row {row}: {method} {path}");
        }
        let head = server.call_at("HEAD", "/demo", &[], b"").await;
        assert_eq!((head.status().as_u16(), head.body().len()), (200, 0));
    });
}

#[test]
fn streams_on_the_bucketed_route_need_their_bucket_and_flat_ones_bring_it_along() {
    with_server(async |server: &Server| {
        for method in ["PUT", "POST", "GET", "DELETE"] {
            let answer = server.call_at(method, "/demo/a", &TEXT, b"x").await;
            assert_eq!(
                (answer.status().as_u16(), code(&answer).as_str()),
                (404, "bucket_not_found"),
                "{method}"
            );
        }
        let head = server.call_at("HEAD", "/demo/a", &[], b"").await;
        assert_eq!(head.status(), 404);

        server.create("demo/a").await;
        assert_eq!(ask(server, "GET", "/demo").await.0, 200);
        assert_eq!(ask(server, "PUT", "/demo/b").await.0, 201);
        for method in ["POST", "GET", "DELETE"] {
            let answer = server.call_at(method, "/demo/c", &TEXT, b"x").await;
            assert_eq!(
                (answer.status().as_u16(), code(&answer).as_str()),
                (404, "stream_not_found"),
                "{method}"
            );
        }

        assert_eq!(ask(server, "GET", "/_default").await.0, 404);
        server.create("alone").await;
        assert_eq!(
            ask(server, "GET", "/_default").await,
            (200, r#"{"bucket_id":"_default","streams":1}"#.to_owned())
        );
    });
}

#[test]
fn a_bucket_that_was_deleted_takes_streams_again_on_the_flat_route() {
    with_server(async |server: &Server| {
        // Every deletion seals the groups; what comes after must get past the seals.
        for round in 0..5 {
            server.create("demo/a").await;
            server.create(&format!("other/{round}")).await;
            server.append("demo/a", b"x").await;
            assert_eq!(server.call("DELETE", "demo/a", &[], b"").await.status(), 204);
            assert_eq!(ask(server, "DELETE", "/demo").await.0, 204, "round {round}");
        }
        assert_eq!(
            ask(server, "GET", "/other").await.1,
            r#"{"bucket_id":"other","streams":5}"#
        );
    });
}

async fn list(server: &Server, query: &str) -> serde_json::Value {
    let answer = server.call_at("GET", &format!("/demo/streams{query}"), &[], b"").await;
    assert_eq!(answer.status(), 200, "{query}: {:?}", answer.body());
    serde_json::from_slice(answer.body()).expect("JSON")
}

fn names(page: &serde_json::Value) -> Vec<&str> {
    let streams = page["streams"].as_array().expect("a list");
    streams
        .iter()
        .map(|stream| stream["stream_id"].as_str().expect("a name"))
        .collect()
}

#[test]
fn streams_are_listed_by_name_a_page_at_a_time() {
    with_server(async |server: &Server| {
        let missing = server.call_at("GET", "/demo/streams", &[], b"").await;
        assert_eq!(
            (missing.status().as_u16(), code(&missing).as_str()),
            (404, "bucket_not_found")
        );
        assert_eq!(ask(server, "PUT", "/demo").await.0, 201);
        let empty = list(server, "").await;
        assert_eq!(
            (&empty["stream_count"], &empty["has_more"], &empty["next_cursor"]),
            (&0.into(), &false.into(), &serde_json::Value::Null)
        );

        // Names enough to lie in every group; others beside them that must not show.
        let mut all: Vec<String> = (0..60).map(|number| format!("s{number:02}")).collect();
        all.extend(["a/deep".to_owned(), "z".to_owned()]);
        all.sort();
        for name in &all {
            server.create(&format!("demo/{name}")).await;
            server.create(&format!("demos/{name}")).await;
        }
        let page = list(server, "").await;
        assert_eq!(names(&page), all);
        assert_eq!(
            (&page["bucket_id"], &page["stream_count"]),
            (&"demo".into(), &all.len().into())
        );

        for limit in [1, 7, 31, 62, 63] {
            let (mut found, mut after) = (Vec::new(), String::new());
            loop {
                let page = list(server, &format!("?limit={limit}&after={after}")).await;
                found.extend(names(&page).into_iter().map(str::to_owned));
                after = page["next_cursor"].as_str().expect("a cursor").replace('/', "%2F");
                if page["has_more"] == false {
                    break;
                }
                assert_eq!(page["stream_count"], limit);
            }
            assert_eq!(found, all, "limit {limit}");
        }
        assert_eq!(names(&list(server, "?prefix=s5").await).len(), 10);
        assert_eq!(names(&list(server, "?prefix=s5&after=s57").await), ["s58", "s59"]);
        assert_eq!(names(&list(server, "?prefix=s5&after=z").await), Vec::<&str>::new());
        assert_eq!(names(&list(server, "?prefix=a/&consistency=local").await), ["a/deep"]);

        server.append("demo/z", b"abc").await;
        let close = server.call("POST", "demo/z", &[("stream-closed", "true")], b"").await;
        assert_eq!(close.status(), 204);
        let page = list(server, "?prefix=z").await;
        let last = &page["streams"][0];
        assert_eq!(
            (&last["status"], &last["content_type"], &last["tail_offset"]),
            (&"closed".into(), &"text/plain".into(), &3.into())
        );
        assert!(last["last_write_at_ms"].as_u64() >= last["created_at_ms"].as_u64());

        assert_eq!(server.call("DELETE", "demo/s00", &[], b"").await.status(), 204);
        assert_eq!(names(&list(server, "?limit=2").await), ["a/deep", "s01"]);
        assert_eq!(server.call_at("PUT", "/demo/streams", &TEXT, b"").await.status(), 405);
    });
}
