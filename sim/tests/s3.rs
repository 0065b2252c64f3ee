//! The true cold store, with the AWS SDK in it, against the false S3 on the simulated network: it keeps the contract, and
//! each thing that goes wrong with S3 comes out of it as it should.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use net::rt;
use sim::clock::FalseClock;
use sim::cold::FalseCold;
use sim::engine::{Control, Engine, HostId, Options};
use sim::net::{Net, NetOptions};
use sim::s3::{FalseS3, Outage, Trouble};
use sim::tell::Tell;
use storage::cold::Cold;
use storage::contract;
use storage::error::ColdError;
use storage::s3::{S3Cold, S3Options};

/// A world of a false S3 and a machine that uses it. Clones are the same.
#[derive(Clone)]
struct World {
    control: Control,
    net: Net,
    host: HostId,
    objects: FalseCold,
    s3: FalseS3,
    clock: FalseClock,
}

impl World {
    fn new(control: &Control) -> Self {
        let net = Net::new(control, NetOptions::default());
        let dice = control.dice();
        let objects = FalseCold::new(&dice, Tell::nobody());
        let s3 = FalseS3::new(control, &net, &objects, &dice);
        let truth = control.clone();
        Self {
            control: control.clone(),
            host: control.host("n1"),
            s3,
            net,
            objects,
            clock: FalseClock::new(move || truth.now_ns(), Tell::nobody()),
        }
    }

    fn options(&self) -> S3Options {
        S3Options {
            connect_timeout: Duration::from_secs(1),
            attempt_timeout: Duration::from_secs(3),
            operation_timeout: Duration::from_secs(20),
            ..self.s3.options()
        }
    }

    fn cold(&self) -> S3Cold {
        self.s3.open(self.options(), self.clock.mount())
    }

    /// One attempt, so that whatever goes wrong is seen.
    fn once(&self) -> S3Cold {
        let options = S3Options {
            attempts: 1,
            ..self.options()
        };
        self.s3.open(options, self.clock.mount())
    }
}

/// Tells a tale on the machine, and answers the hash of all that happened.
fn told<F>(seed: u64, tale: impl FnOnce(World) -> F) -> u64
where
    F: Future<Output = ()> + Send + 'static,
{
    let mut engine = Engine::new(seed, Options::default());
    let control = engine.control();
    let world = World::new(&control);
    let (host, tale) = (world.host, tale(world));
    let ended = engine.run_until(async move { control.spawn_on(host, "tale", tale).await });
    match ended {
        Ok(told) => told.expect("nobody aborts it"),
        Err(halt) => panic!("{halt}"),
    }
    engine.hash()
}

fn tell<F>(tale: impl FnOnce(World) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    told(7, tale);
}

fn text(text: &'static str) -> Vec<Bytes> {
    vec![Bytes::from_static(text.as_bytes())]
}

fn io_error<T: std::fmt::Debug>(ended: Result<T, ColdError>) -> io::Error {
    match ended {
        Err(ColdError::Io(error)) => error,
        other => panic!("{other:?}"),
    }
}

fn stored(world: &World, key: &str) -> bool {
    world.objects.objects().keys().contains(key)
}

#[test]
fn the_true_cold_store_keeps_the_contract_over_the_simulated_network() {
    for seed in 0..4 {
        let mut engine = Engine::new(seed, Options::default());
        let world = World::new(&engine.control());
        // Each test of the suite wants an empty store, and there is one bucket: each has a part of it.
        let parts = AtomicU32::new(0);
        let make = || -> Arc<dyn Cold> {
            let part = parts.fetch_add(1, Ordering::Relaxed);
            let options = S3Options {
                prefix: format!("part/{part}"),
                ..world.options()
            };
            Arc::new(world.s3.open(options, world.clock.mount()))
        };
        engine.run_until(contract::cold::all(&make)).unwrap();
    }
}

#[test]
fn a_node_finds_at_its_start_that_it_can_be_trusted() {
    tell(|world| async move {
        world.cold().probe("p").await.unwrap();
        assert!(world.objects.objects().keys().is_empty());
    });
}

