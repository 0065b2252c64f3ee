//! A call that failed is made again, after pauses that grow, until a moment.

use std::time::Duration;

use net::rt::{self, Instant};

/// The first and the longest pause.
const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// How long one goes on.
pub(super) struct Again {
    pub(super) until: Instant,
    pause: Duration,
}

impl Again {
    pub(super) fn until(until: Instant) -> Self {
        let pause = PAUSE_MIN;
        Self { until, pause }
    }

    /// Waits for the next attempt; `false` if there is no time for one.
    pub(super) async fn may(&mut self) -> bool {
        if Instant::now() + self.pause >= self.until {
            return false;
        }
        rt::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(PAUSE_MAX);
        true
    }
}
