//! From what happened to status and headers.

use std::fmt::Display;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};

use super::{
    browser,
    errors::Problem,
    pour::{AnswerBody, Pour},
    refusal,
    request::{PRODUCER_EPOCH, PRODUCER_SEQ, STREAM_CLOSED},
    snapshots,
};
use crate::{
    read::Reading,
    stream::{Accepted, Outcome, ReadPlan, Refusal, Standing, StreamRow, Whence, is_json},
};

pub(super) const STREAM_NEXT_OFFSET: HeaderName = HeaderName::from_static("stream-next-offset");
pub(super) const STREAM_UP_TO_DATE: HeaderName = HeaderName::from_static("stream-up-to-date");
const TRUE: HeaderValue = HeaderValue::from_static("true");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// An answer without a body.
pub(super) fn empty(status: StatusCode) -> Response<AnswerBody> {
    let mut response = Response::new(AnswerBody::Whole(Bytes::new()));
    *response.status_mut() = status;
    response
}

/// The answer to a preflight.
pub(super) fn preflight() -> Response<AnswerBody> {
    let mut response = empty(StatusCode::NO_CONTENT);
    browser::preflight(response.headers_mut());
    response
}

/// The answer to a refusal.
pub(super) fn problem(problem: Problem) -> Response<AnswerBody> {
    let mut response = Response::new(AnswerBody::Whole(problem.body()));
    *response.status_mut() = problem.status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    // A cache may keep a 404 or 410 by itself; a stream may be created the next moment.
    headers.insert(header::CACHE_CONTROL, NO_STORE);
    for (name, value) in problem.headers {
        headers.insert(name, value);
    }
    response
}

/// The answer to a PUT. `location` is the absolute URL of the stream, `content_type` what was asked for.
pub(super) fn created(
    outcome: Outcome,
    location: HeaderValue,
    content_type: &str,
) -> Result<Response<AnswerBody>, Problem> {
    let mut response = match &outcome {
        Outcome::Created { standing } => {
            let mut response = standing_at(StatusCode::CREATED, standing);
            response.headers_mut().insert(header::LOCATION, location);
            response
        }
        Outcome::Exists { standing, .. } => standing_at(StatusCode::OK, standing),
        Outcome::Refused(Refusal::Gone) => return Err(refusal::name_taken()),
        other => return Err(unlike("PUT", other)),
    };
    let content_type = match &outcome {
        Outcome::Exists { content_type, .. } => content_type,
        _ => content_type,
    };
    response.headers_mut().insert(header::CONTENT_TYPE, value(content_type));
    Ok(response)
}

/// The answer to a POST. `stored` says whether it had a body: an append of a producer is answered 200, whatever stored
/// nothing 204.
pub(super) fn appended(outcome: Outcome, stored: bool) -> Result<Response<AnswerBody>, Problem> {
    let (mut response, producer) = match &outcome {
        Outcome::Appended {
            standing,
            producer: Some(producer),
        } if stored => (standing_at(StatusCode::OK, standing), Some(*producer)),
        Outcome::Appended { standing, producer } => (standing_at(StatusCode::NO_CONTENT, standing), *producer),
        Outcome::Duplicate { standing, producer } => (standing_at(StatusCode::NO_CONTENT, standing), Some(*producer)),
        Outcome::AlreadyClosed { standing } => (standing_at(StatusCode::NO_CONTENT, standing), None),
        other => return Err(unlike("POST", other)),
    };
    if let Some(Accepted { epoch, seq }) = producer {
        response.headers_mut().insert(PRODUCER_EPOCH, epoch.into());
        response.headers_mut().insert(PRODUCER_SEQ, seq.into());
    }
    Ok(response)
}

/// The answer to a DELETE.
pub(super) fn deleted(outcome: Outcome) -> Result<Response<AnswerBody>, Problem> {
    match outcome {
        Outcome::Deleted => Ok(empty(StatusCode::NO_CONTENT)),
        other => Err(unlike("DELETE", &other)),
    }
}

/// A refusal; or an outcome that the law never gives to such a command.
pub(super) fn unlike(method: &'static str, outcome: &Outcome) -> Problem {
    match outcome {
        Outcome::Refused(why) => refusal::refused(why),
        other => {
            tracing::error!(method, ?other, "an outcome that belongs to another method");
            Problem::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "internal",
                "this node answered itself strangely: look first",
            )
        }
    }
}

