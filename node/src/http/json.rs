//! JSON mode: a body becomes messages, stored bytes become one array.
//!
//! A stream of `application/json` stores every message with its insignificant blanks removed, number text and key order
//! untouched, and a line feed behind it. A line feed cannot occur inside a compact message, so an offset is a message's
//! boundary exactly if the byte before it is one; and `[` + the bytes with every line feed a comma but the last a `]`
//! is the array a reader gets, one byte longer than what is stored.
//!
//! How deep, how many and how long messages may be is bounded, so that whoever reads the stream can rely on it; the copy
//! that is stored counts among the bytes of unfinished requests, as the body does.

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use net::rt;
use serde::de::IgnoredAny;

use super::{body::Held, errors::Problem};
use crate::config;

/// What follows every stored message.
pub(super) const END: u8 = b'\n';

/// A body longer than this is looked through where that holds nobody up.
const LONG_BYTES: usize = 256 * 1024;

/// What a JSON body may hold.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Arrays and objects in each other, the array that is flattened included.
    depth: usize,
    /// Messages of one body.
    messages: usize,
    /// Bytes of one message, as stored.
    message_bytes: usize,
}

impl Bounds {
    /// As the configuration says.
    pub(super) fn of(config: &config::Http) -> Self {
        let number = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        Self {
            depth: number(config.json_max_depth),
            messages: number(config.json_max_messages),
            message_bytes: number(config.json_max_message),
        }
    }
}

/// Why a body is not stored as messages.
#[derive(Debug, PartialEq, Eq)]
enum Unfit {
    /// Not one JSON text in UTF-8: what is wrong, and where.
    Invalid(String),
    TooDeep,
    TooMany,
    TooLong,
}

/// Turns a request body into messages as they are stored: one level of an array is flattened, so `[1,2]` is two messages
/// and `[]` none. While both are in memory, both count as `held`; then only the messages.
///
/// # Errors
/// 400 or 413 for a body that is no JSON or past the bounds, 503 when the copy would be too much for the node.
pub(super) async fn read(body: Bytes, bounds: Bounds, held: &mut Held) -> Result<Bytes, Problem> {
    held.copy(body.len() + 1)?;
    let read = if body.len() <= LONG_BYTES {
        messages(&body, bounds)
    } else {
        match rt::blocking(move || messages(&body, bounds)).await {
            Ok(read) => read,
            Err(error) => Err(Unfit::Invalid(error.to_string())),
        }
    };
    match read {
        Ok(messages) => {
            held.shrink_to(messages.len());
            Ok(messages)
        }
        Err(unfit) => Err(problem(unfit, bounds)),
    }
}

fn problem(unfit: Unfit, bounds: Bounds) -> Problem {
    let too_large = |code, message: String| Problem::new(StatusCode::PAYLOAD_TOO_LARGE, code, message);
    match unfit {
        Unfit::Invalid(because) => Problem::bad("invalid_json", format!("the body is not one JSON text: {because}")),
        Unfit::TooDeep => {
            let max = bounds.depth;
            let message = format!("arrays and objects may lie {max} deep in each other here: flatten the message");
            Problem::bad("json_too_deep", message).with_field("max_depth", max)
        }
        Unfit::TooMany => {
            let max = bounds.messages;
            let message = format!("a body may hold {max} messages here: split it into several appends");
            too_large("json_too_many_messages", message).with_field("max_messages", max)
        }
        Unfit::TooLong => {
            let max = bounds.message_bytes;
            let message = format!("a message may have {max} bytes here: split it into several messages");
            too_large("json_message_too_large", message).with_field("max_bytes", max)
        }
    }
}

