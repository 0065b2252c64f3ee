//! Throws sequences of requests that are mostly sensible, so that they get somewhere.

use rand::{Rng, RngExt};

use crate::step::{Fork, MOMENT, Place, STREAMS, Step};

const TYPES: [&str; 5] = [
    "text/plain",
    "application/octet-stream",
    "application/json",
    "application/json; charset=utf-8",
    "application/x-ndjson",
];
const JSON: [&str; 14] = [
    r#"{"a":1}"#,
    "[1,2,3]",
    "[]",
    "[[1],[2]]",
    r#" "x" "#,
    r#"{"a":"#,
    "null",
    "[{\"b\":\"\u{e9}\"}, {}]",
    r#"{"z":1, "a":[ 2 ]}"#,
    "true false",
    r#"[" a b ", "\"[,]\\"]"#,
    "[,]",
    "7\n",
    "[\"\\n\"]",
];
const TEXT: [&str; 6] = ["a", "hello", "line\nline\r\n", "\u{e9}\u{20ac}", "[1]", " "];
const SEQS: [&str; 7] = ["1", "2", "10", "a", "A", "b", "0001"];
const PLACES: [&str; 12] = [
    "-1",
    "-1",
    "now",
    "",
    "abc",
    "1,2",
    "-2",
    "1 2",
    "9999999999999999_9999999999999999",
    "0000000000000000_0000000000000000",
    "%00",
    "../1",
];
/// Headers no client should send; whether the method is PUT decides which fit.
const BAD_CREATE: [(&str, &str); 10] = [
    ("stream-ttl", "-1"),
    ("stream-ttl", "01"),
    ("stream-ttl", "1.5"),
    ("stream-ttl", "1e3"),
    ("stream-ttl", "abc"),
    ("stream-expires-at", "soon"),
    ("stream-closed", "yes"),
    ("stream-closed", "TRUE"),
    ("content-type", "nonsense"),
    ("stream-closed", "false"),
];
const BAD_APPEND: [(&str, &str); 11] = [
    ("producer-id", "p"),
    ("producer-epoch", "0"),
    ("producer-seq", "-1"),
    ("producer-seq", "1e3"),
    ("producer-epoch", "abc"),
    ("producer-seq", "9007199254740992"),
    ("producer-id", ""),
    ("stream-closed", "yes"),
    ("stream-closed", "TRUE"),
    ("content-type", "nonsense"),
    ("content-type", "TEXT/PLAIN"),
];

/// Where forks begin that should not, and how many bytes or messages further. The offsets look like the reference server's
/// or like nobody's.
const FORK_PLACES: [&str; 5] = [
    "9999999999999999_9999999999999999",
    "0000000000000000_0000000000000000",
    "-1",
    "now",
    "abc",
];
const FORK_SUB: [&str; 12] = ["0", "1", "1", "2", "2", "2", "3", "3", "100", "01", "-1", "1.5"];
const LIVE: [&str; 9] = [
    "long-poll",
    "long-poll",
    "long-poll",
    "sse",
    "sse",
    "sse",
    "sse",
    "sse",
    "later",
];

/// One sequence's dice, and what it believes of its streams.
pub(crate) struct Generator<R> {
    dice: R,
    types: [&'static str; STREAMS],
    /// What each of two producers of each stream would send next: epoch and sequence number.
    next: [[(u64, u64); 2]; STREAMS],
    /// Whether streams are forked here. The law must follow; where they are not, there is more of everything else.
    forks: bool,
    /// Which streams are probably there.
    there: [bool; STREAMS],
    last_fork: Option<Step>,
    /// The stream that was forked just now.
    forked: Option<usize>,
}

impl<R: Rng> Generator<R> {
    pub(crate) fn new(mut dice: R) -> Self {
        let types = std::array::from_fn(|_| pick(&mut dice, &TYPES));
        let forks = dice.random_bool(0.5);
        Self {
            dice,
            types,
            next: [[(0, 0); 2]; STREAMS],
            forks,
            there: [false; STREAMS],
            last_fork: None,
            forked: None,
        }
    }

    /// A whole sequence.
    pub(crate) fn sequence(&mut self) -> Vec<Step> {
        let len = self.dice.random_range(3..=40);
        // With forks, half of the names are left for these.
        let created = if self.forks { 2 } else { 3 };
        let mut steps: Vec<Step> = (0..created).map(|stream| self.create(stream)).collect();
        steps.extend((0..len).map(|_| self.step()));
        steps
    }

