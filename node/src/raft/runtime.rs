//! openraft's runtime on [`net::rt`]: the same Raft runs in production and in a simulation.
//!
//! Channels and the mutex are tokio's, which know no runtime and are first in, first out; the watch is ours.
//! Nothing here starts a thread.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::ops::{Add, AddAssign, Sub, SubAssign};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use net::rt;
use openraft::async_runtime::mpsc::{Mpsc, MpscReceiver, MpscSender, MpscWeakSender, SendError, TryRecvError};
use openraft::async_runtime::mutex::Mutex;
use openraft::async_runtime::oneshot::{Oneshot, OneshotSender};
use openraft::async_runtime::{AsyncRuntime, Instant};
use openraft::{OptionalSend, OptionalSync};
use tokio::sync::{mpsc, oneshot};

use super::watch::FifoWatch;

/// [`net::rt`], as openraft wants it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Runtime;

impl AsyncRuntime for Runtime {
    type JoinError = rt::JoinError;
    type JoinHandle<T: OptionalSend + 'static> = rt::JoinHandle<T>;
    type Sleep = Nap;
    type Instant = Moment;
    type TimeoutError = rt::Elapsed;
    type Timeout<R, T: Future<Output = R> + OptionalSend> = rt::Timeout<T>;
    type ThreadLocalRng = Throw;
    type Mpsc = TokioMpsc;
    type Watch = FifoWatch;
    type Oneshot = TokioOneshot;
    type Mutex<T: OptionalSend + 'static> = Lock<T>;

    fn spawn<T>(future: T) -> rt::JoinHandle<T::Output>
    where
        T: Future + OptionalSend + 'static,
        T::Output: OptionalSend + 'static,
    {
        rt::spawn("raft", future)
    }

    fn sleep(duration: Duration) -> Nap {
        Self::sleep_until(Moment::now() + duration)
    }

    fn sleep_until(deadline: Moment) -> Nap {
        let short = deadline - Moment::now() < SHORT;
        Nap {
            sleep: rt::sleep_until(deadline.0),
            short,
            yielded: false,
        }
    }

    fn timeout<R, F: Future<Output = R> + OptionalSend>(duration: Duration, future: F) -> rt::Timeout<F> {
        rt::timeout(duration, future)
    }

    fn timeout_at<R, F: Future<Output = R> + OptionalSend>(deadline: Moment, future: F) -> rt::Timeout<F> {
        rt::timeout_at(deadline.0, future)
    }

    fn is_panic(join_error: &rt::JoinError) -> bool {
        join_error.is_panic()
    }

    fn thread_rng() -> Throw {
        Throw
    }

    fn new(_threads: usize) -> Self {
        Self
    }

    fn block_on<F: Future<Output = T>, T>(&mut self, future: F) -> T {
        // Only openraft's own test suites call this; a node is driven by whoever started it.
        rt::block_on(future).expect("a test machine gives threads")
    }

    async fn spawn_blocking<F, T>(work: F) -> Result<T, io::Error>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        rt::blocking(work).await.map_err(io::Error::other)
    }
}

/// Sleeps below this only give way once. openraft gathers completed IO for a microsecond, which a timer that counts
/// milliseconds would make a thousand.
const SHORT: Duration = Duration::from_micros(100);

/// A sleep; a very short one is a yield.
#[derive(Debug)]
pub(super) struct Nap {
    sleep: rt::Sleep,
    short: bool,
    yielded: bool,
}

