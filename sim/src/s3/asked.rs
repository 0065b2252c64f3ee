//! What a request asks for: the four calls of S3 that the cold store makes, and nothing else.

use std::ops::Range;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, Method};
use percent_encoding::percent_decode_str;

use super::BUCKET;
use super::answer::Refusal;

/// A request that can be understood.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) what: What,
    /// Method and key or prefix, for the trace.
    pub(super) name: String,
}

#[derive(Debug)]
pub(super) enum What {
    Put { key: String, body: Bytes },
    Get { key: String, range: Option<Range<u64>> },
    List(Listing),
    Delete { key: String },
}

#[derive(Debug)]
pub(super) struct Listing {
    pub(super) prefix: String,
    /// What the keys follow.
    pub(super) after: Option<String>,
    pub(super) keys_max: usize,
}

impl Asked {
    /// What is asked for.
    pub(super) fn read(head: &Parts, body: Bytes) -> Result<Self, Refusal> {
        let path = head.uri.path();
        let (bucket, key) = path[1..].split_once('/').unwrap_or((&path[1..], ""));
        if bucket != BUCKET {
            return Err(Refusal::NoSuchBucket);
        }
        let key = decoded(key)?;
        let query = query(head.uri.query().unwrap_or_default())?;
        let what = match (&head.method, key.is_empty()) {
            (&Method::PUT, false) => put(&head.headers, key, body)?,
            (&Method::GET, false) => What::Get {
                range: header(&head.headers, "range").map(range).transpose()?,
                key,
            },
            (&Method::DELETE, false) => What::Delete { key },
            (&Method::GET, true) => What::List(listing(&query)?),
            _ => return Err(Refusal::MethodNotAllowed),
        };
        let about = match &what {
            What::Put { key, .. } | What::Get { key, .. } | What::Delete { key } => key,
            What::List(listing) => &listing.prefix,
        };
        let name = format!("{} {about}", head.method);
        Ok(Self { what, name })
    }
}

/// A header's value, if it is there and a text.
pub(super) fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn put(headers: &HeaderMap, key: String, body: Bytes) -> Result<What, Refusal> {
    // Without the condition S3 overwrites. Nobody here may, so that nobody does it unseen.
    if header(headers, "if-none-match") != Some("*") {
        return Err(Refusal::InvalidRequest("a put without If-None-Match: *"));
    }
    let sum = crc32c::crc32c(&body).to_be_bytes();
    match header(headers, "x-amz-checksum-crc32c") {
        Some(claimed) if claimed == aws_smithy_types::base64::encode(sum) => Ok(What::Put { key, body }),
        Some(_) => Err(Refusal::BadDigest),
        None => Err(Refusal::InvalidRequest("a put without x-amz-checksum-crc32c")),
    }
}

/// `bytes=3-7`, both included; no other form is used.
fn range(text: &str) -> Result<Range<u64>, Refusal> {
    let ends = text
        .strip_prefix("bytes=")
        .and_then(|text| text.split_once('-'))
        .and_then(|(first, last)| Some((first.parse().ok()?, last.parse::<u64>().ok()?.checked_add(1)?)));
    match ends {
        Some((start, end)) if start < end => Ok(start..end),
        _ => Err(Refusal::InvalidArgument("a range that is none")),
    }
}

fn listing(query: &[(String, String)]) -> Result<Listing, Refusal> {
    let find = |name: &str| query.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str());
    if find("list-type") != Some("2") {
        return Err(Refusal::InvalidArgument("a listing that is not of version 2"));
    }
    let keys_max = match find("max-keys").map(str::parse) {
        None => 1000,
        Some(Ok(keys)) => keys,
        Some(Err(_)) => return Err(Refusal::InvalidArgument("max-keys is no number")),
    };
    // A token stands for where the page before ended, and wins over where the first one began.
    let after = match find("continuation-token") {
        Some(token) => Some(from_token(token).ok_or(Refusal::InvalidArgument("a token that nobody gave"))?),
        None => find("start-after").map(str::to_owned),
    };
    Ok(Listing {
        prefix: find("prefix").unwrap_or_default().to_owned(),
        after,
        keys_max: keys_max.min(1000),
    })
}

/// The token of a page that goes on after this key: opaque to whoever gets it.
pub(super) fn to_token(key: &str) -> String {
    aws_smithy_types::base64::encode(key)
}

fn from_token(token: &str) -> Option<String> {
    String::from_utf8(aws_smithy_types::base64::decode(token).ok()?).ok()
}

fn query(text: &str) -> Result<Vec<(String, String)>, Refusal> {
    let pairs = text.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decoded(name)?, decoded(value)?))
        })
        .collect()
}

fn decoded(text: &str) -> Result<String, Refusal> {
    match percent_decode_str(text).decode_utf8() {
        Ok(text) => Ok(text.into_owned()),
        Err(_) => Err(Refusal::InvalidArgument("it is not UTF-8")),
    }
}
