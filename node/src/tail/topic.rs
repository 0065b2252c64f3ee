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

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        task::Wake,
    };

    use super::*;
    use crate::stream::Offset;

    const READERS: usize = 5_000;

    /// Counts how often readers are woken, and looks at the bell while it is: who rings must not hold it then.
    struct Alarm {
        topic: Arc<Topic>,
        woken: AtomicUsize,
    }

    impl Wake for Alarm {
        fn wake(self: Arc<Self>) {
            assert!(self.topic.bell.try_lock().is_ok(), "woken under the lock");
            self.woken.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn at(tail: u64) -> Option<Option<Standing>> {
        Some(Some(Standing {
            incarnation: 1,
            earliest: Offset(0),
            tail: Offset(tail),
            closed: false,
        }))
    }

    /// Entries are applied on the thread that rings. There is no runtime here: a task that was spawned for a reader would
    /// panic, and a reader that was run is one that looked.
    #[test]
    fn an_append_wakes_each_of_many_readers_once_runs_none_of_them_and_spawns_nothing() {
        let stream = StreamName::flat("a").expect("a name");
        let topic = Arc::new(Topic::new(stream, 0, Arc::default()));
        let alarm = Arc::new(Alarm {
            topic: topic.clone(),
            woken: AtomicUsize::new(0),
        });
        let (waker, looks) = (Waker::from(alarm.clone()), std::cell::Cell::new(0));
        let woken = || alarm.woken.swap(0, Ordering::Relaxed);
        let mut readers: Vec<(usize, u64)> = (0..READERS).map(|_| topic.enter()).collect();
        let look = |readers: &mut Vec<(usize, u64)>| {
            for (slot, seen) in readers {
                *seen = topic.told().0;
                assert_eq!(topic.poll_change(*slot, *seen, &waker), Poll::Pending);
                looks.set(looks.get() + 1);
            }
        };
        look(&mut readers);
        topic.ring(at(1));
        assert_eq!((woken(), looks.get()), (READERS, READERS));
        // Further appends, before anybody had the time to look, find nobody to be woken.
        for tail in 2..1_000 {
            topic.ring(at(tail));
        }
        assert_eq!(woken(), 0);
        // A few have looked by the next one.
        look(&mut readers[..7].to_vec());
        topic.ring(at(1_000));
        assert_eq!(woken(), 7);
        for (slot, seen) in readers {
            assert_eq!(topic.poll_change(slot, seen, &waker), Poll::Ready(()));
            topic.leave(slot);
        }
        topic.ring(at(1_001));
        assert_eq!(woken(), 0);
        assert_eq!(topic.enter().1, 1_001, "every change was counted");
    }
}
