//! When a group is written down: its leader adds what was committed since it last did, and now and then the state anew.
//!
//! The state is written again when the log after it has grown to several times its size, or into many pieces, so that what is written in all
//! stays a small multiple of what was appended, and a restore never has to read more than that.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use net::dice::Stream;
use net::rt::{self, Instant};
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

/// Pieces of a log after which the state is written anew however short they are: who restores fetches each of them.
const LOG_PIECES: usize = 256;

/// What is written down of a group.
#[derive(Debug)]
struct Written {
    term: u64,
    /// The first entry that is not written down; none while no state is.
    next: Option<u64>,
    state_bytes: u64,
    log_bytes: u64,
    log_pieces: usize,
    /// What is needless, and since when that is known.
    needless: BTreeMap<String, Instant>,
}

/// Writes down the groups that this node leads, for as long as it lives. Beside what moves, which may take long.
pub(crate) async fn write_down(core: Arc<Core>, store: Arc<Store>, mut chance: Stream) {
    let every = core.config.cold.record_every;
    let mut groups: BTreeMap<u32, Written> = BTreeMap::new();
    loop {
        rt::sleep(every.mul_f64(chance.random_range(0.8..1.2))).await;
        let Some(cluster) = store.cluster() else { continue };
        for group in 0..core.groups.count() {
            let Some(term) = core.groups.leading_term(group) else {
                groups.remove(&group);
                continue;
            };
            let mut round = Round {
                core: &core,
                store: &store,
                group,
                cluster,
                prefix: records_of(cluster, group),
                chance: &mut chance,
            };
            let known = groups.remove(&group).filter(|written| written.term == term);
            let mut written = match known {
                Some(written) => written,
                None => match Written::found(&store, &round.prefix, term).await {
                    Ok(written) => written,
                    Err(because) => {
                        tracing::warn!(group, because, "a group is not written down for now");
                        continue;
                    }
                },
            };
            if let Err(because) = round.run(&mut written).await {
                tracing::warn!(group, because, "a group is not written down for now");
            }
            let next = written.next.unwrap_or(0);
            store.note(group, |notes| notes.recorded_entries = next);
            groups.insert(group, written);
        }
    }
}

impl Written {
    /// Looks what others have written down.
    async fn found(store: &Store, prefix: &str, term: u64) -> Result<Self, String> {
        let now = Instant::now();
        let chain = Chain::find(prefix, &store.names(prefix, None).await?);
        Ok(Self {
            term,
            next: chain.end().map(|end| end + 1),
            // How long they are is not known; how many, is.
            state_bytes: 0,
            log_bytes: 0,
            log_pieces: chain.log.len(),
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
            Some(_) => written.log_bytes > long || written.log_pieces >= LOG_PIECES,
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
        written.log_pieces += 1;
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
        (written.state_bytes, written.log_bytes, written.log_pieces) = (bytes, 0, 0);
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
