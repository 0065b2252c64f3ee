//! What an operator may see of the connections to other nodes.

use serde::Serialize;

/// One peer, as this node sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PeerStatus {
    /// The peer's node id.
    pub node_id: u64,
    /// Where this node looks for it.
    pub address: String,
    /// Whether this node can ask it.
    pub state: PeerState,
    /// Whether it can ask this node: it has a connection open to us.
    pub calls_us: bool,
    /// Why the last connection or attempt ended, in a sentence; absent while all is well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Calls waiting for an answer.
    pub waiting: usize,
    /// Payload bytes waiting to be sent.
    pub queued_bytes: usize,
}

/// The dialer's view of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PeerState {
    /// An attempt is under way.
    Connecting,
    /// Open and introduced.
    Connected,
    /// The last attempt failed; the next one comes by itself.
    Unreachable,
    /// This node is shutting down.
    Closed,
}
