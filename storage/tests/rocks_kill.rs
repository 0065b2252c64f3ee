//! A process that writes to the index is killed (SIGKILL) in the middle, again and again; what it left is an exact
//! prefix of its batches, at least up to the last flush that returned.
//!
//! The test runs its own binary as the writer. A kill spares what the kernel already took, so this shows what RocksDB
//! leaves between two flushes, not what a power cut does to the files below it.
#![cfg(feature = "real")]
#![expect(
    clippy::disallowed_methods,
    reason = "a test of the real thing, outside of any world"
)]

use std::{
    collections::BTreeMap,
    env,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use bytes::Bytes;
use storage::{
    index::{Batch, Index},
    memory,
    rocks::{Options, RocksIndex},
};

/// Where the writer finds its folder; its presence makes this binary the writer.
const FOLDER: &str = "HOLDFAST_TEST_INDEX";
/// The row that names the last batch.
const WRITTEN: &str = "~written";

#[test]
fn a_killed_writer_leaves_a_prefix_of_its_batches() {
    if let Ok(folder) = env::var(FOLDER) {
        write_until_killed(Path::new(&folder));
    }
    let folder = tempfile::tempdir().unwrap();
    let mut kept = 0;
    let mut lost = 0;
    for kill in 0..8_u64 {
        let mut writer = Command::new(env::current_exe().unwrap())
            .args([
                "a_killed_writer_leaves_a_prefix_of_its_batches",
                "--exact",
                "--nocapture",
            ])
            .env(FOLDER, folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(writer.stdout.take().unwrap()).lines();
        // After a different number of flushes each time, and at no particular moment after the last of them.
        let mut flushed = kept;
        let mut written = kept;
        let mut flushes = 0;
        while flushes < 1 + kill % 3 {
            let line = lines.next().expect("the writer writes until it is killed").unwrap();
            match line.split_once(' ') {
                Some(("flushed", number)) => {
                    flushed = number.parse().unwrap();
                    flushes += 1;
                }
                Some(("written", number)) => written = number.parse().unwrap(),
                _ => {}
            }
        }
        std::thread::sleep(Duration::from_millis(7 * kill));
        writer.kill().unwrap();
        writer.wait().unwrap();
        for line in lines.map_while(Result::ok) {
            match line.split_once(' ') {
                Some(("flushed", number)) => flushed = number.parse().unwrap(),
                Some(("written", number)) => written = number.parse().unwrap(),
                _ => {}
            }
        }

        let index = open(folder.path());
        let found: BTreeMap<Bytes, Bytes> = index.scan(b"", b"\xff", usize::MAX).unwrap().into_iter().collect();
        kept = written_of(&*index);
        assert!(
            kept >= flushed,
            "kill {kill}: {kept} batches are left, but {flushed} were flushed"
        );
        let mut model = BTreeMap::new();
        for number in 1..=kept {
            memory::apply(&mut model, &batch(number));
        }
        assert!(
            found == model,
            "kill {kill}: the rows are not those of the first {kept} batches"
        );
        lost += written.saturating_sub(kept);
    }
    assert!(lost > 0, "no kill cost a batch: the test shows nothing");
}

/// Writes batch after batch, while another thread flushes, and tells both.
fn write_until_killed(folder: &Path) -> ! {
    let index = open(folder);
    let written = Arc::new(AtomicU64::new(written_of(&*index)));
    {
        let (index, written) = (index.clone(), written.clone());
        std::thread::spawn(move || {
            loop {
                let before = written.load(Ordering::SeqCst);
                index.flush().unwrap();
                tell("flushed", before);
                std::thread::sleep(Duration::from_millis(20));
            }
        });
    }
    loop {
        let number = written.load(Ordering::SeqCst) + 1;
        index.write(batch(number)).unwrap();
        written.store(number, Ordering::SeqCst);
        if number.is_multiple_of(100) {
            tell("written", number);
        }
    }
}

/// In one write of the pipe, so that the lines of two threads do not mix.
fn tell(what: &str, number: u64) {
    let line = format!("{what} {number}\n");
    std::io::stdout().write_all(line.as_bytes()).unwrap();
}

/// The batch of a number: rows put, replaced, removed singly and by the range.
fn batch(number: u64) -> Batch {
    let row = |number: u64| format!("{:03}", number * 7919 % 997);
    let mut batch = Batch::default();
    batch.put(row(number), vec![u8::try_from(number % 251).unwrap(); 300]);
    batch.put(row(number + 500), format!("{number}"));
    if number.is_multiple_of(3) {
        batch.delete(row(number / 3));
    }
    if number.is_multiple_of(50) {
        let from = number % 900;
        batch.delete_range(format!("{from:03}"), format!("{:03}", from + 40));
    }
    batch.put(WRITTEN, format!("{number}"));
    batch
}

fn written_of(index: &dyn Index) -> u64 {
    let row = index.get(WRITTEN.as_bytes()).unwrap();
    row.map_or(0, |row| std::str::from_utf8(&row).unwrap().parse().unwrap())
}

/// With buffers so small that RocksDB also flushes and compacts by itself, several times in each life.
fn open(folder: &Path) -> Arc<RocksIndex> {
    let options = Options {
        write_buffer_bytes: 256 << 10,
        ..Options::default()
    };
    Arc::new(RocksIndex::open(folder, &options).unwrap())
}
