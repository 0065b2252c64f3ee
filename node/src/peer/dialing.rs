//! One established connection, dialer's side: queued calls go out in batches, answers come in.
//!
//! Writing and reading are one task, so a call costs one wake-up to be sent and one to be answered.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::Stream;
use net::rt::{self, Instant, Sleep};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    Options, PeerError, Why,
    frame::{self, Batch, Form, Head},
    handshake::Line,
    link::Link,
};

/// Bytes that are handed to the socket in one go, more or less.
const BATCH_BYTES: usize = 256 << 10;

/// Frames read before others get a turn.
const FRAMES_PER_TURN: usize = 64;

/// Drives a connection. Resolves to the reason why it ended.
pub(super) struct Dialing<'a, IO> {
    link: &'a Link,
    line: Line<IO>,
    batch: Batch,
    /// Something was written since the last flush.
    unflushed: bool,
    /// Something was heard since the last look at the clock.
    heard: bool,
    silent: u32,
    look: Sleep,
    options: &'a Options,
}

impl<'a, IO: AsyncRead + AsyncWrite + Unpin> Dialing<'a, IO> {
    pub(super) fn new(link: &'a Link, line: Line<IO>, options: &'a Options) -> Dialing<'a, IO> {
        let look = rt::sleep(options.ping_every);
        Dialing {
            link,
            line,
            batch: Batch::default(),
            unflushed: false,
            heard: false,
            silent: 0,
            look,
            options,
        }
    }

    /// Sends what waits, as far as the socket takes it.
    fn send(&mut self, cx: &mut Context<'_>) -> Result<(), String> {
        loop {
            if !self.link.take_queued(&mut self.batch, BATCH_BYTES) {
                return Err("this node is shutting down".into());
            }
            if self.batch.bytes() == 0 {
                break;
            }
            self.unflushed = true;
            match self.batch.poll_write(self.line.get_mut(), cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Err(error.to_string()),
                Poll::Pending => return Ok(()),
            }
        }
        if self.unflushed {
            match Pin::new(self.line.get_mut()).poll_flush(cx) {
                Poll::Ready(Ok(())) => self.unflushed = false,
                Poll::Ready(Err(error)) => return Err(error.to_string()),
                Poll::Pending => {}
            }
        }
        Ok(())
    }

    /// Hands out the answers that have come. `true` if there may be more.
    fn receive(&mut self, cx: &mut Context<'_>) -> Result<bool, String> {
        for _ in 0..FRAMES_PER_TURN {
            let frame = match Pin::new(&mut self.line).poll_next(cx) {
                Poll::Pending => return Ok(false),
                Poll::Ready(None) => return Err("it hung up".into()),
                Poll::Ready(Some(Err(error))) => return Err(error.to_string()),
                Poll::Ready(Some(Ok(frame))) => frame,
            };
            self.heard = true;
            let (head, payload) = frame::decode(frame).map_err(|bad| bad.to_string())?;
            match head.form {
                Form::Pong => {}
                Form::Answer => self.link.answer(head.id, Ok(payload)),
                Form::Refusal => self.link.answer(head.id, Err(refused(&payload))),
                Form::Request | Form::Ping => return Err("it asks where it should answer".into()),
            }
        }
        Ok(true)
    }

    /// Looks whether the line is alive. `true` if there is a ping to send.
    fn watch(&mut self, cx: &mut Context<'_>) -> Result<bool, String> {
        if Pin::new(&mut self.look).poll(cx).is_pending() {
            return Ok(false);
        }
        self.look.reset(Instant::now() + self.options.ping_every);
        if std::mem::take(&mut self.heard) {
            self.silent = 0;
            return Ok(true);
        }
        self.silent += 1;
        if self.silent > self.options.silent_pings_max {
            return Err("it has fallen silent".into());
        }
        // A line that takes no bytes has one ping in it already.
        if self.batch.bytes() == 0 {
            self.batch.push(Head::bare(Form::Ping), Vec::new());
        }
        Ok(true)
    }
}

fn refused(reason: &Bytes) -> PeerError {
    PeerError::unsent(Why::NotDone(String::from_utf8_lossy(reason).into_owned()))
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Future for Dialing<'_, IO> {
    type Output = String;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<String> {
        let this = &mut *self;
        this.link.waker.register(cx.waker());
        loop {
            let more = this.send(cx).and_then(|()| {
                let more = this.receive(cx)?;
                Ok(this.watch(cx)? || more)
            });
            match more {
                Ok(true) => {}
                Ok(false) => return Poll::Pending,
                Err(reason) => return Poll::Ready(reason),
            }
        }
    }
}
