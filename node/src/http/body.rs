//! Request bodies on their way in: bounded by length, by time, and in sum.
//!
//! A body is held in memory until its append is answered, so three bounds stand here: the length of one body (413), how
//! slowly it may arrive (408), and the bytes of all bodies that are held at once, over all connections (503
//! `backpressure`). Bytes count when they arrive, not when a `Content-Length` announces them.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
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
    bytes: usize,
    free: AtomicUsize,
}

impl Budget {
    /// A budget of `bytes`.
    pub(crate) fn new(bytes: usize) -> Arc<Self> {
        Arc::new(Self {
            bytes,
            free: AtomicUsize::new(bytes),
        })
    }

    /// How many of its bytes are held.
    pub(super) fn held(&self) -> usize {
        self.bytes.saturating_sub(self.free.load(Ordering::Relaxed))
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

impl Bounds {
    /// Looks at the length that a body announces.
    ///
    /// # Errors
    /// 413.
    pub(super) fn announced<B: Body>(&self, body: &B) -> Result<(), Problem> {
        if body.size_hint().lower() > self.max_bytes {
            return Err(too_large(self.max_bytes));
        }
        Ok(())
    }
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
    if let Err(problem) = bounds.announced(&*body) {
        if !bounds.awaits_continue {
            linger(body).await;
        }
        return Err(problem);
    }
    let mut held = budget.open();
    let mut whole = Gathered::default();
    let mut intake = Intake::new(body.as_mut(), bounds);
    let problem = loop {
        match intake.frame().await {
            Ok(None) => return Ok((whole.join(), held)),
            Ok(Some(data)) if held.grow(data.len()) => whole.add(data),
            Ok(Some(_)) => break too_much(),
            Err(problem) => break problem,
        }
    };
    drop((whole, held));
    intake.linger().await;
    Err(problem)
}

/// A body on its way in, within its bounds.
pub(super) struct Intake<'a, B> {
    body: Pin<&'a mut B>,
    bounds: Bounds,
    /// Bytes that came.
    came: u64,
    /// How long they were waited for.
    waited: Duration,
    /// What came and belongs to the next part.
    rest: Bytes,
    /// Whether there is more to come that one may wish to throw away.
    open: bool,
}

impl<'a, B: Body<Data = Bytes>> Intake<'a, B> {
    /// Nothing taken yet.
    pub(super) fn new(body: Pin<&'a mut B>, bounds: Bounds) -> Self {
        Self {
            body,
            bounds,
            came: 0,
            waited: Duration::ZERO,
            rest: Bytes::new(),
            open: true,
        }
    }

    /// The next bytes; none at the end.
    ///
    /// # Errors
    /// 413 or 408 by the bound that was hit; 400 for a body that broke off.
    async fn frame(&mut self) -> Result<Option<Bytes>, Problem> {
        let patience = self.bounds.patience;
        loop {
            let began = rt::Instant::now();
            let slowest = (patience + Duration::from_millis(self.came * 1000 / SLOWEST)).saturating_sub(self.waited);
            let frame = poll_fn(|cx| self.body.as_mut().poll_frame(cx));
            let frame = rt::timeout_at(began + slowest.min(patience), frame).await;
            self.waited += began.elapsed();
            self.open = matches!(frame, Ok(Some(Ok(_))));
            let frame = match frame {
                Ok(Some(Ok(frame))) => frame,
                Ok(None) => return Ok(None),
                Ok(Some(Err(_broken))) => {
                    let message = "the body broke off before its end: send it again, whole";
                    return Err(Problem::bad("body_incomplete", message));
                }
                Err(_elapsed) => return Err(too_slow()),
            };
            // Trailers say nothing here.
            let Ok(data) = frame.into_data() else { continue };
            self.came += data.len() as u64;
            if self.came > self.bounds.max_bytes {
                return Err(too_large(self.bounds.max_bytes));
            }
            return Ok(Some(data));
        }
    }

    /// The next `bytes` of the body in one buffer, fewer at its end, none after it. They stay on the budget until the
    /// [`Held`] is dropped.
    ///
    /// # Errors
    /// As [`collect`].
    pub(super) async fn part(&mut self, bytes: usize, budget: &Arc<Budget>) -> Result<Option<(Bytes, Held)>, Problem> {
        let mut held = budget.open();
        let mut part = BytesMut::new();
        while part.len() < bytes {
            if self.rest.is_empty() {
                match self.frame().await? {
                    Some(data) => self.rest = data,
                    None => break,
                }
            }
            let piece = self.rest.split_to(self.rest.len().min(bytes - part.len()));
            if !held.grow(piece.len()) {
                return Err(too_much());
            }
            part.extend_from_slice(&piece);
        }
        Ok((!part.is_empty()).then(|| (part.freeze(), held)))
    }

    /// Reads on and throws away, for a moment, if the client is still sending.
    pub(super) async fn linger(self) {
        if self.open {
            linger(self.body).await;
        }
    }
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
