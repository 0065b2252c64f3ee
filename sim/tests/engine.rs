//! The engine does what it promises: one seed is one run, every lawful order comes up, hosts die and stand still as a
//! whole, what goes wrong is told with the seed, and nothing is left behind.

use std::collections::BTreeSet;
use std::future::pending;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use net::rt::{self, Instant};
use sim::engine::{Down, Engine, HostId, Options, Trace, Why};
use tokio::sync::{Notify, mpsc};

fn engine(seed: u64) -> Engine {
    Engine::new(seed, Options::default())
}

fn millis(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Some hosts whose tasks talk through channels, sleep, and throw dice.
fn busy(engine: &mut Engine) -> u64 {
    let (sender, mut receiver) = mpsc::channel::<u64>(4);
    for n in 0..5 {
        let host = engine.host(format!("n{n}"));
        let sender = sender.clone();
        drop(engine.spawn_on(host, "talker", async move {
            for _ in 0..20 {
                rt::sleep(Duration::from_micros(rt::random_u64() % 5_000)).await;
                let _ = sender.send(n).await;
            }
        }));
    }
    drop(sender);
    let order = engine.run_until(async move {
        let mut order = 0_u64;
        while let Some(n) = receiver.recv().await {
            order = order.wrapping_mul(7).wrapping_add(n);
        }
        order
    });
    order.expect("a run without trouble")
}

#[test]
fn the_same_seed_is_the_same_run_and_another_is_another() {
    let run = |seed| {
        let mut engine = engine(seed);
        let order = busy(&mut engine);
        (order, engine.hash(), engine.now_ns(), engine.steps())
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1).1, run(2).1);
    assert_ne!(run(1).0, run(2).0);
}

/// Two tasks add to a number without holding it. In most orders nothing is lost.
fn racy(seed: u64, options: Options) -> u64 {
    let mut engine = Engine::new(seed, options);
    let number = Arc::new(AtomicU64::new(0));
    let total = Arc::clone(&number);
    let adding = async move {
        let add = |number: Arc<AtomicU64>, after: u64| async move {
            rt::sleep(Duration::from_micros(after)).await;
            let before = number.load(Ordering::Relaxed);
            rt::yield_now().await;
            number.store(before + 1, Ordering::Relaxed);
        };
        let one = rt::spawn("add", add(Arc::clone(&number), 0));
        let two = rt::spawn("add", add(number, 40));
        one.await.expect("no panic");
        two.await.expect("no panic");
    };
    engine.run_until(adding).expect("a run without trouble");
    total.load(Ordering::Relaxed)
}

#[test]
fn a_planted_race_is_found_because_ready_tasks_are_put_off() {
    let seeds = 0..300;
    let lost = |options: Options| seeds.clone().filter(|seed| racy(*seed, options.clone()) == 1).count();
    assert!(
        lost(Options {
            defer: 0.05,
            ..Options::default()
        }) > 0
    );
    assert_eq!(
        lost(Options {
            defer: 0.0,
            ..Options::default()
        }),
        0,
        "two sleeps 40 µs apart do not meet by chance"
    );
}

#[test]
fn every_order_of_ready_tasks_comes_up() {
    let orders: BTreeSet<Vec<u8>> = (0..200)
        .map(|seed| {
            let mut engine = engine(seed);
            let order = Arc::new(Mutex::new(Vec::new()));
            let told = Arc::clone(&order);
            let running = async move {
                let tasks: Vec<_> = (0..3)
                    .map(|n| {
                        let told = Arc::clone(&told);
                        rt::spawn("n", async move { told.lock().expect("one thread").push(n) })
                    })
                    .collect();
                for task in tasks {
                    task.await.expect("no panic");
                }
            };
            engine.run_until(running).expect("a run without trouble");
            order.lock().expect("one thread").clone()
        })
        .collect();
    assert_eq!(orders.len(), 6);
}

#[test]
fn timers_ring_in_their_order_and_not_before_their_time() {
    let mut engine = engine(3);
    let ended = engine.run_until(async {
        let began = Instant::now();
        let first = rt::spawn("first", async {
            rt::sleep(millis(50)).await;
            Instant::now()
        });
        let second = rt::spawn("second", async {
            rt::sleep(millis(100)).await;
            Instant::now()
        });
        let (second, first) = (second.await.expect("no panic"), first.await.expect("no panic"));
        assert!(began + millis(50) <= first && first < began + millis(60));
        assert!(began + millis(100) <= second && second < began + millis(110));
        let none = rt::timeout(millis(5), pending::<()>()).await;
        assert!(none.is_err());
        assert_eq!(rt::timeout(millis(5), async { 7 }).await, Ok(7));
        let mut sleep = rt::sleep(Duration::from_secs(3_600));
        sleep.reset(Instant::now() + millis(1));
        sleep.await;
        began.elapsed()
    });
    assert!(ended.expect("a run without trouble") < millis(200));
}

