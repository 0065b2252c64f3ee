//! Reads that wait: a long-poll, and events for a while.
//!
//! Both are recorded as reads like any other, for that is what they must be: what they return is what the stream was at
//! some moment between their beginning and their end. So every law that judges reads judges them, too.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};

use super::{Client, Cursor, never_left, not_done, path, seen, text};
use crate::format::Format;
use crate::history::{Answer, Ending, Live, Op, Read, Refusal, Seen};
use crate::transport::{Piece, Pieces};

mod events;

use events::{Event, Events};

impl Client {
    /// One long-poll; moves the cursor behind what it returned. `patience` is how long the server may take.
    pub async fn long_poll(&self, node: usize, stream: &Arc<str>, cursor: &mut Cursor, patience: Duration) -> Ending {
        let id = self.invoke_live(node, stream, cursor, Live::LongPoll);
        let uri = format!("{}?live=long-poll&offset={}", path(stream), cursor.from);
        let request = Request::builder().method(Method::GET).uri(uri).body(Bytes::new());
        let ending = match request {
            Err(error) => never_left(&error),
            Ok(request) => match self.transport.call(node, request, patience).await {
                Err(error) if error.sent => Ending::Unknown(error.why),
                Err(_) => Ending::Refused(Refusal::NotSent),
                Ok(response) if matches!(response.status().as_u16(), 200 | 204) => seen(stream, &response, cursor),
                Ok(response) => not_done(&Op::Head, &response),
            },
        };
        self.recorder.end(id, ending.clone(), self.transport.now_ns());
        ending
    }

    /// Events for so long, or until the server ends them; moves the cursor behind the last of which the server said where
    /// it ends. However the answer breaks off, what came before is an answer.
    pub async fn events(&self, node: usize, stream: &Arc<str>, cursor: &mut Cursor, span: Duration) -> Ending {
        let id = self.invoke_live(node, stream, cursor, Live::Sse);
        let until_ns = self.transport.now_ns() + u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        let uri = format!("{}?live=sse&offset={}", path(stream), cursor.from);
        let request = Request::builder().method(Method::GET).uri(uri).body(Bytes::new());
        let ending = match request {
            Err(error) => never_left(&error),
            Ok(request) => match self.transport.open(node, request, self.deadline).await {
                Err(error) if error.sent => Ending::Unknown(error.why),
                Err(_) => Ending::Refused(Refusal::NotSent),
                Ok(response) if response.status().as_u16() == 200 => {
                    let base64 = text(response.headers(), "Stream-SSE-Data-Encoding").is_some();
                    self.heard(stream, response.into_body(), base64, cursor, until_ns).await
                }
                Ok(response) => {
                    let (head, mut body) = response.into_parts();
                    let mut whole = Vec::new();
                    while let Piece::Bytes(bytes) = body.next(self.deadline).await {
                        whole.extend_from_slice(&bytes);
                    }
                    not_done(&Op::Head, &http::Response::from_parts(head, whole.into()))
                }
            },
        };
        self.recorder.end(id, ending.clone(), self.transport.now_ns());
        ending
    }

    async fn heard(
        &self,
        stream: &str,
        mut body: Box<dyn Pieces>,
        base64: bool,
        cursor: &mut Cursor,
        until_ns: u64,
    ) -> Ending {
        let format = Format::of(stream);
        let mut events = Events::new(base64);
        // Text and JSON go as they are, and nothing else does.
        let mut foreign = (base64 != (format == Format::Bytes)).then(|| format!("events in base64: {base64}"));
        let (mut heard, mut heard_ns): (Option<Seen>, _) = (None, 0);
        let mut data = Vec::new();
        let first_by_ns = self.transport.now_ns() + self.deadline.as_nanos() as u64;
        loop {
            // The first event may take as long as any answer: what is old comes from afar.
            let until_ns = if heard.is_some() {
                until_ns
            } else {
                until_ns.max(first_by_ns)
            };
            let left_ns = until_ns.saturating_sub(self.transport.now_ns());
            let piece = body.next(Duration::from_nanos(left_ns)).await;
            let (bytes, over) = match piece {
                Piece::Bytes(bytes) => {
                    heard_ns = self.transport.now_ns();
                    (bytes, false)
                }
                Piece::Late | Piece::End | Piece::Broken(_) => (Bytes::new(), true),
            };
            for event in events.take(&bytes) {
                match event {
                    Event::Data(more) => data.extend_from_slice(&more),
                    Event::Stand {
                        next,
                        up_to_date,
                        closed,
                    } => {
                        let seen = heard.get_or_insert_default();
                        add(seen, format, cursor, &std::mem::take(&mut data));
                        seen.garbage = seen.garbage.take().or(foreign.take());
                        seen.next.clone_from(&next);
                        // The end of a closed stream is a tail, too.
                        seen.up_to_date = up_to_date || closed;
                        seen.closed = closed;
                        cursor.from = next;
                    }
                    Event::Garbage(what) => {
                        let seen = heard.get_or_insert_default();
                        seen.garbage.get_or_insert(what);
                    }
                }
            }
            if over || left_ns == 0 {
                break;
            }
        }
        match heard {
            Some(mut seen) => {
                seen.after = cursor.before;
                seen.heard_ns = Some(heard_ns);
                seen.inside_a_record = cursor.parser.inside_a_record();
                Ending::Done(Answer::Read(seen))
            }
            None => Ending::Unknown("the answer broke off before the first event".into()),
        }
    }

    fn invoke_live(&self, node: usize, stream: &Arc<str>, cursor: &Cursor, live: Live) -> u32 {
        let read = Read {
            from: cursor.from.clone(),
            local: false,
            session: cursor.session,
            before: cursor.before,
            bootstrap: false,
            live: Some(live),
        };
        self.recorder
            .invoke(self.id, node, stream, Op::Read(read), self.transport.now_ns())
    }
}

/// More bytes of one answer.
fn add(seen: &mut Seen, format: Format, cursor: &mut Cursor, data: &[u8]) {
    seen.bytes += format.stored_bytes(data);
    match cursor.parser.take_as(format, data) {
        Ok(tags) => {
            for tag in tags {
                cursor.before = cursor.before.map(|before| before.then(tag));
                seen.tags.push(tag);
            }
        }
        Err(garbage) => seen.garbage = Some(garbage.to_string()),
    }
}
