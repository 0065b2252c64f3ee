//! JSON mode: a body becomes messages, stored bytes become one array.
//!
//! A stream of `application/json` stores every message with its insignificant blanks removed, number text and key order
//! untouched, and a line feed behind it. A line feed cannot occur inside a compact message, so an offset is a message's
//! boundary exactly if the byte before it is one; and `[` + the bytes with every line feed a comma but the last a `]`
//! is the array a reader gets, one byte longer than what is stored.

use bytes::{Bytes, BytesMut};
use net::rt;
use serde::de::IgnoredAny;

/// What follows every stored message.
pub(super) const END: u8 = b'\n';

/// A body longer than this is looked through where that holds nobody up.
const LONG_BYTES: usize = 256 * 1024;

/// What [`messages`] says of a body, however long.
///
/// # Errors
/// As [`messages`].
pub(super) async fn read(body: Bytes) -> Result<Bytes, String> {
    if body.len() <= LONG_BYTES {
        return messages(&body);
    }
    match rt::blocking(move || messages(&body)).await {
        Ok(read) => read,
        Err(error) => Err(error.to_string()),
    }
}

/// Turns a request body into messages as they are stored: one level of an array is flattened, so `[1,2]` is two messages
/// and `[]` none.
///
/// # Errors
/// What is wrong, and where, for a body that is not exactly one JSON text in UTF-8.
fn messages(body: &Bytes) -> Result<Bytes, String> {
    let text = std::str::from_utf8(body).map_err(|e| format!("not UTF-8 at byte {}", e.valid_up_to()))?;
    serde_json::from_str::<IgnoredAny>(text).map_err(|e| e.to_string())?;
    // From here on the text is known to be lawful, and one look at each byte tells structure from string.
    let text = text.trim_matches([' ', '\t', '\r', '\n']).as_bytes();
    let is_array = text.first() == Some(&b'[');
    let text = if is_array { &text[1..text.len() - 1] } else { text };
    let mut stored = BytesMut::with_capacity(text.len() + 1);
    let (mut depth, mut in_string, mut escaped) = (0usize, false, false);
    let mut kept_from = 0;
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
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth -= 1,
            b' ' | b'\t' | b'\r' | b'\n' => {
                stored.extend_from_slice(&text[kept_from..at]);
                kept_from = at + 1;
            }
            b',' if is_array && depth == 0 => {
                stored.extend_from_slice(&text[kept_from..at]);
                stored.extend_from_slice(&[END]);
                kept_from = at + 1;
            }
            _ => {}
        }
    }
    stored.extend_from_slice(&text[kept_from..]);
    if !stored.is_empty() {
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

    fn stored(body: &str) -> String {
        let bytes = messages(&Bytes::copy_from_slice(body.as_bytes())).expect(body);
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
            assert!(messages(&Bytes::copy_from_slice(body)).is_err(), "{body:?}");
        }
    }

    #[test]
    fn a_deep_text_does_not_overflow_the_stack() {
        let deep = "[".repeat(1_000_000) + &"]".repeat(1_000_000);
        let stored = messages(&Bytes::from(deep)).unwrap();
        assert_eq!(stored.len(), 2_000_000 - 2 + 1);
    }

    #[test]
    fn stored_pieces_render_to_one_array_however_they_are_cut() {
        let all = messages(&Bytes::from_static(br#"[{"a":1},"x",[2,3]]"#)).unwrap();
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
