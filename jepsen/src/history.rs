//! What the clients did and saw: one event per HTTP request, with its beginning, its end and its ending.
//!
//! Beside the time every beginning and end carries its place in one order of all beginnings and ends (the recorder's
//! lock makes it): checkers use that, so two ends in the same nanosecond are no riddle. One JSON line per event.

use std::sync::{Arc, Mutex, MutexGuard};

use serde::{Deserialize, Serialize};

use crate::record::{Content, Tag};

/// All that was seen in a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct History {
    /// Whether an offset token is the number of bytes before it, in decimal, so that the judge may calculate with it.
    /// The protocol does not promise that; a server under judgement may.
    pub offsets_are_bytes: bool,
    /// From this place in the order on, everything was whole and every call had to be answered.
    pub calm_from: Option<u64>,
    /// How many blows were struck; `None` when nobody counted.
    pub blows: Option<u64>,
    /// By how many milliseconds the servers' clocks were off from the true time at most; `None`: by anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_error_ms: Option<u64>,
    /// In the order of their beginnings; `events[i].id == i`.
    pub events: Vec<Event>,
    /// The same of streams that are forked, which have a law of their own: what was written to one is read in others.
    #[serde(default)]
    pub forks: Vec<Event>,
}

/// One request and what became of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Place in the history.
    pub id: u32,
    /// Who asked. A client asks one thing at a time.
    pub client: u32,
    /// Which node was asked, from 0.
    pub node: usize,
    /// Of which stream.
    pub stream: Arc<str>,
    /// When the client began.
    pub invoked: Moment,
    /// When it had its ending; `None` while open.
    pub returned: Option<Moment>,
    /// What was asked.
    pub op: Op,
    /// What it came to.
    pub ending: Ending,
}

/// A time and a place in the order of all beginnings and ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    /// Nanoseconds since the run began.
    pub ns: u64,
    /// Unique, growing.
    pub order: u64,
}

/// What was asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Op {
    /// PUT.
    Create(Create),
    /// PUT of a fork.
    Fork(Fork),
    /// POST, also one that only closes.
    Append(Append),
    /// DELETE.
    Delete,
    /// HEAD.
    Head,
    /// One GET of a catch-up read, or a bootstrap.
    Read(Read),
    /// Something about a bucket as a whole; the event's stream is the bucket's name.
    Bucket(BucketOp),
    /// PUT of a snapshot.
    Publish(Publish),
    /// GET of the newest snapshot.
    Newest,
    /// PUT of a place before which bytes may go.
    Trim {
        /// Where, as sent.
        offset: String,
    },
}

/// What a stream forgets by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// `Stream-Retention-Age`: what came so many seconds ago.
    pub age_s: Option<u32>,
    /// `Stream-Retention-Bytes`: what lies before so many of the newest bytes.
    pub bytes: Option<u64>,
}

/// What is asked of a bucket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BucketOp {
    /// PUT.
    Make,
    /// PUT with what the bucket's streams forget where they do not say themselves.
    MakeKeeping(Policy),
    /// DELETE.
    Drop,
    /// GET.
    Count,
    /// GET of its streams.
    List {
        /// As sent.
        prefix: String,
        /// As sent; empty for the first page.
        after: String,
        /// As sent.
        limit: usize,
    },
}

/// What a bucket answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BucketSaw {
    /// 201.
    Made,
    /// 204.
    Dropped,
    /// So many streams.
    Count(u64),
    /// A page.
    Listed {
        /// The streams' names within the bucket, as listed.
        names: Vec<String>,
        /// The cursor.
        next: Option<String>,
        /// Whether there is another page.
        has_more: bool,
    },
}

/// PUT.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Create {
    /// The stream's content type.
    pub content_type: String,
    /// Created closed.
    pub closed: bool,
    /// The first record, if it is created with one.
    pub tag: Option<Tag>,
    /// Bytes of the body.
    pub len: u32,
    /// `Stream-TTL`: it is over when nobody has used it for so many seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_s: Option<u32>,
    /// `Stream-Expires-At`: it is over at this moment, in milliseconds of the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_ms: Option<u64>,
    /// What it forgets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keeps: Option<Policy>,
    /// On the route of buckets, where the bucket must be there beforehand.
    #[serde(default)]
    pub in_bucket: bool,
}

