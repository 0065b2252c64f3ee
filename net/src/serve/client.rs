//! An HTTP/1.1 client: few features, and every call ends. It knows no TLS: who wants `https://` brings it ([`Secure`]).
//!
//! A call that fails says whether anything of it can have reached the server: `sent` is false only when certainly
//! nothing was written, so that a caller may tell "it did not happen" from "nobody knows". Redirects are not followed.

mod pieces;

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::future::BoxFuture;
use http::header::{HOST, HeaderValue};
use http::uri::PathAndQuery;
use http::{Request, Response, Uri};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use tokio::io::{AsyncRead, AsyncWrite};

pub use pieces::Pieces;

use crate::conn::HyperIo;
use crate::rt::{self, Instant, JoinHandle, TcpStream};

/// What a client may hold and take.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// Idle connections kept for one authority.
    pub idle_max: usize,
    /// Authorities that idle connections are kept for; the connections of others are closed after use.
    pub authorities_max: usize,
    /// How long an idle connection is kept: shorter than a server's patience, or calls meet its closing.
    pub idle_patience: Duration,
    /// How long connecting may take, within the deadline of the call.
    pub connect_patience: Duration,
    /// Bytes of an answer's body; a longer one is an error.
    pub answer_bytes_max: usize,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            idle_max: 8,
            authorities_max: 64,
            idle_patience: Duration::from_secs(15),
            connect_patience: Duration::from_secs(5),
            answer_bytes_max: 64 * 1024 * 1024,
        }
    }
}

/// What an HTTP conversation goes over.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// TLS, for calls of `https://`.
pub trait Secure: Send + Sync {
    /// Shakes hands with `host` over a new connection. An error of the kind `InvalidData` says that the other side is not
    /// to be trusted, or does not speak TLS: to try again does not help.
    fn secure<'a>(&'a self, host: &'a str, stream: TcpStream) -> BoxFuture<'a, io::Result<Box<dyn Duplex>>>;
}

/// A call without an answer.
#[derive(Debug, thiserror::Error)]
#[error("{trouble}{}", if *sent { ", after the request was sent, or part of it" } else { ", before anything was sent" })]
pub struct CallError {
    /// False only if certainly nothing of the request reached the server.
    pub sent: bool,
    /// What happened.
    #[source]
    pub trouble: Trouble,
}

/// What happened to a call.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// The request's target is not `http://authority/path`, or `https://…` where there is TLS.
    #[error("`{0}` is not a target that can be called")]
    Target(Uri),
    /// No connection could be made.
    #[error("no connection: {0}")]
    Connect(#[source] io::Error),
    /// The deadline passed.
    #[error("no answer in time")]
    Deadline,
    /// The connection broke, or what came over it was not HTTP.
    #[error("the connection broke: {0}")]
    Connection(#[source] hyper::Error),
    /// The answer's body is longer than the client takes.
    #[error("the answer is longer than {0} bytes")]
    TooLong(usize),
}

/// A client with a pool of idle connections, and the type of what its requests carry. Clones share it.
#[derive(Debug)]
pub struct Client<B = Full<Bytes>> {
    shared: Arc<Shared<B>>,
}

struct Shared<B> {
    options: ClientOptions,
    tls: Option<Arc<dyn Secure>>,
    /// The last one put back is the first one taken. Bounded by `idle_max` and `authorities_max`.
    idle: Mutex<BTreeMap<Server, Vec<Idle<B>>>>,
}

impl<B> fmt::Debug for Shared<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (options, tls) = (&self.options, self.tls.is_some());
        write!(f, "Shared {{ options: {options:?}, tls: {tls} }}")
    }
}

/// Whom a request is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Server {
    https: bool,
    /// As in the URL: an address of IPv6 stands in brackets.
    host: String,
    port: u16,
}

#[derive(Debug)]
struct Idle<B> {
    connection: Connection<B>,
    since: Instant,
}

#[derive(Debug)]
struct Connection<B> {
    sender: http1::SendRequest<B>,
    driver: JoinHandle<()>,
}

impl<B> Drop for Connection<B> {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl<B> Clone for Client<B> {
    fn clone(&self) -> Self {
        Self {
            shared: self.shared.clone(),
        }
    }
}

impl<B> Default for Client<B>
where
    B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    fn default() -> Self {
        Self::new(ClientOptions::default())
    }
}

