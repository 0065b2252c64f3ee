//! The seam for a simulator: what [`crate::rt`] asks of an engine, and how a thread is given to one.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::{fmt, io};

use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};

/// A world with its own time, tasks, sockets and chance.
pub trait Engine: Send + Sync {
    /// Starts a task.
    fn spawn(&self, name: &'static str, task: BoxFuture<'static, ()>) -> Arc<dyn TaskHandle>;

    /// The monotonic clock of whoever is running now, in nanoseconds.
    fn now_ns(&self) -> u64;

    /// Ready once [`Engine::now_ns`] has reached `at_ns`; until then the waker is woken when it may have.
    ///
    /// `timer` is the caller's slot: the engine puts a number there while a timer is armed, and it must come back with
    /// every further poll and, if the caller loses interest, with [`Engine::cancel_timer`].
    fn poll_timer(&self, timer: &mut Option<u64>, at_ns: u64, waker: &Waker) -> Poll<()>;

    /// Forgets an armed timer.
    fn cancel_timer(&self, timer: u64);

    /// A throw of the engine's dice.
    fn random_u64(&self) -> u64;

    /// Listens on an address of whoever is running now.
    ///
    /// # Errors
    /// As `bind` and `listen`, for example [`io::ErrorKind::AddrInUse`].
    fn listen(&self, addr: SocketAddr) -> io::Result<Box<dyn Listener>>;

    /// Connects to an address.
    fn connect(&self, addr: SocketAddr) -> BoxFuture<'static, io::Result<Box<dyn Conn>>>;
}

/// A task of an engine. Dropping it detaches the task.
pub trait TaskHandle: Send + Sync {
    /// Ends the task: it is not polled again, and dropped soon.
    fn abort(&self);

    /// Whether the task has ended, or has been dropped.
    fn is_finished(&self) -> bool;
}

/// A listening socket of an engine.
pub trait Listener: Send + Sync {
    /// The next connection and its far address.
    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(Box<dyn Conn>, SocketAddr)>>;

    /// Where it listens.
    fn local_addr(&self) -> SocketAddr;
}

/// A connection of an engine.
pub trait Conn: AsyncRead + AsyncWrite + Send + Sync + Unpin {
    /// The near address.
    fn local_addr(&self) -> SocketAddr;

    /// The far address.
    fn peer_addr(&self) -> SocketAddr;
}

thread_local! {
    // Which engine this thread belongs to is the one thing that is the thread's.
    static ENGINE: RefCell<Option<Arc<dyn Engine>>> = const { RefCell::new(None) };
}

/// Gives this thread to an engine until the guard is dropped; then to whoever had it before.
pub fn enter(engine: Arc<dyn Engine>) -> Guard {
    let before = ENGINE.with(|current| current.replace(Some(engine)));
    Guard {
        before,
        _not_send: PhantomData,
    }
}

/// The engine of this thread, if it has one.
pub fn current() -> Option<Arc<dyn Engine>> {
    ENGINE.try_with(|current| current.borrow().clone()).ok().flatten()
}

/// Looks at the engine of this thread without taking a count of it.
pub(crate) fn with<T>(look: impl FnOnce(Option<&Arc<dyn Engine>>) -> T) -> T {
    ENGINE.with(|current| look(current.borrow().as_ref()))
}

/// While it lives, this thread belongs to an engine.
#[must_use = "the engine is left when the guard is dropped"]
pub struct Guard {
    before: Option<Arc<dyn Engine>>,
    /// It must be dropped on the thread that it was made on.
    _not_send: PhantomData<*const ()>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        let left = ENGINE.with(|current| current.replace(self.before.take()));
        drop(left);
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Guard")
    }
}
