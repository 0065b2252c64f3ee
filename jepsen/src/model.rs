//! What one stream is, as little as decides which answers are lawful: constant size, whatever the stream holds.
//!
//! PROTOCOL.md, as a sequential machine. The content is a chained hash ([`Content`]); the tail is a number, calculated
//! where offsets are bytes and learnt from answers where they are opaque. A refusal is lawful when the reason it names
//! is true; which of several true reasons a server names first is a matter for conformance tests. An unknown write
//! may be applied whenever the search likes, or never.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::client::BEGINNING;
use crate::history::{Answer, Create, Ending, Event, History, Op, Refusal, Stored};
use crate::record::{Content, Tag, mix};

/// What a stream is at one moment. Two states that are equal behave alike for ever.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    exists: bool,
    pub(crate) content: Content,
    /// `None` when offsets are opaque and no answer has told it yet.
    tail: Option<u64>,
    /// The entity tag of exactly this state, when an answer has told it.
    etag: Option<u32>,
    closed: bool,
    closed_by: Option<Claim>,
    content_type: u32,
    /// How long it was asked to live, by number.
    lifetime: u32,
    /// Rank of the last `Stream-Seq` among all of the history.
    seq: Option<u32>,
    /// The last claim of each producer, sorted. Shared, because most steps leave it alone.
    producers: Arc<Vec<Claim>>,
}

/// A producer's number, epoch and sequence number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Claim {
    id: u32,
    epoch: u64,
    seq: u64,
}

/// What a step does to the state.
#[derive(Debug, PartialEq, Eq)]
pub enum Effect {
    /// Lawful, and nothing changes.
    Same,
    /// Lawful, and this is the state now.
    To(State),
}

/// One call and its answer, with everything that varies in size turned into numbers.
#[derive(Clone, Debug)]
pub struct Call {
    /// The event it comes from.
    pub event: u32,
    /// Place of its beginning.
    pub invoked: u64,
    /// Place of its end; `u64::MAX` if unknown: it may happen at any time later.
    pub returned: u64,
    what: What,
    saw: Saw,
}

#[derive(Clone, Debug)]
enum What {
    Create {
        content_type: u32,
        lifetime: u32,
        closed: bool,
        tag: Option<Tag>,
        len: u64,
    },
    Append {
        tag: Option<Tag>,
        len: u64,
        content_type: u32,
        close: bool,
        claim: Option<Claim>,
        seq: Option<u32>,
        condition: Option<Condition>,
    },
    Delete,
    Head,
    Read {
        from: Option<u64>,
        content: Option<Content>,
        inside_a_record: bool,
    },
}

/// `If-Match`, with what the history tells about the tag.
#[derive(Clone, Copy, Debug)]
struct Condition {
    etag: u32,
    /// Tail and closed state where the tag was answered.
    stands_for: Option<(u64, bool)>,
}

#[derive(Clone, Debug)]
enum Saw {
    Created {
        next: Option<u64>,
        etag: Option<u32>,
    },
    Existed {
        next: Option<u64>,
        etag: Option<u32>,
    },
    Stored {
        how: Stored,
        next: Option<u64>,
        etag: Option<u32>,
    },
    Deleted,
    Head {
        next: u64,
        closed: bool,
        content_type: u32,
        etag: Option<u32>,
    },
    Read {
        next: u64,
        up_to_date: bool,
        closed: bool,
    },
    NotFound,
    Closed {
        next: Option<u64>,
    },
    ContentType,
    StreamSeq,
    Fenced {
        epoch: u64,
    },
    Gap {
        expected: u64,
    },
    IfMatch,
    Conflict,
    BeyondTail,
    Nothing,
}

impl Call {
    /// Whether its outcome is unknown.
    #[must_use]
    pub fn unknown(&self) -> bool {
        matches!(self.saw, Saw::Nothing)
    }

    /// Whether it closes the stream, if it takes effect.
    #[must_use]
    pub fn closes(&self) -> bool {
        matches!(self.what, What::Append { close: true, .. })
    }

