//! Committed entries become state: the law judges, one batch of the index keeps everything it said.
//!
//! The bytes of a body are in the journal already, as part of the entry, or in the cold store: chunk rows point there.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use storage::index::Batch;

use super::buckets::BucketChanges;
use super::codec::next_index;
use super::forks::ForkRows;
use super::log::Slot;
use super::machine::{Machine, State, damaged};
use super::types::{Answer, Entry, LogId, Payload, StoredMembership};
use crate::keys::{Chunk, ColdPlace, Key, KeyRange, Place, number};
use crate::stream::{
    BlobChange, Claim, Command, Elsewhere, ForkOp, Loaded, Moment, Moved, Offset, Op, Outcome, PIECE_BYTES, RowChange,
    Standing, Stored, StreamName, StreamRow, Transition, apply,
};

/// What one batch changes, before it is written.
#[derive(Default)]
pub(super) struct Changes {
    pub(super) batch: Batch,
    rows: BTreeMap<StreamName, Changed>,
    /// The claims put, as they are now. The index does not show them before the batch is written.
    claims: BTreeMap<(u64, String), Claim>,
    buckets: BucketChanges,
    membership: bool,
    segments: Vec<u64>,
    cached: Vec<(u64, u64, Bytes)>,
    trash: bool,
    /// The rows of forks put or removed, as they are now.
    pub(super) forks: ForkRows,
}

/// A stream that a batch changes.
struct Changed {
    /// Where it stood before, for who waits for it.
    stood: Option<Standing>,
    /// As it is now.
    row: Option<Arc<StreamRow>>,
}

impl Machine {
    /// Applies entries that follow what was applied, in one batch. Their bytes must be durable here.
    ///
    /// # Errors
    /// If the index fails or an entry makes no sense. The group must stop then: memory may be ahead of the index.
    pub(super) fn apply(&self, entries: &[Entry]) -> io::Result<Vec<Answer>> {
        let mut guard = self.state();
        let state = &mut *guard;
        let (mut changes, mut changed) = (Changes::default(), BTreeMap::new());
        let mut answers = Vec::with_capacity(entries.len());
        for entry in entries {
            let id = entry.log_id;
            let expected = next_index(state.position.applied);
            if id.index != expected {
                return Err(io::Error::other(format!(
                    "entry {id} was to be applied where {expected} comes next"
                )));
            }
            let (answer, tag) = match &entry.payload {
                Payload::Blank => (None, 0),
                Payload::Membership(membership) => {
                    state.position.membership = StoredMembership::new(Some(id), membership.clone());
                    changes.membership = true;
                    // As a blank one: a restored log has a blank in its place.
                    (None, 0)
                }
                Payload::Normal(envelope) => {
                    let command = Command::decode(&envelope.meta, envelope.body.clone()).map_err(damaged)?;
                    let outcome = if let Op::Moved(moved) = &command.op {
                        // What was moved may have come in entries of this very batch: its rows must be there.
                        changed.extend(self.write(state, std::mem::take(&mut changes))?);
                        self.moved_command(state, &mut changes, id, &command, moved)?
                    } else {
                        self.command(state, &mut changes, id, command)?
                    };
                    let heard = crc32c::crc32c_append(crc32c::crc32c(&envelope.meta), &envelope.body);
                    let said = crc32c::crc32c(&outcome.encode());
                    let tag = (u64::from(heard) << 32) | u64::from(said);
                    (Some(outcome), tag)
                }
            };
            state.position.applied = Some(id);
            state.position.digest = chain(state.position.digest, id, tag);
            answers.push(Answer(answer));
        }
        changed.extend(self.write(state, changes)?);
        let unflushed = next_index(state.position.applied) - next_index(state.flushed.applied);
        let much = state.trash || unflushed >= self.flush_entries;
        drop(guard);
        self.moved.notify_waiters();
        if much {
            self.work.notify_one();
        }
        for (stream, Changed { row, .. }) in changed {
            self.observer.changed(self.group, &stream, row.as_deref());
        }
        Ok(answers)
    }

