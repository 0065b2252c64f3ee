//! Request bodies on their way in: bounded by length, by time, and in sum.
//!
//! A body is held in memory until its append is answered, so three bounds stand here: the length of one body (413), how
//! slowly it may arrive (408), and the bytes of all bodies that are held at once, over all connections (503
//! `backpressure`). Bytes count when they arrive, not when a `Content-Length` announces them.

use std::{
    future::poll_fn,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use http_body::Body;
use net::rt;

use super::errors::Problem;

/// How many bytes of request bodies may be held at once by the whole node.
#[derive(Debug)]
pub(crate) struct Budget {
    free: AtomicUsize,
}

impl Budget {
    /// A budget of `bytes`.
    pub(crate) fn new(bytes: usize) -> Arc<Self> {
        Arc::new(Self {
            free: AtomicUsize::new(bytes),
        })
    }

    /// Nothing held yet.
    pub(super) fn open(self: &Arc<Self>) -> Held {
        Held {
            budget: self.clone(),
            bytes: 0,
        }
    }
}

/// A share of the [`Budget`], given back on drop.
#[derive(Debug)]
pub(crate) struct Held {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Held {
    /// Takes `bytes` more; false if there are not so many.
    fn grow(&mut self, bytes: usize) -> bool {
        let taken = self
            .budget
            .free
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |free| free.checked_sub(bytes));
        if taken.is_ok() {
            self.bytes += bytes;
        }
        taken.is_ok()
    }

    /// Takes as many bytes again as a copy of the body has, and a few.
    ///
    /// # Errors
    /// 503 if there are not so many.
    pub(super) fn copy(&mut self, bytes: usize) -> Result<(), Problem> {
        if self.grow(bytes) { Ok(()) } else { Err(too_much()) }
    }

    /// Gives back all but `bytes`: that much is held from now on.
    pub(super) fn shrink_to(&mut self, bytes: usize) {
        let given_back = self.bytes.saturating_sub(bytes);
        self.bytes -= given_back;
        self.budget.free.fetch_add(given_back, Ordering::AcqRel);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.budget.free.fetch_add(self.bytes, Ordering::AcqRel);
    }
}

/// What bounds one body.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// The longest body, in bytes.
    pub(super) max_bytes: u64,
    /// How long it may make no progress. On top of it, whoever sends fewer than [`SLOWEST`] bytes a second runs out of
    /// time: one byte now and then is no progress.
    pub(super) patience: Duration,
    /// The client waits for `100 Continue` before it sends: an early refusal must not read, or it would invite.
    pub(super) awaits_continue: bool,
}

/// A body shorter than this is copied out of the connection's read buffer, which it would pin several times its size of
/// for as long as the tail cache keeps it.
const COPY_BELOW_BYTES: usize = 8 * 1024;

/// Bytes a second that are enough of a progress for a body of any length.
const SLOWEST: u64 = 4 * 1024;

/// How long an upload that is already refused is read on and thrown away, so that its sender sees the answer rather than
/// a reset connection.
const LINGER: Duration = Duration::from_secs(1);

/// Collects a body within its bounds. The bytes stay on the budget until the [`Held`] is dropped.
///
/// # Errors
/// 413, 408 or 503 by the bound that was hit; 400 for a body that broke off.
pub(super) async fn collect<B>(body: B, bounds: Bounds, budget: &Arc<Budget>) -> Result<(Bytes, Held), Problem>
where
    B: Body<Data = Bytes>,
{
    let mut body = pin!(body);
    let announced = body.size_hint().lower();
    if announced > bounds.max_bytes {
        if !bounds.awaits_continue {
            linger(body).await;
        }
        return Err(too_large(bounds.max_bytes));
    }
    let mut held = budget.open();
    let mut whole = Gathered::default();
    let started = rt::Instant::now();
    let problem = loop {
        let slowest = started + bounds.patience + Duration::from_millis(whole.len * 1000 / SLOWEST);
        let deadline = slowest.min(rt::Instant::now() + bounds.patience);
        let frame = match rt::timeout_at(deadline, poll_fn(|cx| body.as_mut().poll_frame(cx))).await {
            Ok(Some(Ok(frame))) => frame,
            Ok(None) => return Ok((whole.join(), held)),
            Ok(Some(Err(_broken))) => {
                let message = "the body broke off before its end: send it again, whole";
                return Err(Problem::bad("body_incomplete", message));
            }
            Err(_elapsed) => return Err(too_slow()),
        };
        // Trailers say nothing here.
        let Ok(data) = frame.into_data() else { continue };
        if whole.len + data.len() as u64 > bounds.max_bytes {
            break too_large(bounds.max_bytes);
        }
        if !held.grow(data.len()) {
            break too_much();
        }
        whole.add(data);
    };
    drop((whole, held));
    linger(body).await;
    Err(problem)
}

/// A body as it comes: most come in one piece.
#[derive(Default)]
struct Gathered {
    first: Bytes,
    rest: Vec<Bytes>,
    len: u64,
}

impl Gathered {
    fn add(&mut self, data: Bytes) {
        self.len += data.len() as u64;
        if self.first.is_empty() {
            self.first = data;
        } else if !data.is_empty() {
            self.rest.push(data);
        }
    }

    /// One buffer, copied at most once.
    fn join(self) -> Bytes {
        let Self { first, rest, len } = self;
        if rest.is_empty() {
            return if first.len() < COPY_BELOW_BYTES {
                Bytes::copy_from_slice(&first)
            } else {
                first
            };
        }
        let mut whole = BytesMut::with_capacity(usize::try_from(len).expect("a body within its bound fits memory"));
        whole.extend_from_slice(&first);
        for piece in rest {
            whole.extend_from_slice(&piece);
        }
        whole.freeze()
    }
}

