//! `Date`: what time this node thinks it is.
//!
//! Caches count an answer's age from it (RFC 9111, 4.2.3). The time is the world's clock, so it is as wrong as that clock,
//! and the same in every run of a simulation.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use http::HeaderValue;
use net::clock::Clock;

/// The last second of the year 9999: the format has four digits.
const LAST_SECOND: u64 = 253_402_300_799;

/// Spells the time, once a second at most.
pub(super) struct Date {
    clock: Arc<dyn Clock>,
    /// The second spelled last, since the epoch.
    spelled: Mutex<(u64, HeaderValue)>,
}

impl Date {
    /// By this clock.
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            spelled: Mutex::new((0, spell(0))),
        }
    }

    /// The header's value now.
    pub(super) fn now(&self) -> HeaderValue {
        let second = (self.clock.now_ms() / 1000).min(LAST_SECOND);
        let mut spelled = self.spelled.lock().unwrap_or_else(PoisonError::into_inner);
        if spelled.0 != second {
            *spelled = (second, spell(second));
        }
        spelled.1.clone()
    }
}

fn spell(second: u64) -> HeaderValue {
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(second);
    HeaderValue::try_from(httpdate::fmt_http_date(time)).expect("a date is ASCII")
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    struct Hand(AtomicU64);

    impl Clock for Hand {
        fn now_ms(&self) -> u64 {
            self.0.load(Ordering::Relaxed)
        }
    }

    #[test]
    fn the_date_follows_the_clock_forward_and_back() {
        let hand = Arc::new(Hand(AtomicU64::new(0)));
        let date = Date::new(hand.clone());
        let table = [
            (784_111_777_000, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (784_111_777_999, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (784_111_778_000, "Sun, 06 Nov 1994 08:49:38 GMT"),
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (u64::MAX, "Fri, 31 Dec 9999 23:59:59 GMT"),
        ];
        for (now_ms, expected) in table {
            hand.0.store(now_ms, Ordering::Relaxed);
            assert_eq!(date.now(), expected);
        }
    }
}
