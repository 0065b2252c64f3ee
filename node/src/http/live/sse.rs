//! Server-sent events: an answer that goes on with the stream, and ends with it, or after a while.
//!
//! A reader at the tail takes events that were made once for all of them ([`crate::tail`]). One that is elsewhere makes
//! its own from bounded pieces of the stream, one event at a time, and only when the connection has taken the one before:
//! a slow reader falls behind in its place, not in memory. One that takes nothing at all is cut off by its connection.
//!
//! When the stream is deleted, or what the reader would read next is no longer kept, or cannot be read, the answer ends.
//! Half an event at the end of an answer counts for nothing, so nobody takes it for the stream's. Asked again, the node
//! says what is wrong.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderName, HeaderValue, Response, header};
use net::rt::{self, Instant};

use super::{
    super::{
        Answer, Http,
        answer::{STREAM_NEXT_OFFSET, value},
        json,
        pour::AnswerBody,
        request::Read,
    },
    Live,
    cursor::Cursors,
    event::{Manner, Stand, write_stand},
};
use crate::{
    read::{Broken, Reading},
    renew::Kept,
    stream::{Offset, Standing, StreamName},
    tail::{Event, News, Place, Waiter},
};

const STREAM_SSE_DATA_ENCODING: HeaderName = HeaderName::from_static("stream-sse-data-encoding");

/// A comment, which readers pass over.
const HEARTBEAT: Bytes = Bytes::from_static(b":\n\n");

/// One reader's events.
pub(crate) struct Sse {
    state: State,
    waiter: Waiter,
    /// Keeps the stream alive while it is read, if it needs that.
    _kept: Option<Arc<Kept>>,
    manner: Manner,
    /// Whether the reader has been told where it stands.
    told: bool,
    /// Up to where the stream has been looked at. The reader stands before that if the last bytes wait for what follows.
    seen: Offset,
    cursors: Arc<Cursors>,
    /// The least cursor it may be told.
    cursor: u64,
    /// About how many bytes go into one event.
    event_bytes: u64,
    heartbeat: Duration,
    ends: Instant,
    /// Wakes at the next heartbeat or at the end.
    timer: rt::Sleep,
}

enum State {
    /// Between two events.
    Between(Box<Reading>),
    /// The bytes of an event are being fetched, and whether they are its first.
    Fetching(BoxFuture<'static, Fetched>, bool),
    /// The data of an event is sent; this belongs to it.
    Owing(Box<Reading>, Bytes),
    /// Nothing follows.
    Over,
}

/// Bytes of an event, the last of them if nothing of the reading is left.
type Fetched = (Box<Reading>, Result<Vec<Bytes>, Broken>);

/// What comes next.
enum Next {
    Send(Bytes),
    /// Look again.
    Again,
    Wait,
}

impl Http {
    /// Begins to answer with events.
    pub(in super::super) async fn sse(&self, stream: StreamName, read: Read, cursor: Option<u64>) -> Answer {
        let reading = self
            .begin(&stream, read.whence, read.local, self.live.event_bytes)
            .await?;
        let waiter = super::wait(&self.node, &stream)?;
        let kept = self.node.keep(&stream, reading.lifetime());
        let manner = Manner::of(reading.content_type());
        let next = reading.plan().start;
        let mut response = Response::new(AnswerBody::Live(Box::new(Sse::new(
            reading, waiter, kept, manner, &self.live, cursor,
        ))));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.insert(STREAM_NEXT_OFFSET, value(next));
        if manner == Manner::Base64 {
            headers.insert(STREAM_SSE_DATA_ENCODING, HeaderValue::from_static("base64"));
        }
        Ok(response)
    }
}

impl Sse {
    fn new(
        reading: Reading,
        waiter: Waiter,
        kept: Option<Arc<Kept>>,
        manner: Manner,
        live: &Live,
        cursor: Option<u64>,
    ) -> Self {
        let now = Instant::now();
        let ends = now + live.cursors.about(live.sse_lifetime);
        Self {
            seen: reading.plan().start,
            state: State::Between(Box::new(reading)),
            waiter,
            _kept: kept,
            manner,
            told: false,
            cursor: live.cursors.after(cursor),
            cursors: live.cursors.clone(),
            event_bytes: live.event_bytes,
            heartbeat: live.sse_heartbeat,
            ends,
            timer: rt::sleep_until(ends.min(now + live.sse_heartbeat)),
        }
    }

