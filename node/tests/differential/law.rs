//! The law alone, asked in the sequence's words: no node, no log, no HTTP, only rows and bytes in memory.
//!
//! It has no opinion on a request whose words are wrong (that is for `http` to say) or that are beside the law.

use std::collections::BTreeMap;

use bytes::Bytes;
use node::stream::{
    Append, Claim, Command, Create, Delete, Lifetime, Loaded, Moment, Offset, Op, Outcome, PRODUCER_NUMBER_MAX,
    ProducerTuple, ReadRefusal, Refusal, Retention, RowChange, Standing, StreamName, StreamRow, Whence, apply, is_json,
    plan,
};
use serde_json::Value;

use crate::{
    answer::{Answer, Offsets},
    step::{MOMENT, Place, Step},
};

#[derive(Default)]
pub(crate) struct Law {
    streams: BTreeMap<usize, Kept>,
    index: u64,
}

#[derive(Default)]
struct Kept {
    row: Option<StreamRow>,
    claims: BTreeMap<(u64, String), Claim>,
    bytes: Vec<u8>,
    offsets: Offsets,
}

impl Law {
    /// What the law says; none if it is not for the law to say.
    pub(crate) fn ask(&mut self, step: &Step) -> Option<Answer> {
        if step.method == "GET" || step.method == "HEAD" {
            return self.streams.entry(step.stream).or_default().shown(step);
        }
        let stream = StreamName::flat(&format!("s{}", step.stream)).expect("a lawful name");
        let command = command(stream, step)?;
        self.index += 1;
        let kept = self.streams.entry(step.stream).or_default();
        let outcome = kept.tell(&command, self.index);
        Some(kept.told(step, &outcome))
    }
}

impl Kept {
    /// Applies a command as the state machine would.
    fn tell(&mut self, command: &Command, index: u64) -> Outcome {
        let claim_of = |row: &StreamRow| Some((row.incarnation, command.producer()?.id.clone()));
        let claim = self.row.as_ref().and_then(claim_of);
        let loaded = Loaded {
            row: self.row.as_ref(),
            claim: claim.and_then(|key| self.claims.get(&key)),
            ..Loaded::default()
        };
        let transition = apply(loaded, command, Moment { index, last_now_ms: 1 });
        if transition.dropped.is_some() {
            self.bytes.clear();
        }
        match transition.row {
            RowChange::Keep => {}
            RowChange::Put(row) => self.row = Some(row),
            RowChange::Delete => self.row = None,
        }
        if let (Some(claim), Some(key)) = (transition.claim, self.row.as_ref().and_then(claim_of)) {
            self.claims.insert(key, claim);
        }
        if let Some(stored) = transition.stored {
            assert_eq!(
                stored.offset.0,
                self.bytes.len() as u64,
                "stored where the stream ended"
            );
            self.bytes.extend(&command.body);
        }
        transition.outcome
    }

    /// An outcome as HTTP would put it.
    fn told(&mut self, step: &Step, outcome: &Outcome) -> Answer {
        let mut answer = Answer::default();
        let mut put = |name, value: String| drop(answer.headers.insert(name, value));
        put("x-content-type-options", "nosniff".to_owned());
        answer.status = match outcome {
            Outcome::Created { .. } => {
                self.offsets.forget();
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
                status(refusal)
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
            _ if step.unless_same || step.live.is_some() => return None,
            None => Whence::Start,
            Some(Place::Literal(text)) => Offset::parse(text).ok()?,
            Some(Place::Answered(ago)) => Offset::parse(self.offsets.answered(*ago)).ok()?,
        };
        let mut answer = Answer::default();
        let nosniff = ("x-content-type-options", "nosniff".to_owned());
        answer.headers.extend([nosniff]);
        let Some(row) = self.row.clone() else {
            answer.status = 404;
            return Some(answer);
        };
        answer.status = 200;
        answer.headers.insert("content-type", row.content_type.clone());
        if step.method == "HEAD" {
            live_as(&mut answer, &row);
            self.stand(&mut answer, &row.standing());
            return Some(answer);
        }
        live_as(&mut answer, &row);
        match plan(&row, whence, u64::MAX) {
            Ok(plan) => {
                let bytes = &self.bytes[plan.start.0 as usize..plan.end.0 as usize];
                answer.body = if is_json(&row.content_type) {
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

/// The command that a lawful request comes to; none if its words are wrong.
fn command(stream: StreamName, step: &Step) -> Option<Command> {
    let content_type = step.header("content-type");
    let closed = match step.header("stream-closed") {
        None => false,
        Some(said) if said.eq_ignore_ascii_case("true") => true,
        Some(said) if said.eq_ignore_ascii_case("false") => false,
        Some(_) => return None,
    };
    if content_type.is_some_and(|said| !said.contains('/')) || step.header("stream-fork-sub-offset").is_some() {
        return None;
    }
    let mut body = step.body.clone();
    let op = match step.method {
        "DELETE" => Op::Delete(Delete { if_match: None }),
        "PUT" => {
            let content_type = content_type.unwrap_or("application/octet-stream").to_owned();
            if is_json(&content_type) && !body.is_empty() {
                body = messages(&body)?;
            }
            Op::Create(Create {
                content_type,
                closed,
                if_match: None,
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
                if_match: None,
            })
        }
    };
    Some(Command {
        now_ms: 1,
        stream,
        op,
        body: Bytes::from(body),
    })
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
