//! Many seeds. Each worker is a process of its own: a panic or a run that never ends costs one seed, not the sweep.
//!
//! The parent writes `NAME SEED` to a worker, the worker answers with one JSON line. A worker that dies or is silent for
//! too long is replaced; its seed counts as failed.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, IsTerminal, Write};
use std::ops::Range;
use std::process::{Child, ChildStdin, Command, ExitCode, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use jepsen::report::Tally;
use jepsen::verdict::Verdict;
use scenarios::exploratory;
use scenarios::runner::{Met, run};
use serde::{Deserialize, Serialize};

/// How often one says in words how far it is.
const TELL_EVERY: Duration = Duration::from_secs(60);

#[derive(Args)]
pub(crate) struct Sweep {
    /// The scenario; all of them if none is named
    name: Option<String>,
    /// Which seeds, as A..B (B not included)
    #[arg(long, value_parser = seeds, required_unless_present = "fresh", conflicts_with = "fresh")]
    seeds: Option<Range<u64>>,
    /// So many seeds that nobody has run yet: where they begin is the commit checked out, or, where there is none, today
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    fresh: Option<u64>,
    /// How many processes at once
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// Print a JSON line per seed, and one with the sums
    #[arg(long)]
    json: bool,
    /// Stop at the first failure
    #[arg(long)]
    until_broken: bool,
    /// How many seconds one seed may take
    #[arg(long, default_value_t = 120)]
    patience: u64,
}

fn seeds(text: &str) -> Result<Range<u64>, String> {
    let ends = text
        .split_once("..")
        .and_then(|(from, to)| Some(from.parse().ok()?..to.parse().ok()?));
    ends.filter(|range: &Range<u64>| range.start < range.end)
        .ok_or_else(|| "seeds are written 0..100".into())
}

/// Seeds that begin at the first digits of the commit: others with every change, the same again for who looks into it.
fn fresh(count: u64) -> Range<u64> {
    let from = super::git(&["rev-parse", "HEAD"])
        .and_then(|commit| u64::from_str_radix(commit.get(..8)?, 16).ok())
        .unwrap_or_else(today);
    from..from + count
}

/// A number that is another one every day.
fn today() -> u64 {
    let days = SystemTime::UNIX_EPOCH.elapsed().map(|since| since.as_secs() / 86_400);
    days.unwrap_or_default() << 32
}

/// A law that does not hold.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Fails {
    law: String,
    because: String,
    /// Or nobody can tell.
    broken: bool,
}

/// What a worker says of one seed.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Line {
    name: String,
    seed: u64,
    /// The first law that does not hold.
    fails: Option<Fails>,
    calls: usize,
    writes_done: usize,
    writes_unknown: usize,
    blows: usize,
    met: Met,
    /// How long the cluster took to become whole after the storm.
    whole_s: f64,
    lasted_s: f64,
    spent_s: f64,
    hash: String,
}

/// Sums of one scenario.
#[derive(Clone, Debug, Default, Serialize)]
struct Sum {
    seeds: usize,
    failed: usize,
    calls: usize,
    writes_done: usize,
    writes_unknown: usize,
    blows: usize,
    snapshots: u64,
    flipped: u64,
    /// The longest that it took to become whole after a storm.
    whole_s_max: f64,
    lasted_s: f64,
    spent_s: f64,
}

