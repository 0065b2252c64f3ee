//! One established connection, acceptor's side: requests go to the handler in the order they came, answers go back in
//! the order they are ready.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::{Stream, future::BoxFuture, stream::FuturesUnordered, task::AtomicWaker};
use net::rt::{self, Instant, Sleep};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    BULK, Options,
    frame::{self, Batch, Form, Head},
    handshake::Line,
};

/// Answers waiting for the socket beyond which nothing more is read or run.
const UNSENT_BYTES_MAX: usize = 1 << 20;

/// Frames read before others get a turn.
const FRAMES_PER_TURN: usize = 64;

/// The answer to come. It is dropped, wherever it stands, when the connection ends.
pub type Reply = BoxFuture<'static, Result<Vec<Bytes>, NotDone>>;

/// The request had no effect whatever, and why: the caller may safely send it elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotDone(pub String);

/// What answers the requests of other nodes.
pub trait Handler: Send + Sync + 'static {
    /// Answers one request of node `from`.
    ///
    /// The calls of one connection come in the order in which the peer sent the requests of one class (see
    /// [`BULK`]), and so does the first poll of each returned future. All futures of a connection are driven by one
    /// task: none may compute for long. The payload keeps up to 64 KiB of neighbouring frames alive.
    fn handle(&self, from: u64, kind: u8, group: u32, payload: Bytes) -> Reply;
}

/// A connection that is being served, as the rest of the node sees it.
#[derive(Default)]
pub(super) struct Served {
    ended: AtomicBool,
    waker: AtomicWaker,
}

impl Served {
    /// Ends the connection.
    pub(super) fn end(&self) {
        self.ended.store(true, Ordering::Release);
        self.waker.wake();
    }
}

/// Drives a connection. Resolves to the reason why it ended.
pub(super) struct Serving<'a, IO> {
    line: Line<IO>,
    from: u64,
    handler: Arc<dyn Handler>,
    served: &'a Served,
    options: &'a Options,
    running: FuturesUnordered<Running>,
    /// Requests and their bytes in `running`, for each of the two classes.
    held: [(usize, usize); 2],
    batch: Batch,
    unflushed: bool,
    heard: bool,
    silent: u32,
    look: Sleep,
}

