//! The only way a stream changes: a command, the rows it concerns, and the place in the log make a transition.
//!
//! PROTOCOL-NOTES, Writes. The refusals of an append stand in the order of the code: no stream, closed, content type,
//! (a producer's repeat is answered as such), `Stream-Seq`, producer, `If-Match`. A repeat goes before `Stream-Seq`,
//! because the retry of an accepted append carries a `Stream-Seq` that is no longer new. `If-Match` goes last: by
//! RFC 9110, 13.2.1, a condition counts only where the request would succeed without it; and a repeat goes before it,
//! because the first attempt has moved the tag (13.1.1 allows that).
//!
//! A stream that is over at the command's time is not there, whatever the command: its row goes in the same step. So it
//! ends by the log alone, on all nodes at the same place, and no other clock brings it back.
//!
//! Claims are kept as long as their stream (PROTOCOL.md 5.2.1, Producer State Cleanup: the stronger guarantee).

use super::bucket::admits;
use super::command::{Append, Command, Create, Op, ProducerTuple, Touch, Trim};
use super::content_type::same_content_type;
use super::fork::{ForkChange, ForkOp, Pledge, Reference};
use super::limits::{
    CONTENT_TYPE_BYTES_MAX, NAME_BYTES_MAX, PRODUCER_ID_BYTES_MAX, PRODUCER_NUMBER_MAX, PRODUCERS_MAX,
    STREAM_SEQ_BYTES_MAX,
};
use super::name::StreamName;
use super::offset::Offset;
use super::outcome::{Accepted, Field, Outcome, Refusal};
use super::producer::{Ruling, judge};
use super::row::{Claim, Closing, StreamRow};
use super::snapshot::{BlobChange, BlobRow, SnapshotOp};

/// The rows a command concerns, as they are.
#[derive(Debug, Clone, Copy, Default)]
pub struct Loaded<'a> {
    /// The row of the command's stream, if the stream exists.
    pub row: Option<&'a StreamRow>,
    /// The claim of the command's producer on that row's incarnation, if it has one.
    pub claim: Option<&'a Claim>,
    /// What the group is sealed at: see the law of buckets.
    pub sealed: u64,
    /// The row of the command's blob, if that is being uploaded.
    pub blob: Option<&'a BlobRow>,
    /// How many blobs of the group are being uploaded.
    pub uploads: usize,
    /// The pledge under the command's token, if there is one.
    pub pledge: Option<&'a Pledge>,
    /// The reference under the command's incarnation and token, if there is one.
    pub reference: Option<&'a Reference>,
}

/// Where in the history of its group a command is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Log index of the entry.
    pub index: u64,
    /// The group's time so far: [`Transition::now_ms`] of the entry before, 0 at first.
    pub last_now_ms: u64,
}

/// What a command does. Everything in it happens in one batch, or not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transition {
    /// What to answer.
    pub outcome: Outcome,
    /// What happens to the stream's row.
    pub row: RowChange,
    /// The claim to put for the command's producer, on the incarnation of the row put.
    pub claim: Option<Claim>,
    /// Where the command's body goes, if it is stored.
    pub stored: Option<Stored>,
    /// The incarnation whose producer rows and chunks are garbage now. Never that of a row put. (Chunks below a row's
    /// `earliest` are garbage, too; that is seen by comparing rows.)
    pub dropped: Option<u64>,
    /// What happens to blobs.
    pub blobs: BlobChange,
    /// What happens to rows of forks.
    pub forks: Vec<ForkChange>,
    /// The group's time after this, in Unix milliseconds. Never less than [`Moment::last_now_ms`].
    pub now_ms: u64,
}

/// What happens to a stream's row.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "one at a time is made, and taken apart at once: a box would cost each append an allocation"
)]
pub enum RowChange {
    /// Nothing.
    Keep,
    /// This is the row now.
    Put(StreamRow),
    /// The row goes.
    Delete,
}

/// The place of a body in its stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// Of the row put; or a blob.
    pub incarnation: u64,
    /// First byte.
    pub offset: Offset,
    /// How many bytes; never 0.
    pub len: u64,
}

