//! A durable-streams client that never guesses: every call ends Done, Refused or Unknown, and is recorded.
//!
//! Unknown is what a timeout, a lost connection, a 504 or any other 5xx after sending comes to: the write may have
//! been done, may be done later, or never. Refused is only what is certain: it never left, or the server said no.

mod live;
mod moment;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response};

use crate::format::Format;
use crate::history::{
    Answer, Append, BucketOp, BucketSaw, Create, Ending, Fork, Op, Policy, Read, Recorder, Refusal, Seen, Stored,
};
use crate::record::{Content, LEN_MIN, Parser, Tag};
use crate::transport::Transport;

/// The offset that means the beginning.
pub const BEGINNING: &str = "-1";

/// One client. It asks one thing at a time.
pub struct Client {
    /// Its number, unique in the run.
    pub id: u32,
    /// Where its calls go.
    pub transport: Arc<dyn Transport>,
    /// Where its calls are written down.
    pub recorder: Recorder,
    /// How long it waits for an answer.
    pub deadline: Duration,
    tags: u32,
    sessions: u32,
}

/// Where a reader is, between one GET and the next.
#[derive(Clone, Debug)]
pub struct Cursor {
    from: String,
    session: u32,
    before: Option<Content>,
    parser: Parser,
}

impl Client {
    /// A client that has done nothing yet.
    #[must_use]
    pub fn new(id: u32, transport: Arc<dyn Transport>, recorder: Recorder, deadline: Duration) -> Self {
        Self {
            id,
            transport,
            recorder,
            deadline,
            tags: 0,
            sessions: 0,
        }
    }

    /// A tag nobody has used.
    pub fn tag(&mut self) -> Tag {
        self.tags += 1;
        Tag {
            client: self.id,
            number: self.tags,
        }
    }

    /// Creates a stream.
    pub async fn create(&self, node: usize, stream: &Arc<str>, create: Create) -> Ending {
        let body = create
            .tag
            .map_or_else(Bytes::new, |tag| Format::of(stream).body(tag, create.len));
        let path = if create.in_bucket {
            format!("/{stream}")
        } else {
            path(stream)
        };
        let mut request = Request::builder().method(Method::PUT).uri(path);
        request = request.header("Content-Type", &create.content_type);
        if create.closed {
            request = request.header("Stream-Closed", "true");
        }
        if let Some(ttl_s) = create.ttl_s {
            request = request.header("Stream-TTL", ttl_s);
        }
        if let Some((ms, epoch_ms)) = create.expires_ms.zip(self.transport.epoch_ms()) {
            request = request.header("Stream-Expires-At", moment::in_words(epoch_ms + ms));
        }
        request = keeping(request, create.keeps.unwrap_or_default());
        self.call(node, stream, Op::Create(create), request, body).await
    }

    /// Creates a stream as a fork of another, which has the same form.
    pub async fn fork(&self, node: usize, stream: &Arc<str>, fork: Fork) -> Ending {
        let format = Format::of(stream);
        let body = format.body(fork.tag, fork.len);
        let mut request = Request::builder().method(Method::PUT).uri(path(stream));
        request = request.header("Stream-Forked-From", path(&fork.source));
        if let Some(offset) = fork.offset {
            request = request.header("Stream-Fork-Offset", format!("{offset:020}"));
        }
        if fork.sub > 0 {
            // Of messages, those behind the offset are counted.
            let sub = match format {
                Format::Json => fork.sub / u64::from(LEN_MIN),
                Format::Bytes | Format::Text => fork.sub,
            };
            request = request.header("Stream-Fork-Sub-Offset", sub);
        }
        self.call(node, stream, Op::Fork(fork), request, body).await
    }

    /// Appends, closes, or both.
    pub async fn append(&self, node: usize, stream: &Arc<str>, append: Append) -> Ending {
        let body = append
            .tag
            .map_or_else(Bytes::new, |tag| Format::of(stream).body(tag, append.len));
        let mut request = Request::builder().method(Method::POST).uri(path(stream));
        if !append.content_type.is_empty() {
            request = request.header("Content-Type", &append.content_type);
        }
        if append.close {
            request = request.header("Stream-Closed", "true");
        }
        if let Some(producer) = &append.producer {
            request = request.header("Producer-Id", &producer.id);
            request = request.header("Producer-Epoch", producer.epoch);
            request = request.header("Producer-Seq", producer.seq);
        }
        if let Some(seq) = &append.seq {
            request = request.header("Stream-Seq", seq);
        }
        if let Some(etag) = &append.if_match {
            request = request.header("If-Match", etag);
        }
        self.call(node, stream, Op::Append(append), request, body).await
    }

