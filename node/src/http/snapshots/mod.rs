//! Snapshots of streams, as clients see them.
//!
//! | file | the question |
//! |---|---|
//! | `ask` | what is asked? |
//! | `upload` | a blob on its way in, part by part |
//! | `mixed` | a snapshot and what came after it, on their way out |
//!
//! Publishing keeps the stream's bytes unless `http.on_snapshot` says otherwise: a reader that knows nothing of snapshots
//! must not lose its place because somebody made one. `PUT …/retention/{offset}` lets the bytes before a snapshot go.

mod ask;
mod mixed;
mod upload;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header, request::Parts};
use http_body::Body;

pub(super) use ask::{Ask, Beside, ask};
pub(crate) use mixed::Mixed;

use super::{
    Answer, Http, answer,
    answer::{STREAM_NEXT_OFFSET, STREAM_UP_TO_DATE, value},
    errors::Problem,
    json,
    pour::{AnswerBody, Pour},
    refusal::{self, STREAM_SNAPSHOT_OFFSET},
    request::STREAM_CLOSED,
};
use crate::{
    read::{Query, ReadError, Reading},
    stream::{Offset, Op, SnapshotOp, SnapshotRef, StreamName, StreamRow, Whence, is_json},
};

const TRUE: HeaderValue = HeaderValue::from_static("true");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// What `Stream-Snapshot-Offset` says of a bootstrap without a snapshot.
const NONE: HeaderValue = HeaderValue::from_static("none");

impl Http {
    /// Answers what is asked of the snapshots of a stream.
    pub(super) async fn snapshots<B>(&self, head: &Parts, stream: StreamName, ask: Ask, body: B) -> Answer
    where
        B: Body<Data = Bytes>,
    {
        match ask {
            Ask::Publish {
                offset,
                content_type,
                if_match,
            } => {
                let begin = SnapshotOp::Begin { offset, if_match };
                self.publish(head, stream, offset, begin, content_type, body).await
            }
            Ask::Newest { local } => self.newest(head, &stream, local).await,
            Ask::Fetch { offset, local } => self.fetch(&stream, offset, local).await,
            Ask::Remove { offset } => self.remove(&stream, offset).await,
            Ask::Trim { offset } => self.trim(head, stream, offset).await,
            Ask::Bootstrap { local } => self.bootstrap(stream, local).await,
        }
    }

    /// 307 to the newest snapshot.
    async fn newest(&self, head: &Parts, stream: &StreamName, local: bool) -> Answer {
        let row = self.row(stream, local).await?;
        let newest = row.snapshot.as_deref().ok_or_else(no_snapshot)?;
        let location = self.location(head);
        let query = head.uri.query().map_or(String::new(), |query| format!("?{query}"));
        let location = location.to_str().unwrap_or_default().trim_end_matches('/');
        let mut response = answer::empty(StatusCode::TEMPORARY_REDIRECT);
        let headers = response.headers_mut();
        headers.insert(header::LOCATION, value(format!("{location}/{}{query}", newest.offset)));
        headers.insert(header::CACHE_CONTROL, NO_STORE);
        headers.insert(STREAM_SNAPSHOT_OFFSET, value(newest.offset));
        Ok(response)
    }

