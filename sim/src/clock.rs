//! The false wall clock: one per node, on top of simulated time, which it may misread.
//!
//! Simulated time is the truth: every clock shows it plus what is wrong with this one. It can be off from the start,
//! run fast or slow, and jump either way; the node learns of none of that.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use net::clock::Clock;

use crate::tell::Tell;

/// When every simulation begins, by the true wall clock: milliseconds since 1970 (2026-01-01T00:00:00Z).
pub const EPOCH_MS: u64 = 1_767_225_600_000;

/// A clock in the hands of the world. Clones are the same clock.
#[derive(Clone)]
pub struct FalseClock {
    state: Arc<Mutex<State>>,
    true_now: Arc<dyn Fn() -> u64 + Send + Sync>,
    tell: Tell,
}

/// The clock showed `shown_ns` at `at_ns`, and runs on from there at its own pace.
#[derive(Debug)]
struct State {
    /// Since 1970; signed, so that a jump before it reads as 1970 instead of failing.
    shown_ns: i128,
    /// By the true time.
    at_ns: u64,
    drift_ppm: i64,
}

impl FalseClock {
    /// A clock that shows the true time, which `true_now` tells in nanoseconds since the beginning of the world.
    pub fn new(true_now: impl Fn() -> u64 + Send + Sync + 'static, tell: Tell) -> FalseClock {
        let at_ns = true_now();
        let state = State {
            shown_ns: true_ns(at_ns),
            at_ns,
            drift_ppm: 0,
        };
        FalseClock {
            state: Arc::new(Mutex::new(state)),
            true_now: Arc::new(true_now),
            tell,
        }
    }

    /// The clock for a node.
    pub fn mount(&self) -> Arc<dyn Clock> {
        Arc::new(self.clone())
    }

    /// It is off from the true time by so many milliseconds, from now on.
    pub fn skew(&self, by_ms: i64) {
        self.change(|state| state.shown_ns = true_ns(state.at_ns) + i128::from(by_ms) * 1_000_000);
        self.tell.line(by_ms as u64, format_args!("clock is off by {by_ms} ms"));
    }

    /// It jumps by so many milliseconds from what it shows.
    pub fn jump(&self, by_ms: i64) {
        self.change(|state| state.shown_ns += i128::from(by_ms) * 1_000_000);
        self.tell.line(by_ms as u64, format_args!("clock jumps by {by_ms} ms"));
    }

    /// It runs too fast by so many parts in a million, from now on; negative: too slow. At a million less it stands.
    pub fn drift(&self, ppm: i64) {
        self.change(|state| state.drift_ppm = ppm);
        self.tell.line(ppm as u64, format_args!("clock drifts by {ppm} ppm"));
    }

    /// It shows the true time and keeps it. A clock that was ahead goes back.
    pub fn mend(&self) {
        self.change(|state| {
            state.shown_ns = true_ns(state.at_ns);
            state.drift_ppm = 0;
        });
    }

    /// How far it is off from the true time now, in milliseconds.
    pub fn off_ms(&self) -> i64 {
        let now_ns = (self.true_now)();
        i64::try_from((self.lock().shown_at(now_ns) - true_ns(now_ns)) / 1_000_000).unwrap_or(i64::MAX)
    }

    /// Changes the state, brought up to now.
    fn change(&self, change: impl FnOnce(&mut State)) {
        let now_ns = (self.true_now)();
        let mut state = self.lock();
        state.shown_ns = state.shown_at(now_ns);
        state.at_ns = now_ns;
        change(&mut state);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Whoever panicked is a test that has failed already.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn shown_at(&self, now_ns: u64) -> i128 {
        let passed = i128::from(now_ns) - i128::from(self.at_ns);
        self.shown_ns + passed + passed * i128::from(self.drift_ppm) / 1_000_000
    }
}

fn true_ns(at_ns: u64) -> i128 {
    i128::from(EPOCH_MS) * 1_000_000 + i128::from(at_ns)
}

impl Clock for FalseClock {
    fn now_ms(&self) -> u64 {
        u64::try_from(self.lock().shown_at((self.true_now)()) / 1_000_000).unwrap_or(0)
    }
}

impl fmt::Debug for FalseClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lock().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

    use super::*;

    /// A clock, and the true time in milliseconds for the test to set.
    fn clock() -> (FalseClock, Arc<AtomicU64>) {
        let true_ms = Arc::new(AtomicU64::new(0));
        let shown = true_ms.clone();
        (
            FalseClock::new(move || shown.load(Relaxed) * 1_000_000, Tell::nobody()),
            true_ms,
        )
    }

    #[test]
    fn a_whole_clock_shows_the_true_time() {
        let (clock, true_ms) = clock();
        assert_eq!(clock.now_ms(), EPOCH_MS);
        true_ms.store(1234, Relaxed);
        assert_eq!(clock.now_ms(), EPOCH_MS + 1234);
        assert_eq!(clock.off_ms(), 0);
    }

    #[test]
    fn skew_is_from_the_true_time_and_a_jump_from_the_shown() {
        let (clock, true_ms) = clock();
        clock.jump(5_000);
        clock.jump(5_000);
        assert_eq!(clock.off_ms(), 10_000);
        clock.skew(-700);
        true_ms.store(1000, Relaxed);
        assert_eq!(clock.now_ms(), EPOCH_MS + 300);
        clock.jump(-3_600_000);
        assert_eq!(clock.now_ms(), EPOCH_MS + 300 - 3_600_000, "it goes back");
        clock.mend();
        assert_eq!(clock.off_ms(), 0);
    }

    #[test]
    fn a_jump_before_1970_reads_as_1970() {
        let (clock, _) = clock();
        clock.jump(-3_000_000_000_000);
        assert_eq!(clock.now_ms(), 0);
    }

    #[test]
    fn a_drifting_clock_runs_fast_or_slow_and_keeps_what_it_gained() {
        let (fast, true_ms) = clock();
        fast.drift(200);
        for minute in 1..=60 {
            true_ms.store(minute * 60_000, Relaxed);
            fast.now_ms();
        }
        assert_eq!(fast.off_ms(), 720, "200 ppm of an hour, however often it is read");
        fast.drift(0);
        true_ms.store(7_200_000, Relaxed);
        assert_eq!(fast.off_ms(), 720);

        let (standing, true_ms) = clock();
        standing.drift(-1_000_000);
        true_ms.store(60_000, Relaxed);
        assert_eq!(standing.now_ms(), EPOCH_MS);
    }
}
