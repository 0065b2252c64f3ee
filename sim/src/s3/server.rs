//! What becomes of a request: it is received, found lawful or not, takes its effect, and is answered; or something of that
//! goes wrong.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use net::rt::{self, TcpListener, TcpStream};
use net::serve::{Limits, Protocol, Shutdown, serve_connection};
use rand::RngExt;
use storage::cold::Cold;
use storage::error::ColdError;

use super::answer::{self, Refusal};
use super::asked::{Asked, What};
use super::body::Sent;
use super::fault::Trouble;
use super::{FalseS3, PORT, State, listing, signature};
use crate::clock::EPOCH_MS;
use crate::net::Net;
use crate::tell::word_of;

/// How long the work on a request takes, by a throw.
const WORK_MS: std::ops::Range<u64> = 4..45;
/// How long a connection may be idle: not long, so that clients meet ones that were just closed.
const IDLE: Duration = Duration::from_secs(5);
/// How often a page of a listing is shorter than it was asked for, as S3 may make it.
const SHORT_PAGE_CHANCE: f64 = 0.2;

/// What is decided about a request when it has come.
struct Fate {
    trouble: Option<Trouble>,
    time: Duration,
    /// Takes effect when it comes, not when its time is over.
    early: bool,
}

impl FalseS3 {
    /// Where it is.
    pub(super) fn addr(&self) -> SocketAddr {
        Net::addr(self.0.host, PORT)
    }

    /// Serves, until its host goes down.
    pub(super) async fn listen(self) {
        let addr = self.addr().to_string();
        let listener = TcpListener::bind(&addr).await.expect("nobody else is on its host");
        while let Ok((stream, from)) = listener.accept().await {
            drop(rt::spawn("s3 connection", self.clone().converse(stream, from)));
        }
    }

    async fn converse(self, stream: TcpStream, from: SocketAddr) {
        let service = service_fn(|request| {
            let s3 = self.clone();
            async move {
                // Once it has come it runs to its end, whether anybody still waits for the answer or not: a put that its
                // sender has given up may take effect at any time after.
                let work = rt::spawn("s3 request", s3.receive(request, from));
                work.await.unwrap_or_else(|ended| Err(io::Error::other(ended)))
            }
        });
        let limits = Limits {
            head_patience: IDLE,
            ..Limits::default()
        };
        // How it ends is the client's business.
        drop(serve_connection(stream, Protocol::Http1, service, &limits, &Shutdown::new()).await);
    }

