//! Directed stories: one trap each, told once, for good.
#![cfg(feature = "sim")]

use std::time::Duration;

use jepsen::history::{Answer, Append, Ending, Refusal, Stored};
use scenarios::story::Story;
use sim::fault::{Fault, Whom};

fn stored(ending: &Ending) -> Option<Stored> {
    match ending {
        Ending::Done(Answer::Appended { stored, .. }) => Some(*stored),
        _ => None,
    }
}

/// The append commits and its answer is lost; the producer asks again; the bytes are stored once.
#[test]
fn a_retry_after_a_lost_answer_stores_once() {
    Story::seed(0x5107).tell(|s| async move {
        let log = s.create("log").await;
        let append = s.produced("p", 0, 0);
        let leader = s.leader();

        s.strike(Fault::Mute(s.at(leader)));
        assert!(matches!(s.append(leader, &log, &append).await, Ending::Unknown(_)));
        s.mend().await;

        assert_eq!(stored(&s.append(leader, &log, &append).await), Some(Stored::Before(0)));
        assert_eq!(s.read(0, &log).await, Ok(vec![append.tag.expect("it is a record")]));
    });
}

/// The leader is cut off from the others and does not know that it has been replaced. What it would answer alone is
/// stale; it must not answer.
#[test]
fn a_replaced_leader_answers_no_stale_read() {
    Story::seed(0x57a1e).tell(|s| async move {
        let log = s.create("log").await;
        let first = s.stores(0, &log).await;
        let old = s.leader();
        let other = (old + 1) % 3;

        s.strike(Fault::Isolate(s.at(old)));
        s.pass_ms(6000).await;
        let second = s.stores(other, &log).await;

        if let Ok(seen) = s.read(old, &log).await {
            assert_eq!(seen, [first, second]);
        }
        s.mend().await;
        for node in 0..s.nodes() {
            assert_eq!(s.read(node, &log).await, Ok(vec![first, second]));
        }
    });
}

/// The leader is cut off and still takes an append, which can never commit: nobody may be told that it is stored.
#[test]
fn an_append_without_a_majority_is_not_acknowledged() {
    Story::seed(0xa10e).tell(|s| async move {
        let log = s.create("log").await;
        let old = s.leader();
        s.strike(Fault::Isolate(s.at(old)));
        let append = s.record();
        let ending = s.append(old, &log, &append).await;
        assert!(!matches!(ending, Ending::Done(_)), "{ending:?}");
        s.mend().await;
    });
}

/// All machines lose power at the moment after the answer.
#[test]
fn what_was_answered_outlives_the_power_loss_of_all() {
    Story::seed(0xda4c).tell(|s| async move {
        let log = s.create("log").await;
        let mut told = Vec::new();
        for round in 0..5 {
            told.push(s.stores(round % 3, &log).await);
            s.strike(Fault::PowerLoss(Whom::Everyone));
            s.pass_ms(200).await;
            s.mend().await;
            assert_eq!(
                s.read((round + 1) % 3, &log).await.as_ref(),
                Ok(&told),
                "after round {round}"
            );
        }
    });
}

/// A producer's row must be as durable as its bytes: after a restart of everything a retry is still a repeat.
#[test]
fn a_retry_after_a_restart_of_all_stores_once() {
    Story::seed(0x4e57).tell(|s| async move {
        let log = s.create("log").await;
        let append = s.produced("p", 3, 0);
        assert_eq!(stored(&s.append(0, &log, &append).await), Some(Stored::Now));
        for fault in [
            Fault::Crash(Whom::Everyone),
            Fault::PowerLoss(Whom::Everyone),
            Fault::Stop(Whom::Everyone),
        ] {
            s.strike(fault);
            s.pass_ms(4000).await;
            s.mend().await;
            assert_eq!(stored(&s.append(1, &log, &append).await), Some(Stored::Before(0)));
            let stale = s.produced("p", 2, 0);
            assert_eq!(
                s.append(2, &log, &stale).await,
                Ending::Refused(Refusal::Fenced { epoch: 3 })
            );
        }
        assert_eq!(s.read(2, &log).await.map(|seen| seen.len()), Ok(1));
    });
}

/// A follower was away for so long that it needs a snapshot; then it leads. It must know the producers.
#[test]
fn who_leads_after_a_snapshot_knows_the_producers() {
    let few = |shape: &mut sim::cluster::Shape| {
        shape.config.raft.snapshot_entries = 20;
        shape.config.raft.keep_entries = 5;
        shape.config.raft.snapshot_chunk = 4 << 10;
    };
    Story::seed(0x54a9).set(few).tell(|s| async move {
        let log = s.create("log").await;
        let away = (s.leader() + 1) % 3;
        s.strike(Fault::Crash(s.at(away)));
        let append = s.produced("p", 0, 0);
        assert_eq!(stored(&s.append(s.leader(), &log, &append).await), Some(Stored::Now));
        for _ in 0..80 {
            s.stores(s.leader(), &log).await;
        }
        s.mend().await;

        // Only this one and one other are left to lead; until it does, the other goes down as well.
        for _ in 0..10 {
            if s.leader() == away {
                break;
            }
            s.strike(Fault::Crash(s.at(s.leader())));
            s.pass_ms(5000).await;
            s.mend().await;
        }
        let repeat = s.append(away, &log, &append).await;
        assert_eq!(stored(&repeat), Some(Stored::Before(0)));
        assert_eq!(s.read(away, &log).await.map(|seen| seen.len()), Ok(81));
    });
}