    /// The record it appends to what is there, if it takes effect (not one that a create begins with).
    #[must_use]
    pub fn appends(&self) -> Option<Tag> {
        match (&self.what, &self.saw) {
            (What::Append { tag, .. }, Saw::Nothing | Saw::Stored { how: Stored::Now, .. }) => *tag,
            _ => None,
        }
    }
}

/// The calls of one stream, and the rules they are read by.
#[derive(Debug)]
pub struct Calls {
    /// Those that say anything, in the order of their beginnings.
    pub calls: Vec<Call>,
    bytes: bool,
    /// A deleted stream may come back with the same tail: then equal tails are not equal states.
    lives_once: bool,
    /// It may end by itself. When it may is judged elsewhere; here an answer that finds it gone is the moment.
    mortal: bool,
}

impl Calls {
    /// Reads the calls of a stream out of a history. Local reads are left out: they promise a prefix, not the present.
    #[must_use]
    pub fn of(history: &History, stream: &str) -> Self {
        let events: Vec<&Event> = history.of(stream).collect();
        let lives_once = !history.may_have_been_deleted(stream);
        let mut names = Names::new(history.offsets_are_bytes, lives_once, &events);
        let calls = events.iter().filter_map(|event| names.call(event)).collect();
        Self {
            calls,
            bytes: history.offsets_are_bytes,
            lives_once,
            mortal: history.is_mortal(stream),
        }
    }

    /// What the call does in this state; `None` if its answer is unlawful there, or (for an unknown one) if it would do
    /// nothing.
    #[must_use]
    pub fn step(&self, state: &State, call: &Call) -> Option<Effect> {
        match (&call.what, &call.saw) {
            (_, Saw::NotFound) if self.mortal && state.exists => Some(Effect::To(State::default())),
            (_, Saw::NotFound) => same_if(!state.exists),
            (What::Create { .. }, Saw::Created { .. } | Saw::Nothing) if self.mortal && state.exists => {
                self.step(&State::default(), call)
            }
            (
                What::Create {
                    content_type,
                    lifetime,
                    closed,
                    tag,
                    len,
                },
                saw,
            ) => self.create(state, (*content_type, *lifetime), *closed, *tag, *len, saw),
            (What::Delete, Saw::Deleted | Saw::Nothing) => state.exists.then(|| Effect::To(State::default())),
            _ if !state.exists => None,
            (What::Append { .. }, saw) => self.append(state, &call.what, saw),
            (
                What::Head,
                Saw::Head {
                    next,
                    closed,
                    content_type,
                    etag,
                },
            ) => {
                let lawful = state.closed == *closed && state.content_type == *content_type;
                if !lawful {
                    return None;
                }
                learn(state, Some(*next), *etag)
            }
            (What::Read { from, .. }, Saw::BeyondTail) => {
                same_if(state.tail.zip(*from).is_none_or(|(tail, from)| from > tail))
            }
            (
                What::Read {
                    content,
                    inside_a_record,
                    ..
                },
                Saw::Read {
                    next,
                    up_to_date,
                    closed,
                },
            ) => {
                if !up_to_date {
                    // How much of the stream one answer holds is the server's choice; what it holds is judged by the
                    // laws on contents.
                    return same_if(!closed && state.tail.is_none_or(|tail| *next <= tail));
                }
                let whole = !inside_a_record && content.is_none_or(|content| content == state.content);
                if !whole || *closed != state.closed {
                    return None;
                }
                learn(state, Some(*next), None)
            }
            _ => None,
        }
    }

    fn create(
        &self,
        state: &State,
        kind: (u32, u32),
        closed: bool,
        tag: Option<Tag>,
        len: u64,
        saw: &Saw,
    ) -> Option<Effect> {
        let alike = (state.content_type, state.lifetime) == kind && state.closed == closed;
        match saw {
            Saw::Existed { next, etag } if state.exists && alike => learn(state, *next, *etag),
            Saw::Conflict => same_if(state.exists && !alike),
            Saw::Created { next, etag } if !state.exists => {
                if self.bytes && next.is_some_and(|next| next != len) {
                    return None;
                }
                let tail = if self.bytes { Some(len) } else { *next };
                Some(Effect::To(born(kind, closed, tag, tail, *etag)))
            }
            Saw::Nothing if !state.exists => {
                let tail = self.bytes.then_some(len);
                Some(Effect::To(born(kind, closed, tag, tail, None)))
            }
            _ => None,
        }
    }

