//! The simplest right server of streams: one map, one step at a time. And the same with one thing wrong.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{Method, Request, Response, response::Builder};

/// What is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bug {
    Nothing,
    /// A read now and then shows what was there a while ago.
    StaleReads,
    /// HEAD now and then tells an old tail.
    StaleHeads,
    /// An acknowledged append now and then is not stored.
    LosesAppends,
    /// A repeat is stored again.
    StoresRepeats,
    /// An older epoch is accepted.
    AcceptsStaleEpochs,
    /// A closed stream still takes appends.
    ForgetsTheEnd,
    /// A deleted stream's bytes are there again when it is created.
    BringsBackTheDead,
    /// `If-Match` is not looked at.
    IgnoresConditions,
    /// `Stream-Seq` is not looked at.
    IgnoresSeq,
    /// A bit flips now and then.
    ServesDamage,
    /// What was refused for want of a leader is stored all the same.
    StoresTheRefused,
    /// Local reads show what is not committed and will not be.
    ShowsTheUncommitted,
}

#[derive(Clone, Default)]
struct Stream {
    life: u64,
    content_type: String,
    bytes: Vec<u8>,
    /// Length before the last append.
    before: usize,
    closed: bool,
    closed_by: Option<(String, u64, u64)>,
    producers: BTreeMap<String, (u64, u64)>,
    seq: Option<String>,
}

impl Stream {
    fn etag(&self) -> String {
        format!(
            "\"{}:0:{}{}\"",
            self.life,
            self.bytes.len(),
            if self.closed { ":c" } else { "" }
        )
    }

    fn answer(&self, status: u16) -> Builder {
        Response::builder()
            .status(status)
            .header("Stream-Next-Offset", offset(self.bytes.len()))
            .header("ETag", self.etag())
    }
}

fn offset(bytes: usize) -> String {
    format!("{bytes:020}")
}

pub(crate) struct Server {
    bug: Bug,
    streams: BTreeMap<String, Stream>,
    dead: BTreeMap<String, Stream>,
    lives: u64,
    requests: u64,
    /// The longest answer of a read, in bytes.
    chunk: usize,
}

type Answer = Response<Bytes>;

impl Server {
    pub(crate) fn new(bug: Bug) -> Self {
        Self {
            bug,
            streams: BTreeMap::new(),
            dead: BTreeMap::new(),
            lives: 0,
            requests: 0,
            chunk: 100_000,
        }
    }

    /// Whether the bug shows this time.
    fn slips(&self, bug: Bug) -> bool {
        self.bug == bug && self.requests.is_multiple_of(7)
    }

    pub(crate) fn answer(&mut self, request: &Request<Bytes>) -> Answer {
        self.requests += 1;
        let name = request.uri().path().trim_start_matches("/v1/stream/").to_owned();
        match *request.method() {
            Method::PUT => self.create(name, request),
            Method::POST => self.append(&name, request),
            Method::DELETE => match self.streams.remove(&name) {
                Some(stream) => {
                    self.dead.insert(name, stream);
                    empty(Response::builder().status(204))
                }
                None => not_found(),
            },
            Method::HEAD => self.head(&name),
            _ => self.read(&name, request),
        }
    }

    fn create(&mut self, name: String, request: &Request<Bytes>) -> Answer {
        let content_type = header(request, "Content-Type").unwrap_or_default();
        let closed = header(request, "Stream-Closed").is_some();
        if let Some(stream) = self.streams.get(&name) {
            let alike = stream.content_type == content_type && stream.closed == closed;
            return empty(stream.answer(if alike { 200 } else { 409 }));
        }
        self.lives += 1;
        let mut stream = Stream {
            life: self.lives,
            content_type,
            closed,
            ..Stream::default()
        };
        if let Some(dead) = self.dead.get(&name).filter(|_| self.bug == Bug::BringsBackTheDead) {
            stream.bytes.clone_from(&dead.bytes);
        }
        let body = stored(&stream.content_type, request.body());
        stream.bytes.extend_from_slice(&body);
        let answer = empty(stream.answer(201));
        self.streams.insert(name, stream);
        answer
    }

    fn append(&mut self, name: &str, request: &Request<Bytes>) -> Answer {
        let (bug, slip) = (self.bug, self.slips(Bug::LosesAppends));
        let Some(stream) = self.streams.get_mut(name) else {
            return not_found();
        };
        let close = header(request, "Stream-Closed").is_some();
        let number = |name| header(request, name).and_then(|number| number.parse::<u64>().ok());
        let tuple = header(request, "Producer-Id")
            .zip(number("Producer-Epoch"))
            .zip(number("Producer-Seq"));
        let tuple = tuple.map(|((id, epoch), seq)| (id, epoch, seq));
        if stream.closed && bug != Bug::ForgetsTheEnd {
            if tuple.is_some() && stream.closed_by == tuple {
                let seq = tuple.map_or(0, |(_, _, seq)| seq);
                return empty(stream.answer(204).header("Producer-Seq", seq));
            }
            if close && request.body().is_empty() && tuple.is_none() {
                return empty(stream.answer(204));
            }
            return empty(stream.answer(409).header("Stream-Closed", "true"));
        }
        let mut status = 204;
        if let Some((id, epoch, seq)) = &tuple {
            let last = stream.producers.get(id).copied();
            let refuse = match last {
                None if *seq != 0 => Some(Response::builder().status(400)),
                Some((e, _)) if *epoch < e && bug != Bug::AcceptsStaleEpochs => {
                    Some(Response::builder().status(403).header("Producer-Epoch", e))
                }
                Some((e, _)) if *epoch > e && *seq != 0 => Some(Response::builder().status(400)),
                Some((e, s)) if *epoch == e && *seq <= s && bug != Bug::StoresRepeats => {
                    Some(stream.answer(204).header("Producer-Seq", s))
                }
                Some((e, s)) if *epoch == e && *seq > s + 1 => {
                    let expected = Response::builder().status(409).header("Producer-Expected-Seq", s + 1);
                    Some(expected.header("Producer-Received-Seq", *seq))
                }
                _ => None,
            };
            if let Some(refuse) = refuse {
                return empty(refuse);
            }
            status = if request.body().is_empty() { 204 } else { 200 };
        }
        let seq = header(request, "Stream-Seq");
        if seq.is_some() && seq <= stream.seq && bug != Bug::IgnoresSeq {
            return problem(409, "stream_seq_conflict");
        }
        let condition = header(request, "If-Match");
        if condition.is_some_and(|etag| etag != stream.etag()) && bug != Bug::IgnoresConditions {
            return problem(412, "precondition_failed");
        }
        stream.seq = seq.or(stream.seq.take());
        if let Some((id, epoch, seq)) = tuple.clone() {
            stream.producers.insert(id, (epoch, seq));
        }
        stream.closed = close;
        stream.closed_by = tuple.filter(|_| close);
        stream.before = stream.bytes.len();
        let body = stored(&stream.content_type, request.body());
        stream.bytes.extend_from_slice(&body);
        let answer = empty(stream.answer(status));
        if slip {
            stream.bytes.truncate(stream.before);
        }
        answer
    }

