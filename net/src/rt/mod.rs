//! The seam for time, tasks, sockets and chance.
//!
//! Free functions, usable anywhere. They ask at run time who serves them: the engine that was [`engine::enter`]ed on
//! this thread (a simulator), or else tokio. So the same compiled node runs in both worlds, and code that uses only this
//! module cannot tell them apart.
//!
//! In production the functions need a tokio runtime around them ([`block_on`] makes one).

pub mod engine;
mod task;
mod tcp;
mod time;
mod tokio_backend;

pub use task::{JoinError, JoinHandle, blocking, dedicated, offload, spawn, yield_now};
pub use tcp::{TcpListener, TcpStream};
pub use time::{Elapsed, Instant, Sleep, Timeout, sleep, sleep_until, timeout, timeout_at};
pub use tokio_backend::{block_on, block_on_to_the_last};

/// A random number: seeded by the operating system in production, by the engine in a simulation.
///
/// For chance that a library wants by itself (election timeouts). Our own code throws `World::dice`, by name.
pub fn random_u64() -> u64 {
    engine::with(|engine| match engine {
        Some(engine) => engine.random_u64(),
        None => crate::dice::os_random_u64(),
    })
}
