//! What is asked, in words that mean the same to every server: offsets and tags are named by when they were answered.

use std::fmt;

/// How many streams a sequence plays with at most.
pub(crate) const STREAMS: usize = 4;

/// Which of the offsets, or of the tags, of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// These characters.
    Literal(&'static str),
    /// The one that the server answered so many ago.
    Answered(usize),
}

/// What a fork is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fork {
    /// Which stream `Stream-Forked-From` names.
    pub(crate) from: usize,
    /// `Stream-Fork-Offset`, one that its source answered.
    pub(crate) at: Option<Place>,
}

/// One request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) method: &'static str,
    pub(crate) stream: usize,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) fork: Option<Fork>,
    pub(crate) place: Option<Place>,
    pub(crate) live: Option<&'static str>,
    /// Whether to send `If-None-Match` with the tag that this server answered last to the same question.
    pub(crate) unless_same: bool,
    /// `If-Match`, with a tag that a write or a HEAD of this stream was answered.
    pub(crate) if_match: Option<Place>,
    pub(crate) body: String,
    /// In how many chunks the body is sent; without them it is sent whole, and its length before it.
    pub(crate) chunks: Option<usize>,
}

impl Step {
    pub(crate) fn new(method: &'static str, stream: usize) -> Self {
        Self {
            method,
            stream,
            headers: Vec::new(),
            fork: None,
            place: None,
            live: None,
            unless_same: false,
            if_match: None,
            body: String::new(),
            chunks: None,
        }
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// The value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(header, _)| *header == name);
        found.map(|(_, value)| value.as_str())
    }

    pub(crate) fn is_write(&self) -> bool {
        self.method != "GET" && self.method != "HEAD"
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Literal(text) => f.write_str(text),
            Self::Answered(ago) => write!(f, "(answered {ago} ago)"),
        }
    }
}

/// As a person would write it down.
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:6} s{}", self.method, self.stream)?;
        if let Some(place) = &self.place {
            write!(f, "?offset={place}")?;
        }
        if let Some(live) = self.live {
            write!(f, " live={live}")?;
        }
        if let Some(Fork { from, at }) = &self.fork {
            write!(f, " stream-forked-from: s{from};")?;
            if let Some(at) = at {
                write!(f, " stream-fork-offset: {at};")?;
            }
        }
        for (name, value) in &self.headers {
            write!(f, " {name}: {value};")?;
        }
        if self.unless_same {
            write!(f, " if-none-match: (the last tag);")?;
        }
        if let Some(tag) = &self.if_match {
            write!(f, " if-match: {tag};")?;
        }
        if !self.body.is_empty() {
            write!(f, " body {:?}", self.body)?;
        }
        if let Some(chunks) = self.chunks {
            write!(f, " in {chunks} chunks")?;
        }
        Ok(())
    }
}

/// A moment long after all this.
pub(crate) const MOMENT: &str = "2099-01-01T00:00:00.000Z";
