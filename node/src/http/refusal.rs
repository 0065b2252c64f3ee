//! What did not happen, and why: the law's refusals, and the failures of the two journeys, as clients see them.

use http::{HeaderName, HeaderValue, StatusCode, header};

use super::{
    answer::{STREAM_NEXT_OFFSET, value},
    buckets,
    errors::Problem,
    forks,
    request::{PRODUCER_EPOCH, STREAM_CLOSED},
};
use crate::{
    read::ReadError,
    stream::{Field, Offset, ReadRefusal, Refusal, SnapshotRefusal, Standing},
    write::WriteError,
};

pub(super) const STREAM_SNAPSHOT_OFFSET: HeaderName = HeaderName::from_static("stream-snapshot-offset");
pub(super) const STREAM_EARLIEST_OFFSET: HeaderName = HeaderName::from_static("stream-earliest-offset");
const PRODUCER_EXPECTED_SEQ: HeaderName = HeaderName::from_static("producer-expected-seq");
const PRODUCER_RECEIVED_SEQ: HeaderName = HeaderName::from_static("producer-received-seq");
const TRUE: HeaderValue = HeaderValue::from_static("true");

/// What the law's refusals look like from outside.
pub(super) fn refused(refusal: &Refusal) -> Problem {
    use StatusCode as S;
    match refusal {
        Refusal::NotFound => not_found(),
        Refusal::Conflict { standing, content_type } => standing_on(
            Problem::new(
                S::CONFLICT,
                "stream_exists",
                "a stream of this name exists with another content type, closed state, lifetime or retention: use it as it is, or \
                 delete it",
            )
            .with_field("content_type", content_type.as_str())
            .with_field("closed", standing.closed),
            standing,
        ),
        Refusal::Closed { standing } => closed(standing),
        Refusal::ContentType { expected } => content_type_mismatch(expected),
        Refusal::StreamSeq { standing, last } => standing_on(
            Problem::new(
                S::CONFLICT,
                "stream_seq_conflict",
                "Stream-Seq must be greater, byte by byte, than the last one appended",
            )
            .with_field("last", last.as_str()),
            standing,
        ),
        Refusal::Fenced { epoch } => Problem::new(
            S::FORBIDDEN,
            "producer_fenced",
            "a newer epoch of this producer has written: stop, or claim the id with a higher Producer-Epoch and seq 0",
        )
        .with_field("epoch", *epoch)
        .with_header(PRODUCER_EPOCH, (*epoch).into()),
        Refusal::Gap { expected, received } => Problem::new(
            S::CONFLICT,
            "producer_seq_conflict",
            "appends of this producer are missing in between: send the expected Producer-Seq first",
        )
        .with_field("expected", *expected)
        .with_field("received", *received)
        .with_header(PRODUCER_EXPECTED_SEQ, (*expected).into())
        .with_header(PRODUCER_RECEIVED_SEQ, (*received).into()),
        Refusal::MustStartAtZero { received } => Problem::bad(
            "producer_seq_not_zero",
            "the first append of a producer's epoch has Producer-Seq 0",
        )
        .with_field("received", *received),
        Refusal::TooManyProducers => Problem::new(
            S::CONFLICT,
            "too_many_producers",
            "this stream remembers as many producers as it may: keep a producer's id and raise its epoch instead",
        ),
        Refusal::IfMatch { standing } => {
            let problem = Problem::new(
                S::PRECONDITION_FAILED,
                "precondition_failed",
                "If-Match does not hold: look at the stream again (HEAD), then decide",
            );
            match standing {
                Some(standing) => standing_on(problem, standing),
                None => problem,
            }
        }
        Refusal::EmptyAppend => Problem::bad("empty_body", "an append has a body, or closes the stream"),
        Refusal::TooLong { field } => Problem::bad(
            "too_long",
            match field {
                Field::Name => "the stream path is too long",
                Field::ContentType => "Content-Type is too long",
                Field::StreamSeq => "Stream-Seq is too long",
                Field::ProducerId => "Producer-Id is empty or too long",
                Field::ProducerNumber => "Producer-Epoch and Producer-Seq are at most 2^53-1",
            },
        ),
        Refusal::Full => Problem::new(
            S::PAYLOAD_TOO_LARGE,
            "stream_full",
            "the stream has reached the last offset there is",
        ),
        Refusal::Bucket(refusal) => buckets::refused(*refusal),
        Refusal::Snapshot(refusal) => snapshot(refusal),
        Refusal::Gone => gone(),
        Refusal::Fork(refusal) => forks::refused(*refusal),
    }
}

