//! When a group is written down: its leader adds what was committed since it last did, and now and then the state anew.
//!
//! The state is written again when the log after it has grown to several times its size, so that what is written in all
//! stays a small multiple of what was appended, and a restore never has to read more than that.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use net::dice::Stream;
use net::rt::Instant;
use rand::RngExt;

use super::calls::Put;
use super::record::{Chain, FrameFile, Head, Holds, LogName, StateName, records_of};
use super::store::Store;
use crate::Core;

/// How many times as long as the state the log after it may become.
const LOG_PER_STATE: u64 = 4;

/// How long one file is tried to be put.
const PUT_PATIENCE: Duration = Duration::from_secs(60);

/// Bytes of entries read at once.
const READ_BYTES: usize = 1 << 20;

/// What this node has written down of the groups it leads.
#[derive(Debug, Default)]
pub(super) struct Recorder {
    groups: BTreeMap<u32, Written>,
}

/// What is written down of a group.
#[derive(Debug)]
struct Written {
    term: u64,
    /// When the last round began.
    looked: Instant,
    /// The first entry that is not written down; none while no state is.
    next: Option<u64>,
    state_bytes: u64,
    log_bytes: u64,
    /// What is needless, and since when that is known.
    needless: BTreeMap<String, Instant>,
}

impl Recorder {
    /// This node does not lead the group.
    pub(super) fn no_longer(&mut self, group: u32) {
        self.groups.remove(&group);
    }

    /// The first entry of a group that is not written down, as far as its leader knows.
    pub(super) fn next(&self, group: u32) -> u64 {
        self.groups.get(&group).and_then(|written| written.next).unwrap_or(0)
    }

    /// Writes down what was committed in a group that this node leads in this term, if it is time to.
    pub(super) async fn record(
        &mut self,
        core: &Arc<Core>,
        store: &Arc<Store>,
        group: u32,
        term: u64,
        chance: &mut Stream,
    ) -> Result<(), String> {
        let (every, Some(cluster)) = (core.config.cold.record_every, store.cluster()) else {
            return Err("this node does not know its cluster yet".into());
        };
        let now = Instant::now();
        let known = self.groups.get(&group).filter(|written| written.term == term);
        if known.is_some_and(|written| now.duration_since(written.looked) < every) {
            return Ok(());
        }
        let prefix = records_of(cluster, group);
        if known.is_none() {
            let written = Written::found(store, &prefix, term, now).await?;
            self.groups.insert(group, written);
        }
        let Some(written) = self.groups.get_mut(&group) else {
            return Ok(());
        };
        written.looked = now;
        let mut round = Round {
            core,
            store,
            group,
            cluster,
            prefix,
            chance,
        };
        round.run(written).await
    }
}

impl Written {
    /// Looks what others have written down.
    async fn found(store: &Store, prefix: &str, term: u64, now: Instant) -> Result<Self, String> {
        let chain = Chain::find(prefix, &store.names(prefix, None).await?);
        Ok(Self {
            term,
            looked: now,
            next: chain.end().map(|end| end + 1),
            // How long they are is not known: at worst the state is written once more than needed.
            state_bytes: 0,
            log_bytes: 0,
            needless: chain.needless.into_iter().map(|name| (name, now)).collect(),
        })
    }
}

struct Round<'a> {
    core: &'a Arc<Core>,
    store: &'a Arc<Store>,
    group: u32,
    cluster: u128,
    prefix: String,
    chance: &'a mut Stream,
}