/// PUT with `Stream-Forked-From`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fork {
    /// The stream it is forked from.
    pub source: Arc<str>,
    /// `Stream-Fork-Offset`, in bytes; by default the source's tail.
    pub offset: Option<u64>,
    /// `Stream-Fork-Sub-Offset`, in bytes.
    pub sub: u64,
    /// The first record of its own.
    pub tag: Tag,
    /// Bytes of it.
    pub len: u32,
}

/// POST.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Append {
    /// The record; `None` for a request that only closes.
    pub tag: Option<Tag>,
    /// Bytes of the body.
    pub len: u32,
    /// As sent.
    pub content_type: String,
    /// Closes the stream.
    pub close: bool,
    /// Idempotent producer.
    pub producer: Option<Producer>,
    /// `Stream-Seq`.
    pub seq: Option<String>,
    /// `If-Match`.
    pub if_match: Option<String>,
}

/// Who produces, in which life, and which of its appends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Producer {
    /// `Producer-Id`.
    pub id: String,
    /// `Producer-Epoch`.
    pub epoch: u64,
    /// `Producer-Seq`.
    pub seq: u64,
}

/// GET.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Read {
    /// The offset as sent.
    pub from: String,
    /// `consistency=local`: whatever this node has.
    pub local: bool,
    /// Reads of one client with the same number continue one another.
    pub session: u32,
    /// What the session had read before, when it began at the beginning of the stream.
    pub before: Option<Content>,
    /// Through a snapshot and what came after it.
    #[serde(default)]
    pub bootstrap: bool,
    /// Whether it waited for what was yet to come, and how.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live: Option<Live>,
}

/// How a read waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Live {
    /// One answer, as soon as there is something.
    LongPoll,
    /// Server-sent events, for a while.
    Sse,
}

/// PUT of a snapshot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Publish {
    /// Where, as sent.
    pub offset: String,
    /// What it says came before.
    pub content: Content,
}

/// A snapshot as it was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// `Stream-Snapshot-Offset`.
    pub offset: String,
    /// What it says came before.
    pub content: Content,
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// Not yet, or never.
    Open,
    /// As asked.
    Done(Answer),
    /// Certainly not done.
    Refused(Refusal),
    /// Nobody knows: it may have been done, or be done later, or never.
    Unknown(String),
}

/// What a call that was done returned.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// To a create.
    Created {
        /// 201; else it was there already (200).
        new: bool,
        /// `Stream-Next-Offset`.
        next: Option<String>,
        /// `ETag`.
        etag: Option<String>,
    },
    /// To an append or a close.
    Appended {
        /// What the answer says about having been stored before.
        stored: Stored,
        /// `Stream-Next-Offset`.
        next: Option<String>,
        /// `ETag`.
        etag: Option<String>,
    },
    /// To a delete.
    Deleted,
    /// To a HEAD.
    Head {
        /// `Stream-Next-Offset`.
        next: String,
        /// `Stream-Closed: true`.
        closed: bool,
        /// `Content-Type`.
        content_type: String,
        /// `ETag`.
        etag: Option<String>,
    },
    /// To a read.
    Read(Seen),
    /// To what was asked of a bucket.
    Bucket(BucketSaw),
    /// To a snapshot that was published.
    Published,
    /// To a trim.
    Trimmed {
        /// `Stream-Earliest-Offset`.
        earliest: String,
    },
    /// To a GET of the newest snapshot.
    Newest {
        /// What was found, if there was one.
        snapshot: Option<Snapshot>,
        /// Bytes that no workload wrote, described.
        garbage: Option<String>,
    },
}

/// Whether an append was new.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stored {
    /// It was stored by this call.
    Now,
    /// It had been stored before; this is the highest sequence number accepted.
    Before(u64),
    /// One of the two: the answer to a producer's close without a body does not tell.
    NowOrBefore,
}