/// The messages of a body that is exactly one JSON text in UTF-8.
fn messages(body: &Bytes, bounds: Bounds) -> Result<Bytes, Unfit> {
    let invalid = |because: String| Unfit::Invalid(because);
    let text = std::str::from_utf8(body).map_err(|e| invalid(format!("not UTF-8 at byte {}", e.valid_up_to())))?;
    serde_json::from_str::<IgnoredAny>(text).map_err(|e| invalid(e.to_string()))?;
    // From here on the text is known to be lawful, and one look at each byte tells structure from string.
    let text = text.trim_matches([' ', '\t', '\r', '\n']).as_bytes();
    let is_array = text.first() == Some(&b'[');
    let text = if is_array { &text[1..text.len() - 1] } else { text };
    let depth_max = bounds.depth.saturating_sub(usize::from(is_array));
    let mut stored = BytesMut::with_capacity(text.len() + 1);
    let (mut depth, mut in_string, mut escaped) = (0usize, false, false);
    // Where what is not yet stored begins in the text, and where the present message begins in what is stored.
    let (mut kept_from, mut began, mut ended) = (0, 0, 0);
    for (at, byte) in text.iter().enumerate() {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'[' | b'{' => {
                depth += 1;
                if depth > depth_max {
                    return Err(Unfit::TooDeep);
                }
            }
            b']' | b'}' => depth -= 1,
            b' ' | b'\t' | b'\r' | b'\n' => {
                stored.extend_from_slice(&text[kept_from..at]);
                kept_from = at + 1;
            }
            b',' if is_array && depth == 0 => {
                stored.extend_from_slice(&text[kept_from..at]);
                kept_from = at + 1;
                ended += 1;
                if stored.len() - began > bounds.message_bytes {
                    return Err(Unfit::TooLong);
                }
                if ended >= bounds.messages {
                    return Err(Unfit::TooMany);
                }
                stored.extend_from_slice(&[END]);
                began = stored.len();
            }
            _ => {}
        }
    }
    stored.extend_from_slice(&text[kept_from..]);
    if !stored.is_empty() {
        if stored.len() - began > bounds.message_bytes {
            return Err(Unfit::TooLong);
        }
        stored.extend_from_slice(&[END]);
    }
    Ok(stored.freeze())
}

/// The length of the array that `stored` bytes become.
pub(super) fn array_len(stored: u64) -> u64 {
    if stored == 0 { 2 } else { stored + 1 }
}

