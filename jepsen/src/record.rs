//! What a workload writes: a body that says who wrote it, so that a reader can tell without understanding offsets.
//!
//! A record is `<c3.17:120>` (client 3, its 17th body, 120 bytes in all) and then filler that follows from the tag.
//! A flipped bit, a cut or foreign bytes anywhere are therefore seen. The chain is a hash over the tags of all records of
//! a stream up to a point: equal chains are equal contents.

use std::{fmt, str::FromStr};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::format::{Format, messages};

/// Names one body, for ever. Written `c3.17`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Tag {
    /// Who wrote it.
    pub client: u32,
    /// Which of theirs.
    pub number: u32,
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "c{}.{}", self.client, self.number)
    }
}

impl From<Tag> for String {
    fn from(tag: Tag) -> Self {
        tag.to_string()
    }
}

/// Text that is not a tag.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a tag like c3.17")]
pub struct NotATag(String);

impl FromStr for Tag {
    type Err = NotATag;

    fn from_str(text: &str) -> Result<Self, NotATag> {
        let parts = text.strip_prefix('c').and_then(|rest| rest.split_once('.'));
        let numbers = parts.and_then(|(client, number)| Some((client.parse().ok()?, number.parse().ok()?)));
        let (client, number) = numbers.ok_or_else(|| NotATag(text.into()))?;
        Ok(Self { client, number })
    }
}

impl TryFrom<String> for Tag {
    type Error = NotATag;

    fn try_from(text: String) -> Result<Self, NotATag> {
        text.parse()
    }
}

impl Tag {
    fn number(self) -> u64 {
        u64::from(self.client) << 32 | u64::from(self.number)
    }
}

/// Spreads the bits of a number over all of it (the finalizer of splitmix64).
#[must_use]
pub fn mix(number: u64) -> u64 {
    let mut x = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

/// The content of a stream from its beginning to some record, as a count and a hash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Content {
    /// Records so far.
    pub count: u64,
    /// Hash over their tags, in order. 0 for none.
    pub chain: u64,
}

impl Content {
    /// One more record.
    #[must_use]
    pub fn then(self, tag: Tag) -> Self {
        Self {
            count: self.count + 1,
            chain: mix(self.chain.rotate_left(7) ^ mix(tag.number())),
        }
    }
}

/// The shortest body that can carry a tag, for callers that choose lengths.
pub const LEN_MIN: u32 = 32;

/// Longer than any body.
const LEN_MAX: u32 = 1 << 24;

/// The body with this tag, of this length in bytes (at least [`LEN_MIN`], else that).
#[must_use]
pub fn body(tag: Tag, len: u32) -> Bytes {
    let len = len.max(LEN_MIN);
    let mut out = head(tag, len).into_bytes();
    fill(&mut out, tag, len as usize);
    out.into()
}

/// What a record begins with.
pub(crate) fn head(tag: Tag, len: u32) -> String {
    format!("<{tag}:{len}>")
}

pub(crate) fn fill(out: &mut Vec<u8>, tag: Tag, len: usize) {
    let room = len.saturating_sub(out.len());
    out.extend(letters(tag).take(room));
}

/// What follows the head of a record, without end. Letters only: a record can be looked at, and `<` begins nothing but a
/// record.
pub(crate) fn letters(tag: Tag) -> impl Iterator<Item = u8> {
    let mut x = mix(tag.number());
    std::iter::repeat_with(move || {
        x = mix(x);
        x.to_le_bytes().map(|byte| b'a' + byte % 26)
    })
    .flatten()
}

/// Reads records from bytes that come in pieces.
#[derive(Clone, Debug, Default)]
pub struct Parser {
    pending: Vec<u8>,
    garbage: bool,
}

/// Bytes no workload wrote.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Garbage(String);

impl Garbage {
    /// What is wrong, and the bytes where it begins.
    pub(crate) fn at(why: &str, bytes: &[u8]) -> Self {
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(40)]).into_owned();
        Self(format!("{why}, at `{}`", shown.escape_debug()))
    }
}

impl Parser {
    /// Takes the next bytes; the tags of the records that they complete.
    ///
    /// # Errors
    /// [`Garbage`] when they are not what a workload writes. What follows garbage is not looked at any more.
    pub fn take(&mut self, bytes: &[u8]) -> Result<Vec<Tag>, Garbage> {
        self.take_as(Format::Bytes, bytes)
    }

