//! How a server puts up with its clients, and for how long.

use std::future::Future;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::rt;

/// The server's side of a connection.
///
/// It fails with [`io::ErrorKind::TimedOut`] once a write has made no progress for so long: who asks and does not read
/// must not hold memory for ever.
///
/// It ends with a little patience: after its last word it listens on for a moment, and throws away what comes. A kernel
/// that closes on bytes it has not handed over resets the connection, and the refusal of a body that is too long would
/// be lost on those who are still sending it.
#[derive(Debug)]
pub struct Manners<T> {
    io: T,
    patience: Duration,
    /// The timer is armed, for a write that waits or for the end.
    waiting: bool,
    sleep: Option<rt::Sleep>,
    end: End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    NotYet,
    /// The last word is said; so many bytes have been thrown away since.
    Listening(usize),
    Over,
}

/// How long the end may take, and how many bytes it may throw away.
const END_PATIENCE: Duration = Duration::from_secs(1);
const END_BYTES_MAX: usize = 4 << 20;

impl<T> Manners<T> {
    /// Guards the writes of a connection.
    pub fn new(io: T, patience: Duration) -> Self {
        Self {
            io,
            patience,
            waiting: false,
            sleep: None,
            end: End::NotYet,
        }
    }

    /// A write that was taken is progress.
    fn judge_write(&mut self, cx: &mut Context<'_>, answer: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if answer.is_ready() {
            self.waiting = false;
        }
        self.judge(cx, answer)
    }

    /// Ready when it has waited for so long without a pause.
    fn wait(&mut self, cx: &mut Context<'_>, patience: Duration) -> Poll<()> {
        let sleep = self.sleep.get_or_insert_with(|| rt::sleep(patience));
        if !self.waiting {
            sleep.reset(rt::Instant::now() + patience);
            self.waiting = true;
        }
        Pin::new(sleep).poll(cx)
    }

    /// Lets an answer through, and watches over one that waits.
    fn judge<R>(&mut self, cx: &mut Context<'_>, answer: Poll<io::Result<R>>) -> Poll<io::Result<R>> {
        if answer.is_ready() {
            return answer;
        }
        match self.wait(cx, self.patience) {
            Poll::Ready(()) => {
                let stalled = format!("the other side has not read for {:?}", self.patience);
                Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, stalled)))
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Manners<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Manners<T> {
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
        let this = &mut *self;
        if this.end == End::NotYet {
            let answer = Pin::new(&mut this.io).poll_shutdown(cx);
            ready!(this.judge(cx, answer))?;
            this.end = End::Listening(0);
            this.waiting = false;
        }
        while let End::Listening(thrown) = this.end {
            let mut scratch = [MaybeUninit::<u8>::uninit(); 8 * 1024];
            let mut read = ReadBuf::uninit(&mut scratch);
            match Pin::new(&mut this.io).poll_read(cx, &mut read) {
                Poll::Ready(Ok(())) if !read.filled().is_empty() && thrown < END_BYTES_MAX => {
                    this.end = End::Listening(thrown + read.filled().len());
                }
                Poll::Pending => {
                    ready!(this.wait(cx, END_PATIENCE));
                    this.end = End::Over;
                }
                // The other side has ended too, or the patience with it has.
                Poll::Ready(_) => this.end = End::Over,
            }
        }
        Poll::Ready(Ok(()))
    }
}
