//! The dialer's side of a pair of nodes: calls wait here, whether or not there is a connection.
//!
//! While a connection is open or being opened, calls queue; after a failed attempt they fail at once, unsent, until the
//! next attempt begins. What has left the queue may have reached the peer.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use net::{
    dice::Stream as Chance,
    rt::{self, Instant, TcpStream},
};
use rand::RngExt;
use tokio::sync::{Notify, oneshot};

use super::{
    BULK, Gate, Options, PeerError, PeerState, PeerStatus, Why,
    dialing::Dialing,
    frame::{Batch, Form, Head},
    handshake::{self, Line, Purpose, Welcome},
};

/// Calls to one node.
pub(super) struct Link {
    to: u64,
    options: Options,
    gate: Arc<dyn Gate>,
    state: Mutex<State>,
    /// Wakes the task that drives the connection.
    pub(super) waker: AtomicWaker,
    /// Ends the pause before the next attempt.
    nudged: Notify,
}

struct State {
    phase: PeerState,
    address: String,
    reason: Option<String>,
    /// The two classes: what is urgent, and what is bulk.
    queues: [Queue; 2],
    /// Every call without an answer, queued or sent.
    waiting: BTreeMap<u64, Waiting>,
    next_id: u64,
}

#[derive(Default)]
struct Queue {
    calls: VecDeque<Call>,
    bytes: usize,
    /// Calls of this class without an answer, queued or sent.
    waiting: usize,
}

struct Call {
    head: Head,
    parts: Vec<Bytes>,
    bytes: usize,
}

struct Waiting {
    answer: oneshot::Sender<Result<Bytes, PeerError>>,
    class: usize,
    sent: bool,
}

fn class(kind: u8) -> usize {
    usize::from(kind >= BULK)
}

