//! The law alone, asked in the sequence's words: no node, no log, no HTTP, only rows and bytes in memory.
//!
//! It has no opinion on a request whose words are wrong (that is for `http` to say) or that are beside the law.

mod fork;

use std::collections::BTreeMap;

use bytes::Bytes;
use node::stream::{
    Append, Claim, Command, Condition, Create, Delete, ForkChange, Lifetime, Loaded, Moment, Offset, Op, Outcome,
    PRODUCER_NUMBER_MAX, Pledge, ProducerTuple, ReadPlan, ReadRefusal, Reference, Refusal, Retention, RowChange,
    Standing, StreamName, StreamRow, Token, Whence, apply, is_json, plan,
};
use serde_json::Value;

use crate::{
    answer::{Answer, Offsets},
    events,
    step::{MOMENT, Place, Step},
};

#[derive(Default)]
pub(crate) struct Law {
    streams: BTreeMap<usize, Kept>,
    pledges: BTreeMap<u64, Pledge>,
    references: BTreeMap<(u64, Token), Reference>,
    index: u64,
}

#[derive(Default)]
struct Kept {
    row: Option<StreamRow>,
    claims: BTreeMap<(u64, String), Claim>,
    /// All bytes of it, its source's first.
    bytes: Vec<u8>,
    /// Where its appends ended.
    ends: Vec<u64>,
    offsets: Offsets,
    tags: Offsets,
}

impl Law {
    /// What the law says; none if it is not for the law to say.
    pub(crate) fn ask(&mut self, step: &Step) -> Option<Answer> {
        if !step.is_write() {
            return self.streams.entry(step.stream).or_default().shown(step);
        }
        let tags = &self.streams.entry(step.stream).or_default().tags;
        let if_match = match &step.if_match {
            None => None,
            Some(Place::Literal(text)) => Some(Condition::parse(text).ok()?),
            Some(Place::Answered(ago)) => Some(Condition::parse(tags.answered(*ago)).ok()?),
        };
        let outcome = match &step.fork {
            Some(fork) => return self.fork(step, fork, if_match),
            None => {
                let (op, body) = operation(step, if_match)?;
                let outcome = self.tell(step.stream, op, body);
                self.pay(outcome)
            }
        };
        Some(self.streams.entry(step.stream).or_default().told(step, &outcome))
    }

    /// Applies a command as the state machine would.
    fn tell(&mut self, stream: usize, op: Op, body: String) -> Outcome {
        self.index += 1;
        let command = Command {
            now_ms: 1,
            stream: name(stream),
            op,
            elsewhere: None,
            body: Bytes::from(body),
        };
        let (pledge, reference) = match &command.op {
            Op::Fork(op) => (op.pledge(), op.reference()),
            _ => (None, None),
        };
        let kept = self.streams.entry(stream).or_default();
        let claim_of = |row: &StreamRow| Some((row.incarnation, command.producer()?.id.clone()));
        let claim = kept.row.as_ref().and_then(claim_of);
        let loaded = Loaded {
            row: kept.row.as_ref(),
            claim: claim.and_then(|key| kept.claims.get(&key)),
            pledge: pledge.and_then(|token| self.pledges.get(&token)),
            reference: reference.and_then(|key| self.references.get(&key)),
            ..Loaded::default()
        };
        let moment = Moment {
            index: self.index,
            last_now_ms: 1,
        };
        let transition = apply(loaded, &command, moment);
        if transition.dropped.is_some() {
            kept.bytes.clear();
            kept.ends.clear();
        }
        match transition.row {
            RowChange::Keep => {}
            RowChange::Put(row) => kept.row = Some(row),
            RowChange::Delete => kept.row = None,
        }
        if let (Some(claim), Some(key)) = (transition.claim, kept.row.as_ref().and_then(claim_of)) {
            kept.claims.insert(key, claim);
        }
        if let Some(stored) = transition.stored {
            assert_eq!(
                stored.offset.0,
                kept.bytes.len() as u64,
                "stored where the stream ended"
            );
            kept.bytes.extend(&command.body);
            kept.ends.push(kept.bytes.len() as u64);
        }
        for change in transition.forks {
            match change {
                ForkChange::Pledge(token, Some(pledge)) => drop(self.pledges.insert(token, pledge)),
                ForkChange::Pledge(token, None) => drop(self.pledges.remove(&token)),
                ForkChange::Reference(life, token, Some(reference)) => {
                    drop(self.references.insert((life, token), reference));
                }
                ForkChange::Reference(life, token, None) => drop(self.references.remove(&(life, token))),
            }
        }
        transition.outcome
    }
}

