//! Three nodes in one process.

use super::*;
use crate::stream::{Publish, SnapshotDone};

struct Three {
    nodes: Vec<Node>,
    groups: Vec<Groups>,
    wires: Arc<Wires>,
}

impl Three {
    async fn start() -> Self {
        let wires: Arc<Wires> = Arc::default();
        let nodes: Vec<Node> = (1..=3).map(|id| Node::new(id, &wires)).collect();
        let mut groups = Vec::new();
        for node in &nodes {
            groups.push(node.start().await);
        }
        found(&groups[0], &[1, 2, 3]).await;
        let three = Self { nodes, groups, wires };
        three.leader(0).await;
        three
    }

    /// The place of the node that leads, as most see it.
    async fn leader(&self, group: u32) -> usize {
        let cut = self.wires.cut.lock().unwrap().clone();
        let leads =
            |place: &usize| !cut.contains(&self.nodes[*place].id) && self.groups[*place].leader(group) == Lead::Here;
        until("somebody leads", || (0..self.groups.len()).any(|place| leads(&place))).await;
        (0..self.groups.len()).find(leads).unwrap()
    }

    /// Proposes to whoever leads until it is stored.
    async fn store(&self, command: Command) -> Outcome {
        for _ in 0..200 {
            let leader = self.leader(0).await;
            match self.groups[leader].propose(0, command.clone(), soon()).await {
                Ok(outcome) => return outcome,
                Err(ProposeError::NotLeader) => rt::sleep(Duration::from_millis(10)).await,
                Err(error) => panic!("{error}"),
            }
        }
        panic!("nobody took it");
    }

    /// Begins an upload and stores its first part.
    async fn upload(&self, stream: &str, part: &[u8]) -> u64 {
        let offset = Offset(3);
        let Outcome::Snapshot(SnapshotDone::Begun { blob }) = self
            .store(snapshot(stream, SnapshotOp::Begin { offset, if_match: None }, b""))
            .await
        else {
            panic!("it has not begun");
        };
        self.store(snapshot(stream, SnapshotOp::Part { blob, at: 0 }, part))
            .await;
        blob
    }

    async fn same_everywhere(&self) {
        let applied = || {
            self.groups
                .iter()
                .map(|groups| groups.status()[0].clone())
                .map(|s| (s.applied, s.digest))
        };
        until("all have applied the same", || {
            let mut all = applied();
            let first = all.next();
            all.all(|one| Some(one) == first)
        })
        .await;
    }

    async fn end(self) {
        for groups in self.groups {
            groups.shutdown().await;
        }
    }
}