    /// Deletes a stream.
    pub async fn delete(&self, node: usize, stream: &Arc<str>) -> Ending {
        let request = Request::builder().method(Method::DELETE).uri(path(stream));
        self.call(node, stream, Op::Delete, request, Bytes::new()).await
    }

    /// Asks something of a bucket.
    pub async fn bucket(&self, node: usize, bucket: &Arc<str>, op: BucketOp) -> Ending {
        let (method, path) = match &op {
            BucketOp::Make | BucketOp::MakeKeeping(_) => (Method::PUT, format!("/{bucket}")),
            BucketOp::Drop => (Method::DELETE, format!("/{bucket}")),
            BucketOp::Count => (Method::GET, format!("/{bucket}")),
            BucketOp::List { prefix, after, limit } => (
                Method::GET,
                format!("/{bucket}/streams?prefix={prefix}&after={after}&limit={limit}"),
            ),
        };
        let mut request = Request::builder().method(method).uri(path);
        if let BucketOp::MakeKeeping(policy) = &op {
            request = keeping(request, *policy);
        }
        self.call(node, bucket, Op::Bucket(op), request, Bytes::new()).await
    }

    /// Asks where a stream ends.
    pub async fn head(&self, node: usize, stream: &Arc<str>) -> Ending {
        let request = Request::builder().method(Method::HEAD).uri(path(stream));
        self.call(node, stream, Op::Head, request, Bytes::new()).await
    }

    /// A cursor at the beginning of a stream.
    pub fn from_the_beginning(&mut self) -> Cursor {
        self.sessions += 1;
        let before = Some(Content::default());
        Cursor {
            from: BEGINNING.into(),
            session: self.sessions,
            before,
            parser: Parser::default(),
        }
    }

    /// A cursor somewhere in a stream, at a token from an answer. It does not know what comes before it.
    pub fn from_offset(&mut self, offset: &str) -> Cursor {
        self.sessions += 1;
        Cursor {
            from: offset.into(),
            session: self.sessions,
            before: None,
            parser: Parser::default(),
        }
    }

    /// One GET; moves the cursor behind what it returned.
    pub async fn read(&self, node: usize, stream: &Arc<str>, cursor: &mut Cursor, local: bool) -> Ending {
        let mut uri = format!("{}?offset={}", path(stream), cursor.from);
        if local {
            uri.push_str("&consistency=local");
        }
        let read = Read {
            from: cursor.from.clone(),
            local,
            session: cursor.session,
            before: cursor.before,
            bootstrap: false,
            live: None,
        };
        let id = self
            .recorder
            .invoke(self.id, node, stream, Op::Read(read), self.transport.now_ns());
        let request = Request::builder().method(Method::GET).uri(uri).body(Bytes::new());
        let ending = match request {
            Err(error) => never_left(&error),
            Ok(request) => match self.transport.call(node, request, self.deadline).await {
                Err(error) if error.sent => Ending::Unknown(error.why),
                Err(_) => Ending::Refused(Refusal::NotSent),
                Ok(response) if response.status().as_u16() == 200 => seen(stream, &response, cursor),
                Ok(response) => not_done(&Op::Head, &response),
            },
        };
        self.recorder.end(id, ending.clone(), self.transport.now_ns());
        ending
    }

    /// GETs until the tail is reached, or one does not succeed; returns how the last one ended.
    pub async fn read_to_tail(&self, node: usize, stream: &Arc<str>, cursor: &mut Cursor, local: bool) -> Ending {
        loop {
            let from = cursor.from.clone();
            let ending = self.read(node, stream, cursor, local).await;
            match &ending {
                // No progress and not at the tail: a server that would never let the reader go.
                Ending::Done(Answer::Read(seen)) if !seen.up_to_date && seen.next != from => {}
                _ => return ending,
            }
        }
    }