impl<'a, IO: AsyncRead + AsyncWrite + Unpin> Serving<'a, IO> {
    pub(super) fn new(
        line: Line<IO>,
        from: u64,
        handler: Arc<dyn Handler>,
        served: &'a Served,
        options: &'a Options,
    ) -> Serving<'a, IO> {
        Serving {
            line,
            from,
            handler,
            served,
            options,
            running: FuturesUnordered::new(),
            held: [(0, 0); 2],
            batch: Batch::default(),
            unflushed: false,
            heard: false,
            silent: 0,
            look: rt::sleep(options.ping_every),
        }
    }

    fn send(&mut self, cx: &mut Context<'_>) -> Result<(), String> {
        if self.batch.bytes() > 0 {
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

    /// Takes requests in. `true` if there may be more.
    fn receive(&mut self, cx: &mut Context<'_>) -> Result<bool, String> {
        for _ in 0..FRAMES_PER_TURN {
            if self.batch.bytes() > UNSENT_BYTES_MAX {
                return Ok(false);
            }
            let frame = match Pin::new(&mut self.line).poll_next(cx) {
                Poll::Pending => return Ok(false),
                Poll::Ready(None) => return Err("it hung up".into()),
                Poll::Ready(Some(Err(error))) => return Err(error.to_string()),
                Poll::Ready(Some(Ok(frame))) => frame,
            };
            self.heard = true;
            let (head, payload) = frame::decode(frame).map_err(|bad| bad.to_string())?;
            match head.form {
                Form::Ping => self.batch.push(Head::bare(Form::Pong), Vec::new()),
                Form::Request => self.admit(head, payload),
                Form::Answer | Form::Refusal | Form::Pong => return Err("it answers where it should ask".into()),
            }
        }
        Ok(true)
    }

    fn admit(&mut self, head: Head, payload: Bytes) {
        let class = usize::from(head.kind >= BULK);
        let bytes = payload.len();
        let (calls, held) = &mut self.held[class];
        if *calls >= self.options.serving_calls_max || (*held > 0 && *held + bytes > self.options.serving_bytes_max) {
            return self.refuse(head, "too many requests of this node are being served");
        }
        *calls += 1;
        *held += bytes;
        let reply = self.handler.handle(self.from, head.kind, head.group, payload);
        self.running.push(Running {
            reply,
            head,
            class,
            bytes,
        });
    }

    fn refuse(&mut self, request: Head, reason: &str) {
        let reason = Bytes::copy_from_slice(reason.as_bytes());
        self.batch.push(
            Head {
                form: Form::Refusal,
                ..request
            },
            vec![reason],
        );
    }

    /// Runs the handlers. `true` if there is something to send.
    fn run(&mut self, cx: &mut Context<'_>) -> bool {
        let mut answered = false;
        while self.batch.bytes() <= UNSENT_BYTES_MAX {
            let Poll::Ready(Some(done)) = Pin::new(&mut self.running).poll_next(cx) else {
                break;
            };
            let (calls, held) = &mut self.held[done.class];
            *calls -= 1;
            *held -= done.bytes;
            answered = true;
            match done.answer {
                Ok(parts) => {
                    let bytes: usize = parts.iter().map(Bytes::len).sum();
                    if bytes > self.options.payload_bytes_max {
                        // It was carried out, so it cannot be refused; the caller will run into its deadline.
                        tracing::error!(
                            kind = done.head.kind,
                            bytes,
                            "an answer to a peer is larger than a frame"
                        );
                        continue;
                    }
                    self.batch.push(
                        Head {
                            form: Form::Answer,
                            ..done.head
                        },
                        parts,
                    );
                }
                Err(NotDone(reason)) => self.refuse(done.head, &reason),
            }
        }
        answered
    }

    /// A dialer speaks at least every ping; one that is silent for much longer is gone.
    fn watch(&mut self, cx: &mut Context<'_>) -> Result<bool, String> {
        if Pin::new(&mut self.look).poll(cx).is_pending() {
            return Ok(false);
        }
        self.look.reset(Instant::now() + self.options.ping_every);
        self.silent = if std::mem::take(&mut self.heard) {
            0
        } else {
            self.silent + 1
        };
        if self.silent > 3 * self.options.silent_pings_max {
            return Err("it has fallen silent".into());
        }
        Ok(true)
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Future for Serving<'_, IO> {
    type Output = String;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<String> {
        let this = &mut *self;
        this.served.waker.register(cx.waker());
        loop {
            if this.served.ended.load(Ordering::Acquire) {
                return Poll::Ready("a newer one took its place, or this node is shutting down".into());
            }
            let more = this.send(cx).and_then(|()| {
                let more = this.receive(cx)?;
                let answered = this.run(cx);
                let looked = this.watch(cx)?;
                // What was put into the batch outside of `run` must be sent too, unless the socket is full anyway.
                Ok(more || answered || looked || (this.batch.bytes() > 0 && !this.unflushed))
            });
            match more {
                Ok(true) => {}
                Ok(false) => return Poll::Pending,
                Err(reason) => return Poll::Ready(reason),
            }
        }
    }
}

/// A request in the hands of the handler.
struct Running {
    reply: Reply,
    head: Head,
    class: usize,
    bytes: usize,
}

struct Done {
    answer: Result<Vec<Bytes>, NotDone>,
    head: Head,
    class: usize,
    bytes: usize,
}

impl Future for Running {
    type Output = Done;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Done> {
        let this = &mut *self;
        this.reply.as_mut().poll(cx).map(|answer| Done {
            answer,
            head: this.head,
            class: this.class,
            bytes: this.bytes,
        })
    }
}