/// What one GET returned.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    /// `Stream-Next-Offset`.
    pub next: String,
    /// `Stream-Up-To-Date`.
    pub up_to_date: bool,
    /// `Stream-Closed`.
    pub closed: bool,
    /// The records that this answer completed.
    pub tags: Vec<Tag>,
    /// Bytes in this answer.
    pub bytes: u64,
    /// Everything the session has read now, when it began at the beginning of the stream.
    pub after: Option<Content>,
    /// The answer ends inside a record.
    pub inside_a_record: bool,
    /// Bytes that no workload wrote, described.
    pub garbage: Option<String>,
    /// The snapshot it begins with, if it is a bootstrap and there was one.
    #[serde(default)]
    pub snapshot: Option<Snapshot>,
    /// When the server was last heard, in nanoseconds of the run, in an answer that went on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heard_ns: Option<u64>,
}

/// Why a call was certainly not done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// The request never left the client.
    NotSent,
    /// 503 `no_leader` or `backpressure`: come again later.
    Unavailable {
        /// The code.
        code: String,
    },
    /// 404.
    NotFound,
    /// 409: the stream is closed, at this offset.
    Closed {
        /// `Stream-Next-Offset`.
        next: Option<String>,
    },
    /// 409: the stream has another content type.
    ContentType,
    /// 409: the `Stream-Seq` is not above the last.
    StreamSeq,
    /// 403: a newer life of the producer has spoken.
    Fenced {
        /// `Producer-Epoch`.
        epoch: u64,
    },
    /// 409: an earlier append of the producer is missing.
    Gap {
        /// `Producer-Expected-Seq`.
        expected: u64,
        /// `Producer-Received-Seq`.
        received: u64,
    },
    /// 412.
    IfMatch,
    /// 410: the stream is deleted, and kept for its forks.
    Buried,
    /// 409 to a create: a stream of this name is there, and differs.
    Conflict,
    /// 400 to a read: the stream ends before the offset asked for.
    BeyondTail,
    /// 410: the bytes there are no longer kept.
    Gone {
        /// `Stream-Earliest-Offset`.
        earliest: Option<String>,
    },
    /// Any other refusal: it says nothing about the state of the stream.
    Other {
        /// HTTP status.
        status: u16,
        /// The code in the error body, if there is one.
        code: String,
    },
}

impl Read {
    /// Whether it starts at the beginning of the stream (as far as records go: it may have read none yet).
    #[must_use]
    pub fn begins(&self) -> bool {
        self.before.is_some_and(|before| before.count == 0)
    }
}

impl Event {
    /// The record it would write.
    #[must_use]
    pub fn tag(&self) -> Option<Tag> {
        match &self.op {
            Op::Create(create) => create.tag,
            Op::Append(append) => append.tag,
            _ => None,
        }
    }

    /// Whether it can change a stream.
    #[must_use]
    pub fn writes(&self) -> bool {
        matches!(self.op, Op::Create(_) | Op::Fork(_) | Op::Append(_) | Op::Delete)
    }

    /// Whether its effect is certain and new: it was done by this very call.
    #[must_use]
    pub fn stored(&self) -> bool {
        match &self.ending {
            Ending::Done(Answer::Created { new, .. }) => *new,
            Ending::Done(Answer::Appended { stored, .. }) => *stored == Stored::Now,
            _ => false,
        }
    }

    /// Whether it may have taken effect without the client knowing.
    #[must_use]
    pub fn uncertain(&self) -> bool {
        matches!(self.ending, Ending::Open | Ending::Unknown(_))
    }

    /// Its place at the end; the end of time while open.
    #[must_use]
    pub fn returned_order(&self) -> u64 {
        self.returned.map_or(u64::MAX, |moment| moment.order)
    }

    /// What a read returned, if it is a read and returned.
    #[must_use]
    pub fn seen(&self) -> Option<(&Read, &Seen)> {
        match (&self.op, &self.ending) {
            (Op::Read(read), Ending::Done(Answer::Read(seen))) => Some((read, seen)),
            _ => None,
        }
    }