    fn step(&mut self) -> Step {
        let mut step = self.any();
        match step.method {
            "PUT" => self.there[step.stream] = true,
            "DELETE" => self.there[step.stream] = false,
            _ => {}
        }
        if step.is_write() && step.if_match.is_none() && self.odds(4) {
            step.if_match = Some(match self.dice.random_range(0..10) {
                0 => Place::Literal("*"),
                1 => Place::Literal("\"nonsense\""),
                _ => Place::Answered(self.dice.random_range(0..3)),
            });
        }
        if !step.body.is_empty() && self.odds(10) {
            step.chunks = Some(self.dice.random_range(1..=3));
        }
        step
    }

    fn any(&mut self) -> Step {
        // What a fork begins with is seen by reading it.
        if let Some(stream) = self.forked.take()
            && self.odds(60)
        {
            let mut step = Step::new("GET", stream);
            step.live = if self.odds(30) { Some("sse") } else { None };
            step.place = Some(Place::Literal("-1"));
            return step;
        }
        if self.forks && self.odds(30) {
            return self.fork_or_delete();
        }
        let streams = if self.forks { STREAMS } else { 3 };
        let stream = self.dice.random_range(0..streams);
        match self.dice.random_range(0..100) {
            0..10 => self.create(stream),
            10..45 => self.append(stream),
            45..49 => self.close(stream),
            49..53 => Step::new("DELETE", stream),
            53..60 => Step::new("HEAD", stream),
            60..84 => self.read(stream),
            _ => self.read_live(stream),
        }
    }

    /// A fork under a name that is free; where none is, one is made free, mostly.
    fn fork_or_delete(&mut self) -> Step {
        if self.odds(8)
            && let Some(again) = &self.last_fork
        {
            return again.clone();
        }
        let free: Vec<usize> = (0..STREAMS).filter(|stream| !self.there[*stream]).collect();
        let taken: Vec<usize> = (0..STREAMS).filter(|stream| self.there[*stream]).collect();
        let stream = if self.odds(90) && !free.is_empty() {
            pick(&mut self.dice, &free)
        } else if self.odds(85) && !taken.is_empty() {
            return Step::new("DELETE", pick(&mut self.dice, &taken));
        } else {
            self.dice.random_range(0..STREAMS)
        };
        let from = if self.odds(95) && !taken.is_empty() {
            pick(&mut self.dice, &taken)
        } else {
            self.dice.random_range(0..STREAMS)
        };
        let step = self.fork(stream, from);
        self.last_fork = Some(step.clone());
        self.forked = Some(stream);
        step
    }

    fn fork(&mut self, stream: usize, from: usize) -> Step {
        self.types[stream] = self.types[from];
        let mut step = Step::new("PUT", stream);
        let at = match self.dice.random_range(0..100) {
            0..40 => None,
            40..92 => Some(Place::Answered(self.dice.random_range(0..5))),
            _ => Some(Place::Literal(pick(&mut self.dice, &FORK_PLACES))),
        };
        // Without an offset there is nothing to count from, and at the tail nothing to count.
        let odds = if at.is_some() { 65 } else { 8 };
        let at = if self.odds(odds) {
            step = step.with("stream-fork-sub-offset", pick(&mut self.dice, &FORK_SUB));
            match at {
                Some(Place::Answered(0 | 1)) => Some(Place::Literal(FORK_PLACES[1])),
                at => at,
            }
        } else {
            at
        };
        step.fork = Some(Fork { from, at });
        if self.odds(50) {
            step = step.with("content-type", self.content_type(from));
        }
        if self.odds(8) {
            step = step.with("stream-closed", "true");
        }
        if self.odds(10) {
            step = step.with("stream-ttl", pick(&mut self.dice, &["3600", "60", "7200"]));
        } else if self.odds(5) {
            step = step.with("stream-expires-at", MOMENT);
        }
        if self.odds(25) {
            step.body = self.body(stream);
        }
        step
    }