    fn moved_command(
        &self,
        state: &mut State,
        changes: &mut Changes,
        id: LogId,
        command: &Command,
        moved: &Moved,
    ) -> io::Result<Outcome> {
        state.position.last_now_ms = state.position.last_now_ms.max(command.now_ms);
        let counts = moved.counts_in(id.leader_id.term);
        if counts {
            let segments = self.moved(state, &mut changes.batch, moved)?;
            changes.segments.extend(segments);
        }
        Ok(Outcome::Moved { counts })
    }

    fn command(&self, state: &mut State, changes: &mut Changes, id: LogId, command: Command) -> io::Result<Outcome> {
        if let Op::Bucket(op) = command.op {
            let (buckets, batch) = (&mut changes.buckets, &mut changes.batch);
            return self.bucket_command(state, buckets, batch, &command, op, id.index);
        }
        let row = match changes.rows.get(&command.stream) {
            Some(changed) => changed.row.clone(),
            None => self.row(state, &command.stream)?,
        };
        let claim = match (&row, command.producer()) {
            (Some(row), Some(tuple)) => self.claim(state, changes, row.incarnation, &tuple.id)?,
            _ => None,
        };
        let (pledge, reference) = self.fork_rows(state, changes, &command)?;
        let sealed = match command.op {
            Op::Create(_) | Op::Fork(ForkOp::Bear(_)) => changes.buckets.sealed(self.rows_of(state))?,
            _ => 0,
        };
        let blob = command.blob().and_then(|blob| state.uploads.get(&blob)).cloned();
        let loaded = Loaded {
            row: row.as_deref(),
            claim: claim.as_ref(),
            pledge: pledge.as_ref(),
            reference: reference.as_ref(),
            sealed,
            blob: blob.as_ref(),
            uploads: state.uploads.len(),
        };
        let moment = Moment {
            index: id.index,
            last_now_ms: state.position.last_now_ms,
        };
        let transition = apply(loaded, &command, moment);
        state.position.last_now_ms = transition.now_ms;
        if let (Some(elsewhere), Some(stored)) = (&command.elsewhere, &transition.stored)
            && !elsewhere.counts_in(id.leader_id.term, stored.incarnation)
        {
            return Ok(Outcome::Moved { counts: false });
        }

        self.note_ends(state, changes, &command.stream, row.as_deref(), &transition);
        let is = match transition.row {
            RowChange::Keep => row.is_some(),
            RowChange::Put(_) => true,
            RowChange::Delete => false,
        };
        let rows = self.rows_of(state);
        changes.buckets.count(rows, &command.stream, row.is_some(), is)?;
        self.note_forks(state, changes, transition.forks);
        if let Some(stored) = transition.stored {
            if let Some(elsewhere) = &command.elsewhere {
                self.refer(state, changes, &stored, elsewhere);
            } else {
                self.store(state, changes, id.index, &stored, &command.body)?;
                // A blob is read once in a while and from its beginning: it must not drive out what tailing readers want.
                if command.blob().is_none() {
                    changes
                        .cached
                        .push((stored.incarnation, stored.offset.0, command.body.clone()));
                }
            }
        }
        self.blobs(state, changes, transition.blobs);
        let changed = match transition.row {
            RowChange::Keep => None,
            RowChange::Put(put) => {
                if let (Some(claim), Some(tuple)) = (transition.claim, command.producer()) {
                    let (group, generation, incarnation) = (self.group, state.generation, put.incarnation);
                    let key = Key::Producer {
                        group,
                        generation,
                        incarnation,
                        id: &tuple.id,
                    };
                    changes.batch.put(key.encode(), claim.encode());
                    changes.claims.insert((incarnation, tuple.id.clone()), claim);
                }
                Some(Some(Arc::new(put)))
            }
            RowChange::Delete => Some(None),
        };
        if let Some(now) = changed {
            match changes.rows.get_mut(&command.stream) {
                Some(changed) => changed.row = now,
                None => {
                    let stood = standing(row.as_deref());
                    changes.rows.insert(command.stream, Changed { stood, row: now });
                }
            }
        }
        if let Some(incarnation) = transition.dropped {
            let (group, generation) = (self.group, state.generation);
            // Claims that this batch has put come before the range that takes them all away.
            let producers = KeyRange::producers(group, generation, incarnation);
            changes.batch.delete_range(producers.from, producers.to);
            self.discard(state, changes, incarnation);
        }
        Ok(transition.outcome)
    }

