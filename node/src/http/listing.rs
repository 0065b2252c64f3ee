//! `GET /{bucket}/streams?prefix=&after=&limit=`: the streams of a bucket, in the page format of Ursula.

use http::{Method, StatusCode, Uri};
use percent_encoding::percent_decode_str;
use serde_json::json;

use super::{
    Answer, Http, answer, buckets,
    errors::Problem,
    refusal,
    request::{consistency, not_allowed},
};
use crate::{listing::Listing, stream::NAME_BYTES_MAX};

/// Most streams on a page, and as many as are on one if nobody says.
const LIMIT_MAX: usize = 1000;

/// Understands method and query.
pub(super) fn listing(method: &Method, uri: &Uri) -> Result<Listing, Problem> {
    if method != Method::GET && method != Method::HEAD {
        return Err(not_allowed("GET, HEAD, OPTIONS"));
    }
    let (mut prefix, mut after, mut limit) = (None, None, None);
    for pair in uri.query().unwrap_or("").split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let slot = match name {
            "prefix" => &mut prefix,
            "after" => &mut after,
            "limit" => &mut limit,
            _ => continue,
        };
        let value = percent_decode_str(value)
            .decode_utf8()
            .map_err(|_| Problem::bad("bad_query", format!("{name} is not UTF-8 after percent-decoding")))?;
        if value.len() > NAME_BYTES_MAX || value.contains('\0') {
            let message = format!("{name} has at most {NAME_BYTES_MAX} bytes and no NUL, like the names it stands for");
            return Err(Problem::bad("bad_query", message));
        }
        if slot.replace(value.into_owned()).is_some() {
            return Err(Problem::bad("bad_query", format!("{name} is given more than once")));
        }
    }
    let limit = match limit {
        None => LIMIT_MAX,
        Some(limit) => whole(&limit)
            .filter(|limit| (1..=LIMIT_MAX).contains(limit))
            .ok_or_else(|| Problem::bad("bad_query", format!("limit is a number from 1 to {LIMIT_MAX}")))?,
    };
    Ok(Listing {
        prefix: prefix.unwrap_or_default(),
        // An empty name comes before all others.
        after: after.filter(|after| !after.is_empty()),
        limit,
        local: consistency(uri)?,
    })
}

/// A number in plain digits.
fn whole(text: &str) -> Option<usize> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && text.len() <= 4;
    plain.then(|| text.parse().ok()).flatten()
}

impl Http {
    /// A page of the streams of a bucket.
    pub(super) async fn list(&self, bucket: &str, listing: Listing) -> Answer {
        let prefix = listing.prefix.clone();
        let listed = self.node.list(bucket, listing, self.deadline()).await;
        let Some(page) = listed.map_err(refusal::read_failed)? else {
            return Err(buckets::not_found());
        };
        let next = page.streams.last_key_value().map(|(name, _)| name.clone());
        let streams: Vec<_> = page
            .streams
            .iter()
            .map(|(name, row)| {
                json!({
                    "stream_id": name,
                    "status": if row.closed.is_some() { "closed" } else { "open" },
                    "content_type": row.content_type,
                    "tail_offset": row.tail.0,
                    "created_at_ms": row.created_ms,
                    "last_write_at_ms": row.written_ms,
                })
            })
            .collect();
        let body = json!({
            "bucket_id": bucket,
            "prefix": prefix,
            "stream_count": streams.len(),
            "streams": streams,
            "next_cursor": next,
            "has_more": page.has_more,
        });
        Ok(answer::json(StatusCode::OK, &body))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_says_which_page() {
        type Asked<'a> = (&'a str, Option<&'a str>, usize, bool);
        let table: [(&str, Result<Asked<'_>, &str>); 12] = [
            ("", Ok(("", None, 1000, false))),
            ("?limit=1", Ok(("", None, 1, false))),
            (
                "?limit=1000&prefix=a%2Fb&after=a%2Fb%20c",
                Ok(("a/b", Some("a/b c"), 1000, false)),
            ),
            ("?after=&consistency=local&other=1", Ok(("", None, 1000, true))),
            ("?limit=0", Err("bad_query")),
            ("?limit=1001", Err("bad_query")),
            ("?limit=", Err("bad_query")),
            ("?limit=%2B5", Err("bad_query")),
            ("?limit=5&limit=5", Err("bad_query")),
            ("?prefix=%ff", Err("bad_query")),
            ("?after=%00", Err("bad_query")),
            ("?consistency=other", Err("bad_query")),
        ];
        for (query, expected) in table {
            let uri: Uri = format!("/demo/streams{query}").parse().expect("a path");
            let found = listing(&Method::GET, &uri);
            let found = found
                .as_ref()
                .map(|found| (found.prefix.as_str(), found.after.as_deref(), found.limit, found.local))
                .map_err(|problem| problem.code);
            assert_eq!(found, expected, "{query}");
        }
        let posted = listing(&Method::POST, &Uri::from_static("/demo/streams"));
        assert_eq!(posted.unwrap_err().status, 405);
    }
}
