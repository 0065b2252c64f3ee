//! What holds whatever anybody sends, in any order.

use proptest::prelude::*;

use super::*;

fn producer() -> impl Strategy<Value = Option<(String, u64, u64)>> {
    prop::option::weighted(0.7, ("[pq]", 0..3_u64, 0..4_u64))
}

fn condition() -> impl Strategy<Value = Option<Condition>> {
    let tag = (1..4_u64, 0..6_u64, any::<bool>(), any::<bool>()).prop_map(|(incarnation, end, closed, weak)| Tag {
        weak,
        etag: ETag {
            incarnation,
            start: 0,
            end,
            closed,
        },
    });
    let tags = prop::collection::vec(tag, 0..3).prop_map(Condition::Tags);
    prop::option::weighted(0.1, prop_oneof![Just(Condition::Any), tags])
}

fn content_type() -> impl Strategy<Value = String> {
    prop_oneof![9 => Just("text/plain"), 1 => Just("TEXT/PLAIN"), 1 => Just("a/b")].prop_map(str::to_owned)
}

/// Any command, likely enough to be accepted.
fn any_command() -> impl Strategy<Value = Command> {
    let create =
        (content_type(), prop::bool::weighted(0.1), condition()).prop_map(|(content_type, closed, if_match)| {
            Op::Create(Create {
                content_type,
                closed,
                if_match,
                lifetime: Lifetime::Forever,
                retention: Retention::default(),
                retention_default: Retention::default(),
                as_of: 0,
            })
        });
    let append = (
        content_type(),
        prop::bool::weighted(0.1),
        producer(),
        prop::option::of("[a-c]{0,2}"),
        condition(),
    )
        .prop_map(|(content_type, close, producer, seq, if_match)| {
            let producer = producer.map(|(id, epoch, seq)| ProducerTuple { id, epoch, seq });
            let seq = seq.filter(|_| producer.is_none());
            Op::Append(Append {
                content_type: Some(content_type),
                close,
                producer,
                seq,
                if_match,
            })
        });
    let delete = condition().prop_map(|if_match| Op::Delete(Delete { if_match }));
    let op = prop_oneof![2 => create, 12 => append, 1 => delete];
    (op, "[a-z]{0,3}", 0..10_000_u64).prop_map(|(op, body, now_ms)| Command {
        now_ms,
        ..command(op).body(&body)
    })
}

fn any_history() -> impl Strategy<Value = Vec<Command>> {
    prop::collection::vec(any_command(), 1..60)
}

/// A stream after some history.
fn after(history: &[Command]) -> Kept {
    let mut kept = Kept::default();
    for command in history {
        kept.tell(command);
    }
    kept
}

/// The rows as a snapshot carries them.
fn image(kept: &Kept) -> Vec<ImageRow> {
    let name = StreamName::flat("log").expect("legal");
    let stream = kept.row.clone().map(|row| ImageRow::Stream { name, row });
    let producers = kept.claims.iter().map(|((incarnation, id), claim)| ImageRow::Producer {
        incarnation: *incarnation,
        id: id.clone(),
        claim: *claim,
    });
    stream.into_iter().chain(producers).collect()
}

