//! One node.

use super::*;

pub(super) async fn alone() -> (Node, Groups) {
    alone_as(|_| {}).await
}

/// The same, set up otherwise.
pub(super) async fn alone_as(set_up: impl FnOnce(&mut Node)) -> (Node, Groups) {
    let mut node = Node::new(1, &Arc::default());
    set_up(&mut node);
    let groups = node.start().await;
    found(&groups, &[1]).await;
    until("the node leads both groups", || {
        (0..2).all(|group| groups.leader(group) == Lead::Here)
    })
    .await;
    (node, groups)
}

/// Makes everything applied durable, lets openraft purge, frees segments.
pub(super) async fn tidy(groups: &Groups) {
    let janitor = janitor::Janitor {
        groups: groups.all().to_vec(),
        index: groups.view(0).machine.index.clone(),
        journal: groups.journal().clone(),
        every: Duration::from_secs(3600),
        work: Arc::default(),
        fate: Arc::default(),
    };
    janitor.round().await.unwrap();
}

/// Again and again: openraft purges when it comes to it, and may have looked before the last flush.
pub(super) async fn tidy_until(groups: &Groups, what: &str, done: impl Fn() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < Duration::from_secs(20), "waited in vain: {what}");
        tidy(groups).await;
        rt::sleep(Duration::from_millis(5)).await;
    }
}

#[test]
fn what_is_written_is_read_and_survives_a_restart() {
    run(async {
        let (node, groups) = alone().await;
        assert!(is_stored(&groups.propose(0, create("a", b"one,"), soon()).await));
        assert!(is_stored(&groups.propose(0, append("a", b"two"), soon()).await));
        let index = groups.read_index(0, soon()).await.unwrap();
        groups.wait_applied(0, index).await.unwrap();
        assert_eq!(content(&groups, 0, "a").await.unwrap(), b"one,two");
        assert_eq!(content(&groups, 0, "b").await, None);
        let before = groups.status();

        for crash in [false, true] {
            node.stop(groups.clone(), crash).await;
            let groups = node.start().await;
            until("it leads again", || groups.leader(0) == Lead::Here).await;
            let index = groups.read_index(0, soon()).await.unwrap();
            groups.wait_applied(0, index).await.unwrap();
            assert_eq!(content(&groups, 0, "a").await.unwrap(), b"one,two");
            assert!(groups.status()[0].applied > before[0].applied);
            groups.shutdown().await;
        }
    });
}

#[test]
fn a_single_node_leads_at_once_after_a_restart() {
    run(async {
        let (mut node, groups) = alone().await;
        node.stop(groups, false).await;
        node.settings.raft.election_min = Duration::from_secs(20);
        node.settings.raft.election_max = Duration::from_secs(30);
        let began = Instant::now();
        let groups = node.start().await;
        until("it leads again", || groups.leader(0) == Lead::Here).await;
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
        groups.shutdown().await;
    });
}

#[test]
fn state_after_a_replay_equals_the_state_before() {
    run(async {
        let (node, groups) = alone().await;
        for number in 0..50_u64 {
            let stream = format!("s{}", number % 7);
            drop(groups.propose(0, create(&stream, b"x"), soon()).await);
            let producer = Some(("p", 0, number / 7));
            drop(
                groups
                    .propose(0, append_by(&stream, &[number as u8; 100], producer), soon())
                    .await,
            );
            if number % 13 == 0 {
                drop(groups.propose(0, delete(&stream), soon()).await);
            }
        }
        let (digest, applied) = (groups.status()[0].digest, groups.status()[0].applied);
        let mut rows = Vec::new();
        for stream in 0..7 {
            rows.push(content(&groups, 0, &format!("s{stream}")).await);
        }
        node.stop(groups, true).await;

        node.wires.cut.lock().unwrap().push(1);
        let groups = node.start().await;
        let machine = groups.view(0).machine;
        // Whatever was known to be committed is applied before the start returns; the blank entry of the new leader
        // brings the rest.
        until("all is applied again", || groups.status()[0].applied >= applied).await;
        for (stream, row) in rows.iter().enumerate() {
            assert_eq!(&content(&groups, 0, &format!("s{stream}")).await, row);
        }
        assert_ne!(digest, 0);
        assert!(machine.state().position.last_now_ms >= 1000);
        groups.shutdown().await;
    });
}

#[test]
fn a_producers_retry_after_a_restart_stores_nothing() {
    run(async {
        let (node, groups) = alone().await;
        drop(groups.propose(0, create("a", b""), soon()).await);
        assert!(is_stored(
            &groups
                .propose(0, append_by("a", b"once", Some(("p", 1, 0))), soon())
                .await
        ));
        node.stop(groups, true).await;
        let groups = node.start().await;
        until("it leads again", || groups.leader(0) == Lead::Here).await;
        let again = groups
            .propose(0, append_by("a", b"once", Some(("p", 1, 0))), soon())
            .await;
        assert!(matches!(again, Ok(Outcome::Duplicate { .. })), "{again:?}");
        assert_eq!(content(&groups, 0, "a").await.unwrap(), b"once");
        groups.shutdown().await;
    });
}

