//! Answer bodies: nothing, one buffer, a stream of bytes fetched piece by piece while the client drains them, or events.
//!
//! The next piece is fetched when hyper asks for it, and hyper asks when the one before has gone to the socket's buffer.
//! So a slow client costs one piece of memory, whatever the length of its answer. If the stream is deleted or trimmed
//! meanwhile, or a byte turns out damaged, the body ends in an error and hyper cuts the connection: the client sees that
//! the `Content-Length` it was promised was not reached, never bytes that are not the stream's.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http_body::{Body, Frame, SizeHint};

use super::{json, live::Sse, snapshots::Mixed, zip::Zipped};
use crate::read::{Broken, Reading};

/// What is sent after the head of an answer.
pub(crate) enum AnswerBody {
    /// One buffer; empty for none.
    Whole(Bytes),
    /// Bytes of a stream.
    Pour(Pour),
    /// Events of a stream.
    Live(Box<Sse>),
    /// Another body, packed on its way out.
    Zipped(Box<Zipped>),
    /// A snapshot and what came after it.
    Mixed(Box<Mixed>),
}

impl From<Bytes> for AnswerBody {
    fn from(bytes: Bytes) -> Self {
        Self::Whole(bytes)
    }
}

impl From<Infallible> for AnswerBody {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match self.get_mut() {
            Self::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::Pour(pour) => pour
                .poll_piece(cx)
                .map(|piece| piece.map(|piece| piece.map(Frame::data))),
            Self::Live(sse) => sse
                .poll_bytes(cx)
                .map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes)))),
            Self::Zipped(zipped) => zipped.poll_piece(cx),
            Self::Mixed(mixed) => mixed
                .poll_piece(cx)
                .map(|piece| piece.map(|piece| piece.map(Frame::data))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_empty(),
            Self::Pour(pour) => pour.left == 0,
            Self::Live(sse) => sse.is_over(),
            Self::Zipped(zipped) => zipped.is_over(),
            Self::Mixed(mixed) => mixed.is_over(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Pour(pour) => SizeHint::with_exact(pour.left),
            Self::Live(_) => SizeHint::default(),
            Self::Zipped(_) => SizeHint::default(),
            // How many parts there are is seen on the way.
            Self::Mixed(_) => SizeHint::default(),
        }
    }
}

/// A reading on its way out.
pub(crate) struct Pour {
    state: State,
    /// Bytes still to be sent, as the client counts them.
    left: u64,
    /// JSON mode, with whether the array is still to be opened.
    json: Option<bool>,
}

enum State {
    /// Between two pieces.
    Idle(Reading),
    /// A piece is being fetched.
    Fetching(BoxFuture<'static, (Reading, Result<Bytes, Broken>)>),
    /// All sent, or broken.
    Over,
}

impl Pour {
    /// Everything of a reading that is not empty; as a JSON array if `json`.
    pub(super) fn new(reading: Reading, json: bool) -> Self {
        let stored = reading.left();
        let left = if json { json::array_len(stored) } else { stored };
        Self {
            state: State::Idle(reading),
            left,
            json: json.then_some(true),
        }
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Broken>>> {
        loop {
            match std::mem::replace(&mut self.state, State::Over) {
                State::Over => return Poll::Ready(None),
                State::Idle(reading) if reading.left() == 0 => return Poll::Ready(None),
                State::Idle(mut reading) => {
                    self.state = State::Fetching(Box::pin(async move {
                        let piece = reading.next().await;
                        (reading, piece)
                    }));
                }
                State::Fetching(mut fetching) => {
                    let Poll::Ready((reading, piece)) = fetching.as_mut().poll(cx) else {
                        self.state = State::Fetching(fetching);
                        return Poll::Pending;
                    };
                    let piece = match piece {
                        Ok(piece) => self.rendered(piece, reading.left() == 0),
                        Err(broken) => return Poll::Ready(Some(Err(broken))),
                    };
                    self.left = self.left.saturating_sub(piece.len() as u64);
                    self.state = State::Idle(reading);
                    return Poll::Ready(Some(Ok(piece)));
                }
            }
        }
    }

    fn rendered(&mut self, piece: Bytes, last: bool) -> Bytes {
        match &mut self.json {
            None => piece,
            Some(first) => json::render(&piece, std::mem::replace(first, false), last),
        }
    }
}
