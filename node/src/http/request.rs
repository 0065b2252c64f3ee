//! From headers and query to what is asked. Every 400 that a request earns by its own words is made here.
//!
//! What means nothing is refused rather than guessed at: a header given twice, half of a producer's tuple, a number with
//! a sign. Only unknown query parameters are passed over, as the protocol wants.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header, request::Parts};
use percent_encoding::percent_decode_str;

use super::{
    buckets::BucketWish,
    errors::Problem,
    forks, lifetime,
    listing::listing,
    live::{Ask, Mode},
    routes::{About, Route, route},
    snapshots,
};
use crate::listing::Listing;
use crate::stream::{
    Append, Asked, BadName, CONTENT_TYPE_BYTES_MAX, Condition, Create, Delete, Lifetime, Offset, PRODUCER_ID_BYTES_MAX,
    PRODUCER_NUMBER_MAX, ProducerTuple, Retention, STREAM_SEQ_BYTES_MAX, StreamName, Whence,
};

pub(super) const STREAM_CLOSED: HeaderName = HeaderName::from_static("stream-closed");
pub(super) const STREAM_SEQ: HeaderName = HeaderName::from_static("stream-seq");
pub(super) const PRODUCER_ID: HeaderName = HeaderName::from_static("producer-id");
pub(super) const PRODUCER_EPOCH: HeaderName = HeaderName::from_static("producer-epoch");
pub(super) const PRODUCER_SEQ: HeaderName = HeaderName::from_static("producer-seq");

/// The media type of a stream whose creator names none.
pub(super) const DEFAULT_CONTENT_TYPE: &str = "application/octet-stream";

/// What a GET asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Read {
    pub(super) whence: Whence,
    /// `?consistency=local`: this node's own state will do.
    pub(super) local: bool,
    pub(super) if_none_match: Option<Condition>,
    /// Whether it goes on at the tail, and how.
    pub(super) live: Option<Ask>,
}

/// What a HEAD asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Look {
    pub(super) local: bool,
    pub(super) if_none_match: Option<Condition>,
}

/// What a request wants, as far as its head says.
#[derive(Debug)]
pub(super) enum Wanted {
    /// OPTIONS: may a page of another origin ask?
    Preflight,
    /// GET or HEAD of something the node says about itself.
    About(About),
    /// PUT, GET, HEAD or DELETE of a bucket.
    Bucket(String, BucketWish),
    /// GET or HEAD of the list of a bucket's streams.
    List(String, Listing),
    /// PUT, without its body.
    Create(StreamName, Create),
    /// PUT of a fork, without its body.
    Fork(StreamName, Asked),
    /// POST, without its body.
    Append(StreamName, Append),
    /// DELETE.
    Delete(StreamName, Delete),
    /// GET.
    Read(StreamName, Read),
    /// HEAD.
    Look(StreamName, Look),
    /// Something about its snapshots.
    Snapshots(StreamName, snapshots::Ask),
}

/// Understands the head of a request.
pub(super) fn wanted(head: &Parts) -> Result<Wanted, Problem> {
    let Parts {
        method, uri, headers, ..
    } = head;
    if method == Method::OPTIONS {
        return Ok(Wanted::Preflight);
    }
    let stream = match route(uri.path())? {
        Route::Stream(path) => stream(&path)?,
        Route::InBucket(bucket, name) => stream_in(bucket, &name)?,
        Route::Beside(bucket, name, beside) => {
            let ask = snapshots::ask(head, beside)?;
            return Ok(Wanted::Snapshots(stream_in(bucket, &name)?, ask));
        }
        Route::Bucket(bucket) => return Ok(Wanted::Bucket(bucket.to_owned(), BucketWish::of(method, uri, headers)?)),
        Route::Streams(bucket) => return Ok(Wanted::List(bucket.to_owned(), listing(method, uri)?)),
        Route::About(about) if method == Method::GET || method == Method::HEAD => return Ok(Wanted::About(about)),
        Route::About(_) => return Err(not_allowed("GET, HEAD, OPTIONS")),
    };
    Ok(match *method {
        Method::GET => Wanted::Read(stream, read(uri, headers)?),
        Method::HEAD => Wanted::Look(stream, look(uri, headers)?),
        Method::POST => Wanted::Append(stream, append(headers)?),
        Method::PUT => match forks::asked(headers)? {
            Some(asked) => Wanted::Fork(stream, asked),
            None => Wanted::Create(stream, create(headers)?),
        },
        Method::DELETE => Wanted::Delete(stream, delete(headers)?),
        _ => return Err(not_allowed("GET, HEAD, PUT, POST, DELETE, OPTIONS")),
    })
}

