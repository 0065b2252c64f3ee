//! A blob on its way in: part after part goes into the log, and only then it is published.
//!
//! While one part is being stored the next one is gathered, so an upload holds two parts, whatever its length; both count
//! on the budget. Parts are stored one after the other, so that each follows the one before; a part whose fate is unknown
//! is sent again, which is safe, because the law knows its place. An upload that breaks off is given up in words, or found
//! standing still by the leader: what was published before stays the newest.

use bytes::Bytes;
use futures_util::future::join;
use http::{StatusCode, request::Parts};
use http_body::Body;
use net::rt;
use sha2::{Digest, Sha256};
use std::{pin::pin, time::Duration};

use super::super::{
    Answer, Http, answer,
    body::{self, Intake},
    errors::Problem,
    refusal::{self, STREAM_SNAPSHOT_OFFSET},
};
use crate::{
    config::OnSnapshot,
    stream::{Command, Offset, Op, Outcome, Publish, SnapshotDone, SnapshotOp, StreamName, may_publish},
    write::WriteError,
};

/// The pause before what nobody knows the fate of is sent again.
const PAUSE: Duration = Duration::from_millis(50);

/// How long one tries to say that an upload is given up, while its client waits to hear why.
const GIVE_UP: Duration = Duration::from_secs(1);

/// An upload that has begun.
struct Upload<'a> {
    http: &'a Http,
    /// Path and query that were asked for.
    target: &'a str,
    stream: StreamName,
    blob: u64,
    /// How many bytes are stored.
    len: u64,
    digest: Sha256,
}

/// A command that was refused, or has no outcome.
enum Failed {
    /// It certainly has not been done, or only as much as the problem says.
    Problem(Problem),
    /// Nobody knows.
    Unknown(String),
}

impl Http {
    /// `PUT snapshot/{offset}`.
    pub(super) async fn publish<B>(
        &self,
        head: &Parts,
        stream: StreamName,
        offset: Offset,
        begin: SnapshotOp,
        content_type: String,
        body: B,
    ) -> Answer
    where
        B: Body<Data = Bytes>,
    {
        let bounds = body::Bounds {
            max_bytes: self.node.config.http.max_snapshot,
            ..self.bounds(head)
        };
        let begun = match bounds.announced(&body) {
            Ok(()) => self.begin_upload(head, stream, offset, begin).await,
            Err(problem) => Err(problem),
        };
        let mut upload = match begun {
            Ok(upload) => upload,
            Err(problem) => {
                body::discard(body, bounds.awaits_continue).await;
                return Err(problem);
            }
        };
        let mut body = pin!(body);
        let mut intake = Intake::new(body.as_mut(), bounds);
        let published = match upload.take(&mut intake).await {
            Ok(()) => upload.publish(offset, content_type).await,
            Err(problem) => {
                // Whoever sends more than may be should see the answer rather than a reset connection.
                intake.linger().await;
                Err(problem)
            }
        };
        match published {
            Ok(response) => Ok(response),
            Err(problem) => {
                upload.give_up().await;
                Err(problem)
            }
        }
    }

    /// Begins an upload, after everything was refused that can be known before the first byte has come.
    async fn begin_upload<'a>(
        &'a self,
        head: &'a Parts,
        stream: StreamName,
        offset: Offset,
        begin: SnapshotOp,
    ) -> Result<Upload<'a>, Problem> {
        let row = self.row(&stream, false).await?;
        may_publish(&row, offset).map_err(|refusal| refusal::snapshot(&refusal))?;
        self.on_a_boundary(&stream, &row, offset).await?;
        let mut upload = Upload {
            http: self,
            target: head.uri.path_and_query().map_or("/", |target| target.as_str()),
            stream,
            blob: 0,
            len: 0,
            digest: Sha256::new(),
        };
        let begin = upload.command(begin, Bytes::new());
        match upload.told(begin).await.map_err(nothing_published)? {
            SnapshotDone::Begun { blob } => upload.blob = blob,
            other => return Err(unlike(other)),
        }
        Ok(upload)
    }
}

