//! TCP in the false world.
//!
//! Every host has the address 10.0.0.N, N its number. Connections are pairs of byte pipes that keep their order: packets
//! take their time by link, are lost and sent again, are held back by a cut, and a connection dies of a reset, of a
//! power loss, or of not being heard for too long. What a host hears of another's death is what it would hear: nothing,
//! until a packet of its own is answered by a reset or by silence.
//!
//! | file | question |
//! |---|---|
//! | `net.rs` | what may be done to the network? |
//! | `link.rs` | how long does a packet travel, and does it arrive? |
//! | `flow.rs` | what does a connection consist of? |
//! | `delivery.rs` | what becomes of packets under way? |
//! | `dial.rs`, `sockets.rs` | what do programs see? |

mod delivery;
mod dial;
mod flow;
mod link;
mod sockets;

use std::collections::{BTreeMap, VecDeque};
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use net::dice::Stream;
use rand::Rng;

use crate::engine::slots::{Key, Slots};
use crate::engine::{Control, Down, HostId, Network, Part, Seat, scaled};

pub use link::Link;

use flow::{Packet, Tcp, Wakes, What};
use link::{Fate, Ways};

/// The habits of a network.
#[derive(Clone, Debug)]
pub struct NetOptions {
    /// Every link, unless set otherwise.
    pub link: Link,
    /// Bytes of one direction that are under way or unread; then the writer waits.
    pub window_bytes: usize,
    /// How likely a read or a write takes only a part, by a throw (0 to 1).
    pub partial: f64,
    /// How long connecting to nobody takes before it is given up.
    pub connect_patience: Duration,
    /// How long a connection bears not being heard, at least.
    pub silence_min: Duration,
    /// How long at most, by a throw for each connection.
    pub silence_max: Duration,
    /// Connections that wait to be accepted at one listener; more are not heard.
    pub backlog_max: usize,
}

impl Default for NetOptions {
    fn default() -> Self {
        Self {
            link: Link::default(),
            window_bytes: 256 * 1024,
            partial: 0.1,
            connect_patience: Duration::from_secs(20),
            silence_min: Duration::from_secs(5),
            silence_max: Duration::from_secs(20),
            backlog_max: 128,
        }
    }
}

/// The network of a world. Copies are hands on the same one.
#[derive(Clone, Debug)]
pub struct Net(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    control: Control,
    options: NetOptions,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    seat: Option<Seat>,
    dice: Stream,
    ways: Ways,
    connections: Slots<Tcp>,
    listeners: BTreeMap<(HostId, u16), Listening>,
    /// The last port given to a connecting socket, by host.
    ports: BTreeMap<HostId, u16>,
    /// Hosts without power: silent.
    dark: Vec<HostId>,
}

#[derive(Debug)]
struct Listening {
    /// Told apart from another one on the same port later.
    number: u64,
    backlog: VecDeque<Key>,
    acceptor: Option<Waker>,
}

/// What a call from the agenda is about; the lowest bit is the side or flow.
mod call {
    pub(super) const ARRIVAL: u32 = 0;
    pub(super) const ROOM: u32 = 2;
    pub(super) const RESET: u32 = 4;
    pub(super) const SILENCE: u32 = 6;
}

impl Net {
    /// Gives a world a network.
    pub fn new(control: &Control, options: NetOptions) -> Self {
        let state = State {
            seat: None,
            dice: control.dice().stream("net"),
            ways: Ways::new(options.link),
            connections: Slots::default(),
            listeners: BTreeMap::new(),
            ports: BTreeMap::new(),
            dark: Vec::new(),
        };
        let inner = Arc::new(Inner {
            control: control.clone(),
            options,
            state: Mutex::new(state),
        });
        let seat = control.join(Arc::clone(&inner) as Arc<dyn Part>);
        inner.state().seat = Some(seat);
        let net = Self(inner);
        control.set_network(Arc::new(net.clone()) as Arc<dyn Network>);
        net
    }

    /// The address of a port of a host.
    pub fn addr(host: HostId, port: u16) -> SocketAddr {
        SocketAddr::new(IpAddr::V4(ip(host)), port)
    }

    /// How many connections there are, those that only one side still holds included.
    pub fn connection_count(&self) -> usize {
        self.0.state().connections.len()
    }