#[test]
fn a_put_that_succeeded_and_whose_answer_was_lost_meets_its_own_object() {
    tell(|world| async move {
        world.s3.next([Trouble::ResetAfter]);
        let put = world.cold().put_if_absent("a", text("one")).await;
        assert!(matches!(put, Err(ColdError::Exists)), "{put:?}");
        assert_eq!((world.s3.met(Trouble::ResetAfter), world.s3.requests()), (1, 2));
        assert_eq!(world.cold().get_range("a", 0..9).await.unwrap(), "one");
    });
}

#[test]
fn a_put_whose_connection_is_reset_before_it_took_effect_is_sent_again() {
    tell(|world| async move {
        world.s3.next([Trouble::ResetBefore]);
        world.cold().put_if_absent("a", text("one")).await.unwrap();
        assert_eq!((world.s3.met(Trouble::ResetBefore), world.s3.requests()), (1, 2));
    });
}

#[test]
fn without_another_attempt_nobody_knows_what_became_of_a_put_that_was_reset() {
    tell(|world| async move {
        world.s3.next([Trouble::ResetBefore, Trouble::ResetAfter]);
        for (key, there) in [("before", false), ("after", true)] {
            let error = io_error(world.once().put_if_absent(key, text("one")).await);
            assert!(error.to_string().contains("breaks the connection off"), "{error}");
            assert_eq!(stored(&world, key), there);
        }
    });
}

#[test]
fn an_internal_error_is_asked_again_whether_it_had_its_effect_or_not() {
    tell(|world| async move {
        world.s3.next([Trouble::InternalErrorBefore]);
        world.cold().put_if_absent("a", text("one")).await.unwrap();
        world.s3.next([Trouble::InternalErrorAfter]);
        let put = world.cold().put_if_absent("b", text("one")).await;
        assert!(matches!(put, Err(ColdError::Exists)), "{put:?}");
        world.s3.next([Trouble::InternalErrorAfter]);
        let error = io_error(world.once().put_if_absent("c", text("one")).await);
        assert!(error.to_string().contains("the store failed"), "{error}");
        assert!(stored(&world, "c"));
    });
}

#[test]
fn a_store_that_asks_to_slow_down_is_given_a_pause() {
    tell(|world| async move {
        world.s3.next([Trouble::SlowDown, Trouble::SlowDown]);
        let start = rt::Instant::now();
        world.cold().put_if_absent("a", text("one")).await.unwrap();
        assert_eq!(world.s3.met(Trouble::SlowDown), 2);
        assert!(start.elapsed() > Duration::from_millis(100), "{:?}", start.elapsed());
        world.s3.change(|faults| faults.slow_down_chance = 1.0);
        let error = io_error(world.cold().get_range("a", 0..1).await);
        assert_eq!(error.kind(), io::ErrorKind::ResourceBusy, "{error}");
    });
}

#[test]
fn credentials_that_have_expired_are_told_as_that_and_not_tried_again() {
    tell(|world| async move {
        world.s3.next([Trouble::Expired]);
        let error = io_error(world.cold().put_if_absent("a", text("one")).await);
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied, "{error}");
        assert!(error.to_string().contains("renew them"), "{error}");
        assert_eq!(world.s3.requests(), 1);
    });
}

#[test]
fn a_race_for_a_name_that_is_not_decided_is_run_again() {
    tell(|world| async move {
        world.s3.next([Trouble::Conflict; 2]);
        world.cold().put_if_absent("a", text("one")).await.unwrap();
        assert_eq!(world.s3.met(Trouble::Conflict), 2);
        world.s3.change(|faults| faults.conflict_chance = 1.0);
        let error = io_error(world.cold().put_if_absent("b", text("one")).await);
        assert_eq!(error.kind(), io::ErrorKind::ResourceBusy, "{error}");
        assert!(error.to_string().contains("at the same time"), "{error}");
    });
}

#[test]
fn a_body_that_breaks_off_is_never_data() {
    for seed in 0..10 {
        told(seed, |world| async move {
            let cold = world.cold();
            cold.put_if_absent("a", vec![Bytes::from(vec![7; 50_000])])
                .await
                .unwrap();
            world.s3.next([Trouble::Truncated]);
            let error = io_error(cold.get_range("a", 0..50_000).await);
            assert!(error.to_string().contains("GetObject of a"), "{error}");
            assert_eq!(world.s3.met(Trouble::Truncated), 1);
            assert_eq!(cold.get_range("a", 0..50_000).await.unwrap().len(), 50_000);
        });
    }
}