#[test]
fn the_log_is_purged_below_what_is_flushed_and_never_above() {
    run(async {
        let (node, groups) = alone().await;
        drop(groups.propose(0, create("a", b""), soon()).await);
        for _ in 0..40 {
            assert!(is_stored(&groups.propose(0, append("a", b"0123456789"), soon()).await));
        }
        assert_eq!(groups.status()[0].purged, None);
        tidy(&groups).await;
        let flushed = groups.status()[0].flushed;
        assert_eq!(flushed, groups.status()[0].applied);
        until("the log is purged", || groups.status()[0].purged.is_some()).await;
        let purged = groups.status()[0].purged.unwrap();
        assert_eq!(purged.index + 10, flushed.unwrap().index, "keep_entries are kept");

        // What the log itself is asked to do beyond that, it refuses.
        use openraft::storage::RaftLogStorage;
        assert!(is_stored(&groups.propose(0, append("a", b"more"), soon()).await));
        let applied = groups.status()[0].applied.unwrap();
        let mut log = groups.view(0).machine.log.clone();
        assert!(log.purge(types::log_id(applied.term, applied.index)).await.is_err());

        node.stop(groups, true).await;
        let groups = node.start().await;
        until("it leads again", || groups.leader(0) == Lead::Here).await;
        let index = groups.read_index(0, soon()).await.unwrap();
        groups.wait_applied(0, index).await.unwrap();
        assert_eq!(
            content(&groups, 0, "a").await.unwrap(),
            [b"0123456789".repeat(40), b"more".to_vec()].concat()
        );
        groups.shutdown().await;
    });
}

#[test]
fn segments_of_deleted_streams_are_freed_and_others_stay() {
    run(async {
        let (node, groups) = alone().await;
        drop(groups.propose(0, create("kept", b"kept"), soon()).await);
        drop(groups.propose(0, create("gone", b""), soon()).await);
        for _ in 0..60 {
            assert!(is_stored(
                &groups.propose(0, append("gone", &[7; 8 << 10]), soon()).await
            ));
        }
        let all = groups.journal().segments().len();
        assert!(all > 5, "{all}");
        tidy(&groups).await;
        assert_eq!(groups.journal().segments().len(), all, "everything is live");
        assert_eq!(groups.propose(0, delete("gone"), soon()).await, Ok(Outcome::Deleted));
        for _ in 0..20 {
            assert!(is_stored(&groups.propose(0, append("kept", b"."), soon()).await));
        }
        tidy(&groups).await;
        until("the log is purged", || {
            groups.status()[0].purged.is_some_and(|purged| purged.index > 60)
        })
        .await;
        // The other group's few entries pin the first segments of the journal.
        for _ in 0..20 {
            drop(groups.propose(1, create("other", b""), soon()).await);
        }
        tidy(&groups).await;
        tidy_until(&groups, "the other log is purged", || {
            groups.status()[1].purged.is_some()
        })
        .await;
        tidy(&groups).await;
        tidy(&groups).await;
        let left = groups.journal().segments();
        assert!(left.len() < all - 3, "{left:?} of {all}");

        node.stop(groups, true).await;
        let groups = node.start().await;
        until("it leads again", || groups.leader(0) == Lead::Here).await;
        let index = groups.read_index(0, soon()).await.unwrap();
        groups.wait_applied(0, index).await.unwrap();
        let expected = [b"kept".to_vec(), b".".repeat(20)].concat();
        assert_eq!(content(&groups, 0, "kept").await.unwrap(), expected);
        assert_eq!(content(&groups, 0, "gone").await, None);
        groups.shutdown().await;
    });
}

#[test]
fn segments_of_trimmed_bytes_are_freed_and_what_was_kept_is_read() {
    run(async {
        let (node, groups) = alone().await;
        drop(groups.propose(0, create("log", b""), soon()).await);
        for number in 0..60_u8 {
            let body = [number; 8 << 10];
            assert!(is_stored(&groups.propose(0, append("log", &body), soon()).await));
        }
        let all = groups.journal().segments().len();
        let row = groups.view(0).row(&name("log")).unwrap().unwrap();
        let below = Offset(50 * (8 << 10) + 5);
        let trimmed = groups.propose(0, trim("log", row.incarnation, below), soon()).await;
        assert!(matches!(trimmed, Ok(Outcome::Trimmed { .. })), "{trimmed:?}");
        for number in 0..20 {
            drop(groups.propose(number % 2, create("other", b""), soon()).await);
        }
        tidy(&groups).await;
        until("the log is purged", || {
            groups.status()[0].purged.is_some_and(|purged| purged.index > 50)
        })
        .await;
        tidy(&groups).await;
        until("its segments are freed", || groups.journal().segments().len() < all - 3).await;

        node.stop(groups, true).await;
        let groups = node.start().await;
        until("it leads again", || groups.leader(0) == Lead::Here).await;
        let index = groups.read_index(0, soon()).await.unwrap();
        groups.wait_applied(0, index).await.unwrap();
        let bytes = content(&groups, 0, "log").await.unwrap();
        let expected: Vec<u8> = (50..60_u8).flat_map(|number| [number; 8 << 10]).skip(5).collect();
        assert!(bytes == expected, "{} bytes instead of {}", bytes.len(), expected.len());
        groups.shutdown().await;
    });
}