    /// Whether nothing follows.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }

    /// The next bytes to send; none at the end.
    pub(crate) fn poll_bytes(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        loop {
            match std::mem::replace(&mut self.state, State::Over) {
                State::Over => return Poll::Ready(None),
                State::Owing(reading, bytes) => {
                    self.state = State::Between(reading);
                    return Poll::Ready(Some(bytes));
                }
                State::Fetching(mut fetching, first) => match fetching.as_mut().poll(cx) {
                    Poll::Pending => {
                        self.state = State::Fetching(fetching, first);
                        return Poll::Pending;
                    }
                    Poll::Ready((reading, Ok(pieces))) => {
                        if let Some(bytes) = self.fetched(reading, pieces, first) {
                            return Poll::Ready(Some(bytes));
                        }
                    }
                    Poll::Ready((_, Err(broken))) => {
                        tracing::debug!(stream = ?self.waiter.stream(), %broken, "a tailing read ends");
                    }
                },
                State::Between(reading) => match self.next(reading, cx) {
                    Next::Send(bytes) => return Poll::Ready(Some(bytes)),
                    Next::Again => {}
                    Next::Wait => return Poll::Pending,
                },
            }
        }
    }

    /// What comes after an event. Where the state is not set, it is the end.
    fn next(&mut self, mut reading: Box<Reading>, cx: &mut Context<'_>) -> Next {
        if Pin::new(&mut self.timer).poll(cx).is_ready() {
            let now = Instant::now();
            if now >= self.ends {
                return Next::Again;
            }
            self.timer.reset(self.ends.min(now + self.heartbeat));
            self.state = State::Between(reading);
            return Next::Send(HEARTBEAT);
        }
        if reading.left() > 0 {
            self.state = self.fetch(reading, true);
            return Next::Again;
        }
        if !self.told {
            let plan = reading.plan();
            let (next, up_to_date, closed) = (plan.end, plan.at_tail, plan.closed);
            return self.tell(reading, next, up_to_date, closed);
        }
        match self.waiter.news() {
            News::Over | News::Gone => return Next::Again,
            News::Look => {
                if reading.go_on(self.waiter.stream(), self.event_bytes).is_err() {
                    return Next::Again;
                }
                let (end, closed) = (reading.plan().end, reading.plan().closed);
                if reading.left() > 0 && (end > self.seen || closed) {
                    self.state = State::Between(reading);
                    return Next::Again;
                }
                let next = reading.at();
                if closed {
                    return self.tell(reading, next, true, true);
                }
                reading.stand_at(next);
            }
            News::At(standing) => {
                let at = reading.at();
                if standing.incarnation != reading.plan().incarnation || standing.earliest > at {
                    return Next::Again;
                }
                if standing.tail > self.seen.max(at) || standing.closed && standing.tail > at {
                    return self.newer(reading, standing);
                }
                if standing.tail == at && standing.closed {
                    return self.tell(reading, at, true, true);
                }
            }
        }
        let changed = self.waiter.poll_change(cx).is_ready();
        self.state = State::Between(reading);
        if changed { Next::Again } else { Next::Wait }
    }

    /// The stream has gone on from where the reader stands.
    fn newer(&mut self, mut reading: Box<Reading>, standing: Standing) -> Next {
        let near = standing.tail.0 - reading.at().0 <= self.event_bytes;
        let event = if near { self.shared(&reading, standing) } else { None };
        let Some(event) = event else {
            if reading.go_on(self.waiter.stream(), self.event_bytes).is_ok() {
                self.state = State::Between(reading);
            }
            return Next::Again;
        };
        reading.stand_at(event.next);
        self.seen = event.seen;
        if event.last {
            return Next::Send(event.whole);
        }
        if event.cursor >= self.cursor {
            self.cursor = event.cursor;
            self.state = State::Between(reading);
            return Next::Send(event.whole);
        }
        let mut own = Vec::with_capacity(self.manner.room(0));
        write_stand(
            &mut own,
            &Stand {
                next: event.next,
                cursor: self.cursor,
                up_to_date: true,
                closed: false,
            },
        );
        self.state = State::Owing(reading, own.into());
        Next::Send(event.whole.slice(..event.data_len))
    }

