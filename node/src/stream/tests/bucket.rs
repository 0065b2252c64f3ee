//! Buckets: the registry's rows, and why nothing slips through between the groups. PROTOCOL-NOTES, URL shapes.

use proptest::prelude::*;

use super::*;

/// The registry's part of one bucket.
#[derive(Default)]
struct Registry {
    row: Option<BucketRow>,
    buckets: u64,
    index: u64,
}

impl Registry {
    fn tell(&mut self, op: BucketOp) -> BucketOutcome {
        self.index += 1;
        let loaded = LoadedBucket {
            row: self.row.as_ref(),
            buckets: self.buckets,
            ..LoadedBucket::default()
        };
        let moment = Moment {
            index: self.index,
            last_now_ms: 0,
        };
        let transition = apply_bucket(loaded, &command(Op::Bucket(op)), op, moment);
        match transition.row {
            BucketChange::Keep => {}
            BucketChange::Put(row) => self.row = Some(row),
            BucketChange::Delete => self.row = None,
        }
        outcome(&transition.outcome)
    }

    fn is_live(&self) -> bool {
        self.row.as_ref().is_some_and(|row| row.deleting.is_none())
    }
}

/// A bucket whose streams forget nothing.
const MAKE: BucketOp = BucketOp::Create {
    retention: Retention {
        age_ms: None,
        bytes: None,
    },
};

fn exists(as_of: u64) -> BucketOutcome {
    BucketOutcome::Exists {
        as_of,
        retention: Retention::default(),
    }
}

fn outcome(outcome: &Outcome) -> BucketOutcome {
    match outcome {
        Outcome::Bucket(outcome) => *outcome,
        other => panic!("no answer to a bucket's command: {other:?}"),
    }
}

#[test]
fn a_bucket_is_made_once_and_goes_in_two_steps() {
    use BucketOp as Op;
    use BucketOutcome as O;
    let table = [
        (Op::BeginDelete, O::NotFound),
        (MAKE, O::Made { as_of: 2 }),
        (MAKE, exists(3)),
        (Op::FinishDelete { begun: 3 }, O::Settled),
        (Op::BeginDelete, O::Begun { begun: 5 }),
        (Op::BeginDelete, O::Busy),
        (MAKE, O::Busy),
        (Op::AbortDelete { begun: 4 }, O::Settled),
        (Op::AbortDelete { begun: 5 }, O::Aborted),
        // A step that is repeated finds nothing to do.
        (Op::AbortDelete { begun: 5 }, O::Settled),
        (Op::FinishDelete { begun: 5 }, O::Settled),
        (MAKE, exists(12)),
        (Op::BeginDelete, O::Begun { begun: 13 }),
        // The deletion before this one has nothing to say.
        (Op::FinishDelete { begun: 5 }, O::Settled),
        (Op::FinishDelete { begun: 13 }, O::Deleted),
        (Op::FinishDelete { begun: 13 }, O::Settled),
        (Op::BeginDelete, O::NotFound),
        (MAKE, O::Made { as_of: 18 }),
    ];
    let mut registry = Registry::default();
    for (row, (op, expected)) in table.into_iter().enumerate() {
        assert_eq!(registry.tell(op), expected, "row {row}: {op:?}");
    }
}

#[test]
fn a_bucket_keeps_the_policy_it_was_made_with_until_it_is_made_again() {
    let first = Retention {
        age_ms: Some(1_000),
        bytes: None,
    };
    let second = Retention {
        age_ms: None,
        bytes: Some(7),
    };
    let mut registry = Registry::default();
    registry.tell(BucketOp::Create { retention: first });
    for retention in [second, Retention::default()] {
        let told = registry.tell(BucketOp::Create { retention });
        assert!(matches!(told, BucketOutcome::Exists { retention, .. } if retention == first));
    }
    registry.tell(BucketOp::BeginDelete);
    registry.tell(BucketOp::AbortDelete { begun: 4 });
    assert_eq!(registry.row.as_ref().map(|row| row.retention), Some(first));
    registry.tell(BucketOp::BeginDelete);
    registry.tell(BucketOp::FinishDelete { begun: 6 });
    registry.tell(BucketOp::Create { retention: second });
    assert_eq!(registry.row.map(|row| row.retention), Some(second));
}

#[test]
fn there_are_only_so_many_buckets() {
    let mut registry = Registry {
        buckets: BUCKETS_MAX,
        ..Registry::default()
    };
    assert_eq!(registry.tell(MAKE), BucketOutcome::TooMany);
    registry.buckets -= 1;
    assert_eq!(registry.tell(MAKE), BucketOutcome::Made { as_of: 2 });
    registry.buckets += 1;
    // One that is there is no further one.
    assert_eq!(registry.tell(MAKE), exists(3));
}

#[test]
fn a_group_that_holds_a_stream_is_not_sealed() {
    let op = BucketOp::Seal { begun: 7 };
    let moment = Moment {
        index: 1,
        last_now_ms: 0,
    };
    for (streams, sealed, expected, then) in [
        (0, 0, BucketOutcome::Sealed, 7),
        (0, 9, BucketOutcome::Sealed, 9),
        (2, 0, BucketOutcome::NotEmpty { streams: 2 }, 0),
    ] {
        let loaded = LoadedBucket {
            streams,
            sealed,
            ..LoadedBucket::default()
        };
        let transition = apply_bucket(loaded, &command(Op::Bucket(op)), op, moment);
        assert_eq!((outcome(&transition.outcome), transition.sealed), (expected, then));
        assert_eq!(transition.row, BucketChange::Keep);
    }
}

