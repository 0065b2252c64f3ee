//! Answers that nobody reads, on connections that are alive.
//!
//! Over HTTP/2 a client may keep its connection and take nothing of an answer: it opens no window, and hyper waits for
//! one without asking the body again, for ever. So every stream is watched: since when it holds a part of its answer that
//! it cannot get rid of. After the patience its task is dropped, which resets the stream and frees all that it held; the
//! other streams of the connection go on.
//!
//! A part is small, so that taking one within the patience is not much to ask, and no body ends with a part that is not:
//! once a body has ended its stream has no task any more that could be dropped, and what the window has no room for would
//! stay.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::service::Service;
use pin_project_lite::pin_project;

use crate::rt;

/// The most that is handed over at once.
const PART_BYTES_MAX: usize = 16 * 1024;

/// The most that is handed over last.
const LAST_BYTES_MAX: usize = 512;

/// Runs the streams of one HTTP/2 connection, and drops those that stall.
#[derive(Clone, Debug)]
pub(super) struct Streams {
    patience: Duration,
    /// The watch over the stream that is about to be run: hyper asks the service, then hands over the stream.
    next: Arc<Mutex<Option<Arc<Watch>>>>,
}

/// Since when a stream has been holding a part of its answer, in nanoseconds; 0 if it holds none.
#[derive(Debug, Default)]
struct Watch {
    holds_since: AtomicU64,
}

impl Streams {
    pub(super) fn new(patience: Duration) -> Self {
        Self {
            patience,
            next: Arc::default(),
        }
    }

    /// A service whose answers are watched.
    pub(super) fn watching<S>(&self, service: S) -> Watching<S> {
        Watching {
            service,
            streams: self.clone(),
        }
    }

    fn next(&self, watch: Option<Arc<Watch>>) -> Option<Arc<Watch>> {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut next, watch)
    }
}

impl<F> hyper::rt::Executor<F> for Streams
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, future: F) {
        let watch = self.next(None);
        debug_assert!(watch.is_some(), "a stream that no request was asked for");
        drop(rt::spawn(
            "http",
            Stream {
                future,
                watch: watch.unwrap_or_default(),
                patience: self.patience,
                sleep: None,
            },
        ));
    }
}

pin_project! {
    /// A stream: it ends when its answer has been taken, or has not been.
    struct Stream<F> {
        #[pin]
        future: F,
        watch: Arc<Watch>,
        patience: Duration,
        sleep: Option<rt::Sleep>,
    }
}

impl<F: Future<Output = ()>> Future for Stream<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        if this.future.poll(cx).is_ready() {
            return Poll::Ready(());
        }
        loop {
            let since = match this.watch.holds_since.load(Ordering::Relaxed) {
                0 => return Poll::Pending,
                since => rt::Instant::from_nanos(since),
            };
            // Not set anew for each part: it wakes at the end of a patience, and looks whose it is by now.
            let sleep = this
                .sleep
                .get_or_insert_with(|| rt::sleep_until(since + *this.patience));
            ready!(Pin::new(&mut *sleep).poll(cx));
            if since + *this.patience <= rt::Instant::now() {
                tracing::debug!("an answer was not read for {:?}: the stream is reset", this.patience);
                return Poll::Ready(());
            }
            sleep.reset(since + *this.patience);
        }
    }
}

/// A service whose answers are watched.
pub(super) struct Watching<S> {
    service: S,
    streams: Streams,
}

impl<S, B, I> Service<Request<I>> for Watching<S>
where
    S: Service<Request<I>, Response = Response<B>>,
    B: Body<Data = Bytes>,
{
    type Response = Response<Watched<B>>;
    type Error = S::Error;
    type Future = Answering<S::Future>;

    fn call(&self, request: Request<I>) -> Self::Future {
        let watch = Arc::new(Watch::default());
        self.streams.next(Some(watch.clone()));
        Answering {
            future: self.service.call(request),
            watch,
        }
    }
}

pin_project! {
    /// An answer on its way.
    pub(super) struct Answering<F> {
        #[pin]
        future: F,
        watch: Arc<Watch>,
    }
}

impl<F, B, E> Future for Answering<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = Result<Response<Watched<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let response = ready!(this.future.poll(cx))?;
        Poll::Ready(Ok(response.map(|body| Watched {
            body,
            rest: Bytes::new(),
            watch: this.watch.clone(),
        })))
    }
}

pin_project! {
    /// The body of an answer, in small parts.
    pub(super) struct Watched<B> {
        #[pin]
        body: B,
        // What came of it and has not been handed over.
        rest: Bytes,
        watch: Arc<Watch>,
    }
}

impl<B: Body<Data = Bytes>> Body for Watched<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let mut this = self.project();
        // Who asks has got rid of what it held.
        this.watch.holds_since.store(0, Ordering::Relaxed);
        if this.rest.is_empty() {
            let frame = match ready!(this.body.as_mut().poll_frame(cx)) {
                Some(Ok(frame)) => frame,
                end => return Poll::Ready(end),
            };
            match frame.into_data() {
                Ok(data) => *this.rest = data,
                Err(other) => return Poll::Ready(Some(Ok(other))),
            }
        }
        let last = this.body.is_end_stream();
        let part = this.rest.split_to(part_len(this.rest.len(), last));
        this.watch
            .holds_since
            .store(rt::Instant::now().as_nanos().max(1), Ordering::Relaxed);
        Poll::Ready(Some(Ok(Frame::data(part))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.rest.len() as u64;
        let body = self.body.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(body.lower().saturating_add(rest));
        if let Some(upper) = body.upper() {
            hint.set_upper(upper.saturating_add(rest));
        }
        hint
    }
}

/// How much of so many bytes is handed over now, if they are the `last` or if others follow.
fn part_len(len: usize, last: bool) -> usize {
    match len {
        _ if len > PART_BYTES_MAX => PART_BYTES_MAX,
        _ if last && len > LAST_BYTES_MAX => len - 1,
        _ => len,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_small_and_the_last_one_is_smaller() {
        for (len, last, expected) in [
            (0, true, 0),
            (1, true, 1),
            (LAST_BYTES_MAX, true, LAST_BYTES_MAX),
            (LAST_BYTES_MAX + 1, true, LAST_BYTES_MAX),
            (PART_BYTES_MAX, true, PART_BYTES_MAX - 1),
            (PART_BYTES_MAX, false, PART_BYTES_MAX),
            (PART_BYTES_MAX + 1, true, PART_BYTES_MAX),
            (1 << 20, false, PART_BYTES_MAX),
        ] {
            assert_eq!(part_len(len, last), expected, "{len} {last}");
        }
    }
}
