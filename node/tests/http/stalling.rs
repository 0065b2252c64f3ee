//! Readers that stay and take nothing: each is cut after the stall time, and nothing is kept of it.

use std::time::Duration;

use bytes::Bytes;
use h2::{Reason, RecvStream, client::SendRequest};
use http::Request;
use net::rt::{self, Instant};
use node::config::Config;
use tokio::io::AsyncWriteExt;

use crate::{
    live::Events,
    server::{Server, listen, with_config},
};

const STALL: Duration = Duration::from_millis(500);

/// One reader may wait, and may stall for a moment.
fn one_waiter(config: &mut Config) {
    config.http.stall_timeout = STALL;
    config.http.max_waiters = 1;
    config.http.sse_heartbeat = Duration::from_millis(100);
    config.http.sse_lifetime = Duration::from_secs(3600);
}

/// An HTTP/2 connection whose client opens this window for each of its streams, and answers every PING.
async fn connection(server: &Server, window: u32) -> SendRequest<Bytes> {
    let mut client = h2::client::Builder::new();
    let shaken = client
        .initial_window_size(window)
        .handshake(server.connect().await)
        .await;
    let (sender, connection) = shaken.expect("a handshake");
    drop(rt::spawn("client", async move { drop(connection.await) }));
    sender
}

/// The body of an answer, as soon as there is a place: the node may notice a little later that the last reader has gone.
async fn get(server: &Server, sender: &SendRequest<Bytes>, path: &str) -> RecvStream {
    let until = Instant::now() + STALL * 10;
    loop {
        let mut sender = sender.clone().ready().await.expect("room for a stream");
        let uri = format!("http://{}/v1/stream/{path}", server.node.address());
        let request = Request::get(uri).body(()).expect("valid");
        let (answer, _) = sender.send_request(request, true).expect("a stream");
        let answer = answer.await.expect("an answer");
        if answer.status() == 200 {
            return answer.into_body();
        }
        assert_eq!(answer.status(), 503);
        assert!(Instant::now() < until, "there is no place");
        rt::sleep(Duration::from_millis(20)).await;
    }
}

/// Takes what comes and opens no window for more, until the stream is reset.
async fn reset(mut body: RecvStream) -> Reason {
    loop {
        match rt::timeout(STALL * 10, body.data()).await.expect("reset in time") {
            Some(Ok(_)) => {}
            Some(Err(error)) => return error.reason().expect("a reset"),
            None => panic!("it ended in order"),
        }
    }
}

/// Waits until a reader finds the place that there is, and reads.
async fn there_is_room(server: &Server) {
    let until = Instant::now() + STALL * 10;
    loop {
        let answer = server.open("s?offset=now&live=sse").await;
        if answer.status() == 200 {
            Events::of(answer).control().await;
            return;
        }
        assert_eq!(answer.status(), 503);
        assert!(Instant::now() < until, "the place is not given back");
        rt::sleep(Duration::from_millis(20)).await;
    }
}

#[test]
fn a_tailing_reader_over_http_2_that_opens_no_window_is_reset_and_the_connection_goes_on() {
    with_config(one_waiter, async |server: &Server| {
        server.create("s").await;
        for window in [0, 100] {
            let sender = connection(server, window).await;
            let events = get(server, &sender, "s?offset=-1&live=sse").await;
            let began = Instant::now();
            assert_eq!(reset(events).await, Reason::CANCEL, "{window}");
            assert!(began.elapsed() >= STALL / 2, "{window}: {:?}", began.elapsed());
            there_is_room(server).await;
            // Other requests of the same connection are answered as ever.
            let mut empty = get(server, &sender, "s").await;
            assert!(empty.data().await.is_none());
        }
    });
}

#[test]
fn a_catch_up_read_over_http_2_that_opens_no_window_is_reset() {
    with_config(one_waiter, async |server: &Server| {
        server.create("s").await;
        server.append("s", &vec![b'x'; 1 << 20]).await;
        for window in [0, 100, 300_000] {
            let sender = connection(server, window).await;
            let began = Instant::now();
            let body = get(server, &sender, "s").await;
            assert_eq!(reset(body).await, Reason::CANCEL, "{window}");
            assert!(began.elapsed() >= STALL, "{window}: {:?}", began.elapsed());
        }
    });
}

#[test]
fn a_tailing_reader_over_http_1_that_does_not_read_is_cut() {
    with_config(one_waiter, async |server: &Server| {
        server.create("s").await;
        let mut reader = server.connect().await;
        let ask = b"GET /v1/stream/s?offset=now&live=sse HTTP/1.1\r\nHost: x\r\n\r\n";
        reader.write_all(ask).await.expect("an open connection");
        rt::sleep(Duration::from_millis(100)).await;
        assert_eq!(server.open("s?offset=now&live=sse").await.status(), 503, "it waits");
        // More than the sockets take in between.
        for _ in 0..32 {
            server.append("s", &vec![b'x'; 1 << 20]).await;
        }
        there_is_room(server).await;
        // It was cut, so what it hears has an end, though its lifetime has none.
        let heard = listen(&mut reader, STALL * 10).await;
        assert!(heard.starts_with("HTTP/1.1 200") && heard.len() < 32 << 20);
        assert!(!heard.ends_with("0\r\n\r\n"), "it ended in order");
    });
}
