//! One HTTP connection, served to its end.
//!
//! What a client may cost is bounded here: the head it sends in bytes, fields and time, the buffers in both directions,
//! the streams of an HTTP/2 connection, and how long it may leave an answer unread.

use std::error::Error as StdError;
use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::Service;
use tokio::io::{AsyncRead, AsyncWrite};

use super::Shutdown;
use super::stalled::Streams;
use crate::conn::{HyperIo, HyperTimer, Manners};

/// Which HTTP a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1, with keep-alive and pipelining.
    Http1,
    /// HTTP/2 without TLS, by prior knowledge.
    Http2,
}

/// What one connection may cost.
#[derive(Clone, Debug)]
pub struct Limits {
    /// How long a request's head may take, counted from when the connection is idle: so it ends idle ones too.
    pub head_patience: Duration,
    /// Bytes of a request's head; more is answered 431.
    pub head_bytes_max: usize,
    /// Header fields of a request; more are answered 431.
    pub headers_max: usize,
    /// Bytes a connection buffers in each direction (HTTP/1.1), or a stream may send ahead (HTTP/2). At least 8 KiB.
    pub buffer_bytes: usize,
    /// Requests at once on an HTTP/2 connection.
    pub streams_max: u32,
    /// How long an answer may go unread before the connection is cut; on an HTTP/2 connection that is read, the stream.
    pub write_patience: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head_patience: Duration::from_secs(30),
            head_bytes_max: 32 * 1024,
            headers_max: 100,
            buffer_bytes: 64 * 1024,
            streams_max: 128,
            write_patience: Duration::from_secs(30),
        }
    }
}

/// Why a connection ended otherwise than in order.
#[derive(Debug, thiserror::Error)]
#[error("the connection broke: {0}")]
pub struct ServeError(#[from] hyper::Error);

impl ServeError {
    /// Whether this is a client's bad manners or absence, which is not worth a line in the log.
    pub fn is_everyday(&self) -> bool {
        self.0.is_closed() || self.0.is_incomplete_message() || self.0.is_parse() || self.0.is_timeout()
    }
}

/// Serves a connection until it ends, or until `shutdown` begins and the requests it is in the middle of are answered.
/// How long that may take is for the caller to say: dropping the future cuts the connection.
///
/// No `Date` is added to answers: the wall clock is in the world.
///
/// # Errors
/// If the connection did not end in order.
pub async fn serve_connection<IO, S, B>(
    io: IO,
    protocol: Protocol,
    service: S,
    limits: &Limits,
    shutdown: &Shutdown,
) -> Result<(), ServeError>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Service<Request<Incoming>, Response = Response<B>>,
    S::Future: Send + 'static,
    S::Error: Into<Box<dyn StdError + Send + Sync>>,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    let io = HyperIo::new(Manners::new(io, limits.write_patience));
    match protocol {
        Protocol::Http1 => {
            let connection = http1::Builder::new()
                .timer(HyperTimer::new())
                .auto_date_header(false)
                .keep_alive(true)
                .half_close(false)
                // With it hyper buffers an answer without bound, whether the client reads it or not.
                .pipeline_flush(false)
                .header_read_timeout(limits.head_patience)
                .max_headers(limits.headers_max)
                .max_header_size(limits.head_bytes_max)
                .max_buf_size(limits.buffer_bytes.max(8 * 1024))
                .serve_connection(io, service);
            drive(connection, shutdown, |connection| connection.graceful_shutdown()).await
        }
        Protocol::Http2 => {
            let buffer = u32::try_from(limits.buffer_bytes).unwrap_or(u32::MAX).max(16 * 1024);
            let streams = Streams::new(limits.write_patience);
            let connection = http2::Builder::new(streams.clone())
                .timer(HyperTimer::new())
                .auto_date_header(false)
                .max_concurrent_streams(limits.streams_max)
                .max_header_list_size(u32::try_from(limits.head_bytes_max).unwrap_or(u32::MAX))
                .initial_stream_window_size(buffer)
                .initial_connection_window_size(buffer.saturating_mul(4).min(1 << 30))
                .max_send_buf_size(limits.buffer_bytes)
                .keep_alive_interval(limits.head_patience)
                .keep_alive_timeout(limits.write_patience)
                .serve_connection(io, streams.watching(service));
            // In a box: those of HTTP/1 are many, and need not be as large.
            Box::pin(drive(connection, shutdown, |connection| connection.graceful_shutdown())).await
        }
    }
}

async fn drive<C>(
    connection: C,
    shutdown: &Shutdown,
    begin: impl FnOnce(std::pin::Pin<&mut C>),
) -> Result<(), ServeError>
where
    C: Future<Output = Result<(), hyper::Error>>,
{
    let mut connection = pin!(connection);
    tokio::select! {
        biased;
        ended = connection.as_mut() => return Ok(ended?),
        () = shutdown.begun() => begin(connection.as_mut()),
    }
    Ok(connection.await?)
}
