//! The client: every call ends, and says truly whether anything was sent.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Full;
use net::rt::{self, Instant, TcpListener};
use net::serve::{CallError, Client, ClientOptions, Trouble};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn run<T>(future: impl Future<Output = T>) -> T {
    rt::block_on(future).expect("a runtime")
}

fn secs(s: u64) -> Duration {
    Duration::from_secs(s)
}

/// A server that follows a script: on each connection it takes one request for each answer, and then closes.
/// Returns its address and how many connections it has had.
async fn scripted(answers: &'static [&'static str]) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let addr = listener.local_addr().expect("an address").to_string();
    let connections = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&connections);
    drop(rt::spawn("server", async move {
        loop {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            count.fetch_add(1, Ordering::Relaxed);
            drop(rt::spawn("connection", async move {
                let mut buf = [0; 4096];
                for answer in answers {
                    if !matches!(stream.read(&mut buf).await, Ok(1..)) {
                        return;
                    }
                    let _ = stream.write_all(answer.as_bytes()).await;
                }
            }));
        }
    }));
    (addr, connections)
}

fn get(addr: &str) -> Request<Full<Bytes>> {
    Request::get(format!("http://{addr}/x?y=1"))
        .body(Full::default())
        .expect("valid")
}

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

#[test]
fn connections_are_used_again_and_a_closed_one_is_replaced() {
    run(async {
        let (addr, connections) = scripted(&[OK, OK]).await;
        let client = Client::default();
        for expected in [1, 1, 2, 2, 3] {
            let answer = client.call(get(&addr), secs(5)).await.expect("an answer");
            assert_eq!(answer.into_body(), "ok");
            assert_eq!(connections.load(Ordering::Relaxed), expected);
            // A close that is still under way cannot be known: the next call would end with nobody knowing.
            rt::sleep(Duration::from_millis(20)).await;
        }
    });
}

#[test]
fn a_call_that_nobody_answers_ends_at_its_deadline() {
    run(async {
        let (addr, _) = scripted(&["", ""]).await;
        let (half, _) = scripted(&["HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf", ""]).await;
        for addr in [addr, half] {
            let began = Instant::now();
            let error = Client::default()
                .call(get(&addr), Duration::from_millis(200))
                .await
                .expect_err("no answer");
            assert!(
                matches!(
                    error,
                    CallError {
                        sent: true,
                        trouble: Trouble::Deadline
                    }
                ),
                "{error:?}"
            );
            assert!(began.elapsed() >= Duration::from_millis(200) && began.elapsed() < secs(2));
        }
    });
}

#[test]
fn a_connection_that_breaks_after_the_request_leaves_it_open_what_happened() {
    run(async {
        let (addr, connections) = scripted(&[""]).await;
        let error = Client::default()
            .call(get(&addr), secs(5))
            .await
            .expect_err("no answer");
        assert!(
            matches!(
                error,
                CallError {
                    sent: true,
                    trouble: Trouble::Connection(_)
                }
            ),
            "{error:?}"
        );
        assert_eq!(
            connections.load(Ordering::Relaxed),
            1,
            "what may have been done is not done again"
        );
    });
}

#[test]
fn what_cannot_be_called_was_not_sent() {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let addr = listener.local_addr().expect("an address").to_string();
        drop(listener);
        let error = Client::default()
            .call(get(&addr), secs(5))
            .await
            .expect_err("nobody listens");
        assert!(
            matches!(
                error,
                CallError {
                    sent: false,
                    trouble: Trouble::Connect(_)
                }
            ),
            "{error:?}"
        );
        for target in ["/only/a/path", "https://127.0.0.1:1/", "http://user@127.0.0.1:1/"] {
            let request = Request::get(target).body(Full::default()).expect("valid");
            let error = Client::default()
                .call(request, secs(5))
                .await
                .expect_err("not a target");
            assert!(
                matches!(
                    error,
                    CallError {
                        sent: false,
                        trouble: Trouble::Target(_)
                    }
                ),
                "{error:?}"
            );
        }
    });
}

#[test]
fn a_redirect_is_an_answer_and_one_that_is_too_long_is_not() {
    run(async {
        let (addr, _) = scripted(&["HTTP/1.1 307 See There\r\nlocation: /y\r\ncontent-length: 0\r\n\r\n"]).await;
        let answer = Client::default().call(get(&addr), secs(5)).await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::TEMPORARY_REDIRECT);

        let lengths = [
            "HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\nhello world",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n6\r\nhello \r\n5\r\nworld\r\n0\r\n\r\n",
        ];
        for answer in lengths {
            let (addr, _) = scripted(Box::leak(Box::new([answer]))).await;
            let client = |bytes| {
                Client::new(ClientOptions {
                    answer_bytes_max: bytes,
                    ..ClientOptions::default()
                })
            };
            let error = client(10).call(get(&addr), secs(5)).await.expect_err("too long");
            assert!(
                matches!(
                    error,
                    CallError {
                        sent: true,
                        trouble: Trouble::TooLong(10)
                    }
                ),
                "{error:?}"
            );
            let whole = client(11).call(get(&addr), secs(5)).await.expect("just short enough");
            assert_eq!(whole.into_body(), "hello world");
        }
    });
}

#[test]
fn idle_connections_are_bounded_and_grow_old() {
    run(async {
        let (addr, connections) = scripted(&[OK; 8]).await;
        let options = ClientOptions {
            idle_max: 1,
            idle_patience: Duration::from_millis(100),
            ..ClientOptions::default()
        };
        let client = Client::new(options);
        let both = futures_util::future::join(client.call(get(&addr), secs(5)), client.call(get(&addr), secs(5))).await;
        assert!(both.0.is_ok() && both.1.is_ok());
        let after = connections.load(Ordering::Relaxed);
        client.call(get(&addr), secs(5)).await.expect("an answer");
        assert_eq!(connections.load(Ordering::Relaxed), after, "one was kept");
        rt::sleep(Duration::from_millis(150)).await;
        client.call(get(&addr), secs(5)).await.expect("an answer");
        assert_eq!(connections.load(Ordering::Relaxed), after + 1, "and is too old now");
    });
}