    /// A number no session of this client has.
    pub(crate) fn session(&mut self) -> u32 {
        self.sessions += 1;
        self.sessions
    }

    pub(crate) async fn call(
        &self,
        node: usize,
        stream: &Arc<str>,
        op: Op,
        request: http::request::Builder,
        body: Bytes,
    ) -> Ending {
        self.call_pausing(node, stream, op, request, body, Duration::ZERO).await
    }

    /// The same, with a pause in the middle of the body.
    pub(crate) async fn call_pausing(
        &self,
        node: usize,
        stream: &Arc<str>,
        op: Op,
        request: http::request::Builder,
        body: Bytes,
        pause: Duration,
    ) -> Ending {
        let id = self
            .recorder
            .invoke(self.id, node, stream, op.clone(), self.transport.now_ns());
        let ending = match request.body(body) {
            Err(error) => never_left(&error),
            Ok(request) => match self.transport.call_slowly(node, request, pause, self.deadline).await {
                Err(error) if error.sent => Ending::Unknown(error.why),
                Err(_) => Ending::Refused(Refusal::NotSent),
                Ok(response) => done(&op, &response).unwrap_or_else(|| not_done(&op, &response)),
            },
        };
        self.recorder.end(id, ending.clone(), self.transport.now_ns());
        ending
    }
}

impl Cursor {
    /// Behind what a session has read.
    pub(crate) fn behind(offset: &str, session: u32, before: Content) -> Self {
        Self {
            from: offset.into(),
            session,
            before: Some(before),
            parser: Parser::default(),
        }
    }
}

fn keeping(mut request: http::request::Builder, policy: Policy) -> http::request::Builder {
    if let Some(age_s) = policy.age_s {
        request = request.header("Stream-Retention-Age", age_s);
    }
    if let Some(bytes) = policy.bytes {
        request = request.header("Stream-Retention-Bytes", bytes);
    }
    request
}

fn path(stream: &str) -> String {
    format!("/v1/stream/{stream}")
}

pub(crate) fn never_left(error: &http::Error) -> Ending {
    let code = format!("not a request: {error}");
    Ending::Refused(Refusal::Other { status: 0, code })
}

pub(crate) fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .map(str::to_owned)
}

fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    text(headers, name).and_then(|value| value.parse().ok())
}

pub(crate) fn is_true(headers: &HeaderMap, name: &str) -> bool {
    text(headers, name).is_some_and(|value| value.eq_ignore_ascii_case("true"))
}

/// The ending of a call that succeeded; `None` if it did not, or in a way nobody understands.
fn done(op: &Op, response: &Response<Bytes>) -> Option<Ending> {
    let headers = response.headers();
    let (next, etag) = (text(headers, "Stream-Next-Offset"), text(headers, "ETag"));
    let answer = match (op, response.status().as_u16()) {
        (Op::Create(_) | Op::Fork(_), status @ (200 | 201)) => Answer::Created {
            new: status == 201,
            next,
            etag,
        },
        (Op::Append(append), 200 | 204) => {
            let fresh = response.status().as_u16() == 200;
            let stored = match &append.producer {
                None => Stored::Now,
                Some(_) if fresh => Stored::Now,
                Some(_) if append.tag.is_none() => Stored::NowOrBefore,
                // The highest accepted number is in the answer; without it, the one that was asked is the least.
                Some(producer) => Stored::Before(number(headers, "Producer-Seq").unwrap_or(producer.seq)),
            };
            Answer::Appended { stored, next, etag }
        }
        (Op::Delete, 200 | 204) => Answer::Deleted,
        (Op::Bucket(op), status) => Answer::Bucket(bucket_saw(op, status, response.body())?),
        (Op::Publish(_), 200 | 204) => Answer::Published,
        (Op::Trim { .. }, 204) => Answer::Trimmed {
            earliest: text(headers, "Stream-Earliest-Offset")?,
        },
        (Op::Head, 200 | 204) => {
            let content_type = text(headers, "Content-Type").unwrap_or_default();
            Answer::Head {
                next: next?,
                closed: is_true(headers, "Stream-Closed"),
                content_type,
                etag,
            }
        }
        _ => return None,
    };
    Some(Ending::Done(answer))
}

