//! Everything by the dice: how many nodes and groups, who asks for what, what goes wrong, how the world is set.
//!
//! A swarm leaves things out. A run with every fault hides what a run with only two of them would show, so each seed has
//! few kinds of clients and few kinds of harm (Groce et al., "Swarm testing").

use std::time::Duration;

use jepsen::workload::{Kind, Workload};
use net::dice::Dice;
use node::config::OnSnapshot;
use rand::RngExt;
use sim::cluster::Shape;
use sim::fault::{Fault, Whom};

use super::old_bytes_move::{cold_hurts, reference};
use crate::nemesis::{Nemesis, RollingRestart, hurt_and_mend, millis};
use crate::scenario::Scenario;

pub(super) fn swarm(dice: &Dice) -> Scenario {
    let mut scenario = Scenario::new("swarm");
    let throw = &mut dice.stream("swarm");
    let nodes = [1, 3, 3, 3, 5][throw.random_range(0..5)];
    let groups = throw.random_range(1..=4);
    scenario.shape = Shape::of(nodes, groups);
    scenario.streams = throw.random_range(1..=4);
    scenario.storm = Duration::from_secs(throw.random_range(8..=20));
    set_up(&mut scenario, throw);
    // From a stream of its own: what older seeds mean stays as it was.
    let in_flight = dice.stream("swarm: appends in flight").random_range(0..4);
    scenario.shape.config.raft.appends_in_flight = [1, 2, 4, 16][in_flight];
    scenario.clients = clients(throw);
    let tailers = &mut dice.stream("swarm: tailers");
    if tailers.random_bool(0.3) {
        let workload = Workload::new(Kind::Tailers, tailers.random_range(1..=3));
        scenario.clients.push(workload.thinking(millis(10)..millis(200)));
    }
    others(&mut scenario, dice);
    scenario.nemeses = nemeses(throw, nodes, groups);
    scenario.nemeses.extend(clocks(dice));
    scenario.nemeses.extend(links(dice));
    cold(&mut scenario, dice);
    scenario
}

/// In some runs old bytes move, and in most of these the cold store has troubles of its own.
fn cold(scenario: &mut Scenario, dice: &Dice) {
    let throw = &mut dice.stream("swarm: cold");
    if !throw.random_bool(0.25) {
        return;
    }
    scenario.shape = scenario.shape.clone().with_cold();
    scenario.shape.config.cold.reference = reference(&mut dice.stream("swarm: reference"));
    if throw.random_bool(0.7) {
        scenario.nemeses.push(Box::new(hurt_and_mend(cold_hurts(throw))));
    }
}

/// Those who have streams of their own, in a quarter of the runs each. Each kind throws dice of its own, so that none of
/// them shifts what the others do.
fn others(scenario: &mut Scenario, dice: &Dice) {
    let kinds = [
        ("mortals", Kind::Mortals, 4),
        ("snapshotters", Kind::Snapshotters, 3),
        ("mortal snapshotters", Kind::MortalSnapshotters, 3),
        ("forkers", Kind::Forkers, 4),
        ("bucketeers", Kind::Bucketeers, 3),
        ("keepers", Kind::Keepers, 4),
    ];
    for (name, kind, most) in kinds {
        let throw = &mut dice.stream(&format!("swarm: {name}"));
        if !throw.random_bool(0.25) {
            continue;
        }
        let slow = throw.random_range(100..500);
        let mut workload = Workload::new(kind, throw.random_range(1..=most)).thinking(millis(slow / 20)..millis(slow));
        workload.long_one_in = 0;
        scenario.clients.push(workload);
        let http = &mut scenario.shape.config.http;
        match kind {
            Kind::Snapshotters | Kind::MortalSnapshotters => {
                http.snapshot_part = 1 << throw.random_range(10..14);
                if throw.random_bool(0.5) {
                    http.on_snapshot = OnSnapshot::Trim;
                }
            }
            // So that attempts are given up within the run.
            Kind::Forkers => http.request_deadline = Duration::from_secs(3),
            _ => {}
        }
    }
}

/// In some runs clocks are wrong by a little or by hours.
fn clocks(dice: &Dice) -> Option<Box<dyn Nemesis>> {
    let throw = &mut dice.stream("swarm: wrong clocks");
    throw.random_bool(0.2).then(|| {
        let most = [500, 5_000, 10_000_000][throw.random_range(0..3)];
        let mut skew = |whom| Fault::ClockSkew {
            whom,
            by_ms: throw.random_range(-most..=most),
        };
        let hurts = [skew(Whom::Anyone), skew(Whom::AMinority), skew(Whom::LeaderOf(0))];
        Box::new(hurt_and_mend(hurts)) as Box<dyn Nemesis>
    })
}

/// In some runs one link is slow, or what comes in is held back.
fn links(dice: &Dice) -> Option<Box<dyn Nemesis>> {
    let throw = &mut dice.stream("swarm: links");
    throw.random_bool(0.2).then(|| {
        let hurts = [
            Fault::SlowLink {
                whom: Whom::LeaderOf(0),
                to: Some(Whom::FollowerOf(0)),
                delay: millis(throw.random_range(1..300)),
                jitter: millis(throw.random_range(1..300)),
            },
            Fault::Clog {
                from: Whom::Everyone,
                to: Whom::Anyone,
            },
            Fault::Clog {
                from: Whom::FollowerOf(0),
                to: Whom::LeaderOf(0),
            },
        ];
        Box::new(hurt_and_mend(hurts)) as Box<dyn Nemesis>
    })
}

