//! Random sequences of requests, answered by Holdfast over HTTP, by the reference server, and by the law alone: whatever
//! differs is either known, with a reason (`known`, printed as `docs/differences.md`), or fails.
//!
//! `ci/differential/run` starts the reference server and calls this. What differs is shrunk to the fewest steps.
//!
//! | file | the question |
//! |---|---|
//! | `step` | what is asked? |
//! | `generate` | which sequences are thrown? |
//! | `answer` | what was answered, and do two answers differ? |
//! | `remote` | a server at the other end of a socket |
//! | `events` | what does an answer by events say? |
//! | `law` | the law alone |
//! | `parted` | which streams can be compared no more? |
//! | `known` | which differences stay, and why? |

#![expect(
    clippy::disallowed_methods,
    reason = "streams of other runs may be there: names must differ between runs"
)]

mod answer;
mod events;
mod generate;
mod known;
mod law;
mod parted;
mod remote;
mod step;

use std::{collections::BTreeSet, process::ExitCode, sync::Arc, time::Duration};

use answer::{Answer, Difference};
use futures_util::future::join;
use generate::Generator;
use known::{Case, KNOWN};
use law::Law;
use net::{clock::SystemClock, dice::Dice, rt, serve::Client};
use node::{Node, World, config::Config};
use parted::Parted;
use remote::Remote;
use step::Step;
use storage::memory::{MemoryDisk, MemoryIndex};

const USAGE: &str = "\
usage: differential --reference URL [--seeds N] [--seed S] [URL of a Holdfast node; one in this process if absent]
       differential --page     prints docs/differences.md
`ci/differential/run` starts the reference server and calls this.";

/// What is asked of this program.
struct Wanted {
    reference: String,
    seeds: std::ops::Range<u64>,
    holdfast: Option<String>,
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.iter().any(|arg| arg == "--page") {
        print!("{}", known::page());
        return ExitCode::SUCCESS;
    }
    let Some(wanted) = wanted(&args) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/differences.md");
    if std::fs::read_to_string(page).ok() != Some(known::page()) {
        eprintln!("docs/differences.md is not what is known: ci/differential/run --page >docs/differences.md");
        return ExitCode::FAILURE;
    }
    match rt::block_on(compare(wanted)) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(because)) => {
            eprintln!("{because}");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("no runtime: {error}");
            ExitCode::FAILURE
        }
    }
}

fn wanted(args: &[String]) -> Option<Wanted> {
    let (mut reference, mut seeds, mut holdfast) = (None, 0..1000, None);
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--reference" => reference = args.next().cloned(),
            "--seeds" => seeds = 0..args.next()?.parse().ok()?,
            "--seed" => {
                let seed = args.next()?.parse().ok()?;
                seeds = seed..seed + 1;
            }
            url if url.starts_with("http://") => holdfast = Some(url.to_owned()),
            _ => return None,
        }
    }
    reference.map(|reference| Wanted {
        reference,
        seeds,
        holdfast,
    })
}

/// How long a read waits at the end of a stream, on both sides.
const LONG_POLL: Duration = Duration::from_millis(100);

/// So many differences that are not known are told at once.
const UNKNOWN_MAX: usize = 8;

/// Plays every seed.
async fn compare(wanted: Wanted) -> Result<(), String> {
    let node = if wanted.holdfast.is_some() {
        None
    } else {
        Some(node().await?)
    };
    let here = node.as_ref().map(|node| format!("http://{}", node.address()));
    let mut table = Table {
        client: Client::default(),
        holdfast: wanted.holdfast.or(here).expect("one of the two"),
        reference: wanted.reference,
        played: 0,
        steps: 0,
        judged: 0,
        seen: BTreeSet::new(),
    };
    let mut unknown = Vec::new();
    for seed in wanted.seeds.clone() {
        let steps = Generator::new(Dice::from_seed(seed).stream("differential")).sequence();
        let Some(first) = table.play(&steps).await? else {
            continue;
        };
        let (steps, last) = table.shrunk(steps, first).await?;
        if unknown.iter().all(|(_, _, found)| !last.is_like(found)) {
            unknown.push((seed, steps, last));
        }
        if unknown.len() == UNKNOWN_MAX {
            break;
        }
    }
    if let Some((seed, _, _)) = unknown.first() {
        let again = format!(
            "Mend it, or tell why in node/tests/differential/known.rs; again: ci/differential/run --seed {seed}"
        );
        let told: Vec<String> = unknown
            .iter()
            .map(|(seed, steps, found)| found.told(*seed, steps))
            .collect();
        return Err(format!("{}\n{again}", told.join("\n")));
    }
    println!(
        "differential: {} sequences, {} requests, {} of them judged by the law too; no difference but the known ones:",
        wanted.seeds.end - wanted.seeds.start,
        table.steps,
        table.judged
    );
    for (at, known) in KNOWN.iter().enumerate() {
        let seen = if table.seen.contains(&at) { "seen" } else { "not seen" };
        println!("  {seen:8} {}", known.asked);
    }
    if let Some(node) = node {
        node.shutdown(Duration::ZERO).await;
    }
    Ok(())
}

