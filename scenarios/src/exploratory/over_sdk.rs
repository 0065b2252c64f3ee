//! Scenarios of the cold store, one level down: the nodes have the true one, with the AWS SDK in it, and a false S3 is
//! somewhere on the network.
//!
//! The same blows mean more here: a store that fails may have failed before or after the effect, by a status, a reset or
//! silence; the SDK asks again by itself; and a put that was given up may still land.

use sim::cluster::ColdLevel;

use crate::scenario::Scenario;

pub(super) fn over_sdk(name: &'static str, mut scenario: Scenario) -> Scenario {
    scenario.shape.cold = ColdLevel::Sdk;
    Scenario { name, ..scenario }
}
