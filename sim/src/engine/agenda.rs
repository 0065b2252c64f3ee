//! What is to happen when: one heap of moments, and the timers that tasks sleep by.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::task::Waker;

use super::hosts::HostId;
use super::slots::{Key, Slots};

/// Something due at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Due {
    /// A sleeper's timer.
    Timer(Key),
    /// A ready task that was put off comes back.
    Deferred(Key),
    /// A part of the false world asked to be called.
    Part { part: usize, kind: u32, token: u64 },
}

/// Moments, the earliest first; of the same moment, the one first asked for.
#[derive(Default)]
pub(super) struct Agenda {
    heap: BinaryHeap<Reverse<(u64, u64, Due)>>,
    asked: u64,
    timers: Slots<Timer>,
    /// Entries of the heap whose timer has been cancelled or moved.
    stale: usize,
}

/// A sleeper.
pub(super) struct Timer {
    pub(super) host: HostId,
    /// When it wants to be woken, by the clock of its host.
    pub(super) at_local: u64,
    waker: Option<Waker>,
    /// Which entry of the heap is its own: others are stale.
    armed: Option<u64>,
}

impl Agenda {
    pub(super) fn at(&mut self, at_ns: u64, due: Due) -> u64 {
        self.asked += 1;
        self.heap.push(Reverse((at_ns, self.asked, due)));
        self.asked
    }

    /// The moment of the next thing.
    pub(super) fn next(&mut self) -> Option<u64> {
        loop {
            let Reverse((at, asked, due)) = *self.heap.peek()?;
            if self.is_live(asked, due) {
                return Some(at);
            }
            self.heap.pop();
            self.stale = self.stale.saturating_sub(1);
        }
    }

    /// Takes the next thing, if it is due.
    pub(super) fn pop(&mut self, now_ns: u64) -> Option<Due> {
        while let Some(Reverse((at, asked, due))) = self.heap.peek().copied() {
            if at > now_ns {
                return None;
            }
            self.heap.pop();
            if self.is_live(asked, due) {
                return Some(due);
            }
            self.stale = self.stale.saturating_sub(1);
        }
        None
    }

    fn is_live(&self, asked: u64, due: Due) -> bool {
        match due {
            Due::Timer(key) => self.timers.get(key).is_some_and(|timer| timer.armed == Some(asked)),
            Due::Deferred(_) | Due::Part { .. } => true,
        }
    }

    /// A new timer. `at_ns` is `at_local` in true time.
    pub(super) fn arm(&mut self, host: HostId, at_local: u64, at_ns: u64, waker: Waker) -> Key {
        let key = self.timers.insert(Timer {
            host,
            at_local,
            waker: Some(waker),
            armed: None,
        });
        self.move_to(key, at_ns);
        key
    }

    /// Moves a timer to another moment.
    pub(super) fn move_to(&mut self, key: Key, at_ns: u64) {
        let asked = self.at(at_ns, Due::Timer(key));
        if let Some(timer) = self.timers.get_mut(key)
            && timer.armed.replace(asked).is_some()
        {
            self.stale += 1;
        }
    }

    pub(super) fn timer(&self, key: Key) -> Option<&Timer> {
        self.timers.get(key)
    }

    /// The timer has rung: its waker, to be woken.
    pub(super) fn ring(&mut self, key: Key) -> Option<Waker> {
        let timer = self.timers.get_mut(key)?;
        timer.armed = None;
        timer.waker.take()
    }

    /// Whom to wake when it rings; returns the waker it had, to be dropped by whoever holds no lock.
    pub(super) fn set_waker(&mut self, key: Key, waker: &Waker) -> Option<Waker> {
        let timer = self.timers.get_mut(key)?;
        if timer.waker.as_ref().is_some_and(|old| old.will_wake(waker)) {
            return None;
        }
        timer.waker.replace(waker.clone())
    }

    /// Whether the timer still has a moment to ring at.
    pub(super) fn is_armed(&self, key: Key) -> bool {
        self.timers.get(key).is_some_and(|timer| timer.armed.is_some())
    }

    /// Forgets a timer; returns it, to be dropped by whoever holds no lock.
    pub(super) fn cancel(&mut self, key: Key) -> Option<Timer> {
        let timer = self.timers.remove(key)?;
        if timer.armed.is_some() {
            self.stale += 1;
        }
        // Deadlines are mostly met: without this the heap would be full of those that were.
        if self.stale > 1_024 && self.stale > self.heap.len() / 2 {
            let timers = &self.timers;
            self.heap.retain(|Reverse((_, asked, due))| match due {
                Due::Timer(key) => timers.get(*key).is_some_and(|timer| timer.armed == Some(*asked)),
                _ => true,
            });
            self.stale = 0;
        }
        Some(timer)
    }

    /// The armed timers of a host, with their moment by its clock.
    pub(super) fn armed_of(&self, host: HostId) -> Vec<(Key, u64)> {
        let armed = |timer: &Timer| timer.host == host && timer.armed.is_some();
        self.timers
            .iter()
            .filter(|(_, timer)| armed(timer))
            .map(|(key, timer)| (key, timer.at_local))
            .collect()
    }

    /// Empties it; returns the timers, to be dropped by whoever holds no lock.
    pub(super) fn clear(&mut self) -> Slots<Timer> {
        self.heap.clear();
        std::mem::take(&mut self.timers)
    }
}
