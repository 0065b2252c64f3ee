//! What programs hold: connections and listeners.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use net::rt::engine::{Conn, Listener};
use rand::Rng;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::flow::{Flow, Side, Tcp, Wakes, What};
use super::link::{Fate, chance, nanos};
use super::{Inner, Listening, Net, State, call, host_at, ip};
use crate::engine::slots::Key;
use crate::engine::{HostId, Network, scaled};

/// One side of a connection. Dropping it closes it, as a kernel would.
struct Socket {
    net: Arc<Inner>,
    key: Key,
    side: usize,
    local: SocketAddr,
    peer: SocketAddr,
}

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

    /// A program lets go of its side; the kernel ends it.
    fn close(&self, key: Key, side: usize) {
        let mut wakes = Wakes::default();
        let ended = {
            let mut state = self.state();
            let Some(tcp) = state.connections.get_mut(key) else {
                return;
            };
            let unread = tcp.flows[1 - side].arrived_bytes > 0;
            tcp.flows[1 - side].forget();
            let shut = std::mem::replace(&mut tcp.flows[side].shut, true);
            let it = &mut tcp.sides[side];
            it.open = false;
            let old = (it.reader.take(), it.writer.take());
            let what = if unread || it.crashed {
                Some(What::Reset)
            } else {
                (!shut).then_some(What::End)
            };
            if !it.gone
                && let Some(what) = what
            {
                self.send(&mut state, key, side, what, &mut wakes);
            }
            let over = state
                .connections
                .get(key)
                .is_some_and(|tcp| tcp.sides.iter().all(|side| !side.open));
            (old, if over { state.connections.remove(key) } else { None })
        };
        drop(ended);
        wakes.go();
    }

    /// Writes what there is room for, from the pieces.
    fn write(&self, key: Key, side: usize, pieces: &[IoSlice<'_>], cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let total: usize = pieces.iter().map(|piece| piece.len()).sum();
        let mut wakes = Wakes::default();
        let answer = {
            let mut state = self.state();
            let State { connections, dice, .. } = &mut *state;
            let Some(tcp) = connections.get_mut(key) else {
                return Poll::Ready(Err(ErrorKind::NotConnected.into()));
            };
            let room = tcp.flows[side].room(self.options.window_bytes);
            if let Some(kind) = tcp.sides[side].error {
                return Poll::Ready(Err(kind.into()));
            } else if tcp.flows[side].shut {
                return Poll::Ready(Err(ErrorKind::BrokenPipe.into()));
            } else if total == 0 {
                return Poll::Ready(Ok(0));
            } else if room == 0 {
                wakes.set(&mut tcp.sides[side].writer, cx.waker());
                Poll::Pending
            } else {
                let taken = partly(dice, self.options.partial, total.min(room));
                self.send(&mut state, key, side, What::Data(gathered(pieces, taken)), &mut wakes);
                Poll::Ready(Ok(taken))
            }
        };
        wakes.go();
        answer
    }

    fn read(&self, key: Key, side: usize, buf: &mut ReadBuf<'_>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut wakes = Wakes::default();
        let answer = {
            let mut state = self.state();
            let Some((from, to)) = state.ends(key, 1 - side) else {
                return Poll::Ready(Ok(()));
            };
            let told = state.is_heard(to, from);
            let State {
                connections,
                dice,
                ways,
                ..
            } = &mut *state;
            let Some(tcp) = connections.get_mut(key) else {
                return Poll::Ready(Ok(()));
            };
            let flow = &mut tcp.flows[1 - side];
            if buf.remaining() == 0 {
                Poll::Ready(Ok(()))
            } else if flow.arrived_bytes > 0 {
                let most = partly(dice, self.options.partial, flow.arrived_bytes.min(buf.remaining()));
                flow.read(most, buf);
                if !told {
                    flow.untold += most;
                } else if tcp.sides[1 - side].writer.is_some() {
                    let at_ns = self.control.now_ns() + ways.travel_ns(to, from, dice);
                    self.call_at(&state, at_ns, call::ROOM, 1 - side, key);
                }
                Poll::Ready(Ok(()))
            } else if let Some(kind) = tcp.sides[side].error {
                Poll::Ready(Err(kind.into()))
            } else if flow.ended {
                Poll::Ready(Ok(()))
            } else {
                wakes.set(&mut tcp.sides[side].reader, cx.waker());
                Poll::Pending
            }
        };
        wakes.go();
        answer
    }

    fn shut(&self, key: Key, side: usize) {
        let mut wakes = Wakes::default();
        {
            let mut state = self.state();
            let Some(tcp) = state.connections.get_mut(key) else {
                return;
            };
            if !std::mem::replace(&mut tcp.flows[side].shut, true) && !tcp.sides[side].gone {
                self.send(&mut state, key, side, What::End, &mut wakes);
            }
        }
        wakes.go();
    }
}

impl Flow {
    fn read(&mut self, mut most: usize, buf: &mut ReadBuf<'_>) {
        self.arrived_bytes -= most;
        while let Some(first) = self.arrived.front_mut()
            && most > 0
        {
            let now = most.min(first.len());
            buf.put_slice(&first[..now]);
            first.advance(now);
            most -= now;
            if first.is_empty() {
                self.arrived.pop_front();
            }
        }
    }
}

/// All of it, or by a throw only a part, at least one.
fn partly(dice: &mut impl Rng, likely: f64, whole: usize) -> usize {
    if whole > 1 && chance(dice, likely) {
        return 1 + usize::try_from(scaled(dice.next_u64(), whole as u64)).expect("below the whole");
    }
    whole
}

fn gathered(pieces: &[IoSlice<'_>], most: usize) -> Bytes {
    let mut whole = BytesMut::with_capacity(most);
    for piece in pieces {
        let now = piece.len().min(most - whole.len());
        whole.extend_from_slice(&piece[..now]);
    }
    whole.freeze()
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.net.close(self.key, self.side);
    }
}

impl Conn for Socket {
    fn local_addr(&self) -> SocketAddr {
        self.local
    }

    fn peer_addr(&self) -> SocketAddr {
        self.peer
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.net.read(self.key, self.side, buf, cx)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.net.write(self.key, self.side, &[IoSlice::new(buf)], cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.net.write(self.key, self.side, bufs, cx)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.net.shut(self.key, self.side);
        Poll::Ready(Ok(()))
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
