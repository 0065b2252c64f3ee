//! Hand-written histories of one bucket, `race`, for the tests of the laws on buckets.
//!
//! The plain calls follow one another; `begin_…` and `end` overlap them.

use std::sync::Arc;

use crate::history::{Answer, BucketOp, BucketSaw, Create, Ending, History, Op, Recorder, Refusal};

pub(crate) struct BucketTale {
    recorder: Recorder,
    now_ns: u64,
}

/// As asked; what exactly is filled in by the call.
pub(crate) fn done() -> Ending {
    Ending::Done(Answer::Deleted)
}

pub(crate) fn created() -> Ending {
    Ending::Done(Answer::Created {
        new: true,
        next: None,
        etag: None,
    })
}

pub(crate) fn missing() -> Ending {
    Ending::Refused(Refusal::NotFound)
}

pub(crate) fn conflict() -> Ending {
    Ending::Refused(Refusal::Conflict)
}

pub(crate) fn unavailable() -> Ending {
    let code = "no_leader".to_owned();
    Ending::Refused(Refusal::Unavailable { code })
}

pub(crate) fn unknown() -> Ending {
    Ending::Unknown("deadline".into())
}

impl BucketTale {
    pub(crate) fn new() -> Self {
        Self {
            recorder: Recorder::new(true),
            now_ns: 0,
        }
    }

    pub(crate) fn history(&self) -> History {
        self.recorder.history()
    }

    fn begin(&mut self, name: &str, op: Op) -> u32 {
        self.now_ns += 1_000_000;
        let name: Arc<str> = name.into();
        self.recorder.invoke(1, 0, &name, op, self.now_ns)
    }

    pub(crate) fn begin_create(&mut self, stream: &str, in_bucket: bool) -> u32 {
        let create = Create {
            in_bucket,
            ..Create::default()
        };
        self.begin(&format!("race/{stream}"), Op::Create(create))
    }

    pub(crate) fn begin_drop(&mut self) -> u32 {
        self.begin("race", Op::Bucket(BucketOp::Drop))
    }

    pub(crate) fn begin_delete(&mut self, stream: &str) -> u32 {
        self.begin(&format!("race/{stream}"), Op::Delete)
    }

    pub(crate) fn begin_list(&mut self, prefix: &str, after: &str, limit: usize) -> u32 {
        let (prefix, after) = (prefix.to_owned(), after.to_owned());
        self.begin("race", Op::Bucket(BucketOp::List { prefix, after, limit }))
    }

    pub(crate) fn end(&mut self, id: u32, ending: Ending) -> &mut Self {
        self.now_ns += 1_000_000;
        let op = self.recorder.history().events[id as usize].op.clone();
        let ending = match (&op, ending) {
            (Op::Bucket(BucketOp::Make), Ending::Done(Answer::Deleted)) => bucket(BucketSaw::Made),
            (Op::Bucket(BucketOp::Drop), Ending::Done(Answer::Deleted)) => bucket(BucketSaw::Dropped),
            (Op::Bucket(BucketOp::Count), Ending::Done(Answer::Deleted)) => bucket(BucketSaw::Count(0)),
            (_, ending) => ending,
        };
        self.recorder.end(id, ending, self.now_ns);
        self
    }

    pub(crate) fn create(&mut self, stream: &str, in_bucket: bool, ending: Ending) -> &mut Self {
        let id = self.begin_create(stream, in_bucket);
        self.end(id, ending)
    }

    pub(crate) fn delete(&mut self, stream: &str, ending: Ending) -> &mut Self {
        let id = self.begin_delete(stream);
        self.end(id, ending)
    }

    pub(crate) fn make(&mut self, ending: Ending) -> &mut Self {
        let id = self.begin("race", Op::Bucket(BucketOp::Make));
        self.end(id, ending)
    }

    pub(crate) fn drop(&mut self, ending: Ending) -> &mut Self {
        let id = self.begin_drop();
        self.end(id, ending)
    }

    /// Counts, and is told 0 if it is told anything.
    pub(crate) fn look(&mut self, ending: Ending) -> &mut Self {
        let id = self.begin("race", Op::Bucket(BucketOp::Count));
        self.end(id, ending)
    }

    pub(crate) fn counts(&mut self, streams: u64) -> &mut Self {
        let id = self.begin("race", Op::Bucket(BucketOp::Count));
        self.end(id, bucket(BucketSaw::Count(streams)))
    }

    pub(crate) fn lists(
        &mut self,
        prefix: &str,
        after: &str,
        limit: usize,
        names: &[&str],
        has_more: bool,
    ) -> &mut Self {
        let id = self.begin_list(prefix, after, limit);
        self.end(id, listed(names, has_more))
    }
}

fn bucket(saw: BucketSaw) -> Ending {
    Ending::Done(Answer::Bucket(saw))
}

pub(crate) fn listed(names: &[&str], has_more: bool) -> Ending {
    bucket(BucketSaw::Listed {
        names: names.iter().map(|name| (*name).to_owned()).collect(),
        next: names.last().map(|name| (*name).to_owned()),
        has_more,
    })
}
