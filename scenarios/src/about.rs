//! What a run must have met, or it has not tested what its scenario is about.
//!
//! A nemesis can only make room for some things: a follower that is away for long may still come back before the log it
//! lacks is gone. A run that was to be about a snapshot and saw none is no pass, and no failure either: it is not known.

use jepsen::verdict::{Judgement, Verdict};

use crate::exploratory::OVER_SDK;
use crate::runner::Met;

/// The name of the judgement.
const LAW: &str = "met-what-it-is-about";

/// Scenario, how often it met what it is about, and what that is.
type About = (&'static str, fn(Met) -> u64, &'static str);

const ABOUT: [About; 2] = [
    (
        "snapshot-catch-up",
        |met| met.snapshots,
        "no snapshot of another node was put in force",
    ),
    ("old-bytes-move", |met| met.moved, "nothing moved to the cold store"),
];

/// Judges a run of a scenario; `None` if nothing is asked of this one.
pub(crate) fn judge(scenario: &str, met: Met) -> Option<Judgement> {
    // What it is about does not depend on the level of the cold store.
    let scenario = scenario.strip_suffix(OVER_SDK).unwrap_or(scenario);
    let (_, times, otherwise) = ABOUT.iter().find(|(name, ..)| *name == scenario)?;
    let verdict = match times(met) {
        0 => Verdict::unknown(*otherwise),
        _ => Verdict::Holds,
    };
    Some(Judgement {
        law: LAW.into(),
        verdict,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn catching_up_without_a_snapshot_is_no_pass() {
        let passes = |snapshots| {
            let met = Met {
                snapshots,
                ..Met::default()
            };
            judge("snapshot-catch-up", met).map(|judgement| judgement.verdict.passes())
        };
        assert_eq!((passes(0), passes(1)), (Some(false), Some(true)));
    }

    #[test]
    fn whatever_is_asked_of_a_scenario_there_is_such_a_scenario() {
        for (name, ..) in ABOUT {
            assert!(crate::exploratory::by_name(name, 0).is_some(), "{name}");
        }
        assert_eq!(judge("fair-weather", Met::default()), None);
    }
}