proptest! {
    /// `Kept::tell` asserts that bytes are stored where the stream ended; here: that it ended where its row says.
    #[test]
    fn offsets_only_grow_and_bytes_never_change(history in any_history()) {
        let mut kept = Kept::default();
        for command in &history {
            let before = kept.clone();
            kept.tell(command);
            let (Some(was), Some(is)) = (&before.row, &kept.row) else { continue };
            if was.incarnation == is.incarnation {
                prop_assert!(is.tail >= was.tail && is.earliest >= was.earliest);
                prop_assert!(kept.bytes.starts_with(&before.bytes));
                prop_assert!(is.last_seq >= was.last_seq && is.producers >= was.producers);
            } else {
                prop_assert!(is.incarnation > was.incarnation, "an incarnation came back");
            }
            prop_assert_eq!(is.tail.0, kept.bytes.len() as u64);
            prop_assert_eq!(is.producers as usize, kept.claims.len());
        }
    }

    #[test]
    fn what_is_refused_or_repeated_changes_nothing(history in any_history(), last in any_command()) {
        let kept = after(&history);
        let transition = kept.judge(&last);
        if matches!(transition.outcome, Outcome::Refused(_) | Outcome::Duplicate { .. } | Outcome::Exists { .. } | Outcome::AlreadyClosed { .. }) {
            prop_assert_eq!(transition.row, RowChange::Keep);
            prop_assert_eq!((transition.claim, transition.stored, transition.dropped), (None, None, None));
        }
    }

    /// Whatever an idempotent producer sent last and was told is stored, it may send again.
    #[test]
    fn a_producers_retry_is_a_duplicate(history in any_history(), between in any_history()) {
        let mut kept = after(&history);
        let mut retry = append("retry").by("retrier", 0, 0);
        if !matches!(kept.tell(&retry), Outcome::Appended { .. }) {
            return Ok(());
        }
        let incarnation = kept.standing().incarnation;
        for command in &between {
            kept.tell(command);
        }
        retry = retry.if_match("\"0:0:0\"").seq("");
        let stored = kept.bytes.clone();
        match (kept.tell(&retry), kept.row.as_ref()) {
            (Outcome::Duplicate { producer, .. }, Some(_)) => {
                prop_assert_eq!(producer, Accepted { epoch: 0, seq: 0 });
            }
            // Closed by somebody else meanwhile, or another stream by now.
            (Outcome::Refused(Refusal::Closed { .. } | Refusal::NotFound), _) => {}
            (outcome, Some(row)) => prop_assert!(row.incarnation > incarnation, "{outcome:?}"),
            (outcome, None) => prop_assert!(false, "{outcome:?}"),
        }
        if kept.row.as_ref().is_some_and(|row| row.incarnation == incarnation) {
            prop_assert_eq!(kept.bytes, stored);
        }
    }

    #[test]
    fn closed_stays_closed(history in any_history(), more in any_history()) {
        let mut kept = after(&history);
        let Some(row) = kept.row.clone().filter(|row| row.closed.is_some()) else { return Ok(()) };
        for command in &more {
            kept.tell(command);
            match &kept.row {
                Some(now) if now.incarnation == row.incarnation => prop_assert_eq!(now, &row),
                _ => break,
            }
        }
    }

    #[test]
    fn time_never_goes_back_whatever_leaders_say(history in any_history()) {
        let mut kept = Kept::default();
        for command in &history {
            let before = kept.last_now_ms;
            kept.tell(command);
            prop_assert!(kept.last_now_ms >= before && kept.last_now_ms >= command.now_ms);
        }
    }

    /// An image taken anywhere, and the rest of the log on top of it, is the same as the whole log.
    #[test]
    fn image_out_and_in_is_identity(history in any_history(), rest in any_history()) {
        let mut kept = after(&history);
        let mut restored = Kept { row: None, claims: BTreeMap::new(), ..kept.clone() };
        for row in decode_rows(&encode_rows(&image(&kept))).expect("just encoded") {
            match row {
                ImageRow::Stream { row, .. } => restored.row = Some(row),
                ImageRow::Producer { incarnation, id, claim } => {
                    restored.claims.insert((incarnation, id), claim);
                }
                ImageRow::Blob { blob, row } => {
                    restored.uploads.insert(blob, row);
                }
                other => panic!("a stream's image holds no {other:?}"),
            }
        }
        prop_assert_eq!(&restored, &kept);
        for command in &rest {
            prop_assert_eq!(restored.tell(command), kept.tell(command));
        }
        prop_assert_eq!(restored, kept);
    }

    #[test]
    fn commands_and_outcomes_read_back(history in any_history()) {
        let mut kept = Kept::default();
        for command in history {
            let (meta, body) = command.encode();
            let read = Command::decode(&meta, body).expect("just encoded");
            let outcome = kept.tell(&read);
            prop_assert_eq!(Outcome::decode(&outcome.encode()), Ok(outcome));
            prop_assert_eq!(read, command);
        }
    }

    #[test]
    fn no_bytes_make_decoding_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for version in [None, Some(1)] {
            let bytes: Vec<u8> = version.into_iter().chain(bytes.iter().copied()).collect();
            let _ = Command::decode(&bytes, Bytes::new());
            let _ = (Outcome::decode(&bytes), StreamRow::decode(&bytes), Claim::decode(&bytes), decode_rows(&bytes));
        }
    }

    #[test]
    fn any_path_is_a_name_or_refused(path in "\\PC{0,20}|[a./_ds\0]{0,8}") {
        if let Ok(name) = StreamName::flat(&path) {
            prop_assert!(!name.bucket().is_empty() && !name.name().is_empty());
            prop_assert!(!path.contains('\0') && name.bucket() != "__ds");
            prop_assert!(path == name.name() || path == name.to_string());
        }
    }

    #[test]
    fn offsets_print_in_order_and_read_back(one: u64, other: u64) {
        prop_assert_eq!(Offset::parse(&Offset(one).to_string()), Ok(Whence::At(Offset(one))));
        prop_assert_eq!(Offset(one).to_string().cmp(&Offset(other).to_string()), one.cmp(&other));
    }

    #[test]
    fn tags_read_back(incarnation: u64, start: u64, end: u64, closed: bool) {
        let etag = ETag { incarnation, start, end, closed };
        let condition = Condition::parse(&etag.to_string()).expect("just printed");
        prop_assert!(condition.has(&etag));
    }
}