pub(crate) fn sweep(sweep: &Sweep) -> ExitCode {
    let names: Vec<String> = match &sweep.name {
        Some(name) if exploratory::by_name(name, 0).is_none() => return super::no_such(name),
        Some(name) => vec![name.clone()],
        None => exploratory::ALL.iter().map(|entry| entry.name.to_owned()).collect(),
    };
    let seeds = match (&sweep.seeds, sweep.fresh) {
        (Some(seeds), _) => seeds.clone(),
        (None, count) => fresh(count.unwrap_or(1)),
    };
    if sweep.fresh.is_some() && !sweep.json {
        println!("  fresh  --seeds {}..{}", seeds.start, seeds.end);
    }
    let tasks: Vec<(String, u64)> = seeds
        .flat_map(|seed| names.iter().map(move |name| (name.clone(), seed)))
        .collect();
    let bar = if sweep.json {
        ProgressBar::hidden()
    } else {
        ProgressBar::new(tasks.len() as u64)
    };
    let style = ProgressStyle::with_template("{elapsed_precise} [{bar:40}] {pos}/{len} {per_sec} eta {eta} {msg}");
    bar.set_style(style.expect("the template is well-formed"));

    let begun = Instant::now();
    // In a file a bar is no use, but a line now and then is.
    let (all, in_words) = (tasks.len(), !sweep.json && !io::stderr().is_terminal());
    let mut told = begun;
    let tasks = Arc::new(Mutex::new(tasks.into_iter()));
    let (results, lines) = channel();
    for _ in 0..sweep.jobs.max(1) {
        let (tasks, results) = (Arc::clone(&tasks), results.clone());
        let patience = Duration::from_secs(sweep.patience);
        thread::spawn(move || {
            let mut worker: Option<Worker> = None;
            let next = || tasks.lock().ok().and_then(|mut tasks| tasks.next());
            while let Some((name, seed)) = next() {
                if results.send(judge(&mut worker, &name, seed, patience)).is_err() {
                    break;
                }
            }
        });
    }
    drop(results);

    let mut sums: BTreeMap<String, Sum> = BTreeMap::new();
    let mut failures: Vec<Line> = Vec::new();
    for line in lines {
        let sum = sums.entry(line.name.clone()).or_default();
        sum.seeds += 1;
        sum.failed += usize::from(line.fails.is_some());
        sum.calls += line.calls;
        sum.writes_done += line.writes_done;
        sum.writes_unknown += line.writes_unknown;
        sum.blows += line.blows;
        sum.snapshots += line.met.snapshots;
        sum.flipped += line.met.flipped;
        sum.whole_s_max = sum.whole_s_max.max(line.whole_s);
        sum.lasted_s += line.lasted_s;
        sum.spent_s += line.spent_s;
        if sweep.json {
            println!("{}", serde_json::to_string(&line).unwrap_or_default());
        }
        if let Some(Fails { law, because, broken }) = &line.fails {
            bar.suspend(|| {
                if !sweep.json {
                    let word = if *broken { "BROKEN" } else { "UNKNOWN" };
                    println!("  {word} {law} in {} {}: {because}", line.name, line.seed);
                    let command = exploratory::command(&line.name);
                    println!("  again  {command} run {} --seed {}", line.name, line.seed);
                }
            });
            failures.push(line);
            bar.set_message(format!("{} failed", failures.len()));
        }
        bar.inc(1);
        if in_words && told.elapsed() >= TELL_EVERY {
            told = Instant::now();
            let (done, spent) = (bar.position(), begun.elapsed().as_secs());
            eprintln!("  {done} of {all} after {spent} s, {} failed", failures.len());
        }
        if sweep.until_broken && !failures.is_empty() {
            break;
        }
    }
    bar.finish_and_clear();
    summary(sweep, &sums, failures.first(), begun.elapsed());
    super::ended(failures.is_empty())
}

/// The last line of `--json`.
#[derive(Serialize)]
struct Summary<'a> {
    first_broken: Option<FirstBroken<'a>>,
    scenarios: &'a BTreeMap<String, Sum>,
}

#[derive(Serialize)]
struct FirstBroken<'a> {
    seed: u64,
    law: &'a str,
    broken: bool,
    name: &'a str,
}

fn summary(sweep: &Sweep, sums: &BTreeMap<String, Sum>, first: Option<&Line>, spent: Duration) {
    if sweep.json {
        let broken = first.and_then(|line| Some((line, line.fails.as_ref()?)));
        let first_broken = broken.map(|(line, fails)| FirstBroken {
            seed: line.seed,
            law: &fails.law,
            broken: fails.broken,
            name: &line.name,
        });
        let summary = Summary {
            first_broken,
            scenarios: sums,
        };
        println!("{}", serde_json::to_string(&summary).unwrap_or_default());
        return;
    }
    println!(
        "  {:<22} {:>7} {:>7} {:>9} {:>9} {:>8} {:>7} {:>9} {:>7} {:>7} {:>9}",
        "", "seeds", "failed", "calls", "written", "unknown", "blows", "snapshots", "flips", "whole s", "s/seed"
    );
    for (name, sum) in sums {
        println!(
            "  {name:<22} {:>7} {:>7} {:>9} {:>9} {:>8} {:>7} {:>9} {:>7} {:>7.1} {:>9.2}",
            sum.seeds,
            sum.failed,
            sum.calls,
            sum.writes_done,
            sum.writes_unknown,
            sum.blows,
            sum.snapshots,
            sum.flipped,
            sum.whole_s_max,
            sum.spent_s / sum.seeds.max(1) as f64
        );
    }
    let seeds: usize = sums.values().map(|sum| sum.seeds).sum();
    let lasted: f64 = sums.values().map(|sum| sum.lasted_s).sum();
    let spent = spent.as_secs_f64();
    println!(
        "  {seeds} seeds, {:.1} hours of their time in {spent:.0} s of yours",
        lasted / 3600.0
    );
}

