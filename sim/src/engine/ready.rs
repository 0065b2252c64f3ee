//! Who can run: tasks that were woken, in the order of waking, from which the engine picks by a throw.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Wake;

use net::rt::engine::TaskHandle;

use super::slots::Key;

/// The woken tasks. It has a lock of its own, so that anything may wake anything while it holds the engine's.
#[derive(Debug, Default)]
pub(super) struct Ready(Mutex<Vec<Entry>>);

/// A task that was woken, or the future that [`super::Engine::run_until`] is running.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    Main,
    Task(Key),
}

impl Ready {
    pub(super) fn lock(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a task's wakers and its handle share.
#[derive(Debug)]
pub(super) struct TaskRef {
    entry: Entry,
    ready: Arc<Ready>,
    /// It is among the ready ones, or will be put there: waking it again is nothing new.
    queued: AtomicBool,
    aborted: AtomicBool,
    finished: AtomicBool,
}

impl TaskRef {
    pub(super) fn new(entry: Entry, ready: Arc<Ready>) -> Arc<Self> {
        let no = || AtomicBool::new(false);
        Arc::new(Self {
            entry,
            ready,
            queued: no(),
            aborted: no(),
            finished: no(),
        })
    }

    /// It has been picked, and may be woken again from now on.
    pub(super) fn picked(&self) {
        self.queued.store(false, Ordering::Relaxed);
    }

    pub(super) fn finish(&self) {
        self.finished.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_aborted(&self) -> bool {
        self.aborted.load(Ordering::Relaxed)
    }
}

impl Wake for TaskRef {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.finished.load(Ordering::Relaxed) && !self.queued.swap(true, Ordering::Relaxed) {
            self.ready.lock().push(self.entry);
        }
    }
}

/// The handle is the shared part itself. (A newtype, for the traits of both sides are foreign.)
pub(super) struct Handle(pub(super) Arc<TaskRef>);

impl TaskHandle for Handle {
    fn abort(&self) {
        self.0.aborted.store(true, Ordering::Relaxed);
        self.0.wake_by_ref();
    }

    fn is_finished(&self) -> bool {
        self.0.finished.load(Ordering::Relaxed)
    }
}
