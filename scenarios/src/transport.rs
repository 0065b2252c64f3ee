//! How the judge's clients reach the nodes of a simulated cluster: true HTTP over simulated sockets.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::Full;
use jepsen::transport::{Fut, Transport, TransportError};
use net::serve::Client;
use sim::cluster::Cluster;
use sim::engine::Control;

/// One client's way to all nodes, with connections of its own.
pub struct SimTransport {
    control: Control,
    cluster: Cluster,
    http: Mutex<Client>,
}

impl SimTransport {
    /// Without any connection yet.
    #[must_use]
    pub fn new(control: &Control, cluster: &Cluster) -> Self {
        Self {
            control: control.clone(),
            cluster: cluster.clone(),
            http: Mutex::default(),
        }
    }

    /// Forgets kept connections. One that has been idle since before its node died breaks at its next use, however long
    /// ago that was; in the calm that would be a call without an answer, and nobody's fault.
    pub fn reconnect(&self) {
        *self.http() = Client::default();
    }

    fn http(&self) -> MutexGuard<'_, Client> {
        self.http.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Transport for SimTransport {
    fn call(
        &self,
        node: usize,
        mut request: Request<Bytes>,
        deadline: Duration,
    ) -> Fut<'_, Result<Response<Bytes>, TransportError>> {
        Box::pin(async move {
            let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
            let uri: Result<Uri, _> = format!("http://{}{path}", self.cluster.authority(node)).parse();
            *request.uri_mut() = uri.map_err(|error| TransportError {
                sent: false,
                why: error.to_string(),
            })?;
            let http = self.http().clone();
            let answer = http.call(request.map(Full::new), deadline).await;
            answer.map_err(|error| TransportError {
                sent: error.sent,
                why: error.to_string(),
            })
        })
    }

    /// The true time: a client's clock may be as wrong as it likes, the judge's may not.
    fn now_ns(&self) -> u64 {
        self.control.now_ns()
    }

    fn sleep(&self, span: Duration) -> Fut<'_, ()> {
        Box::pin(self.control.sleep(span))
    }
}
