//! Hosts: the machines of the false world. Every task belongs to one; a host dies, stands still and comes back as a
//! whole, and has a monotonic clock of its own.

use super::ready::Entry;

/// A host by its number. The world itself is number 0; hosts that are made count from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostId(pub u32);

impl HostId {
    /// The one outside of all machines, on whose behalf a test or a scenario runs. It cannot be harmed.
    pub const WORLD: Self = Self(0);

    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

/// How a host goes down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Down {
    /// The process dies; the operating system lives, keeps what was written and closes its connections.
    Crash,
    /// The machine dies: nobody hears anything, and what was not synced is lost.
    PowerLoss,
}

#[derive(Debug)]
pub(super) struct Host {
    pub(super) name: String,
    pub(super) alive: bool,
    pub(super) frozen: bool,
    /// How often it has been started.
    pub(super) incarnation: u64,
    /// Its ready tasks, while it is frozen.
    pub(super) parked: Vec<Entry>,
    pub(super) clock: HostClock,
}

impl Host {
    pub(super) fn new(name: String, clock: HostClock) -> Self {
        Self {
            name,
            alive: true,
            frozen: false,
            incarnation: 1,
            parked: Vec::new(),
            clock,
        }
    }
}

/// The monotonic clock of a host: it begins anywhere, and may run too fast or too slow.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct HostClock {
    /// The true time of the last change, and what the clock showed then.
    base_true: u64,
    base_local: u64,
    /// Parts in a million that it is too fast.
    ppm: i64,
}

const MILLION: i128 = 1_000_000;

impl HostClock {
    pub(super) fn new(now_ns: u64, shows: u64) -> Self {
        Self {
            base_true: now_ns,
            base_local: shows,
            ppm: 0,
        }
    }

    /// What it shows at a true moment.
    pub(super) fn local(&self, true_ns: u64) -> u64 {
        if self.ppm == 0 {
            return self.base_local + (true_ns - self.base_true);
        }
        let passed = i128::from(true_ns - self.base_true) * (MILLION + i128::from(self.ppm)) / MILLION;
        self.base_local + u64::try_from(passed).unwrap_or(0)
    }

    /// The first true moment at which it shows so much.
    pub(super) fn true_at(&self, local_ns: u64) -> u64 {
        let ahead = local_ns.saturating_sub(self.base_local);
        if self.ppm == 0 {
            return self.base_true.saturating_add(ahead);
        }
        let rate = MILLION + i128::from(self.ppm);
        let passed = (i128::from(ahead) * MILLION + rate - 1) / rate;
        self.base_true.saturating_add(u64::try_from(passed).unwrap_or(u64::MAX))
    }

    /// From now on it runs too fast by so many parts in a million (bounded to half and double speed).
    pub(super) fn set_ppm(&mut self, now_ns: u64, ppm: i64) {
        self.base_local = self.local(now_ns);
        self.base_true = now_ns;
        self.ppm = ppm.clamp(-500_000, 1_000_000);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fast_clock_shows_more_and_gets_there_sooner() {
        let mut clock = HostClock::new(1_000, 500);
        assert_eq!((clock.local(3_000), clock.true_at(2_500)), (2_500, 3_000));
        clock.set_ppm(3_000, 50_000);
        assert_eq!(clock.local(3_000), 2_500, "a change of pace is no jump");
        assert_eq!(clock.local(1_003_000), 1_052_500);
        for local in 2_500..4_000 {
            let at = clock.true_at(local);
            assert!(clock.local(at) >= local && (at == 3_000 || clock.local(at - 1) < local));
        }
    }
}
