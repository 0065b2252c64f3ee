//! A channel that keeps only the last value, and wakes its waiters first come, first served.
//!
//! tokio's `watch` wakes in an order seeded by the OS, so the same seed would not give the same run.

use std::future::Future;
use std::ops::Deref;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};
use std::task::{Context, Poll, Waker};

use openraft::async_runtime::watch::{RecvError, SendError, Watch, WatchReceiver, WatchSender};
use openraft::{OptionalSend, OptionalSync};

/// The family of types, as openraft wants it.
#[derive(Debug)]
pub(super) struct FifoWatch;

impl Watch for FifoWatch {
    type Sender<T: OptionalSend + OptionalSync> = Sender<T>;
    type Receiver<T: OptionalSend + OptionalSync> = Receiver<T>;
    type Ref<'a, T: OptionalSend + 'a> = Ref<'a, T>;

    fn channel<T: OptionalSend + OptionalSync>(init: T) -> (Sender<T>, Receiver<T>) {
        channel(init)
    }
}

/// A sender and a receiver that has seen the first value.
pub(super) fn channel<T>(init: T) -> (Sender<T>, Receiver<T>) {
    let shared = Arc::new(Shared {
        value: RwLock::new(init),
        desk: Mutex::new(Desk {
            version: 0,
            senders: 1,
            receivers: 1,
            next_ticket: 0,
            waiting: Vec::new(),
        }),
    });
    (Sender { shared: shared.clone() }, Receiver { shared, seen: 0 })
}

struct Shared<T> {
    value: RwLock<T>,
    desk: Mutex<Desk>,
}

/// Who waits, and for what.
struct Desk {
    /// Counts the values sent.
    version: u64,
    senders: usize,
    receivers: usize,
    next_ticket: u64,
    /// In the order they came. Short: a handful of tasks watch one value.
    waiting: Vec<(u64, Waker)>,
}

impl<T> Shared<T> {
    fn desk(&self) -> std::sync::MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self) -> Ref<'_, T> {
        Ref(self.value.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn announce(&self) {
        let waiting = {
            let mut desk = self.desk();
            desk.version += 1;
            std::mem::take(&mut desk.waiting)
        };
        for (_, waker) in waiting {
            waker.wake();
        }
    }
}

/// A look at the value. Holds a read lock: not to be kept across an await.
pub(super) struct Ref<'a, T>(RwLockReadGuard<'a, T>);

impl<T> Deref for Ref<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

/// The sending half.
pub(super) struct Sender<T> {
    shared: Arc<Shared<T>>,
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.shared.desk().senders += 1;
        Self {
            shared: self.shared.clone(),
        }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let waiting = {
            let mut desk = self.shared.desk();
            desk.senders -= 1;
            if desk.senders > 0 {
                return;
            }
            std::mem::take(&mut desk.waiting)
        };
        for (_, waker) in waiting {
            waker.wake();
        }
    }
}

impl<T: OptionalSend + OptionalSync> WatchSender<FifoWatch, T> for Sender<T> {
    fn send(&self, value: T) -> Result<(), SendError<T>> {
        if self.shared.desk().receivers == 0 {
            return Err(SendError(value));
        }
        let old = std::mem::replace(
            &mut *self.shared.value.write().unwrap_or_else(PoisonError::into_inner),
            value,
        );
        self.shared.announce();
        drop(old);
        Ok(())
    }

    fn send_if_modified<F: FnOnce(&mut T) -> bool>(&self, modify: F) -> bool {
        let modified = modify(&mut self.shared.value.write().unwrap_or_else(PoisonError::into_inner));
        if modified {
            self.shared.announce();
        }
        modified
    }

    fn borrow_watched(&self) -> Ref<'_, T> {
        self.shared.read()
    }

    fn subscribe(&self) -> Receiver<T> {
        let seen = {
            let mut desk = self.shared.desk();
            desk.receivers += 1;
            desk.version
        };
        Receiver {
            shared: self.shared.clone(),
            seen,
        }
    }
}

/// The receiving half.
pub(super) struct Receiver<T> {
    shared: Arc<Shared<T>>,
    seen: u64,
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        self.shared.desk().receivers += 1;
        Self {
            shared: self.shared.clone(),
            seen: self.seen,
        }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.shared.desk().receivers -= 1;
    }
}