    // ---- faults ----

    /// Nothing gets through between two hosts, in both directions.
    pub fn cut(&self, a: HostId, b: HostId) {
        self.cut_one_way(a, b);
        self.cut_one_way(b, a);
    }

    /// Nothing gets through from one host to the other.
    pub fn cut_one_way(&self, from: HostId, to: HostId) {
        {
            let mut state = self.0.state();
            state.ways.way(from, to).cut = true;
            // Those that would have waited for a clogged way for ever do not wait for a cut one.
            let at_ns = self.0.control.now_ns();
            for (key, tcp) in state.connections.iter() {
                for side in (0..2).filter(|side| tcp.flows[*side].blocked_since.is_some()) {
                    self.0
                        .call_at(&state, at_ns + tcp.patience_ns, call::SILENCE, side, key);
                }
            }
        }
        self.0
            .control
            .tell(from, 0xc07, format_args!("cut to {}", self.0.control.name_of(to)));
    }

    /// What one host sends to the other is held back, for as long as it takes: connections do not die of it.
    pub fn clog(&self, from: HostId, to: HostId) {
        self.0.state().ways.way(from, to).clogged = true;
        self.0
            .control
            .tell(from, 0xc106, format_args!("clogged to {}", self.0.control.name_of(to)));
    }

    /// The ways between two hosts are open again.
    pub fn heal(&self, a: HostId, b: HostId) {
        self.0.mend(|state| {
            for (from, to) in [(a, b), (b, a)] {
                let way = state.ways.way(from, to);
                (way.cut, way.clogged) = (false, false);
            }
        });
    }

    /// Every way is open, and as usual.
    pub fn heal_all(&self) {
        self.0.mend(|state| state.ways.mend());
    }

    /// The quality of the ways between two hosts, in both directions.
    pub fn set_link(&self, a: HostId, b: HostId, link: Link) {
        self.set_link_one_way(a, b, link);
        self.set_link_one_way(b, a, link);
    }

    /// The quality of the way from one host to the other.
    pub fn set_link_one_way(&self, from: HostId, to: HostId, link: Link) {
        self.0.state().ways.way(from, to).link = link;
    }

    /// The quality of the way from one host to the other.
    pub fn link(&self, from: HostId, to: HostId) -> Link {
        self.0.state().ways.way(from, to).link
    }

    /// Whether packets get from one host to the other.
    pub fn is_open(&self, from: HostId, to: HostId) -> bool {
        self.0.state().ways.is_open(from, to)
    }

    /// Resets the open connections between two hosts, wherever they are in their talk.
    pub fn reset_connections(&self, a: HostId, b: HostId) {
        self.0
            .reset_where(|[x, y]| (x.host, y.host) == (a, b) || (x.host, y.host) == (b, a));
    }

    /// Resets the open connections of a host.
    pub fn reset_all_of(&self, host: HostId) {
        self.0.reset_where(|[x, y]| x.host == host || y.host == host);
    }

    /// Resets the open connection between two sockets.
    pub fn reset_between(&self, a: SocketAddr, b: SocketAddr) {
        self.0
            .reset_where(|[x, y]| (x.addr, y.addr) == (a, b) || (x.addr, y.addr) == (b, a));
    }
}

fn ip(host: HostId) -> Ipv4Addr {
    Ipv4Addr::from_bits(Ipv4Addr::new(10, 0, 0, 0).to_bits() | host.0)
}

fn host_at(ip: IpAddr) -> Option<HostId> {
    match ip {
        IpAddr::V4(ip) if ip.octets()[0] == 10 => Some(HostId(ip.to_bits() & 0x00ff_ffff)),
        _ => None,
    }
}

impl Part for Inner {
    fn fire(&self, kind: u32, token: u64) {
        let key = Key::unpack(token);
        let side = (kind & 1) as usize;
        let mut wakes = Wakes::default();
        {
            let mut state = self.state();
            match kind & !1 {
                call::ARRIVAL => self.arrive(&mut state, key, side, &mut wakes),
                call::ROOM => {
                    if let Some(tcp) = state.connections.get_mut(key) {
                        wakes.wake(&mut tcp.sides[side].writer);
                    }
                }
                call::RESET => self.break_side(&mut state, key, side, ErrorKind::ConnectionReset, &mut wakes),
                _ => self.silence(&mut state, key, side, &mut wakes),
            }
        }
        wakes.go();
    }