pub(super) fn standing_at(status: StatusCode, standing: &Standing) -> Response<AnswerBody> {
    let mut response = empty(status);
    put_standing(response.headers_mut(), standing);
    response
}

/// The answer to a read.
pub(super) fn read(reading: Reading, whence: Whence, caching: &HeaderValue) -> Response<AnswerBody> {
    let plan = *reading.plan();
    let json = is_json(reading.content_type());
    let content_type = value(reading.content_type());
    let body = match (reading.left(), json) {
        (0, false) => AnswerBody::Whole(Bytes::new()),
        (0, true) => AnswerBody::Whole(Bytes::from_static(b"[]")),
        _ => AnswerBody::Pour(Pour::new(reading, json)),
    };
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    put_plan(response.headers_mut(), &plan, whence, caching);
    response
}

/// The answer to a read of what the client has already.
pub(super) fn not_modified(plan: &ReadPlan, caching: &HeaderValue) -> Response<AnswerBody> {
    let mut response = empty(StatusCode::NOT_MODIFIED);
    put_plan(response.headers_mut(), plan, Whence::Start, caching);
    response
}

/// The answer to a long-poll that has no bytes to give.
pub(super) fn nothing_yet(plan: &ReadPlan) -> Response<AnswerBody> {
    let mut response = empty(StatusCode::NO_CONTENT);
    let headers = response.headers_mut();
    headers.insert(STREAM_NEXT_OFFSET, value(plan.end));
    headers.insert(STREAM_UP_TO_DATE, TRUE);
    headers.insert(header::CACHE_CONTROL, NO_STORE);
    if plan.closed {
        headers.insert(STREAM_CLOSED, TRUE);
    }
    response
}

/// The answer to a HEAD.
pub(super) fn head(row: &StreamRow, unchanged: bool) -> Response<AnswerBody> {
    let mut response = empty(if unchanged {
        StatusCode::NOT_MODIFIED
    } else {
        StatusCode::OK
    });
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, value(&row.content_type));
    headers.insert(header::CACHE_CONTROL, NO_STORE);
    put_standing(headers, &row.standing());
    snapshots::put_newest(headers, row.snapshot.as_deref());
    response
}

fn put_standing(headers: &mut HeaderMap, standing: &Standing) {
    headers.insert(STREAM_NEXT_OFFSET, value(standing.tail));
    headers.insert(header::ETAG, value(standing.etag()));
    if standing.closed {
        headers.insert(STREAM_CLOSED, TRUE);
    }
}

fn put_plan(headers: &mut HeaderMap, plan: &ReadPlan, whence: Whence, caching: &HeaderValue) {
    headers.insert(STREAM_NEXT_OFFSET, value(plan.end));
    if whence == Whence::Now {
        headers.insert(header::CACHE_CONTROL, NO_STORE);
    } else {
        headers.insert(header::CACHE_CONTROL, caching.clone());
        headers.insert(header::ETAG, value(plan.etag()));
    }
    if plan.at_tail {
        headers.insert(STREAM_UP_TO_DATE, TRUE);
    }
    if plan.closed {
        headers.insert(STREAM_CLOSED, TRUE);
    }
}

/// A header value from something that prints as visible ASCII. (A content type was checked when it came in.)
pub(super) fn value(text: impl Display) -> HeaderValue {
    HeaderValue::try_from(text.to_string()).unwrap_or(HeaderValue::from_static("application/octet-stream"))
}

/// The description of all routes, for machines.
pub(super) fn openapi() -> Response<AnswerBody> {
    let description = Bytes::from_static(include_bytes!("openapi.json"));
    let mut response = Response::new(AnswerBody::Whole(description));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=60"));
    response
}

/// Figures for Prometheus.
pub(super) fn metrics(page: String) -> Response<AnswerBody> {
    let mut response = Response::new(AnswerBody::Whole(page.into()));
    let headers = response.headers_mut();
    let content_type = "text/plain; version=0.0.4; charset=utf-8";
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The answer of a health or status route: 200, or 503 when something is not as it should be.
pub(super) fn report(ok: bool, body: &serde_json::Value) -> Response<AnswerBody> {
    json(
        if ok {
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        },
        body,
    )
}

/// An answer that is JSON, for people and programs.
pub(super) fn json(status: StatusCode, body: &serde_json::Value) -> Response<AnswerBody> {
    let mut text = serde_json::to_string_pretty(body).unwrap_or_default();
    text.push('\n');
    let mut response = Response::new(AnswerBody::Whole(text.into()));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(header::CACHE_CONTROL, NO_STORE);
    response
}
