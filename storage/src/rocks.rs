//! The index on RocksDB.
//!
//! Its own log is off: the journal is the log, and what RocksDB had not flushed is replayed from there. One column
//! family, so that memtables reach the disk in the order of the writes and a crash leaves an exact prefix of them
//! (each costs memory and 70 ms to create; should a second come, `atomic_flush` keeps the prefix across both).
//! Tuned to be small when idle: the bytes of streams never come here, only what finds them.

use std::{io, path::Path};

use bytes::Bytes;
use rocksdb::{
    BlockBasedOptions, Cache, DB, DBRawIterator, ErrorKind, FlushOptions, LogLevel, ReadOptions, WriteBatch,
    WriteOptions, properties,
};

use crate::index::{Batch, Change, Index};

/// How large the index may grow in memory, and how it uses the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Bytes of pages kept in memory, indexes and filters of the files included.
    pub block_cache_bytes: usize,
    /// Bytes of rows gathered in memory before they are written to a file of their own. What a crash loses, and the
    /// journal must replay, is at most [`Options::write_buffers`] times this.
    pub write_buffer_bytes: usize,
    /// How many write buffers there may be: one that fills, the others on their way to the disk. Writers wait when all
    /// are full.
    pub write_buffers: u8,
    /// Files kept open.
    pub open_files: u16,
    /// Threads for flushing and compacting.
    pub background_threads: u8,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            block_cache_bytes: 16 << 20,
            write_buffer_bytes: 8 << 20,
            write_buffers: 4,
            open_files: 256,
            background_threads: 2,
        }
    }
}

impl Options {
    fn native(&self) -> rocksdb::Options {
        let mut table = BlockBasedOptions::default();
        table.set_block_cache(&Cache::new_lru_cache(self.block_cache_bytes));
        // Otherwise the indexes and filters of every open file would come on top of the cache, without a bound.
        table.set_cache_index_and_filter_blocks(true);
        table.set_pin_l0_filter_and_index_blocks_in_cache(true);
        table.set_bloom_filter(10.0, false);
        table.set_optimize_filters_for_memory(true);

        let mut native = rocksdb::Options::default();
        native.create_if_missing(true);
        native.set_block_based_table_factory(&table);
        native.set_atomic_flush(true);
        native.set_write_buffer_size(self.write_buffer_bytes);
        native.set_max_write_buffer_number(self.write_buffers.max(2).into());
        native.set_max_open_files(self.open_files.max(16).into());
        native.set_max_background_jobs(self.background_threads.max(1).into());
        native.set_max_file_opening_threads(1);
        native.set_target_file_size_base(16 << 20);
        native.set_max_bytes_for_level_base(64 << 20);
        // Written back bit by bit, so that the sync at the end of a file does not hold up the journal's.
        native.set_bytes_per_sync(1 << 20);
        native.set_skip_stats_update_on_db_open(true);
        native.set_stats_dump_period_sec(0);
        native.set_stats_persist_period_sec(0);
        native.set_log_level(LogLevel::Warn);
        native.set_keep_log_file_num(2);
        native.set_max_log_file_size(1 << 20);
        native.set_max_manifest_file_size(4 << 20);
        native
    }
}

/// An [`Index`] in a folder of this machine.
pub struct RocksIndex {
    db: DB,
}

impl RocksIndex {
    /// Opens the index in a folder, which is created where it is missing. Only one process can have it open.
    ///
    /// # Errors
    /// [`io::ErrorKind::ResourceBusy`] if another process has it open, [`io::ErrorKind::InvalidData`] if its files are
    /// damaged, else those of the disk. A damaged index must not be removed: the journal holds the log only from the
    /// last purge on, and what came before stands here alone.
    pub fn open(folder: &Path, options: &Options) -> io::Result<RocksIndex> {
        let opening = format!("open the index in {}", folder.display());
        let db = DB::open(&options.native(), folder).map_err(|error| told(&opening, &error))?;
        Ok(RocksIndex { db })
    }

