//! The one thing the judge needs from outside: a way to send a request to a node, a clock, and a way to wait.
//!
//! Whoever runs the judge implements it: over simulated sockets, or over real ones. The node is a number from 0, the
//! request's URI holds only path and query; the transport adds the address and `Host`.

use std::{future::Future, pin::Pin, time::Duration};

use bytes::Bytes;

/// A boxed future.
pub type Fut<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// How to reach the nodes under judgement.
pub trait Transport: Send + Sync {
    /// Sends a request to a node and waits for the whole answer, body included, at most `deadline`.
    ///
    /// # Errors
    /// When there is no whole answer. [`TransportError::sent`] says whether the node may have seen the request.
    fn call(
        &self,
        node: usize,
        request: http::Request<Bytes>,
        deadline: Duration,
    ) -> Fut<'_, Result<http::Response<Bytes>, TransportError>>;

    /// [`Transport::call`], whose body is sent in two pieces, `pause` apart: a client that is slow, or stops in between. A
    /// transport that nobody has taught this sends it whole.
    ///
    /// # Errors
    /// As [`Transport::call`].
    fn call_slowly(
        &self,
        node: usize,
        request: http::Request<Bytes>,
        pause: Duration,
        deadline: Duration,
    ) -> Fut<'_, Result<http::Response<Bytes>, TransportError>> {
        let _ = pause;
        self.call(node, request, deadline)
    }

    /// Sends a request to a node and waits for the head of the answer, at most `deadline`; the body comes in pieces.
    ///
    /// # Errors
    /// As [`Transport::call`]; and where nobody has taught the transport to do it.
    fn open(
        &self,
        node: usize,
        request: http::Request<Bytes>,
        deadline: Duration,
    ) -> Fut<'_, Result<http::Response<Box<dyn Pieces>>, TransportError>> {
        let _ = (node, request, deadline);
        Box::pin(async {
            Err(TransportError {
                sent: false,
                why: "this transport takes whole answers only".into(),
            })
        })
    }

    /// Time since some beginning, in nanoseconds; one clock for all clients, never going back.
    fn now_ns(&self) -> u64;

    /// What a true wall clock showed at that beginning, in Unix milliseconds; `None` where nobody knows.
    fn epoch_ms(&self) -> Option<u64> {
        None
    }

    /// Waits.
    fn sleep(&self, span: Duration) -> Fut<'_, ()>;
}

/// The body of an answer that goes on. Dropped, it is hung up on.
pub trait Pieces: Send {
    /// Waits for the next piece, at most so long.
    fn next(&mut self, patience: Duration) -> Fut<'_, Piece>;
}

/// What comes of waiting for a piece.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// The next bytes.
    Bytes(Bytes),
    /// Nothing yet.
    Late,
    /// The answer has ended in order.
    End,
    /// The answer has broken off, for this reason.
    Broken(String),
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct TransportError {
    /// Whether any byte of the request may have left. If not, it has certainly had no effect.
    pub sent: bool,
    /// For a person.
    pub why: String,
}