    /// A read that waits, or one by events, and mostly from where something was answered.
    fn read_live(&mut self, stream: usize) -> Step {
        let mut step = self.read(stream);
        step.live = Some(pick(&mut self.dice, &LIVE));
        if self.odds(70) {
            step.place = Some(match self.dice.random_range(0..10) {
                0..3 => Place::Literal("-1"),
                3 => Place::Literal("now"),
                _ => Place::Answered(self.dice.random_range(0..4)),
            });
        }
        step
    }

    fn odds(&mut self, percent: u32) -> bool {
        self.dice.random_range(0..100) < percent
    }

    fn content_type(&mut self, stream: usize) -> &'static str {
        if self.odds(92) {
            self.types[stream]
        } else {
            pick(&mut self.dice, &TYPES)
        }
    }

    fn body(&mut self, stream: usize) -> String {
        let json = self.types[stream].starts_with("application/json");
        if self.odds(5) {
            return String::new();
        }
        let body = if json {
            pick(&mut self.dice, &JSON)
        } else {
            pick(&mut self.dice, &TEXT)
        };
        body.to_owned()
    }

    fn create(&mut self, stream: usize) -> Step {
        let mut step = Step::new("PUT", stream);
        if self.odds(95) {
            step = step.with("content-type", self.content_type(stream));
        }
        if self.odds(8) {
            step = step.with("stream-closed", "true");
        }
        if self.odds(10) {
            step = step.with("stream-ttl", pick(&mut self.dice, &["3600", "60", "7200"]));
        }
        if self.odds(5) {
            step = step.with("stream-expires-at", MOMENT);
        }
        // A fork of nothing tells little.
        let odds = if self.forks { 60 } else { 25 };
        if self.odds(odds) {
            step.body = self.body(stream);
        }
        if self.odds(8) {
            let bad = pick(&mut self.dice, &BAD_CREATE);
            step = replaced(step, bad);
        }
        step
    }

    fn append(&mut self, stream: usize) -> Step {
        let mut step = Step::new("POST", stream);
        if self.odds(96) {
            step = step.with("content-type", self.content_type(stream));
        }
        step.body = self.body(stream);
        if self.odds(4) {
            step = step.with("stream-closed", "true");
        }
        if self.odds(12) {
            step = step.with("stream-seq", pick(&mut self.dice, &SEQS));
        }
        if self.odds(40) {
            step = self.produced(step);
        }
        if self.odds(6) {
            let bad = pick(&mut self.dice, &BAD_APPEND);
            step = replaced(step, bad);
        }
        step
    }

    fn close(&mut self, stream: usize) -> Step {
        let step = Step::new("POST", stream).with("stream-closed", "true");
        if self.odds(40) { self.produced(step) } else { step }
    }

    /// With the headers of a producer that mostly does what it should.
    fn produced(&mut self, step: Step) -> Step {
        let producer = self.dice.random_range(0..2);
        let (epoch, seq) = self.next[step.stream][producer];
        let (epoch, seq) = match self.dice.random_range(0..100) {
            0..60 => (epoch, seq),
            60..75 => (epoch, seq.saturating_sub(1)),
            75..82 => (epoch, seq + 2),
            82..90 => (epoch + 1, 0),
            90..94 => (epoch + 1, 1),
            94..97 => (epoch.saturating_sub(1), seq),
            _ => (epoch, 0),
        };
        if (epoch, seq) >= self.next[step.stream][producer] {
            self.next[step.stream][producer] = (epoch, seq + 1);
        }
        step.with("producer-id", ["p", "q"][producer])
            .with("producer-epoch", epoch.to_string())
            .with("producer-seq", seq.to_string())
    }

    fn read(&mut self, stream: usize) -> Step {
        let mut step = Step::new("GET", stream);
        step.place = match self.dice.random_range(0..100) {
            0..15 => None,
            15..70 => Some(Place::Answered(self.dice.random_range(0..6))),
            _ => Some(Place::Literal(pick(&mut self.dice, &PLACES))),
        };
        step.unless_same = self.odds(15);
        step
    }
}

fn pick<T: Copy>(dice: &mut impl Rng, from: &[T]) -> T {
    from[dice.random_range(0..from.len())]
}

/// The same request with another value for this header.
fn replaced(mut step: Step, (name, value): (&'static str, &'static str)) -> Step {
    step.headers.retain(|(header, _)| *header != name);
    step.with(name, value)
}