    /// An iterator over `from..to`, which must not be empty.
    fn iterate(&self, from: &[u8], to: &[u8]) -> DBRawIterator<'_> {
        let mut bounds = ReadOptions::default();
        bounds.set_iterate_lower_bound(from);
        bounds.set_iterate_upper_bound(to);
        self.db.raw_iterator_opt(bounds)
    }
}

impl Index for RocksIndex {
    fn write(&self, batch: Batch) -> io::Result<()> {
        if batch.is_empty() {
            return Ok(());
        }
        let mut native = WriteBatch::default();
        for change in &batch.changes {
            match change {
                Change::Put(key, value) => native.put(key, value),
                Change::Delete(key) => native.delete(key),
                Change::DeleteRange(from, to) if from < to => native.delete_range(from, to),
                // RocksDB would refuse the whole batch.
                Change::DeleteRange(..) => {}
            }
        }
        let mut lazily = WriteOptions::default();
        lazily.disable_wal(true);
        self.db
            .write_opt(native, &lazily)
            .map_err(|error| told("write to the index", &error))
    }

    fn get(&self, key: &[u8]) -> io::Result<Option<Bytes>> {
        let found = self
            .db
            .get_pinned(key)
            .map_err(|error| told("read the index", &error))?;
        Ok(found.map(|value| Bytes::copy_from_slice(&value)))
    }

    fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> io::Result<Vec<(Bytes, Bytes)>> {
        let mut rows = Vec::new();
        if from >= to || limit == 0 {
            return Ok(rows);
        }
        let mut iterator = self.iterate(from, to);
        iterator.seek_to_first();
        while let Some(row) = iterator.item() {
            rows.push(owned(row));
            if rows.len() == limit {
                break;
            }
            iterator.next();
        }
        // An iterator that met an error looks like one at its end.
        iterator.status().map_err(|error| told("scan the index", &error))?;
        Ok(rows)
    }

    fn last(&self, from: &[u8], to: &[u8]) -> io::Result<Option<(Bytes, Bytes)>> {
        if from >= to {
            return Ok(None);
        }
        let mut iterator = self.iterate(from, to);
        iterator.seek_to_last();
        let row = iterator.item().map(owned);
        iterator.status().map_err(|error| told("scan the index", &error))?;
        Ok(row)
    }

    fn flush(&self) -> io::Result<()> {
        let mut waiting = FlushOptions::default();
        waiting.set_wait(true);
        self.db
            .flush_opt(&waiting)
            .map_err(|error| told("flush the index", &error))
    }

    fn approximate_bytes(&self) -> u64 {
        let properties = [properties::CUR_SIZE_ALL_MEM_TABLES, properties::LIVE_SST_FILES_SIZE];
        // A property that RocksDB does not tell counts as nothing: this is for metrics.
        properties
            .into_iter()
            .filter_map(|name| self.db.property_int_value(name).ok().flatten())
            .sum()
    }
}

fn owned((key, value): (&[u8], &[u8])) -> (Bytes, Bytes) {
    (Bytes::copy_from_slice(key), Bytes::copy_from_slice(value))
}

/// RocksDB's error as one of the standard kinds, with what we were about to do.
fn told(doing: &str, error: &rocksdb::Error) -> io::Error {
    let text = error.as_ref();
    let (kind, why) = match error.kind() {
        ErrorKind::Corruption => (io::ErrorKind::InvalidData, "its files are damaged"),
        ErrorKind::IOError if text.contains("No space left") => (io::ErrorKind::StorageFull, "the disk is full"),
        ErrorKind::IOError if text.contains("lock") && text.contains("LOCK") => {
            (io::ErrorKind::ResourceBusy, "another process has it open")
        }
        _ => (io::ErrorKind::Other, "RocksDB refused"),
    };
    io::Error::new(kind, format!("could not {doing}: {why} ({text})"))
}
