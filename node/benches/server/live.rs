//! Readers at the tail: so many subscribers of one stream by server-sent events, and messages at a steady pace.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use net::serve::{Client, ClientOptions};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::processes::Server;

/// So many readers, and what they are sent.
pub(crate) struct FanOut {
    pub(crate) subscribers: usize,
    /// Bytes of a message.
    pub(crate) body: usize,
    pub(crate) per_second: u32,
    pub(crate) span: Duration,
}

/// What came of it.
pub(crate) struct Delivered {
    /// Messages that reached a subscriber, each counted for each.
    pub(crate) events: u64,
    /// How many should have.
    pub(crate) expected: u64,
    pub(crate) cpu_us_per_event: f64,
    pub(crate) kib_per_subscriber: f64,
    /// From the send of the append to the event in the reader's hands; sorted.
    latencies_us: Vec<u32>,
}

impl FanOut {
    pub(crate) async fn run(&self, server: &Server) -> Delivered {
        let url = format!("http://{}/v1/stream/fan-out", server.authority);
        let client = Client::new(ClientOptions {
            idle_max: 1,
            ..ClientOptions::default()
        });
        let send = |request: http::request::Builder, body: String| {
            let request = request.header("content-type", "text/plain");
            client.call(
                request.body(Full::new(Bytes::from(body))).expect("a request"),
                Duration::from_secs(10),
            )
        };
        let put = send(Request::put(&url), String::new()).await.expect("an answer");
        assert!(put.status().is_success(), "PUT: {}", put.status());
        let (before_kib, _) = server.memory_kib();
        let (clock, ready) = (Instant::now(), Arc::new(AtomicU64::new(0)));
        let messages = (self.span.as_secs_f64() * f64::from(self.per_second)) as u64;
        let mut readers = Vec::new();
        for _ in 0..self.subscribers {
            let (authority, ready) = (server.authority.clone(), ready.clone());
            readers.push(net::rt::spawn(
                "subscriber",
                subscriber(authority, ready, clock, messages),
            ));
        }
        while ready.load(Ordering::Relaxed) < self.subscribers as u64 {
            net::rt::sleep(Duration::from_millis(20)).await;
        }
        let kib_per_subscriber = server.memory_kib().0.saturating_sub(before_kib) as f64 / self.subscribers as f64;
        let (cpu, began) = (server.cpu_us(), Instant::now());
        for number in 0..messages {
            let due = Duration::from_secs(1) * number as u32 / self.per_second;
            net::rt::sleep(due.saturating_sub(began.elapsed())).await;
            let message = format!("@{:<width$}\n", clock.elapsed().as_micros(), width = self.body - 2);
            let answer = send(Request::post(&url), message).await.expect("an answer");
            assert!(answer.status().is_success(), "POST: {}", answer.status());
        }
        let mut latencies_us = Vec::new();
        for reader in readers {
            let patience = Duration::from_secs(10);
            latencies_us.extend(
                net::rt::timeout(patience, reader)
                    .await
                    .expect("all events")
                    .expect("a reader"),
            );
        }
        let cpu_us = server.cpu_us() - cpu;
        latencies_us.sort_unstable();
        let events = latencies_us.len() as u64;
        Delivered {
            events,
            expected: messages * self.subscribers as u64,
            cpu_us_per_event: cpu_us as f64 / events.max(1) as f64,
            kib_per_subscriber,
            latencies_us,
        }
    }
}

impl Delivered {
    pub(crate) fn quantile_us(&self, of: f64) -> u32 {
        let at = ((self.latencies_us.len() as f64 - 1.0) * of).max(0.0) as usize;
        self.latencies_us.get(at).copied().unwrap_or(0)
    }
}

/// Reads events until all messages have come; how long each took. What costs time here would be taken for the server's.
async fn subscriber(authority: String, ready: Arc<AtomicU64>, clock: Instant, messages: u64) -> Vec<u32> {
    let mut stream = net::rt::TcpStream::connect(&authority).await.expect("a connection");
    let request = format!("GET /v1/stream/fan-out?offset=now&live=sse HTTP/1.1\r\nHost: {authority}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("a request");
    let (mut buffer, mut kept) = (vec![0_u8; 8 << 10], Vec::new());
    let mut latencies = Vec::with_capacity(messages as usize);
    let mut told = false;
    while (latencies.len() as u64) < messages {
        let read = stream.read(&mut buffer).await.expect("bytes");
        if read == 0 {
            break;
        }
        if !told {
            // The head is there, and the first control event with it or right behind it.
            told = true;
            ready.fetch_add(1, Ordering::Relaxed);
        }
        kept.extend_from_slice(&buffer[..read]);
        let mut from = 0;
        while let Some(at) = kept[from..].iter().position(|byte| *byte == b'@') {
            let number = &kept[from + at + 1..];
            let Some(end) = number.iter().position(|byte| !byte.is_ascii_digit()) else {
                break;
            };
            let sent: u64 = std::str::from_utf8(&number[..end])
                .expect("digits")
                .parse()
                .expect("a number");
            latencies.push((clock.elapsed().as_micros() as u64 - sent) as u32);
            from += at + 1 + end;
        }
        // All but what may be the beginning of a number.
        let rest = kept[from..]
            .iter()
            .position(|byte| *byte == b'@')
            .map_or(kept.len(), |at| from + at);
        kept.drain(..rest);
    }
    latencies
}
