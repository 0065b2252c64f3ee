//! Closed-loop appends: so many connections, each with one request in the air.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use net::serve::{Client, ClientOptions};
use serde_json::{Value, json};

/// A load. Streams are created first; the creation is not measured.
#[derive(Clone, Copy)]
pub(crate) struct Load {
    /// How many streams take the appends in turn.
    pub(crate) streams: usize,
    /// How many connections append.
    pub(crate) connections: usize,
    /// Bytes of a body.
    pub(crate) body: usize,
    /// How long.
    pub(crate) span: Duration,
}

/// What came of it.
pub(crate) struct Run {
    /// Appends answered 2xx.
    pub(crate) acknowledged: u64,
    /// Everything else.
    pub(crate) failed: u64,
    span: Duration,
    /// Sorted latencies in µs.
    latencies_us: Vec<u64>,
}

/// The name of the stream at a place.
pub(crate) fn stream_name(at: usize) -> String {
    format!("bench-{at}")
}

impl Load {
    /// Appends for the span of the load.
    pub(crate) async fn append(&self, authorities: &[String]) -> Run {
        self.run(authorities, u64::MAX).await
    }

    /// Appends until so many are acknowledged, for the span at most.
    pub(crate) async fn append_count(&self, authorities: &[String], count: usize) -> Run {
        self.run(authorities, count as u64).await
    }

    /// Creates so many streams with a body each, over the load's connections.
    pub(crate) async fn create(&self, authority: &str, streams: usize) {
        let next = Arc::new(AtomicUsize::new(0));
        let body = Bytes::from(vec![b'x'; self.body]);
        let mut tasks = Vec::new();
        for _ in 0..self.connections {
            let (authority, body, next) = (authority.to_owned(), body.clone(), next.clone());
            tasks.push(net::rt::spawn("creator", async move {
                let client = Client::new(ClientOptions {
                    idle_max: 1,
                    ..ClientOptions::default()
                });
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    if at >= streams {
                        return;
                    }
                    let put = Request::put(format!("http://{authority}/v1/stream/idle-{at}"))
                        .header("content-type", "application/octet-stream")
                        .body(Full::new(body.clone()));
                    let answer = client.call(put.expect("a request"), Duration::from_secs(10)).await;
                    assert_eq!(answer.expect("an answer").status(), 201);
                }
            }));
        }
        for task in tasks {
            task.await.expect("a creator");
        }
    }

    async fn run(&self, authorities: &[String], count: u64) -> Run {
        let client = Client::new(ClientOptions {
            idle_max: self.connections,
            ..ClientOptions::default()
        });
        for at in 0..self.streams {
            let uri = format!(
                "http://{}/v1/stream/{}",
                authorities[at % authorities.len()],
                stream_name(at)
            );
            let put = Request::put(uri)
                .header("content-type", "application/octet-stream")
                .body(Full::new(Bytes::new()));
            let answer = client
                .call(put.expect("a request"), Duration::from_secs(10))
                .await
                .expect("an answer");
            assert!(answer.status().is_success(), "PUT: {}", answer.status());
        }
        let body = Bytes::from(vec![b'x'; self.body]);
        let (began, next, budget) = (
            Instant::now(),
            Arc::new(AtomicUsize::new(0)),
            Arc::new(AtomicU64::new(count)),
        );
        let mut tasks = Vec::new();
        for connection in 0..self.connections {
            // A client of its own for each: one connection, as a real client has.
            let client = Client::new(ClientOptions {
                idle_max: 1,
                ..ClientOptions::default()
            });
            let authority = authorities[connection % authorities.len()].clone();
            let (body, next, budget, load) = (body.clone(), next.clone(), budget.clone(), *self);
            tasks.push(net::rt::spawn("appender", async move {
                let (mut latencies, mut failed) = (Vec::new(), 0_u64);
                while began.elapsed() < load.span
                    && budget
                        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1))
                        .is_ok()
                {
                    let stream = stream_name(next.fetch_add(1, Ordering::Relaxed) % load.streams);
                    let post = Request::post(format!("http://{authority}/v1/stream/{stream}"))
                        .header("content-type", "application/octet-stream")
                        .body(Full::new(body.clone()));
                    let sent = Instant::now();
                    match client.call(post.expect("a request"), Duration::from_secs(10)).await {
                        Ok(answer) if answer.status().is_success() => latencies.push(sent.elapsed().as_micros() as u64),
                        _ => failed += 1,
                    }
                }
                (latencies, failed)
            }));
        }
        let (mut latencies_us, mut failed) = (Vec::new(), 0);
        for task in tasks {
            let (of_one, failed_of_one) = task.await.expect("an appender");
            latencies_us.extend(of_one);
            failed += failed_of_one;
        }
        latencies_us.sort_unstable();
        Run {
            acknowledged: latencies_us.len() as u64,
            failed,
            span: began.elapsed(),
            latencies_us,
        }
    }
}

impl Run {
    /// Acknowledged appends per second.
    pub(crate) fn per_second(&self) -> f64 {
        self.acknowledged as f64 / self.span.as_secs_f64()
    }

    fn quantile_us(&self, of: f64) -> u64 {
        let at = ((self.latencies_us.len() as f64 - 1.0) * of).max(0.0) as usize;
        self.latencies_us.get(at).copied().unwrap_or(0)
    }

    /// For a person.
    pub(crate) fn sentence(&self) -> String {
        let (p50, p99) = (self.quantile_us(0.5) as f64 / 1e3, self.quantile_us(0.99) as f64 / 1e3);
        let failed = if self.failed == 0 {
            String::new()
        } else {
            format!(" · {} FAILED", self.failed)
        };
        format!(
            "{:.0} appends/s · p50 {p50:.2} ms · p99 {p99:.2} ms{failed}",
            self.per_second()
        )
    }

    /// For a machine.
    pub(crate) fn figures(&self, more: Option<Value>) -> Value {
        json!({
            "acknowledged": self.acknowledged, "failed": self.failed, "per_second": self.per_second(),
            "p50_us": self.quantile_us(0.5), "p99_us": self.quantile_us(0.99), "more": more,
        })
    }
}
