//! A hundred thousand tailing readers that hang up as soon as they are answered.

use std::time::Duration;

use futures_util::future::join_all;
use net::rt::{self, Instant, TcpStream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{held_mib, open_files, server::Server, weighed};

const CONNECTIONS: usize = 100_000;
const AT_ONCE: usize = 200;
const BOUND_MIB: u64 = 32;

/// Opens events, hears that they are there, and goes.
async fn open_and_drop(address: &str) {
    let mut connection = TcpStream::connect(address).await.expect("a connection");
    let ask = b"GET /v1/stream/s?offset=now&live=sse HTTP/1.1\r\nHost: x\r\n\r\n";
    connection.write_all(ask).await.expect("an open connection");
    let mut head = [0; 12];
    connection.read_exact(&mut head).await.expect("an answer");
    assert_eq!(&head, b"HTTP/1.1 200");
}

#[test]
fn nothing_is_kept_of_a_hundred_thousand_tailing_readers_that_hung_up() {
    // More than there are at once: the node may notice a little later than they go.
    let room = |config: &mut node::config::Config| config.http.max_waiters = 10 * AT_ONCE as u64;
    weighed(room, async |server: &Server| {
        server.create("s").await;
        let address = server.node.address().to_string();
        let files = open_files();
        let began = Instant::now();
        let each = CONNECTIONS / AT_ONCE;
        let some = async |each: usize| {
            let readers = (0..AT_ONCE).map(|_| {
                let address = address.clone();
                rt::spawn("readers", async move {
                    for _ in 0..each {
                        open_and_drop(&address).await;
                    }
                })
            });
            for reader in join_all(readers).await {
                reader.expect("no panic");
            }
        };
        // The first tenth sets what the process needs for so many at once.
        some(each / 10).await;
        let before = held_mib();
        some(each - each / 10).await;
        println!("{CONNECTIONS} in {:?}", began.elapsed());
        // A moment, for the node to notice the last of them.
        let until = Instant::now() + Duration::from_secs(10);
        while open_files() > files + 2 && Instant::now() < until {
            rt::sleep(Duration::from_millis(50)).await;
        }
        let after = held_mib();
        println!(
            "{files} files before, {} after; {before} MiB before, {after} after",
            open_files()
        );
        assert!(
            open_files() <= files + 2,
            "{files} files before, {} after",
            open_files()
        );
        assert!(after < before + BOUND_MIB, "{before} MiB before, {after} after");
        // Every place is free: as many as may wait do.
        let mut waiting = Vec::new();
        while waiting.len() < 10 * AT_ONCE {
            let answer = server.open("s?offset=now&live=sse").await;
            match answer.status().as_u16() {
                200 => waiting.push(answer),
                status => assert!(status == 503 && Instant::now() < until, "{} wait", waiting.len()),
            }
        }
        assert_eq!(server.open("s?offset=now&live=sse").await.status(), 503);
    });
}
