//! HTTP: the only files of a node that know methods, headers and status codes.
//!
//! | file | the question |
//! |---|---|
//! | `routes` | which path means what? |
//! | `request` | what is asked? Every 400 is there |
//! | `body` | a request's body, bounded in length, time and sum |
//! | `json` | how messages are stored, and shown as one array |
//! | `answer` | status and headers of what was done |
//! | `refusal`, `errors` | what was not done, and why |
//! | `pour` | a stream's bytes on their way out |
//! | `browser` | headers on every answer |

mod answer;
mod body;
mod browser;
mod errors;
mod json;
mod pour;
mod refusal;
mod request;
mod routes;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body::Body;
use net::rt;

pub(crate) use pour::AnswerBody;

use crate::{
    Core, admin,
    config::CacheScope,
    read::{Query, ReadError},
    stream::{Append, Command, Op, Outcome, StreamName, StreamRow, Whence, is_json, same_content_type},
};
use body::Budget;
use errors::Problem;
use routes::{Route, route};

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
    /// Where others reach this node, for a `Location` when the request names no host.
    advertised: String,
}

/// A request about a stream, besides its method and body.
struct Asked<'a> {
    stream: StreamName,
    uri: &'a Uri,
    headers: &'a HeaderMap,
}

impl Http {
    /// Serves `node` as its configuration says.
    pub(crate) fn new(node: Arc<Core>) -> Self {
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
            caching: HeaderValue::from_static(caching),
            advertised: config.advertised().to_owned(),
            node,
        }
    }

    /// Answers one request. Whatever goes wrong is an answer, too.
    pub(crate) async fn answer<B>(&self, request: Request<B>) -> Response<AnswerBody>
    where
        B: Body<Data = Bytes>,
    {
        let is_head = request.method() == Method::HEAD;
        let mut response = self.respond(request).await.unwrap_or_else(answer::problem);
        browser::dress(response.headers_mut());
        if is_head {
            *response.body_mut() = AnswerBody::from(Bytes::new());
        }
        response
    }

    async fn respond<B>(&self, request: Request<B>) -> Result<Response<AnswerBody>, Problem>
    where
        B: Body<Data = Bytes>,
    {
        let (parts, body) = request.into_parts();
        if parts.method == Method::OPTIONS {
            let mut response = answer::empty(StatusCode::NO_CONTENT);
            browser::preflight(response.headers_mut());
            return Ok(response);
        }
        let route = route(parts.uri.path())?;
        let Route::Stream(path) = route else {
            if parts.method != Method::GET && parts.method != Method::HEAD {
                return Err(not_allowed("GET, HEAD, OPTIONS"));
            }
            return Ok(self.report(&route));
        };
        let asked = Asked {
            stream: request::stream(&path)?,
            uri: &parts.uri,
            headers: &parts.headers,
        };
        match parts.method {
            Method::GET => self.get(asked).await,
            Method::HEAD => self.head(asked).await,
            Method::POST => self.post(asked, body).await,
            Method::PUT => self.put(asked, body).await,
            Method::DELETE => self.delete(asked).await,
            _ => Err(not_allowed("GET, HEAD, PUT, POST, DELETE, OPTIONS")),
        }
    }

    async fn put<B: Body<Data = Bytes>>(&self, asked: Asked<'_>, body: B) -> Result<Response<AnswerBody>, Problem> {
        let create = request::create(asked.headers)?;
        let (mut body, _held) = body::collect(body, self.bounds(asked.headers), &self.budget).await?;
        if is_json(&create.content_type) && !body.is_empty() {
            body = json::messages(&body).map_err(|because| request::invalid_json(&because))?;
        }
        let location = self.location(&asked);
        let content_type = create.content_type.clone();
        let outcome = self.write(asked, Op::Create(create), body).await?;
        answer::created(outcome, location, &content_type)
    }

    async fn post<B: Body<Data = Bytes>>(&self, asked: Asked<'_>, body: B) -> Result<Response<AnswerBody>, Problem> {
        let append = request::append(asked.headers)?;
        let (mut body, _held) = body::collect(body, self.bounds(asked.headers), &self.budget).await?;
        request::lawful_append(&append, body.len())?;
        if !body.is_empty() && append.content_type.as_deref().is_some_and(is_json) {
            body = match json::messages(&body) {
                Ok(messages) if messages.is_empty() => {
                    return Err(self.unless_refused(&asked, &append, request::no_messages()).await);
                }
                Ok(messages) => messages,
                Err(because) => {
                    return Err(self
                        .unless_refused(&asked, &append, request::invalid_json(&because))
                        .await);
                }
            };
        }
        let stored = !body.is_empty();
        let outcome = self.write(asked, Op::Append(append), body).await?;
        answer::appended(outcome, stored)
    }

    async fn delete(&self, asked: Asked<'_>) -> Result<Response<AnswerBody>, Problem> {
        let delete = request::delete(asked.headers)?;
        let outcome = self.write(asked, Op::Delete(delete), Bytes::new()).await?;
        answer::deleted(outcome)
    }

    async fn get(&self, asked: Asked<'_>) -> Result<Response<AnswerBody>, Problem> {
        let request::Read {
            whence,
            local,
            if_none_match,
        } = request::read(asked.uri, asked.headers)?;
        let query = Query {
            stream: asked.stream,
            whence,
            local,
            deadline: self.deadline(),
        };
        let mut reading = self.node.read(query).await.map_err(refusal::read_failed)?;
        if is_json(reading.content_type()) {
            // Messages end with a byte that is in none of them, so both ends of the answer can be checked and set.
            let aligned = reading.align(json::END).await;
            if !aligned.map_err(|broken| refusal::read_failed(ReadError::Broken(broken)))? {
                return Err(refusal::not_a_boundary());
            }
        }
        let plan = reading.plan();
        let known = whence != Whence::Now && if_none_match.is_some_and(|condition| condition.has(&plan.etag()));
        if known {
            return Ok(answer::not_modified(plan, &self.caching));
        }
        Ok(answer::read(reading, whence, &self.caching))
    }

    async fn head(&self, asked: Asked<'_>) -> Result<Response<AnswerBody>, Problem> {
        let request::Head { local, if_none_match } = request::head(asked.uri, asked.headers)?;
        let row = self
            .node
            .look(&asked.stream, local, self.deadline())
            .await
            .map_err(refusal::read_failed)?;
        let standing = row.standing();
        let unchanged = if_none_match.is_some_and(|condition| condition.has(&standing.etag()));
        Ok(answer::head(&standing, &row.content_type, unchanged))
    }

    async fn write(&self, asked: Asked<'_>, op: Op, body: Bytes) -> Result<Outcome, Problem> {
        let command = Command {
            now_ms: 0,
            stream: asked.stream,
            op,
            body,
        };
        let target = asked.uri.path_and_query().map_or("/", |target| target.as_str());
        self.node
            .write(command, self.deadline())
            .await
            .map_err(|error| refusal::write_failed(error, target))
    }

    /// A body that is no JSON is refused only after what the stream itself objects to: that it is not there, closed, or
    /// of another type.
    async fn unless_refused(&self, asked: &Asked<'_>, append: &Append, problem: Problem) -> Problem {
        let same = |row: &StreamRow| {
            append
                .content_type
                .as_ref()
                .is_some_and(|sent| same_content_type(sent, &row.content_type))
        };
        match self.node.look(&asked.stream, false, self.deadline()).await {
            Ok(row) if row.closed.is_some() => refusal::closed(&row.standing()),
            Ok(row) if !same(&row) => refusal::content_type_mismatch(&row.content_type),
            Err(ReadError::NotFound) => refusal::not_found(),
            _ => problem,
        }
    }

    fn report(&self, route: &Route<'_>) -> Response<AnswerBody> {
        let report = match route {
            Route::ReadyLocal => admin::ready_local(&self.node),
            Route::ReadyCluster => admin::ready_cluster(&self.node),
            Route::Status => admin::status(&self.node),
            Route::Health | Route::Stream(_) => admin::health(),
        };
        answer::report(report.ok, &report.body)
    }

    fn deadline(&self) -> rt::Instant {
        rt::Instant::now() + self.request_deadline
    }

    fn bounds(&self, headers: &HeaderMap) -> body::Bounds {
        body::Bounds {
            max_bytes: self.max_body,
            patience: self.patience,
            awaits_continue: request::awaits_continue(headers),
        }
    }

    /// The absolute URL of what was asked for, as the client spelled it.
    fn location(&self, asked: &Asked<'_>) -> HeaderValue {
        let authority = asked.uri.authority().map(http::uri::Authority::as_str);
        let host = authority.or_else(|| asked.headers.get(header::HOST).and_then(|host| host.to_str().ok()));
        let host = host.filter(|host| !host.is_empty()).unwrap_or(&self.advertised);
        HeaderValue::try_from(format!("http://{host}{}", asked.uri.path())).unwrap_or(HeaderValue::from_static("/"))
    }
}

fn not_allowed(allowed: &'static str) -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        format!("this path knows {allowed}"),
    )
    .with_header(header::ALLOW, HeaderValue::from_static(allowed))
}
