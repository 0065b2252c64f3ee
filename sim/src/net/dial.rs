//! How connections come to be: listeners, and attempts to reach them.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use net::rt::engine::{Conn, Listener};
use rand::Rng;

use super::flow::{Flow, Side, Tcp, Wakes};
use super::link::{Fate, nanos};
use super::sockets::Socket;
use super::{Inner, Listening, Net, State, host_at, ip};
use crate::engine::{HostId, Network, scaled};

/// A listening socket. Dropping it frees the port, and resets who has not been accepted.
struct Ear {
    net: Arc<Inner>,
    host: HostId,
    addr: SocketAddr,
    number: u64,
}

/// How an attempt to connect is received.
enum Knock {
    Unheard,
    Refused,
    In(Socket),
}

/// The first port that is given to those who do not ask for one.
const PORTS_FROM: u16 = 32_768;
/// After so long a connection attempt is made again, the first time; then twice as long, each time.
const KNOCK_AGAIN: Duration = Duration::from_secs(1);

impl Network for Net {
    fn listen(&self, host: HostId, addr: SocketAddr) -> io::Result<Box<dyn Listener>> {
        let mine = IpAddr::V4(ip(host));
        if !addr.ip().is_unspecified() && !addr.ip().is_loopback() && addr.ip() != mine {
            return Err(ErrorKind::AddrNotAvailable.into());
        }
        let mut state = self.0.state();
        let port = if addr.port() == 0 {
            state.fresh_port(host)
        } else {
            addr.port()
        };
        if state.listeners.contains_key(&(host, port)) {
            return Err(ErrorKind::AddrInUse.into());
        }
        let number = state.dice.next_u64();
        state.listeners.insert(
            (host, port),
            Listening {
                number,
                backlog: VecDeque::new(),
                acceptor: None,
            },
        );
        let ip = if addr.ip().is_loopback() { addr.ip() } else { mine };
        Ok(Box::new(Ear {
            net: Arc::clone(&self.0),
            host,
            addr: SocketAddr::new(ip, port),
            number,
        }))
    }

    fn connect(&self, host: HostId, addr: SocketAddr) -> BoxFuture<'static, io::Result<Box<dyn Conn>>> {
        let net = Arc::clone(&self.0);
        async move {
            let to = if addr.ip().is_loopback() {
                Some(host)
            } else {
                host_at(addr.ip())
            };
            let to = to.ok_or(ErrorKind::HostUnreachable)?;
            let patience = net.options.connect_patience;
            let deadline = net.control.now_ns() + nanos(patience);
            let mut again = KNOCK_AGAIN;
            loop {
                let (there, back) = net.throw_travel(host, to);
                if let Some(there) = there {
                    net.control.sleep(there).await;
                    match net.knock(host, to, addr) {
                        Knock::Unheard => {}
                        Knock::Refused => {
                            net.control.sleep(back).await;
                            return Err(ErrorKind::ConnectionRefused.into());
                        }
                        Knock::In(socket) => {
                            net.control.sleep(back).await;
                            return Ok(Box::new(socket) as Box<dyn Conn>);
                        }
                    }
                }
                let left = Duration::from_nanos(deadline.saturating_sub(net.control.now_ns()));
                net.control.sleep(again.min(left)).await;
                if left <= again {
                    return Err(ErrorKind::TimedOut.into());
                }
                again *= 2;
            }
        }
        .boxed()
    }
}

impl State {
    fn fresh_port(&mut self, host: HostId) -> u16 {
        let port = self.ports.entry(host).or_insert(PORTS_FROM);
        *port = port.checked_add(1).unwrap_or(PORTS_FROM);
        *port
    }
}

