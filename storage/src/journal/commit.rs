//! The commit loop: everything that waits, of all groups, in one write and one sync; then the answers.
//!
//! While one batch syncs, the next gathers in the queue. No lock is held across a call of the disk. A batch never spans
//! two segments, and a segment is not written to before the one before it is synced to its last byte, so only the last
//! batch of the last segment can be unfinished after a crash.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::{
    Shared,
    error::{JournalError, Told},
    format::{self, Head, VERSION, link, padding},
    queue::{Fate, Slot, What},
};
use crate::disk::File;

/// Pieces shorter than this are copied next to their neighbours: one more entry of a vectored write costs more.
const SMALL: usize = 512;

/// What writes and syncs. To be driven by [`CommitLoop::run`]; if it is dropped instead, the journal takes nothing more
/// and nobody who waits is told anything, as in a crash.
pub struct CommitLoop {
    shared: Arc<Shared>,
    /// The chain of the segment that is written to.
    chain: u32,
    open: Option<(u64, Arc<dyn File>)>,
    /// The next segment's file, made ahead of need, and its length.
    spare: Option<(u64, Arc<dyn File>, u64)>,
}

impl CommitLoop {
    pub(super) fn new(shared: Arc<Shared>, chain: u32) -> CommitLoop {
        CommitLoop {
            shared,
            chain,
            open: None,
            spare: None,
        }
    }

    /// Writes and syncs until the journal is closed or poisoned. The disk's calls block inside: drive it on a thread of
    /// its own.
    ///
    /// # Errors
    /// The error that poisoned the journal.
    pub async fn run(mut self) -> Result<(), JournalError> {
        let result = self.work().await;
        let left = {
            let mut state = self.shared.state();
            state.fate = match &result {
                Ok(()) => Fate::Closed,
                Err(error) => Fate::Poisoned(error.to_string().into()),
            };
            state.give_up()
        };
        self.shared.wake_all();
        if let Err(error) = &result {
            tracing::error!(%error, waiting = left.len(), "the journal is poisoned");
            for done in left {
                done(Err(error.clone()));
            }
        }
        result
    }

    async fn work(&mut self) -> Result<(), JournalError> {
        // What the recovery found is synced; this says so durably, and begins a segment where one is to be begun.
        self.shared.state().seal(&self.shared.options);
        while self.commit().await? {}
        self.rest().await?;
        loop {
            let (due, closing) = {
                let state = self.shared.state();
                (state.is_due(&self.shared.options), !matches!(state.fate, Fate::Open))
            };
            if due {
                self.commit().await?;
                self.rest().await?;
            } else if closing {
                while self.commit().await? {}
                self.shared.state().seal(&self.shared.options);
                while self.commit().await? {}
                return Ok(());
            } else {
                self.shared.work.notified().await;
            }
        }
    }

    /// Writes and syncs one batch, and answers. `false` if nothing waits.
    async fn commit(&mut self) -> Result<bool, JournalError> {
        let batch = self.shared.state().batch(&self.shared.options);
        let Some(first) = batch.first() else {
            // Nothing to write; but somebody may ask for what is durable already.
            for done in self.shared.settle(0) {
                done(Ok(()));
            }
            return Ok(false);
        };
        let name = format::file_name(&self.shared.folder, first.at.segment);
        let (file, new) = self.file(first).await?;
        let pieces = self.encode(&batch);
        file.write_at(first.at.offset, pieces).await.told("write to", &name)?;
        file.sync().await.told("sync", &name)?;
        if new {
            // Before anybody is answered: a file whose name is lost is lost.
            self.shared
                .disk
                .sync_dir(&self.shared.folder)
                .await
                .told("sync the folder of", &name)?;
        }
        for done in self.shared.settle(batch.len()) {
            done(Ok(()));
        }
        Ok(true)
    }

    /// When nobody waits: mark the end as synced, and make the next segment's file.
    async fn rest(&mut self) -> Result<(), JournalError> {
        let (seal, tail) = {
            let mut state = self.shared.state();
            if !state.slots.is_empty() {
                return Ok(());
            }
            (
                if state.seal(&self.shared.options) {
                    state.slots.front().cloned()
                } else {
                    None
                },
                state.tail,
            )
        };
        if let (Some(seal), Some((segment, file))) = (seal, self.open.clone()) {
            // Not synced: it is the beginning of the next batch, which writes it once more. Until then it proves, if
            // it reaches the disk by itself, that the last batch was synced.
            let chain = self.chain;
            let pieces = self.encode(std::slice::from_ref(&seal));
            self.chain = chain;
            let name = format::file_name(&self.shared.folder, segment);
            file.write_at(seal.at.offset, pieces).await.told("write to", &name)?;
        }
        let next = tail.segment + 1;
        if self.spare.is_none() && tail.offset > tail.capacity / 2 {
            let capacity = self.shared.options.segment_bytes;
            let file = self.create(next, capacity).await?;
            let name = format::file_name(&self.shared.folder, next);
            file.sync().await.told("sync", &name)?;
            self.shared
                .disk
                .sync_dir(&self.shared.folder)
                .await
                .told("sync the folder of", &name)?;
            self.spare = Some((next, file, capacity));
        }
        Ok(())
    }

