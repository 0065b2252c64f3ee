//! An index that nobody uses takes little memory: a node has 60 MB in all.
#![cfg(feature = "real")]

use std::fs;

use storage::{
    index::Index,
    rocks::{Options, RocksIndex},
};

#[test]
fn an_idle_index_takes_few_megabytes_and_threads() {
    let folder = tempfile::tempdir().unwrap();
    let (memory_before, threads_before) = (status("VmRSS:"), status("Threads:"));
    let index = RocksIndex::open(folder.path(), &Options::default()).unwrap();
    index.flush().unwrap();
    let memory = status("VmRSS:") - memory_before;
    let threads = status("Threads:") - threads_before;
    println!("an idle index: {memory} KiB, {threads} threads");
    assert!(memory < 20 << 10, "an idle index takes {memory} KiB");
    assert!(threads <= 6, "an idle index runs {threads} threads");
}

/// A number of this process's status, in its own unit.
#[expect(clippy::disallowed_methods, reason = "this measures its own process")]
fn status(name: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
