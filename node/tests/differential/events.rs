//! What an answer by server-sent events says, read until it has nothing more to say for now.
//!
//! How many events the data comes in is each server's own; so they are taken together.

use std::{collections::BTreeMap, time::Duration};

use net::serve::Pieces;
use serde_json::Value;

/// How long nothing may come, or an answer that said it is over may stay open.
const PATIENCE: Duration = Duration::from_secs(5);

/// What was heard.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    /// The data of each event, as the browser's `EventSource` would give it.
    data: Vec<String>,
    /// The last control event, field by field.
    pub(crate) control: BTreeMap<String, String>,
}

/// Listens until a control event says that the reader has caught up, or that the stream is closed, after which the answer
/// must end.
pub(crate) async fn hear(mut answer: Pieces) -> Result<Heard, String> {
    let (mut heard, mut rest) = (Heard::default(), Vec::new());
    let mut closed = false;
    loop {
        let piece = answer.next(PATIENCE).await.map_err(|error| match closed {
            true => format!("events of a closed stream do not end: {error}"),
            false => format!("events: {error}"),
        })?;
        let Some(piece) = piece else {
            return match (closed, rest.is_empty()) {
                (true, true) => Ok(heard),
                (_, true) => Err("events end before they have said all".to_owned()),
                (_, false) => Err(format!(
                    "half an event at the end: {:?}",
                    String::from_utf8_lossy(&rest)
                )),
            };
        };
        rest.extend_from_slice(&piece);
        while let Some(end) = rest.windows(2).position(|two| two == b"\n\n") {
            let event: Vec<u8> = rest.drain(..end + 2).collect();
            if closed {
                return Err(format!(
                    "an event after the last: {:?}",
                    String::from_utf8_lossy(&event)
                ));
            }
            heard.take(&event)?;
            closed = heard.says("streamClosed");
            if heard.says("upToDate") {
                return Ok(heard);
            }
        }
    }
}

impl Heard {
    fn says(&self, field: &str) -> bool {
        self.control.get(field).is_some_and(|value| value == "true")
    }

    /// One event, which ends with an empty line.
    fn take(&mut self, event: &[u8]) -> Result<(), String> {
        let event = String::from_utf8_lossy(event);
        let (mut kind, mut data) = ("message", Vec::new());
        for line in event.lines() {
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "event" => kind = value,
                "data" => data.push(value),
                _ => {}
            }
        }
        let data_is = data.join("\n");
        match kind {
            "data" => self.data.push(data_is),
            "control" => {
                let Ok(Value::Object(fields)) = serde_json::from_str(&data_is) else {
                    return Err(format!("a control event says {data_is:?}"));
                };
                let text = |value: Value| value.as_str().map_or(value.to_string(), str::to_owned);
                self.control = fields.into_iter().map(|(name, value)| (name, text(value))).collect();
            }
            // A comment between events.
            "message" if data.is_empty() => {}
            other => return Err(format!("an event of the kind {other:?}")),
        }
        Ok(())
    }

    /// All data together: of a JSON stream one array of all messages.
    pub(crate) fn body(&self, base64: bool, json: bool) -> Result<Vec<u8>, String> {
        if json {
            return messages(&self.data);
        }
        if base64 {
            let all: Option<Vec<Vec<u8>>> = self.data.iter().map(|data| decoded(data)).collect();
            return all
                .map(|all| all.concat())
                .ok_or_else(|| format!("no base64: {:?}", self.data));
        }
        Ok(self.data.concat().into_bytes())
    }
}

/// The messages of some arrays in one, spelled as this program spells them.
pub(crate) fn messages(arrays: &[String]) -> Result<Vec<u8>, String> {
    let mut all = Vec::new();
    for array in arrays {
        match serde_json::from_str(array) {
            Ok(Value::Array(messages)) => all.extend(messages),
            _ => return Err(format!("no JSON array: {array:?}")),
        }
    }
    Ok(Value::Array(all).to_string().into_bytes())
}

/// What a text in base64 stands for.
fn decoded(text: &str) -> Option<Vec<u8>> {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bytes = Vec::new();
    let (mut held, mut bits) = (0u32, 0);
    if !text.len().is_multiple_of(4) {
        return None;
    }
    for byte in text.trim_end_matches('=').bytes() {
        let digit = ALPHABET.iter().position(|digit| *digit == byte)?;
        held = held << 6 | digit as u32;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((held >> bits) as u8);
            held &= (1 << bits) - 1;
        }
    }
    Some(bytes)
}