#[test]
fn a_sealed_group_refuses_creates_that_saw_the_registry_too_early_and_nothing_else() {
    let moment = Moment {
        index: 1,
        last_now_ms: 0,
    };
    let kept = Kept::stream("text/plain");
    let told = |row, sealed, as_of| {
        let mut command = create("text/plain");
        if let Op::Create(create) = &mut command.op {
            create.as_of = as_of;
        }
        let loaded = Loaded {
            row,
            claim: None,
            sealed,
            ..Loaded::default()
        };
        short(&apply(loaded, &command, moment).outcome)
    };
    assert_eq!(told(None, 7, 6), "refused: sealed at 7");
    assert_eq!(told(None, 7, 7), "created 0");
    assert_eq!(told(None, 0, 0), "created 0");
    // A stream that is there keeps its bucket alive.
    assert_eq!(told(kept.row.as_ref(), 7, 6), "exists 0");
}

#[test]
fn a_bucket_row_is_written_as_it_was_by_the_first_release() {
    let row = BucketRow {
        created_ms: 1_000,
        deleting: Some(300),
        retention: Retention {
            age_ms: Some(2),
            bytes: None,
        },
    };
    assert_eq!(row.encode(), [1, 0xe8, 7, 1, 0xac, 2, 1, 2, 0]);
    assert_eq!(BucketRow::decode(&row.encode()), Ok(row));
}

const GROUPS: usize = 3;

/// One step of somebody, in any order with the others'.
#[derive(Debug, Clone, Copy)]
enum Step {
    Make,
    /// A sender looks at the registry and remembers, in one of its two memories, as of when the bucket was live.
    Look(usize),
    /// A create arrives that was sent from that memory, however old.
    Create(usize, usize),
    Drop(usize),
    Begin,
    Seal(usize),
    End,
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        Just(Step::Make),
        (0..2usize).prop_map(Step::Look),
        (0..2usize, 0..GROUPS).prop_map(|(memory, group)| Step::Create(memory, group)),
        (0..2usize, 0..GROUPS).prop_map(|(memory, group)| Step::Create(memory, group)),
        (0..GROUPS).prop_map(Step::Drop),
        Just(Step::Begin),
        (0..GROUPS).prop_map(Step::Seal),
        (0..GROUPS).prop_map(Step::Seal),
        Just(Step::End),
    ]
}

proptest! {
    /// Whatever the order of steps, and however late a create arrives: a bucket that is gone holds no stream.
    #[test]
    fn a_bucket_that_is_gone_holds_no_stream(steps in prop::collection::vec(any_step(), 1..80)) {
        let mut registry = Registry::default();
        let mut memories: [Option<u64>; 2] = [None; 2];
        let mut groups = [(0u64, 0u64); GROUPS];
        let mut deletion: Option<(u64, [Option<bool>; GROUPS])> = None;
        for step in steps {
            match step {
                Step::Make => drop(registry.tell(MAKE)),
                Step::Look(memory) if registry.is_live() => memories[memory] = Some(registry.index),
                Step::Look(_) => {}
                Step::Create(memory, group) => {
                    let Some(as_of) = memories[memory] else { continue };
                    let (streams, sealed) = &mut groups[group];
                    if bucket_admits(*sealed, as_of) {
                        *streams += 1;
                    }
                }
                Step::Drop(group) => groups[group].0 = groups[group].0.saturating_sub(1),
                Step::Begin => {
                    if let BucketOutcome::Begun { begun } = registry.tell(BucketOp::BeginDelete) {
                        deletion = Some((begun, [None; GROUPS]));
                    }
                }
                Step::Seal(group) => {
                    let Some((begun, seals)) = &mut deletion else { continue };
                    let op = BucketOp::Seal { begun: *begun };
                    let (streams, sealed) = groups[group];
                    let loaded = LoadedBucket { streams, sealed, ..LoadedBucket::default() };
                    let moment = Moment { index: 1, last_now_ms: 0 };
                    let transition = apply_bucket(loaded, &command(Op::Bucket(op)), op, moment);
                    groups[group].1 = transition.sealed;
                    seals[group] = Some(transition.outcome == Outcome::Bucket(BucketOutcome::Sealed));
                }
                Step::End => {
                    let Some((begun, seals)) = deletion else { continue };
                    if seals.iter().all(|seal| *seal == Some(true)) {
                        prop_assert_eq!(registry.tell(BucketOp::FinishDelete { begun }), BucketOutcome::Deleted);
                        deletion = None;
                    } else if seals.contains(&Some(false)) {
                        prop_assert_eq!(registry.tell(BucketOp::AbortDelete { begun }), BucketOutcome::Aborted);
                        deletion = None;
                    }
                }
            }
            if registry.row.is_none() {
                prop_assert!(groups.iter().all(|(streams, _)| *streams == 0), "{step:?}: {groups:?}");
            }
        }
    }
}

/// What the law of a stream asks before it creates one.
fn bucket_admits(sealed: u64, as_of: u64) -> bool {
    super::super::bucket::admits(sealed, as_of).is_ok()
}
