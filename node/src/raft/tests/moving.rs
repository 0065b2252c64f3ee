//! Bytes move to the cold store: what is read stays the same, the journal gets free, and the books are right.

use storage::memory::MemoryCold;

use super::single::{alone_as, tidy, tidy_until};
use super::*;
use crate::cold::{Filling, Options, Packed, Put, key_of, next_run};
use crate::keys::ObjectId;
use crate::raft::MoveBounds;
use crate::stream::{Elsewhere, Moved, PIECE_BYTES, Refusal};

const CLUSTER: u128 = 5;

const EVERYTHING: MoveBounds = MoveBounds {
    age_ms: 0,
    stream_bytes: 0,
    group_bytes: 0,
};

fn store() -> Arc<Store> {
    let options = Options {
        block_bytes: 4096,
        cache_bytes: 16 << 10,
        read_ahead: 1,
        patience: Duration::from_secs(1),
        hedge_after: Duration::from_secs(1),
    };
    let store = Store::new(Arc::new(MemoryCold::new()), options);
    store.of_cluster(CLUSTER);
    Arc::new(store)
}

/// Moves everything of group 0 into one object, told in commands of two runs.
async fn move_all(groups: &Groups, store: &Store, object: ObjectId) -> Vec<Result<Outcome, ProposeError>> {
    let view = groups.view(0);
    let mut filling = Filling::default();
    for incarnation in view.due_to_move(u64::MAX, EVERYTHING, 100) {
        let chunks = view.hot_chunks(incarnation, u64::MAX).unwrap();
        let mut rest = &chunks[..];
        while let Some((run, left)) = next_run(rest) {
            filling.add(incarnation, run, view.run_bytes(run).await.unwrap());
            rest = left;
        }
    }
    let (packed, told) = filling.packed(CLUSTER, 0, object, 1);
    let put = store.put(&key_of(CLUSTER, 0, object), &packed, soon()).await;
    assert_eq!(put, Ok(Put::Stored));
    let mut outcomes = Vec::new();
    for runs in told.chunks(2) {
        let moved = Moved {
            object,
            bytes: filling.bytes(),
            runs: runs.to_vec(),
        };
        let command = Command {
            stream: Moved::no_stream(),
            ..command("any", Op::Moved(moved), b"")
        };
        outcomes.push(groups.propose(0, command, soon()).await);
    }
    outcomes
}

fn term(groups: &Groups) -> u64 {
    groups.leading_term(0).expect("it leads")
}

fn ends(groups: &Groups, stream: &str) -> Vec<Offset> {
    let view = groups.view(0);
    let row = view.row(&name(stream)).unwrap().expect("it is there");
    let (mut all, mut at) = (Vec::new(), row.earliest);
    while at < row.tail {
        let (ends, known) = view.append_ends(row.incarnation, at, row.tail).unwrap();
        all.extend(ends);
        at = known;
    }
    all
}

#[test]
fn bytes_that_moved_are_read_as_before_and_the_journal_gets_free() {
    run(async {
        let store = store();
        let (node, groups) = alone_as(|node| node.cold = Some(store.clone())).await;
        let mut written: Vec<Vec<u8>> = vec![Vec::new(); 3];
        for number in 0..120_u32 {
            let stream = number as usize % 3;
            let body = vec![number as u8; 1000 + 40 * number as usize];
            let command = if written[stream].is_empty() {
                create(&format!("s{stream}"), &body)
            } else {
                append(&format!("s{stream}"), &body)
            };
            assert!(is_stored(&groups.propose(0, command, soon()).await));
            written[stream].extend(&body);
        }
        let ends_before: Vec<_> = (0..3).map(|stream| ends(&groups, &format!("s{stream}"))).collect();
        tidy(&groups).await;
        let segments = groups.journal().segments().len();
        assert!(segments > 4, "{segments}");

        let object = ObjectId {
            term: term(&groups),
            sequence: 0,
        };
        for outcome in move_all(&groups, &store, object).await {
            assert_eq!(outcome, Ok(Outcome::Moved { counts: true }));
        }
        let all: u64 = written.iter().map(|bytes| bytes.len() as u64).sum();
        let books = groups.view(0).hot_and_cold();
        assert_eq!(
            (books.hot_bytes, books.hot_streams, books.cold_bytes, books.objects),
            (0, 0, all, 1)
        );
        // openraft purges when it comes to it, and keeps the last ten entries: some 50 KiB.
        tidy_until(&groups, "what moved takes no room", || {
            groups.journal().segments().len() <= 3
        })
        .await;
        assert!(is_stored(&groups.propose(0, append("s0", b"new"), soon()).await));
        written[0].extend(b"new");
        assert_eq!(groups.view(0).hot_and_cold().hot_streams, 1);

        // Memory has forgotten, and the index what it had not flushed.
        for crash in [false, true] {
            node.stop(groups.clone(), crash).await;
            let groups = node.start().await;
            until("it leads again", || groups.leader(0) == Lead::Here).await;
            let index = groups.read_index(0, soon()).await.unwrap();
            groups.wait_applied(0, index).await.unwrap();
            for (number, bytes) in written.iter().enumerate() {
                let stream = format!("s{number}");
                assert!(content(&groups, 0, &stream).await.as_ref() == Some(bytes), "{stream}");
                let appends = ends_before[number].len();
                assert_eq!(ends(&groups, &stream)[..appends], ends_before[number], "{stream}");
            }
            assert_eq!(groups.view(0).hot_and_cold().hot_streams, 1);
            groups.shutdown().await;
        }
    });
}

