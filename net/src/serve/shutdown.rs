//! The word that it is time to end, told once to everyone who waits for it.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Poll, Waker};

use tokio::sync::Notify;

/// A flag that goes up once. Clones share it; waiters are woken in the order in which they came.
#[derive(Clone, Debug, Default)]
pub struct Shutdown(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    begun: AtomicBool,
    told: Notify,
}

impl Shutdown {
    /// One that has not begun.
    pub fn new() -> Self {
        Self::default()
    }

    /// Tells everyone. Again is nothing new.
    pub fn begin(&self) {
        if !self.0.begun.swap(true, Ordering::AcqRel) {
            self.0.told.notify_waiters();
        }
    }

    /// Whether it has begun.
    pub fn is_begun(&self) -> bool {
        self.0.begun.load(Ordering::Acquire)
    }

    /// Waits until it begins.
    pub async fn begun(&self) {
        // It hears whatever is told from here on.
        let mut told = pin!(self.0.told.notified());
        let mut asked: Option<Waker> = None;
        poll_fn(|cx| {
            if self.is_begun() {
                return Poll::Ready(());
            }
            // Who waits for this waits for something else, too, and is woken for that a thousand times. The queue has a lock
            // that all connections share: one look at it is enough.
            if asked.as_ref().is_some_and(|asked| asked.will_wake(cx.waker())) {
                return Poll::Pending;
            }
            asked = Some(cx.waker().clone());
            told.as_mut().poll(cx)
        })
        .await;
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use futures_util::task::noop_waker;
    use std::task::Context;

    use super::*;

    #[test]
    fn who_waits_is_told_and_who_comes_late_knows_at_once() {
        let shutdown = Shutdown::new();
        let waker = noop_waker();
        let mut cx = Context::from_waker(&waker);
        let mut waiting = pin!(shutdown.begun());
        assert!(waiting.as_mut().poll(&mut cx).is_pending());
        assert!(waiting.as_mut().poll(&mut cx).is_pending());
        shutdown.begin();
        assert!(waiting.as_mut().poll(&mut cx).is_ready());
        assert!(shutdown.begun().now_or_never().is_some());
    }

    #[test]
    fn a_waiter_that_was_moved_to_another_task_is_woken_there() {
        struct Count(std::sync::atomic::AtomicUsize);
        impl std::task::Wake for Count {
            fn wake(self: Arc<Self>) {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }
        let shutdown = Shutdown::new();
        let counts = [0; 2].map(|_| Arc::new(Count(0.into())));
        let mut waiting = pin!(shutdown.begun());
        for count in &counts {
            let waker = count.clone().into();
            assert!(waiting.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        }
        shutdown.begin();
        let woken = counts.map(|count| count.0.load(Ordering::Relaxed));
        assert_eq!(woken, [0, 1]);
    }
}