impl Kept {
    /// An outcome as HTTP would put it.
    fn told(&mut self, step: &Step, outcome: &Outcome) -> Answer {
        let mut answer = Answer::default();
        let mut put = |name, value: String| drop(answer.headers.insert(name, value));
        put("x-content-type-options", "nosniff".to_owned());
        answer.status = match outcome {
            Outcome::Created { .. } => {
                self.tags.forget();
                // What a fork knows, it has been told.
                if step.fork.is_none() {
                    self.offsets.forget();
                }
                put("location", format!("/v1/stream/S-{}", step.stream));
                201
            }
            Outcome::Exists { .. } => 200,
            Outcome::Appended { producer: Some(_), .. } if !step.body.is_empty() => 200,
            Outcome::Refused(refusal) => {
                match refusal {
                    Refusal::Fenced { epoch } => put("producer-epoch", epoch.to_string()),
                    Refusal::Gap { expected, received } => {
                        put("producer-expected-seq", expected.to_string());
                        put("producer-received-seq", received.to_string());
                    }
                    _ => {}
                }
                match refusal {
                    // The name of a stream that is kept for its forks is taken.
                    Refusal::Gone if step.method == "PUT" => 409,
                    refusal => status(refusal),
                }
            }
            _ => 204,
        };
        if let Outcome::Appended { producer: Some(by), .. } | Outcome::Duplicate { producer: by, .. } = outcome {
            put("producer-epoch", by.epoch.to_string());
            put("producer-seq", by.seq.to_string());
        }
        if let (Outcome::Created { .. } | Outcome::Exists { .. }, Some(row)) = (outcome, &self.row) {
            put("content-type", row.content_type.clone());
            live_as(&mut answer, row);
        }
        if let Some(standing) = outcome.standing() {
            self.stand(&mut answer, standing);
            if answer.ok() {
                self.tags.name(&standing.etag().to_string());
            }
        }
        answer
    }

    fn stand(&mut self, answer: &mut Answer, standing: &Standing) {
        let next = self.offsets.name(&standing.tail.to_string());
        answer.headers.insert("stream-next-offset", next);
        if standing.closed {
            answer.headers.insert("stream-closed", "true".to_owned());
        }
    }

    /// GET and HEAD.
    fn shown(&mut self, step: &Step) -> Option<Answer> {
        let whence = match &step.place {
            _ if step.unless_same || step.live == Some("later") => return None,
            None if step.live.is_some() => return None,
            None => Whence::Start,
            Some(Place::Literal(text)) => Offset::parse(text).ok()?,
            Some(Place::Answered(ago)) => Offset::parse(self.offsets.answered(*ago)).ok()?,
        };
        let mut answer = Answer::default();
        let nosniff = ("x-content-type-options", "nosniff".to_owned());
        answer.headers.extend([nosniff]);
        let row = match self.row.clone() {
            Some(row) if !row.gone => row,
            gone => {
                answer.status = if gone.is_some() { 410 } else { 404 };
                return Some(answer);
            }
        };
        answer.status = 200;
        answer.headers.insert("content-type", row.content_type.clone());
        if step.method == "HEAD" {
            live_as(&mut answer, &row);
            self.stand(&mut answer, &row.standing());
            self.tags.name(&row.standing().etag().to_string());
            return Some(answer);
        }
        live_as(&mut answer, &row);
        match plan(&row, whence, u64::MAX) {
            Ok(plan) if step.live == Some("sse") => self.heard(&mut answer, &row, plan),
            Ok(plan) => {
                let waits = step.live == Some("long-poll");
                if waits {
                    answer.headers.insert("stream-cursor", "some".to_owned());
                }
                if waits && plan.is_empty() {
                    answer.status = 204;
                    answer.headers.remove("content-type");
                }
                let bytes = &self.bytes[plan.start.0 as usize..plan.end.0 as usize];
                answer.body = if answer.status == 204 {
                    Vec::new()
                } else if is_json(&row.content_type) {
                    array(bytes)
                } else {
                    bytes.to_vec()
                };
                let next = self.offsets.name(&plan.end.to_string());
                answer.headers.insert("stream-next-offset", next);
                if plan.at_tail {
                    answer.headers.insert("stream-up-to-date", "true".to_owned());
                }
                if plan.closed {
                    answer.headers.insert("stream-closed", "true".to_owned());
                }
            }
            Err(ReadRefusal::BeyondTail { tail }) => {
                answer.status = 400;
                answer.headers.retain(|name, _| !name.starts_with("stream-"));
                let next = self.offsets.name(&tail.to_string());
                answer.headers.insert("stream-next-offset", next);
            }
            Err(ReadRefusal::Trimmed { .. }) => answer.status = 410,
        }
        Some(answer)
    }
}

impl Kept {
    /// A read by events: what they say all together.
    fn heard(&mut self, answer: &mut Answer, row: &StreamRow, plan: ReadPlan) {
        let text = row.content_type.starts_with("text/");
        let bytes = &self.bytes[plan.start.0 as usize..plan.end.0 as usize];
        answer.headers.retain(|name, _| !name.starts_with("stream-"));
        let mut put = |name, value: String| drop(answer.headers.insert(name, value));
        put("content-type", "text/event-stream".to_owned());
        put("stream-next-offset", "some".to_owned());
        put("streamNextOffset", self.offsets.name(&plan.end.to_string()));
        if plan.closed {
            put("streamClosed", "true".to_owned());
        } else {
            put("streamCursor", "some".to_owned());
            put("upToDate", "true".to_owned());
        }
        answer.body = if is_json(&row.content_type) {
            let array = String::from_utf8_lossy(&array(bytes)).into_owned();
            events::messages(&[array]).expect("what was stored is JSON")
        } else if text {
            // Every end of a line ends a line of an event, and is a line feed to whoever reads it.
            let text = String::from_utf8_lossy(bytes);
            text.replace("\r\n", "\n").replace('\r', "\n").into_bytes()
        } else {
            put("stream-sse-data-encoding", "base64".to_owned());
            bytes.to_vec()
        };
    }
}