    /// The same of a stream of another form. A piece of a JSON stream is a whole array of messages, or empty.
    ///
    /// # Errors
    /// As [`Parser::take`].
    pub fn take_as(&mut self, format: Format, bytes: &[u8]) -> Result<Vec<Tag>, Garbage> {
        let mut tags = Vec::new();
        if self.garbage {
            return Ok(tags);
        }
        if format == Format::Json {
            return if bytes.is_empty() { Ok(tags) } else { messages(bytes) };
        }
        self.pending.extend_from_slice(bytes);
        let mut at = 0;
        while at < self.pending.len() {
            match next_record(format, &self.pending[at..]) {
                Ok(Some((tag, len))) => {
                    tags.push(tag);
                    at += len;
                }
                Ok(None) => break,
                Err(why) => {
                    self.garbage = true;
                    self.pending = Vec::new();
                    return Err(why);
                }
            }
        }
        self.pending.drain(..at);
        Ok(tags)
    }

    /// Whether the bytes so far end inside a record.
    #[must_use]
    pub fn inside_a_record(&self) -> bool {
        !self.pending.is_empty()
    }
}

fn next_record(format: Format, bytes: &[u8]) -> Result<Option<(Tag, usize)>, Garbage> {
    let Some((tag, len)) = parse_head(bytes)? else {
        return Ok(None);
    };
    if bytes.len() < len as usize {
        return Ok(None);
    }
    if bytes[..len as usize] != format.record(tag, len) {
        return Err(Garbage::at("a record's bytes are not those that were written", bytes));
    }
    Ok(Some((tag, len as usize)))
}

/// The tag and the length at the beginning of a record; `None` if there are too few bytes to tell.
pub(crate) fn parse_head(bytes: &[u8]) -> Result<Option<(Tag, u32)>, Garbage> {
    let wrong = |why: &str| Err(Garbage::at(why, bytes));
    let head = &bytes[..bytes.len().min(LEN_MIN as usize)];
    if head.first().is_some_and(|byte| *byte != b'<') {
        return wrong("no record begins here");
    }
    let Some(end) = head.iter().position(|byte| *byte == b'>') else {
        return if head.len() < LEN_MIN as usize {
            Ok(None)
        } else {
            wrong("a record's head has no end")
        };
    };
    let text = std::str::from_utf8(&head[1..end]).unwrap_or("");
    let parsed = text
        .split_once(':')
        .and_then(|(tag, len)| Some((tag.parse::<Tag>().ok()?, len.parse::<u32>().ok()?)));
    match parsed {
        // Longer than anything a workload writes: not even looked for.
        Some((_, len)) if len > LEN_MAX => wrong("a record's head tells a length that nobody writes"),
        Some(found) => Ok(Some(found)),
        None => wrong("a record's head cannot be read"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Tag = Tag { client: 3, number: 17 };
    const B: Tag = Tag { client: 4, number: 1 };

    #[test]
    fn records_read_back_whatever_the_pieces() {
        let bytes = [body(A, 40), body(B, 5000), body(A, 32)].concat();
        for size in [1, 7, 33, 4096, bytes.len()] {
            let mut parser = Parser::default();
            let tags: Vec<Tag> = bytes
                .chunks(size)
                .flat_map(|piece| parser.take(piece).unwrap())
                .collect();
            assert_eq!(tags, [A, B, A]);
            assert!(!parser.inside_a_record());
        }
    }

    #[test]
    fn every_flipped_bit_is_seen() {
        let good = body(A, 64);
        for bit in 0..good.len() * 8 {
            let mut bytes = good.to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let mut parser = Parser::default();
            let taken = parser.take(&bytes);
            assert!(taken != Ok(vec![A]) || parser.inside_a_record(), "bit {bit}");
        }
    }

    #[test]
    fn a_cut_record_is_noticed() {
        let mut parser = Parser::default();
        assert_eq!(parser.take(&body(A, 64)[..63]), Ok(vec![]));
        assert!(parser.inside_a_record());
    }

    #[test]
    fn a_chain_tells_order_and_number() {
        let start = Content::default();
        assert_ne!(start.then(A).then(B), start.then(B).then(A));
        assert_ne!(start.then(A), start.then(A).then(A));
    }

    #[test]
    fn tags_read_back() {
        assert_eq!(A.to_string().parse(), Ok(A));
        assert!("3.17".parse::<Tag>().is_err());
    }
}
