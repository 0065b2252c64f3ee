//! How the SDK reaches the server: HTTP/1.1 over `net::rt`, with connections that are kept and used again.
//!
//! What went wrong is told in the same words as by the SDK's own connector, for by them it decides whether to ask again.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::retry::ErrorKind;
use http::header::HOST;
use http::{Request, Response, Uri};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use net::conn::HyperIo;
use net::rt::{self, TcpStream};

use super::answer::value;

/// The connections of one client. Each serves one request after the other.
#[derive(Clone, Debug, Default)]
pub(super) struct Connections(Arc<Mutex<Vec<SendRequest<SdkBody>>>>);

impl HttpClient for Connections {
    fn http_connector(&self, settings: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(Connector {
            connections: self.clone(),
            connect_timeout: settings.connect_timeout(),
            read_timeout: settings.read_timeout(),
        })
    }
}

impl Connections {
    /// One that is free, the last one used.
    fn take(&self) -> Option<SendRequest<SdkBody>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|connection| !connection.is_closed());
        let free = all.iter().rposition(SendRequest::is_ready)?;
        Some(all.remove(free))
    }

    /// It is free as soon as its answer has been read.
    fn keep(&self, connection: SendRequest<SdkBody>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
    }
}

/// The connections, with the patience of a call.
#[derive(Clone, Debug)]
struct Connector {
    connections: Connections,
    connect_timeout: Option<Duration>,
    read_timeout: Option<Duration>,
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let connector = self.clone();
        HttpConnectorFuture::new(async move { connector.ask(request).await })
    }
}

impl Connector {
    async fn ask(&self, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
        let request = request
            .try_into_http1x()
            .map_err(|error| ConnectorError::user(error.into()))?;
        let answer = within(self.read_timeout, "no answer in time", self.send(request)).await?;
        let answer = answer.map(SdkBody::from_body_1_x);
        HttpResponse::try_from(answer).map_err(|error| ConnectorError::other(error.into(), None))
    }

    async fn send(&self, mut request: Request<SdkBody>) -> Result<Response<Incoming>, ConnectorError> {
        let authority = request.uri().authority().map(ToString::to_string).unwrap_or_default();
        let path = request.uri().path_and_query().cloned();
        let path = path.ok_or_else(|| ConnectorError::user("a request without a path".into()))?;
        *request.uri_mut() = Uri::from(path);
        request.headers_mut().entry(HOST).or_insert(value(&authority));
        loop {
            let mut connection = match self.connections.take() {
                Some(connection) => connection,
                None => self.connect(&authority).await?,
            };
            match connection.try_send_request(request).await {
                Ok(answer) => {
                    self.connections.keep(connection);
                    return Ok(answer);
                }
                Err(mut failed) => match failed.take_message() {
                    // It was closed meanwhile, and nothing was sent.
                    Some(unsent) => request = unsent,
                    None => return Err(told(failed.into_error())),
                },
            }
        }
    }

    async fn connect(&self, authority: &str) -> Result<SendRequest<SdkBody>, ConnectorError> {
        let connecting = async {
            let stream = TcpStream::connect(authority).await;
            let stream = stream.map_err(|error| ConnectorError::io(error.into()))?;
            let (sender, connection) = http1::handshake(HyperIo::new(stream)).await.map_err(told)?;
            let driver = async move {
                // Whatever ends it is told to the call that waits on it.
                drop(connection.await);
            };
            drop(rt::spawn("s3 client connection", driver));
            Ok(sender)
        };
        within(self.connect_timeout, "no connection in time", connecting).await
    }
}

/// So long and no longer.
async fn within<T>(
    patience: Option<Duration>,
    otherwise: &'static str,
    call: impl Future<Output = Result<T, ConnectorError>>,
) -> Result<T, ConnectorError> {
    let Some(patience) = patience else {
        return call.await;
    };
    match rt::timeout(patience, call).await {
        Ok(done) => done,
        Err(rt::Elapsed) => Err(ConnectorError::timeout(
            io::Error::new(io::ErrorKind::TimedOut, otherwise).into(),
        )),
    }
}

/// What hyper says, as the SDK's own connector passes it on.
fn told(error: hyper::Error) -> ConnectorError {
    let io = std::error::Error::source(&error).is_some_and(|source| source.is::<io::Error>());
    if error.is_timeout() {
        ConnectorError::timeout(error.into())
    } else if error.is_user() {
        ConnectorError::user(error.into())
    } else if error.is_closed() || error.is_canceled() || io {
        ConnectorError::io(error.into())
    } else if error.is_incomplete_message() {
        ConnectorError::other(error.into(), Some(ErrorKind::TransientError))
    } else {
        ConnectorError::other(error.into(), None)
    }
}