#[test]
fn a_fast_clock_sleeps_shorter_and_a_slow_one_longer() {
    let mut engine = engine(4);
    let (fast, slow) = (engine.host("fast"), engine.host("slow"));
    let control = engine.control();
    let nap = async |host| {
        let began = control.now_ns();
        let sleeping = control.spawn_on(host, "sleeper", async {
            let began = Instant::now();
            rt::sleep(Duration::from_secs(10)).await;
            began.elapsed()
        });
        // The pace changes while it sleeps: the timer moves with it.
        rt::sleep(millis(1)).await;
        control.set_drift(fast, 100_000);
        control.set_drift(slow, -100_000);
        let felt = sleeping.await.expect("no panic");
        assert!(felt >= Duration::from_secs(10));
        control.now_ns() - began
    };
    let (fast, slow) = engine
        .run_until(async { (nap(fast).await, nap(slow).await) })
        .expect("a run");
    assert!((9_000_000_000..9_200_000_000).contains(&fast), "{fast}");
    assert!((11_000_000_000..11_200_000_000).contains(&slow), "{slow}");
}

#[test]
fn a_frozen_host_stands_still_and_catches_up_when_thawed() {
    let mut engine = engine(5);
    let host = engine.host("n1");
    let ticks = Arc::new(AtomicUsize::new(0));
    let ticking = Arc::clone(&ticks);
    drop(engine.spawn_on(host, "ticker", async move {
        loop {
            rt::sleep(millis(10)).await;
            ticking.fetch_add(1, Ordering::Relaxed);
        }
    }));
    engine.run_for(millis(105)).expect("a run");
    let before = ticks.load(Ordering::Relaxed);
    assert!(before > 5);
    engine.freeze(host);
    engine.run_for(Duration::from_secs(10)).expect("a run");
    assert_eq!(ticks.load(Ordering::Relaxed), before);
    engine.thaw(host);
    engine.run_for(millis(105)).expect("a run");
    assert!(ticks.load(Ordering::Relaxed) > before + 5);
}

struct Tombstone(Arc<Mutex<Vec<&'static str>>>, &'static str);

impl Drop for Tombstone {
    fn drop(&mut self) {
        // A destructor that still wants to do something: the dead do nothing.
        let told = Arc::clone(&self.0);
        drop(rt::spawn("too late", async move {
            told.lock().expect("one thread").push("ran after death")
        }));
        self.0.lock().expect("one thread").push(self.1);
    }
}

#[test]
fn a_kill_drops_everything_of_the_host_at_once_and_in_the_same_order() {
    let run = || {
        let mut engine = engine(6);
        let (host, other) = (engine.host("n1"), engine.host("n2"));
        let dead = Arc::new(Mutex::new(Vec::new()));
        for name in ["a", "b", "c"] {
            let stone = Tombstone(Arc::clone(&dead), name);
            drop(engine.spawn_on(host, name, async move {
                // Tasks of tasks belong to the same host.
                let child = rt::spawn("child", async move {
                    let _stone = stone;
                    pending::<()>().await;
                });
                child.await.expect("not while we live");
            }));
        }
        let survivor = engine.spawn_on(other, "survivor", async {
            rt::sleep(millis(100)).await;
            7
        });
        engine.run_for(millis(50)).expect("a run");
        assert_eq!(engine.task_count(), 7);
        engine.kill(host, Down::Crash);
        let order = dead.lock().expect("one thread").clone();
        assert_eq!(order.len(), 3);
        assert_eq!((engine.task_count(), engine.is_up(host)), (1, false));
        let late = engine.spawn_on(host, "late", async {});
        let ended = engine
            .run_until(async move { (late.await.is_err(), survivor.await) })
            .expect("a run");
        assert_eq!(ended, (true, Ok(7)));
        assert_eq!(dead.lock().expect("one thread").len(), 3, "nothing ran after death");
        engine.boot(host);
        assert_eq!(engine.incarnation(host), 2);
        let reborn = engine.spawn_on(host, "reborn", async { 8 });
        assert_eq!(engine.run_until(reborn).expect("a run"), Ok(8));
        order
    };
    assert_eq!(run(), run());
}

#[test]
fn a_host_may_kill_itself_in_the_middle_of_a_step() {
    let mut engine = engine(7);
    let host = engine.host("n1");
    let control = engine.control();
    let after = Arc::new(AtomicUsize::new(0));
    let steps = Arc::clone(&after);
    drop(engine.spawn_on(host, "suicide", async move {
        control.kill(host, Down::PowerLoss);
        steps.fetch_add(1, Ordering::Relaxed);
        rt::yield_now().await;
        steps.fetch_add(1, Ordering::Relaxed);
    }));
    engine.run_for(millis(10)).expect("a run");
    assert_eq!(after.load(Ordering::Relaxed), 1, "the step ends, and no other begins");
    assert_eq!(engine.task_count(), 0);
}

