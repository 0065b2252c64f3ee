//! What becomes of packets under way: they arrive, wait for a way to open, or their connection breaks.

use std::io::ErrorKind;

use rand::Rng;

use super::flow::{Side, Wakes, What};
use super::{Inner, State, call};
use crate::engine::slots::Key;
use crate::engine::{HostId, scaled};

/// The longest that TCP waits between two attempts to be heard.
const RETRY_NS_MAX: u64 = 2_000_000_000;

impl Inner {
    /// The first packets of a flow are there, if the way is open.
    pub(super) fn arrive(&self, state: &mut State, key: Key, side: usize, wakes: &mut Wakes) {
        let now_ns = self.control.now_ns();
        let Some((from, to)) = state.ends(key, side) else {
            return;
        };
        let heard = state.is_heard(from, to);
        let answered = heard && state.is_heard(to, from) && !state.dark.contains(&from);
        let Some(tcp) = state.connections.get_mut(key) else {
            return;
        };
        let there = tcp.sides[1 - side].takes();
        let mut delivered = 0;
        let mut end = None;
        {
            let flow = &mut tcp.flows[side];
            flow.called = false;
            while heard && end.is_none() {
                // Whoever is not there says so; until that can be heard the packet is sent again and again.
                if !there && !answered {
                    break;
                }
                let Some(packet) = flow.take(now_ns) else { break };
                delivered += packet.bytes() + 1;
                match packet.what {
                    What::Data(data) if there => flow.deliver(data),
                    What::Data(_) => end = Some(1 - side),
                    What::End => flow.ended = true,
                    What::Reset => end = Some(side),
                }
            }
        }
        if delivered > 0 {
            wakes.wake(&mut tcp.sides[1 - side].reader);
            self.control.tell(
                to,
                key.pack() ^ (delivered as u64) << 20,
                format_args!("{delivered} bytes arrive"),
            );
        }
        match end {
            Some(by) if by == side => self.break_side(state, key, 1 - side, ErrorKind::ConnectionReset, wakes),
            Some(_) => {
                tcp.flows[side].lose();
                let back = state.ways.travel_ns(to, from, &mut state.dice);
                self.call_at(state, now_ns + back, call::RESET, side, key);
            }
            None => {
                let due = tcp.flows[side]
                    .flying
                    .front()
                    .is_some_and(|packet| packet.at_ns <= now_ns);
                if !answered && (due || delivered > 0) {
                    self.block(state, key, side);
                }
                if heard && !due {
                    self.call_next(state, key, side);
                }
            }
        }
    }

    /// The first packet under way will have to be looked at.
    pub(super) fn call_next(&self, state: &mut State, key: Key, side: usize) {
        let Some(tcp) = state.connections.get_mut(key) else {
            return;
        };
        let flow = &mut tcp.flows[side];
        if let Some(packet) = flow.flying.front()
            && !flow.called
        {
            flow.called = true;
            let at_ns = packet.at_ns;
            self.call_at(state, at_ns, call::ARRIVAL, side, key);
        }
    }

    /// Packets of a side, or what acknowledges them, do not get through. It bears that for a while.
    pub(super) fn block(&self, state: &mut State, key: Key, side: usize) {
        let now_ns = self.control.now_ns();
        let Some((from, to)) = state.ends(key, side) else {
            return;
        };
        let waits = state.is_patient(from, to);
        let Some(tcp) = state.connections.get_mut(key) else {
            return;
        };
        if tcp.flows[side].blocked_since.is_none() {
            tcp.flows[side].blocked_since = Some(now_ns);
            let at_ns = now_ns + tcp.patience_ns;
            if !waits {
                self.call_at(state, at_ns, call::SILENCE, side, key);
            }
        }
    }

    /// A side has not been heard for as long as it bears.
    pub(super) fn silence(&self, state: &mut State, key: Key, side: usize, wakes: &mut Wakes) {
        let now_ns = self.control.now_ns();
        let Some((from, to)) = state.ends(key, side) else {
            return;
        };
        let waits = state.is_patient(from, to);
        let Some(tcp) = state.connections.get_mut(key) else {
            return;
        };
        if !waits
            && tcp.flows[side]
                .blocked_since
                .is_some_and(|since| now_ns >= since + tcp.patience_ns)
        {
            self.break_side(state, key, side, ErrorKind::TimedOut, wakes);
        }
    }

    /// The kernel of a side gives the connection up. The other side hears of it when it sends something.
    pub(super) fn break_side(&self, state: &mut State, key: Key, side: usize, kind: ErrorKind, wakes: &mut Wakes) {
        let State { connections, dice, .. } = state;
        let Some(tcp) = connections.get_mut(key) else { return };
        if tcp.sides[side].gone {
            return;
        }
        let it = &mut tcp.sides[side];
        (it.gone, it.error) = (true, Some(kind));
        wakes.both(it);
        tcp.flows[side].lose();
        // What has arrived may still be read, or not.
        if dice.next_u64() & 1 == 0 {
            tcp.flows[1 - side].forget();
        }
        self.control.tell(
            tcp.sides[side].host,
            key.pack() ^ 0xe44,
            format_args!("a connection breaks: {kind}"),
        );
    }

    /// Both sides are told at once that the connection is no more.
    pub(super) fn reset(&self, state: &mut State, key: Key, wakes: &mut Wakes) {
        for side in 0..2 {
            self.break_side(state, key, side, ErrorKind::ConnectionReset, wakes);
        }
    }

    pub(super) fn reset_where(&self, struck: impl Fn(&[Side; 2]) -> bool) {
        let mut wakes = Wakes::default();
        {
            let mut state = self.state();
            let keys: Vec<Key> = state
                .connections
                .iter()
                .filter(|(_, tcp)| struck(&tcp.sides))
                .map(|(key, _)| key)
                .collect();
            for key in keys {
                self.reset(&mut state, key, &mut wakes);
            }
        }
        wakes.go();
    }

    /// Ways are opened by a change, and what waited for them goes on.
    pub(super) fn mend(&self, change: impl FnOnce(&mut State)) {
        let now_ns = self.control.now_ns();
        let mut state = self.state();
        let state = &mut *state;
        change(state);
        self.control
            .tell(HostId::WORLD, 0x3ea1, format_args!("ways are opened"));
        let keys: Vec<Key> = state.connections.iter().map(|(key, _)| key).collect();
        for (key, side) in keys.into_iter().flat_map(|key| [(key, 0), (key, 1)]) {
            let Some((from, to)) = state.ends(key, side) else {
                continue;
            };
            let heard = state.is_heard(from, to);
            let told = state.is_heard(to, from);
            let Some(tcp) = state.connections.get_mut(key) else {
                continue;
            };
            let flow = &mut tcp.flows[side];
            if told && flow.untold > 0 {
                flow.untold = 0;
                self.call_at(state, now_ns, call::ROOM, side, key);
            }
            let Some(tcp) = state.connections.get_mut(key) else {
                continue;
            };
            let flow = &mut tcp.flows[side];
            let Some(since) = flow.blocked_since.filter(|_| heard) else {
                continue;
            };
            if told {
                flow.blocked_since = None;
            }
            // TCP tries again at growing intervals: the longer it was shut, the later the opening is noticed.
            let noticed = scaled(state.dice.next_u64(), (now_ns - since).min(RETRY_NS_MAX) + 1);
            flow.delay(now_ns + noticed);
            self.call_next(state, key, side);
        }
    }
}