    /// The blob of the snapshot at this offset.
    async fn fetch(&self, stream: &StreamName, offset: Offset, local: bool) -> Answer {
        let begun = self.node.bootstrap(stream, local, self.deadline()).await;
        let (row, reading, _) = begun.map_err(refusal::read_failed)?;
        let at = |row: &StreamRow| row.snapshot.as_ref().map(|newest| newest.offset);
        let Some(reading) = reading.filter(|_| at(&row) == Some(offset)) else {
            return Err(match at(&row) {
                Some(newest) => refusal::newest_at(no_snapshot(), newest),
                None => no_snapshot(),
            });
        };
        let content_type = value(reading.content_type());
        let body = match reading.left() {
            0 => AnswerBody::from(Bytes::new()),
            _ => AnswerBody::Pour(Pour::new(reading, false)),
        };
        let mut response = Response::new(body);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, content_type);
        // The same path may name a snapshot of another stream once this one was deleted.
        headers.insert(header::CACHE_CONTROL, NO_STORE);
        headers.insert(STREAM_SNAPSHOT_OFFSET, value(offset));
        headers.insert(STREAM_NEXT_OFFSET, value(row.tail));
        headers.insert(header::ETAG, value(row.standing().etag()));
        Ok(response)
    }

    /// The newest snapshot is what readers begin with; older ones are gone already.
    async fn remove(&self, stream: &StreamName, offset: Offset) -> Answer {
        let row = self.row(stream, false).await?;
        Err(match row.snapshot.as_deref() {
            Some(newest) if newest.offset == offset => {
                let message = "the newest snapshot stays: publish a newer one, which replaces it, or delete the stream";
                let problem = Problem::new(StatusCode::CONFLICT, "snapshot_is_newest", message);
                refusal::newest_at(problem, offset)
            }
            Some(newest) => refusal::newest_at(no_snapshot(), newest.offset),
            None => no_snapshot(),
        })
    }

    async fn trim(&self, head: &Parts, stream: StreamName, offset: Offset) -> Answer {
        let row = self.row(&stream, false).await?;
        self.on_a_boundary(&stream, &row, offset).await?;
        let op = Op::Snapshot(SnapshotOp::Trim { offset });
        let outcome = self.write(head, stream, op, Bytes::new()).await?;
        let standing = outcome.standing().copied();
        let standing = standing.ok_or_else(|| answer::unlike("PUT", &outcome))?;
        let mut response = answer::standing_at(StatusCode::NO_CONTENT, &standing);
        let earliest = value(standing.earliest);
        response.headers_mut().insert(refusal::STREAM_EARLIEST_OFFSET, earliest);
        Ok(response)
    }

    /// The newest snapshot and everything after it, as of one moment.
    async fn bootstrap(&self, stream: StreamName, local: bool) -> Answer {
        let begun = self.node.bootstrap(&stream, local, self.deadline()).await;
        let (row, snapshot, rest) = begun.map_err(refusal::read_failed)?;
        let boundary = self.boundary();
        let newest = row.snapshot.as_deref();
        let mut response = Response::new(AnswerBody::Mixed(Box::new(Mixed::new(snapshot, rest, &boundary))));
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            value(format!("multipart/mixed; boundary={boundary}")),
        );
        headers.insert(header::CACHE_CONTROL, NO_STORE);
        headers.insert(
            STREAM_SNAPSHOT_OFFSET,
            newest.map_or(NONE, |newest| value(newest.offset)),
        );
        headers.insert(STREAM_NEXT_OFFSET, value(row.tail));
        headers.insert(STREAM_UP_TO_DATE, TRUE);
        headers.insert(header::ETAG, value(row.standing().etag()));
        if row.closed.is_some() {
            headers.insert(STREAM_CLOSED, TRUE);
        }
        Ok(response)
    }

    /// What separates the parts of one answer. Nobody can have written it into a stream before it was thrown.
    fn boundary(&self) -> String {
        use rand::RngExt;
        let mut dice = self
            .boundaries
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        format!("holdfast-{:032x}", dice.random::<u128>())
    }

    async fn row(&self, stream: &StreamName, local: bool) -> Result<std::sync::Arc<StreamRow>, Problem> {
        self.node
            .look(stream, local, self.deadline())
            .await
            .map_err(refusal::read_failed)
    }

    /// Refuses a place inside a message of a JSON stream. One that the law refuses is left to the law.
    async fn on_a_boundary(&self, stream: &StreamName, row: &StreamRow, offset: Offset) -> Result<(), Problem> {
        if !is_json(&row.content_type) || offset <= row.earliest || offset >= row.tail {
            return Ok(());
        }
        let query = Query {
            stream: stream.clone(),
            whence: Whence::At(offset),
            local: true,
            deadline: self.deadline(),
        };
        let failed = |broken| refusal::read_failed(ReadError::Broken(broken));
        // This node has just been as far as `row`, so its own state will do.
        let mut reading: Reading = match self.node.read(query).await {
            Ok(reading) => reading,
            Err(ReadError::Refused(_) | ReadError::NotFound) => return Ok(()),
            Err(error) => return Err(refusal::read_failed(error)),
        };
        if reading.align(json::END).await.map_err(failed)? {
            Ok(())
        } else {
            Err(refusal::not_a_boundary())
        }
    }
}

/// Where the newest snapshot is, for HEAD.
pub(super) fn put_newest(headers: &mut http::HeaderMap, newest: Option<&SnapshotRef>) {
    if let Some(newest) = newest {
        headers.insert(STREAM_SNAPSHOT_OFFSET, value(newest.offset));
    }
}

fn no_snapshot() -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "snapshot_not_found",
        "there is no snapshot there: Stream-Snapshot-Offset says where the newest is, if there is one",
    )
}