pub(super) fn not_allowed(allowed: &'static str) -> Problem {
    let message = format!("this path knows {allowed}");
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message)
        .with_header(header::ALLOW, HeaderValue::from_static(allowed))
}

/// The bucket of a request on `/{bucket}/{stream}`, where it must exist beforehand.
pub(super) fn bucket_of(head: &Parts) -> Option<&str> {
    match route(head.uri.path()) {
        Ok(Route::InBucket(bucket, _)) => Some(bucket),
        _ => None,
    }
}

/// Whether the query says `consistency=local`.
pub(super) fn consistency(uri: &Uri) -> Result<bool, Problem> {
    Query::of(uri).map(|query| query.local)
}

/// The stream a decoded path names.
pub(super) fn stream(path: &str) -> Result<StreamName, Problem> {
    StreamName::flat(path).map_err(|bad| match bad {
        BadName::Reserved => {
            Problem::not_implemented("paths below __ds belong to subscriptions, which are not there yet")
        }
        bad => Problem::bad("bad_path", bad.to_string()),
    })
}

/// The stream a bucket and a decoded name in it name.
pub(super) fn stream_in(bucket: &str, name: &str) -> Result<StreamName, Problem> {
    StreamName::in_bucket(bucket, name).map_err(|bad| Problem::bad("bad_path", bad.to_string()))
}

/// What the headers of a PUT say of the stream to be made, a fork or not.
pub(super) struct Created {
    pub(super) content_type: Option<String>,
    pub(super) closed: bool,
    pub(super) if_match: Option<Condition>,
    pub(super) lifetime: Option<Lifetime>,
    pub(super) retention: Retention,
    pub(super) retention_default: Retention,
}

pub(super) fn created(headers: &HeaderMap) -> Result<Created, Problem> {
    Ok(Created {
        content_type: content_type(headers)?,
        closed: closed(headers)?,
        if_match: condition(headers, &header::IF_MATCH)?,
        lifetime: Some(lifetime::lifetime(headers)?).filter(|lifetime| *lifetime != Lifetime::Forever),
        retention: lifetime::retention(headers)?,
        retention_default: Retention::default(),
    })
}

/// PUT, without its body.
fn create(headers: &HeaderMap) -> Result<Create, Problem> {
    let Created {
        content_type,
        closed,
        if_match,
        lifetime,
        retention,
        retention_default,
    } = created(headers)?;
    Ok(Create {
        content_type: content_type.unwrap_or_else(|| DEFAULT_CONTENT_TYPE.to_owned()),
        closed,
        if_match,
        lifetime: lifetime.unwrap_or_default(),
        retention,
        retention_default,
        as_of: 0,
    })
}

/// POST, without its body. [`typed`] adds the content type, which matters only if there is a body.
fn append(headers: &HeaderMap) -> Result<Append, Problem> {
    let seq = text(headers, &STREAM_SEQ, "bad_stream_seq", STREAM_SEQ_BYTES_MAX)?.map(str::to_owned);
    Ok(Append {
        content_type: None,
        close: closed(headers)?,
        producer: producer(headers)?,
        seq,
        if_match: condition(headers, &header::IF_MATCH)?,
    })
}

/// An append whose body is known: one without a body closes, one with a body says what it is.
pub(super) fn typed(append: Append, headers: &HeaderMap, body_len: usize) -> Result<Append, Problem> {
    if body_len == 0 {
        let empty = "an append has a body: send bytes, or Stream-Closed: true to close the stream without any";
        // Whatever it says of a body it does not have.
        return if append.close {
            Ok(append)
        } else {
            Err(Problem::bad("empty_body", empty))
        };
    }
    let Some(content_type) = content_type(headers)? else {
        let missing = "say what the body is: Content-Type, the same as the stream's";
        return Err(Problem::bad("missing_content_type", missing));
    };
    Ok(Append {
        content_type: Some(content_type),
        ..append
    })
}