    /// What a changed row leaves behind or goes to: bytes that are trimmed, the stream's place in the index of deadlines.
    fn note_ends(
        &self,
        state: &State,
        changes: &mut Changes,
        stream: &StreamName,
        was: Option<&StreamRow>,
        transition: &Transition,
    ) {
        let (group, generation) = (self.group, state.generation);
        let is = match &transition.row {
            RowChange::Keep => return,
            RowChange::Put(row) => Some(row),
            RowChange::Delete => None,
        };
        let at = |row: Option<&StreamRow>| row.and_then(|row| row.deadline_key_ms);
        let (left, entered) = (at(was), at(is));
        if left != entered {
            let key = |deadline_ms| Key::deadline(group, generation, deadline_ms, stream).encode();
            if let Some(left) = left {
                changes.batch.delete(key(left));
            }
            if let Some(entered) = entered {
                changes.batch.put(key(entered), Bytes::new());
            }
        }
        if let (Some(was), Some(is)) = (was, is)
            && was.incarnation == is.incarnation
            // As long as there are forks, they may need what the stream itself has forgotten.
            && is.refs == 0
            && (was.earliest < is.earliest || was.refs > 0)
        {
            let incarnation = is.incarnation;
            let key = Key::Trash {
                group,
                generation,
                incarnation,
            };
            changes.batch.put(key.encode(), number::encode(is.earliest.0));
            changes.trash = true;
        }
    }

    /// Does to blobs what the law says. Their rows are few, and all in memory.
    fn blobs(&self, state: &mut State, changes: &mut Changes, blobs: BlobChange) {
        let (group, generation) = (self.group, state.generation);
        let key = |blob| Key::Blob {
            group,
            generation,
            blob,
        };
        if let Some((blob, row)) = blobs.put {
            changes.batch.put(key(blob).encode(), row.encode());
            state.uploads.insert(blob, row);
        }
        if let Some(blob) = blobs.over {
            changes.batch.delete(key(blob).encode());
            state.uploads.remove(&blob);
        }
        for blob in blobs.dropped {
            self.discard(state, changes, blob);
        }
    }

    /// The chunks of an incarnation are garbage from now on.
    fn discard(&self, state: &mut State, changes: &mut Changes, incarnation: u64) {
        let of = self.of(state);
        state.books.left(&mut changes.batch, of, incarnation);
        let key = Key::Trash {
            group: self.group,
            generation: state.generation,
            incarnation,
        };
        changes.batch.put(key.encode(), Bytes::new());
        changes.trash = true;
    }

    fn claim(&self, state: &State, changes: &Changes, incarnation: u64, id: &str) -> io::Result<Option<Claim>> {
        if let Some(claim) = changes.claims.get(&(incarnation, id.to_owned())) {
            return Ok(Some(*claim));
        }
        let key = Key::Producer {
            group: self.group,
            generation: state.generation,
            incarnation,
            id,
        };
        match self.index.get(&key.encode())? {
            Some(bytes) => Claim::decode(&bytes).map(Some).map_err(damaged),
            None => Ok(None),
        }
    }

    /// Stores bytes that are in the cold store already: rows say where.
    fn refer(&self, state: &mut State, changes: &mut Changes, stored: &Stored, elsewhere: &Elsewhere) {
        let object = elsewhere.object;
        let placed = |(offset, len, crc32c)| (Place::Cold(ColdPlace { object, offset }), len, crc32c);
        self.put_chunks(state, changes, stored, elsewhere.pieces().map(placed));
        state.books.refer(object, stored.len, stored.len);
        let of = self.of(state);
        state.books.put_objects(&mut changes.batch, of, [object]);
    }