/// What a bucket answered; `None` if it refused, or nobody understands it.
fn bucket_saw(op: &BucketOp, status: u16, body: &[u8]) -> Option<BucketSaw> {
    let body = || serde_json::from_slice::<serde_json::Value>(body).ok();
    match (op, status) {
        (BucketOp::Make | BucketOp::MakeKeeping(_), 201) => Some(BucketSaw::Made),
        (BucketOp::Drop, 204) => Some(BucketSaw::Dropped),
        (BucketOp::Count, 200) => body()?["streams"].as_u64().map(BucketSaw::Count),
        (BucketOp::List { .. }, 200) => {
            let body = body()?;
            let streams = body["streams"].as_array()?.iter();
            let name = |stream: &serde_json::Value| stream["stream_id"].as_str().map(str::to_owned);
            Some(BucketSaw::Listed {
                names: streams.map(name).collect::<Option<_>>()?,
                next: body["next_cursor"].as_str().map(str::to_owned),
                has_more: body["has_more"].as_bool()?,
            })
        }
        _ => None,
    }
}

fn seen(stream: &str, response: &Response<Bytes>, cursor: &mut Cursor) -> Ending {
    let (headers, format) = (response.headers(), Format::of(stream));
    let Some(next) = text(headers, "Stream-Next-Offset") else {
        return Ending::Unknown("the answer has no Stream-Next-Offset".into());
    };
    let closed = is_true(headers, "Stream-Closed");
    let (tags, mut garbage) = match cursor.parser.take_as(format, response.body()) {
        Ok(tags) => (tags, None),
        Err(garbage) => (Vec::new(), Some(garbage.to_string())),
    };
    // A long-poll that ends without news has no body, so none of any form.
    let content_type = text(headers, "Content-Type").unwrap_or_default();
    let is_whole = format != Format::Json || !response.body().is_empty();
    if response.status().as_u16() == 200 && (content_type != format.content_type() || !is_whole) {
        garbage.get_or_insert(format!("{} bytes of `{content_type}`", response.body().len()));
    }
    let after = cursor
        .before
        .map(|before| tags.iter().fold(before, |content, tag| content.then(*tag)));
    cursor.before = after;
    cursor.from.clone_from(&next);
    Ending::Done(Answer::Read(Seen {
        next,
        // The end of a closed stream is a tail, too.
        up_to_date: is_true(headers, "Stream-Up-To-Date") || closed,
        closed,
        tags,
        bytes: format.stored_bytes(response.body()),
        after,
        inside_a_record: cursor.parser.inside_a_record(),
        garbage,
        ..Seen::default()
    }))
}

/// The ending of a call that did not succeed.
pub(crate) fn not_done(op: &Op, response: &Response<Bytes>) -> Ending {
    let headers = response.headers();
    let status = response.status().as_u16();
    let code = error_code(response.body());
    let refusal = match status {
        _ if code == "outcome_unknown" => return Ending::Unknown(format!("{status} {code}")),
        503 if matches!(
            &code[..],
            "no_leader" | "backpressure" | "bucket_busy" | "upload_lost" | "fork_source_changed"
        ) =>
        {
            Refusal::Unavailable { code }
        }
        501 => Refusal::Other { status, code },
        // 408 is the server giving up on a request it may have begun to read; a 2xx here was not understood.
        200..=299 | 408 | 500..=599 => return Ending::Unknown(format!("{status} {code}")),
        404 => Refusal::NotFound,
        410 if code == "stream_gone" => Refusal::Buried,
        403 => match number(headers, "Producer-Epoch") {
            Some(epoch) => Refusal::Fenced { epoch },
            None => Refusal::Other { status, code },
        },
        412 => Refusal::IfMatch,
        410 => Refusal::Gone {
            earliest: text(headers, "Stream-Earliest-Offset"),
        },
        400 if code == "offset_beyond_tail" => Refusal::BeyondTail,
        409 if matches!(op, Op::Create(_) | Op::Fork(_) | Op::Bucket(_)) => Refusal::Conflict,
        409 if matches!(op, Op::Publish(_) | Op::Trim { .. }) => Refusal::Other { status, code },
        409 if is_true(headers, "Stream-Closed") => Refusal::Closed {
            next: text(headers, "Stream-Next-Offset"),
        },
        409 => match (
            number(headers, "Producer-Expected-Seq"),
            number(headers, "Producer-Received-Seq"),
        ) {
            (Some(expected), Some(received)) => Refusal::Gap { expected, received },
            _ if code.contains("content_type") => Refusal::ContentType,
            _ if code.contains("seq") => Refusal::StreamSeq,
            _ => Refusal::Other { status, code },
        },
        _ => Refusal::Other { status, code },
    };
    Ending::Refused(refusal)
}

