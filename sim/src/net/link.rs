//! The ways between hosts: how long, how wide, how lossy, and whether they are open at all.

use std::time::Duration;

use rand::Rng;

use crate::engine::{HostId, scaled};

/// The quality of the way from one host to another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Link {
    /// How long a packet travels at least.
    pub latency: Duration,
    /// How much longer it may take, by a throw; now and then eight times as much.
    pub jitter: Duration,
    /// How likely a packet is lost (0 to 1). TCP sends it again: the connection stalls, and dies of too many in a row.
    pub loss: f64,
    /// How likely a packet makes the whole connection be reset (0 to 1).
    pub reset: f64,
    /// Bytes in a second, all connections together; `None`: any number.
    pub bandwidth: Option<u64>,
}

impl Default for Link {
    fn default() -> Self {
        Self {
            latency: Duration::from_micros(200),
            jitter: Duration::from_micros(300),
            loss: 0.0,
            reset: 0.0,
            bandwidth: None,
        }
    }
}

/// One direction between two hosts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Way {
    pub(super) link: Link,
    /// Nothing gets through; connections die of it.
    pub(super) cut: bool,
    /// Nothing gets through until it is opened; connections wait for it.
    pub(super) clogged: bool,
    /// Until when packets already sent keep the link busy.
    busy_until: u64,
}

impl Way {
    pub(super) fn is_open(&self) -> bool {
        !self.cut && !self.clogged
    }
}

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It leaves and arrives at these moments.
    Arrives { leaves_ns: u64, at_ns: u64 },
    /// It is lost, again and again.
    Lost,
    /// It provokes a reset.
    Resets,
}

/// All ways, by the numbers of their ends.
#[derive(Debug)]
pub(super) struct Ways {
    usual: Link,
    rows: Vec<Vec<Way>>,
}

/// How long TCP waits before it sends a lost packet again, the first time; then twice as long, each time.
const RETRANSMIT_NS: u64 = 200_000_000;
/// After so many losses in a row a connection is given up.
const LOSSES_MAX: u32 = 6;

impl Ways {
    pub(super) fn new(usual: Link) -> Self {
        Self {
            usual,
            rows: Vec::new(),
        }
    }

    pub(super) fn way(&mut self, from: HostId, to: HostId) -> &mut Way {
        let (from, to) = (from.index(), to.index());
        let fresh = Way {
            link: self.usual,
            cut: false,
            clogged: false,
            busy_until: 0,
        };
        if self.rows.len() <= from {
            self.rows.resize(from + 1, Vec::new());
        }
        let row = &mut self.rows[from];
        if row.len() <= to {
            row.resize(to + 1, fresh);
        }
        &mut row[to]
    }

    /// Whether packets get from one host to the other.
    pub(super) fn is_open(&mut self, from: HostId, to: HostId) -> bool {
        from == to || self.way(from, to).is_open()
    }

    /// Every way is open and as usual.
    pub(super) fn mend(&mut self) {
        for way in self.rows.iter_mut().flatten() {
            *way = Way {
                link: self.usual,
                cut: false,
                clogged: false,
                busy_until: way.busy_until,
            };
        }
    }

    /// How long a packet travels, by a throw.
    pub(super) fn travel_ns(&mut self, from: HostId, to: HostId, dice: &mut impl Rng) -> u64 {
        let throw = dice.next_u64();
        if from == to {
            return 5_000 + scaled(throw, 15_000);
        }
        let link = self.way(from, to).link;
        let far = if throw & 63 == 0 { 8 } else { 1 };
        nanos(link.latency) + scaled(throw, nanos(link.jitter) * far + 1)
    }

    /// Sends a packet.
    pub(super) fn send(&mut self, from: HostId, to: HostId, bytes: usize, now_ns: u64, dice: &mut impl Rng) -> Fate {
        let travel = self.travel_ns(from, to, dice);
        let mut leaves_ns = now_ns;
        let mut delay = 0;
        if from != to {
            let way = self.way(from, to);
            if let Some(bandwidth) = way.link.bandwidth {
                let takes = bytes as u64 * 1_000_000_000 / bandwidth.max(1);
                leaves_ns = way.busy_until.max(now_ns) + takes;
                way.busy_until = leaves_ns;
            }
            if way.link.reset > 0.0 && chance(dice, way.link.reset) {
                return Fate::Resets;
            }
            if way.link.loss > 0.0 {
                let mut losses = 0;
                while chance(dice, way.link.loss) {
                    delay += RETRANSMIT_NS << losses;
                    losses += 1;
                    if losses == LOSSES_MAX {
                        return Fate::Lost;
                    }
                }
            }
        }
        Fate::Arrives {
            leaves_ns,
            at_ns: leaves_ns + travel + delay,
        }
    }
}

pub(super) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// A throw that succeeds so often (0 to 1).
pub(super) fn chance(dice: &mut impl Rng, likely: f64) -> bool {
    ((dice.next_u64() >> 11) as f64) < likely * (1_u64 << 53) as f64
}