    fn host_down(&self, host: HostId, how: Down) {
        let now_ns = self.control.now_ns();
        let mut state = self.state();
        let state = &mut *state;
        if how == Down::PowerLoss {
            state.dark.push(host);
        }
        for (_, tcp) in state.connections.iter_mut() {
            for side in 0..2 {
                if tcp.sides[side].host != host {
                    continue;
                }
                match how {
                    // A kernel resets what has unread bytes; and whoever restarts quickly resets the rest.
                    Down::Crash => tcp.sides[side].crashed = state.dice.next_u64() & 1 == 0,
                    Down::PowerLoss => {
                        tcp.sides[side].gone = true;
                        // What had left the machine may arrive, up to some point; the rest never existed.
                        let flow = &mut tcp.flows[side];
                        let left = flow
                            .flying
                            .iter()
                            .take_while(|packet| packet.leaves_ns <= now_ns)
                            .count();
                        let kept = scaled(state.dice.next_u64(), left as u64 + 1);
                        flow.flying.truncate(usize::try_from(kept).expect("a length"));
                        flow.flying_bytes = flow.flying.iter().map(Packet::bytes).sum();
                    }
                }
            }
        }
    }

    fn host_up(&self, host: HostId) {
        // Packets that nobody answered meanwhile are sent again, to a kernel that knows nothing of them.
        self.mend(|state| state.dark.retain(|dark| *dark != host));
    }
}

impl State {
    /// Whether packets get from one host to the other and are heard there.
    fn is_heard(&mut self, from: HostId, to: HostId) -> bool {
        // What left a machine before its power went is under way, whoever sent it.
        !self.dark.contains(&to) && self.ways.is_open(from, to)
    }

    /// Whether connections wait for this way however long it takes.
    fn is_patient(&mut self, from: HostId, to: HostId) -> bool {
        let clogged = self.ways.way(from, to).clogged || self.ways.way(to, from).clogged;
        let cut = self.ways.way(from, to).cut || self.ways.way(to, from).cut;
        clogged && !cut && !self.dark.contains(&to)
    }

    /// The hosts at the beginning and the end of a flow.
    fn ends(&self, key: Key, side: usize) -> Option<(HostId, HostId)> {
        let sides = &self.connections.get(key)?.sides;
        Some((sides[side].host, sides[1 - side].host))
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn call_at(&self, state: &State, at_ns: u64, what: u32, side: usize, key: Key) {
        if let Some(seat) = state.seat {
            self.control
                .call_at(seat, at_ns, what | u32::from(side == 1), key.pack());
        }
    }

    /// Puts a packet on the way from a side.
    fn send(&self, state: &mut State, key: Key, side: usize, what: What, wakes: &mut Wakes) {
        let now_ns = self.control.now_ns();
        let Some(tcp) = state.connections.get_mut(key) else {
            return;
        };
        let (from, to) = (tcp.sides[side].host, tcp.sides[1 - side].host);
        let mut packet = Packet {
            leaves_ns: now_ns,
            at_ns: now_ns,
            what,
        };
        let bytes = packet.bytes();
        match state.ways.send(from, to, bytes, now_ns, &mut state.dice) {
            Fate::Arrives { leaves_ns, at_ns } => (packet.leaves_ns, packet.at_ns) = (leaves_ns, at_ns),
            Fate::Lost => {
                // The other side hears of it, or is left waiting: both happen.
                let throw = state.dice.next_u64();
                if throw & 1 == 0 {
                    self.call_at(state, now_ns + (throw >> 32), call::RESET, 1 - side, key);
                }
                self.break_side(state, key, side, ErrorKind::TimedOut, wakes);
                return;
            }
            Fate::Resets => {
                self.reset(state, key, wakes);
                return;
            }
        }
        let flow = &mut tcp.flows[side];
        packet.at_ns = packet.at_ns.max(flow.last_ns);
        flow.last_ns = packet.at_ns;
        flow.flying.push_back(packet);
        flow.flying_bytes += bytes;
        // Of those that wait behind others, the first one's call takes care.
        if flow.flying.len() == 1 {
            self.call_next(state, key, side);
        }
    }
}
