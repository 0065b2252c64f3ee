//! PUT with `Stream-Forked-From`: what is asked, how it is done, and what it is answered.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, request::Parts};
use http_body::Body;

use super::{
    Answer, Http, answer, body,
    errors::Problem,
    json,
    lifetime::put_lifetime,
    refusal,
    request::{self, single},
    routes::{Route, route},
    target,
};
use crate::{
    bucket::Missing,
    fork::NoOrigin,
    read::ReadError,
    stream::{
        Asked, FORK_DEPTH_MAX, FORKS_MAX, ForkDone, ForkRefusal, Lifetime, Offset, Outcome, ReadRefusal, Refusal,
        StreamName, Whence, is_json,
    },
};

const FORKED_FROM: HeaderName = HeaderName::from_static("stream-forked-from");
const FORK_OFFSET: HeaderName = HeaderName::from_static("stream-fork-offset");
const FORK_SUB_OFFSET: HeaderName = HeaderName::from_static("stream-fork-sub-offset");

/// How often a fork is begun anew because its source was replaced under it.
const ATTEMPTS: usize = 3;

impl Http {
    /// PUT of a fork.
    pub(super) async fn fork<B>(&self, head: &Parts, stream: StreamName, asked: Asked, body: B) -> Answer
    where
        B: Body<Data = Bytes>,
    {
        let (body, mut held) = body::collect(body, self.bounds(head), &self.budget).await?;
        let missing = match request::bucket_of(head) {
            Some(_) => Missing::Refused,
            None => Missing::Made,
        };
        let deadline = self.deadline();
        for _ in 0..ATTEMPTS {
            // Who asks for what is there already gets it, whatever has become of the source.
            match self.node.look(&stream, false, deadline).await {
                Ok(row) => {
                    let outcome = row.answers(&asked).unwrap_or_else(Outcome::Refused);
                    return self.forked(head, outcome, &row.content_type, row.lifetime);
                }
                Err(ReadError::NotFound) if asked.if_match.is_none() => {}
                Err(ReadError::NotFound) => return Err(refusal::refused(&Refusal::IfMatch { standing: None })),
                Err(ReadError::Gone) => return Err(refusal::name_taken()),
                Err(error) => return Err(refusal::read_failed(error)),
            }
            let origin = self.node.origin(&asked, json::END, deadline).await.map_err(no_origin)?;
            let content_type = origin.row.content_type.clone();
            let lifetime = asked.lifetime.unwrap_or(origin.row.lifetime);
            let first = if is_json(&content_type) && !body.is_empty() {
                json::read(body.clone(), self.json, &mut held).await?
            } else {
                body.clone()
            };
            let forked = self
                .node
                .fork(&stream, asked.clone(), &origin, first, missing, deadline)
                .await;
            match forked.map_err(|error| refusal::write_failed(error, target(head)))? {
                Outcome::Refused(Refusal::Fork(ForkRefusal::AnotherLife | ForkRefusal::TooLate)) => {}
                outcome => return self.forked(head, outcome, &content_type, lifetime),
            }
        }
        Err(refused(ForkRefusal::AnotherLife))
    }

    fn forked(&self, head: &Parts, outcome: Outcome, content_type: &str, lifetime: Lifetime) -> Answer {
        let mut response = answer::created(outcome, self.location(head), content_type)?;
        put_lifetime(response.headers_mut(), lifetime);
        Ok(response)
    }

    /// What follows a DELETE that took a fork away: its source is told at once, so that it goes, too, if it was kept only
    /// for this.
    pub(super) async fn after_delete(&self, outcome: Outcome) -> Outcome {
        match outcome {
            Outcome::Fork(ForkDone::Deleted { debt }) => {
                self.node.pay_now(*debt).await;
                Outcome::Deleted
            }
            other => other,
        }
    }
}

/// What the headers of a PUT ask for, if it is of a fork.
///
/// # Errors
/// When they make no sense.
pub(super) fn asked(headers: &HeaderMap) -> Result<Option<Asked>, Problem> {
    let source = single(headers, &FORKED_FROM)?;
    let offset = single(headers, &FORK_OFFSET)?;
    let sub = single(headers, &FORK_SUB_OFFSET)?;
    let Some(source) = source else {
        return match (offset, sub) {
            (None, None) => Ok(None),
            _ => Err(Problem::bad(
                "bad_fork",
                "Stream-Fork-Offset and Stream-Fork-Sub-Offset come with Stream-Forked-From",
            )),
        };
    };
    let request::Created {
        content_type,
        closed,
        if_match,
        lifetime,
        retention,
        retention_default,
    } = request::created(headers)?;
    let sub = sub.map(sub_offset).transpose()?.unwrap_or(0);
    if sub > 0 && offset.is_none() {
        return Err(Problem::bad(
            "bad_fork",
            "a Stream-Fork-Sub-Offset above 0 says what it is counted from: send Stream-Fork-Offset, too",
        ));
    }
    Ok(Some(Asked {
        source: source_name(source)?,
        offset: offset.map(fork_offset).transpose()?,
        sub,
        content_type,
        closed,
        if_match,
        lifetime,
        retention,
        retention_default,
    }))
}

