//! A server at the other end of a socket, asked in the sequence's words.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Request};
use http_body_util::Full;
use net::serve::Client;

use crate::{
    answer::{Answer, Offsets},
    step::{Place, Step},
};

/// Longer than any answer should take.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Remote {
    client: Client,
    origin: String,
    /// Begins the names of this sequence's streams.
    prefix: String,
    offsets: BTreeMap<usize, Offsets>,
    /// The tag of the last answer to each path, method and query.
    tags: BTreeMap<String, String>,
}

impl Remote {
    /// The server at `origin`, in a sequence of its own.
    pub(crate) fn new(client: Client, origin: &str, prefix: String) -> Self {
        Self {
            client,
            origin: origin.trim_end_matches('/').to_owned(),
            prefix,
            offsets: BTreeMap::new(),
            tags: BTreeMap::new(),
        }
    }

    /// What the server says.
    pub(crate) async fn ask(&mut self, step: &Step) -> Result<Answer, String> {
        let path = format!("/v1/stream/{}-{}", self.prefix, step.stream);
        let offsets = self.offsets.entry(step.stream).or_default();
        let mut query = Vec::new();
        match &step.place {
            None => {}
            Some(Place::Literal(text)) => query.push(format!("offset={}", text.replace(' ', "%20"))),
            Some(Place::Answered(ago)) => query.push(format!("offset={}", offsets.answered(*ago))),
        }
        query.extend(step.live.map(|live| format!("live={live}")));
        let query = query.join("&");
        let mark = if query.is_empty() { "" } else { "?" };
        let asked = format!("{}{path}{mark}{query}", self.origin);
        let mut request = Request::builder().method(step.method).uri(&asked);
        for (name, value) in &step.headers {
            request = request.header(*name, value);
        }
        if step.unless_same
            && let Some(tag) = self.tags.get(&asked)
        {
            request = request.header("if-none-match", tag);
        }
        let body = Bytes::copy_from_slice(step.body.as_bytes());
        let request = request.body(Full::new(body)).map_err(|e| e.to_string())?;
        let response = self.client.call(request, PATIENCE).await;
        let response = response.map_err(|e| format!("{} did not answer {step}: {e}", self.origin))?;
        let status = response.status().as_u16();
        if status == 201 {
            offsets.forget();
        }
        let mut headers = BTreeMap::new();
        for name in Answer::kept_headers() {
            let values = response.headers().get_all(name).iter();
            let values: Vec<&str> = values.map(readable).collect();
            if values.is_empty() {
                continue;
            }
            let value = values.join(", ");
            let value = match name {
                "stream-next-offset" => offsets.name(&value),
                "etag" => {
                    self.tags.insert(asked.clone(), value);
                    "some".to_owned()
                }
                "location" => value.replace(&self.origin, "").replace(&self.prefix, "S"),
                _ => value,
            };
            headers.insert(name, value);
        }
        Ok(Answer {
            status,
            headers,
            body: response.into_body().to_vec(),
        })
    }
}

fn readable(value: &HeaderValue) -> &str {
    value.to_str().unwrap_or("(unreadable)")
}
