//! What may be done to the simulated world: making hosts, running code on them, and harming them.

use std::fmt;
use std::future::Future;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use net::dice::Dice;
use net::rt::{self, JoinHandle};
use rand::Rng;

use super::agenda::Due;
use super::hosts::{Host, HostClock};
use super::slots::Key;
use super::{Down, HostId, Network, Part, Shared, Trace, TrueSleep, scaled};

/// A hand on the world. Copies are cheap; one that outlives the [`super::Engine`] does nothing.
#[derive(Clone)]
pub struct Control(pub(super) Arc<Shared>);

/// A seat in the agenda, from [`Control::join`].
#[derive(Clone, Copy, Debug)]
pub struct Seat(usize);

impl Control {
    /// The seed of the world.
    pub fn seed(&self) -> u64 {
        self.0.seed
    }

    /// Dice of the seed, for parts of the world to take streams from by name.
    pub fn dice(&self) -> Dice {
        Dice::from_seed(self.0.seed)
    }

    /// The true time since the beginning of the world, in nanoseconds. No host knows it.
    pub fn now_ns(&self) -> u64 {
        self.0.now_ns()
    }

    /// Steps run so far.
    pub fn steps(&self) -> u64 {
        self.0.state().steps
    }

    /// The hash of everything that has happened: two runs with the same hash were the same run.
    pub fn hash(&self) -> u64 {
        self.0.state().hash
    }

    /// How many tasks there are.
    pub fn task_count(&self) -> usize {
        self.0.state().tasks.len()
    }

    // ---- hosts ----

    /// A new host, running. The first is number 1.
    pub fn host(&self, name: impl Into<String>) -> HostId {
        let mut state = self.0.state();
        let id = HostId(u32::try_from(state.hosts.len()).expect("fewer than 2^32 hosts"));
        let shows = 1_000_000_000 + scaled(state.dice.next_u64(), 1 << 50);
        let clock = HostClock::new(self.now_ns(), shows);
        state.hosts.push(Host::new(name.into(), clock));
        id
    }

    /// What a host is called.
    pub fn name_of(&self, host: HostId) -> String {
        self.0.state().hosts[host.index()].name.clone()
    }

    /// On whose behalf code is running now.
    pub fn current_host(&self) -> HostId {
        self.0.state().host
    }

    /// Whether a host is up (it may be frozen).
    pub fn is_up(&self, host: HostId) -> bool {
        self.0.state().hosts[host.index()].alive
    }

    /// How often a host has been started.
    pub fn incarnation(&self, host: HostId) -> u64 {
        self.0.state().hosts[host.index()].incarnation
    }

    /// Runs a function on behalf of a host: tasks it spawns, sockets it opens and clocks it reads are the host's.
    pub fn as_host<T>(&self, host: HostId, code: impl FnOnce() -> T) -> T {
        let _entered = rt::engine::enter(Arc::clone(&self.0) as Arc<dyn rt::engine::Engine>);
        let before = mem::replace(&mut self.0.state().host, host);
        let value = code();
        self.0.state().host = before;
        value
    }

