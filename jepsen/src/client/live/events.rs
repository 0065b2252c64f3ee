//! Server-sent events, as the HTML standard reads them.

/// What a server says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// Bytes of the stream.
    Data(Vec<u8>),
    /// Where the reader stands after them.
    Stand {
        next: String,
        up_to_date: bool,
        closed: bool,
    },
    /// Something nobody understands, described.
    Garbage(String),
}

/// Reads events from bytes that come in pieces.
pub(super) struct Events {
    base64: bool,
    unread: Vec<u8>,
}

impl Events {
    /// `base64`: so the stream's bytes are written; else as text.
    pub(super) fn new(base64: bool) -> Self {
        Self {
            base64,
            unread: Vec::new(),
        }
    }

    /// Takes the next bytes; the events they complete. The server ends lines with line feeds.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Vec<Event> {
        // The end of an event may lie across two pieces.
        let mut from = self.unread.len().saturating_sub(1);
        self.unread.extend_from_slice(bytes);
        let mut events = Vec::new();
        let mut start = 0;
        while let Some(end) = self.unread[from..].windows(2).position(|two| two == b"\n\n") {
            let end = from + end;
            events.extend(self.event(&self.unread[start..end]));
            start = end + 2;
            from = start;
        }
        self.unread.drain(..start);
        events
    }

    fn event(&self, bytes: &[u8]) -> Option<Event> {
        let Ok(text) = std::str::from_utf8(bytes) else {
            return Some(Event::Garbage("an event is not UTF-8".into()));
        };
        let (mut kind, mut data) = ("", Vec::new());
        for line in text.split('\n') {
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "event" => kind = value,
                "data" => data.push(value),
                _ => {}
            }
        }
        let data = data.join("\n");
        match kind {
            // A comment.
            "" if data.is_empty() => None,
            "data" if self.base64 => {
                Some(decoded(&data).map_or_else(|| Event::Garbage("data is not base64".into()), Event::Data))
            }
            "data" => Some(Event::Data(data.into_bytes())),
            "control" => Some(stand(&data).unwrap_or_else(|| Event::Garbage(format!("a control event `{data}`")))),
            _ => Some(Event::Garbage(format!("an event `{kind}`"))),
        }
    }
}

fn stand(data: &str) -> Option<Event> {
    let json: serde_json::Value = serde_json::from_str(data).ok()?;
    let flag = |name| json.get(name).and_then(serde_json::Value::as_bool).unwrap_or(false);
    Some(Event::Stand {
        next: json.get("streamNextOffset")?.as_str()?.to_owned(),
        up_to_date: flag("upToDate"),
        closed: flag("streamClosed"),
    })
}

/// RFC 4648, 4, with padding.
fn decoded(text: &str) -> Option<Vec<u8>> {
    let value = |byte: u8| {
        Some(match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        })
    };
    if !text.len().is_multiple_of(4) {
        return None;
    }
    let digits = text.trim_end_matches('=');
    if text.len() - digits.len() > 2 {
        return None;
    }
    let mut out = Vec::with_capacity(digits.len() / 4 * 3 + 2);
    let (mut bits, mut count) = (0_u32, 0);
    for byte in digits.bytes() {
        bits = bits << 6 | u32::from(value(byte)?);
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOLD: &str =
        "event: data\ndata:Zm9v\n\n:\n\nevent: control\ndata:{\"streamNextOffset\":\"3\",\"upToDate\":true}\n\n";

    #[test]
    fn events_read_back_however_they_come() {
        let stand = Event::Stand {
            next: "3".into(),
            up_to_date: true,
            closed: false,
        };
        for size in 1..TOLD.len() {
            let mut events = Events::new(true);
            let heard: Vec<Event> = TOLD
                .as_bytes()
                .chunks(size)
                .flat_map(|piece| events.take(piece))
                .collect();
            assert_eq!(heard, [Event::Data(b"foo".to_vec()), stand.clone()], "{size}");
        }
    }

    #[test]
    fn text_comes_back_with_its_lines() {
        let heard = Events::new(false).take(b"event: data\ndata:one\ndata:  two\n\n");
        assert_eq!(heard, [Event::Data(b"one\n two".to_vec())]);
    }

    #[test]
    fn half_an_event_is_none() {
        assert_eq!(Events::new(true).take(b"event: data\ndata:Zm9v\n"), []);
    }

    #[test]
    fn base64_reads_back_and_nothing_else_does() {
        for (text, bytes) in [
            ("", ""),
            ("Zg==", "f"),
            ("Zm8=", "fo"),
            ("Zm9v", "foo"),
            ("Zm9vYg==", "foob"),
        ] {
            assert_eq!(decoded(text), Some(bytes.as_bytes().to_vec()), "{text}");
        }
        for text in ["Z", "Zg=", "Zm9v!mFy", "===="] {
            assert_eq!(decoded(text), None, "{text}");
        }
    }
}
