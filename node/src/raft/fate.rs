//! The end of a node that cannot go on: one reason, told to all who wait for it.

use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

/// Whether the node can go on.
#[derive(Default)]
pub(super) struct Fate {
    reason: Mutex<Option<String>>,
    failed: Notify,
}

impl Fate {
    /// The node cannot go on. The first reason counts.
    pub(super) fn fail(&self, reason: String) {
        let mut first = self.reason.lock().unwrap_or_else(PoisonError::into_inner);
        if first.is_none() {
            tracing::error!(reason, "this node cannot go on");
            *first = Some(reason);
            self.failed.notify_waiters();
        }
    }

    /// Why the node cannot go on, if so.
    pub(super) fn reason(&self) -> Option<String> {
        self.reason.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until the node cannot go on.
    pub(super) async fn failed(&self) -> String {
        loop {
            let mut failed = std::pin::pin!(self.failed.notified());
            failed.as_mut().enable();
            if let Some(reason) = self.reason() {
                return reason;
            }
            failed.await;
        }
    }
}
