//! The tester, tested: a right server on a bad network passes every law, and each wrong one is caught by some law.

#![expect(clippy::disallowed_methods, reason = "the tests measure true time")]

mod world;

use std::time::{Duration, Instant};

use jepsen::checker::LAWS;
use jepsen::history::History;
use jepsen::report::{Circumstances, to_text};
use jepsen::verdict::{Judgement, Verdict, judge};
use jepsen::workload::{
    Workload, appenders, closers, conditional, heads, local_readers, producers, readers, recreators, sequenced, zombies,
};
use world::{Bug, tell};

fn everybody() -> Vec<Workload> {
    let all = [
        appenders(2),
        producers(2),
        zombies(3),
        readers(3),
        local_readers(1),
        heads(2),
        closers(3),
        conditional(2),
        sequenced(2),
        recreators(3),
    ];
    all.into_iter().collect()
}

fn report(history: &History, judgements: &[Judgement]) -> String {
    to_text(history, judgements, &Circumstances::default())
}

#[test]
fn a_right_server_on_a_bad_network_passes_every_law() {
    for seed in 0..30 {
        let history = tell(seed, Bug::Nothing, &everybody(), Duration::from_secs(20));
        let judgements = judge(&LAWS, &history);
        let all_hold = judgements.iter().all(|one| one.verdict.passes());
        assert!(all_hold, "seed {seed}\n{}", report(&history, &judgements));
    }
}

#[test]
fn the_same_seed_tells_the_same_tale() {
    let tell = || tell(7, Bug::Nothing, &everybody(), Duration::from_secs(5)).to_json_lines();
    assert_eq!(tell(), tell());
}

#[test]
fn every_wrong_server_is_caught_soon() {
    for (bug, law) in [
        (Bug::StaleReads, "linearizable"),
        (Bug::StaleReads, "log-in-order"),
        (Bug::StaleHeads, "linearizable"),
        (Bug::LosesAppends, "linearizable"),
        (Bug::LosesAppends, "acknowledged-appends-stay"),
        (Bug::StoresRepeats, "producer-stores-once"),
        (Bug::StoresRepeats, "linearizable"),
        (Bug::AcceptsStaleEpochs, "producer-stores-once"),
        (Bug::AcceptsStaleEpochs, "linearizable"),
        (Bug::ForgetsTheEnd, "closed-stays-closed"),
        (Bug::ForgetsTheEnd, "linearizable"),
        (Bug::BringsBackTheDead, "deleted-stays-deleted"),
        (Bug::BringsBackTheDead, "linearizable"),
        (Bug::IgnoresConditions, "linearizable"),
        (Bug::IgnoresSeq, "linearizable"),
        (Bug::ServesDamage, "nothing-read-that-nobody-wrote"),
        (Bug::StoresTheRefused, "nothing-read-that-nobody-wrote"),
        (Bug::ShowsTheUncommitted, "local-reads-are-prefixes"),
    ] {
        let law = jepsen::checker::law(law).expect("the law exists");
        let caught = (0..20).find(|seed| {
            let history = tell(*seed, bug, &everybody(), Duration::from_secs(20));
            matches!((law.judge)(&history), Verdict::Broken { .. })
        });
        assert!(caught.is_some(), "{bug:?} by {law:?}");
    }
}

#[test]
fn ten_thousand_calls_on_one_stream_are_judged_within_a_second() {
    let fast = |workload: Workload| workload.thinking(Duration::from_millis(1)..Duration::from_millis(20));
    let workloads = [fast(appenders(8)), fast(producers(4)), fast(readers(2)), fast(heads(4))];
    let history = tell(1, Bug::Nothing, &workloads, Duration::from_secs(25));
    let most = history.streams().iter().map(|stream| history.of(stream).count()).max();
    let begun = Instant::now();
    let judgements = judge(&LAWS, &history);
    let spent = begun.elapsed();
    assert!(most > Some(6_000), "{most:?} calls");
    assert!(
        judgements.iter().all(|one| one.verdict.passes()),
        "{}",
        report(&history, &judgements)
    );
    // All laws on all streams; generous, because the machine may be busy.
    assert!(
        spent < Duration::from_secs(5),
        "{spent:?} for {} calls",
        history.events.len()
    );
}
