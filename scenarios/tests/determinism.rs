//! The same seed in two fresh processes does the same, to the byte of the trace. Everything else here stands on this.
#![cfg(feature = "sim")]

use std::process::Command;

#[expect(
    clippy::disallowed_methods,
    reason = "only fresh processes show that nothing but the seed decides"
)]
fn twice(name: &str, seed: u64) {
    let output = Command::new(env!("CARGO_BIN_EXE_sim"))
        .args(["twice", name, "--seed", &seed.to_string()])
        .output()
        .expect("the program is there");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(said.contains("twice the same"), "{said}");
}

#[test]
fn a_seed_is_one_tale_in_the_swarm() {
    for seed in 0..24 {
        twice("swarm", seed);
    }
}

#[test]
fn a_seed_is_one_tale_in_every_scenario() {
    for entry in scenarios::exploratory::ALL {
        twice(entry.name, 1);
    }
}

/// Nothing leaks from one seed into the next in the same process.
#[test]
fn a_seed_is_the_same_tale_after_others() {
    let tell = |name, seed| {
        let scenario = scenarios::exploratory::by_name(name, seed).expect("the scenario exists");
        scenarios::runner::run(scenario, seed, None).hash
    };
    let first = tell("leader-churn", 5);
    let _ = tell("power-loss-all", 6);
    assert_eq!(tell("leader-churn", 5), first);
}