    /// Whether it tells that there is no such stream. A node that is behind may not have heard of it yet: what a local
    /// read says is no sign.
    #[must_use]
    pub fn finds_none(&self) -> bool {
        match (&self.op, &self.ending) {
            (Op::Read(read), _) if read.local => false,
            (_, Ending::Refused(Refusal::NotFound)) => true,
            (Op::Create(_), Ending::Done(Answer::Created { new, .. })) => *new,
            _ => false,
        }
    }

    /// Whether it tells that there is such a stream, unless a node that is behind says so.
    #[must_use]
    pub fn finds_one(&self) -> bool {
        match (&self.op, &self.ending) {
            (Op::Read(read), Ending::Done(_)) => !read.local,
            (Op::Create(_), Ending::Done(Answer::Created { new, .. })) => !new,
            (Op::Append(_) | Op::Head, Ending::Done(_)) => true,
            _ => false,
        }
    }
}

/// Takes the events of all clients of a run. Cheap to clone; all clones are one.
#[derive(Clone, Debug, Default)]
pub struct Recorder {
    desk: Arc<Mutex<Desk>>,
    /// What it takes goes to [`History::forks`].
    forks: bool,
}

#[derive(Debug, Default)]
struct Desk {
    history: History,
    order: u64,
}

impl Recorder {
    /// Nothing recorded yet. See [`History::offsets_are_bytes`].
    #[must_use]
    pub fn new(offsets_are_bytes: bool) -> Self {
        let recorder = Self::default();
        recorder.desk().history.offsets_are_bytes = offsets_are_bytes;
        recorder
    }

    /// The same recorder, for calls to streams that are forked.
    #[must_use]
    pub fn of_forks(&self) -> Self {
        Self {
            forks: true,
            ..self.clone()
        }
    }

    /// A call begins. Returns the event's id.
    #[must_use]
    pub fn invoke(&self, client: u32, node: usize, stream: &Arc<str>, op: Op, now_ns: u64) -> u32 {
        let mut desk = self.desk();
        let invoked = desk.moment(now_ns);
        let events = desk.events(self.forks);
        let id = u32::try_from(events.len()).expect("a run has fewer than 2^32 calls");
        let ending = Ending::Open;
        let stream = Arc::clone(stream);
        events.push(Event {
            id,
            client,
            node,
            stream,
            invoked,
            returned: None,
            op,
            ending,
        });
        id
    }

    /// The call has ended.
    pub fn end(&self, id: u32, ending: Ending, now_ns: u64) {
        let mut desk = self.desk();
        let returned = Some(desk.moment(now_ns));
        let event = &mut desk.events(self.forks)[id as usize];
        event.returned = returned;
        event.ending = ending;
    }

    /// From now on everything is whole and every call must be answered.
    pub fn calm(&self) {
        let mut desk = self.desk();
        desk.order += 1;
        desk.history.calm_from = Some(desk.order);
    }

    /// The servers' clocks are never further off than this.
    pub fn clock_error(&self, error: std::time::Duration) {
        self.desk().history.clock_error_ms = u64::try_from(error.as_millis()).ok();
    }

    /// How many blows have been struck in all.
    pub fn blows(&self, count: u64) {
        self.desk().history.blows = Some(count);
    }

    /// The history so far.
    #[must_use]
    pub fn history(&self) -> History {
        self.desk().history.clone()
    }

    /// The names of the streams that were spoken of, sorted.
    #[must_use]
    pub fn streams(&self) -> Vec<Arc<str>> {
        names(self.desk().events(self.forks))
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().expect("nobody panics while holding the recorder")
    }
}

impl Desk {
    fn events(&mut self, forks: bool) -> &mut Vec<Event> {
        if forks {
            &mut self.history.forks
        } else {
            &mut self.history.events
        }
    }

    fn moment(&mut self, ns: u64) -> Moment {
        self.order += 1;
        Moment { ns, order: self.order }
    }
}

/// The streams that events speak of, sorted.
fn names(events: &[Event]) -> Vec<Arc<str>> {
    let names: std::collections::BTreeSet<&Arc<str>> = events.iter().map(|event| &event.stream).collect();
    names.into_iter().cloned().collect()
}

