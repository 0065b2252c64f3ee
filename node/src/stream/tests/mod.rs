//! The law, held against the pages it comes from: one file per set of rules, each a table one can read beside them.

mod append;
mod bucket;
mod close;
mod codec;
mod condition;
mod create;
mod fork;
mod lifetime;
mod property;
mod retention;
mod snapshot;
mod spelling;

use std::collections::BTreeMap;

use bytes::Bytes;

use super::*;

/// One stream as a state machine keeps it, with the bytes, so that a test can look at all of it.
#[derive(Debug, Clone, Default, PartialEq)]
struct Kept {
    row: Option<StreamRow>,
    claims: BTreeMap<(u64, String), Claim>,
    bytes: Vec<u8>,
    /// Blobs that are being uploaded.
    uploads: BTreeMap<u64, BlobRow>,
    /// The bytes of all blobs that are not garbage.
    blobs: BTreeMap<u64, Vec<u8>>,
    moment: u64,
    last_now_ms: u64,
}

impl Kept {
    /// Applies a command as the state machine would.
    fn tell(&mut self, command: &Command) -> Outcome {
        let transition = self.judge(command);
        self.moment += 1;
        self.last_now_ms = transition.now_ms;
        if let Some(incarnation) = transition.dropped {
            self.claims.retain(|(of, _), _| *of != incarnation);
            self.bytes.clear();
        }
        match transition.row {
            RowChange::Keep => {}
            RowChange::Put(row) => self.row = Some(row),
            RowChange::Delete => self.row = None,
        }
        if let Some(claim) = transition.claim {
            let incarnation = self.row.as_ref().expect("a claim is on a stream").incarnation;
            let id = command.producer().expect("a claim has a producer").id.clone();
            self.claims.insert((incarnation, id), claim);
        }
        if let Some((blob, row)) = transition.blobs.put {
            self.blobs.entry(blob).or_default();
            self.uploads.insert(blob, row);
        }
        if let Some(blob) = transition.blobs.over {
            assert!(self.uploads.remove(&blob).is_some(), "an upload ends once");
        }
        for blob in transition.blobs.dropped {
            assert!(self.blobs.remove(&blob).is_some(), "a blob is garbage once");
        }
        if let Some(stored) = transition.stored
            && let Some(blob) = self.blobs.get_mut(&stored.incarnation)
        {
            assert_eq!(stored.offset.0, blob.len() as u64, "stored where the blob ended");
            blob.extend(&command.body);
        } else if let Some(stored) = transition.stored {
            assert_eq!(
                stored.offset.0,
                self.bytes.len() as u64,
                "stored where the stream ended"
            );
            assert_eq!(stored.len, command.body.len() as u64);
            assert_eq!(Some(stored.incarnation), self.row.as_ref().map(|row| row.incarnation));
            self.bytes.extend(&command.body);
        }
        transition.outcome
    }

    fn judge(&self, command: &Command) -> Transition {
        let claim = self.row.as_ref().zip(command.producer());
        let claim = claim.and_then(|(row, tuple)| self.claims.get(&(row.incarnation, tuple.id.clone())));
        let moment = Moment {
            index: self.moment + 1,
            last_now_ms: self.last_now_ms,
        };
        apply(
            Loaded {
                row: self.row.as_ref(),
                claim,
                blob: command.blob().and_then(|blob| self.uploads.get(&blob)),
                uploads: self.uploads.len(),
                ..Loaded::default()
            },
            command,
            moment,
        )
    }

    /// A stream of this type.
    fn stream(content_type: &str) -> Self {
        let mut kept = Self::default();
        assert!(matches!(kept.tell(&create(content_type)), Outcome::Created { .. }));
        kept
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.bytes).expect("tests write text")
    }

    fn standing(&self) -> Standing {
        self.row.as_ref().expect("there").standing()
    }

    /// The tag that the stream has now.
    fn tag(&self) -> String {
        self.standing().etag().to_string()
    }
}

fn command(op: Op) -> Command {
    Command {
        now_ms: 1_000,
        stream: StreamName::flat("log").expect("legal"),
        op,
        elsewhere: None,
        body: Bytes::new(),
    }
}

/// `PUT` without a body.
fn create(content_type: &str) -> Command {
    command(Op::Create(Create {
        content_type: content_type.to_owned(),
        closed: false,
        if_match: None,
        lifetime: Lifetime::Forever,
        retention: Retention::default(),
        retention_default: Retention::default(),
        as_of: 0,
    }))
}

/// `POST` of a text body.
fn append(body: &str) -> Command {
    let content_type = (!body.is_empty()).then(|| "text/plain".to_owned());
    command(Op::Append(Append {
        content_type,
        close: false,
        producer: None,
        seq: None,
        if_match: None,
    }))
    .body(body)
}

/// `POST` that closes, with a body or without.
fn close(body: &str) -> Command {
    append(body).closing()
}

/// `DELETE`.
fn delete() -> Command {
    command(Op::Delete(Delete { if_match: None }))
}

/// What a test adds to a command, one header at a time.
impl Command {
    fn at(self, now_ms: u64) -> Self {
        Self { now_ms, ..self }
    }

