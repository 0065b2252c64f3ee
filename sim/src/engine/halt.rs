//! Why a run ended before what it waited for was done.

use std::fmt;

/// A run that broke off. It names the seed, so that it can be run again.
#[derive(Clone, Debug, thiserror::Error)]
pub struct Halt {
    /// The seed of the run.
    pub seed: u64,
    /// The true time at the end, in nanoseconds.
    pub at_ns: u64,
    /// What happened.
    pub why: Why,
    /// Tasks that were there, as `host/name` with how often they had run, the busiest first.
    pub running: Vec<String>,
}

/// What breaks off a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// Nothing can run, and nothing is due, ever.
    Deadlock,
    /// The budget of steps is used up: something runs in circles, or the run is too long for it.
    Steps(u64),
    /// A task panicked.
    Panic {
        /// On this host.
        host: String,
        /// The name of the task.
        task: &'static str,
        /// What it said.
        message: String,
    },
}

impl fmt::Display for Halt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (secs, millis) = (self.at_ns / 1_000_000_000, self.at_ns / 1_000_000 % 1_000);
        write!(f, "seed {}, at {secs}.{millis:03} s: ", self.seed)?;
        match &self.why {
            Why::Deadlock => write!(f, "nothing can run and nothing is due")?,
            Why::Steps(steps) => write!(f, "{steps} steps were not enough")?,
            Why::Panic { host, task, message } => return write!(f, "{host}/{task} panicked: {message}"),
        }
        if !self.running.is_empty() {
            write!(f, "; tasks: {}", self.running.join(", "))?;
        }
        Ok(())
    }
}
