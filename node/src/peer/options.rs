//! The bounds and rhythms of peer connections.

use std::time::Duration;

/// Numbers only; the defaults suit nodes in one region.
#[derive(Clone, Debug)]
pub struct Options {
    /// The largest payload of one frame, bytes.
    pub payload_bytes_max: usize,
    /// Payload bytes that may wait to be sent to one peer, for each of the two classes. One larger payload alone passes.
    pub queue_bytes_max: usize,
    /// Calls that may wait for answers of one peer, for each of the two classes.
    pub calls_max: usize,
    /// Request bytes one peer may have in our handlers, for each of the two classes. One larger request alone passes.
    pub serving_bytes_max: usize,
    /// Requests one peer may have in our handlers, for each of the two classes.
    pub serving_calls_max: usize,
    /// Time for connecting, and for each step of introducing oneself.
    pub handshake: Duration,
    /// How often a silent line is asked for a sign of life.
    pub ping_every: Duration,
    /// How many times in a row the dialer finds the line silent before it gives it up. The acceptor waits thrice that.
    pub silent_pings_max: u32,
    /// The pause after the first failed attempt to connect; it doubles from there, with jitter.
    pub backoff_min: Duration,
    /// The longest pause between attempts.
    pub backoff_max: Duration,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            payload_bytes_max: 65 << 20,
            queue_bytes_max: 32 << 20,
            calls_max: 4096,
            serving_bytes_max: 32 << 20,
            serving_calls_max: 4096,
            handshake: Duration::from_secs(2),
            ping_every: Duration::from_secs(1),
            silent_pings_max: 3,
            backoff_min: Duration::from_millis(20),
            backoff_max: Duration::from_secs(1),
        }
    }
}

impl Options {
    /// The defaults, with frames that can carry a request whose body is `body_bytes_max` long.
    pub fn for_bodies_up_to(body_bytes_max: usize) -> Options {
        // Slack for the names, the headers of a command and the envelope of the consensus.
        let payload_bytes_max = body_bytes_max.clamp(64 << 20, 1 << 30) + (1 << 20);
        Options {
            payload_bytes_max,
            ..Options::default()
        }
    }
}