/// A process that runs seeds.
struct Worker {
    child: Child,
    orders: ChildStdin,
    answers: Receiver<String>,
}

impl Worker {
    fn start() -> io::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("work")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let orders = child.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let out = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let (send, answers) = channel();
        thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                if send.send(line).is_err() {
                    break;
                }
            }
        });
        Ok(Self { child, orders, answers })
    }

    /// `Err`: it will never answer again.
    fn ask(&mut self, name: &str, seed: u64, patience: Duration) -> Result<Line, String> {
        writeln!(self.orders, "{name} {seed}")
            .and_then(|()| self.orders.flush())
            .map_err(|error| error.to_string())?;
        let answer = self.answers.recv_timeout(patience).map_err(|error| match error {
            RecvTimeoutError::Timeout => format!("no end after {patience:?}"),
            RecvTimeoutError::Disconnected => "the process died: run it alone to see why".into(),
        })?;
        serde_json::from_str(&answer).map_err(|error| format!("{error}: {answer}"))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn judge(worker: &mut Option<Worker>, name: &str, seed: u64, patience: Duration) -> Line {
    let asked = match worker.take().map_or_else(Worker::start, Ok) {
        Err(error) => Err(format!("no process can be started: {error}")),
        Ok(mut running) => {
            let answer = running.ask(name, seed, patience);
            // One that did not answer is dropped, and with it the process.
            *worker = answer.is_ok().then_some(running);
            answer
        }
    };
    asked.unwrap_or_else(|why| Line {
        name: name.into(),
        seed,
        fails: Some(Fails {
            law: "runs-to-the-end".into(),
            because: why,
            broken: true,
        }),
        calls: 0,
        writes_done: 0,
        writes_unknown: 0,
        blows: 0,
        met: Met::default(),
        whole_s: 0.0,
        lasted_s: 0.0,
        spent_s: patience.as_secs_f64(),
        hash: String::new(),
    })
}

/// Runs what comes in, until nothing more does.
pub(crate) fn work() -> ExitCode {
    for order in io::stdin().lines().map_while(Result::ok) {
        let task = order
            .split_once(' ')
            .and_then(|(name, seed)| Some((name, seed.parse::<u64>().ok()?)));
        let Some((name, seed)) = task else {
            return super::refuse("an order is NAME SEED");
        };
        let Some(scenario) = exploratory::by_name(name, seed) else {
            return super::no_such(name);
        };
        let begun = Instant::now();
        let run = run(scenario, seed, None);
        let tally = Tally::of(&run.history);
        let fails = run.fails().map(|judgement| {
            let (broken, because) = match &judgement.verdict {
                Verdict::Broken { because, .. } => (true, because.clone()),
                Verdict::Unknown { because } => (false, because.clone()),
                Verdict::Holds => (false, String::new()),
            };
            Fails {
                law: judgement.law.clone(),
                because,
                broken,
            }
        });
        let line = Line {
            name: name.into(),
            seed,
            fails,
            calls: run.history.events.len(),
            writes_done: tally.writes_done,
            writes_unknown: tally.writes_unknown,
            blows: run.blows.len(),
            met: run.met,
            whole_s: run.whole_after.unwrap_or_default().as_secs_f64(),
            lasted_s: run.lasted.as_secs_f64(),
            spent_s: begun.elapsed().as_secs_f64(),
            hash: format!("{:016x}", run.hash),
        };
        println!("{}", serde_json::to_string(&line).unwrap_or_default());
    }
    ExitCode::SUCCESS
}
