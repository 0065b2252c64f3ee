//! The false index: a sorted map that forgets, as RocksDB does without its log.
//!
//! What was flushed is kept; of the batches after it a crash of any kind keeps a prefix, chosen by the dice. It runs the
//! same contract as RocksDB.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt, io,
    ops::Bound::{Excluded, Included},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use net::{
    dice::{Dice, Stream},
    rt,
};
use rand::RngExt;
use storage::{
    disk::Fut,
    index::{Batch, Change, Index},
    memory,
};

use crate::tell::{Tell, word_of};

/// Unflushed batches beyond this many are flushed in the background, as RocksDB does when a write buffer is full: so
/// memory is bounded also where nobody flushes.
const UNFLUSHED_MAX: usize = 20_000;

/// What a crash keeps of the batches that were not flushed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Keep {
    /// None: the write buffer was never full.
    Nothing,
    /// All: everything happened to be flushed in the background just now.
    Everything,
    /// Any prefix, by the dice, with both ends likelier than the middle.
    #[default]
    Any,
}

/// What is wrong with an index. The default is a healthy one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct IndexFaults {
    /// How long a flush takes longer, if it is awaited ([`Index::flush_async`]). What it covers is not durable before.
    pub slow_flush: Duration,
    /// How likely a flush fails, 0 to 1, after having covered a prefix.
    pub fail_flush_chance: f64,
    /// How likely a write fails, 0 to 1, without effect.
    pub fail_write_chance: f64,
    /// How likely a read fails, 0 to 1.
    pub fail_read_chance: f64,
}

/// An index in the hands of the world. Clones are the same index.
#[derive(Clone)]
pub struct FalseIndex {
    state: Arc<Mutex<State>>,
}

struct State {
    /// What everyone sees.
    rows: BTreeMap<Bytes, Bytes>,
    /// What every crash keeps.
    flushed: BTreeMap<Bytes, Bytes>,
    /// From the one to the other, first to last.
    unflushed: VecDeque<Batch>,
    /// How many batches were flushed since the beginning.
    batches_flushed: u64,
    faults: IndexFaults,
    /// Counts the lives of the node: a handle of an earlier one is worth nothing.
    life: u64,
    dice: Stream,
    tell: Tell,
}

/// The index as one life of the node sees it.
struct Mounted {
    index: FalseIndex,
    life: u64,
}

