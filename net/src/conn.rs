//! Adapters that let hyper live on [`crate::rt`], and two wrappers around connections: one that replays bytes already
//! read, one for the server's side of a conversation with people who have no manners.

mod manners;
mod replayed;

use std::future::Future;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::rt;

pub use manners::Manners;
pub use replayed::Replayed;

/// The most one read hands over at once. It lies on the stack, unwritten until read into.
const READ_MAX: usize = 32 * 1024;

/// Shows a tokio connection to hyper.
#[derive(Debug)]
pub struct HyperIo<T>(T);

impl<T> HyperIo<T> {
    /// Wraps a connection.
    pub fn new(io: T) -> Self {
        Self(io)
    }

    /// The connection.
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T: AsyncRead + Unpin> hyper::rt::Read for HyperIo<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buf: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        // Without `unsafe`, hyper's buffer can only be copied into: one copy of what was really read.
        let mut scratch = [MaybeUninit::<u8>::uninit(); READ_MAX];
        let room = buf.remaining().min(READ_MAX);
        let mut read = ReadBuf::uninit(&mut scratch[..room]);
        match Pin::new(&mut self.0).poll_read(cx, &mut read) {
            Poll::Ready(Ok(())) => {
                buf.put_slice(read.filled());
                Poll::Ready(Ok(()))
            }
            other => other,
        }
    }
}

impl<T: AsyncWrite + Unpin> hyper::rt::Write for HyperIo<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, bufs)
    }
}

/// Lets hyper start tasks.
#[derive(Clone, Copy, Debug, Default)]
pub struct HyperExec;

impl<F> hyper::rt::Executor<F> for HyperExec
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, future: F) {
        drop(rt::spawn("http", future));
    }
}

/// Lets hyper wait.
///
/// hyper counts in the standard library's instants, which nobody can make up. So the timer remembers one together with
/// ours of the same moment, and only ever uses distances from it.
#[derive(Clone, Copy, Debug)]
pub struct HyperTimer {
    theirs: std::time::Instant,
    ours: rt::Instant,
}

impl HyperTimer {
    /// A timer that begins now.
    #[expect(
        clippy::disallowed_methods,
        reason = "an origin, never compared with anything but its own offsets"
    )]
    pub fn new() -> Self {
        Self {
            theirs: std::time::Instant::now(),
            ours: rt::Instant::now(),
        }
    }

    fn ours(&self, theirs: std::time::Instant) -> rt::Instant {
        self.ours + theirs.saturating_duration_since(self.theirs)
    }
}

impl Default for HyperTimer {
    fn default() -> Self {
        Self::new()
    }
}

struct HyperSleep(rt::Sleep);

impl Future for HyperSleep {
    type Output = ();
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.0).poll(cx)
    }
}

impl hyper::rt::Sleep for HyperSleep {}

impl hyper::rt::Timer for HyperTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn hyper::rt::Sleep>> {
        Box::pin(HyperSleep(rt::sleep(duration)))
    }

    fn sleep_until(&self, deadline: std::time::Instant) -> Pin<Box<dyn hyper::rt::Sleep>> {
        Box::pin(HyperSleep(rt::sleep_until(self.ours(deadline))))
    }

    fn now(&self) -> std::time::Instant {
        self.theirs + rt::Instant::now().saturating_duration_since(self.ours)
    }

    fn reset(&self, sleep: &mut Pin<Box<dyn hyper::rt::Sleep>>, deadline: std::time::Instant) {
        match sleep.as_mut().downcast_mut_pin::<HyperSleep>() {
            Some(sleep) => sleep.get_mut().0.reset(self.ours(deadline)),
            None => *sleep = self.sleep_until(deadline),
        }
    }
}
