//! Streams of an HTTP/2 connection whose client takes nothing of an answer, while the connection is well.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use h2::{Reason, RecvStream, client::SendRequest};
use http::{Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use net::rt::{self, Instant, TcpListener, TcpStream};
use net::serve::{Limits, Protocol, Shutdown, serve_connection};

const PATIENCE: Duration = Duration::from_millis(400);

fn run<T>(future: impl Future<Output = T>) -> T {
    rt::block_on(future).expect("a runtime")
}

/// Bytes that are counted for as long as anybody holds them.
struct Counted(Vec<u8>, Arc<AtomicUsize>);

impl Counted {
    fn bytes(len: usize, held: &Arc<AtomicUsize>) -> Bytes {
        held.fetch_add(len, Ordering::SeqCst);
        Bytes::from_owner(Self(vec![7; len], held.clone()))
    }
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.1.fetch_sub(self.0.len(), Ordering::SeqCst);
    }
}

/// Answers `/N/M` with N pieces of M bytes each, and `/late` with one after a while.
async fn answer(
    request: Request<Incoming>,
    held: Arc<AtomicUsize>,
) -> Result<Response<BoxBody<Bytes, Infallible>>, Infallible> {
    let path = request.uri().path().to_owned();
    let numbers: Vec<usize> = path.split('/').filter_map(|part| part.parse().ok()).collect();
    let pieces: BoxBody<Bytes, Infallible> = match numbers[..] {
        // One that knows when it has ended.
        [1, len] => Full::new(Counted::bytes(len, &held)).boxed(),
        [pieces, len] => {
            let pieces = futures_util::stream::iter(0..pieces);
            let pieces = futures_util::StreamExt::map(pieces, move |_| Ok(Frame::data(Counted::bytes(len, &held))));
            BodyExt::boxed(StreamBody::new(pieces))
        }
        _ => {
            let late = futures_util::stream::once(async {
                rt::sleep(PATIENCE * 3).await;
                Ok(Frame::data(Bytes::from_static(b"late")))
            });
            BodyExt::boxed(StreamBody::new(late))
        }
    };
    Ok(Response::new(pieces))
}

/// A connection to a server, by a client with this window for each stream; the bytes of answers in memory.
async fn connection(window: u32) -> (SendRequest<Bytes>, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let addr = listener.local_addr().expect("an address").to_string();
    let held = Arc::new(AtomicUsize::new(0));
    let counts = held.clone();
    drop(rt::spawn("server", async move {
        let (stream, _) = listener.accept().await.expect("a connection");
        let limits = Limits {
            head_patience: PATIENCE,
            write_patience: PATIENCE,
            ..Limits::default()
        };
        let service = service_fn(move |request| answer(request, counts.clone()));
        let _ = serve_connection(stream, Protocol::Http2, service, &limits, &Shutdown::new()).await;
    }));
    let stream = TcpStream::connect(&addr).await.expect("a connection");
    let mut client = h2::client::Builder::new();
    let shaken = client.initial_window_size(window).handshake(stream).await;
    let (sender, connection) = shaken.expect("a handshake");
    drop(rt::spawn("client", async move { drop(connection.await) }));
    (sender, held)
}

/// The body of an answer to a GET.
async fn get(sender: &SendRequest<Bytes>, path: &str) -> RecvStream {
    let mut sender = sender.clone().ready().await.expect("room for a stream");
    let request = Request::get(format!("http://x{path}")).body(()).expect("valid");
    let (answer, _) = sender.send_request(request, true).expect("a stream");
    answer.await.expect("an answer").into_body()
}

/// Bytes until the end, taking each piece after a pause.
async fn drain(mut body: RecvStream, pause: Duration) -> Result<usize, h2::Error> {
    let mut len = 0;
    while let Some(piece) = body.data().await {
        let piece = piece?.len();
        len += piece;
        rt::sleep(pause).await;
        body.flow_control().release_capacity(piece)?;
    }
    Ok(len)
}

async fn freed(held: &AtomicUsize, within: Duration) -> bool {
    let until = Instant::now() + within;
    while held.load(Ordering::SeqCst) > 0 {
        if Instant::now() > until {
            return false;
        }
        rt::sleep(Duration::from_millis(10)).await;
    }
    true
}

#[test]
fn a_stream_that_nobody_reads_is_reset_and_frees_what_it_held_and_the_others_go_on() {
    run(async {
        for (window, path) in [
            (0, "/1000000/100000"),
            (0, "/1/1"),
            (0, "/1/100000"),
            (1, "/1/100000"),
            (1000, "/1000000/100000"),
            (20_000, "/2/100000"),
        ] {
            let (sender, held) = connection(window).await;
            let late = get(&sender, "/late").await;
            let began = Instant::now();
            let mut stalled = get(&sender, path).await;
            let error = loop {
                match rt::timeout(PATIENCE * 5, stalled.data()).await.expect("reset in time") {
                    // Taken, and no window opened for more.
                    Some(Ok(_)) => {}
                    Some(Err(error)) => break error,
                    None => panic!("{window} {path}: it ended in order"),
                }
            };
            assert_eq!(error.reason(), Some(Reason::CANCEL), "{window} {path}");
            assert!(began.elapsed() >= PATIENCE, "{window} {path}: {:?}", began.elapsed());
            assert!(freed(&held, PATIENCE).await, "{window} {path}: {held:?} bytes are held");
            // An answer that had nothing to say meanwhile has not stalled.
            if window > 0 {
                assert_eq!(drain(late, Duration::ZERO).await.expect("whole").min(4), 4);
            }
        }
    });
}

#[test]
fn what_is_left_of_an_answer_that_has_ended_is_next_to_nothing() {
    run(async {
        // The last part waits for a window for ever, and nobody can be told: it is small.
        for (window, len) in [(1, 500), (1, 513), (20_000, 20_400)] {
            let (sender, held) = connection(window).await;
            let body = get(&sender, &format!("/1/{len}")).await;
            rt::sleep(PATIENCE * 2).await;
            assert!(
                held.load(Ordering::SeqCst) <= 513 || freed(&held, PATIENCE).await,
                "{held:?}"
            );
            drop(body);
            assert!(freed(&held, PATIENCE).await, "{held:?}");
        }
    });
}

#[test]
fn a_stream_that_is_read_slowly_is_served_to_its_end() {
    run(async {
        let (sender, held) = connection(4096).await;
        let body = get(&sender, "/2/40000").await;
        let began = Instant::now();
        let len = drain(body, PATIENCE / 20).await.expect("whole");
        assert_eq!(len, 80_000);
        assert!(began.elapsed() > PATIENCE, "{:?}", began.elapsed());
        assert!(freed(&held, PATIENCE).await);
    });
}
