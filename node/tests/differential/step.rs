//! What is asked, in words that mean the same to every server: offsets and tags are named by when they were answered.

use std::fmt;

use rand::{Rng, RngExt};

/// How many streams a sequence plays with.
pub(crate) const STREAMS: usize = 3;

/// Where to read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// These characters.
    Literal(&'static str),
    /// The offset that the server answered so many offsets ago.
    Answered(usize),
}

/// One request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) method: &'static str,
    pub(crate) stream: usize,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) place: Option<Place>,
    pub(crate) live: Option<&'static str>,
    /// Whether to send `If-None-Match` with the tag that this server answered last to the same question.
    pub(crate) unless_same: bool,
    pub(crate) body: String,
}

impl Step {
    fn new(method: &'static str, stream: usize) -> Self {
        Self {
            method,
            stream,
            headers: Vec::new(),
            place: None,
            live: None,
            unless_same: false,
            body: String::new(),
        }
    }

    fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// The value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(header, _)| *header == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// As a person would write it down.
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:6} s{}", self.method, self.stream)?;
        match &self.place {
            None => {}
            Some(Place::Literal(text)) => write!(f, "?offset={text}")?,
            Some(Place::Answered(ago)) => write!(f, "?offset=(answered {ago} ago)")?,
        }
        if let Some(live) = self.live {
            write!(f, " live={live}")?;
        }
        for (name, value) in &self.headers {
            write!(f, " {name}: {value};")?;
        }
        if self.unless_same {
            write!(f, " if-none-match: (the last tag);")?;
        }
        if !self.body.is_empty() {
            write!(f, " body {:?}", self.body)?;
        }
        Ok(())
    }
}

/// A moment long after all this.
pub(crate) const MOMENT: &str = "2099-01-01T00:00:00.000Z";

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

/// Throws sequences of requests that are mostly sensible, so that they get somewhere.
pub(crate) struct Generator<R> {
    dice: R,
    types: [&'static str; STREAMS],
    /// What each of two producers of each stream would send next: epoch and sequence number.
    next: [[(u64, u64); 2]; STREAMS],
}

impl<R: Rng> Generator<R> {
    pub(crate) fn new(mut dice: R) -> Self {
        let types = std::array::from_fn(|_| pick(&mut dice, &TYPES));
        Self {
            dice,
            types,
            next: [[(0, 0); 2]; STREAMS],
        }
    }

    /// A whole sequence.
    pub(crate) fn sequence(&mut self) -> Vec<Step> {
        let len = self.dice.random_range(3..=40);
        let mut steps: Vec<Step> = (0..STREAMS).map(|stream| self.create(stream)).collect();
        steps.extend((0..len).map(|_| self.step()));
        steps
    }

    fn step(&mut self) -> Step {
        let stream = self.dice.random_range(0..STREAMS);
        match self.dice.random_range(0..100) {
            0..10 => self.create(stream),
            10..45 => self.append(stream),
            45..49 => self.close(stream),
            49..53 => Step::new("DELETE", stream),
            53..63 => Step::new("HEAD", stream),
            _ => self.read(stream),
        }
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
        if self.odds(25) {
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
