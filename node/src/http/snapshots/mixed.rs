//! A bootstrap on its way out, as `multipart/mixed`: the newest snapshot (an empty part if there is none), then one part
//! for each append that came after it; of a JSON stream, for each message.
//!
//! Everything is of the moment in which the bootstrap began, and fetched piece by piece as the client drains it. Where
//! appends end is told by the marks on their chunks, and in a JSON stream by the bytes themselves. An answer that cannot be
//! finished has no closing delimiter, and its connection is cut.

use std::collections::VecDeque;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use futures_util::future::BoxFuture;

use super::super::json;
use crate::{
    read::{Broken, Reading},
    stream::{Offset, is_json},
};

/// Bytes of a stream that are made parts of at once: however many appends they are, the parts' heads fit in memory.
const AT_ONCE: usize = 16 * 1024;

/// What the first part says it is when there is no snapshot.
const NO_TYPE: &str = "application/octet-stream";

/// A bootstrap being sent.
pub(crate) struct Mixed {
    state: State,
}

enum State {
    /// Between two pieces.
    Idle(Box<Parts>),
    /// A piece is being fetched.
    Fetching(BoxFuture<'static, (Box<Parts>, Result<Bytes, Broken>)>),
    /// All sent, or broken.
    Over,
}

/// What is still to be sent.
struct Parts {
    /// What separates parts.
    delimiter: Bytes,
    /// The snapshot, as long as it is not all sent.
    snapshot: Option<Reading>,
    rest: Reading,
    /// Bytes of `rest` that were fetched and are not sent yet.
    piece: Bytes,
    /// Where these stand.
    at: Offset,
    /// The next ends of appends, all of them up to `known`.
    ends: VecDeque<Offset>,
    known: Offset,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Nothing is sent yet.
    Begin,
    /// The snapshot's bytes.
    Snapshot,
    /// Between two parts.
    Between,
    /// Inside a part.
    Inside,
    /// The closing delimiter is sent.
    End,
}

impl Mixed {
    /// A snapshot, if there is one, then the rest, separated by `boundary`.
    pub(in crate::http) fn new(snapshot: Option<Reading>, rest: Reading, boundary: &str) -> Self {
        let at = rest.plan().start;
        let parts = Parts {
            delimiter: format!("--{boundary}").into(),
            snapshot,
            rest,
            piece: Bytes::new(),
            at,
            ends: VecDeque::new(),
            known: at,
            stage: Stage::Begin,
        };
        Self {
            state: State::Idle(Box::new(parts)),
        }
    }

    /// Whether nothing more comes.
    pub(in crate::http) fn is_over(&self) -> bool {
        match &self.state {
            State::Idle(parts) => parts.stage == Stage::End,
            State::Fetching(_) => false,
            State::Over => true,
        }
    }

    pub(in crate::http) fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Broken>>> {
        loop {
            match std::mem::replace(&mut self.state, State::Over) {
                State::Over => return Poll::Ready(None),
                State::Idle(parts) if parts.stage == Stage::End => return Poll::Ready(None),
                State::Idle(mut parts) => {
                    self.state = State::Fetching(Box::pin(async move {
                        let piece = parts.next().await;
                        (parts, piece)
                    }));
                }
                State::Fetching(mut fetching) => {
                    let Poll::Ready((parts, piece)) = fetching.as_mut().poll(cx) else {
                        self.state = State::Fetching(fetching);
                        return Poll::Pending;
                    };
                    if piece.is_ok() {
                        self.state = State::Idle(parts);
                    }
                    return Poll::Ready(Some(piece));
                }
            }
        }
    }
}

impl Parts {
    /// The next bytes of the answer: at least one.
    async fn next(&mut self) -> Result<Bytes, Broken> {
        let mut out = BytesMut::new();
        if self.stage == Stage::Begin {
            let kind = self.snapshot.as_ref().map_or(NO_TYPE, Reading::content_type).to_owned();
            self.open(&mut out, &kind);
            self.stage = Stage::Snapshot;
        }
        if self.stage == Stage::Snapshot {
            if let Some(snapshot) = self.snapshot.as_mut().filter(|snapshot| snapshot.left() > 0) {
                if !out.is_empty() {
                    return Ok(out.freeze());
                }
                return snapshot.next().await;
            }
            self.snapshot = None;
            self.close(&mut out);
        }
        if self.piece.is_empty() && self.rest.left() == 0 {
            if self.stage == Stage::Inside {
                self.close(&mut out);
            }
            out.extend_from_slice(&self.delimiter);
            out.extend_from_slice(b"--\r\n");
            self.stage = Stage::End;
            return Ok(out.freeze());
        }
        if self.piece.is_empty() {
            self.piece = self.rest.next().await?;
        }
        let piece = self.piece.split_to(self.piece.len().min(AT_ONCE));
        let kind = self.rest.content_type().to_owned();
        if is_json(&kind) {
            self.messages(&mut out, &kind, piece);
        } else {
            self.appends(&mut out, &kind, piece).await?;
        }
        Ok(out.freeze())
    }

    /// One part a message. What ends each is not part of it.
    fn messages(&mut self, out: &mut BytesMut, kind: &str, piece: Bytes) {
        for run in piece.split_inclusive(|byte| *byte == json::END) {
            if self.stage == Stage::Between {
                self.open(out, kind);
                self.stage = Stage::Inside;
            }
            match run.strip_suffix(&[json::END]) {
                Some(message) => {
                    out.extend_from_slice(message);
                    self.close(out);
                }
                None => out.extend_from_slice(run),
            }
        }
    }

    /// One part an append.
    async fn appends(&mut self, out: &mut BytesMut, kind: &str, mut piece: Bytes) -> Result<(), Broken> {
        while !piece.is_empty() {
            let end = self.end(Offset(self.at.0 + piece.len() as u64)).await?;
            if self.stage == Stage::Between {
                self.open(out, kind);
                self.stage = Stage::Inside;
            }
            let left = usize::try_from(end.map_or(u64::MAX, |end| end.0 - self.at.0)).unwrap_or(usize::MAX);
            let run = piece.split_to(left.min(piece.len()));
            out.extend_from_slice(&run);
            self.at = Offset(self.at.0 + run.len() as u64);
            if end == Some(self.at) {
                self.ends.pop_front();
                self.close(out);
            }
        }
        Ok(())
    }

    /// Where the append ends that the next byte belongs to, if that is not past `to`.
    async fn end(&mut self, to: Offset) -> Result<Option<Offset>, Broken> {
        while self.ends.is_empty() && self.known < to {
            let (ends, known) = self.rest.ends(self.known).await?;
            self.ends.extend(ends);
            self.known = known;
        }
        Ok(self.ends.front().copied().filter(|end| *end <= to))
    }

    fn open(&self, out: &mut BytesMut, kind: &str) {
        out.extend_from_slice(&self.delimiter);
        out.extend_from_slice(b"\r\nContent-Type: ");
        out.extend_from_slice(kind.as_bytes());
        out.extend_from_slice(b"\r\n\r\n");
    }

    fn close(&mut self, out: &mut BytesMut) {
        out.extend_from_slice(b"\r\n");
        self.stage = Stage::Between;
    }
}