impl Inner {
    /// How long an attempt travels to a host, if it is not lost, and the answer back.
    fn throw_travel(&self, from: HostId, to: HostId) -> (Option<Duration>, Duration) {
        let now_ns = self.control.now_ns();
        let mut state = self.state();
        let State { ways, dice, .. } = &mut *state;
        let there = match ways.send(from, to, 0, now_ns, dice) {
            Fate::Arrives { at_ns, .. } => Some(Duration::from_nanos(at_ns - now_ns)),
            Fate::Lost | Fate::Resets => None,
        };
        (there, Duration::from_nanos(ways.travel_ns(to, from, dice)))
    }

    /// An attempt to connect arrives.
    fn knock(self: &Arc<Self>, from: HostId, to: HostId, addr: SocketAddr) -> Knock {
        let mut wakes = Wakes::default();
        let knock = {
            let mut state = self.state();
            let state = &mut *state;
            if !state.is_heard(from, to) || !state.is_heard(to, from) {
                return Knock::Unheard;
            }
            let waiting = match state.listeners.get(&(to, addr.port())) {
                None => return Knock::Refused,
                Some(listening) => listening.backlog.len(),
            };
            if waiting >= self.options.backlog_max {
                return Knock::Unheard;
            }
            let from_ip = if addr.ip().is_loopback() {
                addr.ip()
            } else {
                IpAddr::V4(ip(from))
            };
            let local = SocketAddr::new(from_ip, state.fresh_port(from));
            let (least, most) = (nanos(self.options.silence_min), nanos(self.options.silence_max));
            let key = state.connections.insert(Tcp {
                sides: [Side::new(from, local), Side::new(to, addr)],
                flows: [Flow::default(), Flow::default()],
                patience_ns: least + scaled(state.dice.next_u64(), most.saturating_sub(least) + 1),
            });
            if let Some(listening) = state.listeners.get_mut(&(to, addr.port())) {
                listening.backlog.push_back(key);
                wakes.wake(&mut listening.acceptor);
            }
            self.control.tell(
                to,
                key.pack() ^ 0xc0,
                format_args!("a connection from {local} to {addr}"),
            );
            Knock::In(Socket {
                net: Arc::clone(self),
                key,
                side: 0,
                local,
                peer: addr,
            })
        };
        wakes.go();
        knock
    }
}

impl Listener for Ear {
    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(Box<dyn Conn>, SocketAddr)>> {
        let mut wakes = Wakes::default();
        let answer = {
            let mut state = self.net.state();
            let State {
                listeners, connections, ..
            } = &mut *state;
            match listeners
                .get_mut(&(self.host, self.addr.port()))
                .filter(|it| it.number == self.number)
            {
                None => Poll::Ready(Err(ErrorKind::NotConnected.into())),
                Some(listening) => match listening.backlog.pop_front() {
                    None => {
                        wakes.set(&mut listening.acceptor, cx.waker());
                        Poll::Pending
                    }
                    Some(key) => {
                        let [from, me] = connections
                            .get(key)
                            .map_or([self.addr; 2], |tcp| [tcp.sides[0].addr, tcp.sides[1].addr]);
                        let socket = Socket {
                            net: Arc::clone(&self.net),
                            key,
                            side: 1,
                            local: me,
                            peer: from,
                        };
                        Poll::Ready(Ok((Box::new(socket) as Box<dyn Conn>, from)))
                    }
                },
            }
        };
        wakes.go();
        answer
    }

    fn local_addr(&self) -> SocketAddr {
        self.addr
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        let place = (self.host, self.addr.port());
        let waiting = {
            let mut state = self.net.state();
            match state.listeners.get(&place) {
                Some(listening) if listening.number == self.number => {}
                _ => return,
            }
            let Some(listening) = state.listeners.remove(&place) else {
                return;
            };
            for key in &listening.backlog {
                if let Some(tcp) = state.connections.get_mut(*key) {
                    tcp.sides[1].crashed = true;
                }
            }
            listening
        };
        // Who has not been accepted never will be.
        for key in &waiting.backlog {
            self.net.close(*key, 1);
        }
    }
}