#[test]
fn large_bodies_are_read_back_in_verified_pieces() {
    run(async {
        let node = Node::new(1, &Arc::default());
        let node = Node {
            settings: Settings {
                journal: config::Journal {
                    segment: 4 << 20,
                    ..config::Journal::default()
                },
                cache: config::Cache {
                    tail: 0,
                    ..config::Cache::default()
                },
                ..node.settings.clone()
            },
            ..node
        };
        let groups = node.start().await;
        found(&groups, &[1]).await;
        until("it leads", || groups.leader(0) == Lead::Here).await;
        let body: Vec<u8> = (0..700_000_u32).map(|number| (number % 251) as u8).collect();
        drop(groups.propose(0, create("big", b"head"), soon()).await);
        assert!(is_stored(&groups.propose(0, append("big", &body), soon()).await));
        assert_eq!(
            content(&groups, 0, "big").await.unwrap(),
            [b"head".to_vec(), body].concat()
        );
        let view = groups.view(0);
        let row = view.row(&name("big")).unwrap().unwrap();
        let part = view
            .read(row.incarnation, Offset(300_000), Offset(300_010))
            .await
            .unwrap()
            .concat();
        let expected: Vec<u8> = (299_996..300_006_u32).map(|number| (number % 251) as u8).collect();
        assert_eq!(part, expected);
        groups.shutdown().await;
    });
}

#[test]
fn a_node_that_does_not_lead_stores_nothing_and_says_so() {
    run(async {
        let node = Node::new(1, &Arc::default());
        let groups = node.start().await;
        assert_eq!(
            groups.propose(0, create("a", b""), soon()).await,
            Err(ProposeError::NotLeader)
        );
        assert!(groups.read_index(0, soon()).await.is_err());
        assert_eq!(groups.leader(0), Lead::Nobody);
        groups.shutdown().await;
    });
}

#[test]
fn an_index_of_another_layout_is_refused() {
    run(async {
        let node = Node::new(1, &Arc::default());
        let mut batch = Batch::default();
        batch.put(crate::keys::Key::Version.encode(), vec![99]);
        node.index.write(batch).unwrap();
        assert!(matches!(node.try_start().await, Err(StartError::Layout { found: 99 })));
    });
}

/// Overwrites one byte of the first place in the journal that holds `pattern`.
async fn damage(node: &Node, pattern: &[u8]) {
    for file in node.disk.list("journal").await.unwrap() {
        let file = node.disk.open(&format!("journal/{file}")).await.unwrap();
        let bytes = file.read_at(0, 16 << 20).await.unwrap();
        if let Some(at) = bytes.windows(pattern.len()).position(|window| window == pattern) {
            let flipped = Bytes::from(vec![bytes[at] ^ 1]);
            return file.write_at(at as u64, vec![flipped]).await.unwrap();
        }
    }
    panic!("the pattern is not on the disk");
}

#[test]
fn a_flipped_bit_is_never_served() {
    run(async {
        let node = Node::new(1, &Arc::default());
        let settings = Settings {
            cache: config::Cache {
                tail: 0,
                ..config::Cache::default()
            },
            ..node.settings.clone()
        };
        let node = Node { settings, ..node };
        let groups = node.start().await;
        found(&groups, &[1]).await;
        until("it leads", || groups.leader(0) == Lead::Here).await;
        drop(groups.propose(0, create("a", b"whole,"), soon()).await);
        drop(groups.propose(0, append("a", b"the damaged part"), soon()).await);
        damage(&node, b"the damaged part").await;
        let view = groups.view(0);
        let row = view.row(&name("a")).unwrap().unwrap();
        let whole = view.read(row.incarnation, Offset(0), Offset(6)).await.unwrap().concat();
        assert_eq!(whole, b"whole,");
        let damaged = view.read(row.incarnation, Offset(6), Offset(8)).await;
        assert!(
            matches!(damaged, Err(ReadError::Damaged { segment: 1, .. })),
            "{damaged:?}"
        );
        groups.shutdown().await;
    });
}