/// Judges a command. Total: every command has an outcome, whatever the rows.
#[must_use]
pub fn apply(loaded: Loaded<'_>, command: &Command, moment: Moment) -> Transition {
    let now_ms = command.now_ms.max(moment.last_now_ms);
    let over = loaded.row.filter(|row| row.is_over(now_ms));
    let found = loaded.row;
    // Who has forks stays for them, though nobody else can use it.
    let buried = over.filter(|row| row.refs > 0).map(StreamRow::buried);
    let loaded = match over {
        Some(_) => Loaded {
            row: buried.as_ref(),
            claim: None,
            ..loaded
        },
        None => loaded,
    };
    let case = Case {
        loaded,
        body_len: command.body_len(),
        index: moment.index,
        now_ms,
    };
    let judged = within_limits(&command.stream, &command.op).and_then(|()| match &command.op {
        Op::Fork(fork) => case.fork(&command.stream, fork),
        // An upload that nobody finishes goes, whatever has become of its stream.
        Op::Snapshot(op @ SnapshotOp::Drop { .. }) => case.snapshot(&command.stream, op),
        _ if loaded.row.is_some_and(|row| row.gone) => Err(Refusal::Gone),
        Op::Create(create) => case.create(create),
        Op::Append(append) => case.append(append),
        Op::Delete(delete) => case.delete(&command.stream, delete),
        Op::Trim(trim) => case.trim(trim),
        Op::Touch(touch) => case.touch(touch),
        Op::Tend => case.tend(),
        // Judged by `apply_bucket`: there is no stream of that name.
        Op::Bucket(_) | Op::Moved(_) => Err(Refusal::NotFound),
        Op::Snapshot(op) => case.snapshot(&command.stream, op),
    });
    let mut transition = judged.unwrap_or_else(|refusal| case.unchanged(Outcome::Refused(refusal)));
    match (over, buried) {
        (None, _) => {}
        (Some(_), Some(buried)) => {
            if transition.row == RowChange::Keep {
                transition.row = RowChange::Put(buried);
            }
        }
        (Some(over), None) => {
            transition.dropped = Some(over.incarnation);
            transition
                .forks
                .extend(over.debt(&command.stream).map(|debt| debt.change()));
            if transition.row == RowChange::Keep {
                transition.row = RowChange::Delete;
            }
        }
    }
    if let Some(was) = found {
        transition.drop_what_nothing_follows(was);
    }
    transition
}

/// One command and what it finds.
#[derive(Clone, Copy)]
pub(super) struct Case<'a> {
    pub(super) loaded: Loaded<'a>,
    pub(super) body_len: u64,
    pub(super) index: u64,
    pub(super) now_ms: u64,
}

impl<'a> Case<'a> {
    fn create(self, create: &Create) -> Result<Transition, Refusal> {
        if let Some(row) = self.loaded.row {
            let standing = row.standing();
            let content_type = row.content_type.clone();
            let same = row.base.is_none()
                && same_content_type(&content_type, &create.content_type)
                && standing.closed == create.closed
                && row.lifetime == create.lifetime
                && create.retention.or(row.retention) == row.retention;
            if !same {
                return Err(Refusal::Conflict { standing, content_type });
            }
            if create
                .if_match
                .as_ref()
                .is_some_and(|condition| !condition.allows_write(Some(&standing)))
            {
                return Err(Refusal::IfMatch {
                    standing: Some(standing),
                });
            }
            return Ok(self.unchanged(Outcome::Exists { standing, content_type }));
        }
        admits(self.loaded.sealed, create.as_of)?;
        if create.if_match.is_some() {
            return Err(Refusal::IfMatch { standing: None });
        }
        let mut row = StreamRow {
            tail: Offset(self.body_len),
            closed: create.closed.then_some(Closing { by: None }),
            lifetime: create.lifetime,
            retention: create.retention.or(create.retention_default),
            ..StreamRow::born(self.index, create.content_type.clone(), self.now_ms)
        };
        self.grown(&mut row);
        let outcome = Outcome::Created {
            standing: row.standing(),
        };
        Ok(Transition {
            stored: self.stored(&row, Offset(0)),
            row: RowChange::Put(row),
            ..self.unchanged(outcome)
        })
    }

