//! Buckets, and the second shape of a stream's URL.

use crate::server::{Server, TEXT, code, header, with_server};

#[test]
fn both_shapes_of_a_url_lead_to_the_same_stream() {
    with_server(async |server: &Server| {
        let made = server.call_at("PUT", "/demo/greeting", &TEXT, b"one,").await;
        assert_eq!(made.status(), 201);
        assert!(header(made.headers(), "location").ends_with("/demo/greeting"));
        let appended = server.call_at("POST", "/demo/greeting", &TEXT, b"two,").await;
        assert_eq!(appended.status(), 204);
        server.append("demo/greeting", b"three").await;

        let read = server.call_at("GET", "/demo/greeting?offset=-1", &[], b"").await;
        assert_eq!((read.status().as_u16(), &read.body()[..]), (200, &b"one,two,three"[..]));
        assert_eq!(server.read("demo/greeting").await, *b"one,two,three");
        let looked = server.call_at("HEAD", "/demo/greeting", &[], b"").await;
        assert_eq!(header(looked.headers(), "stream-next-offset"), "00000000000000000013");
        let preflight = server.call_at("OPTIONS", "/demo/greeting", &[], b"").await;
        assert_eq!(preflight.status(), 204);

        assert_eq!(server.call_at("DELETE", "/demo/greeting", &[], b"").await.status(), 204);
        let gone = server.call("GET", "demo/greeting", &[], b"").await;
        assert_eq!((gone.status().as_u16(), code(&gone).as_str()), (404, "stream_not_found"));
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
            assert_eq!((answer.status().as_u16(), code(&answer).as_str()), (400, expected), "{path}");
        }
    });
}
