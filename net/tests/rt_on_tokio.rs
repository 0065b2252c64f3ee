//! The production backend keeps the promises of `rt`.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use net::rt::{self, Elapsed, Instant, TcpListener, TcpStream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn run<T>(future: impl Future<Output = T>) -> T {
    rt::block_on(future).expect("a runtime")
}

fn millis(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[test]
fn a_task_gives_its_result_and_runs_on_when_let_go() {
    run(async {
        assert_eq!(rt::spawn("adds", async { 1 + 1 }).await, Ok(2));
        let (sender, receiver) = tokio::sync::oneshot::channel();
        drop(rt::spawn("alone", async move {
            rt::sleep(millis(10)).await;
            let _ = sender.send(3);
        }));
        assert_eq!(receiver.await, Ok(3));
    });
}

#[test]
fn an_aborted_task_and_one_that_panicked_are_told_apart() {
    run(async {
        let endless = rt::spawn("endless", pending::<()>());
        assert!(!endless.is_finished());
        endless.abort();
        assert!(!endless.await.expect_err("aborted").is_panic());
        let error = rt::spawn("panics", async { panic!("on purpose") })
            .await
            .expect_err("a panic");
        assert!(error.is_panic());
    });
}

#[test]
fn a_dedicated_thread_may_block_and_is_ended_and_reports_a_panic() {
    run(async {
        let (sender, mut receiver) = tokio::sync::mpsc::channel(1);
        let working = rt::dedicated("worker", async move {
            // Tasks and timers of the runtime are there too.
            rt::sleep(millis(5)).await;
            rt::spawn("told", async move { sender.send(7).await })
                .await
                .expect("no panic")
                .expect("a receiver");
        });
        assert_eq!(receiver.recv().await, Some(7));
        assert_eq!(working.await, Ok(()));

        let dropped = Arc::new(AtomicBool::new(false));
        let told = OnDrop(Arc::clone(&dropped));
        let endless = rt::dedicated("endless", async move {
            let _told = told;
            pending::<()>().await;
        });
        endless.abort();
        assert!(endless.await.is_err_and(|error| !error.is_panic()));
        assert!(dropped.load(Ordering::Acquire));

        let panics = rt::dedicated("panics", async { panic!("on purpose") });
        assert!(panics.await.is_err_and(|error| error.is_panic()));
    });
}

struct OnDrop(Arc<AtomicBool>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

#[test]
fn work_that_blocks_is_done_elsewhere() {
    run(async {
        assert_eq!(rt::blocking(|| 1).await, Ok(1));
        assert_eq!(rt::offload(async { 2 }).await, Ok(2));
        assert!(
            rt::blocking(|| panic!("on purpose"))
                .await
                .is_err_and(|error| error.is_panic())
        );
    });
}

#[test]
fn sleeps_last_and_can_be_moved_and_deadlines_hold() {
    run(async {
        let began = Instant::now();
        rt::sleep(millis(20)).await;
        assert!(began.elapsed() >= millis(20));

        let mut sleep = rt::sleep(Duration::MAX);
        assert_eq!(rt::timeout(millis(5), &mut sleep).await, Err(Elapsed));
        sleep.reset(Instant::now() + millis(5));
        sleep.await;

        assert_eq!(
            rt::timeout(Duration::ZERO, async { 7 }).await,
            Ok(7),
            "what is ready is never thrown away"
        );
        assert_eq!(
            rt::timeout_at(Instant::now() + millis(5), pending::<()>()).await,
            Err(Elapsed)
        );
        assert!(began.elapsed() < Duration::from_secs(5));
    });
}

#[test]
fn instants_never_go_back_and_do_not_overflow() {
    let now = Instant::now();
    assert!(Instant::now() >= now);
    assert_eq!(now - (now + millis(1)), Duration::ZERO);
    assert_eq!((now + millis(3)) - now, millis(3));
    assert_eq!(now + Duration::MAX + millis(1), now + Duration::MAX);
    assert_eq!(Instant::from_nanos(now.as_nanos()), now);
}

#[test]
fn chance_differs() {
    assert_ne!(rt::random_u64(), rt::random_u64());
}

#[test]
fn bytes_go_over_tcp_and_the_end_too() {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let addr = listener.local_addr().expect("an address");
        let server = rt::spawn("server", async move {
            let (mut stream, from) = listener.accept().await.expect("a connection");
            assert_eq!(stream.peer_addr().expect("an address"), from);
            let mut got = Vec::new();
            stream.read_to_end(&mut got).await.expect("an open connection");
            stream.write_all(&got).await.expect("an open connection");
        });
        let mut stream = TcpStream::connect(&addr.to_string()).await.expect("a connection");
        stream.set_nodelay(true).expect("an open connection");
        stream.write_all(b"hello").await.expect("an open connection");
        stream.shutdown().await.expect("an open connection");
        let mut back = Vec::new();
        stream.read_to_end(&mut back).await.expect("an open connection");
        assert_eq!(back, b"hello");
        server.await.expect("no panic");
        let gone = TcpStream::connect(&addr.to_string())
            .await
            .err()
            .expect("nobody listens any more");
        assert_eq!(gone.kind(), std::io::ErrorKind::ConnectionRefused);
    });
}
