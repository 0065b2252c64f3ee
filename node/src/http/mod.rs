//! HTTP: the only files of a node that know methods, headers and status codes.
//!
//! | file | the question |
//! |---|---|
//! | `routes` | which path means what? |
//! | `request` | what is asked? Every 400 is there |
//! | `body` | a request's body, bounded in length, time and sum |
//! | `json` | how messages are stored, and shown as one array |
//! | `lifetime`, `moment` | how long a stream lives and what it forgets, as headers |
//! | `snapshots` | snapshots of streams: in, out, and what came after them |
//! | `forks` | how does a stream begin as a part of another? |
//! | `answer` | status and headers of what was done |
//! | `refusal`, `errors` | what was not done, and why |
//! | `buckets`, `listing` | what is asked of whole buckets, and which streams they hold |
//! | `pour` | a stream's bytes on their way out |
//! | `live` | reads that wait for what is yet to come |
//! | `counts` | what was answered, for `/metrics` |
//! | `zip` | JSON answers, packed for those who ask |
//! | `browser`, `date` | headers on every answer |

mod answer;
mod body;
mod browser;
mod buckets;
mod counts;
mod date;
mod errors;
mod forks;
mod json;
mod lifetime;
mod listing;
mod live;
mod moment;
mod pour;
mod refusal;
mod request;
mod routes;
mod snapshots;
mod zip;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, header, request::Parts, uri::Authority};
use http_body::Body;
use net::{clock::Clock, dice::Dice, rt};

pub(crate) use pour::AnswerBody;

use crate::{
    Core,
    admin::{
        self,
        exposition::{Exposition, Kind},
    },
    bucket::Missing,
    config::CacheScope,
    read::{Query, ReadError, Reading},
    stream::{Append, Command, Create, Op, Outcome, StreamName, StreamRow, Whence, is_json, same_content_type},
};
use body::Budget;
use browser::Origins;
use counts::Counts;
use date::Date;
use errors::Problem;
use live::{Live, Mode};
use request::Wanted;
use routes::About;

/// What every request comes to.
type Answer = Result<Response<AnswerBody>, Problem>;

/// Answers requests for one node.
pub(crate) struct Http {
    node: Arc<Core>,
    /// Bytes of request bodies held at once.
    budget: Arc<Budget>,
    /// The longest request body, in bytes.
    max_body: u64,
    /// How long a request's body may make no progress.
    patience: Duration,
    /// From a request's last byte to its answer's first.
    request_deadline: Duration,
    /// `Cache-Control` of catch-up reads.
    caching: HeaderValue,
    /// What live reads share.
    live: Live,
    /// What was answered so far.
    counts: Counts,
    /// What a JSON body may hold.
    json: json::Bounds,
    /// Who may ask from a browser.
    origins: Origins,
    date: Date,
    /// Where the boundaries of multipart answers come from.
    boundaries: Mutex<net::dice::Stream>,
    /// Where others reach this node, for a `Location` when the request names no host.
    advertised: String,
}

impl Http {
    /// Serves `node` as its configuration says. The clock is what answers say the time is; it and the dice make the
    /// cursors of live reads.
    pub(crate) fn new(node: Arc<Core>, clock: Arc<dyn Clock>, dice: &Dice) -> Self {
        let config = &node.config;
        let caching = match config.http.cache {
            CacheScope::Public => "public, max-age=60, stale-while-revalidate=300",
            CacheScope::Private => "private, max-age=60, stale-while-revalidate=300",
        };
        Self {
            budget: Budget::new(usize::try_from(config.http.max_inflight).unwrap_or(usize::MAX)),
            max_body: config.http.max_body,
            patience: config.http.stall_timeout,
            request_deadline: config.http.request_deadline,
            boundaries: Mutex::new(dice.stream("boundaries")),
            caching: HeaderValue::from_static(caching),
            live: Live::new(&node, clock.clone(), dice),
            counts: Counts::new(),
            json: json::Bounds::of(&config.http),
            origins: Origins::new(&config.http.cors_origin),
            date: Date::new(clock),
            advertised: config.advertised().to_owned(),
            node,
        }
    }

    /// Answers one request. Whatever goes wrong is an answer, too.
    pub(crate) async fn answer<B>(&self, request: Request<B>) -> Response<AnswerBody>
    where
        B: Body<Data = Bytes>,
    {
        let came = rt::Instant::now();
        let (method, uri) = (request.method().clone(), request.uri().clone());
        let origin = request.headers().get(header::ORIGIN).cloned();
        let packed = zip::wanted(request.headers());
        let mut response = self.respond(request).await.unwrap_or_else(answer::problem);
        if method == Method::GET {
            response = zip::perhaps(packed, response);
        }
        let headers = response.headers_mut();
        self.origins.dress(origin.as_ref(), headers);
        headers.insert(header::DATE, self.date.now());
        self.counts
            .answered(&method, uri.query(), response.status(), came.elapsed());
        if method == Method::HEAD {
            *response.body_mut() = AnswerBody::from(Bytes::new());
        }
        response
    }

