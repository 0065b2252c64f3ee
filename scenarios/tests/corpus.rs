//! Every failure ever kept, again: by its seed, and by the blows as they were struck.
#![cfg(feature = "sim")]

use jepsen::report::to_text;
use scenarios::exploratory::OVER_SDK;
use scenarios::keep::Kept;
use scenarios::runner::run;

#[test]
fn every_failure_ever_kept_is_mended() {
    let corpus = Kept::all().expect("the corpus can be read");
    // Some need the AWS SDK: CI runs this with the feature, too.
    let corpus = corpus
        .into_iter()
        .filter(|kept| cfg!(feature = "sdk") || !kept.scenario.ends_with(OVER_SDK));
    let mut broken = Vec::new();
    for kept in corpus {
        let (name, seed) = (&kept.scenario, kept.seed);
        for (how, scenario) in [("seed", kept.by_seed()), ("blows", kept.by_blows())] {
            let scenario = scenario.unwrap_or_else(|| panic!("there is no scenario {name} any more"));
            let run = run(scenario, seed, None);
            if !run.passes() {
                let text = to_text(&run.history, &run.judgements, &run.circumstances());
                broken.push(format!(
                    "{name} {seed} by its {how}, which once broke {}:\n{text}",
                    kept.broke
                ));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}
