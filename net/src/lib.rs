//! What a node hears from outside: sockets, time, chance and tasks, and HTTP on top of them.
//!
//! Everything here goes through [`rt`], which hands it to tokio in production and to a simulator when one has been
//! entered on the thread. Nothing here knows what a stream is.
// The lint can only be lifted for a whole crate. The one use is in `rt::engine`.
#![expect(
    clippy::disallowed_macros,
    reason = "which engine a thread belongs to is the one thing that is the thread's"
)]

pub mod clock;
pub mod conn;
pub mod dice;
pub mod rt;
pub mod serve;