    async fn respond<B>(&self, request: Request<B>) -> Answer
    where
        B: Body<Data = Bytes>,
    {
        let (head, body) = request.into_parts();
        let wanted = match request::wanted(&head) {
            Ok(wanted) => wanted,
            Err(problem) => {
                body::discard(body, request::awaits_continue(&head.headers)).await;
                return Err(problem);
            }
        };
        let answer = self.act(&head, wanted, body).await;
        self.or_no_bucket(answer, request::bucket_of(&head)).await
    }

    async fn act<B>(&self, head: &Parts, wanted: Wanted, body: B) -> Answer
    where
        B: Body<Data = Bytes>,
    {
        match wanted {
            Wanted::Preflight => Ok(answer::preflight()),
            Wanted::About(about) => Ok(self.about(about).await),
            Wanted::Bucket(bucket, wish) => {
                body::discard(body, request::awaits_continue(&head.headers)).await;
                self.bucket(&bucket, wish, target(head)).await
            }
            Wanted::List(bucket, listing) => self.list(&bucket, listing).await,
            Wanted::Create(stream, create) => self.create(head, stream, create, body).await,
            Wanted::Fork(stream, asked) => self.fork(head, stream, asked, body).await,
            Wanted::Append(stream, append) => self.append(head, stream, append, body).await,
            Wanted::Delete(stream, delete) => {
                let deleted = self.write(head, stream, Op::Delete(delete), Bytes::new()).await?;
                answer::deleted(self.after_delete(deleted).await)
            }
            Wanted::Read(stream, read) => self.read(stream, read).await,
            Wanted::Look(stream, look) => self.look(stream, look).await,
            Wanted::Snapshots(stream, ask) => self.snapshots(head, stream, ask, body).await,
        }
    }

    async fn create<B>(&self, head: &Parts, stream: StreamName, create: Create, body: B) -> Answer
    where
        B: Body<Data = Bytes>,
    {
        let (mut body, mut held) = body::collect(body, self.bounds(head), &self.budget).await?;
        if is_json(&create.content_type) && !body.is_empty() {
            body = json::read(body, self.json, &mut held).await?;
        }
        let (content_type, lifetime) = (create.content_type.clone(), create.lifetime);
        let outcome = self.write(head, stream, Op::Create(create), body).await?;
        let mut response = answer::created(outcome, self.location(head), &content_type)?;
        lifetime::put_lifetime(response.headers_mut(), lifetime);
        Ok(response)
    }

    async fn append<B>(&self, head: &Parts, stream: StreamName, append: Append, body: B) -> Answer
    where
        B: Body<Data = Bytes>,
    {
        let (mut body, mut held) = body::collect(body, self.bounds(head), &self.budget).await?;
        let append = request::typed(append, &head.headers, body.len())?;
        if append.content_type.as_deref().is_some_and(is_json) {
            body = match json::read(body, self.json, &mut held).await {
                Ok(messages) if messages.is_empty() => {
                    return Err(self.unless_refused(&stream, &append, request::no_messages()).await);
                }
                Ok(messages) => messages,
                Err(problem) => return Err(self.unless_refused(&stream, &append, problem).await),
            };
        }
        let stored = !body.is_empty();
        answer::appended(self.write(head, stream, Op::Append(append), body).await?, stored)
    }

    async fn read(&self, stream: StreamName, read: request::Read) -> Answer {
        match read.live {
            None => self.catch_up(stream, read).await,
            Some(ask) if ask.mode == Mode::LongPoll => self.long_poll(stream, read, ask.cursor).await,
            Some(ask) => self.sse(stream, read, ask.cursor).await,
        }
    }

    async fn catch_up(&self, stream: StreamName, read: request::Read) -> Answer {
        let request::Read {
            whence,
            local,
            if_none_match,
            ..
        } = read;
        let reading = self
            .begin(&stream, whence, local, self.node.config.http.max_read)
            .await?;
        let plan = reading.plan();
        let known = whence != Whence::Now && if_none_match.is_some_and(|condition| condition.has(&plan.etag()));
        if known {
            return Ok(answer::not_modified(plan, &self.caching));
        }
        let lifetime = reading.lifetime();
        let mut response = answer::read(reading, whence, &self.caching);
        lifetime::put_lifetime(response.headers_mut(), lifetime);
        Ok(response)
    }

