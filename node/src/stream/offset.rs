//! A place in a stream, and how clients spell it.
//!
//! PROTOCOL-NOTES, Offsets. To clients an offset is one opaque token that sorts as text; to us it counts bytes.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How many bytes of the stream lie before this place. Prints as 20 digits, so that text order is number order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Offset(pub u64);

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:020}", self.0)
    }
}

/// From where a reader wants to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whence {
    /// `-1`: from the first byte still there.
    Start,
    /// `now`: only what comes after the present tail.
    Now,
    /// From this place on.
    At(Offset),
}

/// What a client sent is no offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an offset is -1, now, or a Stream-Next-Offset this server answered, unchanged")]
pub struct BadOffset;

impl Offset {
    /// Reads an offset as a client sends it: `-1`, `now`, 20 digits, or two times 16 digits joined by `_` (of which
    /// the second counts). A number too large for any stream is the largest there is, hence beyond every tail.
    ///
    /// # Errors
    /// For everything else.
    pub fn parse(text: &str) -> Result<Whence, BadOffset> {
        match text {
            "-1" => return Ok(Whence::Start),
            "now" => return Ok(Whence::Now),
            _ => {}
        }
        let digits = |part: &str, len: usize| part.len() == len && part.bytes().all(|byte| byte.is_ascii_digit());
        let number = match text.split_once('_') {
            Some((first, second)) if digits(first, 16) && digits(second, 16) => second,
            None if digits(text, 20) => text,
            _ => return Err(BadOffset),
        };
        Ok(Whence::At(Offset(number.parse().unwrap_or(u64::MAX))))
    }
}
