//! A server on a real port, and clients with bad manners.

use std::convert::Infallible;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use net::conn::{HyperExec, HyperIo};
use net::rt::{self, Instant, TcpListener, TcpStream};
use net::serve::{Limits, PEER_MAGIC, Protocol, Shutdown, Sniffed, serve_connection, sniff};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn run<T>(future: impl Future<Output = T>) -> T {
    rt::block_on(future).expect("a runtime")
}

fn millis(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn secs(s: u64) -> Duration {
    Duration::from_secs(s)
}

fn limits() -> Limits {
    Limits {
        head_patience: millis(300),
        write_patience: millis(300),
        ..Limits::default()
    }
}

/// Answers with what came; `/endless` with bytes that never end, `/slow` after a while.
async fn answer(request: Request<Incoming>) -> Result<Response<BoxBody<Bytes, hyper::Error>>, hyper::Error> {
    let path = request.uri().path().to_owned();
    if path == "/endless" {
        let piece = Bytes::from_static(&[7; 16 * 1024]);
        let pieces = futures_util::stream::repeat_with(move || Ok(Frame::data(piece.clone())));
        return Ok(Response::new(BodyExt::boxed(StreamBody::new(pieces))));
    }
    if path == "/refused" {
        let nothing = Full::default().map_err(|never: Infallible| match never {}).boxed();
        return Ok(Response::builder().status(413).body(nothing).expect("valid"));
    }
    if path == "/slow" {
        rt::sleep(millis(200)).await;
    }
    let body = request.into_body().collect().await?.to_bytes();
    Ok(Response::new(
        Full::new(body).map_err(|never: Infallible| match never {}).boxed(),
    ))
}

/// Serves connections one by one as they come; tells how each ended.
async fn server(limits: Limits, shutdown: Shutdown) -> (String, tokio::sync::mpsc::Receiver<bool>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let addr = listener.local_addr().expect("an address").to_string();
    let (ended, ends) = tokio::sync::mpsc::channel(16);
    drop(rt::spawn("server", async move {
        loop {
            let (stream, _) = listener.accept().await.expect("a connection");
            let (limits, shutdown, ended) = (limits.clone(), shutdown.clone(), ended.clone());
            drop(rt::spawn("connection", async move {
                let (io, protocol) = match sniff(stream, limits.head_patience).await {
                    Ok(Sniffed::Http1(io)) => (io, Protocol::Http1),
                    Ok(Sniffed::Http2(io)) => (io, Protocol::Http2),
                    _ => {
                        let _ = ended.send(false).await;
                        return;
                    }
                };
                let served = serve_connection(io, protocol, service_fn(answer), &limits, &shutdown).await;
                let _ = ended.send(served.is_ok()).await;
            }));
        }
    }));
    (addr, ends)
}

async fn dial(addr: &str) -> TcpStream {
    TcpStream::connect(addr).await.expect("a connection")
}

/// Everything the server says until it closes.
async fn rest(stream: &mut TcpStream) -> String {
    let mut said = Vec::new();
    // A server that closes on unread bytes resets: what it said before counts.
    let _ = rt::timeout(secs(10), stream.read_to_end(&mut said))
        .await
        .expect("closed in time");
    String::from_utf8_lossy(&said).into_owned()
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    run(async {
        let (addr, _) = server(Limits::default(), Shutdown::new()).await;
        let mut stream = dial(&addr).await;
        let three = "POST /slow HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\none\
                     POST /quick HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\ntwo\
                     POST /quick HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 5\r\n\r\nthree";
        stream.write_all(three.as_bytes()).await.expect("an open connection");
        let said = rest(&mut stream).await;
        let places: Vec<_> = ["one", "two", "three"].iter().map(|word| said.find(word)).collect();
        assert!(places.is_sorted() && places[0].is_some(), "{said}");
        assert_eq!(said.matches("HTTP/1.1 200").count(), 3);
        assert!(
            !said.to_lowercase().contains("date:"),
            "the wall clock is in the world: {said}"
        );
    });
}

#[test]
fn ten_thousand_headers_are_refused() {
    run(async {
        let (addr, _) = server(Limits::default(), Shutdown::new()).await;
        let mut stream = dial(&addr).await;
        let mut request = String::from("GET / HTTP/1.1\r\nhost: x\r\n");
        for n in 0..10_000 {
            request.push_str(&format!("x-{n}: 1\r\n"));
        }
        request.push_str("\r\n");
        let _ = stream.write_all(request.as_bytes()).await;
        let said = rest(&mut stream).await;
        assert!(said.is_empty() || said.starts_with("HTTP/1.1 431"), "{said}");
    });
}

#[test]
fn more_headers_than_allowed_and_a_head_too_long_are_answered_431() {
    run(async {
        let (addr, _) = server(Limits::default(), Shutdown::new()).await;
        let many: String = (0..150).map(|n| format!("x-{n}: 1\r\n")).collect();
        let long = format!("x: {}\r\n", "y".repeat(40_000));
        for headers in [many, long] {
            let mut stream = dial(&addr).await;
            let request = format!("GET / HTTP/1.1\r\nhost: x\r\n{headers}\r\n");
            stream.write_all(request.as_bytes()).await.expect("an open connection");
            let said = rest(&mut stream).await;
            assert!(said.starts_with("HTTP/1.1 431"), "{said}");
        }
    });
}

#[test]
fn who_is_refused_while_still_sending_hears_why() {
    run(async {
        let (addr, mut ends) = server(Limits::default(), Shutdown::new()).await;
        let stream = dial(&addr).await;
        let (mut reads, mut writes) = tokio::io::split(stream);
        let sending = rt::spawn("sends on", async move {
            writes
                .write_all(b"POST /refused HTTP/1.1\r\nhost: x\r\ncontent-length: 3000000\r\n\r\n")
                .await?;
            for _ in 0..300 {
                rt::sleep(millis(1)).await;
                writes.write_all(&[7; 10_000]).await?;
            }
            Ok::<_, io::Error>(writes)
        });
        let mut said = String::new();
        reads.read_to_string(&mut said).await.expect("no reset");
        assert!(said.starts_with("HTTP/1.1 413"), "{said}");
        let writes = sending.await.expect("no panic").expect("no reset while sending");
        drop((reads, writes));
        assert!(
            rt::timeout(millis(500), ends.recv()).await.is_ok(),
            "who has closed is not waited for"
        );
    });
}

#[test]
fn what_is_not_http_is_answered_400_and_closed() {
    run(async {
        let (addr, _) = server(Limits::default(), Shutdown::new()).await;
        for nonsense in [
            "\x16\x03\x01\x02\x00\r\n\r\n",
            "GET / HTTP/9.9\r\n\r\n",
            "GET /\0 HTTP/1.1\r\n\r\n",
        ] {
            let mut stream = dial(&addr).await;
            stream.write_all(nonsense.as_bytes()).await.expect("an open connection");
            let said = rest(&mut stream).await;
            assert!(
                said.is_empty() || said.starts_with("HTTP/1.1 400"),
                "{nonsense:?}: {said}"
            );
        }
    });
}

#[test]
fn who_says_nothing_or_half_a_head_or_stays_idle_is_let_go() {
    run(async {
        let (addr, _) = server(limits(), Shutdown::new()).await;
        let silent = "";
        let half = "GET / HTTP/1.1\r\nhost: x\r\n";
        let idle = "GET / HTTP/1.1\r\nhost: x\r\n\r\n";
        for start in [silent, half, idle] {
            let mut stream = dial(&addr).await;
            let began = Instant::now();
            stream.write_all(start.as_bytes()).await.expect("an open connection");
            rest(&mut stream).await;
            let took = began.elapsed();
            assert!(took >= millis(250) && took < secs(5), "{start:?} {took:?}");
        }
    });
}

#[test]
fn who_does_not_read_is_cut() {
    run(async {
        let (addr, mut ends) = server(limits(), Shutdown::new()).await;
        let mut stream = dial(&addr).await;
        stream
            .write_all(b"GET /endless HTTP/1.1\r\nhost: x\r\n\r\n")
            .await
            .expect("an open connection");
        let began = Instant::now();
        let in_order = rt::timeout(secs(10), ends.recv())
            .await
            .expect("cut in time")
            .expect("served");
        assert!(!in_order);
        assert!(began.elapsed() >= millis(300));
    });
}

#[test]
fn who_reads_slowly_is_served() {
    run(async {
        let (addr, mut ends) = server(limits(), Shutdown::new()).await;
        let mut stream = dial(&addr).await;
        stream
            .write_all(b"GET /endless HTTP/1.1\r\nhost: x\r\n\r\n")
            .await
            .expect("an open connection");
        let mut buf = vec![0; 4 << 20];
        for _ in 0..8 {
            rt::sleep(millis(100)).await;
            stream.read_exact(&mut buf).await.expect("still served");
        }
        assert!(ends.try_recv().is_err());
    });
}

#[test]
fn a_shutdown_answers_what_has_begun_and_closes_what_is_idle() {
    run(async {
        let shutdown = Shutdown::new();
        let (addr, mut ends) = server(Limits::default(), shutdown.clone()).await;
        let mut busy = dial(&addr).await;
        let mut idle = dial(&addr).await;
        idle.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            .await
            .expect("an open connection");
        busy.write_all(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n")
            .await
            .expect("an open connection");
        rt::sleep(millis(50)).await;
        shutdown.begin();
        assert!(rest(&mut busy).await.starts_with("HTTP/1.1 200"));
        assert!(rest(&mut idle).await.starts_with("HTTP/1.1 200"));
        assert_eq!((ends.recv().await, ends.recv().await), (Some(true), Some(true)));
        // Who asks later is told too.
        shutdown.begun().await;
    });
}

#[test]
fn http_2_is_told_by_its_preface_and_serves_many_at_once() {
    run(async {
        let shutdown = Shutdown::new();
        let (addr, mut ends) = server(Limits::default(), shutdown.clone()).await;
        let io = HyperIo::new(dial(&addr).await);
        let (sender, connection) = hyper::client::conn::http2::handshake(HyperExec, io)
            .await
            .expect("a handshake");
        drop(rt::spawn("http2 client", async move { drop(connection.await) }));
        let began = Instant::now();
        let calls = (0..20).map(|n| {
            let mut sender = sender.clone();
            async move {
                let body = Full::new(Bytes::from(format!("body {n}")));
                let request = Request::post("http://x/slow").body(body).expect("valid");
                let answer = sender.send_request(request).await.expect("an answer");
                answer.into_body().collect().await.expect("a body").to_bytes()
            }
        });
        let bodies = futures_util::future::join_all(calls).await;
        assert!(began.elapsed() < secs(2), "one after the other would take four seconds");
        assert_eq!(bodies[7], "body 7");
        shutdown.begin();
        assert_eq!(ends.recv().await, Some(true));
    });
}

#[test]
fn bytes_that_dribble_in_are_told_apart_and_none_is_lost() {
    run(async {
        let peer = [PEER_MAGIC, b"hello"].concat();
        for whole in [
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
            b"PUT / HTTP/1.1\r\n\r\n".to_vec(),
            peer,
        ] {
            let (mut far, near) = tokio::io::duplex(1);
            let sent = whole.clone();
            let writing = rt::spawn("dribbles", async move {
                for byte in sent {
                    far.write_all(&[byte]).await.expect("an open pipe");
                }
            });
            let (mut io, replayed) = match sniff(near, secs(5)).await.expect("a kind") {
                Sniffed::Http1(io) | Sniffed::Http2(io) => (io, whole.clone()),
                Sniffed::Peer(io) => (io, b"hello".to_vec()),
            };
            let mut got = Vec::new();
            io.read_to_end(&mut got).await.expect("an open pipe");
            assert_eq!(got, replayed);
            writing.await.expect("no panic");
        }
    });
}

#[test]
fn who_does_not_say_who_he_is_is_not_waited_for() {
    run(async {
        let (mut far, near) = tokio::io::duplex(64);
        far.write_all(b"HOLDFAST-PE").await.expect("an open pipe");
        let error = sniff(near, millis(50)).await.expect_err("nothing more comes");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);

        let (far, near) = tokio::io::duplex(64);
        drop(far);
        let error = sniff(near, millis(50)).await.expect_err("nothing comes at all");
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    });
}