    /// The file a batch goes to, and whether its name may not be durable yet.
    async fn file(&mut self, first: &Slot) -> Result<(Arc<dyn File>, bool), JournalError> {
        let segment = first.at.segment;
        if let Some((open, file)) = &self.open
            && *open == segment
        {
            return Ok((file.clone(), false));
        }
        let name = format::file_name(&self.shared.folder, segment);
        let (file, new) = match (&first.what, &self.spare) {
            (What::Record { .. }, _) => (self.shared.disk.open(&name).await.told("open", &name)?, false),
            (What::Head { capacity, .. }, Some((spare, file, len))) if *spare == segment => {
                if len < capacity {
                    file.set_len(*capacity).await.told("preallocate", &name)?;
                }
                (file.clone(), false)
            }
            (What::Head { capacity, .. }, _) => (self.create(segment, *capacity).await?, true),
        };
        self.spare = self.spare.take().filter(|spare| spare.0 > segment);
        self.shared.files().put(segment, file.clone());
        self.open = Some((segment, file.clone()));
        Ok((file, new))
    }

    async fn create(&self, segment: u64, capacity: u64) -> Result<Arc<dyn File>, JournalError> {
        let name = format::file_name(&self.shared.folder, segment);
        let file = self.shared.disk.create(&name).await.told("create", &name)?;
        file.set_len(capacity).await.told("preallocate", &name)?;
        Ok(file)
    }

    /// The bytes of a batch, in pieces; those of large payloads are the callers' own.
    fn encode(&mut self, batch: &[Arc<Slot>]) -> Vec<Bytes> {
        let mut out = Gather::default();
        let Some(first) = batch.first() else { return Vec::new() };
        let identity = &self.shared.options.identity;
        let seed = format::seed(identity, first.at.segment);
        for slot in batch {
            match &slot.what {
                What::Head {
                    checkpoint_end,
                    previous,
                    previous_end,
                    ..
                } => {
                    let head = Head {
                        version: VERSION,
                        checkpoint_end: *checkpoint_end,
                        identity: *identity,
                        segment: slot.at.segment,
                        previous: *previous,
                        previous_end: *previous_end,
                        previous_chain: self.chain,
                    };
                    self.chain = 0;
                    out.copy(&head.encode());
                }
                What::Record { lead, payload } => {
                    let mut lead = *lead;
                    lead.start = first.at.offset as u32;
                    let bytes = lead.encode(seed, slot.at.offset);
                    self.chain = link(self.chain, u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]));
                    out.copy(&bytes);
                    for piece in payload {
                        out.add(piece);
                    }
                    out.copy(padding(lead.payload_len.into()));
                }
            }
        }
        out.finish()
    }
}

impl Drop for CommitLoop {
    fn drop(&mut self) {
        // After `run` the fate is settled; before, this is a crash of whoever drove it. The callbacks are dropped
        // unheard, outside the lock.
        let left = {
            let mut state = self.shared.state();
            match state.fate {
                Fate::Closed | Fate::Poisoned(_) => return,
                Fate::Open | Fate::Closing => state.fate = Fate::Closed,
            }
            state.give_up()
        };
        drop(left);
        self.shared.wake_all();
    }
}

/// Collects pieces for one vectored write.
#[derive(Default)]
struct Gather {
    small: BytesMut,
    pieces: Vec<Bytes>,
}

impl Gather {
    fn copy(&mut self, bytes: &[u8]) {
        self.small.extend_from_slice(bytes);
    }

    fn add(&mut self, piece: &Bytes) {
        if piece.len() < SMALL {
            return self.copy(piece);
        }
        if !self.small.is_empty() {
            self.pieces.push(self.small.split().freeze());
        }
        self.pieces.push(piece.clone());
    }

    fn finish(mut self) -> Vec<Bytes> {
        if !self.small.is_empty() {
            self.pieces.push(self.small.freeze());
        }
        self.pieces
    }
}
