//! What programs hold of a connection.

use std::io::{self, ErrorKind, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes, BytesMut};
use net::rt::engine::Conn;
use rand::Rng;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::flow::{Flow, Wakes, What};
use super::link::chance;
use super::{Inner, State, call};
use crate::engine::scaled;
use crate::engine::slots::Key;

/// One side of a connection. Dropping it closes it, as a kernel would.
pub(super) struct Socket {
    pub(super) net: Arc<Inner>,
    pub(super) key: Key,
    pub(super) side: usize,
    pub(super) local: SocketAddr,
    pub(super) peer: SocketAddr,
}

impl Inner {
    /// A program lets go of its side; the kernel ends it.
    pub(super) fn close(&self, key: Key, side: usize) {
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