    /// Stores bytes that came with their command and are in the journal: rows say where.
    fn store(
        &self,
        state: &mut State,
        changes: &mut Changes,
        index: u64,
        stored: &Stored,
        body: &Bytes,
    ) -> io::Result<()> {
        let slot: Option<Slot> = self.log.state().slot(index);
        let at = match slot {
            Some(slot) if u64::from(slot.body_len) == stored.len => slot.body_at(),
            _ => {
                return Err(io::Error::other(format!(
                    "the log does not hold the body of entry {index}"
                )));
            }
        };
        let placed = |(skip, piece): (u64, &[u8])| {
            let place = Place::Journal(storage::journal::Position {
                offset: at.offset + skip,
                ..at
            });
            (place, piece.len() as u32, crc32c::crc32c(piece))
        };
        let pieces = (0_u64..).step_by(PIECE_BYTES).zip(body.chunks(PIECE_BYTES));
        self.put_chunks(state, changes, stored, pieces.map(placed));
        *state.live.entry(at.segment).or_default() += stored.len;
        if changes.segments.last() != Some(&at.segment) {
            changes.segments.push(at.segment);
        }
        let end = Offset(stored.offset.0 + stored.len);
        let (of, now_ms) = (self.of(state), state.position.last_now_ms);
        state
            .books
            .came(&mut changes.batch, of, stored.incarnation, stored.offset, end, now_ms);
        Ok(())
    }

    /// Puts the rows of the pieces of a body: where each is, how long it is, and its checksum.
    fn put_chunks(
        &self,
        state: &State,
        changes: &mut Changes,
        stored: &Stored,
        pieces: impl Iterator<Item = (Place, u32, u32)>,
    ) {
        let (group, generation, incarnation) = (self.group, state.generation, stored.incarnation);
        let mut end = stored.offset.0;
        for (place, len, crc32c) in pieces {
            end += u64::from(len);
            let chunk = Chunk {
                place,
                len,
                crc32c,
                ends: end == stored.offset.0 + stored.len,
                cuts: Vec::new(),
            };
            let key = Key::Chunk {
                group,
                generation,
                incarnation,
                end: Offset(end),
            };
            changes.batch.put(key.encode(), chunk.encode());
        }
    }

    /// Writes the batch; returns the streams that somebody may wait for: what changed in others, such as when they were
    /// last used, is nothing that a reader is waiting for.
    fn write(&self, state: &mut State, mut changes: Changes) -> io::Result<BTreeMap<StreamName, Changed>> {
        let (group, generation) = (self.group, state.generation);
        for (name, Changed { row, .. }) in &changes.rows {
            let key = Key::stream(group, generation, name).encode();
            match row {
                Some(row) => {
                    changes.batch.put(key, row.encode());
                    state.rows.put(name, row.clone());
                }
                None => {
                    changes.batch.delete(key);
                    state.rows.remove(name);
                }
            }
        }
        changes.buckets.finish(self.rows_of(state), &mut changes.batch);
        let mut segments = changes.segments;
        segments.sort_unstable();
        segments.dedup();
        state.put_live(&mut changes.batch, group, segments);
        state.position.put(&mut changes.batch, group, changes.membership);
        state.trash |= changes.trash;
        self.index.write(changes.batch)?;
        for (incarnation, offset, bytes) in changes.cached {
            self.tail.put(group, incarnation, offset, bytes);
        }
        changes.rows.retain(|_, changed| {
            changed.row.take_if(|row| row.gone);
            changed.stood != standing(changed.row.as_deref())
        });
        Ok(changes.rows)
    }
}

/// Where a stream stands. Who has gone is no more there for who waits than who was never there.
fn standing(row: Option<&StreamRow>) -> Option<Standing> {
    row.filter(|row| !row.gone).map(StreamRow::standing)
}

/// The next link of the chain over everything applied.
fn chain(digest: u64, id: LogId, tag: u64) -> u64 {
    let mut hash = digest ^ 0xcbf2_9ce4_8422_2325;
    for number in [id.leader_id.term, id.index, tag] {
        for byte in number.to_le_bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
    hash
}