    fn append(&self, state: &State, what: &What, saw: &Saw) -> Option<Effect> {
        let What::Append {
            tag,
            content_type,
            close,
            claim,
            seq,
            condition,
            ..
        } = what
        else {
            return None;
        };
        let ruling = claim.map(|claim| state.judge(claim));
        let closes_again = *close && tag.is_none() && state.closed && claim.is_none();
        let repeat = |highest: Option<u64>| match ruling {
            // On a closed stream only the tuple that closed it may be repeated.
            Some(Ruling::Repeat { .. }) if state.closed && state.closed_by != *claim => None,
            Some(Ruling::Repeat { last }) => same_if(highest.is_none_or(|highest| highest == last)),
            _ => None,
        };
        match saw {
            Saw::Closed { next } => same_if(state.closed && !disagree(*next, state.tail)),
            Saw::ContentType => same_if(*content_type != state.content_type),
            Saw::StreamSeq => same_if(seq.is_some() && *seq <= state.seq),
            Saw::Fenced { epoch } => same_if(matches!(ruling, Some(Ruling::Fenced { now }) if now == *epoch)),
            Saw::Gap { expected } => same_if(matches!(ruling, Some(Ruling::Gap { next }) if next == *expected)),
            Saw::IfMatch => same_if(condition.is_some_and(|condition| !self.certainly_met(state, condition))),
            Saw::Stored {
                how: Stored::Before(highest),
                ..
            } => repeat(Some(*highest)),
            Saw::Stored { next, .. } if closes_again => learn(state, *next, None),
            Saw::Stored {
                how: Stored::NowOrBefore,
                ..
            } if matches!(ruling, Some(Ruling::Repeat { .. })) => repeat(None),
            Saw::Stored { next, etag, .. } => self.accept(state, what, *next, *etag),
            Saw::Nothing if closes_again => None,
            Saw::Nothing => self.accept(state, what, None, None),
            _ => None,
        }
    }

    /// The append is new and takes effect, if it may.
    fn accept(&self, state: &State, what: &What, next: Option<u64>, etag: Option<u32>) -> Option<Effect> {
        let What::Append {
            tag,
            len,
            content_type,
            close,
            claim,
            seq,
            condition,
        } = what
        else {
            return None;
        };
        let may = !state.closed
            && (tag.is_none() || *content_type == state.content_type)
            && claim.is_none_or(|claim| state.judge(claim) == Ruling::Accept)
            && seq.is_none_or(|seq| Some(seq) > state.seq)
            && condition.is_none_or(|condition| self.possibly_met(state, condition));
        if !may {
            return None;
        }
        let calculated = if self.bytes {
            state.tail.map(|tail| tail + len)
        } else {
            None
        };
        // An opaque offset must at least grow with the stream.
        let grows = self.bytes || tag.is_none() || next.zip(state.tail).is_none_or(|(next, tail)| next > tail);
        if disagree(calculated, next) || !grows {
            return None;
        }
        let mut to = State {
            content: tag.map_or(state.content, |tag| state.content.then(tag)),
            tail: next.or(calculated).or(if tag.is_none() { state.tail } else { None }),
            etag,
            closed: *close,
            closed_by: if *close { *claim } else { None },
            seq: (*seq).or(state.seq),
            ..state.clone()
        };
        if let Some(claim) = claim {
            let producers = Arc::make_mut(&mut to.producers);
            match producers.binary_search_by_key(&claim.id, |known| known.id) {
                Ok(at) => producers[at] = *claim,
                Err(at) => producers.insert(at, *claim),
            }
        }
        Some(Effect::To(to))
    }

    fn possibly_met(&self, state: &State, condition: Condition) -> bool {
        let Some((tail, closed)) = condition.stands_for else {
            return state.etag.is_none_or(|etag| etag == condition.etag);
        };
        let here = state.closed == closed && state.tail.is_none_or(|now| now == tail);
        here && (self.lives_once || state.etag.is_none_or(|etag| etag == condition.etag))
    }

