//! Storm, calm, judgement.
//!
//! In the storm, whatever breaks, nobody may see anything unlawful. In the calm, once everything is whole, everyone
//! catches up and every client gets an answer. Then the laws read the history.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jepsen::client::Client;
use jepsen::history::{History, Recorder};
use jepsen::report::Circumstances;
use jepsen::transport::Transport;
use jepsen::verdict::{Judgement, Verdict, judge};
use jepsen::workload::{self, Stage, Workload};
use net::rt::{self, JoinHandle};
use rand::RngExt;
use serde::{Deserialize, Serialize};
use sim::cluster::Cluster;
use sim::engine::{Control, Engine, HostId, Trace};
use sim::fault::{Fault, Whom};

use crate::about;
use crate::exploratory::command;
use crate::nemesis::Nemesis;
use crate::scenario::{Lost, Scenario};
use crate::transport::SimTransport;

/// How long a client waits for an answer: a little more than an election and a retry take.
const DEADLINE: Duration = Duration::from_secs(4);

/// How long the cluster may take to become whole, at its birth and after the storm. The promise is seconds; two elections
/// and a snapshot over a slow link fit in.
const WHOLE_WITHIN: Duration = Duration::from_secs(10);

/// How long it may take until nothing is left over of attempts at forks that failed: several rounds of who cleans up,
/// after the time that an attempt may take.
const SETTLED_WITHIN: Duration = Duration::from_secs(30);

/// How often it is looked whether the cluster is whole.
const LOOK: Duration = Duration::from_millis(100);

/// What a run came to.
pub struct Run {
    /// Of the scenario.
    pub name: &'static str,
    /// Of the dice.
    pub seed: u64,
    /// What every law says, the white-box ones too.
    pub judgements: Vec<Judgement>,
    /// What the clients saw.
    pub history: History,
    /// The blows of the storm as struck, each with its time since the storm began.
    pub blows: Vec<(Duration, Fault)>,
    /// What nodes said when they ended by themselves.
    pub last_words: Vec<String>,
    /// Hash over everything that happened in the world.
    pub hash: u64,
    /// How long it was for those in it.
    pub lasted: Duration,
    /// How long the cluster took to become whole once everything was mended; `None`: it did not, or there was no storm.
    pub whole_after: Option<Duration>,
    /// What the run came across, besides what it was asked for.
    pub met: Met,
    /// What the executor did.
    pub steps: u64,
}

impl Run {
    /// Whether every law holds.
    #[must_use]
    pub fn passes(&self) -> bool {
        self.judgements.iter().all(|judgement| judgement.verdict.passes())
    }

    /// The first law that is broken, else the first that is not known.
    #[must_use]
    pub fn fails(&self) -> Option<&Judgement> {
        let mut failed: Vec<&Judgement> = self.judgements.iter().filter(|one| !one.verdict.passes()).collect();
        failed.sort_by_key(|one| matches!(one.verdict, Verdict::Unknown { .. }));
        failed.first().copied()
    }

    /// What the report adds to the verdicts.
    #[must_use]
    pub fn circumstances(&self) -> Circumstances {
        let Self { name, seed, .. } = self;
        Circumstances {
            blows: self
                .blows
                .iter()
                .map(|(at, fault)| (at.as_secs_f64(), fault.to_string()))
                .collect(),
            again: format!("{} run {name} --seed {seed}", command(name)),
            keep: format!("{} keep {name} {seed}", command(name)),
        }
    }
}

/// How often a run came across what it cannot force.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Met {
    /// Snapshots of others that nodes put in force.
    pub snapshots: u64,
    /// Reads of disks that were answered with a bit flipped.
    pub flipped: u64,
    /// Committed entries that were found on the synced disks of a majority.
    pub on_disks: u64,
    /// Objects that were put into the cold store.
    pub moved: u64,
}

impl std::fmt::Display for Met {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            snapshots,
            flipped,
            on_disks,
            moved,
        } = self;
        write!(
            f,
            "{snapshots} snapshots put in force · {flipped} bits flipped on reads · {on_disks} commits found on the disks of a majority"
        )?;
        match moved {
            0 => Ok(()),
            _ => write!(f, " · {moved} objects in the cold store"),
        }
    }
}