impl Link {
    pub(super) fn new(to: u64, address: String, options: Options, gate: Arc<dyn Gate>) -> Link {
        let state = State {
            phase: PeerState::Connecting,
            address,
            reason: None,
            queues: Default::default(),
            waiting: BTreeMap::new(),
            next_id: 1,
        };
        Link {
            to,
            options,
            gate,
            state: Mutex::new(state),
            waker: AtomicWaker::new(),
            nudged: Notify::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .expect("nothing panics while it holds the state of a link")
    }

    pub(super) async fn call(
        &self,
        kind: u8,
        group: u32,
        parts: Vec<Bytes>,
        deadline: Duration,
    ) -> Result<Bytes, PeerError> {
        let (sender, answer) = oneshot::channel();
        let mut call = Interest {
            link: self,
            id: self.enqueue(kind, group, parts, sender)?,
            answered: false,
        };
        match rt::timeout(deadline, answer).await {
            Ok(Ok(answer)) => {
                call.answered = true;
                answer
            }
            Ok(Err(_)) => Err(PeerError {
                sent: true,
                why: Why::Closed,
            }),
            Err(rt::Elapsed) => {
                call.answered = true;
                Err(PeerError {
                    sent: self.forget(call.id),
                    why: Why::Deadline,
                })
            }
        }
    }

    fn enqueue(
        &self,
        kind: u8,
        group: u32,
        parts: Vec<Bytes>,
        answer: oneshot::Sender<Result<Bytes, PeerError>>,
    ) -> Result<u64, PeerError> {
        let bytes = parts.iter().map(Bytes::len).sum();
        if bytes > self.options.payload_bytes_max {
            return Err(PeerError::unsent(Why::TooLarge(bytes)));
        }
        let mut state = self.state();
        match state.phase {
            PeerState::Connecting | PeerState::Connected => {}
            PeerState::Closed => return Err(PeerError::unsent(Why::Closed)),
            PeerState::Unreachable => {
                let why = state.reason.clone().unwrap_or_default();
                return Err(PeerError::unsent(Why::NotConnected(why)));
            }
        }
        let class = class(kind);
        let queue = &state.queues[class];
        if queue.waiting >= self.options.calls_max
            || (queue.bytes > 0 && queue.bytes + bytes > self.options.queue_bytes_max)
        {
            return Err(PeerError::unsent(Why::Overloaded));
        }
        let id = state.next_id;
        state.next_id += 1;
        state.waiting.insert(
            id,
            Waiting {
                answer,
                class,
                sent: false,
            },
        );
        // A driver that left something in a queue comes back by itself.
        let asleep = state.queues.iter().all(|queue| queue.calls.is_empty());
        let queue = &mut state.queues[class];
        queue.waiting += 1;
        queue.bytes += bytes;
        queue.calls.push_back(Call {
            head: Head {
                form: Form::Request,
                kind,
                group,
                id,
            },
            parts,
            bytes,
        });
        drop(state);
        if asleep {
            self.waker.wake();
        }
        Ok(id)
    }

    /// Nobody waits for this call any more. Whether it was sent.
    fn forget(&self, id: u64) -> bool {
        let mut state = self.state();
        let Some(waiting) = state.waiting.remove(&id) else {
            // Answered or failed at this very moment; the answer is lost with its receiver.
            return true;
        };
        let queue = &mut state.queues[waiting.class];
        queue.waiting -= 1;
        if !waiting.sent
            && let Ok(at) = queue.calls.binary_search_by_key(&id, |call| call.head.id)
            && let Some(call) = queue.calls.remove(at)
        {
            queue.bytes -= call.bytes;
        }
        waiting.sent
    }

    /// Moves queued calls into the batch until it holds `bytes_max`, the urgent ones first. `false` once closed.
    pub(super) fn take_queued(&self, batch: &mut Batch, bytes_max: usize) -> bool {
        let mut state = self.state();
        let State {
            phase, queues, waiting, ..
        } = &mut *state;
        if *phase == PeerState::Closed {
            return false;
        }
        for queue in queues {
            while batch.bytes() < bytes_max {
                let Some(call) = queue.calls.pop_front() else { break };
                queue.bytes -= call.bytes;
                if let Some(waiting) = waiting.get_mut(&call.head.id) {
                    waiting.sent = true;
                    batch.push(call.head, call.parts);
                }
            }
        }
        true
    }

    /// Hands an answer to whoever waits for it.
    pub(super) fn answer(&self, id: u64, answer: Result<Bytes, PeerError>) {
        let mut state = self.state();
        let Some(waiting) = state.waiting.remove(&id) else {
            return; // its deadline passed
        };
        state.queues[waiting.class].waiting -= 1;
        drop(state);
        drop(waiting.answer.send(answer));
    }

    /// Changes the phase; leaving a connection fails every call that waits.
    fn enter(&self, phase: PeerState, reason: Option<String>) {
        let mut state = self.state();
        if state.phase == PeerState::Closed {
            return;
        }
        state.phase = phase;
        if let Some(reason) = &reason {
            state.reason = Some(reason.clone());
        }
        if phase == PeerState::Connected {
            state.reason = None;
        }
        if matches!(phase, PeerState::Connecting | PeerState::Connected) {
            return;
        }
        for queue in &mut state.queues {
            *queue = Queue::default();
        }
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        let reason = reason.unwrap_or_default();
        for call in waiting.into_values() {
            let why = match (phase, call.sent) {
                (PeerState::Closed, _) => Why::Closed,
                (_, true) => Why::Lost(reason.clone()),
                (_, false) => Why::NotConnected(reason.clone()),
            };
            drop(call.answer.send(Err(PeerError { sent: call.sent, why })));
        }
    }

    /// Whoever calls from now on is told that this node is shutting down.
    pub(super) fn close(&self) {
        self.enter(PeerState::Closed, None);
        self.waker.wake();
        self.nudged.notify_one();
    }

    /// Looks for the peer elsewhere from the next attempt on.
    pub(super) fn set_address(&self, address: &str) {
        let mut state = self.state();
        if state.address != address {
            address.clone_into(&mut state.address);
            drop(state);
            self.nudge();
        }
    }

    /// The peer shows signs of life: the next attempt need not wait.
    pub(super) fn nudge(&self) {
        if self.state().phase == PeerState::Unreachable {
            self.nudged.notify_one();
        }
    }

    pub(super) fn address(&self) -> String {
        self.state().address.clone()
    }

    pub(super) fn status(&self, calls_us: bool) -> PeerStatus {
        let state = self.state();
        PeerStatus {
            node_id: self.to,
            address: state.address.clone(),
            state: state.phase,
            calls_us,
            reason: state.reason.clone(),
            waiting: state.waiting.len(),
            queued_bytes: state.queues.iter().map(|queue| queue.bytes).sum(),
        }
    }

    fn closed(&self) -> bool {
        self.state().phase == PeerState::Closed
    }

    /// Connects, serves the connection until it ends, and again; until closed.
    pub(super) async fn keep(self: Arc<Self>, mut chance: Chance) {
        let mut said = None;
        let mut pause = self.options.backoff_min;
        while !self.closed() {
            self.enter(PeerState::Connecting, None);
            let address = self.address();
            let reason = match self.connect(&address).await {
                Ok(line) => {
                    let since = Instant::now();
                    self.enter(PeerState::Connected, None);
                    tracing::info!(peer = self.to, address, "connected to a peer");
                    let reason = Dialing::new(&self, line, &self.options).await;
                    // A line that breaks as soon as it is up is as bad as none, and not to be tried in a hurry.
                    if since.elapsed() > self.options.backoff_max {
                        said = None;
                        pause = self.options.backoff_min;
                    }
                    reason
                }
                Err(reason) => reason,
            };
            if self.closed() {
                return;
            }
            // The same reason again and again is one line in the log; the status always shows it.
            if said.as_ref() != Some(&reason) {
                tracing::warn!(peer = self.to, address, reason, "no connection to a peer");
                said = Some(reason.clone());
            }
            self.enter(PeerState::Unreachable, Some(reason));
            self.pause(pause, &mut chance).await;
            pause = (pause * 2).min(self.options.backoff_max);
        }
    }

    /// Waits at least the shortest pause, and at most about `pause`, with jitter; less if the peer is heard of.
    async fn pause(&self, pause: Duration, chance: &mut Chance) {
        let shortest = self.options.backoff_min.mul_f64(chance.random_range(0.5..1.0));
        let rest = pause.mul_f64(chance.random_range(0.5..1.0)).saturating_sub(shortest);
        rt::sleep(shortest).await;
        let _either = rt::timeout(rest, self.nudged.notified()).await;
    }

    async fn connect(&self, address: &str) -> Result<Line<TcpStream>, String> {
        let (mut line, welcome) = introduce(&*self.gate, address, Purpose::Link, self.options.handshake).await?;
        if let Some(refusal) = welcome.refusal {
            return Err(refusal);
        }
        if welcome.hello.node_id != self.to {
            let other = welcome.hello.node_id;
            return Err(format!("at {address} answers node {other}, not node {}", self.to));
        }
        self.gate.meet(&welcome.hello).await?;
        handshake::widen(&mut line, self.options.payload_bytes_max);
        Ok(line)
    }
}

/// Connects and exchanges introductions. Each step has `deadline`.
pub(super) async fn introduce(
    gate: &dyn Gate,
    address: &str,
    purpose: Purpose,
    deadline: Duration,
) -> Result<(Line<TcpStream>, Welcome), String> {
    let io = match rt::timeout(deadline, TcpStream::connect(address)).await {
        Ok(Ok(io)) => io,
        Ok(Err(error)) => return Err(error.to_string()),
        Err(rt::Elapsed) => return Err("connecting took too long".into()),
    };
    io.set_nodelay(true).map_err(|error| error.to_string())?;
    let mut line = handshake::line(io);
    let exchange = async {
        handshake::send_hello(&mut line, purpose, &gate.hello())
            .await
            .map_err(|error| error.to_string())?;
        handshake::read_welcome(&mut line).await
    };
    match rt::timeout(deadline, exchange).await {
        Ok(welcome) => Ok((line, welcome?)),
        Err(rt::Elapsed) => Err("it does not introduce itself".into()),
    }
}

/// A call somebody waits for. Dropped before the answer, it takes the call back.
struct Interest<'a> {
    link: &'a Link,
    id: u64,
    answered: bool,
}

impl Drop for Interest<'_> {
    fn drop(&mut self) {
        if !self.answered {
            self.link.forget(self.id);
        }
    }
}