impl Upload<'_> {
    /// Stores the whole body.
    async fn take<B>(&mut self, intake: &mut Intake<'_, B>) -> Result<(), Problem>
    where
        B: Body<Data = Bytes>,
    {
        let config = &self.http.node.config.http;
        // A part that goes to the cold store at once is as large as such bodies are.
        let part = config
            .snapshot_part
            .max(self.http.node.config.cold.sent_ahead().unwrap_or(0));
        let part_bytes = usize::try_from(part.min(config.max_body)).unwrap_or(usize::MAX);
        let budget = &self.http.budget;
        let mut next = intake.part(part_bytes, budget).await?;
        while let Some((part, held)) = next {
            self.digest.update(&part);
            let (stored, following) = join(self.store(part), intake.part(part_bytes, budget)).await;
            drop(held);
            self.len = stored?;
            next = following?;
        }
        Ok(())
    }

    /// Stores one part; how long the blob is then.
    async fn store(&self, part: Bytes) -> Result<u64, Problem> {
        let (blob, at) = (self.blob, self.len);
        let end = at + part.len() as u64;
        let part = self.command(SnapshotOp::Part { blob, at }, part);
        match self.told(part).await.map_err(nothing_published)? {
            SnapshotDone::Stored { len } if len == end => Ok(len),
            other => Err(unlike(other)),
        }
    }

    /// What was stored becomes the newest snapshot.
    async fn publish(&mut self, offset: Offset, content_type: String) -> Answer {
        let publish = Publish {
            blob: self.blob,
            offset,
            len: self.len,
            content_type,
            digest: std::mem::take(&mut self.digest).finalize().into(),
            trim: self.http.node.config.http.on_snapshot == OnSnapshot::Trim,
        };
        let publish = self.command(SnapshotOp::Publish(publish), Bytes::new());
        match self.told(publish).await {
            Ok(SnapshotDone::Published { standing }) => {
                let mut response = answer::standing_at(StatusCode::NO_CONTENT, &standing);
                let headers = response.headers_mut();
                headers.insert(STREAM_SNAPSHOT_OFFSET, answer::value(offset));
                Ok(response)
            }
            Ok(other) => Err(unlike(other)),
            Err(Failed::Problem(problem)) => Err(problem),
            Err(Failed::Unknown(because)) => Err(refusal::write_failed(WriteError::Unknown { because }, self.target)),
        }
    }

    /// Says that nothing will come of it. If nobody hears, the leader will see it standing still.
    async fn give_up(&self) {
        let (blob, len) = (self.blob, self.len);
        let command = self.command(SnapshotOp::Drop { blob, len }, Bytes::new());
        if let Err(error) = self.http.node.write(command, rt::Instant::now() + GIVE_UP).await {
            tracing::debug!(blob, %error, "an upload that broke off is left to the leader");
        }
    }

    fn command(&self, op: SnapshotOp, body: Bytes) -> Command {
        Command {
            now_ms: 0,
            stream: self.stream.clone(),
            op: Op::Snapshot(op),
            elsewhere: None,
            body,
        }
    }

    /// Tells the leader, again and again while nobody knows whether it heard: everything told here is a repeat when it
    /// was done before. (All but the beginning: an upload begun twice is one that stands still.)
    async fn told(&self, command: Command) -> Result<SnapshotDone, Failed> {
        let deadline = self.http.deadline();
        let mut unknown = None;
        loop {
            let because = match self.http.node.write(command.clone(), deadline).await {
                Ok(Outcome::Snapshot(done)) => return Ok(done),
                Err(WriteError::Unknown { because }) => because,
                // It was done at first, perhaps, and something else since.
                Ok(Outcome::Refused(_)) | Err(_) if unknown.is_some() => {
                    return Err(Failed::Unknown(unknown.unwrap_or_default()));
                }
                Ok(other) => return Err(Failed::Problem(answer::unlike("PUT", &other))),
                Err(error) => return Err(Failed::Problem(refusal::write_failed(error, self.target))),
            };
            if rt::Instant::now() + PAUSE >= deadline {
                return Err(Failed::Unknown(because));
            }
            unknown = Some(because);
            rt::sleep(PAUSE).await;
        }
    }
}

/// Before the last step, whatever is unknown: nobody sees anything of it.
fn nothing_published(failed: Failed) -> Problem {
    match failed {
        Failed::Problem(problem) => problem,
        Failed::Unknown(because) => Problem::try_again(
            "no_leader",
            format!("nothing was published, no leader could take it ({because}): send it again soon"),
        ),
    }
}

fn unlike(done: SnapshotDone) -> Problem {
    answer::unlike("PUT", &Outcome::Snapshot(done))
}
