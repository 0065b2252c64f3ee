//! A server at the other end of a socket, asked in the sequence's words.

use std::{collections::BTreeMap, convert::Infallible, time::Duration};

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, HeaderValue, Request, Response, request::Builder};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::{body::Frame, client::conn::http1};
use net::{conn::HyperIo, rt, serve::Client};
use node::stream::is_json;

use crate::{
    answer::{Answer, CONTROL, Offsets},
    events,
    step::{Fork, Place, Step},
};

/// Longer than any answer should take, but for a long-poll of a server that was not told to be brief.
const PATIENCE: Duration = Duration::from_secs(40);

pub(crate) struct Remote {
    client: Client,
    origin: String,
    /// Begins the names of this sequence's streams.
    prefix: String,
    streams: BTreeMap<usize, Known>,
    /// The tag of the last answer to each path, method and query.
    tags: BTreeMap<String, String>,
}

/// What the server has said of a stream.
#[derive(Default)]
struct Known {
    offsets: Offsets,
    /// The tags that its writes and HEAD were answered.
    tags: Offsets,
    json: bool,
}

impl Remote {
    /// The server at `origin`, in a sequence of its own.
    pub(crate) fn new(client: Client, origin: &str, prefix: String) -> Self {
        Self {
            client,
            origin: origin.trim_end_matches('/').to_owned(),
            prefix,
            streams: BTreeMap::new(),
            tags: BTreeMap::new(),
        }
    }

    /// What the server says.
    pub(crate) async fn ask(&mut self, step: &Step) -> Result<Answer, String> {
        let asked = self.url(step);
        let request = self.headers(step, &asked);
        let origin = self.origin.clone();
        let silent = |error: String| format!("{origin} did not answer {step}: {error}");
        let body = Bytes::copy_from_slice(step.body.as_bytes());
        if let Some(chunks) = step.chunks {
            let response = in_chunks(&origin, request, body, chunks).await.map_err(silent)?;
            return Ok(self.understood(step, &asked, &response));
        }
        let request = request.body(Full::new(body)).map_err(|e| e.to_string())?;
        if step.live != Some("sse") {
            let response = self.client.call(request, PATIENCE).await;
            let response = response.map_err(|e| silent(e.to_string()))?;
            return Ok(self.understood(step, &asked, &response));
        }
        let response = self.client.open(request, PATIENCE).await;
        let response = response.map_err(|e| silent(e.to_string()))?;
        let (head, pieces) = response.into_parts();
        let mut answer = self.understood(step, &asked, &Response::from_parts(head, Bytes::new()));
        if answer.ok() {
            let heard = events::hear(pieces).await.map_err(silent)?;
            let known = self.streams.entry(step.stream).or_default();
            let base64 = answer.header("stream-sse-data-encoding") == Some("base64");
            answer.body = heard.body(base64, known.json).map_err(silent)?;
            for name in CONTROL {
                if let Some(value) = heard.control.get(name) {
                    let value = match name {
                        "streamNextOffset" => known.offsets.name(value),
                        "streamCursor" => "some".to_owned(),
                        _ => value.clone(),
                    };
                    answer.headers.insert(name, value);
                }
            }
        }
        Ok(answer)
    }

    fn url(&mut self, step: &Step) -> String {
        let path = format!("/v1/stream/{}-{}", self.prefix, step.stream);
        let mut query = Vec::new();
        match &step.place {
            None => {}
            Some(Place::Literal(text)) => query.push(format!("offset={}", text.replace(' ', "%20"))),
            Some(Place::Answered(ago)) => {
                let offsets = &self.streams.entry(step.stream).or_default().offsets;
                query.push(format!("offset={}", offsets.answered(*ago)));
            }
        }
        query.extend(step.live.map(|live| format!("live={live}")));
        let query = query.join("&");
        let mark = if query.is_empty() { "" } else { "?" };
        format!("{}{path}{mark}{query}", self.origin)
    }

    fn headers(&mut self, step: &Step, asked: &str) -> Builder {
        let mut request = Request::builder().method(step.method).uri(asked);
        for (name, value) in &step.headers {
            request = request.header(*name, value);
        }
        if step.unless_same
            && let Some(tag) = self.tags.get(asked)
        {
            request = request.header("if-none-match", tag);
        }
        if let Some(Fork { from, at }) = &step.fork {
            request = request.header("stream-forked-from", format!("/v1/stream/{}-{from}", self.prefix));
            let offsets = &self.streams.entry(*from).or_default().offsets;
            request = match at {
                None => request,
                Some(at) => request.header("stream-fork-offset", at.of(offsets)),
            };
        }
        match &step.if_match {
            None => request,
            Some(tag) => request.header("if-match", tag.of(&self.streams.entry(step.stream).or_default().tags)),
        }
    }

