//! From what a server sends to what a person sees: an array to one message a line, events to bytes.

use super::call::Failure;

/// The elements of a JSON array, each as the server spelled it. `None` if this is no array.
pub(super) fn messages(array: &[u8]) -> Option<Vec<&[u8]>> {
    let inside = array.trim_ascii().strip_prefix(b"[")?.strip_suffix(b"]")?;
    let (mut messages, mut began) = (Vec::new(), 0);
    let (mut depth, mut in_string, mut escaped) = (0usize, false, false);
    for (at, byte) in inside.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.checked_sub(1)?,
            b',' if depth == 0 => {
                messages.push(inside[began..at].trim_ascii());
                began = at + 1;
            }
            _ => {}
        }
    }
    if !inside[began..].trim_ascii().is_empty() {
        messages.push(inside[began..].trim_ascii());
    }
    (depth == 0 && !in_string).then_some(messages)
}

/// One server-sent event.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) name: Vec<u8>,
    /// Its lines, with a line feed between two.
    pub(super) data: Vec<u8>,
}

/// Takes events out of bytes as they come.
#[derive(Debug, Default)]
pub(super) struct Events {
    /// What did not make a whole event yet.
    rest: Vec<u8>,
    /// Where the search for an end goes on.
    looked: usize,
}

impl Events {
    /// Adds what came.
    pub(super) fn add(&mut self, bytes: &[u8]) {
        self.rest.extend_from_slice(bytes);
    }

    /// The next whole event. Comments are passed over.
    pub(super) fn next(&mut self) -> Option<Event> {
        loop {
            let from = self.looked.saturating_sub(1);
            let Some(end) = self.rest[from..].windows(2).position(|pair| pair == b"\n\n") else {
                self.looked = self.rest.len();
                return None;
            };
            let text: Vec<u8> = self.rest.drain(..from + end + 2).collect();
            self.looked = 0;
            let mut event = Event {
                name: Vec::new(),
                data: Vec::new(),
            };
            let mut lines = 0;
            for line in text[..text.len() - 2].split(|byte| *byte == b'\n') {
                let line = line.strip_suffix(b"\r").unwrap_or(line);
                let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
                let value = line.get(colon + 1..).unwrap_or_default();
                let value = value.strip_prefix(b" ").unwrap_or(value);
                match &line[..colon] {
                    b"event" => event.name = value.to_vec(),
                    b"data" => {
                        if lines > 0 {
                            event.data.push(b'\n');
                        }
                        lines += 1;
                        event.data.extend_from_slice(value);
                    }
                    _ => {}
                }
            }
            if lines > 0 {
                return Some(event);
            }
        }
    }
}

/// Plain base64, as events carry bytes.
pub(super) fn base64(text: &[u8]) -> Result<Vec<u8>, Failure> {
    let wrong = || Failure::refused("bad_event", "the server sent an event that is no base64");
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut count) = (0u32, 0u32);
    for letter in text.iter().filter(|letter| !matches!(letter, b'\n' | b'\r' | b'=')) {
        let six = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return Err(wrong()),
        };
        bits = (bits << 6) | u32::from(six);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    // What is left are fewer bits than a letter has, and none of them set.
    if count >= 6 || bits != 0 {
        Err(wrong())
    } else {
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_array_is_cut_between_its_messages_and_nowhere_else() {
        let table: [(&str, Option<&[&str]>); 7] = [
            ("[]", Some(&[])),
            ("[1]\n", Some(&["1"])),
            (
                r#"[{"a":[1,2]},"x,]\"",[3,4], null]"#,
                Some(&[r#"{"a":[1,2]}"#, r#""x,]\"""#, "[3,4]", "null"]),
            ),
            (r#"["\\",1]"#, Some(&[r#""\\""#, "1"])),
            ("{}", None),
            ("[1", None),
            ("[\"]", None),
        ];
        for (array, expected) in table {
            let found = messages(array.as_bytes());
            let expected = expected.map(|texts| texts.iter().map(|text| text.as_bytes()).collect::<Vec<_>>());
            assert_eq!(found, expected, "{array}");
        }
    }

    #[test]
    fn events_come_out_however_they_are_cut() {
        let sent = b": hello\n\nevent: data\ndata:one\ndata:\ndata:  two\n\nevent: control\ndata: {}\n\ndata: half";
        for cut in 0..sent.len() {
            let mut events = Events::default();
            let mut found = Vec::new();
            for part in [&sent[..cut], &sent[cut..]] {
                events.add(part);
                while let Some(event) = events.next() {
                    found.push((event.name, event.data));
                }
            }
            let expected = [
                (b"data".to_vec(), b"one\n\n two".to_vec()),
                (b"control".to_vec(), b"{}".to_vec()),
            ];
            assert_eq!(found, expected, "cut at {cut}");
        }
    }

    #[test]
    fn base64_is_read() {
        let table: [(&str, Option<&[u8]>); 8] = [
            ("", Some(b"")),
            ("AA==", Some(b"\0")),
            ("/+8=", Some(b"\xff\xef")),
            ("aGVsbG8=", Some(b"hello")),
            ("aGVs\nbG8h", Some(b"hello!")),
            ("A", None),
            ("aGVsbG9=", None),
            ("a-", None),
        ];
        for (text, expected) in table {
            assert_eq!(base64(text.as_bytes()).ok().as_deref(), expected, "{text}");
        }
    }
}