/// What happens outside of the clients' history, filled in as the run goes, so that it survives a run that breaks off.
#[derive(Default)]
struct Notes {
    storm_from_ns: u64,
    storm_to_ns: u64,
    /// How long it took to become whole after the storm.
    whole_after: Option<Duration>,
    /// How each client reaches the nodes.
    ways: Vec<Arc<SimTransport>>,
    /// What went wrong with the world itself: it did not come up, or did not become whole.
    trouble: Option<(&'static str, String)>,
}

type Shared = Arc<Mutex<Notes>>;

/// Tells the scenario with these dice.
#[must_use]
pub fn run(scenario: Scenario, seed: u64, trace: Option<Box<dyn Trace>>) -> Run {
    let Scenario {
        name,
        shape,
        streams,
        clients,
        nemeses,
        laws,
        clock_error,
        storm,
        calm,
        lost,
        net,
        engine,
    } = scenario;
    let mut engine = Engine::new(seed, engine);
    let control = engine.control();
    control.set_trace(trace);
    let cluster = Cluster::new(&control, shape, net);
    let stage = Stage::new(cluster.shape().nodes as usize, streams);
    let recorder = Recorder::new(true);
    if let Some(error) = clock_error {
        recorder.clock_error(error);
    }
    let notes = Shared::default();
    let tale = Tale {
        control: control.clone(),
        cluster: cluster.clone(),
        stage,
        recorder: recorder.clone(),
        notes,
    };
    let notes = Arc::clone(&tale.notes);
    let struck_any = !nemeses.is_empty();
    let ended = engine.run_until(tale.tell(clients, nemeses, storm, calm, lost));

    let notes = std::mem::take(&mut *notes.lock().unwrap_or_else(PoisonError::into_inner));
    let storm_ns = notes.storm_from_ns..notes.storm_to_ns.max(notes.storm_from_ns);
    let struck = cluster
        .struck()
        .into_iter()
        .filter(|(at_ns, _)| storm_ns.contains(at_ns));
    let blows: Vec<(Duration, Fault)> = struck
        .map(|(at_ns, fault)| (Duration::from_nanos(at_ns - storm_ns.start), fault))
        .collect();
    if struck_any {
        recorder.blows(blows.len() as u64);
    }
    let history = recorder.history();
    let halted = ended.is_err();
    let world = world(&cluster, notes.trouble, ended.err().map(|halt| halt.to_string()));
    // What was wrong comes before what took too long: the first that fails names the failure. A world that broke off
    // comes first of all, but for an invariant that broke before it did; what its clients saw is judged all the same, but
    // for its end, which it never had.
    let (moved, lies) = cluster.cold_traffic();
    let met = Met {
        snapshots: cluster.snapshots(),
        flipped: cluster.flipped() + lies,
        on_disks: cluster.observations().1,
        moved,
    };
    let mut judgements = vec![invariants(&cluster)];
    judgements.extend(about::judge(name, met));
    judgements.extend(judge(&laws, &history));
    let first = usize::from(cluster.broken().is_some());
    judgements.insert(if halted { first } else { judgements.len() }, world);
    let (hash, lasted, steps) = (control.hash(), Duration::from_nanos(control.now_ns()), control.steps());
    let last_words = cluster.last_words();
    Run {
        name,
        seed,
        judgements,
        history,
        blows,
        last_words,
        hash,
        lasted,
        whole_after: notes.whole_after,
        met,
        steps,
    }
}

/// What goes wrong with the cold store while a cluster comes back from it.
fn lost_hurts(throw: &mut net::dice::Stream) -> Vec<Fault> {
    let mut hurts = Vec::new();
    if throw.random_bool(0.4) {
        hurts.push(Fault::ColdFails {
            before_ppm: throw.random_range(0..200_000),
            after_ppm: throw.random_range(0..200_000),
        });
    }
    if throw.random_bool(0.3) {
        hurts.push(Fault::SlowCold {
            by: Duration::from_millis(throw.random_range(20..800)),
        });
    }
    hurts
}

fn world(cluster: &Cluster, trouble: Option<(&'static str, String)>, halt: Option<String>) -> Judgement {
    let verdict = match (halt, trouble) {
        (Some(halt), _) => Verdict::broken("runs-to-the-end", halt, []),
        (None, Some((what, because))) => {
            let words = cluster.last_words();
            let words = if words.is_empty() {
                String::new()
            } else {
                format!("; last words: {}", words.join("; "))
            };
            Verdict::broken(what, format!("{because}{words}"), [])
        }
        (None, None) => Verdict::Holds,
    };
    let law = match &verdict {
        Verdict::Broken { law, .. } => law.clone(),
        _ => "becomes-whole".into(),
    };
    Judgement { law, verdict }
}

/// All of them under one name as long as they hold; the one that broke, under its own.
fn invariants(cluster: &Cluster) -> Judgement {
    let (law, verdict) = match (cluster.broken(), cluster.observations()) {
        (Some(broken), _) => (broken.invariant, Verdict::broken(broken.invariant, broken.because, [])),
        (None, (0, _)) => ("invariants", Verdict::unknown("no replica was ever observed")),
        (None, (_, 0)) => (
            "invariants",
            Verdict::unknown("no committed entry was ever looked for on the disks"),
        ),
        (None, _) => ("invariants", Verdict::Holds),
    };
    Judgement {
        law: law.into(),
        verdict,
    }
}

/// A run from within.
struct Tale {
    control: Control,
    cluster: Cluster,
    stage: Stage,
    recorder: Recorder,
    notes: Shared,
}

impl Tale {
    async fn tell(
        self,
        clients: Vec<Workload>,
        nemeses: Vec<Box<dyn Nemesis>>,
        storm: Duration,
        calm: Duration,
        lost: Option<Lost>,
    ) {
        let Self {
            control,
            cluster,
            stage,
            recorder,
            ..
        } = &self;
        cluster.start();
        let watcher = cluster.clone();
        let watch = rt::spawn("watch", async move { watcher.watch().await });
        let mut manager = self.client(0);
        if !self.whole("comes-up").await {
            return;
        }
        if !workload::opening(&mut manager, stage).await {
            self.trouble("comes-up", "the logs could not be created".into());
            return;
        }

        // What is lost before it was ever written down does not come back.
        if lost == Some(Lost::InTheStorm) && !self.settled().await {
            return;
        }

        let from_ns = control.now_ns();
        self.note(|notes| notes.storm_from_ns = from_ns);
        let actors = self.enter(clients);
        let strikers: Vec<JoinHandle<()>> = (0..)
            .zip(nemeses)
            .map(|(number, nemesis)| self.strikes(number, nemesis))
            .collect();
        cluster.pass(storm).await;
        strikers.iter().for_each(JoinHandle::abort);
        let to_ns = control.now_ns();
        self.note(|notes| notes.storm_to_ns = to_ns);
        if lost == Some(Lost::InTheStorm) && !self.lost().await {
            return;
        }

        cluster.strike(Fault::Mend);
        // Who was told to end just before does so first.
        cluster.pass(cluster.shape().config.server.drain).await;
        cluster.strike(Fault::Restart(Whom::Everyone));
        let mended_ns = control.now_ns();
        let is_whole = self.whole("becomes-whole").await;
        if is_whole {
            let took = Duration::from_nanos(control.now_ns() - mended_ns);
            self.note(|notes| notes.whole_after = Some(took));
        }
        self.note(|notes| notes.ways.iter().for_each(|way| way.reconnect()));
        recorder.calm();
        cluster.pass(calm).await;
        stage.curtain();
        // A client ends one thought and at most one call after the curtain; a read may take several calls.
        for actor in actors {
            if rt::timeout(DEADLINE * 8, actor).await.is_err() {
                self.trouble("clients-end", "a client does not end".into());
                return;
            }
        }
        workload::last_look(&mut manager, stage).await;
        let is_settled = is_whole && self.whole("stays-whole").await && self.settled().await;
        if is_settled && (lost != Some(Lost::AtTheEnd) || self.lost_at_the_end(&mut manager).await) {
            watch.abort();
        }
    }

    /// Nobody may bring back what lives. Then everything is lost, and must come back as it was; whether it did.
    async fn lost_at_the_end(&self, manager: &mut Client) -> bool {
        if self.cluster.restore_beside().await.is_ok() {
            self.trouble(
                "only-one-at-work",
                "a cluster that lives was taken for lost, and restored".into(),
            );
            return false;
        }
        if !self.settled().await || !self.lost().await {
            return false;
        }
        workload::last_look(manager, &self.stage).await;
        self.whole("stays-whole").await && self.settled().await
    }

    /// Everything is lost, and must come back; whether it did.
    async fn lost(&self) -> bool {
        let cluster = &self.cluster;
        cluster.lose_all();
        cluster.strike(Fault::MendCold);
        for fault in lost_hurts(&mut self.control.dice().stream("restore")) {
            cluster.strike(fault);
        }
        if let Err(because) = cluster.prepare_restore().await {
            self.trouble("comes-back", format!("nothing can be restored: {because}"));
            return false;
        }
        cluster.come_back().await;
        cluster.strike(Fault::Mend);
        cluster.strike(Fault::Restart(Whom::Everyone));
        if !self.whole("comes-back").await {
            return false;
        }
        cluster.is_back();
        self.note(|notes| notes.ways.iter().for_each(|way| way.reconnect()));
        true
    }

    fn client(&self, id: u32) -> Client {
        let way = Arc::new(SimTransport::new(&self.control, &self.cluster));
        self.note(|notes| notes.ways.push(Arc::clone(&way)));
        let transport: Arc<dyn Transport> = way;
        Client::new(id, transport, self.recorder.clone(), DEADLINE)
    }

    /// Every client begins.
    fn enter(&self, workloads: Vec<Workload>) -> Vec<JoinHandle<()>> {
        let each = workloads
            .iter()
            .flat_map(|workload| (0..workload.clients).map(move |_| workload));
        let begin = |(id, workload): (u32, &Workload)| {
            let (client, stage, workload) = (self.client(id), self.stage.clone(), workload.clone());
            let dice = Box::new(self.control.dice().stream(&format!("client-{id}")));
            let hosts = self.cluster.clients();
            let host = hosts[id as usize % hosts.len()];
            self.control
                .spawn_on(host, "client", async move { workload.run(client, stage, dice).await })
        };
        (1..).zip(each).map(begin).collect()
    }

    /// A nemesis begins.
    fn strikes(&self, number: u32, mut nemesis: Box<dyn Nemesis>) -> JoinHandle<()> {
        let cluster = self.cluster.clone();
        let mut dice = self.control.dice().stream(&format!("nemesis-{number}"));
        self.control.spawn_on(HostId::WORLD, "nemesis", async move {
            while let Some(blow) = nemesis.next(&mut dice) {
                cluster.pass(blow.after).await;
                cluster.strike(blow.fault);
                cluster.look_at_disks().await;
            }
        })
    }

    /// Waits until the cluster is whole; whether it became so.
    async fn whole(&self, what: &'static str) -> bool {
        let looks = WHOLE_WITHIN.as_millis() / LOOK.as_millis();
        let (mut pending, mut marks) = (None, self.cluster.foremost());
        for look in 0..looks {
            // Clients that are at work never let all replicas stand at the same entry, if the line is long; so whoever has
            // what the foremost had a second ago is there.
            pending = self.cluster.pending();
            if pending.is_none() || !self.stage.is_over() && look >= 10 && self.cluster.pending_up_to(&marks).is_none()
            {
                return true;
            }
            if look % 10 == 0 {
                marks = self.cluster.foremost();
            }
            // One that was told to end before the mend may have ended after it.
            if look % 20 == 19 {
                self.cluster.strike(Fault::Restart(Whom::Everyone));
            }
            self.cluster.pass(LOOK).await;
        }
        self.trouble(what, format!("after {WHOLE_WITHIN:?}: {}", pending.unwrap_or_default()));
        false
    }

    /// Waits until nothing is left over of forks, nor in the cold store; whether that was so in time.
    async fn settled(&self) -> bool {
        let left_over = [
            (
                "forks-leak-nothing",
                Cluster::left_over as fn(&Cluster) -> Option<String>,
            ),
            ("cold-keeps-what-is-referred-to", Cluster::cold_disorder),
        ];
        for (law, left_over) in left_over {
            let mut left = None;
            for _ in 0..SETTLED_WITHIN.as_millis() / LOOK.as_millis() {
                left = left_over(&self.cluster);
                if left.is_none() {
                    break;
                }
                self.cluster.pass(LOOK).await;
            }
            if let Some(left) = left {
                self.trouble(law, format!("after {SETTLED_WITHIN:?}: {left}"));
                return false;
            }
        }
        true
    }

    fn trouble(&self, what: &'static str, because: String) {
        self.note(|notes| notes.trouble = notes.trouble.take().or(Some((what, because))));
    }

    fn note(&self, note: impl FnOnce(&mut Notes)) {
        note(&mut self.notes.lock().unwrap_or_else(PoisonError::into_inner));
    }
}
