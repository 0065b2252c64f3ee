//! Tasks: started, waited for, ended; and the ways out of them for work that blocks.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::oneshot;

use super::engine::{self, TaskHandle};
use super::tokio_backend::{self, Thread};

/// Starts a task. The name says what it does, for traces and panics.
pub fn spawn<T: Send + 'static>(name: &'static str, future: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
    match engine::current() {
        Some(engine) => {
            let (result, task) = reported(future);
            JoinHandle(Inner::Engine {
                result,
                task: engine.spawn(name, Box::pin(task)),
            })
        }
        None => JoinHandle(Inner::Tokio(tokio_backend::spawn(future))),
    }
}

/// Drives a future that blocks for long stretches (the journal's commit loop sits in `fdatasync`): in production on an
/// OS thread of its own, in a simulation as a plain task.
pub fn dedicated(name: &'static str, future: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
    match engine::current() {
        Some(_) => spawn(name, future),
        None => {
            let (result, task) = reported(future);
            JoinHandle(Inner::Thread {
                result,
                thread: tokio_backend::thread(name, task),
            })
        }
    }
}

/// Runs a function that blocks: in production on the pool for that, in a simulation in place, after giving way once.
///
/// # Errors
/// If the function panicked, or the runtime is ending.
pub fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> impl Future<Output = Result<T, JoinError>> + Send {
    let running = match engine::current() {
        Some(_) => Err(work),
        None => Ok(tokio_backend::blocking(work)),
    };
    async move {
        match running {
            Ok(handle) => handle.await.map_err(JoinError::from),
            Err(work) => {
                yield_now().await;
                Ok(work())
            }
        }
    }
}

/// Drives a future that blocks (a call of the seam Disk): in production on the pool for that, in a simulation in place.
///
/// # Errors
/// If the future panicked, or the runtime is ending.
pub fn offload<F>(future: F) -> impl Future<Output = Result<F::Output, JoinError>> + Send
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    let running = match engine::current() {
        Some(_) => Err(future),
        None => Ok(tokio_backend::offload(future)),
    };
    async move {
        match running {
            Ok(handle) => handle.await.map_err(JoinError::from),
            Err(future) => Ok(future.await),
        }
    }
}

/// Lets others run once.
pub async fn yield_now() {
    let mut yielded = false;
    poll_fn(|cx| {
        if yielded {
            return Poll::Ready(());
        }
        yielded = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// A started task. Dropping it lets the task run on alone.
#[must_use = "a task whose end nobody awaits should be detached on purpose: `drop(handle)`"]
pub struct JoinHandle<T>(Inner<T>);

enum Inner<T> {
    Tokio(tokio::task::JoinHandle<T>),
    Thread {
        result: oneshot::Receiver<Result<T, JoinError>>,
        thread: Thread,
    },
    Engine {
        result: oneshot::Receiver<Result<T, JoinError>>,
        task: Arc<dyn TaskHandle>,
    },
}

impl<T> JoinHandle<T> {
    /// Ends the task where it next waits. Work in a [`dedicated`] thread's system call is not interrupted.
    pub fn abort(&self) {
        match &self.0 {
            Inner::Tokio(handle) => handle.abort(),
            Inner::Thread { thread, .. } => thread.abort(),
            Inner::Engine { task, .. } => task.abort(),
        }
    }

    /// Whether the task has ended.
    pub fn is_finished(&self) -> bool {
        match &self.0 {
            Inner::Tokio(handle) => handle.is_finished(),
            Inner::Thread { thread, .. } => thread.is_finished(),
            Inner::Engine { task, .. } => task.is_finished(),
        }
    }
}

impl<T> Future for JoinHandle<T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            Inner::Tokio(handle) => Pin::new(handle).poll(cx).map(|ended| ended.map_err(JoinError::from)),
            Inner::Thread { result, .. } | Inner::Engine { result, .. } => Pin::new(result)
                .poll(cx)
                .map(|ended| ended.unwrap_or(Err(JoinError { panicked: false }))),
        }
    }
}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinHandle")
            .field("finished", &self.is_finished())
            .finish()
    }
}

/// A task ended without a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the task {}", if *panicked { "panicked" } else { "was ended before it was done" })]
pub struct JoinError {
    panicked: bool,
}

impl JoinError {
    /// Whether it panicked; otherwise it was aborted, or its runtime ended.
    pub fn is_panic(&self) -> bool {
        self.panicked
    }
}

impl From<tokio::task::JoinError> for JoinError {
    fn from(error: tokio::task::JoinError) -> Self {
        Self {
            panicked: error.is_panic(),
        }
    }
}

/// A future whose result, or panic, is reported to a receiver.
fn reported<T: Send + 'static>(
    future: impl Future<Output = T> + Send + 'static,
) -> (
    oneshot::Receiver<Result<T, JoinError>>,
    impl Future<Output = ()> + Send + 'static,
) {
    let (sender, receiver) = oneshot::channel();
    let mut report = Report(Some(sender));
    let task = async move {
        let output = future.await;
        report.send(Ok(output));
    };
    (receiver, task)
}

struct Report<T>(Option<oneshot::Sender<Result<T, JoinError>>>);

impl<T> Report<T> {
    fn send(&mut self, ended: Result<T, JoinError>) {
        if let Some(sender) = self.0.take() {
            // Nobody may be waiting: that is what detaching means.
            drop(sender.send(ended));
        }
    }
}

impl<T> Drop for Report<T> {
    fn drop(&mut self) {
        let panicked = std::thread::panicking();
        self.send(Err(JoinError { panicked }));
    }
}
