//! The false cold store: one for all nodes, durable at once, far away.
//!
//! What can go wrong is what goes wrong with S3: it is slow, it is out, and a call may fail before it took effect or
//! after it did, which its caller cannot tell apart.

use std::{
    fmt,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use net::{
    dice::{Dice, Stream},
    rt,
};
use rand::RngExt;
use storage::{cold::Cold, disk::Fut, error::ColdError, memory::MemoryCold};

use crate::tell::{Tell, word_of};

/// What is wrong with a cold store. The default is a healthy one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ColdFaults {
    /// How likely a call fails without effect, 0 to 1.
    pub fail_before_chance: f64,
    /// How likely a call fails after it took effect, 0 to 1.
    pub fail_after_chance: f64,
    /// Added to every call.
    pub slow: Duration,
    /// How likely a read returns its bytes with one bit flipped, 0 to 1. What is stored stays as it is.
    pub flip_chance: f64,
    /// Every call fails, without effect.
    pub out: bool,
}

/// A cold store in the hands of the world. Clones are the same store.
#[derive(Clone)]
pub struct FalseCold {
    objects: Arc<MemoryCold>,
    state: Arc<Mutex<State>>,
}

struct State {
    latency: Range<Duration>,
    faults: ColdFaults,
    dice: Stream,
    tell: Tell,
    puts: u64,
    flipped: u64,
}

/// What is decided about a call when it begins.
struct Fate {
    time: Duration,
    /// Takes effect when it begins, not when its time is over.
    early: bool,
    fails_before: bool,
    fails_after: bool,
}

impl FalseCold {
    /// An empty, healthy store, 5 to 50 ms away. It throws the stream `cold` of these dice.
    pub fn new(dice: &Dice, tell: Tell) -> FalseCold {
        let latency = Duration::from_millis(5)..Duration::from_millis(50);
        let state = State {
            latency,
            faults: ColdFaults::default(),
            dice: dice.stream("cold"),
            tell,
            puts: 0,
            flipped: 0,
        };
        FalseCold {
            objects: Arc::new(MemoryCold::new()),
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// The same store, so far away; an empty range means its beginning, and zero that no call waits.
    #[must_use]
    pub fn with_latency(self, latency: Range<Duration>) -> FalseCold {
        self.lock().latency = latency;
        self
    }

    /// The store for a node.
    pub fn mount(&self) -> Arc<dyn Cold> {
        Arc::new(self.clone())
    }

    /// Changes what is wrong with the store, from the next call on.
    pub fn change(&self, change: impl FnOnce(&mut ColdFaults)) {
        change(&mut self.lock().faults);
    }

    /// A healthy store again.
    pub fn mend(&self) {
        self.change(|faults| *faults = ColdFaults::default());
    }

    /// What it holds, without time and faults, for the invariants.
    pub fn objects(&self) -> &MemoryCold {
        &self.objects
    }

    /// How many objects were put.
    pub fn puts(&self) -> u64 {
        self.lock().puts
    }

    /// How many reads were answered with a bit flipped.
    pub fn flipped(&self) -> u64 {
        self.lock().flipped
    }

    /// An object was put past the seam.
    #[cfg(feature = "sdk")]
    pub(crate) fn count_put(&self) {
        self.lock().puts += 1;
    }

    /// A read past the seam was answered with a bit flipped.
    #[cfg(feature = "sdk")]
    pub(crate) fn count_flip(&self) {
        self.lock().flipped += 1;
    }

    /// What is wrong with the store.
    #[cfg(feature = "sdk")]
    pub(crate) fn faults(&self) -> ColdFaults {
        self.lock().faults.clone()
    }

    /// The bytes, or perhaps not quite.
    fn lied(&self, bytes: Bytes) -> Bytes {
        let state = &mut *self.lock();
        let chance = state.faults.flip_chance;
        if chance <= 0.0 || bytes.is_empty() || !state.dice.random_bool(chance) {
            return bytes;
        }
        let mut bytes = bytes.to_vec();
        let at = state.dice.random_range(0..bytes.len());
        bytes[at] ^= 1 << state.dice.random_range(0..8);
        state.flipped += 1;
        bytes.into()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Whoever panicked is a test that has failed already.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fate(&self) -> Fate {
        let State {
            latency, faults, dice, ..
        } = &mut *self.lock();
        let far = if latency.is_empty() {
            latency.start
        } else {
            dice.random_range(latency.clone())
        };
        let mut throw = |chance: f64| chance > 0.0 && dice.random_bool(chance);
        Fate {
            time: far + faults.slow,
            fails_before: faults.out || throw(faults.fail_before_chance),
            fails_after: throw(faults.fail_after_chance),
            early: throw(0.5),
        }
    }

    async fn call<T>(
        &self,
        name: &'static str,
        key: &str,
        effect: impl Future<Output = Result<T, ColdError>>,
    ) -> Result<T, ColdError> {
        let fate = self.fate();
        let fails = |when: &str| {
            let word = word_of([name, key, when].map(str::as_bytes));
            self.lock()
                .tell
                .line(word, format_args!("cold {name} {key} fails {when} it took effect"));
            Err(ColdError::Io(std::io::Error::other("the cold store did not answer")))
        };
        let wait = async {
            if !fate.time.is_zero() {
                rt::sleep(fate.time).await;
            }
        };
        if fate.fails_before {
            wait.await;
            return fails("before");
        }
        let result = if fate.early {
            let result = effect.await;
            wait.await;
            result
        } else {
            wait.await;
            effect.await
        };
        if fate.fails_after { fails("after") } else { result }
    }
}

impl Cold for FalseCold {
    fn put_if_absent(&self, key: &str, pieces: Vec<Bytes>) -> Fut<'_, Result<(), ColdError>> {
        let key = key.to_owned();
        let put = async move {
            let effect = async {
                let put = self.objects.put_if_absent(&key, pieces).await;
                self.lock().puts += u64::from(put.is_ok());
                put
            };
            self.call("put", &key, effect).await
        };
        Box::pin(put)
    }

    fn get_range(&self, key: &str, range: Range<u64>) -> Fut<'_, Result<Bytes, ColdError>> {
        let key = key.to_owned();
        Box::pin(async move {
            let bytes = self.call("get", &key, self.objects.get_range(&key, range)).await?;
            Ok(self.lied(bytes))
        })
    }

    fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Fut<'_, Result<Vec<String>, ColdError>> {
        let (prefix, after) = (prefix.to_owned(), after.map(str::to_owned));
        Box::pin(async move {
            self.call("list", &prefix, self.objects.list(&prefix, after.as_deref(), limit))
                .await
        })
    }

