//! A server that does nothing: takes the body, answers 204. It is the ceiling of load and machine.

use std::convert::Infallible;
use std::io;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::service::service_fn;
use net::rt;
use net::serve::{Limits, Protocol, Shutdown, serve_connection};

/// Serves for as long as the benchmark runs; answers where.
pub(crate) async fn serve() -> io::Result<String> {
    let listener = rt::TcpListener::bind("127.0.0.1:0").await?;
    let authority = listener.local_addr()?.to_string();
    let serving = rt::spawn("null server", async move {
        while let Ok((stream, _)) = listener.accept().await {
            let _ = stream.set_nodelay(true);
            let answering = rt::spawn("null connection", async move {
                let answer = service_fn(|request: Request<Incoming>| async move {
                    let _ = request.into_body().collect().await;
                    let answer = Response::builder().status(204).body(Empty::<Bytes>::new());
                    Ok::<_, Infallible>(answer.expect("a valid answer"))
                });
                let _ = serve_connection(
                    stream,
                    Protocol::Http1,
                    answer,
                    &Limits::default(),
                    &Shutdown::default(),
                )
                .await;
            });
            // They go on by themselves.
            drop(answering);
        }
    });
    drop(serving);
    Ok(authority)
}
