//! Power fails in the moments that matter to an election: after a vote was given, after a replaced leader has come back.
//!
//! A vote that is forgotten is given twice. The tail of a replaced leader is cut off; if the cut is forgotten, what was
//! cut off comes back.

use jepsen::workload::{appenders, heads, producers, readers};
use sim::fault::{Fault, Whom};

use crate::nemesis::{Sequence, millis};
use crate::scenario::Scenario;

pub(super) fn forgotten_votes() -> Scenario {
    let everyone = || Whom::Everyone;
    let ends = [
        Fault::Crash(Whom::LeaderOf(0)),
        Fault::Isolate(Whom::LeaderOf(0)),
        Fault::Freeze(Whom::LeaderOf(0)),
        Fault::CutOff(Whom::LeaderOf(1)),
    ];
    let dark = [
        Fault::PowerLoss(Whom::AMinority),
        Fault::PowerLoss(Whom::FollowerOf(0)),
        Fault::PowerLoss(everyone()),
    ];
    // The second blow falls while the others elect; the restart is quick enough for a second vote in the same term.
    let nemesis = Sequence::default()
        .then(800..3000, ends)
        .then(900..2600, dark.clone())
        .then(10..300, [Fault::Restart(everyone())])
        .then(10..900, dark)
        .then(10..300, [Fault::Restart(everyone())])
        .then(200..3000, [Fault::Heal])
        .then(0..1, [Fault::Thaw(everyone())]);
    Scenario {
        clients: vec![appenders(3), producers(2), readers(2), heads(1)],
        nemeses: vec![Box::new(nemesis)],
        ..Scenario::new("forgotten-votes")
    }
}

pub(super) fn deposed_leader() -> Scenario {
    let everyone = || Whom::Everyone;
    let alone = [Fault::Isolate(Whom::LeaderOf(0)), Fault::Isolate(Whom::LeaderOf(1))];
    let dark = [
        Fault::PowerLoss(everyone()),
        Fault::PowerLoss(Whom::AMinority),
        Fault::Crash(everyone()),
        Fault::PowerLoss(Whom::FollowerOf(0)),
        Fault::PowerLoss(Whom::FollowerOf(1)),
    ];
    // Slow disks and few entries at once stretch the moment between the cut of the old tail and the end of the new one.
    let slow = Fault::SlowDisk {
        whom: everyone(),
        by: millis(15),
    };
    // Alone for long enough to be replaced; dark again soon after its tail was cut off, before anything is flushed.
    let nemesis = Sequence::default()
        .then(500..2000, alone)
        .then(2500..4500, [slow, Fault::Heal])
        .then(0..1, [Fault::Heal])
        .then(20..900, dark)
        .then(0..1, [Fault::MendDisk(everyone())])
        .then(50..800, [Fault::Restart(everyone())]);
    let busy = |workload: jepsen::workload::Workload| workload.thinking(millis(10)..millis(200));
    let mut scenario = Scenario {
        clients: vec![busy(appenders(8)), busy(producers(2)), readers(3)],
        nemeses: vec![Box::new(nemesis)],
        ..Scenario::new("deposed-leader")
    };
    scenario.shape.config.raft.batch_entries = 2;
    scenario
}
