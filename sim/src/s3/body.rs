//! The body of an answer: all of it, or a part and then nothing.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use net::rt;

/// How long a body that breaks off waits before it does: what went before is on its way by then.
const LAST_BREATH: Duration = Duration::from_millis(1);

/// A body on its way out.
pub(super) struct Sent {
    bytes: Bytes,
    /// What its head promises.
    promised: u64,
    /// It breaks off when that is over.
    breath: Option<rt::Sleep>,
}

impl Sent {
    pub(super) fn whole(bytes: Bytes) -> Self {
        Self {
            promised: bytes.len() as u64,
            bytes,
            breath: None,
        }
    }

    /// The same, but only so many bytes of it arrive.
    pub(super) fn broken_off_after(mut self, bytes: usize) -> Self {
        self.bytes.truncate(bytes);
        self.breath = Some(rt::sleep(LAST_BREATH));
        self
    }

    /// The same with other bytes, as many.
    pub(super) fn map(mut self, change: impl FnOnce(Bytes) -> Bytes) -> Self {
        self.bytes = change(self.bytes);
        self
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }
}

impl Body for Sent {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let bytes = std::mem::take(&mut self.bytes);
        if !bytes.is_empty() {
            self.promised -= bytes.len() as u64;
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        let Some(breath) = &mut self.breath else {
            return Poll::Ready(None);
        };
        ready!(Pin::new(breath).poll(cx));
        Poll::Ready(Some(Err(io::ErrorKind::BrokenPipe.into())))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_empty() && self.breath.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.promised)
    }
}
