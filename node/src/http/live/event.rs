//! How bytes and places are written as server-sent events.
//!
//! Every event of data is followed by one that says where the reader stands, in the same buffer. Text goes as it is, a
//! line of `data:` for each line of text: line feed, carriage return and the two together all end a line there, so none
//! of them can open an event. Half a character or half a line end at the end of it waits for what follows. JSON goes as one array, which has no line ends. Everything else goes as base64.

use std::borrow::Cow;

use bytes::Bytes;

use super::super::json;
use crate::stream::{Offset, is_json};

/// How a stream's bytes are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    Text,
    Json,
    Base64,
}

/// What begins an event of data.
const DATA: &[u8] = b"event: data\n";

/// What begins a line of data. The one blank that a reader would take off after it is added only where a line begins
/// with one.
const LINE: &[u8] = b"data:";

/// Where a reader stands after an event.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stand {
    pub(super) next: Offset,
    pub(super) cursor: u64,
    pub(super) up_to_date: bool,
    /// Nothing follows. Then there is neither a cursor nor anything newer.
    pub(super) closed: bool,
}

impl Manner {
    /// How a stream of this media type is written.
    pub(super) fn of(content_type: &str) -> Self {
        let text = content_type
            .get(..5)
            .is_some_and(|kind| kind.eq_ignore_ascii_case("text/"));
        match (is_json(content_type), text) {
            (true, _) => Self::Json,
            (_, true) => Self::Text,
            _ => Self::Base64,
        }
    }

    /// Takes off the last bytes if they had better wait for what follows: half a character, which no event can show, or
    /// what may be half a line end, which would become two. Returns how many; it may be all of them.
    pub(super) fn leave_unfinished(self, pieces: &mut Vec<Bytes>) -> u64 {
        let unfinished = match self {
            Self::Text => unfinished(pieces.iter().rev().flat_map(|piece| piece.iter().rev().copied())),
            Self::Json | Self::Base64 => 0,
        };
        let mut left = unfinished;
        while left > 0
            && let Some(mut piece) = pieces.pop()
        {
            let off = left.min(piece.len());
            left -= off;
            piece.truncate(piece.len() - off);
            if !piece.is_empty() {
                pieces.push(piece);
            }
        }
        unfinished as u64
    }

    /// Writes an event of data: all of it, or, for JSON alone, a part of it.
    pub(super) fn write(self, out: &mut Vec<u8>, pieces: &[Bytes], first: bool, last: bool) {
        if first {
            out.extend_from_slice(DATA);
            out.extend_from_slice(LINE);
        }
        match self {
            Self::Json => {
                for (at, piece) in pieces.iter().enumerate() {
                    let (first, last) = (first && at == 0, last && at + 1 == pieces.len());
                    out.extend_from_slice(&json::render(piece, first, last));
                }
            }
            Self::Text => text(out, pieces),
            Self::Base64 => base64(out, pieces),
        }
        if last {
            out.extend_from_slice(b"\n\n");
        }
    }

    /// About how long the event of so many bytes gets.
    pub(super) fn room(self, len: usize) -> usize {
        let data = if self == Self::Base64 { len / 3 * 4 } else { len };
        data + 192
    }
}

/// How many bytes at the end of a text, which is given backwards, make half a character or half a line end.
fn unfinished(backwards: impl Iterator<Item = u8>) -> usize {
    // A character has at most four bytes, of which the first tells how many.
    for (back, byte) in backwards.take(4).enumerate() {
        let len = match byte {
            b'\r' if back == 0 => 2,
            0x80..=0xBF => continue,
            0xC2..=0xDF => 2,
            0xE0..=0xEF => 3,
            0xF0..=0xF4 => 4,
            _ => 1,
        };
        return if back + 1 < len { back + 1 } else { 0 };
    }
    0
}

/// Writes where a reader stands.
pub(super) fn write_stand(out: &mut Vec<u8>, stand: &Stand) {
    let Stand {
        next,
        cursor,
        up_to_date,
        closed,
    } = stand;
    let text = match (closed, up_to_date) {
        (true, _) => format!("event: control\ndata:{{\"streamNextOffset\":\"{next}\",\"streamClosed\":true}}\n\n"),
        (false, true) => format!(
            "event: control\ndata:{{\"streamNextOffset\":\"{next}\",\"streamCursor\":\"{cursor}\",\"upToDate\":true}}\n\n"
        ),
        (false, false) => {
            format!("event: control\ndata:{{\"streamNextOffset\":\"{next}\",\"streamCursor\":\"{cursor}\"}}\n\n")
        }
    };
    out.extend_from_slice(text.as_bytes());
}

/// A text, the first line of which has been begun. Events are UTF-8: what is not is shown as U+FFFD, as readers would.
fn text(out: &mut Vec<u8>, pieces: &[Bytes]) {
    let begin = out.len();
    lines(out, pieces);
    if let Cow::Owned(mended) = String::from_utf8_lossy(&out[begin..]) {
        out.truncate(begin);
        out.extend_from_slice(mended.as_bytes());
    }
}

/// The lines of a text, the first of which has been begun.
fn lines(out: &mut Vec<u8>, pieces: &[Bytes]) {
    let (mut at_start, mut after_return) = (true, false);
    for piece in pieces {
        let mut rest = &piece[..];
        while let Some(byte) = rest.first() {
            if std::mem::replace(&mut after_return, false) && *byte == b'\n' {
                rest = &rest[1..];
                continue;
            }
            let end = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
            let line = &rest[..end.unwrap_or(rest.len())];
            if at_start && line.first() == Some(&b' ') {
                out.push(b' ');
            }
            at_start &= line.is_empty();
            out.extend_from_slice(line);
            rest = &rest[line.len()..];
            if end.is_some() {
                after_return = rest.first() == Some(&b'\r');
                rest = &rest[1..];
                out.push(b'\n');
                out.extend_from_slice(LINE);
                at_start = true;
            }
        }
    }
}

/// RFC 4648, 4, with padding.
fn base64(out: &mut Vec<u8>, pieces: &[Bytes]) {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digit = |bits: u32| DIGITS[(bits & 63) as usize];
    let four = |out: &mut Vec<u8>, three: [u8; 3]| {
        let bits = u32::from_be_bytes([0, three[0], three[1], three[2]]);
        out.extend_from_slice(&[digit(bits >> 18), digit(bits >> 12), digit(bits >> 6), digit(bits)]);
    };
    let (mut held, mut count) = ([0_u8; 3], 0);
    for piece in pieces {
        let mut rest = &piece[..];
        while count != 0 && !rest.is_empty() {
            held[count] = rest[0];
            rest = &rest[1..];
            count += 1;
            if count == 3 {
                four(out, std::mem::take(&mut held));
                count = 0;
            }
        }
        let mut threes = rest.chunks_exact(3);
        for three in &mut threes {
            four(out, [three[0], three[1], three[2]]);
        }
        let left = threes.remainder();
        // Nothing is held here unless the piece ended before it could fill it up.
        held[count..count + left.len()].copy_from_slice(left);
        count += left.len();
    }
    if count > 0 {
        held[count..].fill(0);
        four(out, held);
        let len = out.len();
        out[len - (3 - count)..].fill(b'=');
    }
}

#[cfg(test)]
mod tests;
