//! What moves, and when: the leader of a group packs what is past a bound into objects, and tells the log.
//!
//! One group after the other, one object after the other: it must never take much from those who append. Bytes that are
//! moved are read from the journal like any others, so damage is found before it is spread.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use net::dice::Stream;
use net::rt::{self, Instant};
use rand::RngExt;

use super::calls::Put;
use super::object::key_of;
use super::packing::{Filling, next_run};
use super::store::Store;
use super::sweeper::Sweeper;
use crate::Core;
use crate::raft::{GroupView, Lead, MoveBounds, ProposeError};
use crate::stream::{Command, Moved, Op, Outcome};

/// Streams looked at in one go.
const STREAMS: usize = 4096;

/// Runs told of in one command: applying them holds up the group.
const RUNS_TOLD: usize = 512;

/// How long a command is waited for.
const DEADLINE: Duration = Duration::from_secs(10);

/// How long one object is tried to be put. Then the next round tries another.
const PUT_PATIENCE: Duration = Duration::from_secs(60);

/// Moves old bytes for as long as the node lives.
pub(crate) async fn tend(core: Arc<Core>, store: Arc<Store>, mut chance: Stream) {
    let every = core.config.cold.every;
    let mut led: BTreeMap<u32, (u64, Sweeper)> = BTreeMap::new();
    loop {
        rt::sleep(every.mul_f64(chance.random_range(0.8..1.2))).await;
        for group in 0..core.groups.count() {
            let Some(term) = core.groups.leading_term(group) else {
                led.remove(&group);
                store.forget_notes(group);
                continue;
            };
            let (led_in, sweeper) = led.entry(group).or_default();
            if *led_in != term {
                (*led_in, *sweeper) = (term, Sweeper::default());
            }
            let mut round = Round {
                core: &core,
                store: &store,
                group,
                term,
                objects: 0,
            };
            // What is mostly dead is looked at as often as what is dead.
            let rewrites = sweeper.is_due(&core);
            let moved = match round.run().await {
                Ok(()) if rewrites => round.rewrite().await,
                ended => ended,
            };
            let moved = match moved {
                Ok(()) => round.settle().await,
                failed => failed,
            };
            if let Err(because) = moved {
                tracing::warn!(group, because, "old bytes stay where they are for now");
            }
            sweeper.sweep(&core, &store, group, term).await;
        }
    }
}

/// One look at one group.
pub(super) struct Round<'a> {
    pub(super) core: &'a Arc<Core>,
    pub(super) store: &'a Arc<Store>,
    pub(super) group: u32,
    /// The term in which this node leads it.
    term: u64,
    /// Objects put so far.
    objects: u64,
}