    async fn receive(self, request: Request<Incoming>, from: SocketAddr) -> io::Result<Response<Sent>> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        let number = {
            let mut state = self.state();
            state.requests += 1;
            state.requests
        };
        let lawful = signature::check(&head, &body, self.now_ms()).and_then(|()| Asked::read(&head, body));
        let mut answer = match lawful {
            Ok(asked) => self.answer(asked, from).await?,
            Err(refusal) => refusal.answer(),
        };
        let now = SystemTime::UNIX_EPOCH + Duration::from_millis(self.now_ms());
        let headers = answer.headers_mut();
        headers.insert("date", answer::value(&httpdate::fmt_http_date(now)));
        headers.insert("x-amz-request-id", answer::value(&format!("{number:016X}")));
        Ok(answer)
    }

    async fn answer(&self, asked: Asked, from: SocketAddr) -> io::Result<Response<Sent>> {
        let Asked { what, name } = asked;
        let Fate { trouble, time, early } = self.fate(&what, &name);
        let refused = match trouble {
            Some(Trouble::InternalErrorBefore) => Some(Refusal::InternalError),
            Some(Trouble::SlowDown) => Some(Refusal::SlowDown),
            Some(Trouble::Expired) => Some(Refusal::ExpiredToken),
            Some(Trouble::Conflict) => Some(Refusal::ConditionalRequestConflict),
            Some(Trouble::Unavailable) => Some(Refusal::ServiceUnavailable),
            _ => None,
        };
        if let Some(refusal) = refused {
            rt::sleep(time).await;
            return Ok(refusal.answer());
        }
        if trouble == Some(Trouble::ResetBefore) {
            rt::sleep(time).await;
            return Err(self.reset(from));
        }
        let lags = trouble == Some(Trouble::Lags);
        let answer = if early {
            let answer = self.effect(what, lags).await;
            rt::sleep(time).await;
            answer
        } else {
            rt::sleep(time).await;
            self.effect(what, lags).await
        };
        let answer = answer.unwrap_or_else(Refusal::answer);
        match trouble {
            Some(Trouble::InternalErrorAfter) => Ok(Refusal::InternalError.answer()),
            Some(Trouble::ResetAfter) => Err(self.reset(from)),
            Some(Trouble::Truncated) => Ok(answer.map(|body| {
                let bytes = self.state().dice.random_range(0..body.len().max(1));
                body.broken_off_after(bytes)
            })),
            Some(Trouble::Corrupted) => Ok(answer.map(|body| body.map(|bytes| self.flipped(bytes)))),
            _ => Ok(answer),
        }
    }

    /// What the call does to the objects, and what is answered when nothing goes wrong.
    async fn effect(&self, what: What, lags: bool) -> Result<Response<Sent>, Refusal> {
        let cold = &self.0.cold;
        match what {
            What::Put { key, body } => match cold.objects().put_if_absent(&key, vec![body]).await {
                Ok(()) => {
                    cold.count_put();
                    self.changed(&key, true);
                    Ok(answer::done(200))
                }
                Err(ColdError::Exists) => Err(Refusal::PreconditionFailed),
                Err(_) => Err(Refusal::InvalidArgument("a key that is none of ours")),
            },
            What::Get { key, range } => {
                let found = cold.objects().get_range(&key, 0..u64::MAX).await;
                let object = found.map_err(|_| Refusal::NoSuchKey)?;
                let total = object.len() as u64;
                match range {
                    None => Ok(answer::whole(object)),
                    Some(range) if range.start >= total => Err(Refusal::InvalidRange),
                    Some(range) => {
                        let end = range.end.min(total);
                        let bytes = object.slice(range.start as usize..end as usize);
                        Ok(answer::part(bytes, range.start, total))
                    }
                }
            }
            What::List(listing) => {
                let mut keys = cold.objects().keys();
                let state = &mut *self.state();
                if lags {
                    let lag_ns = state.faults.list_lag_max.as_nanos() as u64;
                    let ago = state.dice.random_range(0..=lag_ns);
                    keys = state.recent.as_of(self.0.control.now_ns().saturating_sub(ago), keys);
                }
                let mut page = listing::page(&listing, keys);
                let mut most = listing.keys_max;
                if most > 0 && page.len() > 1 && state.dice.random_bool(SHORT_PAGE_CHANCE) {
                    most = state.dice.random_range(1..=most.min(page.len()));
                }
                // A page without a key could not say where the next one begins.
                let more = page.len() > most && most > 0;
                page.truncate(most);
                Ok(answer::page(&listing, &page, more))
            }
            What::Delete { key } => {
                if cold.objects().keys().contains(&key) {
                    self.changed(&key, false);
                }
                match cold.objects().delete(&key).await {
                    Ok(()) => Ok(answer::done(204)),
                    Err(_) => Err(Refusal::InvalidArgument("a key that is none of ours")),
                }
            }
        }
    }

    fn fate(&self, what: &What, name: &str) -> Fate {
        let state = &mut *self.state();
        let State {
            dice,
            faults,
            next,
            outage,
            ..
        } = state;
        let next = if next.front().is_some_and(|trouble| trouble.befalls(what)) {
            next.pop_front()
        } else {
            None
        };
        let out = outage.map(|_| Trouble::Unavailable);
        let trouble = next.or(out).or_else(|| faults.throw(what, dice));
        if let Some(trouble) = trouble {
            *state.met.entry(trouble).or_default() += 1;
            let words = trouble.words();
            let word = word_of([name, words].map(str::as_bytes));
            self.0.tell.line(word, format_args!("{name} {words}"));
        }
        Fate {
            trouble,
            time: Duration::from_millis(dice.random_range(WORK_MS)) + faults.slow_first_byte,
            early: dice.random_bool(0.5),
        }
    }

    fn reset(&self, from: SocketAddr) -> io::Error {
        self.0.net.reset_between(from, self.addr());
        io::ErrorKind::ConnectionReset.into()
    }

    fn flipped(&self, bytes: Bytes) -> Bytes {
        if bytes.is_empty() {
            return bytes;
        }
        let mut bytes = bytes.to_vec();
        let dice = &mut self.state().dice;
        let at = dice.random_range(0..bytes.len());
        bytes[at] ^= 1 << dice.random_range(0..8);
        self.0.cold.count_flip();
        bytes.into()
    }

    fn changed(&self, key: &str, came: bool) {
        let now_ns = self.0.control.now_ns();
        self.state().recent.changed(now_ns, key, came);
    }

    /// By its own clock, which is right.
    fn now_ms(&self) -> u64 {
        EPOCH_MS + self.0.control.now_ns() / 1_000_000
    }
}