    fn delete(&self, key: &str) -> Fut<'_, Result<(), ColdError>> {
        let key = key.to_owned();
        Box::pin(async move { self.call("delete", &key, self.objects.delete(&key)).await })
    }
}

impl fmt::Debug for FalseCold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FalseCold")
            .field("faults", &self.lock().faults)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use storage::contract;

    use super::*;
    use crate::engine::{Engine, Options};

    fn cold() -> FalseCold {
        FalseCold::new(&Dice::from_seed(1), Tell::nobody()).with_latency(Duration::ZERO..Duration::ZERO)
    }

    fn now<T>(call: Fut<'_, T>) -> T {
        call.now_or_never().expect("without latency nothing waits")
    }

    #[test]
    fn keeps_the_contract() {
        contract::cold::all(&|| cold().mount())
            .now_or_never()
            .expect("without latency nothing waits");
    }

    #[test]
    fn a_call_that_fails_before_has_no_effect() {
        let cold = cold();
        cold.change(|faults| faults.fail_before_chance = 1.0);
        assert!(matches!(now(cold.put_if_absent("a", vec![])), Err(ColdError::Io(_))));
        cold.mend();
        now(cold.put_if_absent("a", vec![])).unwrap();
    }

    #[test]
    fn a_call_that_fails_after_has_its_effect() {
        let cold = cold();
        cold.change(|faults| faults.fail_after_chance = 1.0);
        assert!(matches!(now(cold.put_if_absent("a", vec![])), Err(ColdError::Io(_))));
        cold.mend();
        assert!(matches!(now(cold.put_if_absent("a", vec![])), Err(ColdError::Exists)));
    }

    #[test]
    fn a_store_that_lies_flips_a_bit_on_the_way_and_not_in_the_object() {
        let cold = cold();
        now(cold.put_if_absent("a", vec![Bytes::from_static(b"abc")])).unwrap();
        cold.change(|faults| faults.flip_chance = 1.0);
        assert_ne!(now(cold.get_range("a", 0..3)).unwrap(), "abc");
        cold.mend();
        assert_eq!(now(cold.get_range("a", 0..3)).unwrap(), "abc");
        assert_eq!((cold.puts(), cold.flipped()), (1, 1));
    }

    #[test]
    fn in_an_outage_every_call_fails() {
        let cold = cold();
        now(cold.put_if_absent("a", vec![])).unwrap();
        cold.change(|faults| faults.out = true);
        now(cold.put_if_absent("b", vec![])).unwrap_err();
        now(cold.get_range("a", 0..1)).unwrap_err();
        now(cold.list("", None, 1)).unwrap_err();
        now(cold.delete("a")).unwrap_err();
        cold.mend();
        assert_eq!(now(cold.list("", None, 9)).unwrap(), ["a"]);
    }

    #[test]
    fn a_slow_store_takes_longer() {
        let test = async {
            let cold = cold();
            cold.change(|faults| faults.slow = Duration::from_millis(30));
            let start = rt::Instant::now();
            cold.put_if_absent("a", vec![]).await.unwrap();
            assert!(start.elapsed() >= Duration::from_millis(30));
        };
        Engine::new(1, Options::default()).run_until(test).unwrap();
    }
}
