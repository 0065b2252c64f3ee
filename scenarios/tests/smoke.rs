//! A few seeds of every scenario: all laws hold, and something happened. `cargo sim sweep` runs more.
#![cfg(feature = "sim")]

use jepsen::report::to_text;
use scenarios::exploratory::{ALL, by_name};
use scenarios::runner::run;

/// Seeds of each scenario.
const SEEDS: u64 = 3;

#[test]
fn every_scenario_holds_with_a_few_seeds() {
    let mut broken = Vec::new();
    for entry in ALL {
        for seed in 100..100 + SEEDS {
            let run = run(by_name(entry.name, seed).expect("it is in the list"), seed, None);
            if !run.passes() {
                broken.push(format!(
                    "{} {seed}:\n{}",
                    entry.name,
                    to_text(&run.history, &run.judgements, &run.circumstances())
                ));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}
