//! Adapters that let hyper live on [`crate::rt`], and two wrappers around connections: one that replays bytes already
//! read, one that gives up on a reader who does not read.

use std::future::Future;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::rt;

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

/// A connection of which the first bytes have been read already; they come again, first.
#[derive(Debug)]
pub struct Replayed<T> {
    first: Bytes,
    io: T,
}

impl<T> Replayed<T> {
    /// `first` will be read before anything from `io`.
    pub fn new(first: Bytes, io: T) -> Self {
        Self { first, io }
    }

    /// What has not been read again yet, and the connection.
    pub fn into_parts(self) -> (Bytes, T) {
        (self.first, self.io)
    }

    /// The connection.
    pub fn get_ref(&self) -> &T {
        &self.io
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Replayed<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.first.is_empty() {
            return Pin::new(&mut self.io).poll_read(cx, buf);
        }
        let now = self.first.len().min(buf.remaining());
        buf.put_slice(&self.first.split_to(now));
        Poll::Ready(Ok(()))
    }
}

/// A connection that fails with [`io::ErrorKind::TimedOut`] once a write has made no progress for so long: who asks and
/// does not read must not hold memory for ever.
#[derive(Debug)]
pub struct StallGuard<T> {
    io: T,
    patience: Duration,
    /// Armed while a write waits.
    waiting: bool,
    sleep: Option<rt::Sleep>,
}

impl<T> StallGuard<T> {
    /// Guards the writes of a connection.
    pub fn new(io: T, patience: Duration) -> Self {
        Self {
            io,
            patience,
            waiting: false,
            sleep: None,
        }
    }

    /// A write that was taken is progress.
    fn judge_write(&mut self, cx: &mut Context<'_>, answer: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if answer.is_ready() {
            self.waiting = false;
        }
        self.judge(cx, answer)
    }

    /// Lets an answer through, and watches over one that waits.
    fn judge<R>(&mut self, cx: &mut Context<'_>, answer: Poll<io::Result<R>>) -> Poll<io::Result<R>> {
        if answer.is_ready() {
            return answer;
        }
        let deadline = || rt::Instant::now() + self.patience;
        let sleep = match &mut self.sleep {
            Some(sleep) => {
                if !self.waiting {
                    sleep.reset(deadline());
                }
                sleep
            }
            none => none.insert(rt::sleep_until(deadline())),
        };
        self.waiting = true;
        match Pin::new(sleep).poll(cx) {
            Poll::Ready(()) => {
                let stalled = format!("the other side has not read for {:?}", self.patience);
                Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, stalled)))
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for StallGuard<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for StallGuard<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let answer = Pin::new(&mut self.io).poll_write(cx, buf);
        self.judge_write(cx, answer)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let answer = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        self.judge_write(cx, answer)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let answer = Pin::new(&mut self.io).poll_flush(cx);
        self.judge(cx, answer)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let answer = Pin::new(&mut self.io).poll_shutdown(cx);
        self.judge(cx, answer)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Replayed<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