impl FalseIndex {
    /// An empty, healthy index. It throws the stream `index` of these dice.
    pub fn new(dice: &Dice, tell: Tell) -> FalseIndex {
        let state = State {
            rows: BTreeMap::new(),
            flushed: BTreeMap::new(),
            unflushed: VecDeque::new(),
            batches_flushed: 0,
            faults: IndexFaults::default(),
            life: 0,
            dice: dice.stream("index"),
            tell,
        };
        FalseIndex {
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// The index for the life of the node that begins now.
    pub fn mount(&self) -> Arc<dyn Index> {
        Arc::new(Mounted {
            index: self.clone(),
            life: self.lock().life,
        })
    }

    /// The process or the machine died: a prefix of the batches is left, at least up to the last flush. Returns how
    /// many batches were lost.
    pub fn crash(&self, keep: Keep) -> usize {
        let mut state = self.lock();
        let all = state.unflushed.len();
        let kept = match keep {
            Keep::Nothing => 0,
            Keep::Everything => all,
            Keep::Any => match state.dice.random_range(0..4) {
                0 => 0,
                1 => all,
                _ => state.dice.random_range(0..=all),
            },
        };
        state.flush(kept);
        state.unflushed.clear();
        state.rows = state.flushed.clone();
        state.life += 1;
        state.tell.line(
            kept as u64,
            format_args!("index keeps {kept} of {all} unflushed batches"),
        );
        all - kept
    }

    /// The index was lost whole: its folder was removed, or its files were damaged.
    pub fn wipe(&self) {
        let mut state = self.lock();
        state.flushed.clear();
        state.unflushed.clear();
        state.rows.clear();
        state.life += 1;
        state.tell.line(0, format_args!("index is lost"));
    }

    /// Changes what is wrong with the index, from the next call on.
    pub fn change(&self, change: impl FnOnce(&mut IndexFaults)) {
        change(&mut self.lock().faults);
    }

    /// A healthy index again. What was lost stays so.
    pub fn mend(&self) {
        self.change(|faults| *faults = IndexFaults::default());
    }

    /// How many batches a crash could take.
    pub fn unflushed(&self) -> usize {
        self.lock().unflushed.len()
    }

    /// All rows, as everyone sees them.
    pub fn rows(&self) -> BTreeMap<Bytes, Bytes> {
        self.lock().rows.clone()
    }

    /// All rows that every crash keeps.
    pub fn durable_rows(&self) -> BTreeMap<Bytes, Bytes> {
        self.lock().flushed.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Whoever panicked is a test that has failed already.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Makes the next so many batches durable.
    fn flush(&mut self, batches: usize) {
        for batch in self.unflushed.drain(..batches) {
            memory::apply(&mut self.flushed, &batch);
        }
        self.batches_flushed += batches as u64;
    }

    /// Makes the batches durable that were written before there were so many.
    fn flush_upto(&mut self, written: u64) -> io::Result<()> {
        let due = usize::try_from(written.saturating_sub(self.batches_flushed)).unwrap_or(usize::MAX);
        let due = due.min(self.unflushed.len());
        if self.throw(self.faults.fail_flush_chance) {
            let covered = self.dice.random_range(0..=due);
            self.flush(covered);
            self.tell.line(
                covered as u64,
                format_args!("index flush fails after {covered} of {due} batches"),
            );
            return Err(io::Error::other("could not flush the index"));
        }
        self.tell.line(due as u64, format_args!("index flushes {due} batches"));
        self.flush(due);
        Ok(())
    }

    fn written(&self) -> u64 {
        self.batches_flushed + self.unflushed.len() as u64
    }

    fn throw(&mut self, chance: f64) -> bool {
        chance > 0.0 && self.dice.random_bool(chance)
    }
}

impl Mounted {
    fn state(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.index.lock();
        if state.life != self.life {
            return Err(io::Error::new(
                io::ErrorKind::NotConnected,
                "this handle is of a life that has ended",
            ));
        }
        Ok(state)
    }

    fn readable(&self) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.state()?;
        let chance = state.faults.fail_read_chance;
        if state.throw(chance) {
            state.tell.line(0xFA11, format_args!("index read fails"));
            return Err(io::Error::other("could not read the index"));
        }
        Ok(state)
    }
}

impl Index for Mounted {
    fn write(&self, batch: Batch) -> io::Result<()> {
        let mut state = self.state()?;
        let chance = state.faults.fail_write_chance;
        if state.throw(chance) {
            state.tell.line(0xFA12, format_args!("index write fails"));
            return Err(io::Error::other("could not write to the index"));
        }
        if !batch.is_empty() {
            state.tell.line(
                word(&batch),
                format_args!("index takes {} changes", batch.changes.len()),
            );
            memory::apply(&mut state.rows, &batch);
            state.unflushed.push_back(batch);
            if state.unflushed.len() > UNFLUSHED_MAX {
                state.flush(UNFLUSHED_MAX / 2);
            }
        }
        Ok(())
    }

    fn get(&self, key: &[u8]) -> io::Result<Option<Bytes>> {
        Ok(self.readable()?.rows.get(key).cloned())
    }

    fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> io::Result<Vec<(Bytes, Bytes)>> {
        let state = self.readable()?;
        if from >= to {
            return Ok(Vec::new());
        }
        Ok(state
            .rows
            .range::<[u8], _>((Included(from), Excluded(to)))
            .take(limit)
            .map(owned)
            .collect())
    }

    fn last(&self, from: &[u8], to: &[u8]) -> io::Result<Option<(Bytes, Bytes)>> {
        let state = self.readable()?;
        if from >= to {
            return Ok(None);
        }
        Ok(state
            .rows
            .range::<[u8], _>((Included(from), Excluded(to)))
            .next_back()
            .map(owned))
    }

    fn flush(&self) -> io::Result<()> {
        let mut state = self.state()?;
        let written = state.written();
        state.flush_upto(written)
    }

    fn flush_async(&self) -> Fut<'_, io::Result<()>> {
        Box::pin(async move {
            let (written, time) = {
                let state = self.state()?;
                (state.written(), state.faults.slow_flush)
            };
            if !time.is_zero() {
                rt::sleep(time).await;
            }
            self.state()?.flush_upto(written)
        })
    }

    fn approximate_bytes(&self) -> u64 {
        self.index
            .lock()
            .rows
            .iter()
            .map(|(key, value)| (key.len() + value.len()) as u64)
            .sum()
    }
}

impl fmt::Debug for FalseIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        let mut debug = f.debug_struct("FalseIndex");
        debug.field("life", &state.life).field("rows", &state.rows.len());
        debug.field("unflushed", &state.unflushed.len()).finish()
    }
}

fn word(batch: &Batch) -> u64 {
    word_of(batch.changes.iter().flat_map(|change| match change {
        Change::Put(key, value) => [&key[..], &value[..], &[0]],
        Change::Delete(key) => [&key[..], &[], &[1]],
        Change::DeleteRange(from, to) => [&from[..], &to[..], &[2]],
    }))
}