    /// The event from where the reader stands to the tail, if its bytes are in memory and not all of them wait.
    fn shared(&self, reading: &Reading, standing: Standing) -> Option<Event> {
        let place = Place {
            incarnation: standing.incarnation,
            from: reading.at(),
            manner: self.manner as u8,
        };
        self.waiter.shared(place, || {
            let mut pieces = reading.recent(standing.tail)?;
            let later = if standing.closed {
                0
            } else {
                self.manner.leave_unfinished(&mut pieces)
            };
            let next = Offset(standing.tail.0 - later);
            let len = (next.0 - place.from.0) as usize;
            if len == 0 {
                return None;
            }
            let mut whole = Vec::with_capacity(self.manner.room(len));
            self.manner.write(&mut whole, &pieces, true, true);
            let data_len = whole.len();
            let cursor = self.cursors.now();
            let stand = Stand {
                next,
                cursor,
                up_to_date: true,
                closed: standing.closed,
            };
            write_stand(&mut whole, &stand);
            Some(Event {
                whole: whole.into(),
                data_len,
                next,
                seen: standing.tail,
                cursor,
                last: standing.closed,
            })
        })
    }

    fn fetch(&self, mut reading: Box<Reading>, first: bool) -> State {
        let whole = self.manner != Manner::Json;
        let fetching = Box::pin(async move {
            let fetched = pieces(&mut reading, whole, first).await;
            (reading, fetched)
        });
        State::Fetching(fetching, first)
    }

    /// Writes an event of what was fetched, or a part of one; nothing if all of it waits for what follows.
    fn fetched(&mut self, mut reading: Box<Reading>, mut pieces: Vec<Bytes>, first: bool) -> Option<Bytes> {
        let plan = *reading.plan();
        let len: usize = pieces.iter().map(Bytes::len).sum();
        let mut out = Vec::with_capacity(self.manner.room(len));
        if reading.left() > 0 {
            self.manner.write(&mut out, &pieces, first, false);
            self.state = self.fetch(reading, false);
            return Some(out.into());
        }
        let later = if plan.closed {
            0
        } else {
            self.manner.leave_unfinished(&mut pieces)
        };
        let next = Offset(plan.end.0 - later);
        self.seen = plan.end;
        reading.stand_at(next);
        if !pieces.is_empty() {
            self.manner.write(&mut out, &pieces, first, true);
        } else if self.told {
            self.state = State::Between(reading);
            return None;
        }
        self.stand(&mut out, next, plan.at_tail, plan.closed);
        if !plan.closed {
            self.state = State::Between(reading);
        }
        Some(out.into())
    }

    /// Tells the reader where it stands, and nothing else.
    fn tell(&mut self, reading: Box<Reading>, next: Offset, up_to_date: bool, closed: bool) -> Next {
        let mut out = Vec::with_capacity(self.manner.room(0));
        self.stand(&mut out, next, up_to_date, closed);
        if !closed {
            self.state = State::Between(reading);
        }
        Next::Send(out.into())
    }

    fn stand(&mut self, out: &mut Vec<u8>, next: Offset, up_to_date: bool, closed: bool) {
        self.told = true;
        self.cursor = self.cursor.max(self.cursors.now());
        let stand = Stand {
            next,
            cursor: self.cursor,
            up_to_date,
            closed,
        };
        write_stand(out, &stand);
    }
}

/// The next bytes of an event; `whole`, all of them.
async fn pieces(reading: &mut Reading, whole: bool, first: bool) -> Result<Vec<Bytes>, Broken> {
    if first && !whole {
        reading.align_end(json::END).await?;
    }
    let mut pieces = vec![reading.next().await?];
    while whole && reading.left() > 0 {
        pieces.push(reading.next().await?);
    }
    Ok(pieces)
}