    /// Starts a task on a host. On a host that is down it is dropped at once.
    pub fn spawn_on<T: Send + 'static>(
        &self,
        host: HostId,
        name: &'static str,
        future: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        self.as_host(host, || rt::spawn(name, future))
    }

    // ---- harm ----

    /// Takes a host down with everything that runs on it. Nothing of it runs after this call; its futures are dropped
    /// at once too, unless it is code of that very host that asks: then when the running step is over.
    pub fn kill(&self, host: HostId, how: Down) {
        assert!(host != HostId::WORLD, "the world cannot be killed");
        let (parts, tasks, myself) = {
            let mut state = self.0.state();
            let it = &mut state.hosts[host.index()];
            if !it.alive {
                return;
            }
            it.alive = false;
            it.frozen = false;
            it.parked.clear();
            let now_ns = self.now_ns();
            state.mix(0xdead ^ u64::from(host.0) << 16, now_ns);
            let tasks: Vec<Key> = state
                .tasks
                .iter()
                .filter(|(_, task)| task.host == host)
                .map(|(key, _)| key)
                .collect();
            (state.parts.clone(), tasks, state.host == host)
        };
        for part in &parts {
            part.host_down(host, how);
        }
        for key in tasks {
            self.0.doom(key);
        }
        if !myself {
            let _entered = rt::engine::enter(Arc::clone(&self.0) as Arc<dyn rt::engine::Engine>);
            self.0.bury();
        }
    }

    /// Starts a host that is down: a new incarnation, without tasks, its clock set anew.
    pub fn boot(&self, host: HostId) {
        let parts = {
            let mut state = self.0.state();
            if state.hosts[host.index()].alive {
                return;
            }
            let now_ns = self.now_ns();
            let shows = 1_000_000_000 + scaled(state.dice.next_u64(), 1 << 50);
            let it = &mut state.hosts[host.index()];
            it.alive = true;
            it.incarnation += 1;
            it.clock = HostClock::new(now_ns, shows);
            state.mix(0xb007 ^ u64::from(host.0) << 16, now_ns);
            state.parts.clone()
        };
        for part in &parts {
            part.host_up(host);
        }
    }

    /// Stops a host in its tracks: nothing of it runs, while time passes for everybody else.
    pub fn freeze(&self, host: HostId) {
        assert!(host != HostId::WORLD, "the world cannot be frozen");
        let mut state = self.0.state();
        let it = &mut state.hosts[host.index()];
        it.frozen = it.alive;
    }

    /// Lets a frozen host go on. What it was waiting for has happened meanwhile.
    pub fn thaw(&self, host: HostId) {
        let mut state = self.0.state();
        let it = &mut state.hosts[host.index()];
        it.frozen = false;
        let parked = mem::take(&mut it.parked);
        self.0.ready.lock().extend(parked);
    }

    /// Whether a host is frozen.
    pub fn is_frozen(&self, host: HostId) -> bool {
        self.0.state().hosts[host.index()].frozen
    }

    /// Makes a host's monotonic clock run too fast by so many parts in a million (negative: too slow).
    pub fn set_drift(&self, host: HostId, ppm: i64) {
        assert!(host != HostId::WORLD, "the world's clock is the true one");
        let now_ns = self.now_ns();
        let mut state = self.0.state();
        let state = &mut *state;
        let clock = &mut state.hosts[host.index()].clock;
        clock.set_ppm(now_ns, ppm);
        for (key, at_local) in state.agenda.armed_of(host) {
            state.agenda.move_to(key, clock.true_at(at_local));
        }
    }

    // ---- for parts of the world ----

    /// Adds a part to the world.
    pub fn join(&self, part: Arc<dyn Part>) -> Seat {
        let mut state = self.0.state();
        state.parts.push(part);
        Seat(state.parts.len() - 1)
    }

    /// Calls [`Part::fire`] with these words at a true moment.
    pub fn call_at(&self, seat: Seat, at_ns: u64, kind: u32, token: u64) {
        self.0.state().agenda.at(
            at_ns,
            Due::Part {
                part: seat.0,
                kind,
                token,
            },
        );
    }

    /// Gives the world its network.
    pub fn set_network(&self, network: Arc<dyn Network>) {
        let before = self.0.state().network.replace(network);
        drop(before);
    }

    /// Waits, by true time, whatever the clock of the host says.
    pub fn sleep(&self, duration: Duration) -> TrueSleep {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        TrueSleep::new(self.clone(), self.now_ns().saturating_add(nanos))
    }

    // ---- for those who watch ----

    /// Writes down everything from now on.
    pub fn set_trace(&self, trace: Option<Box<dyn Trace>>) {
        let before = mem::replace(&mut self.0.state().trace, trace);
        drop(before);
    }

    /// Tells that something happened on a host. `word` goes into the hash of the run; `what` is only written out if
    /// somebody writes things down.
    pub fn tell(&self, host: HostId, word: u64, what: fmt::Arguments<'_>) {
        let now_ns = self.now_ns();
        let mut state = self.0.state();
        state.mix(word ^ u64::from(host.0) << 48, now_ns);
        let state = &mut *state;
        if let Some(trace) = &mut state.trace {
            trace.line(now_ns, &state.hosts[host.index()].name, what);
        }
    }
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control")
            .field("seed", &self.0.seed)
            .field("now_ns", &self.now_ns())
            .finish_non_exhaustive()
    }
}
