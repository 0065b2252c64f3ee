//! The production backend: the only place that names tokio's tasks, timers and sockets, and OS threads.
#![expect(clippy::disallowed_methods, reason = "this is what the lint sends everybody else to")]

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

/// The longest sleep handed to tokio's timer, far beyond any deadline of ours and far below its limits.
const SLEEP_MAX: Duration = Duration::from_secs(365 * 24 * 3_600);

/// Runs a future to its end on a new multi-threaded runtime: the bottom of `main`, and of tests.
///
/// # Errors
/// If the system gives no threads.
pub fn block_on<F: Future>(future: F) -> io::Result<F::Output> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let output = runtime.block_on(future);
    // Threads that are stuck in a system call do not hold up the end.
    runtime.shutdown_background();
    Ok(output)
}

/// The same, and waits until all tasks and threads of the runtime have ended, at most for `patience`: what they hold is
/// closed when this returns. A process that ends while some thread is inside a library of another language may be aborted
/// by that library's own end.
///
/// # Errors
/// If the system gives no threads.
pub fn block_on_to_the_last<F: Future>(future: F, patience: Duration) -> io::Result<F::Output> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let output = runtime.block_on(future);
    runtime.shutdown_timeout(patience);
    Ok(output)
}

pub(super) fn now_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    // The monotonic clock begins at the boot: neither part is negative.
    now.tv_sec.cast_unsigned() * 1_000_000_000 + now.tv_nsec.cast_unsigned()
}

pub(super) fn sleep_until(deadline_ns: u64) -> tokio::time::Sleep {
    tokio::time::sleep(until(deadline_ns))
}

pub(super) fn reset(sleep: Pin<&mut tokio::time::Sleep>, deadline_ns: u64) {
    sleep.reset(tokio::time::Instant::now() + until(deadline_ns));
}

fn until(deadline_ns: u64) -> Duration {
    Duration::from_nanos(deadline_ns.saturating_sub(now_ns())).min(SLEEP_MAX)
}

pub(super) fn spawn<F>(future: F) -> tokio::task::JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    tokio::spawn(future)
}

pub(super) fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> tokio::task::JoinHandle<T> {
    tokio::task::spawn_blocking(work)
}

pub(super) fn offload<F>(future: F) -> tokio::task::JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    let runtime = tokio::runtime::Handle::current();
    tokio::task::spawn_blocking(move || runtime.block_on(future))
}

pub(super) async fn listen(addr: &str) -> io::Result<TcpListener> {
    TcpListener::bind(addr).await
}

pub(super) async fn connect(addr: &str) -> io::Result<TcpStream> {
    TcpStream::connect(addr).await
}

/// An OS thread that drives one future.
pub(super) struct Thread {
    shared: Arc<ThreadShared>,
}

struct ThreadShared {
    abort: Notify,
    finished: AtomicBool,
}

impl Thread {
    pub(super) fn abort(&self) {
        // The permit is kept if the thread is not waiting for it yet.
        self.shared.abort.notify_one();
    }

    pub(super) fn is_finished(&self) -> bool {
        self.shared.finished.load(Ordering::Acquire)
    }
}

/// Starts a thread for a future. The future reports its own end; a thread that cannot be had drops it unpolled.
pub(super) fn thread(name: &'static str, future: impl Future<Output = ()> + Send + 'static) -> Thread {
    let shared = Arc::new(ThreadShared {
        abort: Notify::new(),
        finished: AtomicBool::new(false),
    });
    let runtime = tokio::runtime::Handle::current();
    let inside = Finish(Arc::clone(&shared));
    let started = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                biased;
                () = inside.0.abort.notified() => {}
                () = future => {}
            }
        });
        drop(inside);
    });
    if let Err(error) = started {
        // Dropping the closure has dropped the future, and with it told whoever waits.
        tracing::error!(%error, name, "no thread to be had");
    }
    Thread { shared }
}

/// Marks the end also when the future panics.
struct Finish(Arc<ThreadShared>);

impl Drop for Finish {
    fn drop(&mut self) {
        self.0.finished.store(true, Ordering::Release);
    }
}