    fn append(self, append: &Append) -> Result<Transition, Refusal> {
        if self.body_len == 0 && !append.close {
            return Err(Refusal::EmptyAppend);
        }
        let row = self.loaded.row.ok_or(Refusal::NotFound)?;
        let standing = row.standing();

        if let Some(closing) = &row.closed {
            return match &append.producer {
                Some(tuple) if closing.by.as_ref() == Some(tuple) => {
                    let producer = Accepted {
                        epoch: tuple.epoch,
                        seq: tuple.seq,
                    };
                    Ok(self.used(row, Outcome::Duplicate { standing, producer }))
                }
                None if self.body_len == 0 => Ok(self.used(row, Outcome::AlreadyClosed { standing })),
                _ => Err(Refusal::Closed { standing }),
            };
        }

        let same_type = |sent: &String| same_content_type(sent, &row.content_type);
        if self.body_len > 0 && !append.content_type.as_ref().is_some_and(same_type) {
            return Err(Refusal::ContentType {
                expected: row.content_type.clone(),
            });
        }

        let ruling = append.producer.as_ref().map(|tuple| judge(self.loaded.claim, tuple));
        if let Some(Ruling::Repeat { last }) = ruling {
            let producer = Accepted {
                epoch: last.epoch,
                seq: last.seq,
            };
            return Ok(self.used(row, Outcome::Duplicate { standing, producer }));
        }

        if let (Some(seq), Some(last)) = (&append.seq, &row.last_seq)
            && seq.as_bytes() <= last.as_bytes()
        {
            return Err(Refusal::StreamSeq {
                standing,
                last: last.clone(),
            });
        }

        if let (Some(ruling), Some(tuple)) = (ruling, &append.producer) {
            self.admit(ruling, tuple, row)?;
        }

        if append
            .if_match
            .as_ref()
            .is_some_and(|condition| !condition.allows_write(Some(&standing)))
        {
            return Err(Refusal::IfMatch {
                standing: Some(standing),
            });
        }

        let tail = Offset(row.tail.0.checked_add(self.body_len).ok_or(Refusal::Full)?);
        let is_new_producer = append.producer.is_some() && self.loaded.claim.is_none();
        let mut row = StreamRow {
            tail,
            written_ms: self.now_ms,
            closed: append.close.then(|| Closing {
                by: append.producer.clone(),
            }),
            last_seq: append.seq.clone().or_else(|| row.last_seq.clone()),
            producers: row.producers.saturating_add(u32::from(is_new_producer)),
            ..row.clone()
        };
        self.grown(&mut row);
        let claim = append.producer.as_ref().map(|tuple| Claim {
            epoch: tuple.epoch,
            seq: tuple.seq,
            next: tail,
            used_ms: self.now_ms,
            closed: append.close,
        });
        let producer = claim.map(|claim| Accepted {
            epoch: claim.epoch,
            seq: claim.seq,
        });
        let outcome = Outcome::Appended {
            standing: row.standing(),
            producer,
        };
        let stored = self.stored(&row, standing.tail);
        Ok(Transition {
            claim,
            stored,
            row: RowChange::Put(row),
            ..self.unchanged(outcome)
        })
    }

    fn trim(self, trim: &Trim) -> Result<Transition, Refusal> {
        let mut row = self.of(trim.incarnation)?.clone();
        let trimmed = row.trim(trim.below);
        let outcome = Outcome::Trimmed {
            standing: row.standing(),
        };
        let keep = self.unchanged(outcome);
        Ok(if trimmed {
            Transition {
                row: RowChange::Put(row),
                ..keep
            }
        } else {
            keep
        })
    }

    fn touch(self, touch: &Touch) -> Result<Transition, Refusal> {
        let mut row = self.of(touch.incarnation)?.clone();
        row.touch(self.now_ms);
        Ok(self.alive(row))
    }

    /// What time has made due. That the stream is over was seen before; here it is not.
    fn tend(self) -> Result<Transition, Refusal> {
        let mut row = self.loaded.row.ok_or(Refusal::NotFound)?.clone();
        row.retain(self.now_ms);
        row.deadline_key_ms = row.due_ms();
        Ok(self.alive(row))
    }