    /// The answer in words that can be compared.
    fn understood(&mut self, step: &Step, asked: &str, response: &Response<Bytes>) -> Answer {
        let status = response.status().as_u16();
        let headers = response.headers();
        if status == 201 {
            let known = self.born(step, headers);
            self.streams.insert(step.stream, known);
        }
        // Where a fork is refused, it is the source's tail that is told.
        let teller = match &step.fork {
            Some(fork) if status == 400 => fork.from,
            _ => step.stream,
        };
        let known = self.streams.entry(teller).or_default();
        let mut answer = Answer {
            status,
            headers: BTreeMap::new(),
            body: response.body().to_vec(),
        };
        for name in Answer::kept_headers() {
            let values: Vec<&str> = headers.get_all(name).iter().map(readable).collect();
            if values.is_empty() {
                continue;
            }
            let value = values.join(", ");
            let value = match name {
                // Where events begin is where the reader asked for: that is no news.
                "stream-next-offset" if step.live == Some("sse") && answer.ok() => "some".to_owned(),
                "stream-next-offset" => known.offsets.name(&value),
                "stream-cursor" => "some".to_owned(),
                "etag" => {
                    if answer.ok() && step.method != "GET" {
                        known.tags.name(&value);
                    }
                    self.tags.insert(asked.to_owned(), value);
                    "some".to_owned()
                }
                "location" => value.replace(&self.origin, "").replace(&self.prefix, "S"),
                _ => value,
            };
            answer.headers.insert(name, value);
        }
        answer
    }

    /// What is known of a stream that was made just now.
    fn born(&self, step: &Step, headers: &HeaderMap) -> Known {
        let offsets = step.fork.as_ref().and_then(|Fork { from, at }| {
            let source = &self.streams.get(from)?.offsets;
            match at {
                None => Some(source.up_to(None)),
                Some(Place::Answered(ago)) => Some(source.up_to(Some(source.answered(*ago)))),
                Some(Place::Literal(_)) => None,
            }
        });
        Known {
            offsets: offsets.unwrap_or_default(),
            tags: Offsets::default(),
            json: headers.get("content-type").is_some_and(|of| is_json(readable(of))),
        }
    }
}

impl Place {
    /// The characters, if these were answered.
    fn of<'a>(&'a self, answered: &'a Offsets) -> &'a str {
        match self {
            Self::Literal(text) => text,
            Self::Answered(ago) => answered.answered(*ago),
        }
    }
}

/// Sends a body in so many chunks, without saying how long it is.
async fn in_chunks(origin: &str, request: Builder, body: Bytes, chunks: usize) -> Result<Response<Bytes>, String> {
    let authority = origin.trim_start_matches("http://");
    let len = body.len().div_ceil(chunks).max(1);
    let pieces: Vec<Bytes> = body.chunks(len).map(Bytes::copy_from_slice).collect();
    let pieces = stream::iter(pieces.into_iter().map(|piece| Ok::<_, Infallible>(Frame::data(piece))));
    let mut request = request
        .header("host", authority)
        .body(StreamBody::new(pieces))
        .map_err(|e| e.to_string())?;
    let path = request.uri().path_and_query().cloned();
    *request.uri_mut() = path.map(Into::into).unwrap_or_default();
    let answer = async {
        let socket = rt::TcpStream::connect(authority).await.map_err(|e| e.to_string())?;
        let (mut sender, connection) = http1::handshake(HyperIo::new(socket))
            .await
            .map_err(|e| e.to_string())?;
        // Whatever ends it is told to the call that waits on it.
        let driver = rt::spawn("a body in chunks", async move { drop(connection.await) });
        let answer = sender.send_request(request).await.map_err(|e| e.to_string())?;
        let (head, body) = answer.into_parts();
        let body = body.collect().await.map_err(|e| e.to_string())?.to_bytes();
        driver.abort();
        Ok(Response::from_parts(head, body))
    };
    let in_time = rt::timeout(PATIENCE, answer).await;
    in_time.unwrap_or_else(|_| Err("no answer in time".to_owned()))
}

fn readable(value: &HeaderValue) -> &str {
    value.to_str().unwrap_or("(unreadable)")
}
