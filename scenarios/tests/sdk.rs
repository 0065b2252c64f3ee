//! The cold store one level down: nodes with the true AWS SDK, and a false S3 on the simulated network. What becomes of
//! single calls is in `sim/tests/s3.rs`; here are whole clusters.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use jepsen::history::{Append, Ending};
use jepsen::record::Tag;
use jepsen::report::to_text;
use scenarios::exploratory::{ALL, OVER_SDK, by_name};
use scenarios::runner::run;
use scenarios::story::{Story, Teller};
use sim::cluster::ColdLevel;
use sim::fault::{Fault, Whom};
use sim::s3::{Outage, S3Faults, Trouble};

/// Seeds of each scenario.
const SEEDS: u64 = 3;

fn names() -> impl Iterator<Item = &'static str> {
    ALL.iter()
        .map(|entry| entry.name)
        .filter(|name| name.ends_with(OVER_SDK))
}

#[test]
fn a_few_seeds_of_every_scenario_hold() {
    let mut broken = Vec::new();
    for name in names() {
        for seed in 100..100 + SEEDS {
            let run = run(by_name(name, seed).expect("it is in the list"), seed, None);
            if !run.passes() {
                let text = to_text(&run.history, &run.judgements, &run.circumstances());
                broken.push(format!("{name} {seed}:\n{text}"));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "only fresh processes show that nothing but the seed decides"
)]
fn a_seed_is_one_tale_to_the_byte_in_fresh_processes() {
    assert_eq!(names().count(), 3);
    for name in names() {
        for seed in ["1", "2"] {
            let output = Command::new(env!("CARGO_BIN_EXE_sim"))
                .args(["twice", name, "--seed", seed])
                .output()
                .expect("the program is there");
            let said = String::from_utf8_lossy(&output.stdout);
            let more = String::from_utf8_lossy(&output.stderr);
            assert!(
                output.status.success() && said.contains("twice the same"),
                "{said}{more}"
            );
        }
    }
}

#[test]
fn a_seed_is_the_same_tale_after_others() {
    let tell = |name, seed| run(by_name(name, seed).expect("it is in the list"), seed, None).hash;
    let first = tell("old-bytes-move-sdk", 5);
    let _ = tell("lost-in-the-storm-sdk", 6);
    assert_eq!(tell("old-bytes-move-sdk", 5), first);
}

/// A story whose nodes move what is old to a false S3, through the SDK.
fn story(seed: u64) -> Story {
    Story::seed(seed).set(|shape| {
        *shape = shape.clone().with_cold();
        shape.cold = ColdLevel::Sdk;
    })
}

/// Appends that many records of two kilobytes, one after the other, and must succeed.
async fn write(s: &Teller, log: &Arc<str>, records: usize, told: &mut Vec<Tag>) {
    for _ in 0..records {
        let append = Append {
            len: 2048,
            ..s.record()
        };
        let ending = s.append(s.leader(), log, &append).await;
        assert!(matches!(ending, Ending::Done(_)), "{ending:?}");
        told.extend(append.tag);
    }
}

/// Everything on every node is what was told, and the store is in order.
async fn all_is_there(s: &Teller, log: &Arc<str>, told: &[Tag]) {
    s.mend().await;
    s.cold_in_order().await;
    for node in 0..s.nodes() {
        let seen = s.read(node, log).await;
        assert_eq!(seen.as_deref(), Ok(told), "on n{}", node + 1);
    }
}

/// What goes wrong, and how it is made to.
type Blow = (Trouble, fn(&mut S3Faults));

#[test]
fn whatever_goes_wrong_with_s3_nothing_is_lost_and_nothing_is_left_over() {
    let blows: [Blow; 8] = [
        (Trouble::InternalErrorAfter, |faults| faults.internal_error_chance = 0.6),
        (Trouble::SlowDown, |faults| faults.slow_down_chance = 0.6),
        (Trouble::Expired, |faults| faults.expired_chance = 0.4),
        (Trouble::ResetBefore, |faults| faults.reset_before_chance = 0.5),
        (Trouble::ResetAfter, |faults| faults.reset_after_chance = 0.5),
        (Trouble::Conflict, |faults| faults.conflict_chance = 0.7),
        (Trouble::Truncated, |faults| faults.truncate_chance = 0.5),
        (Trouble::Corrupted, |faults| faults.corrupt_chance = 0.5),
    ];
    for (trouble, harm) in blows {
        story(0x53).tell(move |s| async move {
            let (log, mut told) = (s.create("log").await, Vec::new());
            write(&s, &log, 60, &mut told).await;
            s.s3().change(harm);
            for round in 0..6 {
                write(&s, &log, 20, &mut told).await;
                s.pass_ms(1000).await;
                // It may take longer than a client waits; what it sees is true.
                if let Ok(seen) = s.read(round % 3, &log).await {
                    assert_eq!(seen, told, "{trouble:?}");
                }
            }
            let (met, moved) = (s.s3().met(trouble), s.moved());
            assert!(
                met > 0 && moved > 0,
                "{trouble:?}: met {met} times, {moved} objects moved"
            );
            all_is_there(&s, &log, &told).await;
        });
    }
}

/// The put took effect, its answer was lost, and the SDK's own second attempt was told 412. The node must know its own object
/// again: one that took it for another's would write the bytes a second time, and leave the first for ever.
#[test]
fn a_put_that_succeeded_and_whose_answer_was_lost_is_known_again() {
    story(0x412).tell(|s| async move {
        let (log, mut told) = (s.create("log").await, Vec::new());
        write(&s, &log, 40, &mut told).await;
        s.s3().next([Trouble::ResetAfter; 3]);
        s.pass_ms(4000).await;
        assert_eq!(s.s3().met(Trouble::ResetAfter), 3);
        let moved = s.moved();
        assert!(moved > 0);
        all_is_there(&s, &log, &told).await;
    });
}

#[test]
fn an_outage_of_minutes_of_any_kind_is_borne_with_restarts_in_it() {
    for outage in Outage::ALL {
        story(0x007).tell(move |s| async move {
            let (log, mut told) = (s.create("log").await, Vec::new());
            write(&s, &log, 40, &mut told).await;
            s.pass_ms(3000).await;
            let moved = s.moved();
            s.s3().out(outage);
            for fault in [Fault::Crash(Whom::node(2)), Fault::PowerLoss(Whom::Everyone)] {
                write(&s, &log, 20, &mut told).await;
                s.strike(fault);
                s.pass_ms(500).await;
                s.strike(Fault::Restart(Whom::Everyone));
                s.whole().await;
                s.pass_ms(60_000).await;
            }
            assert_eq!(s.moved(), moved, "{outage:?}: who is out stores nothing");
            all_is_there(&s, &log, &told).await;
            s.pass_ms(5000).await;
            assert!(s.moved() > moved, "{outage:?}: it goes on by itself");
            all_is_there(&s, &log, &told).await;
        });
    }
}

#[test]
fn a_slow_first_byte_ends_in_puts_that_land_late_and_are_not_left_over() {
    story(0x510).tell(|s| async move {
        let (log, mut told) = (s.create("log").await, Vec::new());
        write(&s, &log, 40, &mut told).await;
        s.s3()
            .change(|faults| faults.slow_first_byte = Duration::from_millis(2500));
        for _ in 0..4 {
            write(&s, &log, 20, &mut told).await;
            s.pass_ms(3000).await;
        }
        assert!(s.s3().requests() > 0);
        all_is_there(&s, &log, &told).await;
    });
}

/// A listing that lacks what was just put, or still has what was deleted: who sweeps by it may sweep too late, never too much.
#[test]
fn listings_that_lag_never_make_a_sweep_take_what_is_referred_to() {
    for seed in 0..4 {
        story(0x1a6 + seed).tell(|s| async move {
            let (log, mut told) = (s.create("log").await, Vec::new());
            s.s3().change(|faults| {
                faults.list_lag_chance = 0.8;
                faults.list_lag_max = Duration::from_secs(8);
                // So that there is something to sweep.
                faults.reset_after_chance = 0.2;
            });
            for round in 0..6 {
                write(&s, &log, 20, &mut told).await;
                s.strike(Fault::Crash(s.at(s.leader())));
                s.pass_ms(1500).await;
                s.strike(Fault::Restart(Whom::Everyone));
                s.whole().await;
                if let Ok(seen) = s.read(round % 3, &log).await {
                    assert_eq!(seen, told);
                }
            }
            assert!(s.s3().met(Trouble::Lags) > 0 && s.moved() > 0);
            all_is_there(&s, &log, &told).await;
        });
    }
}
