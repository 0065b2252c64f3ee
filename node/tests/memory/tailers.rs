//! Readers that stay and take nothing, each at another append.

use std::time::Duration;

use bytes::Bytes;
use h2::{RecvStream, client::SendRequest};
use http::Request;
use net::rt;

use crate::{held_mib, server::Server, weighed};

const APPENDS: usize = 64;
const APPEND_BYTES: usize = 4 << 20;

/// What all of them together may hold beyond what the node held before, caches, bodies on their way in and what the
/// allocator keeps included: clearly less than the appends they stand at, which have 256 MiB.
const BOUND_MIB: u64 = 180;

const STALL: Duration = Duration::from_secs(10);

async fn get(server: &Server, sender: &SendRequest<Bytes>, path: &str) -> RecvStream {
    let mut sender = sender.clone().ready().await.expect("room for a stream");
    let uri = format!("http://{}/v1/stream/{path}", server.node.address());
    let request = Request::get(uri).body(()).expect("valid");
    let (answer, _) = sender.send_request(request, true).expect("a stream");
    let answer = answer.await.expect("an answer");
    assert_eq!(answer.status(), 200);
    answer.into_body()
}

#[test]
fn stalled_readers_hold_what_they_were_given_and_not_the_appends_it_is_of_and_all_are_cut() {
    let small = |config: &mut node::config::Config| {
        config.http.stall_timeout = STALL;
        config.http.max_waiters = APPENDS as u64;
        config.cache.tail = 8 << 20;
    };
    weighed(small, async |server: &Server| {
        let shaken = h2::client::Builder::new()
            .initial_window_size(0)
            .handshake(server.connect().await)
            .await;
        let (sender, connection) = shaken.expect("a handshake");
        drop(rt::spawn("client", async move { drop(connection.await) }));
        let body = vec![b'x'; APPEND_BYTES];
        server.create("before").await;
        server.append("before", &body).await;
        let before = held_mib();
        let (mut readers, mut most) = (Vec::new(), before);
        for number in 0..APPENDS {
            let path = format!("s{number}");
            server.create(&path).await;
            // One who waits for what comes, one who asks for what came.
            readers.push(get(server, &sender, &format!("{path}?offset=now&live=sse")).await);
            server.append(&path, &body).await;
            readers.push(get(server, &sender, &path).await);
            most = most.max(held_mib());
        }
        println!("{before} MiB before, {most} MiB at most");
        assert!(most < before + BOUND_MIB, "{before} MiB before, {most} MiB at most");
        for mut reader in readers {
            let end = rt::timeout(STALL * 6, reader.data()).await.expect("cut in time");
            assert!(end.is_some_and(|end| end.is_err()), "it ended in order");
        }
        // All places are free.
        let mut waiting = Vec::new();
        for number in 0..APPENDS {
            let answer = server.open(&format!("s{number}?offset=now&live=sse")).await;
            assert_eq!(answer.status(), 200, "{number}");
            waiting.push(answer);
        }
    });
}
