//! One step after the other: what is due happens, somebody is picked, has run, and is buried.

use std::any::Any;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::task::Waker;

use futures_util::future::BoxFuture;
use rand::Rng;

use super::agenda::Due;
use super::halt::{Halt, Why};
use super::hosts::HostId;
use super::ready::Entry;
use super::slots::Key;
use super::{Shared, scaled};

/// Who runs next.
pub(super) enum Pick {
    Main,
    Task {
        key: Key,
        future: BoxFuture<'static, ()>,
        waker: Waker,
    },
    Again,
    Nothing,
}

impl Shared {
    /// Does everything that is due.
    pub(super) fn fire(&self) {
        let now_ns = self.now_ns();
        loop {
            let mut state = self.state();
            let Some(due) = state.agenda.pop(now_ns) else { return };
            match due {
                Due::Timer(key) => {
                    let waker = state.agenda.ring(key);
                    drop(state);
                    if let Some(waker) = waker {
                        waker.wake();
                    }
                }
                Due::Deferred(key) => self.ready.lock().push(Entry::Task(key)),
                Due::Part { part, kind, token } => {
                    state.host = HostId::WORLD;
                    let part = state.parts.get(part).cloned();
                    drop(state);
                    if let Some(part) = part {
                        part.fire(kind, token);
                    }
                }
            }
        }
    }

    /// Nobody can run: time jumps to the next thing that is due.
    pub(super) fn advance(&self) -> bool {
        let next = self.state().agenda.next();
        if let Some(at) = next {
            self.now_ns.fetch_max(at, Ordering::Relaxed);
        }
        next.is_some()
    }

    /// Picks who runs next, by a throw, and lets time pass for it.
    pub(super) fn pick(&self) -> Pick {
        let mut state = self.state();
        let state = &mut *state;
        let throw;
        let entry = {
            let mut ready = self.ready.lock();
            if ready.is_empty() {
                return Pick::Nothing;
            }
            throw = state.dice.next_u64();
            let at = scaled(throw, ready.len() as u64);
            ready.swap_remove(usize::try_from(at).expect("an index"))
        };
        state.steps += 1;
        // One throw serves all three questions, from bits that hardly meet.
        let options = &self.options;
        let spread = options.step_ns_max.saturating_sub(options.step_ns_min);
        let cost = u64::from(options.step_ns_min) + (throw & 0xffff) * u64::from(spread) / 0xffff;
        let now_ns = self.now_ns.fetch_add(cost, Ordering::Relaxed) + cost;
        let key = match entry {
            Entry::Main => {
                state.host = HostId::WORLD;
                state.running = None;
                state.mix(u64::MAX, now_ns);
                return Pick::Main;
            }
            Entry::Task(key) => key,
        };
        let Some(task) = state.tasks.get_mut(key) else {
            return Pick::Again;
        };
        let host = &mut state.hosts[task.host.index()];
        if host.frozen {
            host.parked.push(entry);
            return Pick::Again;
        }
        let deferred = ((throw >> 16) & 0xffff) as f64 / 65_536.0 < options.defer;
        if deferred && !task.shared.is_aborted() {
            let most = u64::try_from(options.defer_max.as_nanos()).unwrap_or(u64::MAX);
            let at = now_ns + 1 + scaled(state.dice.next_u64(), most);
            state.agenda.at(at, Due::Deferred(key));
            return Pick::Again;
        }
        task.shared.picked();
        task.steps += 1;
        let future = task.future.take();
        state.host = task.host;
        if task.shared.is_aborted() {
            task.shared.finish();
            let host = task.host;
            state.tasks.remove(key);
            state.graveyard.extend(future.map(|future| (host, future)));
            return Pick::Again;
        }
        state.running = Some(key);
        let waker = task.waker.clone();
        state.mix(key.pack(), now_ns);
        match future {
            Some(future) => Pick::Task { key, future, waker },
            None => Pick::Again,
        }
    }

    /// A task has run; its future goes back to its place, or to the graveyard if it is done or was killed meanwhile.
    pub(super) fn ran(&self, key: Key, future: BoxFuture<'static, ()>, done: bool) {
        let mut state = self.state();
        state.running = None;
        let host = state.host;
        match state.tasks.get_mut(key) {
            Some(task) if !done => {
                task.future = Some(future);
                return;
            }
            Some(task) => {
                task.shared.finish();
                state.tasks.remove(key);
            }
            None => {}
        }
        state.graveyard.push((host, future));
    }

    /// Takes a task out of the world. Its future lies in the graveyard until [`Shared::bury`].
    pub(super) fn doom(&self, key: Key) {
        let mut state = self.state();
        if let Some(task) = state.tasks.remove(key) {
            task.shared.finish();
            state.graveyard.extend(task.future.map(|future| (task.host, future)));
        }
    }

    /// Drops what is in the graveyard, each on behalf of its host.
    pub(super) fn bury(&self) {
        loop {
            let mut state = self.state();
            if state.graveyard.is_empty() {
                return;
            }
            let before = state.host;
            let dead = mem::take(&mut state.graveyard);
            drop(state);
            for (host, future) in dead {
                self.state().host = host;
                self.guarded("a destructor", || drop(future));
            }
            self.state().host = before;
        }
    }

    /// Runs foreign code. A panic is written down, and ends the run.
    pub(super) fn guarded<T>(&self, task: &'static str, code: impl FnOnce() -> T) -> Option<T> {
        match catch_unwind(AssertUnwindSafe(code)) {
            Ok(value) => Some(value),
            Err(panic) => {
                let mut state = self.state();
                let host = state.hosts[state.host.index()].name.clone();
                let why = Why::Panic {
                    host,
                    task,
                    message: message(&*panic),
                };
                if state.failed.is_none() {
                    state.failed = Some(why);
                }
                None
            }
        }
    }

    pub(super) fn halt(&self, why: Why) -> Halt {
        let state = self.state();
        let mut running: Vec<_> = state
            .tasks
            .iter()
            .map(|(_, task)| (task.steps, task.host, task.name))
            .collect();
        running.sort_by_key(|(steps, host, name)| (std::cmp::Reverse(*steps), *host, *name));
        running.truncate(12);
        let described = |(steps, host, name): &(u64, HostId, &str)| {
            let host = &state.hosts[host.index()];
            let frozen = if host.frozen { ", frozen" } else { "" };
            format!("{}/{name} ({steps} steps{frozen})", host.name)
        };
        Halt {
            seed: self.seed,
            at_ns: self.now_ns(),
            why,
            running: running.iter().map(described).collect(),
        }
    }
}

fn message(panic: &(dyn Any + Send)) -> String {
    match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(text), _) => (*text).to_owned(),
        (_, Some(text)) => text.clone(),
        _ => "no message".to_owned(),
    }
}