#[test]
fn a_bit_that_flips_on_the_way_is_for_the_reader_to_find_and_the_object_is_whole() {
    tell(|world| async move {
        let cold = world.cold();
        cold.put_if_absent("a", text("one")).await.unwrap();
        world.s3.next([Trouble::Corrupted]);
        let lie = cold.get_range("a", 0..3).await.unwrap();
        assert_eq!(lie.len(), 3);
        assert_ne!(lie, "one");
        assert_eq!(world.objects.flipped(), 1);
        assert_eq!(cold.get_range("a", 0..3).await.unwrap(), "one");
    });
}

#[test]
fn in_an_outage_of_any_kind_a_call_ends_in_time_and_afterwards_all_is_well() {
    for outage in Outage::ALL {
        for seed in 0..4 {
            told(seed, |world| async move {
                let cold = world.cold();
                cold.put_if_absent("before", text("one")).await.unwrap();
                world.s3.out(outage);
                let start = rt::Instant::now();
                let error = io_error(cold.put_if_absent("meanwhile", text("one")).await);
                assert!(
                    start.elapsed() < Duration::from_secs(21),
                    "{outage:?}: {:?}",
                    start.elapsed()
                );
                assert!(!stored(&world, "meanwhile"), "{outage:?}: {error}");
                io_error(cold.get_range("before", 0..1).await);
                io_error(cold.list("", None, 1).await);
                io_error(cold.delete("before").await);
                rt::sleep(Duration::from_secs(180)).await;
                world.s3.mend();
                rt::sleep(Duration::from_secs(1)).await;
                cold.put_if_absent("after", text("one")).await.unwrap();
                assert_eq!(cold.list("", None, 9).await.unwrap(), ["after", "before"]);
            });
        }
    }
}

#[test]
fn an_answer_that_does_not_begin_in_time_is_given_up_and_its_put_may_still_land() {
    tell(|world| async move {
        world
            .s3
            .change(|faults| faults.slow_first_byte = Duration::from_secs(5));
        let mut landed_late = 0;
        for key in ["a", "b", "c", "d", "e", "f", "g", "h"] {
            let error = io_error(world.once().put_if_absent(key, text("one")).await);
            assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{error}");
            let at_once = stored(&world, key);
            rt::sleep(Duration::from_secs(6)).await;
            assert!(stored(&world, key), "it was received");
            landed_late += u32::from(!at_once);
        }
        assert!(landed_late > 0);
        world
            .s3
            .change(|faults| faults.slow_first_byte = Duration::from_secs(1));
        assert_eq!(world.cold().get_range("a", 0..9).await.unwrap(), "one");
    });
}

#[test]
fn a_listing_that_lags_shows_what_was() {
    tell(|world| async move {
        let cold = world.cold();
        cold.put_if_absent("old", text("one")).await.unwrap();
        rt::sleep(Duration::from_secs(5)).await;
        world.s3.change(|faults| faults.list_lag_chance = 1.0);
        cold.put_if_absent("new", text("one")).await.unwrap();
        cold.delete("old").await.unwrap();
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..40 {
            seen.insert(cold.list("", None, 9).await.unwrap());
        }
        assert!(seen.contains(&vec!["old".to_owned()]), "{seen:?}");
        rt::sleep(Duration::from_secs(5)).await;
        assert_eq!(cold.list("", None, 9).await.unwrap(), ["new"]);
    });
}

/// The SDK learns the store's time from the date of the refusal, and signs the second attempt with that.
#[test]
fn a_clock_that_is_far_off_is_told_as_that_unless_there_is_another_attempt() {
    tell(|world| async move {
        let cold = world.cold();
        cold.put_if_absent("a", text("one")).await.unwrap();
        for by_ms in [-16 * 60_000, 16 * 60_000] {
            world.clock.skew(by_ms);
            let error = io_error(world.once().get_range("a", 0..1).await);
            assert!(error.to_string().contains("15 minutes apart"), "{error}");
            let asked = world.s3.requests();
            world.cold().get_range("a", 0..1).await.unwrap();
            assert_eq!(world.s3.requests() - asked, 2);
        }
        world.clock.skew(14 * 60_000);
        world.once().get_range("a", 0..1).await.unwrap();
        world.clock.mend();
        cold.get_range("a", 0..1).await.unwrap();
    });
}