fn set_up(scenario: &mut Scenario, throw: &mut impl RngExt) {
    let raft = &mut scenario.shape.config.raft;
    if throw.random_bool(0.5) {
        // A follower that is further behind than this needs a snapshot, and while one is sent the log goes on: if less is
        // kept than comes in meanwhile, it needs the next one, and so on for as long as clients are busy.
        raft.keep_entries = throw.random_range(50..200);
        raft.snapshot_entries = raft.keep_entries + throw.random_range(10..200);
        raft.snapshot_chunk = 1 << throw.random_range(12..16);
    }
    if throw.random_bool(0.3) {
        scenario.shape.config.cache.tail = 8 << 10;
    }
    if throw.random_bool(0.3) {
        scenario.shape.config.index.flush_interval = millis(throw.random_range(100..5000));
    }
    if throw.random_bool(0.4) {
        scenario.net.link.latency = Duration::from_micros(throw.random_range(50..20_000));
        scenario.net.link.jitter = Duration::from_micros(throw.random_range(1..20_000));
    }
    scenario.net.partial = throw.random_range(0.0..0.3);
    if throw.random_bool(0.5) {
        scenario.engine.defer = throw.random_range(0.0..0.08);
        scenario.engine.defer_max = Duration::from_micros(throw.random_range(10..20_000));
    }
}

fn clients(throw: &mut impl RngExt) -> Vec<Workload> {
    let writers = [
        Kind::Appenders,
        Kind::Producers,
        Kind::Zombies,
        Kind::Closers,
        Kind::Conditional,
        Kind::Sequenced,
        Kind::Recreators,
    ];
    let slow = throw.random_range(40..500);
    let pace = millis(slow / 20)..millis(slow);
    let mut clients: Vec<Workload> = Vec::new();
    let mut some = |throw: &mut dyn rand::Rng, kind, most| {
        let mut workload = Workload::new(kind, throw.random_range(1..=most)).thinking(pace.clone());
        workload.long_one_in = [0, 10, 40, 100][throw.random_range(0..4)];
        clients.push(workload);
    };
    // Somebody writes to logs and somebody reads them, or nothing can be said.
    let first = [Kind::Appenders, Kind::Producers][throw.random_range(0..2)];
    some(throw, first, 4);
    some(throw, Kind::Readers, 3);
    for kind in writers {
        if throw.random_bool(0.35) {
            some(throw, kind, 3);
        }
    }
    for kind in [Kind::LocalReaders, Kind::Heads] {
        if throw.random_bool(0.4) {
            some(throw, kind, 2);
        }
    }
    clients
}

fn nemeses(throw: &mut impl RngExt, nodes: u32, groups: u32) -> Vec<Box<dyn Nemesis>> {
    let mut nemeses: Vec<Box<dyn Nemesis>> = Vec::new();
    for _ in 0..throw.random_range(1..=3) {
        let hurts: Vec<Fault> = (0..throw.random_range(1..=3)).map(|_| hurt(throw, groups)).collect();
        let (calm, harm) = (throw.random_range(200..4000), throw.random_range(200..5000));
        nemeses.push(Box::new(
            hurt_and_mend(hurts).calm_ms(calm / 4..calm).harm_ms(harm / 4..harm),
        ));
    }
    if throw.random_bool(0.1) {
        nemeses.push(Box::new(RollingRestart::of(nodes)));
    }
    nemeses
}

fn hurt(throw: &mut impl RngExt, groups: u32) -> Fault {
    let group = throw.random_range(0..groups);
    let whom = match throw.random_range(0..5) {
        0 => Whom::LeaderOf(group),
        1 => Whom::FollowerOf(group),
        2 => Whom::AMinority,
        _ => Whom::Anyone,
    };
    let anyone = if throw.random_bool(0.25) {
        Whom::Everyone
    } else {
        whom.clone()
    };
    let ms = |throw: &mut dyn rand::Rng, most| millis(throw.random_range(1..most));
    match throw.random_range(0..25) {
        0 | 1 => Fault::Crash(anyone),
        2..=4 => Fault::PowerLoss(anyone),
        5 => Fault::Stop(whom),
        6 => Fault::Freeze(anyone),
        7 | 8 => Fault::Isolate(whom),
        9 => Fault::CutOff(whom),
        10 => Fault::Split(whom),
        11 => Fault::OneWay {
            from: whom,
            to: Whom::Everyone,
        },
        12 => Fault::OneWay {
            from: Whom::Everyone,
            to: whom,
        },
        13 => Fault::Clog {
            from: whom,
            to: Whom::Everyone,
        },
        14 => Fault::SlowLink {
            whom: anyone,
            to: None,
            delay: ms(throw, 200),
            jitter: ms(throw, 300),
        },
        15 => Fault::Mute(whom),
        16 => Fault::ResetConnections(anyone),
        17 => Fault::SlowDisk {
            whom: anyone,
            by: ms(throw, 300),
        },
        18 => Fault::FullDisk(whom),
        19 => Fault::FailSync {
            whom,
            once: throw.random_bool(0.7),
        },
        20 => Fault::FlipBitOnRead(whom),
        21 => Fault::SlowIndexFlush {
            whom: anyone,
            by: ms(throw, 4000),
        },
        22 => Fault::ClockJump {
            whom,
            by_ms: throw.random_range(-100_000..100_000),
        },
        23 => Fault::LossyLink {
            whom: anyone,
            loss_ppm: throw.random_range(0..50_000),
            reset_ppm: throw.random_range(0..5_000),
        },
        _ => Fault::ClockDrift {
            whom,
            ppm: throw.random_range(-10_000..10_000),
        },
    }
}