impl Future for Nap {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if !self.short {
            return Pin::new(&mut self.sleep).poll(cx);
        }
        if self.yielded {
            return Poll::Ready(());
        }
        self.yielded = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// A moment of [`rt::Instant`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment(pub rt::Instant);

impl Instant for Moment {
    fn now() -> Self {
        Self(rt::Instant::now())
    }
}

impl Add<Duration> for Moment {
    type Output = Self;
    fn add(self, duration: Duration) -> Self {
        Self(self.0 + duration)
    }
}

impl Sub<Duration> for Moment {
    type Output = Self;
    fn sub(self, duration: Duration) -> Self {
        Self(self.0 - duration)
    }
}

impl Sub for Moment {
    type Output = Duration;
    fn sub(self, earlier: Self) -> Duration {
        self.0.saturating_duration_since(earlier.0)
    }
}

impl AddAssign<Duration> for Moment {
    fn add_assign(&mut self, duration: Duration) {
        self.0 = self.0 + duration;
    }
}

impl SubAssign<Duration> for Moment {
    fn sub_assign(&mut self, duration: Duration) {
        self.0 = self.0 - duration;
    }
}

/// Chance for election timeouts: every number is thrown by [`rt::random_u64`], so a simulation decides them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Throw;

impl rand::TryRng for Throw {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok((rt::random_u64() >> 32) as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(rt::random_u64())
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        for piece in bytes.chunks_mut(8) {
            piece.copy_from_slice(&rt::random_u64().to_le_bytes()[..piece.len()]);
        }
        Ok(())
    }
}

/// tokio's bounded channel.
#[derive(Debug)]
pub(super) struct TokioMpsc;

/// Sender of [`TokioMpsc`].
pub(super) struct MpscTx<T>(mpsc::Sender<T>);
/// Receiver of [`TokioMpsc`].
pub(super) struct MpscRx<T>(mpsc::Receiver<T>);
/// Weak sender of [`TokioMpsc`].
pub(super) struct MpscWeakTx<T>(mpsc::WeakSender<T>);

impl<T> Clone for MpscTx<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Clone for MpscWeakTx<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl Mpsc for TokioMpsc {
    type Sender<T: OptionalSend> = MpscTx<T>;
    type Receiver<T: OptionalSend> = MpscRx<T>;
    type WeakSender<T: OptionalSend> = MpscWeakTx<T>;

    fn channel<T: OptionalSend>(buffer: usize) -> (MpscTx<T>, MpscRx<T>) {
        let (sender, receiver) = mpsc::channel(buffer);
        (MpscTx(sender), MpscRx(receiver))
    }
}

impl<T: OptionalSend> MpscSender<TokioMpsc, T> for MpscTx<T> {
    async fn send(&self, message: T) -> Result<(), SendError<T>> {
        self.0.send(message).await.map_err(|error| SendError(error.0))
    }

    fn downgrade(&self) -> MpscWeakTx<T> {
        MpscWeakTx(self.0.downgrade())
    }
}

impl<T: OptionalSend> MpscReceiver<T> for MpscRx<T> {
    async fn recv(&mut self) -> Option<T> {
        self.0.recv().await
    }

    fn try_recv(&mut self) -> Result<T, TryRecvError> {
        self.0.try_recv().map_err(|error| match error {
            mpsc::error::TryRecvError::Empty => TryRecvError::Empty,
            mpsc::error::TryRecvError::Disconnected => TryRecvError::Disconnected,
        })
    }
}

impl<T: OptionalSend> MpscWeakSender<TokioMpsc, T> for MpscWeakTx<T> {
    fn upgrade(&self) -> Option<MpscTx<T>> {
        self.0.upgrade().map(MpscTx)
    }
}

/// tokio's one-shot channel.
#[derive(Debug)]
pub(super) struct TokioOneshot;

/// Sender of [`TokioOneshot`].
pub(super) struct OneshotTx<T>(oneshot::Sender<T>);

impl Oneshot for TokioOneshot {
    type Sender<T: OptionalSend> = OneshotTx<T>;
    type Receiver<T: OptionalSend> = oneshot::Receiver<T>;
    type ReceiverError = oneshot::error::RecvError;

    fn channel<T: OptionalSend>() -> (OneshotTx<T>, oneshot::Receiver<T>) {
        let (sender, receiver) = oneshot::channel();
        (OneshotTx(sender), receiver)
    }
}

impl<T: OptionalSend> OneshotSender<T> for OneshotTx<T> {
    fn send(self, message: T) -> Result<(), T> {
        self.0.send(message)
    }
}

/// tokio's mutex.
#[derive(Debug)]
pub(super) struct Lock<T>(tokio::sync::Mutex<T>);

impl<T: OptionalSend + 'static> Mutex<T> for Lock<T>
where
    Self: OptionalSync,
{
    type Guard<'a> = tokio::sync::MutexGuard<'a, T>;

    fn new(value: T) -> Self {
        Self(tokio::sync::Mutex::new(value))
    }

    async fn lock(&self) -> tokio::sync::MutexGuard<'_, T> {
        self.0.lock().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// openraft's own tests of a runtime.
    #[test]
    fn the_runtime_does_what_openraft_asks_of_one() {
        openraft_rt::testing::Suite::<Runtime>::test_all();
    }
}