impl Round<'_> {
    async fn run(&mut self, written: &mut Written) -> Result<(), String> {
        let Some(applied) = self.core.groups.applied(self.group) else {
            return Ok(());
        };
        let long = LOG_PER_STATE * written.state_bytes.max(self.core.config.cold.object);
        let whole = match written.next {
            None => true,
            Some(_) => written.log_bytes > long,
        };
        if whole || !self.write_log(written, applied.index).await? {
            self.write_state(written).await?;
        }
        self.clear(written).await
    }

    /// Writes the entries down that were applied since; `false` if the log does not hold them any more.
    async fn write_log(&mut self, written: &mut Written, applied: u64) -> Result<bool, String> {
        let most = self.core.config.cold.object;
        let (mut file, mut first) = (FrameFile::default(), None);
        let mut term = 0;
        let Some(mut next) = written.next else {
            return Ok(false);
        };
        while next <= applied {
            let entries = self.core.groups.record_log(self.group, next, READ_BYTES);
            let entries = entries.await.map_err(|error| error.to_string())?;
            if entries.is_empty() {
                return Ok(false);
            }
            for entry in entries {
                first.get_or_insert(next);
                (next, term) = (entry.id.index + 1, entry.id.term);
                file.add(entry.bytes);
            }
            if file.bytes >= most {
                let (full, from) = (std::mem::take(&mut file), first.take().unwrap_or(next));
                self.put_log(written, full, from, next - 1, term).await?;
            }
        }
        if let Some(from) = first {
            self.put_log(written, file, from, next - 1, term).await?;
        }
        Ok(true)
    }

    async fn put_log(
        &mut self,
        written: &mut Written,
        file: FrameFile,
        from: u64,
        to: u64,
        term: u64,
    ) -> Result<(), String> {
        let nonce = self.chance.random();
        let key = LogName { from, to, nonce }.key(&self.prefix);
        let bytes = file.bytes;
        self.put(key, file, Holds::Log { from, to }, term).await?;
        written.next = Some(to + 1);
        written.log_bytes += bytes;
        Ok(())
    }

    async fn write_state(&mut self, written: &mut Written) -> Result<(), String> {
        let object = self.core.config.cold.object;
        let piece_bytes = usize::try_from(object).unwrap_or(usize::MAX).min(READ_BYTES);
        let taken = self.core.groups.record_state(self.group, piece_bytes).await;
        let Some(mut state) = taken.map_err(|error| error.to_string())? else {
            return Ok(());
        };
        let (index, term) = (state.at.index, state.at.term);
        let nonce = self.chance.random();
        let name = StateName { index, nonce };
        let (mut file, mut part, mut bytes) = (FrameFile::default(), 0, 0);
        let mut piece = state.next().await.map_err(|error| error.to_string())?;
        while let Some(frame) = piece {
            file.add(frame);
            piece = state.next().await.map_err(|error| error.to_string())?;
            if file.bytes < object && piece.is_some() {
                continue;
            }
            let full = std::mem::take(&mut file);
            bytes += full.bytes;
            let key = name.part(&self.prefix, part, piece.is_none());
            self.put(key, full, Holds::State { index, part }, term).await?;
            part += 1;
        }
        tracing::debug!(group = self.group, index, bytes, "the state of a group is written down");
        written.next = written.next.max(Some(index + 1));
        (written.state_bytes, written.log_bytes) = (bytes, 0);
        let chain = Chain::find(&self.prefix, &self.store.names(&self.prefix, None).await?);
        let now = Instant::now();
        for name in chain.needless {
            written.needless.entry(name).or_insert(now);
        }
        Ok(())
    }

    async fn put(&mut self, key: String, file: FrameFile, holds: Holds, term: u64) -> Result<(), String> {
        let head = Head {
            cluster: self.cluster,
            group: self.group,
            holds,
            term,
            at_ms: self.core.groups.now_ms(self.group),
            frames: Vec::new(),
        };
        let until = Instant::now() + PUT_PATIENCE;
        match self.store.put(&key, &file.packed(head), until).await? {
            Put::Stored => Ok(()),
            Put::Taken => Err(format!("somebody else has written {key}")),
        }
    }

    /// Deletes what has been needless for long enough.
    async fn clear(&mut self, written: &mut Written) -> Result<(), String> {
        let grace = self.core.config.cold.grace;
        let due: Vec<String> = written
            .needless
            .iter()
            .filter(|(_, since)| since.elapsed() >= grace)
            .map(|(name, _)| name.clone())
            .collect();
        for name in due {
            self.store.remove(&name).await?;
            written.needless.remove(&name);
        }
        Ok(())
    }
}