/// What the refusals about snapshots look like from outside.
pub(super) fn snapshot(refusal: &SnapshotRefusal) -> Problem {
    let conflict = |code, message: &'static str| Problem::new(StatusCode::CONFLICT, code, message);
    match refusal {
        SnapshotRefusal::BeyondTail { standing } => standing_on(
            conflict(
                "snapshot_beyond_tail",
                "nobody has written up to there: a snapshot stands at Stream-Next-Offset or before",
            ),
            standing,
        ),
        SnapshotRefusal::Trimmed { standing } => trimmed(standing.earliest),
        SnapshotRefusal::Older { newest } => newest_at(
            conflict(
                "snapshot_older",
                "there is a newer snapshot: this one is not needed any more",
            ),
            *newest,
        ),
        SnapshotRefusal::Differs { newest } => newest_at(
            conflict(
                "snapshot_exists",
                "there is another snapshot at this offset, and snapshots never change: publish at a later one",
            ),
            *newest,
        ),
        SnapshotRefusal::AnotherLife => conflict(
            "stream_recreated",
            "the stream was deleted and created again during the upload: look at it again, then decide",
        ),
        SnapshotRefusal::UploadGone | SnapshotRefusal::PartsMissing { .. } => Problem::try_again(
            "upload_lost",
            "nothing was published, the upload was given up because it stood still: send it again",
        ),
        SnapshotRefusal::TooLarge => Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body_too_large",
            "no server keeps so large a snapshot: make it smaller",
        ),
        SnapshotRefusal::TooManyUploads => Problem::try_again(
            "backpressure",
            "nothing was published, too many snapshots are being uploaded: send it again soon",
        ),
        SnapshotRefusal::NothingStandsForIt { newest } => {
            let problem = conflict(
                "no_snapshot",
                "only what a snapshot stands for may go: publish one at this offset or a later one first",
            );
            match newest {
                Some(newest) => newest_at(problem, *newest),
                None => problem,
            }
        }
    }
}

/// Adds where the newest snapshot is.
pub(super) fn newest_at(problem: Problem, newest: Offset) -> Problem {
    problem.with_header(STREAM_SNAPSHOT_OFFSET, value(newest))
}

/// 410 for bytes that are no longer kept.
fn trimmed(earliest: Offset) -> Problem {
    Problem::new(
        StatusCode::GONE,
        "offset_trimmed",
        "the bytes there are no longer kept: read from Stream-Earliest-Offset",
    )
    .with_field("earliest", earliest.to_string())
    .with_header(STREAM_EARLIEST_OFFSET, value(earliest))
}

/// 404 for a stream.
pub(super) fn not_found() -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "stream_not_found",
        "there is no such stream: create it with PUT",
    )
}

/// 410 for a stream that is kept for its forks only.
pub(super) fn gone() -> Problem {
    Problem::new(
        StatusCode::GONE,
        "stream_gone",
        "the stream was deleted: only the forks it has can still be used",
    )
}

/// 409 for a PUT where such a stream is.
pub(super) fn name_taken() -> Problem {
    Problem::new(
        StatusCode::CONFLICT,
        "stream_gone",
        "a stream of this name was deleted and is kept for its forks: delete these first, or use another name",
    )
}