    fn certainly_met(&self, state: &State, condition: Condition) -> bool {
        if state.etag == Some(condition.etag) {
            return true;
        }
        self.lives_once
            && condition
                .stands_for
                .is_some_and(|(tail, closed)| state.closed == closed && state.tail == Some(tail))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ruling {
    Accept,
    Repeat { last: u64 },
    Fenced { now: u64 },
    Gap { next: u64 },
    MustStartAtZero,
}

impl State {
    /// Who may write next, and what is a repeat. PROTOCOL.md, 5.2.1.
    fn judge(&self, claim: Claim) -> Ruling {
        let known = self.producers.binary_search_by_key(&claim.id, |known| known.id);
        let Ok(at) = known else {
            return if claim.seq == 0 {
                Ruling::Accept
            } else {
                Ruling::MustStartAtZero
            };
        };
        let last = self.producers[at];
        if claim.epoch < last.epoch {
            Ruling::Fenced { now: last.epoch }
        } else if claim.epoch > last.epoch {
            if claim.seq == 0 {
                Ruling::Accept
            } else {
                Ruling::MustStartAtZero
            }
        } else if claim.seq <= last.seq {
            Ruling::Repeat { last: last.seq }
        } else if claim.seq == last.seq + 1 {
            Ruling::Accept
        } else {
            Ruling::Gap { next: last.seq + 1 }
        }
    }

    /// A hash of all of it, wide enough that two different states in one search never share one.
    #[must_use]
    pub fn fingerprint(&self) -> u128 {
        let mut hash = (1, 2);
        let mut add = |number: u64| {
            hash = (mix(hash.0 ^ number), mix(hash.1 ^ number.rotate_left(32)));
        };
        let some = |value: Option<u64>| value.map_or(0, |value| mix(value) | 1);
        add(u64::from(self.exists) | u64::from(self.closed) << 1 | u64::from(self.content_type) << 2);
        add(self.content.chain);
        add(self.content.count);
        add(u64::from(self.lifetime));
        add(some(self.tail));
        add(some(self.etag.map(u64::from)));
        add(some(self.seq.map(u64::from)));
        for claim in self.closed_by.iter().chain(self.producers.iter()) {
            add(u64::from(claim.id));
            add(claim.epoch);
            add(claim.seq);
        }
        u128::from(hash.0) << 64 | u128::from(hash.1)
    }

    /// For a person.
    #[must_use]
    pub fn in_words(&self) -> String {
        if !self.exists {
            return "no stream".into();
        }
        let tail = self
            .tail
            .map_or("an unknown offset".into(), |tail| format!("offset {tail}"));
        let closed = if self.closed { ", closed" } else { "" };
        format!("{} records, ending at {tail}{closed}", self.content.count)
    }
}

fn born(
    (content_type, lifetime): (u32, u32),
    closed: bool,
    tag: Option<Tag>,
    tail: Option<u64>,
    etag: Option<u32>,
) -> State {
    let content = tag.map_or(Content::default(), |tag| Content::default().then(tag));
    State {
        exists: true,
        content,
        tail,
        etag,
        closed,
        content_type,
        lifetime,
        ..State::default()
    }
}

fn same_if(lawful: bool) -> Option<Effect> {
    lawful.then_some(Effect::Same)
}

fn disagree(one: Option<u64>, other: Option<u64>) -> bool {
    one.zip(other).is_some_and(|(one, other)| one != other)
}

/// An answer that tells tail and entity tag of the present state.
fn learn(state: &State, tail: Option<u64>, etag: Option<u32>) -> Option<Effect> {
    if disagree(state.tail, tail) || state.etag.zip(etag).is_some_and(|(known, seen)| known != seen) {
        return None;
    }
    let learnt = State {
        tail: state.tail.or(tail),
        etag: state.etag.or(etag),
        ..state.clone()
    };
    Some(if learnt == *state {
        Effect::Same
    } else {
        Effect::To(learnt)
    })
}

/// Numbers for what is text: equal texts get equal numbers, and order is kept where it means something.
struct Names<'a> {
    bytes: bool,
    offsets: FxHashMap<&'a str, u64>,
    seqs: FxHashMap<&'a str, u32>,
    texts: FxHashMap<String, u32>,
    conditions: bool,
    lives_once: bool,
    etags: FxHashMap<&'a str, (u64, bool)>,
}

impl<'a> Names<'a> {
    fn new(bytes: bool, lives_once: bool, events: &[&'a Event]) -> Self {
        let mut offsets: Vec<&str> = events.iter().filter_map(|event| next_offset(&event.ending)).collect();
        let mut seqs: Vec<&str> = events.iter().filter_map(|event| stream_seq(&event.op)).collect();
        offsets.sort_unstable();
        offsets.dedup();
        seqs.sort_unstable();
        seqs.dedup();
        let offsets = (0..).zip(offsets).map(|(rank, token)| (token, rank)).collect();
        let seqs = (0..).zip(seqs).map(|(rank, seq)| (seq, rank)).collect();
        let conditions = events
            .iter()
            .any(|event| matches!(&event.op, Op::Append(append) if append.if_match.is_some()));
        let (texts, etags) = Default::default();
        let mut names = Self {
            bytes,
            offsets,
            seqs,
            texts,
            conditions,
            lives_once,
            etags,
        };
        for event in events {
            names.learn_etag(event);
        }
        names
    }

    fn learn_etag(&mut self, event: &'a Event) {
        let Ending::Done(answer) = &event.ending else { return };
        let closes = matches!(&event.op, Op::Append(append) if append.close);
        let (etag, next, closed) = match answer {
            Answer::Created {
                next: Some(next),
                etag: Some(etag),
                ..
            } => {
                let closed = matches!(&event.op, Op::Create(create) if create.closed);
                (etag, next, closed)
            }
            // What a repeat is answered with is the present, and that may be closed by now.
            Answer::Appended {
                stored: Stored::Now,
                next: Some(next),
                etag: Some(etag),
            } => (etag, next, closes),
            Answer::Head {
                next,
                closed,
                etag: Some(etag),
                ..
            } => (etag, next, *closed),
            _ => return,
        };
        let tail = self.offset(next);
        self.etags.insert(etag, (tail, closed));
    }

    fn offset(&self, token: &str) -> u64 {
        let number = if self.bytes {
            token.parse().ok()
        } else {
            self.offsets.get(token).copied()
        };
        // A token that is no number where numbers were promised: equal to no tail.
        number.unwrap_or(u64::MAX)
    }

    fn text(&mut self, text: String) -> u32 {
        let next = self.texts.len() as u32;
        *self.texts.entry(text).or_insert(next)
    }

    fn content_type(&mut self, content_type: &str) -> u32 {
        self.text(content_type.to_ascii_lowercase())
    }

    /// A stream that is there is the one asked for only if it lives as long.
    fn lifetime(&mut self, create: &Create) -> u32 {
        let Create { ttl_s, expires_ms, .. } = create;
        match (ttl_s, expires_ms) {
            (None, None) => 0,
            asked => 1 + self.text(format!("{asked:?}")),
        }
    }

    /// `None` where nobody asks on a condition: then tags are no part of the state, and there are fewer states.
    fn etag(&mut self, etag: Option<&String>) -> Option<u32> {
        let etag = etag.filter(|_| self.conditions)?;
        Some(self.text(etag.clone()))
    }

    /// `None` for a call that says nothing about the stream.
    fn call(&mut self, event: &'a Event) -> Option<Call> {
        let what = match &event.op {
            Op::Create(create) => What::Create {
                content_type: self.content_type(&create.content_type),
                lifetime: self.lifetime(create),
                closed: create.closed,
                tag: create.tag,
                len: u64::from(create.len),
            },
            Op::Append(append) => What::Append {
                tag: append.tag,
                len: u64::from(append.len),
                content_type: self.content_type(&append.content_type),
                close: append.close,
                claim: append.producer.as_ref().map(|producer| Claim {
                    id: self.text(producer.id.clone()),
                    epoch: producer.epoch,
                    seq: producer.seq,
                }),
                seq: append.seq.as_deref().map(|seq| self.seqs[seq]),
                condition: append.if_match.as_ref().map(|etag| Condition {
                    etag: self.etag(Some(etag)).unwrap_or(u32::MAX),
                    stands_for: self.etags.get(etag.as_str()).copied(),
                }),
            },
            // Judged elsewhere.
            Op::Fork(_) => return None,
            Op::Delete => What::Delete,
            // What they say of a stream is judged by a law of their own.
            Op::Publish(_) | Op::Newest | Op::Trim { .. } => return None,
            Op::Head => What::Head,
            Op::Bucket(_) => return None,
            Op::Read(read) if read.local => return None,
            Op::Read(read) => {
                // What went before in the session may be of another life of the stream.
                let seen = event.seen().map(|(_, seen)| seen);
                let seen = seen.filter(|_| self.lives_once || read.begins());
                let from = (read.from != BEGINNING).then(|| self.offset(&read.from));
                What::Read {
                    from,
                    content: seen.and_then(|seen| seen.after),
                    inside_a_record: seen.is_some_and(|seen| seen.inside_a_record || seen.garbage.is_some()),
                }
            }
        };
        let saw = match &event.ending {
            Ending::Open | Ending::Unknown(_) if event.writes() => Saw::Nothing,
            Ending::Open | Ending::Unknown(_) => return None,
            Ending::Done(answer) => self.saw(answer),
            Ending::Refused(refusal) => match refusal {
                Refusal::NotSent
                | Refusal::Unavailable { .. }
                | Refusal::Other { .. }
                | Refusal::Gone { .. }
                | Refusal::Buried => return None,
                Refusal::NotFound => Saw::NotFound,
                Refusal::Closed { next } => Saw::Closed {
                    next: next.as_ref().map(|next| self.offset(next)),
                },
                Refusal::ContentType => Saw::ContentType,
                Refusal::StreamSeq => Saw::StreamSeq,
                Refusal::Fenced { epoch } => Saw::Fenced { epoch: *epoch },
                Refusal::Gap { expected, .. } => Saw::Gap { expected: *expected },
                Refusal::IfMatch => Saw::IfMatch,
                Refusal::Conflict => Saw::Conflict,
                Refusal::BeyondTail => Saw::BeyondTail,
            },
        };
        let returned = if matches!(saw, Saw::Nothing) {
            u64::MAX
        } else {
            event.returned_order()
        };
        Some(Call {
            event: event.id,
            invoked: event.invoked.order,
            returned,
            what,
            saw,
        })
    }

    fn saw(&mut self, answer: &Answer) -> Saw {
        let number = |names: &Self, next: &Option<String>| next.as_ref().map(|next| names.offset(next));
        match answer {
            Answer::Created { new, next, etag } => {
                let (next, etag) = (number(self, next), self.etag(etag.as_ref()));
                if *new {
                    Saw::Created { next, etag }
                } else {
                    Saw::Existed { next, etag }
                }
            }
            Answer::Appended { stored, next, etag } => Saw::Stored {
                how: *stored,
                next: number(self, next),
                etag: self.etag(etag.as_ref()),
            },
            Answer::Deleted => Saw::Deleted,
            // Never the answer to a call on a stream.
            Answer::Bucket(_) => Saw::Nothing,
            Answer::Head {
                next,
                closed,
                content_type,
                etag,
            } => Saw::Head {
                next: self.offset(next),
                closed: *closed,
                content_type: self.content_type(content_type),
                etag: self.etag(etag.as_ref()),
            },
            Answer::Read(seen) => Saw::Read {
                next: self.offset(&seen.next),
                up_to_date: seen.up_to_date,
                closed: seen.closed,
            },
            Answer::Published | Answer::Newest { .. } | Answer::Trimmed { .. } => Saw::Nothing,
        }
    }
}

fn stream_seq(op: &Op) -> Option<&str> {
    match op {
        Op::Append(append) => append.seq.as_deref(),
        _ => None,
    }
}

fn next_offset(ending: &Ending) -> Option<&str> {
    match ending {
        Ending::Done(Answer::Created { next, .. } | Answer::Appended { next, .. }) => next.as_deref(),
        Ending::Refused(Refusal::Closed { next }) => next.as_deref(),
        Ending::Done(Answer::Head { next, .. }) => Some(next),
        Ending::Done(Answer::Read(seen)) => Some(&seen.next),
        _ => None,
    }
}