impl Round<'_> {
    /// Moves what is past a bound, for as long as this node leads and gets on.
    async fn run(&mut self) -> Result<(), String> {
        let view = self.core.groups.view(self.group);
        let cold = &self.core.config.cold;
        let bounds = MoveBounds {
            age_ms: u64::try_from(cold.hot_age.as_millis()).unwrap_or(u64::MAX),
            stream_bytes: cold.hot_stream,
            group_bytes: cold.hot_group,
        };
        loop {
            let now_ms = self.core.groups.now_ms(self.group);
            let due = view.due_to_move(now_ms, bounds, STREAMS);
            if due.is_empty() {
                return Ok(());
            }
            let (mut filling, before) = (Filling::default(), self.objects);
            for incarnation in due {
                self.fill(&view, incarnation, &mut filling).await?;
            }
            self.empty(&mut filling).await?;
            // If nothing could move, it is damaged here, or just going: the next look is soon enough.
            if self.objects == before || self.core.groups.leader(self.group) != Lead::Here {
                return Ok(());
            }
        }
    }

    /// Adds all of a stream that is in the journal; whenever an object is full, it goes.
    async fn fill(&mut self, view: &GroupView, incarnation: u64, filling: &mut Filling) -> Result<(), String> {
        let object_bytes = self.core.config.cold.object;
        loop {
            let room = object_bytes.saturating_sub(filling.bytes()).max(1);
            let chunks = view.hot_chunks(incarnation, room).map_err(|error| error.to_string())?;
            let Some((last, _)) = chunks.last() else {
                return view.nothing_hot(incarnation).map_err(|error| error.to_string());
            };
            let end = *last;
            let mut rest = &chunks[..];
            while let Some((run, left)) = next_run(rest) {
                rest = left;
                // A stream that went meanwhile, or is damaged here, stays; others go on.
                match view.run_bytes(run).await {
                    Ok(pieces) => filling.add(incarnation, run, pieces),
                    Err(error) => {
                        tracing::debug!(group = self.group, incarnation, %error, "a stream does not move");
                        return Ok(());
                    }
                }
            }
            if filling.bytes() < object_bytes {
                return Ok(());
            }
            self.empty(filling).await?;
            if view.hot_end(incarnation).is_none_or(|tail| tail <= end) {
                return Ok(());
            }
        }
    }

    /// Puts what was gathered, and tells the log.
    pub(super) async fn empty(&mut self, filling: &mut Filling) -> Result<(), String> {
        let filling = std::mem::take(filling);
        if filling.is_empty() {
            return Ok(());
        }
        let Some(cluster) = self.store.cluster() else {
            return Err("this node does not know its cluster yet".into());
        };
        let bytes = filling.bytes();
        let until = Instant::now() + PUT_PATIENCE;
        let (name, told) = loop {
            let name = self.core.names.open(self.group, self.term);
            let name = name.ok_or("leadership moved before an object was written")?;
            let (packed, told) = filling.packed(cluster, self.group, name.object, name.nonce);
            let key = key_of(cluster, self.group, name.object);
            match self.store.put(&key, &packed, until).await {
                Ok(Put::Stored) => break (name, told),
                Ok(Put::Taken) => {
                    tracing::warn!(key, "another object bears this name");
                    name.close();
                }
                Err(because) => {
                    name.close();
                    return Err(because);
                }
            }
        };
        self.objects += 1;
        for runs in told.chunks(RUNS_TOLD) {
            let moved = Moved {
                object: name.object,
                bytes,
                runs: runs.to_vec(),
            };
            match self.tell(moved).await {
                Ok(true) => {}
                Ok(false) => {
                    name.close();
                    return Err("leadership moved while an object was written".into());
                }
                // Doubtful from now on.
                Err(because) => return Err(because),
            }
        }
        name.close();
        Ok(())
    }

    /// Tells the log of an object, and then knows what became of all that it was told of before. Whether it counts.
    async fn tell(&self, moved: Moved) -> Result<bool, String> {
        let doubtful = self.core.names.doubtful(self.group, self.term);
        let command = Command {
            now_ms: 0,
            stream: Moved::no_stream(),
            op: Op::Moved(moved),
            elsewhere: None,
            body: Bytes::new(),
        };
        let deadline = Instant::now() + DEADLINE;
        match self.core.groups.propose(self.group, command, deadline).await {
            Ok(Outcome::Moved { counts }) => {
                self.core.names.settled(self.group, &doubtful);
                Ok(counts)
            }
            Ok(other) => Err(format!("an outcome that belongs to another command: {other:?}")),
            Err(ProposeError::Unknown(because)) => Err(because),
            Err(error) => {
                tracing::debug!(group = self.group, %error, "the log hears nothing of an object");
                Ok(false)
            }
        }
    }

    /// Finds out what became of what nobody knows the end of: by telling the log of nothing, behind it.
    async fn settle(&self) -> Result<(), String> {
        let Some(object) = self.core.names.doubtful(self.group, self.term).first().copied() else {
            return Ok(());
        };
        let nothing = Moved {
            object,
            bytes: 0,
            runs: Vec::new(),
        };
        self.tell(nothing).await.map(drop)
    }
}
