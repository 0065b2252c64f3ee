//! However the log is cut into batches, the state is the same: a node that restarts applies many entries at once.

use openraft::entry::RaftEntry;
use openraft::storage::{IOFlushed, RaftLogStorage};
use proptest::prelude::*;

use super::*;
use crate::raft::log::GroupLog;
use crate::raft::machine::Machine;
use crate::raft::types::{Entry, Envelope, Payload, log_id};
use crate::stream::Publish;

fn commands() -> impl Strategy<Value = Vec<Command>> {
    let stream = (0..3_u8).prop_map(|number| format!("s{number}"));
    let producer = prop_oneof![Just(None), ((0..2_u8), (0..2_u64), (0..4_u64)).prop_map(Some)];
    let place = (0..25_u64, 0..3_u64);
    let one =
        (0..16_u8, stream, producer, 1..20_usize, place).prop_map(
            |(kind, stream, producer, len, (blob, at))| match kind {
                0..3 => create(&stream, &vec![kind; len]),
                3 => delete(&stream),
                // A blob is the index of the entry that begins it: now and then these meet.
                10..12 => snapshot(
                    &stream,
                    SnapshotOp::Begin {
                        offset: Offset(at),
                        if_match: None,
                    },
                    &[],
                ),
                12..14 => snapshot(&stream, SnapshotOp::Part { blob, at }, &vec![kind; len]),
                14 => {
                    let publish = Publish {
                        blob,
                        offset: Offset(at),
                        len: 0,
                        content_type: "a/b".into(),
                        digest: [0; 32],
                        trim: len > 10,
                    };
                    snapshot(&stream, SnapshotOp::Publish(publish), &[])
                }
                15 => snapshot(&stream, SnapshotOp::Drop { blob, len: 0 }, &[]),
                _ => {
                    let names = ["p", "q"];
                    let producer = producer.map(|(id, epoch, seq)| (names[usize::from(id)], epoch, seq));
                    append_by(&stream, &vec![kind; len], producer)
                }
            },
        );
    prop::collection::vec(one, 1..60)
}

/// The state after the commands, cut into batches of these sizes in turn: the digest, and all rows.
async fn state(commands: &[Command], cuts: &[usize]) -> (u64, Vec<(Bytes, Bytes)>) {
    let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
    let opened = storage::journal::Journal::open(disk, "journal", Default::default(), &mut |_| {})
        .await
        .unwrap();
    let journal = opened.journal.clone();
    let commit_loop = opened.commit_loop;
    let running = rt::dedicated("journal", async move { commit_loop.run().await.unwrap() });
    let index = Arc::new(MemoryIndex::new());
    let mut log = GroupLog::new(0, opened.journal, 1 << 20, Default::default());
    let tail = Arc::new(TailCache::new(1 << 20));
    let machine = Machine::open(
        log.clone(),
        index.clone(),
        tail,
        Arc::new(Heard::default()),
        Arc::default(),
        None,
        machine::Bounds {
            flush_entries: 1000,
            hold_bytes: u64::MAX,
            rows: 16,
            hot_max: u64::MAX,
        },
    )
    .unwrap();
    let entries: Vec<Entry> = (0_u64..)
        .zip(commands)
        .map(|(index, command)| {
            let (meta, body) = command.encode();
            Entry::new(log_id(1, index), Payload::Normal(Envelope { meta, body }))
        })
        .collect();
    log.append(entries.clone(), IOFlushed::noop()).await.unwrap();
    let (mut rest, mut cuts) = (&entries[..], cuts.iter().cycle());
    while !rest.is_empty() {
        let (batch, left) = rest.split_at((*cuts.next().unwrap()).min(rest.len()));
        machine.apply(batch).unwrap();
        rest = left;
    }
    let digest = machine.state().position.digest;
    journal.close();
    running.await.unwrap();
    (digest, index.scan(&[], &[0xff; 64], usize::MAX).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn batches_of_any_size_give_the_same_state(commands in commands(), cuts in prop::collection::vec(1..20_usize, 1..5)) {
        let (one_by_one, batched) = run(async { (state(&commands, &[1]).await, state(&commands, &cuts).await) });
        prop_assert_eq!(one_by_one, batched);
    }
}
