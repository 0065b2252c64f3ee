//! The state of a stream as one short text, and conditions on it.
//!
//! `"{incarnation}:{start}:{end}"`, with `:c` when the stream is closed and `end` is its end. Bytes at an offset never
//! change, so these numbers name a body for good; a stream deleted and created again has another incarnation.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::limits::CONDITION_TAGS_MAX;
use super::outcome::Standing;

/// Names the bytes `start..end` of one incarnation of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ETag {
    /// Which life of the stream.
    pub incarnation: u64,
    /// First byte.
    pub start: u64,
    /// One past the last byte.
    pub end: u64,
    /// Whether the stream is closed and ends at `end`.
    pub closed: bool,
}

/// With its quotes, as in the header.
impl fmt::Display for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let closed = if self.closed { ":c" } else { "" };
        write!(f, "\"{}:{}:{}{closed}\"", self.incarnation, self.start, self.end)
    }
}

impl ETag {
    /// Reads what is between the quotes. `None` for a tag that is not of our making (it matches nothing).
    fn parse_opaque(opaque: &str) -> Option<Self> {
        let mut parts = opaque.split(':');
        let mut number = || parts.next().and_then(canonical_number);
        let (incarnation, start, end) = (number()?, number()?, number()?);
        let closed = match parts.next() {
            None => false,
            Some("c") => true,
            Some(_) => return None,
        };
        parts.next().is_none().then_some(Self {
            incarnation,
            start,
            end,
            closed,
        })
    }
}

/// A number as `Display` writes it: no sign, no zero in front.
fn canonical_number(text: &str) -> Option<u64> {
    let canonical = text == "0" || (!text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit()));
    if canonical { text.parse().ok() } else { None }
}

/// The value of an `If-Match` or `If-None-Match` header.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Condition {
    /// `*`: any stream, if only there is one.
    Any,
    /// One of these. Tags that are not of our making were left out: they match nothing.
    Tags(Vec<Tag>),
}

/// One tag of a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tag {
    /// Written `W/"…"`. Counts for `If-None-Match` only.
    pub weak: bool,
    /// What it names.
    pub etag: ETag,
}

/// A condition header that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadCondition {
    /// Not a list of entity tags.
    #[error("a condition is * or a comma-separated list of quoted entity tags, as answered in ETag")]
    Syntax,
    /// More than [`CONDITION_TAGS_MAX`].
    #[error("a condition names at most {CONDITION_TAGS_MAX} entity tags")]
    TooMany,
}

impl Condition {
    /// Reads `*` or a list of entity tags.
    ///
    /// # Errors
    /// When it is neither, or names too many.
    pub fn parse(header: &str) -> Result<Self, BadCondition> {
        let blank = |c: char| c == ' ' || c == '\t';
        let mut rest = header.trim_matches(blank);
        if rest == "*" {
            return Ok(Self::Any);
        }
        let (mut tags, mut seen) = (Vec::new(), 0);
        loop {
            // Empty list elements are allowed (RFC 9110, 5.6.1), an empty list is not.
            rest = rest.trim_start_matches(|c| blank(c) || c == ',');
            if rest.is_empty() {
                break;
            }
            let (weak, quoted) = match rest.strip_prefix("W/") {
                Some(after) => (true, after),
                None => (false, rest),
            };
            let (opaque, after) = quoted
                .strip_prefix('"')
                .and_then(|q| q.split_once('"'))
                .ok_or(BadCondition::Syntax)?;
            rest = after.trim_start_matches(blank);
            if !rest.is_empty() && !rest.starts_with(',') {
                return Err(BadCondition::Syntax);
            }
            seen += 1;
            if seen > CONDITION_TAGS_MAX {
                return Err(BadCondition::TooMany);
            }
            tags.extend(ETag::parse_opaque(opaque).map(|etag| Tag { weak, etag }));
        }
        if seen == 0 {
            Err(BadCondition::Syntax)
        } else {
            Ok(Self::Tags(tags))
        }
    }

    /// `If-Match` on a write: whether the stream still stands where the client saw it. Every strong tag of this
    /// incarnation that ends at the present tail, in the present closed state, says so, wherever it starts: a client
    /// may have it from a write, from HEAD, or from a read that reached the tail. `None` is: there is no stream.
    #[must_use]
    pub fn allows_write(&self, standing: Option<&Standing>) -> bool {
        let Some(now) = standing else { return false };
        match self {
            Self::Any => true,
            Self::Tags(tags) => tags.iter().any(|Tag { weak, etag }| {
                !weak && etag.incarnation == now.incarnation && etag.end == now.tail.0 && etag.closed == now.closed
            }),
        }
    }

    /// Whether it holds for a stream in this life, whatever bytes its tags name.
    #[must_use]
    pub fn is_of_life(&self, incarnation: u64) -> bool {
        match self {
            Self::Any => true,
            Self::Tags(tags) => tags.iter().any(|tag| tag.etag.incarnation == incarnation),
        }
    }

    /// `If-None-Match` on a read or HEAD: whether the client has exactly this already (answer 304).
    #[must_use]
    pub fn has(&self, etag: &ETag) -> bool {
        match self {
            Self::Any => true,
            Self::Tags(tags) => tags.iter().any(|tag| tag.etag == *etag),
        }
    }
}