fn owned((key, value): (&Bytes, &Bytes)) -> (Bytes, Bytes) {
    (key.clone(), value.clone())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use storage::contract::index::{self as contract, Lives};

    use super::*;
    use crate::engine::{Engine, Options};

    fn index(seed: u64) -> FalseIndex {
        FalseIndex::new(&Dice::from_seed(seed), Tell::nobody())
    }

    fn row(index: &dyn Index, number: u64) {
        let mut batch = Batch::default();
        batch.put("row", format!("{number}"));
        index.write(batch).unwrap();
    }

    #[test]
    fn keeps_the_contract() {
        contract::all(&|| index(1).mount());
    }

    struct Crashing(FalseIndex, Arc<dyn Index>, Keep);

    impl Lives for Crashing {
        fn index(&self) -> Arc<dyn Index> {
            self.1.clone()
        }

        fn crash(&mut self) {
            self.0.crash(self.2);
            self.1 = self.0.mount();
        }
    }

    #[test]
    fn keeps_the_contract_of_crashes() {
        for seed in 0..50 {
            for keep in [Keep::Nothing, Keep::Everything, Keep::Any] {
                let index = index(seed);
                let mounted = index.mount();
                contract::crashes(&mut Crashing(index, mounted, keep), seed, 20);
            }
        }
    }

    #[test]
    fn a_crash_keeps_any_prefix_from_the_flushed_on() {
        let kept = (0..200).map(|seed| {
            let index = index(seed);
            let mounted = index.mount();
            for number in 1..=5 {
                row(&*mounted, number);
                if number == 2 {
                    mounted.flush().unwrap();
                }
            }
            index.crash(Keep::Any);
            String::from_utf8(index.mount().get(b"row").unwrap().unwrap().to_vec()).unwrap()
        });
        let kept: BTreeSet<String> = kept.collect();
        assert_eq!(kept, BTreeSet::from(["2", "3", "4", "5"].map(String::from)));
    }

    #[test]
    fn a_handle_from_before_a_crash_is_worth_nothing() {
        let index = index(1);
        let old = index.mount();
        row(&*old, 1);
        index.crash(Keep::Everything);
        assert_eq!(old.get(b"row").unwrap_err().kind(), io::ErrorKind::NotConnected);
        assert_eq!(old.flush().unwrap_err().kind(), io::ErrorKind::NotConnected);
        assert!(index.mount().get(b"row").unwrap().is_some());
    }

    #[test]
    fn a_failing_flush_covers_a_prefix_and_a_later_one_the_rest() {
        let index = index(1);
        let mounted = index.mount();
        (1..=5).for_each(|number| row(&*mounted, number));
        index.change(|faults| faults.fail_flush_chance = 1.0);
        mounted.flush().unwrap_err();
        index.mend();
        mounted.flush().unwrap();
        assert_eq!(index.unflushed(), 0);
        assert_eq!(index.rows(), index.durable_rows());
    }

    #[test]
    fn writes_and_reads_fail_by_chance() {
        let index = index(1);
        let mounted = index.mount();
        row(&*mounted, 1);
        index.change(|faults| faults.fail_write_chance = 1.0);
        mounted.write(Batch { changes: vec![] }).unwrap_err();
        index.change(|faults| faults.fail_read_chance = 1.0);
        mounted.get(b"row").unwrap_err();
        mounted.scan(b"a", b"z", 1).unwrap_err();
        mounted.last(b"a", b"z").unwrap_err();
    }

    #[test]
    fn a_slow_flush_covers_nothing_before_it_ends() {
        let test = async {
            let index = index(1);
            let mounted = index.mount();
            row(&*mounted, 1);
            index.change(|faults| faults.slow_flush = Duration::from_millis(30));
            let crash = async {
                rt::sleep(Duration::from_millis(5)).await;
                index.crash(Keep::Nothing)
            };
            let (flushed, lost) = futures_util::join!(mounted.flush_async(), crash);
            assert_eq!(flushed.unwrap_err().kind(), io::ErrorKind::NotConnected);
            assert_eq!(lost, 1);
        };
        Engine::new(1, Options::default()).run_until(test).unwrap();
    }

    #[test]
    fn a_wiped_index_is_empty() {
        let index = index(1);
        row(&*index.mount(), 1);
        index.mount().flush().unwrap();
        index.wipe();
        assert_eq!(index.mount().get(b"row").unwrap(), None);
    }

    #[test]
    fn nobody_flushing_is_bounded() {
        let index = index(1);
        let mounted = index.mount();
        (0..UNFLUSHED_MAX as u64 + 10).for_each(|number| row(&*mounted, number));
        assert!(index.unflushed() <= UNFLUSHED_MAX);
        index.crash(Keep::Nothing);
        assert!(index.mount().get(b"row").unwrap().is_some());
    }
}