/// The end of a stream is as durable as its bytes, and the same on every node.
#[test]
fn closed_stays_closed_when_everything_restarts() {
    Story::seed(0xc105).tell(|s| async move {
        let log = s.create("log").await;
        s.stores(0, &log).await;
        let close = Append {
            close: true,
            ..Append::default()
        };
        assert!(matches!(s.append(0, &log, &close).await, Ending::Done(_)));
        s.strike(Fault::PowerLoss(Whom::Everyone));
        s.pass_ms(300).await;
        s.mend().await;
        for node in 0..s.nodes() {
            let refused = s.append(node, &log, &s.record()).await;
            assert!(
                matches!(refused, Ending::Refused(Refusal::Closed { .. })),
                "{refused:?}"
            );
        }
    });
}

/// A sync that failed must not be tried again and believed: the node ends, the others have the bytes.
#[test]
fn a_failed_sync_ends_the_node_and_loses_nothing() {
    Story::seed(0xf51c).tell(|s| async move {
        let log = s.create("log").await;
        let mut told = vec![s.stores(0, &log).await];
        s.strike(Fault::FailSync {
            whom: s.at(s.leader()),
            once: true,
        });
        let append = s.record();
        let ending = s.append(s.leader(), &log, &append).await;
        s.pass_ms(6000).await;
        s.mend().await;
        told.push(s.stores(1, &log).await);
        let seen = s.read(2, &log).await.expect("everything is whole");
        let tag = append.tag.expect("it is a record");
        let certain: Vec<_> = seen.iter().copied().filter(|seen| *seen != tag).collect();
        assert_eq!(certain, told);
        assert!(
            !matches!(ending, Ending::Done(_)) || seen.contains(&tag),
            "what was acknowledged is there"
        );
    });
}

/// A bit of a follower's journal flips while it is down. It says what is damaged and stays down, for it cannot know what it
/// voted and acknowledged; the other two serve everything, and nobody ever reads a wrong byte.
#[test]
fn a_rotten_bit_keeps_its_node_down_and_harms_nobody_else() {
    for seed in 0..4 {
        Story::seed(0x4071 + seed).tell(|s| async move {
            let log = s.create("log").await;
            let leader = s.leader();
            let (rotten, other) = ((leader + 1) % 3, (leader + 2) % 3);
            let mut told = Vec::new();
            for _ in 0..40 {
                told.push(s.stores(leader, &log).await);
            }
            s.strike(Fault::Crash(s.at(rotten)));
            s.pass_ms(200).await;
            s.strike(Fault::RotBit(s.at(rotten)));
            s.strike(Fault::Restart(s.at(rotten)));
            for _ in 0..6 {
                s.pass_ms(1000).await;
                for node in [leader, other] {
                    told.push(s.stores(node, &log).await);
                    assert_eq!(s.read(node, &log).await.as_ref(), Ok(&told));
                }
                assert!(!s.runs(rotten), "it starts with a damaged journal");
                let answer = s.read(rotten, &log).await;
                assert!(answer.is_err(), "who does not run answers nothing: {answer:?}");
            }
            let words = s.last_words();
            assert!(
                !words.is_empty() && words.iter().all(|words| words.contains("damage")),
                "{words:?}"
            );
        });
    }
}

/// A leader stands still while answers to what it sent wait for it. When it goes on, others lead. The old answers must not
/// count for what it sends only now: by them it would trust its lease again, and answer what was true long ago.
#[test]
fn a_leader_that_stood_still_answers_no_stale_read() {
    for seed in 0..48 {
        Story::seed(0xf0e5 + seed).tell(move |s| async move {
            let log = s.create("log").await;
            let old = s.leader();
            let other = (old + 1) % 3;
            // The others are far away, so that much is on its way at any moment.
            s.strike(Fault::SlowLink {
                whom: s.at(old),
                to: Some(Whom::Nodes((1..=3).collect())),
                delay: Duration::from_millis(15),
                jitter: Duration::from_millis(15),
            });
            let writers: Vec<_> = (0..6)
                .map(|_| {
                    let (s, log) = (s.clone(), log.clone());
                    net::rt::spawn("appends", async move {
                        for _ in 0..8 {
                            let append = s.record();
                            s.append(old, &log, &append).await;
                        }
                    })
                })
                .collect();
            s.pass_ms(100 + 7 * (seed % 24)).await;
            s.strike(Fault::Freeze(s.at(old)));
            s.pass_ms(5000).await;
            let newest = s.stores(other, &log).await;
            let readers: Vec<_> = (0..4)
                .map(|_| {
                    let (s, log) = (s.clone(), log.clone());
                    net::rt::spawn("reads", async move { s.read(old, &log).await })
                })
                .collect();
            s.pass_ms(100).await;
            s.strike(Fault::Thaw(s.at(old)));
            for reader in readers {
                if let Ok(seen) = reader.await.expect("nobody aborts it") {
                    assert!(
                        seen.contains(&newest),
                        "seed {seed}: it lacks what was acknowledged before"
                    );
                }
            }
            for writer in writers {
                writer.await.expect("nobody aborts it");
            }
        });
    }
}