fn name(stream: usize) -> StreamName {
    StreamName::flat(&format!("s{stream}")).expect("a lawful name")
}

/// How long the stream lives. There is one moment only that is ever asked for.
fn live_as(answer: &mut Answer, row: &StreamRow) {
    let (name, value) = match row.lifetime {
        Lifetime::Forever => return,
        Lifetime::Window { ms } => ("stream-ttl", (ms / 1000).to_string()),
        Lifetime::Until { .. } => ("stream-expires-at", MOMENT.to_owned()),
    };
    answer.headers.insert(name, value);
}

fn status(refusal: &Refusal) -> u16 {
    match refusal {
        Refusal::NotFound => 404,
        Refusal::Gone => 410,
        Refusal::Conflict { .. }
        | Refusal::Closed { .. }
        | Refusal::ContentType { .. }
        | Refusal::StreamSeq { .. }
        | Refusal::Gap { .. }
        | Refusal::TooManyProducers => 409,
        Refusal::Fenced { .. } => 403,
        Refusal::IfMatch { .. } => 412,
        Refusal::Full => 413,
        _ => 400,
    }
}

/// The operation, and the bytes, that a lawful request comes to; none if its words are wrong.
fn operation(step: &Step, if_match: Option<Condition>) -> Option<(Op, String)> {
    let closed = closed(step)?;
    let content_type = step.header("content-type");
    if content_type.is_some_and(|said| !said.contains('/')) || step.header("stream-fork-sub-offset").is_some() {
        return None;
    }
    let mut body = step.body.clone();
    let op = match step.method {
        "DELETE" => Op::Delete(Delete { if_match }),
        "PUT" => {
            let content_type = content_type.unwrap_or("application/octet-stream").to_owned();
            if is_json(&content_type) && !body.is_empty() {
                body = messages(&body)?;
            }
            Op::Create(Create {
                content_type,
                closed,
                if_match,
                lifetime: lifetime(step)?,
                retention: Retention::default(),
                retention_default: Retention::default(),
                as_of: 0,
            })
        }
        _ => {
            if body.is_empty() && !closed || !body.is_empty() && content_type.is_none() {
                return None;
            }
            if content_type.is_some_and(is_json) && !body.is_empty() {
                body = messages(&body).filter(|messages| !messages.is_empty())?;
            }
            Op::Append(Append {
                content_type: content_type.map(str::to_owned),
                close: closed,
                producer: producer(step)?,
                seq: step.header("stream-seq").map(str::to_owned),
                if_match,
            })
        }
    };
    Some((op, body))
}

/// What `Stream-Closed` says; none if it makes no sense.
fn closed(step: &Step) -> Option<bool> {
    match step.header("stream-closed") {
        None => Some(false),
        Some(said) if said.eq_ignore_ascii_case("true") => Some(true),
        Some(said) if said.eq_ignore_ascii_case("false") => Some(false),
        Some(_) => None,
    }
}

/// `None`: wrong words. `Some(None)`: no producer.
#[expect(
    clippy::option_option,
    reason = "that there is none and that it is wrong are two things"
)]
fn producer(step: &Step) -> Option<Option<ProducerTuple>> {
    let headers = ["producer-id", "producer-epoch", "producer-seq"].map(|name| step.header(name));
    let [Some(id), Some(epoch), Some(seq)] = headers else {
        return headers.iter().all(Option::is_none).then_some(None);
    };
    let number = |text: &str| text.parse().ok().filter(|number| *number <= PRODUCER_NUMBER_MAX);
    let (epoch, seq) = (number(epoch)?, number(seq)?);
    (!id.is_empty()).then(|| {
        Some(ProducerTuple {
            id: id.to_owned(),
            epoch,
            seq,
        })
    })
}

fn lifetime(step: &Step) -> Option<Lifetime> {
    match (step.header("stream-ttl"), step.header("stream-expires-at")) {
        (None, None) => Some(Lifetime::Forever),
        (Some(ttl), None) if !ttl.starts_with('0') => {
            let seconds: u64 = ttl.parse().ok()?;
            Some(Lifetime::Window { ms: seconds * 1000 })
        }
        (None, Some(MOMENT)) => Some(Lifetime::Until { ms: 4_070_908_800_000 }),
        _ => None,
    }
}

/// The messages of a JSON text, a line each.
fn messages(text: &str) -> Option<String> {
    let messages = match serde_json::from_str(text).ok()? {
        Value::Array(messages) => messages,
        message => vec![message],
    };
    Some(messages.iter().map(|message| format!("{message}\n")).collect())
}

fn array(lines: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(lines);
    let messages: Vec<&str> = text.lines().collect();
    format!("[{}]", messages.join(",")).into_bytes()
}
