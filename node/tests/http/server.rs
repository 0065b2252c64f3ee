//! The node under test, and two ways to talk to it: proper calls, and raw bytes. A panic of any task fails the test.

use std::{future::Future, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::Full;
use net::{
    clock::SystemClock,
    dice::Dice,
    rt::{self, TcpStream},
    serve::{Client, Pieces},
};
use node::{Node, World, config::Config};
use storage::memory::{MemoryCold, MemoryDisk, MemoryIndex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[path = "panics.rs"]
mod panics;

/// Longer than anything here should take.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Server {
    pub(crate) node: Node,
    client: Client,
}

/// Runs a test against a node on its own.
pub(crate) fn with_server<T>(test: impl AsyncFnOnce(&Server) -> T) -> T {
    with_config(|_| {}, test)
}

/// The same, with another configuration.
pub(crate) fn with_config<T>(change: impl FnOnce(&mut Config), test: impl AsyncFnOnce(&Server) -> T) -> T {
    let mut config = Config::default();
    config.server.listen = "127.0.0.1:0".to_owned();
    change(&mut config);
    within(async {
        let server = Server::new(Node::start(config, world()).await.expect("it starts"));
        let result = test(&server).await;
        server.node.shutdown(Duration::ZERO).await;
        result
    })
}

/// Drives a future to its end, which must come, and no task may panic on the way: hyper and tokio would catch it, and all
/// that a client saw were a connection that ends.
pub(crate) fn within<T>(future: impl Future<Output = T>) -> T {
    panics::watch();
    let ended = rt::block_on(async { rt::timeout(Duration::from_secs(60), future).await });
    let result = ended.expect("a runtime").expect("no test takes a minute");
    if let Some(said) = panics::find(|said| !said.contains(panics::ON_PURPOSE)) {
        panic!("meanwhile a task panicked, of this test or of one beside it: {said}");
    }
    result
}

pub(crate) fn world() -> World {
    World {
        disk: Arc::new(MemoryDisk::default()),
        index: Arc::new(MemoryIndex::default()),
        cold: Some(Arc::new(MemoryCold::new())),
        clock: Arc::new(SystemClock),
        dice: Dice::from_seed(1),
    }
}

impl Server {
    pub(crate) fn new(node: Node) -> Self {
        Self {
            node,
            client: Client::default(),
        }
    }

    /// Calls `path` below `/v1/stream/`.
    pub(crate) async fn call(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Response<Bytes> {
        self.call_at(method, &format!("/v1/stream/{path}"), headers, body).await
    }

    pub(crate) async fn call_at(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Response<Bytes> {
        let uri = format!("http://{}{path}", self.node.address());
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request
            .body(Full::new(Bytes::copy_from_slice(body)))
            .expect("a request");
        self.client.call(request, PATIENCE).await.expect("an answer")
    }

    /// Begins a GET of `path` below `/v1/stream/` whose answer goes on.
    pub(crate) async fn open(&self, path: &str) -> Response<Pieces> {
        self.open_at(&format!("/v1/stream/{path}")).await
    }

    pub(crate) async fn open_at(&self, path: &str) -> Response<Pieces> {
        let uri = format!("http://{}{path}", self.node.address());
        let request = Request::get(uri).body(Full::default()).expect("a request");
        self.client.open(request, PATIENCE).await.expect("an answer")
    }

    /// Makes a stream of text.
    pub(crate) async fn create(&self, path: &str) {
        assert_eq!(self.call("PUT", path, &TEXT, b"").await.status(), 201);
    }

    pub(crate) async fn append(&self, path: &str, body: &[u8]) -> Response<Bytes> {
        let answer = self.call("POST", path, &TEXT, body).await;
        assert_eq!(answer.status(), 204, "{:?}", answer.body());
        answer
    }

    /// The whole stream.
    pub(crate) async fn read(&self, path: &str) -> Bytes {
        let answer = self.call("GET", path, &[], b"").await;
        assert_eq!(answer.status(), 200, "{:?}", answer.body());
        answer.into_body()
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(&self.node.address().to_string())
            .await
            .expect("a connection")
    }

    /// Sends bytes, and reads until the node hangs up or is silent for `patience`.
    pub(crate) async fn raw(&self, bytes: &[u8], patience: Duration) -> String {
        let mut stream = self.connect().await;
        // The node may hang up before it has read everything.
        let _ = stream.write_all(bytes).await;
        listen(&mut stream, patience).await
    }
}

/// Reads until the other side hangs up or is silent for `patience`.
pub(crate) async fn listen(stream: &mut TcpStream, patience: Duration) -> String {
    let mut heard = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(Ok(count @ 1..)) = rt::timeout(patience, stream.read(&mut buffer)).await {
        heard.extend_from_slice(&buffer[..count]);
    }
    String::from_utf8_lossy(&heard).into_owned()
}

pub(crate) const TEXT: [(&str, &str); 1] = [("content-type", "text/plain")];

pub(crate) fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).map_or("", |value| value.to_str().expect("readable"))
}

/// The stable code of an error body, which must be whole and JSON.
pub(crate) fn code(answer: &Response<Bytes>) -> String {
    assert_eq!(header(answer.headers(), "content-type"), "application/json");
    let body: serde_json::Value = serde_json::from_slice(answer.body()).expect("JSON");
    assert!(
        body["error"]["message"]
            .as_str()
            .is_some_and(|message| message.len() > 10),
        "{body}"
    );
    body["error"]["code"].as_str().expect("a code").to_owned()
}