impl<B> Client<B>
where
    B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    /// A client without connections yet, and without TLS.
    pub fn new(options: ClientOptions) -> Self {
        Self::with_tls(options, None)
    }

    /// A client that also calls `https://`.
    pub fn with_tls(options: ClientOptions, tls: Option<Arc<dyn Secure>>) -> Self {
        Self {
            shared: Arc::new(Shared {
                options,
                tls,
                idle: Mutex::default(),
            }),
        }
    }

    /// Sends a request and reads the whole answer, in `patience` at most.
    ///
    /// The target is `http://host:port/path`, or `https://…` where there is TLS. A kept connection that turns out to be closed
    /// is replaced, as long as nothing has been sent over it.
    ///
    /// # Errors
    /// If there is no whole answer.
    pub async fn call(&self, request: Request<B>, patience: Duration) -> Result<Response<Bytes>, CallError> {
        let deadline = Instant::now() + patience;
        let (server, request) = addressed(request, self.shared.tls.is_some())?;
        let (mut connection, answer) = self.send(&server, request, deadline).await?;
        let (head, body) = answer.into_parts();
        let whole = rt::timeout_at(deadline, gathered(body, self.shared.options.answer_bytes_max)).await;
        let body = whole
            .unwrap_or(Err(Trouble::Deadline))
            .map_err(|trouble| CallError { sent: true, trouble })?;
        // Ready again means that both sides want to go on; it is known at once, for the body has been read.
        if let Ok(Ok(())) = rt::timeout_at(deadline, connection.sender.ready()).await {
            self.keep(server, connection);
        }
        Ok(Response::from_parts(head, body))
    }

    /// Gets a request onto a connection and waits for the head of the answer.
    async fn send(
        &self,
        server: &Server,
        mut request: Request<B>,
        deadline: Instant,
    ) -> Result<(Connection<B>, Response<Incoming>), CallError> {
        loop {
            let kept = self.take(server);
            let was_kept = kept.is_some();
            let mut connection = match kept {
                Some(connection) => connection,
                None => self.connect(server, deadline).await?,
            };
            let answer = rt::timeout_at(deadline, connection.sender.try_send_request(request)).await;
            let mut error = match answer {
                Ok(Ok(answer)) => return Ok((connection, answer)),
                Err(_) => {
                    return Err(CallError {
                        sent: true,
                        trouble: Trouble::Deadline,
                    });
                }
                Ok(Err(error)) => error,
            };
            match error.take_message() {
                Some(unsent) if was_kept => request = unsent,
                unsent => {
                    let trouble = Trouble::Connection(error.into_error());
                    return Err(CallError {
                        sent: unsent.is_none(),
                        trouble,
                    });
                }
            }
        }
    }

    async fn connect(&self, server: &Server, deadline: Instant) -> Result<Connection<B>, CallError> {
        let unsent = |trouble| CallError { sent: false, trouble };
        let patience = self.shared.options.connect_patience;
        let until = deadline.min(Instant::now() + patience);
        let stream = match rt::timeout_at(until, self.reach(server)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(unsent(Trouble::Connect(error))),
            Err(_) if until == deadline => return Err(unsent(Trouble::Deadline)),
            Err(elapsed) => return Err(unsent(Trouble::Connect(elapsed.into()))),
        };
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(64 * 1024)
            .handshake(HyperIo::new(stream))
            .await
            .map_err(|error| unsent(Trouble::Connection(error)))?;
        let driver = rt::spawn("http client connection", async move {
            // Whatever ends it is told to the call that waits on it.
            drop(connection.await);
        });
        Ok(Connection { sender, driver })
    }

    /// A new connection over which HTTP can be spoken.
    async fn reach(&self, server: &Server) -> io::Result<Box<dyn Duplex>> {
        let stream = TcpStream::connect(&format!("{}:{}", server.host, server.port)).await?;
        // Without it calls are slower, not wrong.
        drop(stream.set_nodelay(true));
        match &self.shared.tls {
            Some(tls) if server.https => tls.secure(&server.host, stream).await,
            _ => Ok(Box::new(stream)),
        }
    }

    /// An idle connection that is not known to be closed.
    fn take(&self, server: &Server) -> Option<Connection<B>> {
        let mut idle = self.shared.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = idle.get_mut(server)?;
        let oldest = Instant::now() - self.shared.options.idle_patience;
        kept.retain(|idle| idle.since >= oldest && idle.connection.sender.is_ready());
        let newest = kept.pop();
        if kept.is_empty() {
            idle.remove(server);
        }
        newest.map(|idle| idle.connection)
    }

    fn keep(&self, server: Server, connection: Connection<B>) {
        let options = &self.shared.options;
        let mut idle = self.shared.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() >= options.authorities_max && !idle.contains_key(&server) {
            return;
        }
        let kept = idle.entry(server).or_default();
        if kept.len() < options.idle_max {
            kept.push(Idle {
                connection,
                since: Instant::now(),
            });
        }
    }
}

/// Splits a request into whom it is for and what goes over the wire.
fn addressed<B>(mut request: Request<B>, tls: bool) -> Result<(Server, Request<B>), CallError> {
    let target = || request.uri().clone();
    let refused = |uri| CallError {
        sent: false,
        trouble: Trouble::Target(uri),
    };
    let https = match request.uri().scheme_str() {
        Some("http") => false,
        Some("https") if tls => true,
        _ => return Err(refused(target())),
    };
    let Some(authority) = request.uri().authority().cloned() else {
        return Err(refused(target()));
    };
    if authority.as_str().contains('@') {
        return Err(refused(target()));
    }
    let path = request
        .uri()
        .path_and_query()
        .cloned()
        .unwrap_or(PathAndQuery::from_static("/"));
    if !request.headers().contains_key(HOST) {
        let host = HeaderValue::from_str(authority.as_str()).map_err(|_| refused(target()))?;
        request.headers_mut().insert(HOST, host);
    }
    *request.uri_mut() = Uri::from(path);
    let server = Server {
        https,
        host: authority.host().to_owned(),
        port: authority.port_u16().unwrap_or(if https { 443 } else { 80 }),
    };
    Ok((server, request))
}

async fn gathered(mut body: Incoming, bytes_max: usize) -> Result<Bytes, Trouble> {
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    if body.size_hint().lower() > bytes_max as u64 {
        return Err(Trouble::TooLong(bytes_max));
    }
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(Trouble::Connection)?.into_data() else {
            continue;
        };
        if first.len() + rest.len() + data.len() > bytes_max {
            return Err(Trouble::TooLong(bytes_max));
        }
        // Most answers are one piece, which need not be copied.
        if first.is_empty() {
            first = data;
        } else {
            rest.extend_from_slice(&data);
        }
    }
    if rest.is_empty() {
        return Ok(first);
    }
    let mut whole = BytesMut::with_capacity(first.len() + rest.len());
    whole.extend_from_slice(&first);
    whole.extend_from_slice(&rest);
    Ok(whole.freeze())
}
