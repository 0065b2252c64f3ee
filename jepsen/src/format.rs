//! In which form a stream is written and read: bytes, text, or messages of JSON. The stream's name says which.
//!
//! In all three a record takes as many bytes of its stream as it says, so that offsets can be calculated with. As a message
//! of JSON it is a string, alone or in an array of one, or an object with blanks in it, by its tag: the server must leave
//! the blanks out, flatten the array, and touch neither the number nor the order of the keys. It stores one byte more
//! behind each message, which is the last byte of the record. Text has line ends and characters of two bytes in it, for
//! events must bring them through, wherever they are cut.

use bytes::Bytes;

use crate::record::{Garbage, Tag, body, fill, head, letters};

/// A form of streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `application/octet-stream`.
    Bytes,
    /// `text/plain`.
    Text,
    /// `application/json`.
    Json,
}

/// What an object is before and behind its text, as it is stored, and as it is sent.
const STORED: (&str, &str) = ("{\"z\":1.50,\"a\":\"", "\"}");
const SENT: (&str, &str) = (" {\"z\" : 1.50,\r\n\t\"a\":\"", "\" } ");

/// The shortest record that is sent as an object.
const OBJECT_LEN_MIN: u32 = 48;

impl Format {
    /// The form of a stream of this name: by the number at its end, every third one each; bytes where there is none.
    #[must_use]
    pub fn of(stream: &str) -> Self {
        let digits = stream.len() - stream.trim_end_matches(|byte: char| byte.is_ascii_digit()).len();
        let number = stream[stream.len() - digits..].parse::<u64>().unwrap_or(0);
        [Self::Bytes, Self::Json, Self::Text][(number % 3) as usize]
    }

    /// The media type.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Bytes => "application/octet-stream",
            Self::Text => "text/plain",
            Self::Json => "application/json",
        }
    }

    /// The body to send for a record.
    #[must_use]
    pub fn body(self, tag: Tag, len: u32) -> Bytes {
        match (self, self.shape(tag, len)) {
            (Self::Json, Shape::Object) => {
                let text = self.record(tag, len);
                let text = &text[STORED.0.len()..text.len() - STORED.1.len()];
                [SENT.0.as_bytes(), text, SENT.1.as_bytes()].concat().into()
            }
            (Self::Json, Shape::InAnArray) => [b"[ ", &self.record(tag, len)[..], b"]\n"].concat().into(),
            _ => self.record(tag, len),
        }
    }

    /// The record as it is read: of JSON, the message without what stands between messages.
    #[must_use]
    pub fn record(self, tag: Tag, len: u32) -> Bytes {
        let len = len.max(crate::record::LEN_MIN);
        let (before, behind) = match (self, self.shape(tag, len)) {
            (Self::Bytes, _) => return body(tag, len),
            (Self::Text, _) => return text(tag, len),
            (Self::Json, Shape::Object) => STORED,
            (Self::Json, _) => ("\"", "\""),
        };
        let mut out = [before, &head(tag, len)].concat().into_bytes();
        // The last byte is the line feed behind the message.
        fill(&mut out, tag, len as usize - 1 - behind.len());
        out.extend_from_slice(behind.as_bytes());
        out.into()
    }

    /// How many bytes of the stream an answer holds.
    #[must_use]
    pub fn stored_bytes(self, answer: &[u8]) -> u64 {
        match (self, answer) {
            (Self::Json, b"[]") => 0,
            // `[` and `]` and commas, for a line feed behind each message.
            (Self::Json, _) => answer.len().saturating_sub(1) as u64,
            _ => answer.len() as u64,
        }
    }

    fn shape(self, tag: Tag, len: u32) -> Shape {
        match tag.number % 3 {
            0 if len >= OBJECT_LEN_MIN => Shape::Object,
            1 => Shape::InAnArray,
            _ => Shape::Alone,
        }
    }
}

/// How a record is sent as JSON.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    Alone,
    InAnArray,
    Object,
}

/// Letters, with a line end or a longer character now and then.
fn text(tag: Tag, len: u32) -> Bytes {
    let mut out = head(tag, len).into_bytes();
    let room = |out: &Vec<u8>| len as usize - out.len();
    for letter in letters(tag) {
        match letter {
            _ if room(&out) == 0 => break,
            b'b' => out.push(b'\n'),
            b'c' if room(&out) > 1 => out.extend_from_slice("ß".as_bytes()),
            b'd' => out.push(b' '),
            other => out.push(other),
        }
    }
    out.into()
}

