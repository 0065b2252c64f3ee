//! Buckets in a group's state: the registry (group 0), the counts of streams, and the seal.
//!
//! A command sees what the commands before it in the same batch have done, which the index does not show yet.

use std::collections::BTreeMap;
use std::io;

use storage::index::{Batch, Index};

use super::machine::{Machine, State, damaged};
use crate::keys::{Key, number};
use crate::stream::{
    BucketChange, BucketOp, BucketRow, Command, LoadedBucket, Moment, Outcome, StreamName, apply_bucket,
};

/// What a batch changes about buckets, before it is written.
#[derive(Default)]
pub(super) struct BucketChanges {
    rows: BTreeMap<String, Option<BucketRow>>,
    streams: BTreeMap<String, u64>,
    buckets: Option<u64>,
    sealed: Option<u64>,
}

/// Where a group's rows lie.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a> {
    pub(super) index: &'a dyn Index,
    pub(super) group: u32,
    pub(super) generation: u64,
}

impl Rows<'_> {
    fn number(&self, key: &Key<'_>) -> io::Result<u64> {
        match self.index.get(&key.encode())? {
            Some(bytes) => number::decode(&bytes).map_err(damaged),
            None => Ok(0),
        }
    }

    /// The row of a bucket.
    pub(super) fn bucket(&self, name: &str) -> io::Result<Option<BucketRow>> {
        let (group, generation) = (self.group, self.generation);
        let key = Key::Bucket {
            group,
            generation,
            name,
        };
        match self.index.get(&key.encode())? {
            Some(bytes) => BucketRow::decode(&bytes).map(Some).map_err(damaged),
            None => Ok(None),
        }
    }

    /// How many stream rows of a bucket the group holds.
    pub(super) fn streams(&self, name: &str) -> io::Result<u64> {
        let (group, generation) = (self.group, self.generation);
        self.number(&Key::BucketCount {
            group,
            generation,
            name,
        })
    }

    /// How many buckets there are.
    fn buckets(&self) -> io::Result<u64> {
        let (group, generation) = (self.group, self.generation);
        self.number(&Key::Buckets { group, generation })
    }

    /// What the group is sealed at.
    pub(super) fn sealed(&self) -> io::Result<u64> {
        let (group, generation) = (self.group, self.generation);
        self.number(&Key::Sealed { group, generation })
    }

    /// Puts a bucket's row, and what finds its deletion.
    pub(super) fn put_bucket(&self, batch: &mut Batch, name: &str, row: &BucketRow) {
        let (group, generation) = (self.group, self.generation);
        let key = Key::Bucket {
            group,
            generation,
            name,
        };
        batch.put(key.encode(), row.encode());
        if let Some(begun) = row.deleting {
            let key = Key::Deleting {
                group,
                generation,
                begun,
            };
            batch.put(key.encode(), name.as_bytes().to_vec());
        }
    }

    /// Puts how many stream rows of a bucket the group holds.
    pub(super) fn put_streams(&self, batch: &mut Batch, name: &str, streams: u64) {
        let (group, generation) = (self.group, self.generation);
        let key = Key::BucketCount {
            group,
            generation,
            name,
        };
        match streams {
            0 => batch.delete(key.encode()),
            _ => batch.put(key.encode(), number::encode(streams)),
        }
    }

    /// Puts how many buckets there are.
    pub(super) fn put_buckets(&self, batch: &mut Batch, buckets: u64) {
        let (group, generation) = (self.group, self.generation);
        batch.put(Key::Buckets { group, generation }.encode(), number::encode(buckets));
    }

    /// Puts what the group is sealed at.
    pub(super) fn put_sealed(&self, batch: &mut Batch, at: u64) {
        let (group, generation) = (self.group, self.generation);
        batch.put(Key::Sealed { group, generation }.encode(), number::encode(at));
    }
}

impl BucketChanges {
    /// What the group is sealed at, as of now.
    pub(super) fn sealed(&self, rows: Rows<'_>) -> io::Result<u64> {
        self.sealed.map_or_else(|| rows.sealed(), Ok)
    }

