//! The short commands: create, close, rm, ls, info.

use std::io::Write;

use bytes::Bytes;
use http::{HeaderMap, Method};
use serde_json::{Map, Value, json};

use super::{
    Surroundings,
    call::{Failure, Remote, header},
    media_type, target,
};

/// What is told of a stream: the header, its name for a person, its name for a machine.
const KNOWN: [(&str, &str, &str); 12] = [
    ("content-type", "content type", "content_type"),
    ("stream-next-offset", "tail", "next_offset"),
    ("stream-closed", "closed", "closed"),
    ("stream-ttl", "lives unused", "ttl_seconds"),
    ("stream-expires-at", "expires", "expires_at"),
    ("stream-retention-age", "keeps seconds", "retention_seconds"),
    ("stream-retention-bytes", "keeps bytes", "retention_bytes"),
    ("stream-earliest-offset", "begins at", "earliest_offset"),
    ("stream-snapshot-offset", "snapshot at", "snapshot_offset"),
    ("etag", "etag", "etag"),
    ("producer-epoch", "producer epoch", "producer_epoch"),
    ("producer-seq", "producer seq", "producer_seq"),
];

pub(super) async fn create(
    remote: &Remote,
    stream: &str,
    content_type: &str,
    ttl: Option<String>,
    expires_at: Option<String>,
    closed: bool,
    around: &mut Surroundings,
) -> Result<(), Failure> {
    let target = target::stream(&remote.url, stream)?;
    let mut headers = vec![("content-type", media_type(content_type))];
    headers.extend(ttl.as_deref().map(|ttl| ("stream-ttl", ttl)));
    headers.extend(expires_at.as_deref().map(|moment| ("stream-expires-at", moment)));
    headers.extend(closed.then_some(("stream-closed", "true")));
    let answer = remote.call(Method::PUT, &target, &headers, Bytes::new()).await?;
    let done = if answer.status().as_u16() == 201 {
        "created"
    } else {
        "exists"
    };
    tell(remote, done, answer.headers(), &target.to_string(), around)
}

pub(super) async fn close(remote: &Remote, stream: &str, around: &mut Surroundings) -> Result<(), Failure> {
    let target = target::stream(&remote.url, stream)?;
    let answer = remote
        .call(Method::POST, &target, &[("stream-closed", "true")], Bytes::new())
        .await?;
    tell(remote, "closed", answer.headers(), &target.to_string(), around)
}

pub(super) async fn remove(remote: &Remote, stream: &str, around: &mut Surroundings) -> Result<(), Failure> {
    let target = target::stream(&remote.url, stream)?;
    let answer = remote.call(Method::DELETE, &target, &[], Bytes::new()).await?;
    tell(remote, "deleted", answer.headers(), &target.to_string(), around)
}

/// Says what was done: a word on standard error, or JSON on standard output.
pub(super) fn tell(
    remote: &Remote,
    done: &str,
    headers: &HeaderMap,
    target: &str,
    around: &mut Surroundings,
) -> Result<(), Failure> {
    if remote.json {
        let mut told = Map::new();
        told.insert("ended".to_owned(), done.into());
        told.insert("url".to_owned(), target.into());
        told.extend(facts(headers));
        return writeln!(around.output, "{}", Value::Object(told)).map_err(Failure::local);
    }
    let at = header(headers, "stream-next-offset").map_or(String::new(), |offset| format!(", tail at {offset}"));
    writeln!(around.complaints, "{done} {target}{at}").map_err(Failure::local)
}

fn facts(headers: &HeaderMap) -> impl Iterator<Item = (String, Value)> {
    KNOWN.iter().filter_map(|(name, _, key)| {
        let value = header(headers, name)?;
        let value = match *key {
            "closed" => json!(value == "true"),
            "ttl_seconds" | "retention_seconds" | "retention_bytes" | "producer_epoch" | "producer_seq" => value
                .parse::<u64>()
                .map_or_else(|_| json!(value), |number| json!(number)),
            _ => json!(value),
        };
        Some(((*key).to_owned(), value))
    })
}

pub(super) async fn info(remote: &Remote, stream: &str, around: &mut Surroundings) -> Result<(), Failure> {
    let target = target::stream(&remote.url, stream)?;
    let answer = remote.call(Method::HEAD, &target, &[], Bytes::new()).await;
    let answer = answer.map_err(Failure::of_head)?;
    if remote.json {
        let mut told = Map::new();
        told.insert("url".to_owned(), target.to_string().into());
        told.extend(facts(answer.headers()));
        return writeln!(around.output, "{}", Value::Object(told)).map_err(Failure::local);
    }
    writeln!(around.output, "{:<15} {target}", "stream").map_err(Failure::local)?;
    for (name, shown, _) in KNOWN {
        if let Some(value) = header(answer.headers(), name) {
            writeln!(around.output, "{shown:<15} {value}").map_err(Failure::local)?;
        }
    }
    Ok(())
}

/// Walks the pages of a bucket's list.
pub(super) async fn list(
    remote: &Remote,
    bucket: &str,
    prefix: Option<String>,
    limit: Option<usize>,
    around: &mut Surroundings,
) -> Result<(), Failure> {
    let odd = || Failure::refused("odd_answer", "the server's list cannot be read: does it know buckets?");
    let (mut left, mut after) = (limit.unwrap_or(usize::MAX), None::<String>);
    while left > 0 {
        let page = left.min(1000).to_string();
        let mut query = vec![("limit", page.as_str())];
        query.extend(prefix.as_deref().map(|prefix| ("prefix", prefix)));
        query.extend(after.as_deref().map(|after| ("after", after)));
        let target = target::list(&remote.url, bucket, &query)?;
        let answer = remote.call(Method::GET, &target, &[], Bytes::new()).await;
        let answer = answer.map_err(Failure::of_list)?;
        let page: Value = serde_json::from_slice(answer.body()).map_err(|_| odd())?;
        let streams = page.get("streams").and_then(Value::as_array).ok_or_else(odd)?;
        for stream in streams.iter().take(left) {
            let name = ["stream_id", "name", "stream", "id"]
                .iter()
                .find_map(|key| stream.get(*key)?.as_str());
            match (remote.json, name.or(stream.as_str())) {
                (false, Some(name)) => writeln!(around.output, "{name}"),
                _ => writeln!(around.output, "{stream}"),
            }
            .map_err(Failure::local)?;
        }
        left = left.saturating_sub(streams.len());
        match page.get("next_cursor").and_then(Value::as_str) {
            // A server that goes round in circles is not followed.
            Some(next) if page["has_more"] != false && after.as_deref() != Some(next) && !streams.is_empty() => {
                after = Some(next.to_owned())
            }
            _ => break,
        }
    }
    Ok(())
}