#[test]
fn an_object_is_needed_as_long_as_anything_refers_to_it() {
    run(async {
        let store = store();
        let (_, groups) = alone_as(|node| node.cold = Some(store.clone())).await;
        for stream in ["a", "b"] {
            assert!(is_stored(
                &groups.propose(0, create(stream, b"1234567890"), soon()).await
            ));
        }
        let object = ObjectId {
            term: term(&groups),
            sequence: 0,
        };
        move_all(&groups, &store, object).await;
        let of = |groups: &Groups| groups.view(0).objects().get(&object).map(|row| (row.live, row.len));
        assert_eq!(of(&groups), Some((20, 20)));
        assert_eq!(groups.propose(0, delete("a"), soon()).await, Ok(Outcome::Deleted));
        tidy(&groups).await;
        assert_eq!(of(&groups), Some((10, 20)));
        assert_eq!(groups.view(0).hot_and_cold().dead_bytes, 10);
        assert_eq!(groups.propose(0, delete("b"), soon()).await, Ok(Outcome::Deleted));
        tidy(&groups).await;
        assert_eq!(of(&groups), None);
        groups.shutdown().await;
    });
}

#[test]
fn an_object_of_another_term_does_not_count() {
    run(async {
        let store = store();
        let (_, groups) = alone_as(|node| node.cold = Some(store.clone())).await;
        assert!(is_stored(&groups.propose(0, create("a", b"bytes"), soon()).await));
        for wrong in [term(&groups) + 1, term(&groups) - 1] {
            let object = ObjectId {
                term: wrong,
                sequence: 0,
            };
            for outcome in move_all(&groups, &store, object).await {
                assert_eq!(outcome, Ok(Outcome::Moved { counts: false }));
            }
        }
        let books = groups.view(0).hot_and_cold();
        assert_eq!((books.hot_bytes, books.cold_bytes, books.objects), (5, 0, 0));
        groups.shutdown().await;
    });
}

#[test]
fn what_came_while_nothing_moved_is_found_once_something_does() {
    run(async {
        let (mut node, groups) = alone_as(|_| {}).await;
        assert!(is_stored(&groups.propose(0, create("a", b"bytes"), soon()).await));
        assert_eq!(groups.view(0).hot_and_cold().hot_streams, 0, "nobody looks");
        node.stop(groups, false).await;
        node.cold = Some(store());
        let groups = node.start().await;
        assert_eq!(groups.view(0).hot_and_cold().hot_streams, 1);
        groups.shutdown().await;
    });
}

#[test]
fn a_node_whose_old_bytes_have_moved_does_not_start_without_the_cold_store() {
    run(async {
        let store = store();
        let (mut node, groups) = alone_as(|node| node.cold = Some(store.clone())).await;
        assert!(is_stored(&groups.propose(0, create("a", b"bytes"), soon()).await));
        let object = ObjectId {
            term: term(&groups),
            sequence: 0,
        };
        move_all(&groups, &store, object).await;
        node.stop(groups, false).await;
        node.cold = None;
        let refused = node.try_start().await.err().expect("it does not start").to_string();
        assert!(refused.contains("cold.backend"), "{refused}");
    });
}

#[test]
fn when_nothing_moves_and_the_journal_is_full_appends_are_refused_until_something_does() {
    run(async {
        let store = store();
        let set_up = |node: &mut Node| {
            node.cold = Some(store.clone());
            node.settings.hot_max = 2500;
        };
        let (_, groups) = alone_as(set_up).await;
        let body = [7; 1000];
        for stored in [create("a", &body), append("a", &body), append("a", &body)] {
            assert!(is_stored(&groups.propose(0, stored, soon()).await));
        }
        let refused = groups.propose(0, append("a", &body), soon()).await;
        assert_eq!(refused, Err(ProposeError::ColdBehind));
        // What stores nothing goes on.
        let other = groups.propose(0, create("b", b""), soon()).await;
        assert!(is_stored(&other), "{other:?}");
        let object = ObjectId {
            term: term(&groups),
            sequence: 0,
        };
        move_all(&groups, &store, object).await;
        assert!(is_stored(&groups.propose(0, append("a", &body), soon()).await));
        groups.shutdown().await;
    });
}

