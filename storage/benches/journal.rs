//! How many appends of 1 KiB a second the journal makes durable on this machine's disk, and how long each waits.
//!
//! `cargo bench -p storage --bench journal -- [writers] [seconds] [folder]`: by default 32 writers, 5 seconds, a folder
//! in the target directory. Each writer appends one record, waits until it is durable, and appends the next.

#![expect(
    clippy::disallowed_methods,
    reason = "a measurement of the real thing, outside of any world"
)]

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::{FutureExt, future::join_all};
use storage::{
    journal::{Journal, Kind, Options, Record},
    local::LocalDisk,
};

const BODY: usize = 1024;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let number = |i: usize, usual: u64| words.get(i).and_then(|word| word.parse().ok()).unwrap_or(usual);
    let (writers, seconds) = (number(0, 32), number(1, 5));
    let folder = words
        .get(2)
        .map_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")), PathBuf::from);
    let root = folder.join("journal-bench");
    // What an earlier run left is of no interest.
    drop(std::fs::remove_dir_all(&root));

    for writers in [1, writers] {
        appends(&root, writers, Duration::from_secs(seconds));
    }
    reopening(&root);
    drop(std::fs::remove_dir_all(&root));
}

fn open(root: &Path, seen: &mut u64) -> (Journal, thread::JoinHandle<()>) {
    let disk = Arc::new(LocalDisk::open(root).expect("a folder that can be written to"));
    let mut count = |_| *seen += 1;
    let opened = Journal::open(disk, "journal", Options::default(), &mut count).now_or_never();
    let opened = opened.expect("files block").expect("the journal opens");
    let run = opened.commit_loop.run();
    (
        opened.journal,
        thread::spawn(move || block_on(run).expect("the disk works")),
    )
}

fn appends(root: &Path, writers: u64, time: Duration) {
    let (journal, commit) = open(root, &mut 0);
    let before = journal.totals();
    let cpu = cpu_time();
    let begun = Instant::now();
    let body = Bytes::from(vec![b'x'; BODY]);
    let writer = async |group: u64| {
        let mut waits = Vec::new();
        while begun.elapsed() < time {
            let record = Record {
                kind: Kind::Entry,
                group: group as u32,
                index: waits.len() as u64,
                term: 1,
                payload: vec![body.clone()],
            };
            let asked = Instant::now();
            journal.ready().await;
            journal.append_durable(vec![record]).await.expect("it is durable");
            waits.push(asked.elapsed());
        }
        waits
    };
    let waits = block_on(join_all((0..writers).map(writer)));
    let took = begun.elapsed();
    let cpu = cpu_time() - cpu;
    let mut waits: Vec<Duration> = waits.into_iter().flatten().collect();
    waits.sort_unstable();
    let appends = waits.len();
    let at = |share: f64| waits[((appends - 1) as f64 * share) as usize].as_secs_f64() * 1e6;
    let syncs = journal.totals().syncs - before.syncs;
    println!(
        "{writers:>3} writers: {:>8.0} appends/s of {BODY} bytes, {:.2} µs CPU each, {:.1} a sync; \
         waited p50 {:.0} µs, p99 {:.0} µs, p99.9 {:.0} µs",
        appends as f64 / took.as_secs_f64(),
        cpu.as_secs_f64() * 1e6 / appends as f64,
        appends as f64 / syncs as f64,
        at(0.5),
        at(0.99),
        at(0.999),
    );
    journal.close();
    commit.join().expect("the loop ends");
}

fn reopening(root: &Path) {
    let mut records = 0;
    let begun = Instant::now();
    let (journal, commit) = open(root, &mut records);
    let took = begun.elapsed().as_secs_f64();
    let bytes: u64 = journal.segments().iter().map(|segment| segment.bytes).sum();
    println!(
        "reopened {records} records, {} MiB, in {:.0} ms: {:.0} ms for 100,000",
        bytes >> 20,
        took * 1e3,
        took * 1e3 * 100_000.0 / records as f64
    );
    journal.close();
    commit.join().expect("the loop ends");
}

/// Drives a future on this thread.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime")
        .block_on(future)
}

/// What all threads of this process have used.
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