/// Renders one piece of stored bytes: the first opens the array, the last, which ends with a message, closes it. Only
/// the first may be empty.
pub(super) fn render(piece: &Bytes, first: bool, last: bool) -> Bytes {
    let mut out = BytesMut::with_capacity(piece.len() + 2);
    if first {
        out.extend_from_slice(b"[");
    }
    let start = out.len();
    out.extend_from_slice(piece);
    for byte in &mut out[start..] {
        if *byte == END {
            *byte = b',';
        }
    }
    // The end of the last message is the end of the array; with no message there is nothing to turn into it.
    if last {
        if !piece.is_empty() {
            out.truncate(out.len() - 1);
        }
        out.extend_from_slice(b"]");
    }
    out.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIDE: Bounds = Bounds {
        depth: 10_000_000,
        messages: 1000,
        message_bytes: 10_000_000,
    };

    fn stored(body: &str) -> String {
        let bytes = messages(&Bytes::copy_from_slice(body.as_bytes()), WIDE).expect(body);
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    #[test]
    fn one_level_of_an_array_is_flattened_and_blanks_go() {
        let table = [
            (r#"{"a": 1}"#, "{\"a\":1}\n"),
            (" [ ] ", ""),
            ("[1, 2 ,3]", "1\n2\n3\n"),
            ("[[1, 2], [3]]", "[1,2]\n[3]\n"),
            ("[[]]", "[]\n"),
            (
                r#"[{"b":1.50e+2,"a":[1, "x , ]\" y"]}, null]"#,
                "{\"b\":1.50e+2,\"a\":[1,\"x , ]\\\" y\"]}\nnull\n",
            ),
            ("\"a\\\\\"", "\"a\\\\\"\n"),
            ("\n 7 \t", "7\n"),
            ("12345678901234567890123", "12345678901234567890123\n"),
        ];
        for (body, expected) in table {
            assert_eq!(stored(body), expected, "{body}");
        }
    }

    #[test]
    fn what_is_not_one_json_text_is_refused() {
        for body in [
            &b""[..],
            b"{ invalid json }",
            b"1 2",
            b"[1,]",
            b"\"\xff\"",
            b"\"a\nb\"",
            b"nul",
            b"01",
            b"[1",
        ] {
            assert!(
                matches!(messages(&Bytes::copy_from_slice(body), WIDE), Err(Unfit::Invalid(_))),
                "{body:?}"
            );
        }
    }

    #[test]
    fn a_deep_text_does_not_overflow_the_stack() {
        let deep = "[".repeat(1_000_000) + &"]".repeat(1_000_000);
        let deep = Bytes::from(deep);
        let stored = messages(&deep, WIDE).unwrap();
        assert_eq!(stored.len(), 2_000_000 - 2 + 1);
        assert_eq!(messages(&deep, Bounds { depth: 128, ..WIDE }), Err(Unfit::TooDeep));
    }

    #[test]
    fn depth_count_and_length_are_bounded_and_the_bound_itself_is_allowed() {
        let narrow = Bounds {
            depth: 3,
            messages: 2,
            message_bytes: 5,
        };
        let table = [
            ("[[[]]]", None),
            ("[{\"a\":[[]]}]", Some(Unfit::TooDeep)),
            ("[[[[]]]]", Some(Unfit::TooDeep)),
            ("{\"\":{}}", Some(Unfit::TooLong)),
            ("\"[[[[\"", Some(Unfit::TooLong)),
            ("\"[[[\"", None),
            ("[1,2]", None),
            ("[ 12345 , 1 2 ]", Some(Unfit::Invalid(String::new()))),
            ("[12345,1234]", None),
            ("[123456,1]", Some(Unfit::TooLong)),
            ("[1,123456]", Some(Unfit::TooLong)),
            ("[1,2,3]", Some(Unfit::TooMany)),
            ("[1,[2,3]]", None),
            ("[]", None),
        ];
        for (body, expected) in table {
            match (messages(&Bytes::from(body), narrow), expected) {
                (Ok(_), None) | (Err(Unfit::Invalid(_)), Some(Unfit::Invalid(_))) => {}
                (Err(found), Some(expected)) => assert_eq!(found, expected, "{body}"),
                (found, expected) => panic!("{body}: {found:?}, expected {expected:?}"),
            }
        }
    }

    #[test]
    fn the_copy_counts_among_the_bytes_of_unfinished_requests() {
        let budget = super::super::body::Budget::new(100);
        let read = |body: Bytes, held: &mut Held| rt::block_on(read(body, WIDE, held)).expect("a runtime");
        let mut first = budget.open();
        first.copy(40).unwrap();
        let stored = read(Bytes::from(format!("[{:>38}]", 7)), &mut first).unwrap();
        assert_eq!(stored, "7\n");
        // Only the two stored bytes are held now.
        let mut second = budget.open();
        second.copy(60).unwrap();
        let problem = read(Bytes::from(format!("{:>60}", 7)), &mut second).unwrap_err();
        assert_eq!(problem.code, "backpressure");
        drop((first, second));
        assert!(budget.open().copy(100).is_ok());
    }

    #[test]
    fn stored_pieces_render_to_one_array_however_they_are_cut() {
        let all = messages(&Bytes::from_static(br#"[{"a":1},"x",[2,3]]"#), WIDE).unwrap();
        for cut in 0..=all.len() {
            let (one, two) = (all.slice(..cut), all.slice(cut..));
            let mut text = render(&one, true, two.is_empty()).to_vec();
            if !two.is_empty() {
                text.extend_from_slice(&render(&two, false, true));
            }
            assert_eq!(
                String::from_utf8(text.clone()).unwrap(),
                r#"[{"a":1},"x",[2,3]]"#,
                "cut at {cut}"
            );
            assert_eq!(text.len() as u64, array_len(all.len() as u64));
        }
        assert_eq!(render(&Bytes::new(), true, true), "[]");
    }
}
