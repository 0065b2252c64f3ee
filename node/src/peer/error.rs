//! How a call to a peer can fail, and whether the peer may have acted on it.

use std::fmt;

/// A call without an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerError {
    /// Whether the request may have taken effect over there. `false` is certain: it may be sent again, anywhere.
    pub sent: bool,
    /// What happened.
    pub why: Why,
}

/// Why a call has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// No address is known for this node.
    NoAddress,
    /// There is no connection; the text says what the last attempt met.
    NotConnected(String),
    /// The connection ended while the call waited; the text says how.
    Lost(String),
    /// The answer did not come in time.
    Deadline,
    /// Too much waits for this peer already.
    Overloaded,
    /// The peer answered that it did nothing, and why.
    NotDone(String),
    /// The payload is larger than a frame may be, in bytes.
    TooLarge(usize),
    /// This node is shutting down.
    Closed,
}

impl PeerError {
    pub(super) fn unsent(why: Why) -> PeerError {
        PeerError { sent: false, why }
    }
}

impl fmt::Display for PeerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.why {
            Why::NoAddress => write!(f, "no address is known for this node"),
            Why::NotConnected(why) => write!(f, "not connected: {why}"),
            Why::Lost(why) => write!(f, "the connection was lost: {why}"),
            Why::Deadline if self.sent => write!(f, "no answer in time"),
            Why::Deadline => write!(f, "not sent in time"),
            Why::Overloaded => write!(f, "too much waits for this peer"),
            Why::NotDone(why) => write!(f, "refused: {why}"),
            Why::TooLarge(bytes) => write!(f, "a payload of {bytes} bytes is larger than a frame may be"),
            Why::Closed => write!(f, "this node is shutting down"),
        }
    }
}

impl std::error::Error for PeerError {}
