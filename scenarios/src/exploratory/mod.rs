//! The scenarios by name. Each is told anew by every seed; the swarm is another scenario with every seed.

use net::dice::Dice;

use crate::scenario::Scenario;

mod asymmetric_partition;
mod buckets_race;
mod clock_chaos;
mod closes_race;
mod disks;
mod elections;
mod expiry;
mod fair_weather;
mod forks_under_partitions;
mod leader_churn;
mod minority_partition;
mod old_bytes_move;
#[cfg(feature = "sdk")]
mod over_sdk;
mod power_loss;
mod retention;
mod rolling_restart;
mod rough_network;
mod snapshot_catch_up;
mod snapshots_race_trims;
mod swarm;
mod tailing;

/// What the names of scenarios end with whose nodes meet the cold store through the AWS SDK. They need the feature `sdk`.
pub const OVER_SDK: &str = "-sdk";

/// A scenario in the list.
#[derive(Clone, Copy)]
pub struct Entry {
    /// Its name.
    pub name: &'static str,
    /// What it is about, in one sentence.
    pub about: &'static str,
    /// Makes it; the dice are those of the seed.
    pub scenario: fn(&Dice) -> Scenario,
}

/// All of them.
pub const ALL: &[Entry] = &[
    Entry {
        name: "fair-weather",
        about: "nothing goes wrong",
        scenario: |_| fair_weather::fair_weather(),
    },
    Entry {
        name: "leader-churn",
        about: "leaders come and go while writers write and readers follow",
        scenario: |_| leader_churn::leader_churn(),
    },
    Entry {
        name: "power-loss-one",
        about: "one machine after the other loses power, and with it what it had not synced",
        scenario: |_| power_loss::power_loss_one(),
    },
    Entry {
        name: "power-loss-all",
        about: "all machines lose power at once",
        scenario: |_| power_loss::power_loss_all(),
    },
    Entry {
        name: "minority-partition",
        about: "the cluster falls in two, with clients on both sides",
        scenario: |_| minority_partition::minority_partition(),
    },
    Entry {
        name: "asymmetric-partition",
        about: "one node hears the others and is not heard, or the other way round",
        scenario: |_| asymmetric_partition::asymmetric_partition(),
    },
    Entry {
        name: "rough-network",
        about: "slow links, lost answers, reset connections, processes that stand still",
        scenario: |_| rough_network::rough_network(),
    },
    Entry {
        name: "slow-disk",
        about: "disks and indexes take their time",
        scenario: |_| disks::slow_disk(),
    },
    Entry {
        name: "failing-disk",
        about: "syncs fail, disks are full, bits flip on the way",
        scenario: |_| disks::failing_disk(),
    },
    Entry {
        name: "rolling-restart",
        about: "one node after the other is restarted under load",
        scenario: |_| rolling_restart::rolling_restart(),
    },
    Entry {
        name: "snapshot-catch-up",
        about: "a follower was away for so long that only a snapshot helps",
        scenario: |_| snapshot_catch_up::snapshot_catch_up(),
    },
    Entry {
        name: "clock-chaos",
        about: "wall clocks are wrong, run wrong, and jump",
        scenario: |_| clock_chaos::clock_chaos(),
    },
    Entry {
        name: "expiry-in-time",
        about: "leaders change and clocks are a little wrong while streams live as long as they are used",
        scenario: |_| expiry::expiry_in_time(),
    },
    Entry {
        name: "expiry-under-clock-chaos",
        about: "clocks are wrong by anything while streams end, and none comes back",
        scenario: |_| expiry::expiry_under_clock_chaos(),
    },
    Entry {
        name: "streams-forget",
        about: "streams forget by size and by age while leaders change and clocks are a little wrong",
        scenario: |_| retention::streams_forget(),
    },
    Entry {
        name: "forgotten-votes",
        about: "power fails while a leader is being elected",
        scenario: |_| elections::forgotten_votes(),
    },
    Entry {
        name: "deposed-leader",
        about: "power fails just after a replaced leader has come back",
        scenario: |_| elections::deposed_leader(),
    },
    Entry {
        name: "buckets-race",
        about: "buckets are deleted while others create streams in them",
        scenario: |_| buckets_race::buckets_race(),
    },
    Entry {
        name: "snapshots-race-trims",
        about: "snapshots are published, read and replaced while streams grow, are trimmed and come again",
        scenario: snapshots_race_trims::snapshots_race_trims,
    },
    Entry {
        name: "closes-race-appends",
        about: "streams are closed while others append to them and wait at their tail",
        scenario: |_| closes_race::closes_race_appends(),
    },
    Entry {
        name: "tailing-readers",
        about: "readers stay at the tail while leaders change and nodes go",
        scenario: |_| tailing::tailing_readers(),
    },
    Entry {
        name: "seldom-news",
        about: "streams stay quiet for long, and who waits at their tail hears what comes at last",
        scenario: |_| tailing::seldom_news(),
    },
    Entry {
        name: "recreate-under-tail",
        about: "streams are deleted and created again under those who wait for them",
        scenario: |_| tailing::recreate_under_tail(),
    },
    Entry {
        name: "old-bytes-move",
        about: "bytes move to a cold store that is slow, out, forgetful or lies, while leaders change and everybody reads",
        scenario: old_bytes_move::old_bytes_move,
    },
    Entry {
        name: "all-is-lost",
        about: "all nodes are lost with their disks, and the cluster comes back from the cold store",
        scenario: old_bytes_move::all_is_lost,
    },
    Entry {
        name: "lost-in-the-storm",
        about: "all nodes are lost in the middle of everything, and what comes back is what was, up to a moment",
        scenario: old_bytes_move::lost_in_the_storm,
    },
    #[cfg(feature = "sdk")]
    Entry {
        name: "old-bytes-move-sdk",
        about: "old-bytes-move with the true AWS SDK and a false S3",
        scenario: |dice| over_sdk::over_sdk("old-bytes-move-sdk", old_bytes_move::old_bytes_move(dice)),
    },
    #[cfg(feature = "sdk")]
    Entry {
        name: "all-is-lost-sdk",
        about: "all-is-lost with the true AWS SDK and a false S3",
        scenario: |dice| over_sdk::over_sdk("all-is-lost-sdk", old_bytes_move::all_is_lost(dice)),
    },
    #[cfg(feature = "sdk")]
    Entry {
        name: "lost-in-the-storm-sdk",
        about: "lost-in-the-storm with the true AWS SDK and a false S3",
        scenario: |dice| over_sdk::over_sdk("lost-in-the-storm-sdk", old_bytes_move::lost_in_the_storm(dice)),
    },
    Entry {
        name: "swarm",
        about: "everything by the dice: nodes, groups, clients, faults",
        scenario: swarm::swarm,
    },
    Entry {
        name: "forks-under-partitions",
        about: "streams are forked, and forks of forks, while leaders are cut off and nodes die",
        scenario: |_| forks_under_partitions::forks_under_partitions(),
    },
];

/// The command that has a scenario, as one types it.
#[must_use]
pub fn command(name: &str) -> &'static str {
    if name.ends_with(OVER_SDK) {
        "cargo sim-sdk"
    } else {
        "cargo sim"
    }
}

/// A scenario by its name, with the dice of this seed.
#[must_use]
pub fn by_name(name: &str, seed: u64) -> Option<Scenario> {
    let entry = ALL.iter().find(|entry| entry.name == name)?;
    Some((entry.scenario)(&Dice::from_seed(seed).fork("scenario")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scenario_bears_the_name_it_is_listed_by() {
        for entry in ALL {
            assert_eq!(by_name(entry.name, 1).map(|scenario| scenario.name), Some(entry.name));
        }
    }
}
