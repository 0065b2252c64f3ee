//! What a node keeps in memory, whoever asks for whatever: one test after the other, for they weigh the whole process. Bytes
//! lie in real files, so that what the process holds is what the node does.
//!
//! | file | the question |
//! |---|---|
//! | `tailers` | what of many readers that stay and take nothing? |
//! | `hanging_up` | what of a hundred thousand that come and go? |
//! | `snapshot` | what of a blob far larger than all that may be held? |
#![expect(
    clippy::disallowed_methods,
    reason = "this stands outside of the node: real files, and what the system says of this process"
)]

mod hanging_up;
#[path = "../http/server.rs"]
#[expect(dead_code, reason = "half of what the tests of HTTP need")]
mod server;
mod snapshot;
mod tailers;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use net::rt;
use node::{Node, World, config::Config};
use storage::local::LocalDisk;

use server::Server;

/// Longer than any of these takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(300);

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Runs a test against a node whose bytes lie in files, while no other test runs.
fn weighed(change: impl FnOnce(&mut Config), test: impl AsyncFnOnce(&Server)) {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::tempdir().expect("a folder");
    let mut config = Config::default();
    config.server.listen = "127.0.0.1:0".to_owned();
    change(&mut config);
    let world = World {
        disk: Arc::new(LocalDisk::open(folder.path()).expect("a folder of our own")),
        ..server::world()
    };
    let ran = rt::block_on(async {
        let server = Server::new(Node::start(config, world).await.expect("it starts"));
        let ended = rt::timeout(PATIENCE, test(&server)).await;
        server.node.shutdown(Duration::ZERO).await;
        ended
    });
    ran.expect("a runtime").expect("an end");
}

/// MiB of memory of this process that no file stands behind.
fn held_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")).expect("a line");
    kib.parse::<u64>().expect("a number") / 1024
}

/// Files and sockets this process has open.
fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("Linux").count()
}