    /// The stream, if it is in this life.
    fn of(self, incarnation: u64) -> Result<&'a StreamRow, Refusal> {
        let row = self.loaded.row.filter(|row| row.incarnation == incarnation);
        row.ok_or(Refusal::NotFound)
    }

    /// The stream goes on as this row.
    fn alive(self, row: StreamRow) -> Transition {
        let outcome = Outcome::Alive {
            standing: row.standing(),
            touched_ms: row.touched_ms,
        };
        let keep = self.unchanged(outcome);
        if self.loaded.row == Some(&row) {
            return keep;
        }
        Transition {
            row: RowChange::Put(row),
            ..keep
        }
    }

    /// What follows when bytes were put, or the stream was closed: it was used, and may forget its oldest bytes.
    pub(super) fn grown(self, row: &mut StreamRow) {
        row.touch(self.now_ms);
        if self.body_len > 0 {
            row.mark(self.now_ms);
            row.retain(self.now_ms);
        }
        row.index_deadline();
    }

    /// An answer that changes nothing, except that the stream was used.
    fn used(self, row: &StreamRow, outcome: Outcome) -> Transition {
        let keep = self.unchanged(outcome);
        if !row.wants_touch(self.now_ms) {
            return keep;
        }
        let mut row = row.clone();
        row.touch(self.now_ms);
        Transition {
            row: RowChange::Put(row),
            ..keep
        }
    }

    /// Turns a ruling that is neither a repeat nor an acceptance into its refusal.
    fn admit(self, ruling: Ruling, tuple: &ProducerTuple, row: &StreamRow) -> Result<(), Refusal> {
        match ruling {
            Ruling::Fenced { epoch } => Err(Refusal::Fenced { epoch }),
            Ruling::Gap { expected } => Err(Refusal::Gap {
                expected,
                received: tuple.seq,
            }),
            Ruling::MustStartAtZero => Err(Refusal::MustStartAtZero { received: tuple.seq }),
            Ruling::Accept if self.loaded.claim.is_none() && row.producers >= PRODUCERS_MAX => {
                Err(Refusal::TooManyProducers)
            }
            Ruling::Accept | Ruling::Repeat { .. } => Ok(()),
        }
    }

    pub(super) fn stored(self, row: &StreamRow, offset: Offset) -> Option<Stored> {
        let Self { body_len: len, .. } = self;
        (len > 0).then_some(Stored {
            incarnation: row.incarnation,
            offset,
            len,
        })
    }

    /// An answer, and time goes on: nothing else.
    pub(super) fn unchanged(self, outcome: Outcome) -> Transition {
        Transition {
            outcome,
            row: RowChange::Keep,
            claim: None,
            stored: None,
            dropped: None,
            blobs: BlobChange::default(),
            forks: Vec::new(),
            now_ms: self.now_ms,
        }
    }
}

/// `http` refuses these before they become commands; here they are refused again, so that a row is bounded whatever
/// the log says.
fn within_limits(stream: &StreamName, op: &Op) -> Result<(), Refusal> {
    let check = |fits: bool, field| if fits { Ok(()) } else { Err(Refusal::TooLong { field }) };
    let other = match op {
        Op::Fork(fork) => fork.other(),
        _ => None,
    };
    for name in [Some(stream), other].into_iter().flatten() {
        check(
            name.bucket().len().max(name.name().len()) <= NAME_BYTES_MAX,
            Field::Name,
        )?;
    }
    let (content_type, seq, producer) = match op {
        Op::Create(create) => (Some(&create.content_type), None, None),
        Op::Append(append) => (
            append.content_type.as_ref(),
            append.seq.as_ref(),
            append.producer.as_ref(),
        ),
        Op::Fork(ForkOp::Bear(bearing)) => (Some(&bearing.content_type), None, None),
        Op::Fork(ForkOp::Pledge(pledging)) => (pledging.asked.content_type.as_ref(), None, None),
        Op::Fork(_)
        | Op::Delete(_)
        | Op::Trim(_)
        | Op::Touch(_)
        | Op::Tend
        | Op::Bucket(_)
        | Op::Snapshot(_)
        | Op::Moved(_) => (None, None, None),
    };
    check(
        content_type.is_none_or(|text| text.len() <= CONTENT_TYPE_BYTES_MAX),
        Field::ContentType,
    )?;
    check(
        seq.is_none_or(|text| text.len() <= STREAM_SEQ_BYTES_MAX),
        Field::StreamSeq,
    )?;
    if let Some(ProducerTuple { id, epoch, seq }) = producer {
        check(!id.is_empty() && id.len() <= PRODUCER_ID_BYTES_MAX, Field::ProducerId)?;
        check(
            *epoch <= PRODUCER_NUMBER_MAX && *seq <= PRODUCER_NUMBER_MAX,
            Field::ProducerNumber,
        )?;
    }
    Ok(())
}