    /// Begins to read, at most about so many bytes.
    async fn begin(
        &self,
        stream: &StreamName,
        whence: Whence,
        local: bool,
        want_bytes: u64,
    ) -> Result<Reading, Problem> {
        let query = Query {
            stream: stream.clone(),
            whence,
            local,
            deadline: self.deadline(),
        };
        let mut reading = self.node.read(query).await.map_err(refusal::read_failed)?;
        reading.limit(want_bytes);
        self.align(&mut reading).await?;
        if self.node.cold.is_some() {
            let begun = reading.begin().await;
            begun.map_err(|broken| refusal::read_failed(ReadError::Broken(broken)))?;
        }
        Ok(reading)
    }

    /// Messages end with a byte that is in none of them, so both ends of an answer can be checked and set.
    async fn align(&self, reading: &mut Reading) -> Result<(), Problem> {
        if !is_json(reading.content_type()) {
            return Ok(());
        }
        match reading.align(json::END).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(refusal::not_a_boundary()),
            Err(broken) => Err(refusal::read_failed(ReadError::Broken(broken))),
        }
    }

    async fn look(&self, stream: StreamName, look: request::Look) -> Answer {
        let row = self
            .node
            .look(&stream, look.local, self.deadline())
            .await
            .map_err(refusal::read_failed)?;
        let standing = row.standing();
        let unchanged = look
            .if_none_match
            .is_some_and(|condition| condition.has(&standing.etag()));
        let mut response = answer::head(&row, unchanged);
        lifetime::put_lifetime(response.headers_mut(), row.lifetime);
        lifetime::put_retention(response.headers_mut(), row.retention);
        Ok(response)
    }

    async fn write(&self, head: &Parts, stream: StreamName, op: Op, body: Bytes) -> Result<Outcome, Problem> {
        let command = Command {
            now_ms: 0,
            stream,
            op,
            elsewhere: None,
            body,
        };
        let deadline = self.deadline();
        let written = match (&command.op, request::bucket_of(head)) {
            (Op::Create(_), Some(_)) => self.node.create(command, Missing::Refused, deadline).await,
            _ => self.node.write(command, deadline).await,
        };
        written.map_err(|error| refusal::write_failed(error, target(head)))
    }

    /// A body that is no JSON is refused only after what the stream itself objects to: that it is not there, closed, or
    /// of another type.
    async fn unless_refused(&self, stream: &StreamName, append: &Append, problem: Problem) -> Problem {
        let same = |row: &StreamRow| {
            append
                .content_type
                .as_ref()
                .is_some_and(|sent| same_content_type(sent, &row.content_type))
        };
        match self.node.look(stream, false, self.deadline()).await {
            Ok(row) if row.closed.is_some() => refusal::closed(&row.standing()),
            Ok(row) if !same(&row) => refusal::content_type_mismatch(&row.content_type),
            Err(ReadError::NotFound) => refusal::not_found(),
            Err(ReadError::Gone) => refusal::gone(),
            _ => problem,
        }
    }

    async fn about(&self, about: About) -> Response<AnswerBody> {
        let report = match about {
            About::Health => admin::health(),
            About::ReadyLocal => admin::ready_local(&self.node),
            About::ReadyCluster => admin::ready_cluster(&self.node).await,
            About::Status => admin::status(&self.node),
            About::HotAndCold => admin::hot_and_cold(&self.node),
            About::Metrics => return answer::metrics(self.metrics()),
            About::OpenApi => return answer::openapi(),
        };
        answer::report(report.ok, &report.body)
    }

    fn metrics(&self) -> String {
        let mut page = Exposition::default();
        self.counts.show(&mut page);
        page.single(
            "holdfast_http_held_bytes",
            Kind::Gauge,
            "Bytes of request bodies held in memory.",
            self.budget.held(),
        );
        admin::metrics::show(&self.node, &mut page);
        page.into_text()
    }

    fn deadline(&self) -> rt::Instant {
        rt::Instant::now() + self.request_deadline
    }

    fn bounds(&self, head: &Parts) -> body::Bounds {
        body::Bounds {
            max_bytes: self.max_body,
            patience: self.patience,
            awaits_continue: request::awaits_continue(&head.headers),
        }
    }

    /// The absolute URL of what was asked for, as the client spelled it.
    fn location(&self, head: &Parts) -> HeaderValue {
        let authority = head.uri.authority().map(Authority::as_str);
        let host = authority.or_else(|| head.headers.get(header::HOST).and_then(|host| host.to_str().ok()));
        let host = host.filter(|host| !host.is_empty()).unwrap_or(&self.advertised);
        HeaderValue::try_from(format!("http://{host}{}", head.uri.path())).unwrap_or(HeaderValue::from_static("/"))
    }
}

/// Path and query, as sent.
fn target(head: &Parts) -> &str {
    head.uri.path_and_query().map_or("/", |target| target.as_str())
}