/// Throws away the body of a request that is refused by its head.
pub(super) async fn discard<B: Body<Data = Bytes>>(body: B, awaits_continue: bool) {
    if !awaits_continue && !body.is_end_stream() {
        linger(pin!(body)).await;
    }
}

/// Reads on and throws away, for a moment.
async fn linger<B: Body<Data = Bytes>>(mut body: std::pin::Pin<&mut B>) {
    let drain = async { while let Some(Ok(_)) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await {} };
    // Whether the upload ended or the moment passed: the answer goes out now.
    let _ = rt::timeout(LINGER, drain).await;
}

fn too_large(max_bytes: u64) -> Problem {
    Problem::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "body_too_large",
        format!("a body may have {max_bytes} bytes here: split it into several appends"),
    )
    .with_field("max_bytes", max_bytes)
}

fn too_much() -> Problem {
    Problem::try_again(
        "backpressure",
        "this node holds as many bytes of unfinished requests as it may: wait, then send this again",
    )
}

fn too_slow() -> Problem {
    Problem::new(
        StatusCode::REQUEST_TIMEOUT,
        "body_timeout",
        "the body did not arrive in time and nothing was stored: send it faster, or in smaller appends",
    )
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, future::Future, pin::Pin};

    use futures_util::stream;
    use http_body::Frame;
    use http_body_util::{Empty, Full, StreamBody};

    use super::*;

    const BOUNDS: Bounds = Bounds {
        max_bytes: 100,
        patience: Duration::from_millis(50),
        awaits_continue: false,
    };

    fn run<T>(future: impl Future<Output = T>) -> T {
        rt::block_on(future).expect("a runtime")
    }

    fn pieces(pieces: Vec<Bytes>) -> StreamBody<impl futures_util::Stream<Item = Result<Frame<Bytes>, Infallible>>> {
        StreamBody::new(stream::iter(pieces.into_iter().map(|piece| Ok(Frame::data(piece)))))
    }

    /// Sends a byte, waits, sends a byte, for ever.
    fn drip(pause: Duration) -> Pin<Box<impl Body<Data = Bytes, Error = Infallible>>> {
        let drops = stream::unfold((), move |()| async move {
            rt::sleep(pause).await;
            Some((Ok(Frame::data(Bytes::from_static(b"x"))), ()))
        });
        Box::pin(StreamBody::new(drops))
    }

    #[test]
    fn a_body_comes_whole_however_it_is_cut() {
        let budget = Budget::new(1000);
        let table = [
            vec![],
            vec!["hello"],
            vec!["", "he", "", "llo", ""],
            vec!["h", "e", "l", "l", "o"],
        ];
        for cut in table {
            let expected: String = cut.concat();
            let body = pieces(cut.into_iter().map(Bytes::from).collect());
            let (bytes, held) = run(collect(body, BOUNDS, &budget)).unwrap();
            assert_eq!(bytes, expected);
            assert_eq!(held.bytes, expected.len());
        }
        assert_eq!(budget.free.load(Ordering::Relaxed), 1000, "what was held is given back");
    }

    #[test]
    fn a_body_of_exactly_the_bound_passes_and_one_byte_more_is_413() {
        let budget = Budget::new(1000);
        let full = |len: usize| Full::new(Bytes::from(vec![b'x'; len]));
        let (bytes, _held) = run(collect(full(100), BOUNDS, &budget)).unwrap();
        assert_eq!(bytes.len(), 100);
        assert_eq!(run(collect(full(101), BOUNDS, &budget)).unwrap_err().status, 413);
        // Without an announced length it is found out on the way.
        let many = pieces((0..200).map(|_| Bytes::from_static(b"x")).collect());
        assert_eq!(run(collect(many, BOUNDS, &budget)).unwrap_err().status, 413);
    }

    #[test]
    fn bodies_share_the_budget_until_their_requests_end() {
        let budget = Budget::new(150);
        let full = || Full::new(Bytes::from(vec![b'x'; 100]));
        let (_, first) = run(collect(full(), BOUNDS, &budget)).unwrap();
        let problem = run(collect(full(), BOUNDS, &budget)).unwrap_err();
        assert_eq!((problem.status.as_u16(), problem.code), (503, "backpressure"));
        drop(first);
        assert!(run(collect(full(), BOUNDS, &budget)).is_ok());
    }

    #[test]
    fn a_body_that_stops_or_drips_runs_out_of_time() {
        let budget = Budget::new(1000);
        let endless = StreamBody::new(stream::pending::<Result<Frame<Bytes>, Infallible>>());
        assert_eq!(run(collect(endless, BOUNDS, &budget)).unwrap_err().code, "body_timeout");
        let dripping = drip(Duration::from_millis(10));
        assert_eq!(
            run(collect(dripping, BOUNDS, &budget)).unwrap_err().code,
            "body_timeout"
        );
        assert_eq!(budget.free.load(Ordering::Relaxed), 1000);
    }

    #[test]
    fn small_bodies_leave_the_read_buffer_and_large_ones_are_not_copied() {
        let budget = Budget::new(100_000);
        let bounds = Bounds {
            max_bytes: 100_000,
            ..BOUNDS
        };
        for (len, copied) in [(100, true), (COPY_BELOW_BYTES, false)] {
            let sent = Bytes::from(vec![b'x'; len]);
            let (bytes, _held) = run(collect(Full::new(sent.clone()), bounds, &budget)).unwrap();
            assert_eq!(bytes.as_ptr() != sent.as_ptr(), copied, "{len} bytes");
        }
        let (none, _held) = run(collect(Empty::new(), bounds, &budget)).unwrap();
        assert!(none.is_empty());
    }
}