/// An append of `[]`.
pub(super) fn no_messages() -> Problem {
    Problem::bad(
        "empty_body",
        "an append to a JSON stream has at least one message: [] has none",
    )
}

/// DELETE.
fn delete(headers: &HeaderMap) -> Result<Delete, Problem> {
    Ok(Delete {
        if_match: condition(headers, &header::IF_MATCH)?,
    })
}

/// GET.
fn read(uri: &Uri, headers: &HeaderMap) -> Result<Read, Problem> {
    let query = Query::of(uri)?;
    let whence = match query.offset {
        None if query.live.is_some() => {
            return Err(Problem::bad(
                "missing_offset",
                "a live read says where it starts: offset=-1, now, or an offset",
            ));
        }
        None => Whence::Start,
        Some(offset) => Offset::parse(&offset).map_err(|bad| Problem::bad("bad_offset", bad.to_string()))?,
    };
    let mode = match query.live.as_deref() {
        None => None,
        Some("long-poll") => Some(Mode::LongPoll),
        Some("sse") => Some(Mode::Sse),
        Some(_) => return Err(Problem::bad("bad_live", "live is long-poll or sse")),
    };
    // One that is not of our making says nothing.
    let cursor = query.cursor.and_then(|cursor| cursor.parse().ok());
    Ok(Read {
        whence,
        local: query.local,
        if_none_match: condition(headers, &header::IF_NONE_MATCH)?,
        live: mode.map(|mode| Ask { mode, cursor }),
    })
}

/// HEAD.
fn look(uri: &Uri, headers: &HeaderMap) -> Result<Look, Problem> {
    let query = Query::of(uri)?;
    Ok(Look {
        local: query.local,
        if_none_match: condition(headers, &header::IF_NONE_MATCH)?,
    })
}

/// Whether the client waits for `100 Continue` before it sends its body.
pub(super) fn awaits_continue(headers: &HeaderMap) -> bool {
    headers
        .get(header::EXPECT)
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

/// The query parameters we know, each at most once.
#[derive(Default)]
pub(super) struct Query<'a> {
    offset: Option<Cow<'a, str>>,
    pub(super) live: Option<Cow<'a, str>>,
    cursor: Option<Cow<'a, str>>,
    pub(super) local: bool,
}

impl<'a> Query<'a> {
    pub(super) fn of(uri: &'a Uri) -> Result<Self, Problem> {
        let mut query = Self::default();
        let mut consistency = None;
        for pair in uri.query().unwrap_or("").split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let slot = match name {
                "offset" => &mut query.offset,
                "live" => &mut query.live,
                "cursor" => &mut query.cursor,
                "consistency" => &mut consistency,
                _ => continue,
            };
            let value = percent_decode_str(value)
                .decode_utf8()
                .map_err(|_| Problem::bad("bad_query", format!("{name} is not UTF-8 after percent-decoding")))?;
            if slot.replace(value).is_some() {
                return Err(Problem::bad("bad_query", format!("{name} is given more than once")));
            }
        }
        query.local = match consistency.as_deref() {
            None | Some("linearizable") => false,
            Some("local") => true,
            Some(_) => {
                return Err(Problem::bad(
                    "bad_query",
                    "consistency is linearizable (the default) or local",
                ));
            }
        };
        Ok(query)
    }
}

/// The value of a header that may be given once.
pub(super) fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a HeaderValue>, Problem> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    if values.next().is_some() {
        return Err(Problem::bad("bad_header", format!("{name} is given more than once")));
    }
    Ok(first)
}

/// The value of a header as text, of at most `max` bytes.
fn text<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
    code: &'static str,
    max: usize,
) -> Result<Option<&'a str>, Problem> {
    let Some(value) = single(headers, name)? else {
        return Ok(None);
    };
    let value =
        std::str::from_utf8(value.as_bytes()).map_err(|_| Problem::bad(code, format!("{name} is not UTF-8")))?;
    if value.len() > max {
        return Err(Problem::bad(
            code,
            format!("{name} has {} bytes, at most {max} are allowed", value.len()),
        ));
    }
    Ok(Some(value))
}