#[test]
fn an_aborted_task_is_dropped_and_says_so() {
    let mut engine = engine(8);
    let kept = Arc::new(());
    let held = Arc::clone(&kept);
    let ended = engine.run_until(async move {
        let task = rt::spawn("waits for ever", async move {
            let _held = held;
            pending::<()>().await;
        });
        rt::sleep(millis(1)).await;
        task.abort();
        task.await
    });
    assert!(ended.expect("a run").is_err_and(|error| !error.is_panic()));
    assert_eq!(Arc::strong_count(&kept), 1);
}

#[test]
fn a_panic_ends_the_run_with_the_name_of_the_task() {
    let mut engine = engine(9);
    let host = engine.host("n3");
    drop(engine.spawn_on(host, "apply", async {
        rt::sleep(millis(1)).await;
        panic!("index {} is not there", 41);
    }));
    let halt = engine.run_until(pending::<()>()).expect_err("a panic");
    let told = Why::Panic {
        host: "n3".to_owned(),
        task: "apply",
        message: "index 41 is not there".to_owned(),
    };
    assert_eq!(halt.why, told);
    assert!(halt.to_string().starts_with("seed 9, at 0.00"), "{halt}");
}

#[test]
fn a_deadlock_and_a_circle_are_told_apart_and_named() {
    let mut stuck = engine(10);
    drop(stuck.spawn_on(HostId::WORLD, "waits", pending::<()>()));
    let halt = stuck.run_until(pending::<()>()).expect_err("a deadlock");
    assert_eq!(halt.why, Why::Deadlock);
    assert!(halt.running[0].starts_with("world/waits"), "{halt}");

    let mut circle = Engine::new(
        10,
        Options {
            steps_max: 1_000,
            ..Options::default()
        },
    );
    let spin = async {
        loop {
            rt::yield_now().await;
        }
    };
    drop(circle.spawn_on(HostId::WORLD, "spins", spin));
    let halt = circle.run_until(pending::<()>()).expect_err("too many steps");
    assert!(matches!(halt.why, Why::Steps(_)), "{halt}");
    assert!(halt.running[0].starts_with("world/spins"), "{halt}");
}

#[test]
fn work_that_blocks_runs_in_place() {
    let mut engine = engine(11);
    let ended = engine.run_until(async {
        let blocking = rt::blocking(|| 1).await.expect("no panic");
        let offloaded = rt::offload(async { 2 }).await.expect("no panic");
        let done = Arc::new(Notify::new());
        let tell = Arc::clone(&done);
        drop(rt::dedicated("loop", async move { tell.notify_one() }));
        done.notified().await;
        blocking + offloaded
    });
    assert_eq!(ended.expect("a run"), 3);
}

struct Lines(Arc<Mutex<Vec<String>>>);

impl Trace for Lines {
    fn line(&mut self, at_ns: u64, host: &str, what: std::fmt::Arguments<'_>) {
        self.0
            .lock()
            .expect("one thread")
            .push(format!("{at_ns} {host} {what}"));
    }
}

#[test]
fn what_is_told_is_written_down_and_hashed_the_same_whether_somebody_writes_or_not() {
    let run = |writes: bool, word| {
        let engine = engine(12);
        let lines = Arc::new(Mutex::new(Vec::new()));
        if writes {
            engine.set_trace(Some(Box::new(Lines(Arc::clone(&lines)))));
        }
        let host = engine.host("n1");
        engine.tell(host, word, format_args!("became leader of {}", 3));
        (engine.hash(), lines.lock().expect("one thread").clone())
    };
    assert_eq!(run(true, 1).1, ["0 n1 became leader of 3"]);
    assert_eq!(run(true, 1).0, run(false, 1).0);
    assert_ne!(run(true, 1).0, run(true, 2).0);
}

#[test]
fn three_hundred_worlds_leave_nothing_behind() {
    let mut left: Vec<Weak<()>> = Vec::new();
    for seed in 0..300 {
        let mut engine = engine(seed);
        let alive = Arc::new(());
        left.push(Arc::downgrade(&alive));
        let control = engine.control();
        let host = engine.host("n1");
        for _ in 0..20 {
            let (alive, control) = (Arc::clone(&alive), control.clone());
            // A task that holds the engine by a timer and by hand, and a channel whose ends wait for each other.
            drop(engine.spawn_on(host, "holder", async move {
                let (sender, mut receiver) = mpsc::channel::<Arc<()>>(1);
                let waits = rt::spawn("waits", async move { receiver.recv().await });
                rt::sleep(Duration::from_secs(3_600)).await;
                drop((control, sender.send(alive).await, waits.await));
            }));
        }
        engine.run_for(millis(5)).expect("a run");
    }
    assert_eq!(left.iter().filter(|alive| alive.strong_count() > 0).count(), 0);
}
