//! The journal on the files of this machine, with its commit loop on a thread of its own.

#![expect(
    clippy::disallowed_methods,
    reason = "a test of the real thing, outside of any world"
)]

use std::{path::Path, sync::Arc, thread};

use futures_util::{FutureExt, future::join_all};
use storage::{
    journal::{
        Journal, Kind, Options, Record, Recovered,
        inspect::{Detail, inspect},
    },
    local::LocalDisk,
};

fn options() -> Options {
    Options {
        identity: [3; 16],
        segment_bytes: 1 << 20,
        ..Options::default()
    }
}

fn open(root: &Path, visit: &mut (dyn FnMut(Recovered) + Send)) -> (Journal, thread::JoinHandle<()>) {
    let disk = Arc::new(LocalDisk::open(root).unwrap());
    let opened = Journal::open(disk, "journal", options(), visit)
        .now_or_never()
        .expect("files block")
        .unwrap();
    let run = opened.commit_loop.run();
    (opened.journal, thread::spawn(move || block_on(run).unwrap()))
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(future)
}

#[test]
fn many_writers_on_real_files_find_everything_again() {
    let root = tempfile::tempdir().unwrap();
    let (journal, commit) = open(root.path(), &mut |_| ());
    let writer = async |group: u32| {
        for index in 0..200 {
            let payload = vec![format!("{group} {index} ").into(), vec![b'x'; 1000].into()];
            journal.ready().await;
            let record = Record {
                kind: Kind::Entry,
                group,
                index,
                term: 1,
                payload,
            };
            let placed = journal.append_durable(vec![record]).await.unwrap();
            let read = journal.read_record(placed[0]).await.unwrap();
            assert!(read.starts_with(format!("{group} {index} x").as_bytes()));
        }
    };
    block_on(join_all((0..16).map(writer)));
    let ids: Vec<u64> = journal
        .segments()
        .iter()
        .filter(|info| info.sealed)
        .map(|info| info.id)
        .collect();
    assert!(ids.len() > 2);
    block_on(journal.remove_segments(&ids[1..2])).unwrap();
    journal.close();
    commit.join().unwrap();
    drop(journal);

    let looking = Arc::new(LocalDisk::open_to_look(root.path()).unwrap());
    let report = inspect(looking, "journal", Detail::Segments)
        .now_or_never()
        .unwrap()
        .unwrap();
    assert_eq!((report.damage, report.freed), (None, vec![(ids[1], ids[1])]));

    let mut next = [0; 16];
    let mut gaps = 0;
    let mut visit = |found: Recovered| {
        if found.kind == Kind::Entry {
            gaps += found.index - next[found.group as usize];
            next[found.group as usize] = found.index + 1;
        }
    };
    let (journal, commit) = open(root.path(), &mut visit);
    assert_eq!(next, [200; 16]);
    assert!(
        (900..1100).contains(&gaps),
        "one segment of a mebibyte is missing, and it held {gaps} records"
    );
    journal.close();
    commit.join().unwrap();
}
