//! An answer that is read as it comes: what a server goes on sending has no end to wait for.

use std::error::Error;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;

use super::{CallError, Client, Connection, Trouble, addressed};
use crate::rt::{self, Instant};

/// The body of an answer, piece by piece. Dropped, it closes its connection.
#[derive(Debug)]
pub struct Pieces<B = Full<Bytes>> {
    body: Incoming,
    _connection: Connection<B>,
}

impl<B> Client<B>
where
    B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    /// Sends a request and waits for the head of the answer, in `patience` at most; the body follows in pieces.
    ///
    /// # Errors
    /// If there is no answer.
    pub async fn open(&self, request: Request<B>, patience: Duration) -> Result<Response<Pieces<B>>, CallError> {
        let deadline = Instant::now() + patience;
        let (server, request) = addressed(request, self.shared.tls.is_some())?;
        let (connection, answer) = self.send(&server, request, deadline).await?;
        Ok(answer.map(|body| Pieces {
            body,
            _connection: connection,
        }))
    }
}

impl<B> Pieces<B> {
    /// The next piece, in `patience` at most; none at the end of the body.
    ///
    /// # Errors
    /// If it does not come. [`Trouble::Deadline`] is nothing lost: the piece may still come.
    pub async fn next(&mut self, patience: Duration) -> Result<Option<Bytes>, Trouble> {
        let deadline = Instant::now() + patience;
        loop {
            let frame = rt::timeout_at(deadline, self.body.frame()).await;
            match frame.map_err(|_| Trouble::Deadline)? {
                None => return Ok(None),
                Some(Err(error)) => return Err(Trouble::Connection(error)),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }
}