impl History {
    /// The names of the streams in it, sorted.
    #[must_use]
    pub fn streams(&self) -> Vec<Arc<str>> {
        names(&self.events)
    }

    /// The events of one stream, in order.
    pub fn of<'a>(&'a self, stream: &'a str) -> impl Iterator<Item = &'a Event> {
        self.events.iter().filter(move |event| &*event.stream == stream)
    }

    /// Whether a stream can have ended and begun again, so that offsets and contents may begin anew.
    #[must_use]
    pub fn may_have_been_deleted(&self, stream: &str) -> bool {
        self.is_mortal(stream)
            || self
                .of(stream)
                .any(|event| matches!(event.op, Op::Delete) && !matches!(event.ending, Ending::Refused(_)))
    }

    /// Whether a stream may end by itself.
    #[must_use]
    pub fn is_mortal(&self, stream: &str) -> bool {
        self.ttl_s(stream).is_some()
            || self
                .of(stream)
                .any(|event| matches!(&event.op, Op::Create(create) if create.expires_ms.is_some()))
    }

    /// What a stream forgets, where it or its bucket says so.
    #[must_use]
    pub fn policy(&self, stream: &str) -> Option<Policy> {
        let own = self.of(stream).find_map(|event| match &event.op {
            Op::Create(create) => create.keeps,
            _ => None,
        });
        let bucket = stream.split_once('/').and_then(|(bucket, _)| {
            self.of(bucket).find_map(|event| match &event.op {
                Op::Bucket(BucketOp::MakeKeeping(policy)) => Some(*policy),
                _ => None,
            })
        });
        let (one, other) = (own.or(bucket)?, bucket.unwrap_or_default());
        Some(Policy {
            age_s: one.age_s.or(other.age_s),
            bytes: one.bytes.or(other.bytes),
        })
    }

    /// The window of a stream that is over when nobody uses it; the shortest, if its lives have several.
    #[must_use]
    pub fn ttl_s(&self, stream: &str) -> Option<u32> {
        let creates = self.of(stream).filter_map(|event| match &event.op {
            Op::Create(create) => create.ttl_s,
            _ => None,
        });
        creates.min()
    }

    /// One JSON line with the head, then one per event.
    ///
    /// # Panics
    /// Never: every part has a JSON form.
    #[must_use]
    pub fn to_json_lines(&self) -> String {
        let head = Self {
            events: Vec::new(),
            ..self.clone()
        };
        let mut out = serde_json::to_string(&head).expect("a history has a JSON form");
        for event in &self.events {
            out.push('\n');
            out.push_str(&serde_json::to_string(event).expect("an event has a JSON form"));
        }
        out.push('\n');
        out
    }

    /// Reads what [`History::to_json_lines`] wrote.
    ///
    /// # Errors
    /// When a line is not what it wrote.
    pub fn from_json_lines(text: &str) -> Result<Self, serde_json::Error> {
        let mut lines = text.lines().filter(|line| !line.trim().is_empty());
        let mut history: Self = serde_json::from_str(lines.next().unwrap_or(""))?;
        for line in lines {
            history.events.push(serde_json::from_str(line)?);
        }
        Ok(history)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_reads_back_from_its_lines() {
        let recorder = Recorder::new(true);
        let stream: Arc<str> = "log-0".into();
        let tag = Some(Tag { client: 1, number: 2 });
        let append = Append {
            tag,
            len: 64,
            content_type: "text/plain".into(),
            ..Append::default()
        };
        let first = recorder.invoke(1, 0, &stream, Op::Append(append), 10);
        let read = Read {
            from: "-1".into(),
            local: false,
            session: 1,
            before: Some(Content::default()),
            bootstrap: false,
            live: None,
        };
        let second = recorder.invoke(2, 1, &stream, Op::Read(read), 11);
        recorder.end(second, Ending::Done(Answer::Read(Seen::default())), 12);
        recorder.calm();
        recorder.end(first, Ending::Unknown("deadline".into()), 13);
        let history = recorder.history();
        assert_eq!(History::from_json_lines(&history.to_json_lines()).unwrap(), history);
        assert_eq!(history.events[0].returned.map(|at| at.order), Some(5));
    }
}