    /// Counts a stream row that was not there before, or is not there any more.
    pub(super) fn count(&mut self, rows: Rows<'_>, stream: &StreamName, was: bool, is: bool) -> io::Result<()> {
        if was == is {
            return Ok(());
        }
        let bucket = stream.bucket();
        let before = self.streams(rows, bucket)?;
        let now = if is { before + 1 } else { before.saturating_sub(1) };
        self.streams.insert(bucket.to_owned(), now);
        Ok(())
    }

    fn streams(&self, rows: Rows<'_>, bucket: &str) -> io::Result<u64> {
        match self.streams.get(bucket) {
            Some(streams) => Ok(*streams),
            None => rows.streams(bucket),
        }
    }

    /// Applies a command on a bucket.
    fn apply(
        &mut self,
        rows: Rows<'_>,
        batch: &mut Batch,
        command: &Command,
        op: BucketOp,
        moment: Moment,
    ) -> io::Result<(Outcome, u64)> {
        let bucket = command.stream.bucket();
        let row = match self.rows.get(bucket) {
            Some(row) => row.clone(),
            None => rows.bucket(bucket)?,
        };
        let buckets = self.buckets.map_or_else(|| rows.buckets(), Ok)?;
        let loaded = LoadedBucket {
            row: row.as_ref(),
            buckets,
            streams: self.streams(rows, bucket)?,
            sealed: self.sealed(rows)?,
        };
        let transition = apply_bucket(loaded, command, op, moment);
        if transition.sealed != loaded.sealed {
            self.sealed = Some(transition.sealed);
        }
        if transition.row != BucketChange::Keep
            && let Some(begun) = row.as_ref().and_then(|row| row.deleting)
        {
            let (group, generation) = (rows.group, rows.generation);
            let key = Key::Deleting {
                group,
                generation,
                begun,
            };
            batch.delete(key.encode());
        }
        match transition.row {
            BucketChange::Keep => {}
            BucketChange::Put(new) => {
                if row.is_none() {
                    self.buckets = Some(buckets + 1);
                }
                rows.put_bucket(batch, bucket, &new);
                self.rows.insert(bucket.to_owned(), Some(new));
            }
            BucketChange::Delete => {
                self.buckets = Some(buckets.saturating_sub(1));
                let (group, generation) = (rows.group, rows.generation);
                let key = Key::Bucket {
                    group,
                    generation,
                    name: bucket,
                };
                batch.delete(key.encode());
                self.rows.insert(bucket.to_owned(), None);
            }
        }
        Ok((transition.outcome, transition.now_ms))
    }

    /// Puts what has changed into the batch, but for the buckets' rows, which are there.
    pub(super) fn finish(self, rows: Rows<'_>, batch: &mut Batch) {
        for (bucket, streams) in &self.streams {
            rows.put_streams(batch, bucket, *streams);
        }
        if let Some(buckets) = self.buckets {
            rows.put_buckets(batch, buckets);
        }
        if let Some(at) = self.sealed {
            rows.put_sealed(batch, at);
        }
    }
}

impl Machine {
    /// The group's rows as they are in the index.
    pub(super) fn rows_of(&self, state: &State) -> Rows<'_> {
        Rows {
            index: &*self.index,
            group: self.group,
            generation: state.generation,
        }
    }

    /// Applies a command on a bucket as a whole.
    pub(super) fn bucket_command(
        &self,
        state: &mut State,
        changes: &mut BucketChanges,
        batch: &mut Batch,
        command: &Command,
        op: BucketOp,
        index: u64,
    ) -> io::Result<Outcome> {
        let moment = Moment {
            index,
            last_now_ms: state.position.last_now_ms,
        };
        let (outcome, now_ms) = changes.apply(self.rows_of(state), batch, command, op, moment)?;
        state.position.last_now_ms = now_ms;
        Ok(outcome)
    }
}
