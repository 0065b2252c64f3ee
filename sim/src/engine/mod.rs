//! The default engine of the simulator: a seeded executor with a time of its own.
//!
//! One thread. Time stands still but for what the engine says: it moves a little with every step, and jumps to the next
//! thing that is due when nobody can run. Of the tasks that can run, a throw of the dice picks the next, and a throw may
//! put the picked one off: so that every order which the program allows comes up, and the same seed brings it again.
//!
//! Product code lives here without knowing: `net::rt` sends its tasks, timers, sockets and chance to whatever engine
//! was entered on the thread ([`Engine::run_until`] enters this one). Everything made is freed with the [`Engine`].
//!
//! | file | question |
//! |---|---|
//! | `mod.rs` | who runs next, and until when? |
//! | `step.rs` | what is one step? |
//! | `control.rs` | what may be done to hosts? ([`Control`]) |
//! | `seam.rs` | what does `net::rt` ask? |
//! | `ready.rs`, `agenda.rs` | who can run; what is due? |
//! | `hosts.rs` | machines and their clocks |
//! | `halt.rs` | why did a run break off? |

mod agenda;
mod control;
mod halt;
mod hosts;
mod ready;
mod seam;
pub(crate) mod slots;
mod step;

use std::fmt;
use std::future::Future;
use std::mem;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_util::future::BoxFuture;
use net::dice::{Dice, Stream};
use net::rt;

pub use control::{Control, Seat};
pub use halt::{Halt, Why};
pub use hosts::{Down, HostId};
pub use seam::{Network, TrueSleep};

use agenda::Agenda;
use hosts::{Host, HostClock};
use ready::{Entry, Ready, TaskRef};
use slots::{Key, Slots};
use step::Pick;

/// The habits of an engine.
#[derive(Clone, Debug)]
pub struct Options {
    /// The least a step costs, in nanoseconds of simulated time.
    pub step_ns_min: u32,
    /// The most a step costs, in nanoseconds; by a throw between the two.
    pub step_ns_max: u32,
    /// How likely a picked task is put off instead of run (0 to 1).
    pub defer: f64,
    /// The longest it is put off, by a throw.
    pub defer_max: Duration,
    /// Steps after which a run is broken off.
    pub steps_max: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            step_ns_min: 200,
            step_ns_max: 2_000,
            defer: 0.01,
            defer_max: Duration::from_millis(2),
            steps_max: 50_000_000,
        }
    }
}

/// A part of the false world that wants to be called at moments, and to hear what befalls hosts.
pub trait Part: Send + Sync {
    /// A moment it asked for with [`Control::call_at`] has come.
    fn fire(&self, kind: u32, token: u64) {
        let _ = (kind, token);
    }

    /// A host goes down. Its tasks are still there, and are dropped next.
    fn host_down(&self, host: HostId, how: Down) {
        let _ = (host, how);
    }

    /// A host is started again. It has no tasks yet.
    fn host_up(&self, host: HostId) {
        let _ = host;
    }
}

/// Someone who writes down what happens.
pub trait Trace: Send {
    /// Something happened on a host, at a true moment in nanoseconds. Called under the engine's lock: it must not call
    /// [`Control`].
    fn line(&mut self, at_ns: u64, host: &str, what: fmt::Arguments<'_>);
}

/// A simulated world, owned. Dropping it drops every task, connection and timer in it.
pub struct Engine(Control);

/// Everything, behind two locks: the one here, and the one of the ready tasks, which may be taken under it. Foreign
/// code (futures, destructors, wakers, parts) is never called under the first.
pub(crate) struct Shared {
    seed: u64,
    options: Options,
    /// The true time.
    now_ns: AtomicU64,
    ready: Arc<Ready>,
    state: Mutex<State>,
}

struct State {
    /// Picks, costs and deferrals.
    dice: Stream,
    /// What `net::rt::random_u64` throws.
    chance: Stream,
    tasks: Slots<Task>,
    agenda: Agenda,
    hosts: Vec<Host>,
    /// On whose behalf code is running.
    host: HostId,
    /// The task that is running.
    running: Option<Key>,
    /// Futures to be dropped as soon as nothing runs.
    graveyard: Vec<(HostId, BoxFuture<'static, ()>)>,
    parts: Vec<Arc<dyn Part>>,
    network: Option<Arc<dyn Network>>,
    steps: u64,
    hash: u64,
    trace: Option<Box<dyn Trace>>,
    failed: Option<Why>,
    closing: bool,
}

struct Task {
    name: &'static str,
    host: HostId,
    /// `None` while it runs.
    future: Option<BoxFuture<'static, ()>>,
    shared: Arc<TaskRef>,
    waker: Waker,
    steps: u64,
}

impl Engine {
    /// A world in which nothing has happened yet.
    pub fn new(seed: u64, options: Options) -> Self {
        let dice = Dice::from_seed(seed);
        let state = State {
            dice: dice.stream("engine"),
            chance: dice.stream("chance"),
            tasks: Slots::default(),
            agenda: Agenda::default(),
            hosts: vec![Host::new("world".to_owned(), HostClock::default())],
            host: HostId::WORLD,
            running: None,
            graveyard: Vec::new(),
            parts: Vec::new(),
            network: None,
            steps: 0,
            hash: seed,
            trace: None,
            failed: None,
            closing: false,
        };
        let shared = Shared {
            seed,
            options,
            now_ns: AtomicU64::new(0),
            ready: Arc::default(),
            state: Mutex::new(state),
        };
        Self(Control(Arc::new(shared)))
    }