/// A body of several pieces, put ahead of its command.
async fn sent_ahead(store: &Store, object: ObjectId, incarnation: u64, body: &[u8]) -> Arc<Elsewhere> {
    let packed = Packed {
        head: Bytes::from_static(b"head"),
        data: vec![Bytes::copy_from_slice(body)],
    };
    let put = store.put(&key_of(CLUSTER, 0, object), &packed, soon()).await;
    assert_eq!(put, Ok(Put::Stored));
    Arc::new(Elsewhere {
        object,
        incarnation,
        at: 4,
        len: body.len() as u64,
        crc32c: body.chunks(PIECE_BYTES).map(crc32c::crc32c).collect(),
    })
}

#[test]
fn bytes_that_went_ahead_of_their_command_are_read_like_others_and_take_no_room_in_the_journal() {
    run(async {
        let store = store();
        let (node, groups) = alone_as(|node| node.cold = Some(store.clone())).await;
        assert!(is_stored(&groups.propose(0, create("a", b"before"), soon()).await));
        let incarnation = groups.view(0).row(&name("a")).unwrap().unwrap().incarnation;
        let large: Vec<u8> = (0..600_000_u32).map(|at| (at % 251) as u8).collect();
        let object = ObjectId {
            term: term(&groups),
            sequence: 0,
        };
        let command = Command {
            elsewhere: Some(sent_ahead(&store, object, incarnation, &large).await),
            ..append("a", b"")
        };
        let appended = groups.propose(0, command, soon()).await;
        assert!(
            matches!(&appended, Ok(Outcome::Appended { standing, .. }) if standing.tail == Offset(600_006)),
            "{appended:?}"
        );
        assert!(is_stored(&groups.propose(0, append("a", b"behind"), soon()).await));
        let books = groups.view(0).hot_and_cold();
        assert_eq!((books.hot_bytes, books.cold_bytes, books.objects), (12, 600_000, 1));
        assert_eq!(groups.view(0).wrong_books().unwrap(), None);
        let all = [b"before", &large[..], b"behind"].concat();
        assert!(content(&groups, 0, "a").await == Some(all.clone()));
        assert_eq!(ends(&groups, "a"), [6, 600_006, 600_012].map(Offset));

        // What lies around it moves, and it stays where it is.
        let other = ObjectId { sequence: 1, ..object };
        for outcome in move_all(&groups, &store, other).await {
            assert_eq!(outcome, Ok(Outcome::Moved { counts: true }));
        }
        let rest = ObjectId { sequence: 2, ..object };
        move_all(&groups, &store, rest).await;
        assert_eq!(groups.view(0).hot_and_cold().hot_bytes, 0);
        assert_eq!(groups.view(0).wrong_books().unwrap(), None);

        node.stop(groups, true).await;
        let groups = node.start().await;
        until("it leads again", || groups.leader(0) == Lead::Here).await;
        let index = groups.read_index(0, soon()).await.unwrap();
        groups.wait_applied(0, index).await.unwrap();
        assert!(content(&groups, 0, "a").await == Some(all));
        assert_eq!(groups.propose(0, delete("a"), soon()).await, Ok(Outcome::Deleted));
        tidy(&groups).await;
        assert_eq!(groups.view(0).hot_and_cold().objects, 0);
        groups.shutdown().await;
    });
}

#[test]
fn bytes_that_went_ahead_count_in_their_term_and_for_their_stream_only() {
    run(async {
        let store = store();
        let (_, groups) = alone_as(|node| node.cold = Some(store.clone())).await;
        assert!(is_stored(&groups.propose(0, create("a", b""), soon()).await));
        let incarnation = groups.view(0).row(&name("a")).unwrap().unwrap().incarnation;
        let now = term(&groups);
        for (sequence, term, incarnation) in [
            (0, now + 1, incarnation),
            (1, now - 1, incarnation),
            (2, now, incarnation + 1),
        ] {
            let object = ObjectId { term, sequence };
            let command = Command {
                elsewhere: Some(sent_ahead(&store, object, incarnation, b"large").await),
                ..append("a", b"")
            };
            let outcome = groups.propose(0, command, soon()).await;
            assert_eq!(outcome, Ok(Outcome::Moved { counts: false }), "{object:?}");
        }
        // What is refused is refused, wherever its bytes are.
        let object = ObjectId { term: now, sequence: 3 };
        let command = Command {
            elsewhere: Some(sent_ahead(&store, object, incarnation, b"large").await),
            ..append("nobody", b"")
        };
        assert_eq!(
            groups.propose(0, command, soon()).await,
            Ok(Outcome::Refused(Refusal::NotFound))
        );
        assert_eq!(groups.view(0).hot_and_cold().objects, 0);
        assert_eq!(content(&groups, 0, "a").await, Some(Vec::new()));
        groups.shutdown().await;
    });
}
