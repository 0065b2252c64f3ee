//! The word that it is time to end, told once to everyone who waits for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

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
        // In the queue before the look at the flag: nothing falls between the two.
        let told = self.0.told.notified();
        if !self.is_begun() {
            told.await;
        }
    }
}
