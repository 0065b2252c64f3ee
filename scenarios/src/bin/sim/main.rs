//! `cargo sim`: scenarios by hand. Run one, sweep many seeds, check that a seed is one tale, keep a failure.
#![expect(
    clippy::disallowed_methods,
    reason = "a command for a person: true files, processes, time"
)]

mod sweep;
mod twice;

use std::fs;
use std::io::{BufWriter, stdout};
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Instant;

use clap::{Parser, Subcommand};
use jepsen::report;
use scenarios::keep::Kept;
use scenarios::runner::{Run, run};
use scenarios::scenario::Scenario;
use scenarios::{exploratory, keep};
use sim::engine::Trace;
use sim::trace::Written;

#[derive(Parser)]
#[command(
    name = "sim",
    about = "True nodes in a false world: run scenarios, sweep seeds, keep failures"
)]
struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// What scenarios there are
    List,
    /// Run one scenario with one seed; the end code says whether every law held
    Run {
        /// The scenario, see `list`
        name: String,
        /// The dice
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Print a line for everything that happens in the world
        #[arg(long)]
        trace: bool,
        /// Print one JSON object instead of text
        #[arg(long)]
        json: bool,
        /// Write what the clients saw to this file, a JSON line per call
        #[arg(long)]
        history: Option<PathBuf>,
        /// Strike the blows of this corpus file instead of the scenario's nemeses
        #[arg(long)]
        blows: Option<PathBuf>,
    },
    /// Run many seeds of one scenario, or of all, each apart from the others
    Sweep(sweep::Sweep),
    /// Run one seed in two fresh processes: both must do the same, to the byte
    Twice {
        /// The scenario, see `list`
        name: String,
        /// The dice
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Run one seed and keep its failure in the corpus
    Keep {
        /// The scenario, see `list`
        name: String,
        /// The dice
        seed: u64,
        /// Why it fails, in one sentence
        #[arg(long, default_value = "")]
        cause: String,
    },
    /// One process of a sweep: reads seeds from its input, writes a JSON line for each
    #[command(hide = true)]
    Work,
}

fn main() -> ExitCode {
    match Arguments::parse().what {
        What::List => {
            for entry in exploratory::ALL {
                println!("{:<22} {}", entry.name, entry.about);
            }
            ExitCode::SUCCESS
        }
        What::Run {
            name,
            seed,
            trace,
            json,
            history,
            blows,
        } => {
            let scenario = match blows {
                None => exploratory::by_name(&name, seed),
                Some(path) => match Kept::read(&path) {
                    Ok(kept) => Kept {
                        scenario: name.clone(),
                        seed,
                        ..kept
                    }
                    .by_blows(),
                    Err(error) => return refuse(&format!("the blows cannot be read: {error}")),
                },
            };
            let Some(scenario) = scenario else {
                return no_such(&name);
            };
            let run = one(scenario, seed, trace, json);
            if let Some(path) = history
                && let Err(error) = fs::write(&path, run.history.to_json_lines())
            {
                return refuse(&format!("the history cannot be written to {}: {error}", path.display()));
            }
            ended(run.passes())
        }
        What::Sweep(sweep) => sweep::sweep(&sweep),
        What::Twice { name, seed } => twice::twice(&name, seed),
        What::Keep { name, seed, cause } => keep_failure(&name, seed, cause),
        What::Work => sweep::work(),
    }
}

fn one(scenario: Scenario, seed: u64, trace: bool, json: bool) -> Run {
    let traced = trace;
    let trace: Option<Box<dyn Trace>> =
        trace.then(|| Box::new(Written::to(BufWriter::new(stdout()))) as Box<dyn Trace>);
    let (nodes, streams, storm) = (scenario.shape.nodes, scenario.streams, scenario.storm);
    let begun = Instant::now();
    let run = run(scenario, seed, trace);
    let spent = begun.elapsed().as_secs_f64();
    if json {
        println!(
            "{}",
            report::to_json(&run.history, &run.judgements, &run.circumstances())
        );
        return run;
    }
    let (blows, lasted, storm) = (run.blows.len(), run.lasted.as_secs_f64(), storm.as_secs_f64());
    // A trace must be the same whenever and wherever it is written.
    let spent = if traced {
        String::new()
    } else {
        format!(" in {spent:.2} s of yours")
    };
    println!(
        "  {} seed {seed}: {nodes} nodes, {streams} logs, {lasted:.0} s of their time ({storm:.0} s of storm){spent}, {blows} blows",
        run.name,
    );
    println!("  {}", run.met);
    print!(
        "{}",
        report::to_text(&run.history, &run.judgements, &run.circumstances())
    );
    if !run.passes() {
        for words in &run.last_words {
            println!("  ended  {words}");
        }
    }
    println!("  hash   {:016x} after {} steps", run.hash, run.steps);
    run
}

fn keep_failure(name: &str, seed: u64, cause: String) -> ExitCode {
    let Some(scenario) = exploratory::by_name(name, seed) else {
        return no_such(name);
    };
    let run = one(scenario, seed, false, false);
    let Some(kept) = Kept::of(&run, commit()) else {
        return refuse("every law holds: there is nothing to keep");
    };
    match (keep::Kept { cause, ..kept }).write() {
        Ok(path) => {
            println!("  kept   {}", path.display());
            ExitCode::SUCCESS
        }
        Err(error) => refuse(&format!("it cannot be written: {error}")),
    }
}

/// The commit checked out, as far as git tells.
fn commit() -> String {
    git(&["describe", "--always", "--dirty"]).unwrap_or_else(|| "unknown".into())
}

/// What git says, if it says anything.
fn git(arguments: &[&str]) -> Option<String> {
    let asked = Command::new("git").args(arguments).output();
    let answer = asked.ok().filter(|answer| answer.status.success())?;
    Some(String::from_utf8_lossy(&answer.stdout).trim().to_owned())
}

fn no_such(name: &str) -> ExitCode {
    let names: Vec<&str> = exploratory::ALL.iter().map(|entry| entry.name).collect();
    refuse(&format!(
        "there is no scenario `{name}`; there are: {}",
        names.join(", ")
    ))
}

fn refuse(why: &str) -> ExitCode {
    eprintln!("sim: {why}");
    ExitCode::from(2)
}

fn ended(well: bool) -> ExitCode {
    if well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