async fn tidy(groups: &Groups) {
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

#[test]
fn what_one_takes_all_have() {
    run(async {
        let three = Three::start().await;
        three.store(create("a", b"")).await;
        for number in 0..20 {
            three.store(append("a", format!("{number},").as_bytes())).await;
        }
        three.same_everywhere().await;
        let first = content(&three.groups[0], 0, "a").await.unwrap();
        assert_eq!(
            first,
            (0..20)
                .map(|number| format!("{number},"))
                .collect::<String>()
                .into_bytes()
        );
        for groups in &three.groups[1..] {
            assert_eq!(content(groups, 0, "a").await.unwrap(), first);
        }
        let leader = three.leader(0).await;
        let index = three.groups[leader].read_index(0, soon()).await.unwrap();
        for groups in &three.groups {
            groups.wait_applied(0, index).await.unwrap();
        }
        three.end().await;
    });
}

#[test]
fn a_leader_that_is_cut_off_is_replaced_and_takes_nothing() {
    run(async {
        let three = Three::start().await;
        three.store(create("a", b"")).await;
        let old = three.leader(0).await;
        three.wires.cut.lock().unwrap().push(three.nodes[old].id);
        let soon = Instant::now() + Duration::from_millis(400);
        let lost = three.groups[old].propose(0, append("a", b"lost"), soon).await;
        assert!(matches!(lost, Err(ProposeError::Unknown(_))), "{lost:?}");
        let new = three.leader(0).await;
        assert_ne!(new, old);
        three.store(append("a", b"kept")).await;
        let stale = Instant::now() + Duration::from_millis(300);
        assert!(
            three.groups[old].read_index(0, stale).await.is_err(),
            "it cannot be sure that it leads"
        );

        three.wires.cut.lock().unwrap().clear();
        three.same_everywhere().await;
        assert_eq!(content(&three.groups[old], 0, "a").await.unwrap(), b"kept");
        three.end().await;
    });
}

#[test]
fn the_log_is_kept_while_a_snapshot_is_on_its_way() {
    run(async {
        let three = Three::start().await;
        three.store(create("a", b"")).await;
        let leader = three.leader(0).await;
        let machine = three.groups[leader].view(0).machine;
        let held = machine.hold_log();
        for number in 0..40_u64 {
            three.store(append_by("a", b"x", Some(("p", 0, number)))).await;
        }
        tidy(&three.groups[leader]).await;
        assert_eq!(
            three.groups[leader].status()[0].purged,
            None,
            "somebody may still need it"
        );
        assert!(three.groups[leader].status()[0].flushed.is_some());
        drop(held);
        assert!(machine.log_is_held(), "the receiver has yet to ask for what comes next");
        drop(machine);
        three.end().await;
    });
}

#[test]
fn a_log_that_grows_too_large_is_kept_for_nobody() {
    run(async {
        let three = Three::start().await;
        three.store(create("a", b"")).await;
        let leader = three.leader(0).await;
        let machine = three.groups[leader].view(0).machine;
        let held = machine.hold_log();
        assert!(machine.log_is_held());
        for _ in 0..20 {
            three.store(append("a", &[7; 20_000])).await;
        }
        assert!(!machine.log_is_held(), "more than raft.hold_bytes is kept");
        tidy(&three.groups[leader]).await;
        for _ in 0..200 {
            if three.groups[leader].status()[0].purged.is_some() {
                break;
            }
            rt::sleep(Duration::from_millis(20)).await;
        }
        assert!(three.groups[leader].status()[0].purged.is_some());
        drop((held, machine));
        three.end().await;
    });
}

/// A follower sleeps until the log it needs is purged, and gets the state whole, producers included.
#[test]
fn a_follower_that_fell_behind_gets_a_snapshot_with_its_producers() {
    run(async {
        let mut three = Three::start().await;
        three.store(create("a", b"begin,")).await;
        three.store(create("old", b"deleted while it sleeps")).await;
        let leader = three.leader(0).await;
        let asleep = (leader + 1) % 3;
        three.nodes[asleep].stop(three.groups[asleep].clone(), true).await;
        let published = three.upload("a", &[7; 300_000]).await;
        let publish = Publish {
            blob: published,
            offset: Offset(3),
            len: 300_000,
            content_type: "a/b".into(),
            digest: [0; 32],
            trim: false,
        };
        three.store(snapshot("a", SnapshotOp::Publish(publish), b"")).await;
        let open = three.upload("a", b"not all of it").await;
        for number in 0..60_u64 {
            let producer = Some(("p", 0, number));
            three
                .store(append_by("a", format!("{number},").as_bytes(), producer))
                .await;
        }
        three.store(create("b", &[9; 20_000])).await;
        three.store(delete("old")).await;
        for place in (0..3).filter(|place| *place != asleep) {
            tidy(&three.groups[place]).await;
            until("the log is purged", || {
                three.groups[place].status()[0].purged.is_some_and(|id| id.index > 40)
            })
            .await;
        }
        for round in 0..3 {
            three.groups[asleep] = three.nodes[asleep].start().await;
            if round < 2 {
                // It falls asleep again in the middle of the transfer: nothing of it may stay.
                three.wires.slow_snapshots.store(true, Ordering::Relaxed);
                let machine = three.groups[asleep].view(0).machine;
                until("the transfer has begun", || {
                    let state = machine.state();
                    state.generation_begun > state.generation
                })
                .await;
                rt::sleep(Duration::from_millis(120 * round)).await;
                assert!(
                    machine
                        .state()
                        .position
                        .applied
                        .is_none_or(|applied| applied.index < 40)
                );
                drop(machine);
                three.nodes[asleep].stop(three.groups[asleep].clone(), round == 1).await;
            }
        }
        three.wires.slow_snapshots.store(false, Ordering::Relaxed);
        three.same_everywhere().await;
        let expected = (0..60).map(|number| format!("{number},")).collect::<String>();
        let groups = &three.groups[asleep];
        assert_eq!(
            content(groups, 0, "a").await.unwrap(),
            format!("begin,{expected}").into_bytes()
        );
        assert_eq!(content(groups, 0, "b").await.unwrap(), [9; 20_000]);
        assert_eq!(content(groups, 0, "old").await, None);
        let view = groups.view(0);
        assert_eq!(view.uploads().iter().map(|(blob, _)| *blob).collect::<Vec<_>>(), [open]);
        let newest = view.row(&name("a")).unwrap().unwrap().snapshot.clone().unwrap();
        assert_eq!((newest.offset, newest.blob), (Offset(3), published));
        for (blob, expected) in [(published, vec![7; 300_000]), (open, b"not all of it".to_vec())] {
            let pieces = view.read(blob, Offset(0), Offset(expected.len() as u64)).await.unwrap();
            assert!(pieces.concat() == expected, "blob {blob}");
        }
        let ends = |from| {
            view.append_ends(
                view.row(&name("a")).unwrap().unwrap().incarnation,
                Offset(from),
                Offset(9),
            )
        };
        assert_eq!(ends(0).unwrap().0[..2], [Offset(6), Offset(8)]);
        assert_eq!(groups.status()[0].snapshots, 1);
        assert_eq!(
            groups.status()[0].flushed.map(|id| id.index > 40),
            Some(true),
            "it is durable"
        );
        for groups in &three.groups {
            let view = groups.view(0);
            let generation = view.machine.state().generation;
            let all = crate::keys::KeyRange::all_producers(0, generation);
            assert_eq!(view.machine.index.scan(&all.from, &all.to, 10).unwrap().len(), 1);
        }

        // The sleeper takes the lead, and knows the producer.
        let leader = three.leader(0).await;
        three.groups[leader].transfer_leader(0, three.nodes[asleep].id).await;
        until("the sleeper leads", || three.groups[asleep].leader(0) == Lead::Here).await;
        let again = append_by("a", b"59,", Some(("p", 0, 59)));
        let mut outcome = Err(ProposeError::NotLeader);
        while outcome == Err(ProposeError::NotLeader) {
            outcome = three.groups[asleep].propose(0, again.clone(), soon()).await;
        }
        assert!(matches!(outcome, Ok(Outcome::Duplicate { .. })), "{outcome:?}");

        // And it all survives a crash of the receiver.
        three.nodes[asleep].stop(three.groups[asleep].clone(), true).await;
        three.groups[asleep] = three.nodes[asleep].start().await;
        assert_eq!(content(&three.groups[asleep], 0, "b").await.unwrap(), [9; 20_000]);
        three.same_everywhere().await;
        three.end().await;
    });
}

#[test]
fn leadership_is_spread_and_handed_over() {
    run(async {
        let three = Three::start().await;
        three.leader(1).await;
        // Group 0 belongs to node 1 and group 1 to node 2, once they are caught up.
        until("leadership is spread", || {
            three.groups[0].leader(0) == Lead::Here && { three.groups[1].leader(1) == Lead::Here } || {
                for groups in &three.groups {
                    let groups = groups.clone();
                    drop(rt::spawn("balance", async move { groups.balance().await }));
                }
                false
            }
        })
        .await;
        assert!(three.groups[0].transfer_all(Duration::from_secs(10)).await);
        assert_ne!(three.leader(0).await, 0);
        three.end().await;
    });
}

#[test]
fn a_node_that_restarted_gives_no_vote_for_the_length_of_a_lease() {
    run(async {
        let mut three = Three::start().await;
        three.store(create("a", b"")).await;
        let leader = three.leader(0).await;
        let other = (leader + 1) % 3;
        three.nodes[other].stop(three.groups[other].clone(), false).await;
        three.nodes[other].settings.raft.election_max = Duration::from_secs(3);
        let began = Instant::now();
        three.groups[other] = three.nodes[other].start().await;
        let ask = openraft::raft::VoteRequest::<types::Types>::new(
            types::Vote::new(1_000, 9),
            Some(types::log_id(1_000, 1_000)),
        );
        let payload = || Bytes::from(wire::encode(&ask, Vec::new()).concat());
        for kind in [wire::VOTE, wire::PRE_VOTE] {
            assert!(three.groups[other].handle(kind, 0, payload()).await.is_err());
        }
        // The gate opens some time after the lease, later on a busy machine, but never before.
        while three.groups[other].handle(wire::PRE_VOTE, 0, payload()).await.is_err() {
            assert!(began.elapsed() < Duration::from_secs(60), "it votes again");
            rt::sleep(Duration::from_millis(50)).await;
        }
        assert!(began.elapsed() >= three.nodes[other].settings.raft.election_max);
        three.end().await;
    });
}