/// `{"error":{"code":…}}`; empty if the body is something else.
pub(crate) fn error_code(body: &[u8]) -> String {
    let json: Option<serde_json::Value> = serde_json::from_slice(body).ok();
    let code = json.as_ref().and_then(|json| json.get("error")?.get("code")?.as_str());
    code.unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, headers: &[(&str, &str)], body: &'static str) -> Response<Bytes> {
        let mut response = Response::builder().status(status);
        for (name, value) in headers {
            response = response.header(*name, *value);
        }
        response.body(Bytes::from(body)).unwrap()
    }

    fn ending(op: &Op, response: &Response<Bytes>) -> Ending {
        done(op, response).unwrap_or_else(|| not_done(op, response))
    }

    fn producing(body: bool) -> Op {
        let producer = Some(crate::history::Producer {
            id: "p".into(),
            epoch: 0,
            seq: 3,
        });
        let tag = body.then_some(Tag { client: 1, number: 1 });
        Op::Append(Append {
            tag,
            producer,
            close: !body,
            ..Append::default()
        })
    }

    #[test]
    fn nobody_knows_after_a_server_error() {
        let append = Op::Append(Append::default());
        for (status, body) in [
            (500, ""),
            (502, ""),
            (504, r#"{"error":{"code":"outcome_unknown"}}"#),
            (503, r#"{"error":{"code":"outcome_unknown"}}"#),
            (503, ""),
        ] {
            assert!(
                matches!(ending(&append, &answer(status, &[], body)), Ending::Unknown(_)),
                "{status}"
            );
        }
    }

    #[test]
    fn no_leader_and_backpressure_are_certain() {
        for body in [
            r#"{"error":{"code":"no_leader"}}"#,
            r#"{"error":{"code":"backpressure"}}"#,
        ] {
            let ending = ending(&Op::Delete, &answer(503, &[], body));
            assert!(matches!(ending, Ending::Refused(Refusal::Unavailable { .. })), "{body}");
        }
    }

    #[test]
    fn a_producer_learns_whether_it_was_stored_before() {
        let stored = |op: &Op, response| match ending(op, &response) {
            Ending::Done(Answer::Appended { stored, .. }) => stored,
            other => panic!("{other:?}"),
        };
        assert_eq!(stored(&producing(true), answer(200, &[], "")), Stored::Now);
        assert_eq!(
            stored(&producing(true), answer(204, &[("Producer-Seq", "7")], "")),
            Stored::Before(7)
        );
        assert_eq!(stored(&producing(false), answer(204, &[], "")), Stored::NowOrBefore);
        assert_eq!(
            stored(&Op::Append(Append::default()), answer(204, &[], "")),
            Stored::Now
        );
    }

    #[test]
    fn refusals_are_told_apart_by_their_headers() {
        let append = producing(true);
        let closed = answer(409, &[("Stream-Closed", "true"), ("Stream-Next-Offset", "9")], "");
        assert_eq!(
            ending(&append, &closed),
            Ending::Refused(Refusal::Closed { next: Some("9".into()) })
        );
        let gap = answer(
            409,
            &[("Producer-Expected-Seq", "2"), ("Producer-Received-Seq", "3")],
            "",
        );
        assert_eq!(
            ending(&append, &gap),
            Ending::Refused(Refusal::Gap {
                expected: 2,
                received: 3
            })
        );
        let fenced = answer(403, &[("Producer-Epoch", "4")], "");
        assert_eq!(ending(&append, &fenced), Ending::Refused(Refusal::Fenced { epoch: 4 }));
        let seq = answer(409, &[], r#"{"error":{"code":"stream_seq_conflict"}}"#);
        assert_eq!(ending(&append, &seq), Ending::Refused(Refusal::StreamSeq));
        assert_eq!(
            ending(&append, &answer(412, &[], "")),
            Ending::Refused(Refusal::IfMatch)
        );
    }
}
