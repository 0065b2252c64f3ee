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

    /// Time since some beginning, in nanoseconds; one clock for all clients, never going back.
    fn now_ns(&self) -> u64;

    /// Waits.
    fn sleep(&self, span: Duration) -> Fut<'_, ()>;
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