/// 409 for a closed stream.
pub(super) fn closed(standing: &Standing) -> Problem {
    let message = "the stream is closed: nothing can be appended any more";
    standing_on(Problem::new(StatusCode::CONFLICT, "stream_closed", message), standing)
}

/// 409 for a body of another type than the stream's.
pub(super) fn content_type_mismatch(expected: &str) -> Problem {
    let message = format!("the stream's content type is {expected}: send that");
    Problem::new(StatusCode::CONFLICT, "content_type_mismatch", message).with_field("expected", expected)
}

/// Adds where the stream stands, which lets a client go on without asking again.
fn standing_on(mut problem: Problem, standing: &Standing) -> Problem {
    problem = problem
        .with_header(STREAM_NEXT_OFFSET, value(standing.tail))
        .with_header(header::ETAG, value(standing.etag()));
    if standing.closed {
        problem.with_header(STREAM_CLOSED, TRUE)
    } else {
        problem
    }
}

/// What a write that has no outcome looks like from outside. `target` is the path and query that were asked for.
pub(super) fn write_failed(error: WriteError, target: &str) -> Problem {
    match error {
        WriteError::NoLeader { because } => Problem::try_again(
            "no_leader",
            format!("nothing was stored, no leader could take it ({because}): send it again soon"),
        ),
        WriteError::Overloaded => Problem::try_again(
            "backpressure",
            "nothing was stored, the node has too much to do: send it again soon",
        ),
        WriteError::ColdBehind => Problem::try_again(
            "backpressure",
            "nothing was stored, the journal is full because the cold store does not take the old bytes: send it again \
             later",
        ),
        WriteError::Stopping => Problem::try_again(
            "shutting_down",
            "nothing was stored, this node is shutting down: use another one",
        ),
        WriteError::Unknown { because } => Problem::new(
            StatusCode::GATEWAY_TIMEOUT,
            "outcome_unknown",
            format!(
                "the write may or may not be stored ({because}): retry it with the same producer headers, or look first"
            ),
        ),
        WriteError::Redirect { leader } => {
            let Ok(location) = HeaderValue::try_from(format!("http://{leader}{target}")) else {
                return Problem::try_again(
                    "no_leader",
                    "the leader's address cannot be named here: send it again soon",
                );
            };
            let message = format!("{leader} leads this stream: send it there");
            Problem::new(StatusCode::TEMPORARY_REDIRECT, "not_leader", message).with_header(header::LOCATION, location)
        }
    }
}

/// What a read without an answer looks like from outside.
pub(super) fn read_failed(error: ReadError) -> Problem {
    match error {
        ReadError::NotFound => not_found(),
        ReadError::Gone => gone(),
        ReadError::Refused(ReadRefusal::BeyondTail { tail }) => Problem::bad(
            "offset_beyond_tail",
            "nothing was ever written there: read from Stream-Next-Offset or before",
        )
        .with_field("tail", tail.to_string())
        .with_header(STREAM_NEXT_OFFSET, value(tail)),
        ReadError::Refused(ReadRefusal::Trimmed { earliest }) => trimmed(earliest),
        ReadError::Unavailable { because } => Problem::try_again(
            "no_leader",
            format!("no majority could confirm what is newest ({because}): try again, or read with consistency=local"),
        ),
        ReadError::Broken(broken) if broken.may_pass => Problem::try_again(
            "cold_unreachable",
            format!("these bytes are old, and the store that holds them does not answer ({broken}): try again"),
        ),
        ReadError::Broken(broken) => Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "read_failed",
            format!("this node cannot read its copy ({broken}): ask another node"),
        ),
    }
}

/// 503 for a live read: as many wait as may.
pub(super) fn too_many_wait() -> Problem {
    Problem::try_again(
        "backpressure",
        "as many readers wait at this node as may (http.max_waiters): try again soon, or ask another node",
    )
}

/// An offset that is not between two messages of a JSON stream.
pub(super) fn not_a_boundary() -> Problem {
    Problem::bad(
        "bad_offset",
        "the offset lies inside a message: use one that this server answered",
    )
}