    /// What may be done to the world, by anyone who holds a copy of this.
    pub fn control(&self) -> Control {
        self.0.clone()
    }

    /// Runs the world until a future is done. The future is picked by the dice like any task, and runs on behalf of
    /// [`HostId::WORLD`].
    ///
    /// # Errors
    /// If the run breaks off. The world is of no use afterwards.
    pub fn run_until<F: Future>(&mut self, future: F) -> Result<F::Output, Halt> {
        let shared = &self.0.0;
        let _entered = rt::engine::enter(Arc::clone(shared) as Arc<dyn rt::engine::Engine>);
        let main = TaskRef::new(Entry::Main, Arc::clone(&shared.ready));
        let waker = Waker::from(Arc::clone(&main));
        let mut future = pin!(future);
        waker.wake_by_ref();
        loop {
            shared.fire();
            shared.bury();
            match shared.pick() {
                Pick::Again => {}
                Pick::Main => {
                    main.picked();
                    let polled = shared.guarded("main", || future.as_mut().poll(&mut Context::from_waker(&waker)));
                    if let Some(Poll::Ready(output)) = polled {
                        main.finish();
                        return Ok(output);
                    }
                }
                Pick::Task { key, mut future, waker } => {
                    let mut context = Context::from_waker(&waker);
                    let name = shared.state().tasks.get(key).map_or("task", |task| task.name);
                    let polled = shared.guarded(name, || future.as_mut().poll(&mut context));
                    shared.ran(key, future, polled.is_none_or(|polled| polled.is_ready()));
                }
                Pick::Nothing => {
                    if !shared.advance() {
                        return Err(shared.halt(Why::Deadlock));
                    }
                }
            }
            let (failed, steps) = {
                let mut state = shared.state();
                (state.failed.take(), state.steps)
            };
            if let Some(why) = failed {
                return Err(shared.halt(why));
            }
            if steps > shared.options.steps_max {
                return Err(shared.halt(Why::Steps(steps)));
            }
        }
    }

    /// Runs the world for so long.
    ///
    /// # Errors
    /// If the run breaks off.
    pub fn run_for(&mut self, duration: Duration) -> Result<(), Halt> {
        self.run_until(async move { rt::sleep(duration).await })
    }
}

impl std::ops::Deref for Engine {
    type Target = Control;
    fn deref(&self) -> &Control {
        &self.0
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let shared = &self.0.0;
        let _entered = rt::engine::enter(Arc::clone(shared) as Arc<dyn rt::engine::Engine>);
        let tasks: Vec<Key> = {
            let mut state = shared.state();
            state.closing = true;
            state.tasks.iter().map(|(key, _)| key).collect()
        };
        for key in tasks {
            shared.doom(key);
        }
        shared.bury();
        // These may hold the engine; it ends with them.
        let mut state = shared.state();
        let parts = (
            mem::take(&mut state.parts),
            state.network.take(),
            state.agenda.clear(),
            state.trace.take(),
        );
        drop(state);
        drop(parts);
        shared.ready.lock().clear();
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_ns(&self) -> u64 {
        self.now_ns.load(Ordering::Relaxed)
    }
}

impl State {
    /// Mixes two words into the hash of the run.
    fn mix(&mut self, a: u64, b: u64) {
        let mut hash = self.hash ^ a.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        hash = (hash ^ (hash >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) ^ b;
        self.hash = hash.rotate_left(27).wrapping_mul(0x94d0_49bb_1331_11eb);
    }
}

/// A throw, as a number below `end`.
pub(crate) fn scaled(throw: u64, end: u64) -> u64 {
    u64::try_from((u128::from(throw) * u128::from(end)) >> 64).expect("below end")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_is_freed_though_its_tasks_parts_and_timers_hold_it() {
        struct Holder(Control);
        impl Part for Holder {
            fn fire(&self, _: u32, _: u64) {
                self.0.steps();
            }
        }
        let mut engine = Engine::new(1, Options::default());
        let shared = Arc::downgrade(&engine.0.0);
        let seat = engine.join(Arc::new(Holder(engine.control())));
        engine.call_at(seat, 1, 0, 0);
        engine.call_at(seat, u64::MAX, 0, 0);
        let control = engine.control();
        drop(engine.spawn_on(HostId::WORLD, "sleeper", async move {
            futures_util::future::join(control.sleep(Duration::MAX), rt::sleep(Duration::MAX)).await;
        }));
        engine.run_for(Duration::from_millis(1)).expect("a run");
        drop(engine);
        assert!(shared.upgrade().is_none());
    }
}
