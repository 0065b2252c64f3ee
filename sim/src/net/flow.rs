//! A TCP connection as its two kernels see it: bytes under way, bytes arrived, and how it ends.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::task::Waker;

use bytes::Bytes;

use crate::engine::HostId;

/// A connection. Side 0 connected, side 1 accepted; flow `i` carries what side `i` writes.
#[derive(Debug)]
pub(super) struct Tcp {
    pub(super) sides: [Side; 2],
    pub(super) flows: [Flow; 2],
    /// How long it bears not being heard.
    pub(super) patience_ns: u64,
}

#[derive(Debug)]
pub(super) struct Side {
    pub(super) host: HostId,
    pub(super) addr: SocketAddr,
    /// The program holds the socket, or it waits to be accepted.
    pub(super) open: bool,
    /// The kernel has forgotten the connection: whatever arrives is answered by a reset.
    pub(super) gone: bool,
    /// What the program is told.
    pub(super) error: Option<io::ErrorKind>,
    /// Its process crashed, and the kernel will reset instead of closing in order.
    pub(super) crashed: bool,
    pub(super) reader: Option<Waker>,
    pub(super) writer: Option<Waker>,
}

impl Side {
    pub(super) fn new(host: HostId, addr: SocketAddr) -> Self {
        Self {
            host,
            addr,
            open: true,
            gone: false,
            error: None,
            crashed: false,
            reader: None,
            writer: None,
        }
    }

    /// Whether anybody is there to take what arrives.
    pub(super) fn takes(&self) -> bool {
        self.open && !self.gone
    }
}

/// One direction. Bounded: what is under way, unread, or read without the writer knowing fits the window.
#[derive(Debug, Default)]
pub(super) struct Flow {
    pub(super) flying: VecDeque<Packet>,
    pub(super) flying_bytes: usize,
    /// A call at the arrival of the first one is in the agenda.
    pub(super) called: bool,
    /// The arrival of the last one: order is kept.
    pub(super) last_ns: u64,
    pub(super) arrived: VecDeque<Bytes>,
    pub(super) arrived_bytes: usize,
    /// Bytes read whose writer cannot be told that there is room again.
    pub(super) untold: usize,
    /// The writer has shut down.
    pub(super) shut: bool,
    /// The reader has been told of the end.
    pub(super) ended: bool,
    /// Since when packets or their acknowledgements do not get through.
    pub(super) blocked_since: Option<u64>,
}

#[derive(Debug)]
pub(super) struct Packet {
    pub(super) leaves_ns: u64,
    pub(super) at_ns: u64,
    pub(super) what: What,
}

#[derive(Debug)]
pub(super) enum What {
    Data(Bytes),
    /// The writer has shut down in order.
    End,
    /// The writer's kernel knows nothing of the connection.
    Reset,
}

impl Packet {
    pub(super) fn bytes(&self) -> usize {
        match &self.what {
            What::Data(data) => data.len(),
            What::End | What::Reset => 0,
        }
    }
}

impl Flow {
    /// Takes the first packet, if its time has come.
    pub(super) fn take(&mut self, now_ns: u64) -> Option<Packet> {
        let packet = self.flying.pop_front_if(|packet| packet.at_ns <= now_ns)?;
        self.flying_bytes -= packet.bytes();
        Some(packet)
    }

    pub(super) fn deliver(&mut self, data: Bytes) {
        self.arrived_bytes += data.len();
        self.arrived.push_back(data);
    }

    /// How much may be written.
    pub(super) fn room(&self, window: usize) -> usize {
        window.saturating_sub(self.flying_bytes + self.arrived_bytes + self.untold)
    }

    /// Nothing of what is under way arrives.
    pub(super) fn lose(&mut self) {
        self.flying.clear();
        self.flying_bytes = 0;
    }

    /// What has arrived is thrown away unread.
    pub(super) fn forget(&mut self) {
        self.arrived.clear();
        self.arrived_bytes = 0;
    }

    /// The packets under way go on at this moment, the first of them, and in order.
    pub(super) fn delay(&mut self, at_ns: u64) {
        let mut at = at_ns;
        for packet in &mut self.flying {
            at = at.max(packet.at_ns);
            packet.at_ns = at;
        }
        self.last_ns = self.last_ns.max(at);
    }
}

/// Wakers to be woken, and others to be dropped, when no lock is held any more.
#[derive(Debug, Default)]
pub(super) struct Wakes {
    wake: Vec<Waker>,
    old: Vec<Waker>,
}

impl Wakes {
    pub(super) fn wake(&mut self, waker: &mut Option<Waker>) {
        self.wake.extend(waker.take());
    }

    pub(super) fn both(&mut self, side: &mut Side) {
        self.wake(&mut side.reader);
        self.wake(&mut side.writer);
    }

    pub(super) fn set(&mut self, place: &mut Option<Waker>, waker: &Waker) {
        if !place.as_ref().is_some_and(|old| old.will_wake(waker)) {
            self.old.extend(place.replace(waker.clone()));
        }
    }

    /// Wakes them.
    pub(super) fn go(self) {
        for waker in self.wake {
            waker.wake();
        }
    }
}
