//! How nodes talk to each other: one long-lived connection per ordered pair, many groups on it.
//!
//! The dialer asks, the acceptor answers, so two nodes share at most two connections. They live on the same port as HTTP:
//! the dialer opens with [`MAGIC`], both introduce themselves ([`handshake`]), then frames follow ([`frame`]). Requests
//! are multiplexed and answered in any order, every call has a deadline, every queue a bound in bytes and in count.
//!
//! | file | holds |
//! |---|---|
//! | `frame` | the layout of a frame, and batches of frames without copies |
//! | `handshake` | who are you, may we talk |
//! | `link` | the dialer's side: calls, their queue, connecting again |
//! | `dialing` | one established connection, dialer's side |
//! | `serving` | one established connection, acceptor's side |
//! | `peers` | all links of a node |
//!
//! This folder does not know what is asked: a kind is a number and a payload is bytes.

mod dialing;
mod error;
mod frame;
mod handshake;
mod link;
mod options;
mod peers;
mod serving;
mod status;
#[cfg(test)]
mod tests;

pub use error::{PeerError, Why};
pub use handshake::Gate;
pub use options::Options;
pub use peers::Peers;
pub use serving::{Handler, NotDone, Reply};
pub use status::{PeerState, PeerStatus};

/// What a dialer writes first, and how the listener tells a peer from a client.
pub use net::serve::PEER_MAGIC as MAGIC;

/// Kinds from here on are bulk: they wait behind the others in the dialer's queue, and have bounds of their own, so
/// that neither forwarded writes nor snapshots can keep a heartbeat from its peer.
pub const BULK: u8 = 0x80;