#[test]
fn a_clock_that_jumps_while_a_body_is_under_way_does_no_harm() {
    for (seed, by_ms) in [-3_600_000, -2_000, 2_000, 3_600_000].into_iter().enumerate() {
        told(seed as u64, |world| async move {
            let cold = Arc::new(world.cold());
            let whole = 900_000;
            cold.put_if_absent("a", vec![Bytes::from(vec![7; whole])])
                .await
                .unwrap();
            let mut link = world.net.link(world.s3.host(), world.host);
            link.bandwidth = Some(1_000_000);
            world.net.set_link(world.s3.host(), world.host, link);
            let reader = cold.clone();
            let read = rt::spawn("reads", async move { reader.get_range("a", 0..whole as u64).await });
            rt::sleep(Duration::from_millis(400)).await;
            world.clock.jump(by_ms);
            let read = read.await.expect("nobody panics");
            assert_eq!(read.unwrap().len(), whole);
        });
    }
}

#[test]
fn who_has_another_key_or_another_secret_is_refused() {
    tell(|world| async move {
        let with = |change: fn(&mut S3Options)| {
            let mut options = world.options();
            change(&mut options);
            world.s3.open(options, world.clock.mount())
        };
        let refused = [
            (
                with(|o| o.access_key_id = Some("AKIAOTHER".into())),
                "does not know the access key id",
            ),
            (
                with(|o| o.secret_access_key = Some("guessed".to_owned().into())),
                "the secret does not belong",
            ),
            (with(|o| o.bucket = "other".into()), "there is no bucket other"),
        ];
        for (cold, words) in refused {
            let error = io_error(cold.put_if_absent("a", text("one")).await);
            assert!(error.to_string().contains(words), "{error}");
        }
        assert!(!stored(&world, "a"));
    });
}

#[test]
fn when_its_machine_dies_nothing_of_a_client_goes_on() {
    let mut engine = Engine::new(3, Options::default());
    let control = engine.control();
    let world = World::new(&control);
    let cold = Arc::new(world.cold());
    let asking = world.control.spawn_on(world.host, "asks", async move {
        loop {
            // It may be refused: it asks again.
            let _ = cold.put_if_absent("a", text("one")).await;
        }
    });
    engine.run_for(Duration::from_secs(2)).unwrap();
    control.kill(world.host, sim::engine::Down::PowerLoss);
    engine.run_for(Duration::from_secs(60)).unwrap();
    assert!(asking.is_finished());
    let asked = world.s3.requests();
    engine.run_for(Duration::from_secs(60)).unwrap();
    assert_eq!(world.s3.requests(), asked);
    assert_eq!(
        world.net.connection_count(),
        0,
        "the server gave up what nobody answers"
    );
}

#[test]
fn the_same_seed_is_the_same_tale_also_after_others() {
    let tale = |seed| {
        told(seed, |world| async move {
            world.s3.change(|faults| {
                faults.internal_error_chance = 0.1;
                faults.slow_down_chance = 0.2;
                faults.reset_before_chance = 0.1;
                faults.reset_after_chance = 0.2;
                faults.conflict_chance = 0.2;
                faults.truncate_chance = 0.1;
                faults.corrupt_chance = 0.1;
            });
            let cold = world.cold();
            for round in 0..30 {
                let key = format!("k/{}", round % 10);
                // However they end.
                let _ = cold.put_if_absent(&key, text("some bytes")).await;
                let _ = cold.get_range(&key, 0..5).await;
                let _ = cold.list("k", None, 3).await;
                let _ = cold.delete(&key).await;
            }
            assert!(world.s3.met(Trouble::SlowDown) > 0 && world.s3.met(Trouble::ResetAfter) > 0);
        })
    };
    let first = tale(1);
    let other = tale(2);
    assert_eq!(tale(1), first);
    assert_ne!(first, other);
}
