//! Hand-written histories for the checkers' tests: one stream, records of 32 bytes, tags `c1.n`.
//!
//! The plain calls follow one another; `begin_…` and `end` overlap them.

use std::sync::Arc;

use crate::client::BEGINNING;
use crate::format::Format;
use crate::history::{Answer, Append, Create, Ending, History, Op, Producer, Read, Recorder, Refusal, Seen, Stored};
use crate::record::{Content, LEN_MIN, Tag};

pub(crate) struct Tale {
    recorder: Recorder,
    stream: Arc<str>,
    now_ns: u64,
    /// Records stored so far, as far as the tale says.
    count: u64,
    session: u32,
}

pub(crate) fn tag(number: u32) -> Tag {
    Tag { client: 1, number }
}

pub(crate) fn offset(count: u64) -> String {
    format!("{:020}", count * u64::from(LEN_MIN))
}

pub(crate) fn append(number: u32) -> Append {
    Append {
        tag: Some(tag(number)),
        len: LEN_MIN,
        content_type: Format::Bytes.content_type().into(),
        ..Append::default()
    }
}

pub(crate) fn closing() -> Append {
    Append {
        close: true,
        ..Append::default()
    }
}

pub(crate) fn producing(number: u32, epoch: u64, seq: u64) -> Append {
    Append {
        producer: Some(Producer {
            id: "p".into(),
            epoch,
            seq,
        }),
        ..append(number)
    }
}

pub(crate) fn stored_at(count: u64) -> Ending {
    Ending::Done(Answer::Appended {
        stored: Stored::Now,
        next: Some(offset(count)),
        etag: None,
    })
}

pub(crate) fn seen(numbers: &[u32]) -> Answer {
    seen_and(numbers, false)
}

pub(crate) fn seen_and(numbers: &[u32], closed: bool) -> Answer {
    let tags: Vec<Tag> = numbers.iter().map(|number| tag(*number)).collect();
    let after = tags.iter().fold(Content::default(), |content, tag| content.then(*tag));
    let bytes = u64::from(LEN_MIN) * tags.len() as u64;
    let next = offset(tags.len() as u64);
    Answer::Read(Seen {
        next,
        up_to_date: true,
        closed,
        tags,
        bytes,
        after: Some(after),
        ..Seen::default()
    })
}

impl Tale {
    pub(crate) fn new() -> Self {
        Self {
            recorder: Recorder::new(true),
            stream: "log-0".into(),
            now_ns: 0,
            count: 0,
            session: 0,
        }
    }

    pub(crate) fn history(&self) -> History {
        self.recorder.history()
    }

    pub(crate) fn calm(&mut self) -> &mut Self {
        self.recorder.calm();
        self
    }

    pub(crate) fn clock_error(&mut self, ms: u64) -> &mut Self {
        self.recorder.clock_error(std::time::Duration::from_millis(ms));
        self
    }

    pub(crate) fn pass(&mut self, ms: u64) -> &mut Self {
        self.now_ns += ms * 1_000_000;
        self
    }

    pub(crate) fn begin(&mut self, op: Op) -> u32 {
        self.now_ns += 1_000_000;
        self.recorder.invoke(1, 0, &self.stream, op, self.now_ns)
    }

    pub(crate) fn begin_append(&mut self, number: u32) -> u32 {
        self.begin(Op::Append(append(number)))
    }

    pub(crate) fn begin_read(&mut self) -> u32 {
        let read = self.read_op(false);
        self.begin(read)
    }

    pub(crate) fn end(&mut self, id: u32, ending: Ending) -> &mut Self {
        self.now_ns += 1_000_000;
        self.recorder.end(id, ending, self.now_ns);
        self
    }

    pub(crate) fn call(&mut self, op: Op, ending: Ending) -> &mut Self {
        let id = self.begin(op);
        self.end(id, ending)
    }

    pub(crate) fn create(&mut self) -> &mut Self {
        self.count = 0;
        let create = Create {
            content_type: Format::Bytes.content_type().into(),
            ..Create::default()
        };
        let answer = Answer::Created {
            new: true,
            next: Some(offset(0)),
            etag: None,
        };
        self.call(Op::Create(create), Ending::Done(answer))
    }

    pub(crate) fn delete(&mut self) -> &mut Self {
        self.call(Op::Delete, Ending::Done(Answer::Deleted))
    }

    pub(crate) fn stored(&mut self, number: u32) -> &mut Self {
        self.stores(append(number))
    }

    pub(crate) fn stores(&mut self, append: Append) -> &mut Self {
        self.count += u64::from(append.tag.is_some());
        self.call(Op::Append(append), stored_at(self.count))
    }

    pub(crate) fn unknown(&mut self, number: u32) -> &mut Self {
        self.call(Op::Append(append(number)), Ending::Unknown("deadline".into()))
    }

    /// An unknown append that the tale knows to be stored.
    pub(crate) fn unknown_but_stored(&mut self, append: Append) -> &mut Self {
        self.count += 1;
        self.call(Op::Append(append), Ending::Unknown("deadline".into()))
    }

    pub(crate) fn refused(&mut self, append: Append, refusal: Refusal) -> &mut Self {
        self.call(Op::Append(append), Ending::Refused(refusal))
    }

    pub(crate) fn reads(&mut self, numbers: &[u32]) -> &mut Self {
        let read = self.read_op(false);
        self.call(read, Ending::Done(seen(numbers)))
    }

    pub(crate) fn reads_locally(&mut self, numbers: &[u32]) -> &mut Self {
        let read = self.read_op(true);
        self.call(read, Ending::Done(seen(numbers)))
    }

    pub(crate) fn reads_closed(&mut self, numbers: &[u32]) -> &mut Self {
        let read = self.read_op(false);
        self.call(read, Ending::Done(seen_and(numbers, true)))
    }

    fn read_op(&mut self, local: bool) -> Op {
        self.session += 1;
        let before = Some(Content::default());
        Op::Read(Read {
            from: BEGINNING.into(),
            local,
            session: self.session,
            before,
            bootstrap: false,
            live: None,
        })
    }
}