/// A node in this process, in a world of memory.
async fn node() -> Result<Node, String> {
    let mut config = Config::default();
    config.server.listen = "127.0.0.1:0".to_owned();
    // As long as the reference server waits: see ci/differential/reference.mjs.
    config.http.long_poll_timeout = LONG_POLL;
    let world = World {
        disk: Arc::new(MemoryDisk::default()),
        index: Arc::new(MemoryIndex::default()),
        cold: None,
        clock: Arc::new(SystemClock),
        dice: Dice::from_seed(1),
    };
    Node::start(config, world).await.map_err(|e| e.to_string())
}

/// Where the servers sit, and what was seen.
struct Table {
    client: Client,
    holdfast: String,
    reference: String,
    /// Sequences so far, for names that were never used.
    played: u64,
    steps: u64,
    judged: u64,
    /// The known differences that were met.
    seen: BTreeSet<usize>,
}

/// A difference that is not known.
#[derive(Debug)]
struct Found {
    at: usize,
    other: &'static str,
    difference: Difference,
    ours: Answer,
    theirs: Answer,
}

impl Found {
    /// Whether it looks like the same difference.
    fn is_like(&self, other: &Self) -> bool {
        let key = |found: &Self| {
            (
                found.difference.aspect,
                found.ours.status,
                found.theirs.status,
                found.other,
            )
        };
        key(self) == key(other)
    }

    fn told(&self, seed: u64, steps: &[Step]) -> String {
        let lines: Vec<String> = steps.iter().map(|step| format!("    {step}\n")).collect();
        format!(
            "seed {seed}: what differs in the last of these steps is not known\n{}  {}\n  Holdfast: {}\n  {}: {}\n",
            lines.concat(),
            self.difference,
            self.ours,
            self.other,
            self.theirs,
        )
    }
}

impl Table {
    /// Plays a sequence to its end or to the first difference that is not known.
    async fn play(&mut self, steps: &[Step]) -> Result<Option<Found>, String> {
        self.played += 1;
        let prefix = format!("d{}-{}", std::process::id(), self.played);
        let mut holdfast = Remote::new(self.client.clone(), &self.holdfast, prefix.clone());
        let mut reference = Remote::new(self.client.clone(), &self.reference, prefix);
        let mut law = Law::default();
        let mut parted = Parted::default();
        for (at, step) in steps.iter().enumerate() {
            self.steps += 1;
            let (ours, theirs) = match &step.if_match {
                // The reference server knows no conditions on writes: it is asked what was not refused for them.
                Some(_) => {
                    let ours = holdfast.ask(step).await?;
                    let refused = matches!(ours.status, 400 | 412);
                    let both = !refused && !parted.concerns(step);
                    let theirs = if both { Some(reference.ask(step).await?) } else { None };
                    (ours, theirs)
                }
                None if parted.concerns(step) => (holdfast.ask(step).await?, None),
                None => {
                    let (ours, theirs) = join(holdfast.ask(step), reference.ask(step)).await;
                    (ours?, Some(theirs?))
                }
            };
            parted.note(step, &ours);
            let found = |other, difference, ours, theirs| {
                Ok(Some(Found {
                    at,
                    other,
                    difference,
                    ours,
                    theirs,
                }))
            };
            if let Some(lawful) = law.ask(step) {
                self.judged += 1;
                if let Some(difference) = ours.differences(&lawful, step.method == "HEAD").into_iter().next() {
                    return found("the law alone", difference, ours, lawful);
                }
            }
            let Some(theirs) = theirs else { continue };
            for difference in ours.differences(&theirs, step.method == "HEAD") {
                let case = Case {
                    step,
                    difference: &difference,
                    ours: &ours,
                    theirs: &theirs,
                };
                match known::known(&case) {
                    Some(known) => drop(self.seen.insert(known)),
                    None => return found("the reference server", difference, ours, theirs),
                }
                if Parted::by(step, &ours, &theirs) || matches!(difference.aspect, "stream-closed" | "content-type") {
                    parted.part(step.stream);
                }
            }
        }
        Ok(None)
    }

    /// The fewest steps that still end in a difference that is not known: each step is left out if it can be.
    async fn shrunk(&mut self, mut steps: Vec<Step>, mut last: Found) -> Result<(Vec<Step>, Found), String> {
        steps.truncate(last.at + 1);
        let mut at = steps.len();
        while at > 0 {
            at -= 1;
            let mut fewer = steps.clone();
            fewer.remove(at);
            if let Some(found) = self.play(&fewer).await?
                && found.difference.aspect == last.difference.aspect
            {
                fewer.truncate(found.at + 1);
                at = at.min(fewer.len());
                (steps, last) = (fewer, found);
            }
        }
        Ok((steps, last))
    }
}
