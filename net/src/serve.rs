//! HTTP on connections, from both sides, every wait with a deadline.
//!
//! One port serves clients, peers and operators: [`sniff`] tells by the first bytes who has come, [`serve_connection`]
//! speaks HTTP/1.1 or cleartext HTTP/2 with it, [`Client`] is the other end.

mod client;
mod connection;
mod shutdown;
mod sniff;
mod stalled;

pub use client::{CallError, Client, ClientOptions, Duplex, Pieces, Secure, Trouble};
pub use connection::{Limits, Protocol, ServeError, serve_connection};
pub use shutdown::Shutdown;
pub use sniff::{PEER_MAGIC, Sniffed, sniff};