/// `Content-Type`: `type/subtype`, perhaps with parameters. Kept as the client spelled it.
pub(super) fn content_type(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(value) = text(
        headers,
        &header::CONTENT_TYPE,
        "bad_content_type",
        CONTENT_TYPE_BYTES_MAX,
    )?
    else {
        return Ok(None);
    };
    let essence = value.split(';').next().unwrap_or("").trim();
    let lawful = essence
        .split_once('/')
        .is_some_and(|(kind, sub)| is_token(kind) && is_token(sub));
    // The rest goes back out in a header as it came, so it must fit in one.
    if !lawful || !value.bytes().all(|b| b == b'\t' || (b' '..=b'~').contains(&b)) {
        return Err(Problem::bad(
            "bad_content_type",
            "Content-Type is a media type such as text/plain",
        ));
    }
    Ok(Some(value.to_owned()))
}

/// RFC 9110, 5.6.2.
fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

/// `Stream-Closed`: `true`, in letters of either case. `false` says what its absence says.
fn closed(headers: &HeaderMap) -> Result<bool, Problem> {
    match single(headers, &STREAM_CLOSED)?.map(HeaderValue::as_bytes) {
        None => Ok(false),
        Some(value) if value.eq_ignore_ascii_case(b"true") => Ok(true),
        Some(value) if value.eq_ignore_ascii_case(b"false") => Ok(false),
        Some(_) => Err(Problem::bad("bad_header", "Stream-Closed is true, or absent")),
    }
}

/// The three producer headers: all or none.
fn producer(headers: &HeaderMap) -> Result<Option<ProducerTuple>, Problem> {
    let bad = |message: &'static str| Problem::bad("bad_producer", message);
    let id = text(headers, &PRODUCER_ID, "bad_producer", PRODUCER_ID_BYTES_MAX)?;
    let epoch = single(headers, &PRODUCER_EPOCH)?;
    let seq = single(headers, &PRODUCER_SEQ)?;
    let (id, epoch, seq) = match (id, epoch, seq) {
        (None, None, None) => return Ok(None),
        (Some(id), Some(epoch), Some(seq)) => (id, epoch, seq),
        _ => {
            return Err(bad(
                "Producer-Id, Producer-Epoch and Producer-Seq come together or not at all",
            ));
        }
    };
    if id.is_empty() {
        return Err(bad("Producer-Id is empty: name the producer"));
    }
    let number = |value: &HeaderValue| {
        integer(value)
            .ok_or_else(|| bad("Producer-Epoch and Producer-Seq are whole numbers from 0 to 2^53-1, in digits"))
    };
    Ok(Some(ProducerTuple {
        id: id.to_owned(),
        epoch: number(epoch)?,
        seq: number(seq)?,
    }))
}

/// Digits only, up to [`PRODUCER_NUMBER_MAX`].
pub(super) fn integer(value: &HeaderValue) -> Option<u64> {
    let digits = value.as_bytes();
    if digits.is_empty() || digits.len() > 16 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = digits.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'));
    (number <= PRODUCER_NUMBER_MAX).then_some(number)
}

/// `If-Match` or `If-None-Match`; given several times they are one list (RFC 9110, 5.3).
pub(super) fn condition(headers: &HeaderMap, name: &HeaderName) -> Result<Option<Condition>, Problem> {
    let bad = |message: String| Problem::bad("bad_condition", format!("{name}: {message}"));
    let mut list: Option<String> = None;
    for value in headers.get_all(name) {
        let value = value.to_str().map_err(|_| bad("not printable ASCII".to_owned()))?;
        match &mut list {
            None => list = Some(value.to_owned()),
            Some(list) => {
                list.push(',');
                list.push_str(value);
            }
        }
    }
    list.map(|list| Condition::parse(&list).map_err(|e| bad(e.to_string())))
        .transpose()
}

#[cfg(test)]
mod tests;