    fn living(mut self, lifetime: Lifetime) -> Self {
        self.create().lifetime = lifetime;
        self
    }

    fn keeping(mut self, retention: Retention) -> Self {
        self.create().retention = retention;
        self
    }

    fn create(&mut self) -> &mut Create {
        match &mut self.op {
            Op::Create(create) => create,
            other => panic!("no create: {other:?}"),
        }
    }

    fn body(self, body: &str) -> Self {
        Self {
            body: Bytes::copy_from_slice(body.as_bytes()),
            ..self
        }
    }

    fn closing(mut self) -> Self {
        match &mut self.op {
            Op::Create(create) => create.closed = true,
            Op::Append(append) => append.close = true,
            other => panic!("it does not close: {other:?}"),
        }
        self
    }

    fn by(mut self, id: &str, epoch: u64, seq: u64) -> Self {
        self.append().producer = Some(ProducerTuple {
            id: id.to_owned(),
            epoch,
            seq,
        });
        self
    }

    fn seq(mut self, seq: &str) -> Self {
        self.append().seq = Some(seq.to_owned());
        self
    }

    fn of_type(mut self, content_type: &str) -> Self {
        self.append().content_type = Some(content_type.to_owned());
        self
    }

    fn if_match(mut self, header: &str) -> Self {
        let condition = Some(Condition::parse(header).expect("legal"));
        match &mut self.op {
            Op::Create(create) => create.if_match = condition,
            Op::Append(append) => append.if_match = condition,
            Op::Delete(delete) => delete.if_match = condition,
            other => panic!("it has no condition: {other:?}"),
        }
        self
    }

    fn append(&mut self) -> &mut Append {
        match &mut self.op {
            Op::Append(append) => append,
            other => panic!("no append: {other:?}"),
        }
    }
}

/// The answers in short, as one word and its numbers, so that tables stay readable.
fn short(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Created { standing } => format!("created {}", place(standing)),
        Outcome::Exists { standing, .. } => format!("exists {}", place(standing)),
        Outcome::Appended {
            standing,
            producer: None,
        } => format!("appended {}", place(standing)),
        Outcome::Appended {
            standing,
            producer: Some(Accepted { epoch, seq }),
        } => {
            format!("appended {} as {epoch}/{seq}", place(standing))
        }
        Outcome::Duplicate { standing, producer } => {
            format!("duplicate {} of {}/{}", place(standing), producer.epoch, producer.seq)
        }
        Outcome::AlreadyClosed { standing } => format!("already {}", place(standing)),
        Outcome::Deleted => "deleted".to_owned(),
        Outcome::Trimmed { standing } => format!("trimmed to {}", standing.earliest.0),
        Outcome::Alive { standing, touched_ms } => format!("alive {} since {touched_ms}", place(standing)),
        Outcome::Snapshot(done) => snapshot::short(done),
        Outcome::Fork(done) => fork::short(done),
        Outcome::Refused(refusal) => format!("refused: {}", reason(refusal)),
        Outcome::Bucket(outcome) => format!("{outcome:?}"),
        Outcome::Moved { counts } => format!("moved, counts: {counts}"),
    }
}

fn place(standing: &Standing) -> String {
    format!("{}{}", standing.tail.0, if standing.closed { " closed" } else { "" })
}

fn reason(refusal: &Refusal) -> String {
    match refusal {
        Refusal::NotFound => "not found".to_owned(),
        Refusal::Conflict { .. } => "conflict".to_owned(),
        Refusal::Closed { standing } => format!("closed at {}", standing.tail.0),
        Refusal::ContentType { expected } => format!("not {expected}"),
        Refusal::StreamSeq { last, .. } => format!("seq not above {last}"),
        Refusal::Fenced { epoch } => format!("fenced by {epoch}"),
        Refusal::Gap { expected, received } => format!("gap, {expected} expected, {received} received"),
        Refusal::MustStartAtZero { received } => format!("{received} is no start"),
        Refusal::TooManyProducers => "too many producers".to_owned(),
        Refusal::IfMatch { .. } => "if-match".to_owned(),
        Refusal::EmptyAppend => "empty".to_owned(),
        Refusal::TooLong { field } => format!("too long: {field:?}"),
        Refusal::Full => "full".to_owned(),
        Refusal::Bucket(BucketRefusal::Sealed { at }) => format!("sealed at {at}"),
        Refusal::Bucket(refusal) => format!("{refusal:?}"),
        Refusal::Snapshot(refusal) => snapshot::reason(refusal),
        Refusal::Gone => "gone".to_owned(),
        Refusal::Fork(refusal) => format!("{refusal:?}"),
    }
}

/// Tells one command after the other, and holds each answer against the table.
fn holds(kept: &mut Kept, table: &[(Command, &str)]) {
    for (row, (command, answer)) in table.iter().enumerate() {
        let before = kept.clone();
        let outcome = kept.tell(command);
        assert_eq!(short(&outcome), *answer, "row {row}: {command:?}");
        if matches!(outcome, Outcome::Refused(_)) {
            let before = Kept {
                moment: kept.moment,
                last_now_ms: kept.last_now_ms,
                ..before
            };
            assert!(*kept == before, "row {row}: a refused command changed something");
        }
    }
}
