//! How the judge's clients reach the nodes of a simulated cluster: true HTTP over simulated sockets.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use http::{Request, Response, Uri};
use http_body::{Body, Frame, SizeHint};
use jepsen::transport::{Fut, Piece, Pieces, Transport, TransportError};
use net::serve::{self, Client, Trouble};
use sim::cluster::Cluster;
use sim::engine::Control;

/// One client's way to all nodes, with connections of its own.
pub struct SimTransport {
    control: Control,
    cluster: Cluster,
    http: Mutex<Client<Sent>>,
}

impl SimTransport {
    /// Without any connection yet.
    #[must_use]
    pub fn new(control: &Control, cluster: &Cluster) -> Self {
        Self {
            control: control.clone(),
            cluster: cluster.clone(),
            http: Mutex::default(),
        }
    }

    /// Forgets kept connections. One that has been idle since before its node died breaks at its next use, however long
    /// ago that was; in the calm that would be a call without an answer, and nobody's fault.
    pub fn reconnect(&self) {
        *self.http() = Client::default();
    }

    fn addressed(&self, node: usize, mut request: Request<Bytes>) -> Result<Request<Bytes>, TransportError> {
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
        let uri: Result<Uri, _> = format!("http://{}{path}", self.cluster.authority(node)).parse();
        *request.uri_mut() = uri.map_err(|error| TransportError {
            sent: false,
            why: error.to_string(),
        })?;
        Ok(request)
    }

    fn http(&self) -> MutexGuard<'_, Client<Sent>> {
        self.http.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Transport for SimTransport {
    fn call(
        &self,
        node: usize,
        request: Request<Bytes>,
        deadline: Duration,
    ) -> Fut<'_, Result<Response<Bytes>, TransportError>> {
        Box::pin(async move {
            let request = self.addressed(node, request)?;
            let http = self.http().clone();
            let answer = http.call(request.map(Sent::at_once), deadline).await;
            answer.map_err(unanswered)
        })
    }

    fn call_slowly(
        &self,
        node: usize,
        request: Request<Bytes>,
        pause: Duration,
        deadline: Duration,
    ) -> Fut<'_, Result<Response<Bytes>, TransportError>> {
        Box::pin(async move {
            let request = self.addressed(node, request)?;
            let http = self.http().clone();
            let request = request.map(|body| {
                if pause.is_zero() {
                    Sent::at_once(body)
                } else {
                    Sent::in_two(body, Box::pin(self.control.sleep(pause)))
                }
            });
            http.call(request, deadline).await.map_err(unanswered)
        })
    }

    fn open(
        &self,
        node: usize,
        request: Request<Bytes>,
        deadline: Duration,
    ) -> Fut<'_, Result<Response<Box<dyn Pieces>>, TransportError>> {
        Box::pin(async move {
            let request = self.addressed(node, request)?;
            let http = self.http().clone();
            let answer = http.open(request.map(Sent::at_once), deadline).await;
            let body = |pieces| -> Box<dyn Pieces> { Box::new(SimPieces(pieces)) };
            answer.map(|answer| answer.map(body)).map_err(unanswered)
        })
    }

    /// The true time: a client's clock may be as wrong as it likes, the judge's may not.
    fn now_ns(&self) -> u64 {
        self.control.now_ns()
    }

    fn epoch_ms(&self) -> Option<u64> {
        Some(sim::clock::EPOCH_MS)
    }

    fn sleep(&self, span: Duration) -> Fut<'_, ()> {
        Box::pin(self.control.sleep(span))
    }
}

fn unanswered(error: serve::CallError) -> TransportError {
    TransportError {
        sent: error.sent,
        why: error.to_string(),
    }
}

/// The body of an answer that goes on, over a simulated socket.
struct SimPieces(serve::Pieces<Sent>);

impl Pieces for SimPieces {
    fn next(&mut self, patience: Duration) -> Fut<'_, Piece> {
        Box::pin(async move {
            match self.0.next(patience).await {
                Ok(Some(bytes)) => Piece::Bytes(bytes),
                Ok(None) => Piece::End,
                Err(Trouble::Deadline) => Piece::Late,
                Err(trouble) => Piece::Broken(trouble.to_string()),
            }
        })
    }
}

/// A body on its way out: whole, or in two pieces with a pause between them.
struct Sent {
    rest: Bytes,
    /// How much goes before the pause, and the pause.
    first: Option<(usize, Pause)>,
}

type Pause = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Sent {
    fn at_once(rest: Bytes) -> Self {
        Self { rest, first: None }
    }

    fn in_two(rest: Bytes, pause: Pause) -> Self {
        let half = rest.len() / 2;
        Self {
            rest,
            first: Some((half, pause)),
        }
    }
}

impl Body for Sent {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some((half, pause)) = &mut self.first {
            let half = std::mem::take(half);
            if half > 0 {
                return Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(half)))));
            }
            ready!(pause.as_mut().poll(cx));
            self.first = None;
        }
        let rest = std::mem::take(&mut self.rest);
        Poll::Ready(rest.has_remaining().then(|| Ok(Frame::data(rest))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
}
