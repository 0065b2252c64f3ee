//! One stream that somebody waits for: what was told of it last, and whom to wake.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicUsize},
    task::{Poll, Waker},
};

use super::shared::{Event, Place, Shared};
use crate::stream::{Standing, StreamName};

/// What a reader learns when it asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum News {
    /// Look at the stream yourself.
    Look,
    /// The stream stands there, or is ahead of that by now.
    At(Standing),
    /// The stream is gone. Another of its name may be there by now.
    Gone,
    /// The node is ending: wait elsewhere.
    Over,
}

/// A stream, and its readers.
pub(super) struct Topic {
    pub(super) stream: StreamName,
    pub(super) group: u32,
    bell: Mutex<Bell>,
    shared: Mutex<Shared>,
}

#[derive(Default)]
struct Bell {
    /// Counts the changes.
    rung: u64,
    /// What was told with the last one, if that is known.
    told: Option<News>,
    /// One for each waiter: whom to wake at the next change.
    wakers: Vec<Option<Waker>>,
    free: Vec<usize>,
}

impl Topic {
    pub(super) fn new(stream: StreamName, group: u32, shared_bytes: Arc<AtomicUsize>) -> Self {
        Self {
            stream,
            group,
            bell: Mutex::default(),
            shared: Mutex::new(Shared::new(shared_bytes)),
        }
    }

    fn bell(&self) -> MutexGuard<'_, Bell> {
        self.bell.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives a waiter its slot, and the number of changes so far.
    pub(super) fn enter(&self) -> (usize, u64) {
        let mut bell = self.bell();
        let slot = match bell.free.pop() {
            Some(slot) => slot,
            None => {
                bell.wakers.push(None);
                bell.wakers.len() - 1
            }
        };
        (slot, bell.rung)
    }

    pub(super) fn leave(&self, slot: usize) {
        let mut bell = self.bell();
        let waker = bell.wakers[slot].take();
        bell.free.push(slot);
        drop(bell);
        drop(waker);
    }

    /// Something changed, to this standing if that is known, and if the stream is still there; wakes everybody.
    pub(super) fn ring(&self, standing: Option<Option<Standing>>) {
        let mut bell = self.bell();
        bell.rung += 1;
        bell.told = standing.map(|standing| standing.map_or(News::Gone, News::At));
        let woken: Vec<Waker> = bell.wakers.iter_mut().filter_map(Option::take).collect();
        drop(bell);
        woken.into_iter().for_each(Waker::wake);
    }

    /// The number of changes, and what was told with the last.
    pub(super) fn told(&self) -> (u64, Option<News>) {
        let bell = self.bell();
        (bell.rung, bell.told)
    }

    pub(super) fn poll_change(&self, slot: usize, seen: u64, waker: &Waker) -> Poll<()> {
        let mut bell = self.bell();
        if bell.rung != seen {
            return Poll::Ready(());
        }
        match &mut bell.wakers[slot] {
            Some(known) => known.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
        Poll::Pending
    }

    /// See [`super::Waiter::shared`]. The lock is held while the event is made, so that it is made once.
    pub(super) fn shared(&self, place: Place, make: impl FnOnce() -> Option<Event>) -> Option<Event> {
        let others = {
            let bell = self.bell();
            bell.wakers.len() - bell.free.len() > 1
        };
        if !others {
            return make();
        }
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(event) = shared.find(place) {
            return Some(event);
        }
        let event = make()?;
        shared.keep(place, event.clone());
        Some(event)
    }
}