/// The stream that a path or a URL of this server names.
fn source_name(value: &HeaderValue) -> Result<StreamName, Problem> {
    let bad = || {
        Problem::bad(
            "bad_fork",
            "Stream-Forked-From is the path of a stream on this server, such as /v1/stream/mystream",
        )
    };
    let uri: Uri = value.to_str().ok().and_then(|text| text.parse().ok()).ok_or_else(bad)?;
    match route(uri.path()) {
        Ok(Route::Stream(path)) => request::stream(&path),
        Ok(Route::InBucket(bucket, name)) => request::stream_in(bucket, &name),
        _ => Err(bad()),
    }
}

fn fork_offset(value: &HeaderValue) -> Result<Offset, Problem> {
    let parsed = value.to_str().ok().and_then(|text| Offset::parse(text).ok());
    match parsed {
        Some(Whence::At(offset)) => Ok(offset),
        _ => Err(Problem::bad(
            "bad_offset",
            "Stream-Fork-Offset is an offset that this server answered",
        )),
    }
}

/// Digits, without a zero before them.
fn sub_offset(value: &HeaderValue) -> Result<u64, Problem> {
    let digits = value.as_bytes();
    let lawful = digits == b"0" || (digits.first().is_some_and(|first| *first != b'0') && digits.len() <= 16);
    request::integer(value).filter(|_| lawful).ok_or_else(|| {
        Problem::bad(
            "bad_fork",
            "Stream-Fork-Sub-Offset is a whole number, in digits: of bytes, or of messages",
        )
    })
}

fn no_origin(error: NoOrigin) -> Problem {
    match error {
        NoOrigin::Refused(refusal) => refused(refusal),
        NoOrigin::ContentType { expected } => Problem::new(
            StatusCode::CONFLICT,
            "content_type_mismatch",
            format!("the source's content type is {expected}: send that, or none"),
        )
        .with_field("expected", expected),
        NoOrigin::NoBoundary => refusal::not_a_boundary(),
        NoOrigin::PastAppend => Problem::bad(
            "fork_sub_offset_beyond_append",
            "Stream-Fork-Sub-Offset goes past the end of the append at Stream-Fork-Offset: count from a later offset",
        ),
        NoOrigin::Read(ReadError::NotFound) => refused(ForkRefusal::NoSource),
        NoOrigin::Read(ReadError::Gone) => refused(ForkRefusal::SourceGone),
        NoOrigin::Read(error) => refusal::read_failed(error),
    }
}

/// What the law of forks refuses, as clients see it.
pub(super) fn refused(refusal: ForkRefusal) -> Problem {
    match refusal {
        ForkRefusal::NoSource => Problem::new(
            StatusCode::NOT_FOUND,
            "fork_source_not_found",
            "there is no stream to fork: look at Stream-Forked-From",
        ),
        ForkRefusal::SourceGone => Problem::new(
            StatusCode::CONFLICT,
            "fork_source_gone",
            "the source was deleted, and is kept for the forks it has: fork one of these",
        ),
        ForkRefusal::AnotherLife | ForkRefusal::TooLate => Problem::try_again(
            "fork_source_changed",
            "the source was deleted and created again meanwhile, or this took too long: no fork was made, try again",
        ),
        ForkRefusal::BeyondTail { tail } => refusal::read_failed(ReadError::Refused(ReadRefusal::BeyondTail { tail })),
        ForkRefusal::Trimmed { earliest } => {
            refusal::read_failed(ReadError::Refused(ReadRefusal::Trimmed { earliest }))
        }
        ForkRefusal::TooMany => Problem::new(
            StatusCode::CONFLICT,
            "too_many_forks",
            format!(
                "a stream has at most {FORKS_MAX} forks, and a fork is based on at most {FORK_DEPTH_MAX} streams, one \
                 on the other: fork another one, or copy it"
            ),
        ),
    }
}
