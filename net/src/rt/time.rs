//! Time that only passes: instants, sleeping, deadlines.

use std::fmt;
use std::future::Future;
use std::ops::{Add, AddAssign, Sub, SubAssign};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use pin_project_lite::pin_project;

use super::engine::{self, Engine};
use super::tokio_backend;

/// A moment of the monotonic clock, in nanoseconds since an arbitrary beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// This moment.
    pub fn now() -> Self {
        engine::with(|engine| match engine {
            Some(engine) => Self(engine.now_ns()),
            None => Self(tokio_backend::now_ns()),
        })
    }

    /// The moment so many nanoseconds after the beginning.
    pub fn from_nanos(ns: u64) -> Self {
        Self(ns)
    }

    /// Nanoseconds since the beginning.
    pub fn as_nanos(self) -> u64 {
        self.0
    }

    /// The time since an earlier moment; zero if that one is later.
    pub fn saturating_duration_since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// The time since an earlier moment; zero if that one is later.
    pub fn duration_since(self, earlier: Self) -> Duration {
        self.saturating_duration_since(earlier)
    }

    /// The time since this moment.
    pub fn elapsed(self) -> Duration {
        Self::now().saturating_duration_since(self)
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl Add<Duration> for Instant {
    type Output = Self;
    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(nanos(duration)))
    }
}

impl Sub<Duration> for Instant {
    type Output = Self;
    fn sub(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(nanos(duration)))
    }
}

impl Sub for Instant {
    type Output = Duration;
    fn sub(self, earlier: Self) -> Duration {
        self.saturating_duration_since(earlier)
    }
}

impl AddAssign<Duration> for Instant {
    fn add_assign(&mut self, duration: Duration) {
        *self = *self + duration;
    }
}

impl SubAssign<Duration> for Instant {
    fn sub_assign(&mut self, duration: Duration) {
        *self = *self - duration;
    }
}

/// Waits for so long.
pub fn sleep(duration: Duration) -> Sleep {
    sleep_until(Instant::now() + duration)
}

/// Waits until that moment.
pub fn sleep_until(deadline: Instant) -> Sleep {
    Sleep {
        deadline,
        armed: Armed::Not,
    }
}

/// Waits until a moment. Nothing is armed before the first poll, so one that is never waited for costs nothing.
pub struct Sleep {
    deadline: Instant,
    armed: Armed,
}

enum Armed {
    Not,
    Tokio(Pin<Box<tokio::time::Sleep>>),
    Engine {
        engine: Arc<dyn Engine>,
        timer: Option<u64>,
    },
}

impl Sleep {
    /// The moment it waits for.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Waits for another moment instead; also once it has elapsed.
    pub fn reset(&mut self, deadline: Instant) {
        self.deadline = deadline;
        match &mut self.armed {
            Armed::Not => {}
            Armed::Tokio(sleep) => tokio_backend::reset(sleep.as_mut(), deadline.as_nanos()),
            Armed::Engine { engine, timer } => {
                if let Some(timer) = timer.take() {
                    engine.cancel_timer(timer);
                }
            }
        }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        if let Armed::Not = this.armed {
            this.armed = match engine::current() {
                Some(engine) => Armed::Engine { engine, timer: None },
                None if tokio_backend::now_ns() >= this.deadline.as_nanos() => return Poll::Ready(()),
                None => Armed::Tokio(Box::pin(tokio_backend::sleep_until(this.deadline.as_nanos()))),
            };
        }
        match &mut this.armed {
            Armed::Not => Poll::Ready(()),
            Armed::Tokio(sleep) => sleep.as_mut().poll(cx),
            Armed::Engine { engine, timer } => engine.poll_timer(timer, this.deadline.as_nanos(), cx.waker()),
        }
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Armed::Engine {
            engine,
            timer: Some(timer),
        } = &self.armed
        {
            engine.cancel_timer(*timer);
        }
    }
}

impl fmt::Debug for Sleep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sleep")
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

/// Gives a future so long and no longer.
pub fn timeout<F: Future>(duration: Duration, future: F) -> Timeout<F> {
    timeout_at(Instant::now() + duration, future)
}

/// Gives a future until that moment.
pub fn timeout_at<F: Future>(deadline: Instant, future: F) -> Timeout<F> {
    Timeout {
        future,
        sleep: sleep_until(deadline),
    }
}

pin_project! {
    /// A future and its deadline. The future is asked first: what is ready in time is never thrown away.
    #[derive(Debug)]
    pub struct Timeout<F> {
        #[pin]
        future: F,
        sleep: Sleep,
    }
}

impl<F: Future> Future for Timeout<F> {
    type Output = Result<F::Output, Elapsed>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Poll::Ready(output) = this.future.poll(cx) {
            return Poll::Ready(Ok(output));
        }
        Pin::new(this.sleep).poll(cx).map(|()| Err(Elapsed))
    }
}

/// The deadline passed first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the deadline passed")]
pub struct Elapsed;

impl From<Elapsed> for std::io::Error {
    fn from(elapsed: Elapsed) -> Self {
        Self::new(std::io::ErrorKind::TimedOut, elapsed)
    }
}