    fn head(&self, name: &str) -> Answer {
        let Some(stream) = self.streams.get(name) else {
            return not_found();
        };
        let mut stream = stream.clone();
        if self.slips(Bug::StaleHeads) {
            stream.bytes.truncate(stream.before);
        }
        let answer = stream.answer(200).header("Content-Type", &stream.content_type);
        empty(if stream.closed {
            answer.header("Stream-Closed", "true")
        } else {
            answer
        })
    }

    fn read(&self, name: &str, request: &Request<Bytes>) -> Answer {
        let Some(stream) = self.streams.get(name) else {
            return not_found();
        };
        let query = request.uri().query().unwrap_or("");
        let local = query.contains("consistency=local");
        let from = query
            .split('&')
            .find_map(|pair| pair.strip_prefix("offset="))
            .unwrap_or("-1");
        let from = from.parse::<usize>().unwrap_or(0);
        // A local read may lag, which is lawful.
        let stale = self.slips(Bug::StaleReads) || (local && self.requests.is_multiple_of(2));
        let tail = if stale {
            stream.before.min(stream.bytes.len())
        } else {
            stream.bytes.len()
        };
        if from > tail {
            return problem(400, "offset_beyond_tail");
        }
        let json = stream.content_type == JSON;
        let mut end = tail.min(from + self.chunk);
        // Messages are never cut.
        while json && end < tail && stream.bytes[end - 1] != b'\n' {
            end += 1;
        }
        let mut bytes = stream.bytes[from..end].to_vec();
        let mut next = end;
        if let Some(byte) = bytes.first_mut().filter(|_| self.slips(Bug::ServesDamage)) {
            *byte ^= 1;
        }
        if local && !json && self.slips(Bug::ShowsTheUncommitted) && end == stream.bytes.len() && from == 0 {
            let again = bytes.clone();
            bytes.extend_from_slice(
                &again[..again
                    .iter()
                    .skip(1)
                    .position(|byte| *byte == b'<')
                    .map_or(0, |at| at + 1)],
            );
            next = bytes.len();
        }
        let mut answer = Response::builder()
            .status(200)
            .header("Content-Type", &stream.content_type)
            .header("Stream-Next-Offset", offset(next));
        if json {
            bytes = array(&bytes);
        }
        if end == tail {
            answer = answer.header("Stream-Up-To-Date", "true");
            if stream.closed && !stale {
                answer = answer.header("Stream-Closed", "true");
            }
        }
        answer.body(bytes.into()).expect("the headers are in order")
    }
}

const JSON: &str = "application/json";

/// A body as it is stored: of JSON, messages without blanks, a line feed behind each. The workloads send one at a time.
fn stored(content_type: &str, body: &Bytes) -> Bytes {
    if content_type != JSON || body.is_empty() {
        return body.clone();
    }
    let mut in_string = false;
    let solid = body.iter().copied().filter(|byte| {
        in_string ^= *byte == b'"';
        in_string || !byte.is_ascii_whitespace()
    });
    let solid: Vec<u8> = solid.collect();
    let flat = solid.strip_prefix(b"[").and_then(|rest| rest.strip_suffix(b"]"));
    [flat.unwrap_or(&solid), b"\n"].concat().into()
}

/// Stored messages as one array.
fn array(stored: &[u8]) -> Vec<u8> {
    let messages: Vec<&[u8]> = stored.split_inclusive(|byte| *byte == b'\n').collect();
    let messages: Vec<&[u8]> = messages
        .iter()
        .map(|message| message.strip_suffix(b"\n").unwrap_or(message))
        .collect();
    [&b"["[..], &messages.join(&b','), b"]"].concat()
}

fn header(request: &Request<Bytes>, name: &str) -> Option<String> {
    request
        .headers()
        .get(name)
        .and_then(|value| value.to_str().ok())
        .map(str::to_owned)
}

fn empty(answer: Builder) -> Answer {
    answer.body(Bytes::new()).expect("the headers are in order")
}

fn not_found() -> Answer {
    problem(404, "stream_not_found")
}

fn problem(status: u16, code: &str) -> Answer {
    let body = format!("{{\"error\":{{\"code\":\"{code}\"}}}}");
    Response::builder()
        .status(status)
        .body(body.into())
        .expect("the headers are in order")
}