/// The records of a whole array of messages.
///
/// # Errors
/// [`Garbage`] when it is none, or holds what no workload wrote, or wrote otherwise.
pub(crate) fn messages(array: &[u8]) -> Result<Vec<Tag>, Garbage> {
    let wrong = |why: &str, at: &[u8]| Err(Garbage::at(why, at));
    if array == b"[]" {
        return Ok(Vec::new());
    }
    let Some(mut rest) = array.strip_prefix(b"[") else {
        return wrong("no array begins here", array);
    };
    let mut tags = Vec::new();
    loop {
        let text = rest
            .strip_prefix(STORED.0.as_bytes())
            .or_else(|| rest.strip_prefix(b"\""))
            .unwrap_or_default();
        let Ok(Some((tag, len))) = crate::record::parse_head(text) else {
            return wrong("no message begins here", rest);
        };
        let message = Format::Json.record(tag, len);
        let Some(after) = rest.strip_prefix(&message[..]) else {
            return wrong("a message is not as it was written", rest);
        };
        tags.push(tag);
        rest = match after {
            b"]" => return Ok(tags),
            [b',', rest @ ..] => rest,
            _ => return wrong("no message ends here", after),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{LEN_MIN, Parser};

    fn tags() -> Vec<Tag> {
        (1..12).map(|number| Tag { client: 3, number }).collect()
    }

    #[test]
    fn a_record_takes_as_many_bytes_as_it_says() {
        for tag in tags() {
            for len in [LEN_MIN, 47, 48, 49, 1000] {
                assert_eq!(Format::Bytes.record(tag, len).len(), len as usize);
                assert_eq!(Format::Text.record(tag, len).len(), len as usize);
                assert_eq!(Format::Json.record(tag, len).len(), len as usize - 1);
                assert!(std::str::from_utf8(&Format::Text.record(tag, len)).is_ok());
            }
        }
    }

    #[test]
    fn what_is_sent_as_json_is_what_is_stored_but_for_blanks_and_an_array() {
        let value = |bytes: &[u8]| serde_json::from_slice::<serde_json::Value>(bytes).unwrap();
        let mut shapes = 0;
        for tag in tags() {
            let (sent, stored) = (value(&Format::Json.body(tag, 90)), value(&Format::Json.record(tag, 90)));
            let flat = match sent {
                serde_json::Value::Array(one) => one[0].clone(),
                other => other,
            };
            assert_eq!(flat, stored);
            shapes |= 1 << Format::Json.shape(tag, 90) as u8;
        }
        assert_eq!(shapes, 0b111);
    }

    #[test]
    fn an_array_of_messages_reads_back_and_nothing_else_does() {
        let each: Vec<Bytes> = tags().iter().map(|tag| Format::Json.record(*tag, 60)).collect();
        let array = [&b"["[..], &each.join(&b','), b"]"].concat();
        assert_eq!(messages(&array), Ok(tags()));
        assert_eq!(Format::Json.stored_bytes(&array), 60 * tags().len() as u64);
        assert_eq!((messages(b"[]"), Format::Json.stored_bytes(b"[]")), (Ok(vec![]), 0));
        for at in 0..array.len() {
            let mut other = array.clone();
            other[at] ^= 1;
            assert!(messages(&other).is_err(), "byte {at}");
            other.remove(at);
            assert!(messages(&other).is_err(), "without byte {at}");
            assert!(messages(&array[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn text_reads_back_whatever_the_pieces() {
        let text: Vec<Bytes> = tags().iter().map(|tag| Format::Text.record(*tag, 300)).collect();
        let text = text.concat();
        assert!(text.contains(&b'\n') && text.contains(&0xC3));
        for size in [1, 7, 300, text.len()] {
            let mut parser = Parser::default();
            let read = text
                .chunks(size)
                .flat_map(|piece| parser.take_as(Format::Text, piece).unwrap());
            assert_eq!(read.collect::<Vec<_>>(), tags());
        }
    }

    #[test]
    fn every_form_has_its_names() {
        let forms = ["log-0", "log-1", "log-2", "log-13", "tree", "race-0/s1"].map(Format::of);
        use Format::{Bytes, Json, Text};
        assert_eq!(forms, [Bytes, Json, Text, Json, Bytes, Json]);
    }
}
