//! The cursor: what keeps a cache in between from answering the same for ever.
//!
//! Clients send back the cursor they were told, so that it is part of what a cache goes by. It counts intervals of time,
//! which lets all readers of one interval share an answer, and is never at or below the one sent, so that nobody is
//! given an old answer twice. It says nothing about a place in the stream.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use net::{clock::Clock, dice};
use rand::RngExt;

/// Where intervals are counted from: 2024-10-09T00:00:00Z, in Unix milliseconds.
const EPOCH_MS: u64 = 1_728_432_000_000;

/// How long an interval is.
const INTERVAL_MS: u64 = 20_000;

/// How far ahead of the cursor sent an answer's is thrown when time has not passed it by: 1 to 3600 s, whole intervals.
const JITTER_MAX: u64 = 3_600_000 / INTERVAL_MS;

/// Makes cursors.
pub(super) struct Cursors {
    clock: Arc<dyn Clock>,
    dice: Mutex<dice::Stream>,
}

impl Cursors {
    pub(super) fn new(clock: Arc<dyn Clock>, dice: dice::Stream) -> Self {
        Self {
            clock,
            dice: Mutex::new(dice),
        }
    }

    /// The present interval.
    pub(super) fn now(&self) -> u64 {
        self.clock.now_ms().saturating_sub(EPOCH_MS) / INTERVAL_MS
    }

    /// The least that an answer to this cursor may tell: the present interval, or something past the one sent.
    pub(super) fn after(&self, sent: Option<u64>) -> u64 {
        let now = self.now();
        match sent {
            Some(sent) if sent >= now => sent.saturating_add(self.throw(1, JITTER_MAX)),
            _ => now,
        }
    }

    /// A time within a tenth of `about`, so that those who came together do not come together again.
    pub(super) fn about(&self, about: Duration) -> Duration {
        about.mul_f64(self.throw(900, 1100) as f64 / 1000.0)
    }

    fn throw(&self, min: u64, max: u64) -> u64 {
        let mut dice = self.dice.lock().unwrap_or_else(PoisonError::into_inner);
        dice.random_range(min..=max)
    }
}

#[cfg(test)]
mod tests {
    use net::dice::Dice;

    use super::*;

    struct At(u64);

    impl Clock for At {
        fn now_ms(&self) -> u64 {
            self.0
        }
    }

    fn at(ms: u64) -> Cursors {
        Cursors::new(Arc::new(At(ms)), Dice::from_seed(1).stream("live"))
    }

    #[test]
    fn a_cursor_is_the_number_of_the_interval() {
        let table = [
            (0, 0),
            (EPOCH_MS, 0),
            (EPOCH_MS + 19_999, 0),
            (EPOCH_MS + 20_000, 1),
            (EPOCH_MS + 86_400_000, 4320),
        ];
        for (ms, interval) in table {
            assert_eq!(at(ms).after(None), interval, "{ms}");
        }
    }

    #[test]
    fn a_cursor_is_never_at_or_below_the_one_sent() {
        let cursors = at(EPOCH_MS + 100 * INTERVAL_MS);
        assert_eq!(cursors.after(Some(99)), 100);
        for sent in [100, 101, 1_000_000] {
            for _ in 0..100 {
                let told = cursors.after(Some(sent));
                assert!(told > sent && told <= sent + 180, "{sent}: {told}");
            }
        }
        assert_eq!(cursors.after(Some(u64::MAX)), u64::MAX);
    }
}