impl<T: OptionalSend + OptionalSync> WatchReceiver<FifoWatch, T> for Receiver<T> {
    async fn changed(&mut self) -> Result<(), RecvError> {
        Changed {
            shared: &self.shared,
            seen: &mut self.seen,
            ticket: None,
        }
        .await
    }

    fn borrow_watched(&self) -> Ref<'_, T> {
        self.shared.read()
    }

    fn borrow_and_update(&mut self) -> Ref<'_, T> {
        // The lock first: a value sent after the version was read would count as seen without being seen.
        let value = self.shared.read();
        self.seen = self.shared.desk().version;
        value
    }
}

/// Waits until there is a value this receiver has not seen.
struct Changed<'a, T> {
    shared: &'a Shared<T>,
    seen: &'a mut u64,
    ticket: Option<u64>,
}

impl<T> Future for Changed<'_, T> {
    type Output = Result<(), RecvError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let mut desk = this.shared.desk();
        if desk.version != *this.seen {
            *this.seen = desk.version;
            return Poll::Ready(Ok(()));
        }
        if desk.senders == 0 {
            return Poll::Ready(Err(RecvError(())));
        }
        let place = this
            .ticket
            .and_then(|mine| desk.waiting.iter().position(|(ticket, _)| *ticket == mine));
        match place {
            Some(place) => desk.waiting[place].1.clone_from(cx.waker()),
            None => {
                let ticket = desk.next_ticket;
                desk.next_ticket += 1;
                desk.waiting.push((ticket, cx.waker().clone()));
                this.ticket = Some(ticket);
            }
        }
        Poll::Pending
    }
}

impl<T> Drop for Changed<'_, T> {
    fn drop(&mut self) {
        if let Some(mine) = self.ticket {
            self.shared.desk().waiting.retain(|(ticket, _)| *ticket != mine);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn a_value_is_seen_once() {
        let (sender, mut receiver) = channel(1);
        assert!(receiver.changed().now_or_never().is_none());
        sender.send(2).unwrap();
        sender.send(3).unwrap();
        assert_eq!(receiver.changed().now_or_never(), Some(Ok(())));
        assert_eq!(*receiver.borrow_watched(), 3);
        assert!(receiver.changed().now_or_never().is_none());
    }

    #[test]
    fn a_value_sent_before_the_sender_went_is_still_seen() {
        let (sender, mut receiver) = channel(1);
        sender.send(2).unwrap();
        drop(sender);
        assert_eq!(receiver.changed().now_or_never(), Some(Ok(())));
        assert_eq!(receiver.changed().now_or_never(), Some(Err(RecvError(()))));
    }

    #[test]
    fn nobody_hears_a_send_without_receivers() {
        let (sender, receiver) = channel(1);
        drop(receiver);
        assert!(sender.send(2).is_err());
        assert!(sender.send_if_modified(|value| {
            *value = 3;
            true
        }));
        let mut late = sender.subscribe();
        assert_eq!(*late.borrow_watched(), 3);
        assert!(late.changed().now_or_never().is_none());
    }

    #[test]
    fn waiters_wake_in_the_order_they_came() {
        use std::sync::atomic::{AtomicUsize, Ordering};
        use std::task::Wake;

        struct Note(Arc<Mutex<Vec<usize>>>, usize, AtomicUsize);
        impl Wake for Note {
            fn wake(self: Arc<Self>) {
                self.2.fetch_add(1, Ordering::Relaxed);
                self.0.lock().unwrap().push(self.1);
            }
        }
        let order = Arc::new(Mutex::new(Vec::new()));
        let (sender, receiver) = channel(0);
        let mut receivers = vec![receiver; 5];
        let mut waits: Vec<_> = receivers
            .iter_mut()
            .map(|receiver| Box::pin(receiver.changed()))
            .collect();
        for (number, wait) in waits.iter_mut().enumerate() {
            let waker = Waker::from(Arc::new(Note(order.clone(), number, AtomicUsize::new(0))));
            assert!(wait.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        }
        drop(waits.remove(2));
        sender.send(1).unwrap();
        assert_eq!(*order.lock().unwrap(), [0, 1, 3, 4]);
    }
}
