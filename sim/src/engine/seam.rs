//! What `net::rt` asks of the engine, answered on behalf of the host that is running.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use net::rt::engine::{Conn, Engine, Listener, TaskHandle};
use rand::Rng;

use super::ready::{Entry, Handle, TaskRef};
use super::slots::Key;
use super::{Control, HostId, Shared, Task};

/// The network of a world: what sockets do.
pub trait Network: Send + Sync {
    /// Listens on an address of a host.
    ///
    /// # Errors
    /// As `bind` and `listen`.
    fn listen(&self, host: HostId, addr: SocketAddr) -> io::Result<Box<dyn Listener>>;

    /// Connects from a host to an address.
    fn connect(&self, host: HostId, addr: SocketAddr) -> BoxFuture<'static, io::Result<Box<dyn Conn>>>;
}

impl Engine for Shared {
    fn spawn(&self, name: &'static str, future: BoxFuture<'static, ()>) -> Arc<dyn TaskHandle> {
        let mut state = self.state();
        let host = state.host;
        if state.closing || !state.hosts[host.index()].alive {
            // A destructor of a dying host still wants to do something. The dead do nothing.
            drop(state);
            drop(future);
            let never = TaskRef::new(Entry::Main, Arc::clone(&self.ready));
            never.finish();
            return Arc::new(Handle(never));
        }
        let mut shared = None;
        state.tasks.insert_with(|key| {
            let task = TaskRef::new(Entry::Task(key), Arc::clone(&self.ready));
            shared = Some(Arc::clone(&task));
            Task {
                name,
                host,
                future: Some(future),
                waker: Waker::from(Arc::clone(&task)),
                shared: task,
                steps: 0,
            }
        });
        drop(state);
        let shared = shared.expect("made with its number");
        Waker::from(Arc::clone(&shared)).wake();
        Arc::new(Handle(shared))
    }

    fn now_ns(&self) -> u64 {
        let now_ns = self.now_ns();
        let state = self.state();
        state.hosts[state.host.index()].clock.local(now_ns)
    }

    fn poll_timer(&self, timer: &mut Option<u64>, at_ns: u64, waker: &Waker) -> Poll<()> {
        let host = self.state().host;
        self.poll_timer_of(host, timer, at_ns, waker)
    }

    fn cancel_timer(&self, timer: u64) {
        let cancelled = self.state().agenda.cancel(Key::unpack(timer));
        drop(cancelled);
    }

    fn random_u64(&self) -> u64 {
        self.state().chance.next_u64()
    }

    fn listen(&self, addr: SocketAddr) -> io::Result<Box<dyn Listener>> {
        let (host, network) = self.network()?;
        network.listen(host, addr)
    }

    fn connect(&self, addr: SocketAddr) -> BoxFuture<'static, io::Result<Box<dyn Conn>>> {
        match self.network() {
            Ok((host, network)) => network.connect(host, addr),
            Err(error) => async { Err(error) }.boxed(),
        }
    }
}

impl Shared {
    fn network(&self) -> io::Result<(HostId, Arc<dyn super::Network>)> {
        let state = self.state();
        let none = || io::Error::new(io::ErrorKind::NetworkDown, "this world has no network");
        Ok((state.host, state.network.clone().ok_or_else(none)?))
    }

    fn poll_timer_of(&self, host: HostId, timer: &mut Option<u64>, at_ns: u64, waker: &Waker) -> Poll<()> {
        let now_ns = self.now_ns();
        let mut state = self.state();
        if state.closing {
            return Poll::Pending;
        }
        let clock = state.hosts[host.index()].clock;
        if clock.local(now_ns) >= at_ns {
            let cancelled = timer.take().and_then(|timer| state.agenda.cancel(Key::unpack(timer)));
            drop(state);
            drop(cancelled);
            return Poll::Ready(());
        }
        let armed = timer.map(Key::unpack).filter(|key| state.agenda.timer(*key).is_some());
        match armed {
            None => {
                let key = state.agenda.arm(host, at_ns, clock.true_at(at_ns), waker.clone());
                *timer = Some(key.pack());
            }
            Some(key) => {
                let before = state.agenda.set_waker(key, waker);
                // It has rung too early: the clock has changed its pace meanwhile.
                if !state.agenda.is_armed(key) {
                    state.agenda.move_to(key, clock.true_at(at_ns));
                }
                drop(state);
                drop(before);
            }
        }
        Poll::Pending
    }
}

/// Waits until a true moment; see [`Control::sleep`].
#[derive(Debug)]
pub struct TrueSleep {
    control: Control,
    at_ns: u64,
    timer: Option<u64>,
}

impl TrueSleep {
    pub(super) fn new(control: Control, at_ns: u64) -> Self {
        Self {
            control,
            at_ns,
            timer: None,
        }
    }
}

impl Future for TrueSleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        this.control
            .0
            .poll_timer_of(HostId::WORLD, &mut this.timer, this.at_ns, cx.waker())
    }
}

impl Drop for TrueSleep {
    fn drop(&mut self) {
        if let Some(timer) = self.timer {
            self.control.0.cancel_timer(timer);
        }
    }
}
