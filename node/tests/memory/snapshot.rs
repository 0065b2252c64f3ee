//! A blob far larger than all that may be held of requests.

use std::time::Duration;

use net::rt;
use tokio::io::AsyncWriteExt;

use crate::{
    held_mib,
    server::{Server, TEXT, listen},
    weighed,
};

const PIECES: usize = 1024;
const PIECE_BYTES: usize = 64 << 10;

/// Far less than the blob, which has 64 MiB.
const BOUND_MIB: u64 = 24;

fn piece(number: usize) -> Vec<u8> {
    (0..PIECE_BYTES).map(|at| ((at + number * 31) % 251) as u8).collect()
}

#[test]
fn a_large_snapshot_is_stored_and_fetched_with_a_megabyte_for_all_requests() {
    let small = |config: &mut node::config::Config| {
        config.http.max_body = 256 << 10;
        config.http.snapshot_part = 256 << 10;
        config.http.max_inflight = 1 << 20;
        config.cache.tail = 1 << 20;
    };
    weighed(small, async |server: &Server| {
        server.create("demo/log").await;
        server.append("demo/log", b"0123456789").await;
        let path = format!("/demo/log/snapshot/{:020}", 10);
        let before = held_mib();
        let mut most = before;
        // It says no length, and its bytes are made as they are sent.
        let mut connection = server.connect().await;
        let head = format!("PUT {path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
        connection.write_all(head.as_bytes()).await.expect("an open connection");
        for number in 0..PIECES {
            let size = format!("{PIECE_BYTES:x}\r\n");
            for part in [size.as_bytes(), &piece(number), b"\r\n"] {
                connection.write_all(part).await.expect("an open connection");
            }
            most = most.max(held_mib());
        }
        connection.write_all(b"0\r\n\r\n").await.expect("an open connection");
        let heard = listen(&mut connection, Duration::from_secs(2)).await;
        assert!(heard.starts_with("HTTP/1.1 204"), "{heard}");

        // All that were held are given back: an append as long as any may be is taken.
        let longest = vec![b'x'; 256 << 10];
        assert_eq!(server.call("POST", "demo/log", &TEXT, &longest).await.status(), 204);

        let mut answer = server.open_at(&path).await;
        assert_eq!(answer.status(), 200);
        let (mut unread, mut number) = (Vec::new(), 0);
        while let Some(bytes) = answer.body_mut().next(Duration::from_secs(20)).await.expect("bytes") {
            unread.extend_from_slice(&bytes);
            while unread.len() >= PIECE_BYTES {
                assert!(unread[..PIECE_BYTES] == piece(number)[..], "piece {number}");
                unread.drain(..PIECE_BYTES);
                number += 1;
            }
            most = most.max(held_mib());
            // The reader is slower than the node.
            rt::yield_now().await;
        }
        assert_eq!((number, unread.len()), (PIECES, 0));
        println!("{before} MiB before, {most} MiB at most");
        assert!(most < before + BOUND_MIB, "{before} MiB before, {most} MiB at most");
    });
}
