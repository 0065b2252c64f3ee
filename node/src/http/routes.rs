//! Which path means what.
//!
//! Two shapes lead to streams: `/v1/stream/{path}`, where the path may hold slashes, and `/{bucket}/{stream}`, where each
//! is one segment and what follows them names a part of the stream.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use super::{errors::Problem, snapshots::Beside};

/// What a request is about.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Route<'a> {
    /// `/v1/stream/{path}`, the path percent-decoded and not yet checked as a name.
    Stream(Cow<'a, str>),
    /// `/{bucket}`, the name checked.
    Bucket(&'a str),
    /// `/{bucket}/streams`, the name checked.
    Streams(&'a str),
    /// `/{bucket}/{stream}`, the bucket's name checked, the stream's percent-decoded and not yet checked.
    InBucket(&'a str, Cow<'a, str>),
    /// `/{bucket}/{stream}/…`, the names as above.
    Beside(&'a str, Cow<'a, str>, Beside<'a>),
    /// What the node says about itself.
    About(About),
}

/// Something a node says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum About {
    /// `/healthz`
    Health,
    /// `/readyz/local`
    ReadyLocal,
    /// `/readyz/cluster`
    ReadyCluster,
    /// `/cluster/status`
    Status,
    /// `/cluster/hot-cold-stats`
    HotAndCold,
    /// `/metrics`
    Metrics,
    /// `/openapi.json`
    OpenApi,
}

/// Names that routes of this server begin with, so that no bucket may bear them.
const RESERVED: [&str; 7] = ["__ds", "cluster", "healthz", "metrics", "readyz", "streams", "v1"];

/// The name in a bucket that is its list of streams.
const STREAMS: &str = "streams";

/// Finds the route of a request path (without query).
///
/// # Errors
/// 404 for a path nobody knows, 501 for one that a later version will, 400 for a stream path that is not UTF-8 and for a
/// bucket of a wrong name.
pub(super) fn route(path: &str) -> Result<Route<'_>, Problem> {
    if let Some(rest) = path.strip_prefix("/v1/stream/") {
        if rest == "__ds" || rest.starts_with("__ds/") {
            return Err(Problem::not_implemented(
                "subscriptions (/v1/stream/__ds/) are not there yet",
            ));
        }
        return Ok(Route::Stream(decoded(rest)?));
    }
    match path {
        "/healthz" => Ok(Route::About(About::Health)),
        "/readyz" | "/readyz/local" => Ok(Route::About(About::ReadyLocal)),
        "/readyz/cluster" => Ok(Route::About(About::ReadyCluster)),
        "/cluster/status" => Ok(Route::About(About::Status)),
        "/cluster/hot-cold-stats" => Ok(Route::About(About::HotAndCold)),
        "/metrics" => Ok(Route::About(About::Metrics)),
        "/openapi.json" => Ok(Route::About(About::OpenApi)),
        _ => in_bucket(path),
    }
}

/// The route of `/{bucket}` and what is below.
fn in_bucket(path: &str) -> Result<Route<'_>, Problem> {
    let mut segments = path.strip_prefix('/').unwrap_or(path).split('/');
    let bucket = segments.next().unwrap_or_default();
    if bucket.is_empty() || RESERVED.contains(&bucket) {
        return Err(nothing_here());
    }
    if !is_bucket_name(bucket) {
        return Err(Problem::bad(
            "bad_bucket",
            "the name of a bucket is 4 to 64 of a-z, 0-9, _ and -: streams of other paths are at /v1/stream/{path}",
        ));
    }
    let Some(stream) = segments.next() else {
        return Ok(Route::Bucket(bucket));
    };
    let stream = decoded(stream)?;
    let beside: Vec<&str> = segments.collect();
    match &beside[..] {
        [] if stream == STREAMS => Ok(Route::Streams(bucket)),
        [] => Ok(Route::InBucket(bucket, stream)),
        // What there is of a stream besides itself.
        beside => match Beside::of(beside) {
            Some(beside) => Ok(Route::Beside(bucket, stream, beside)),
            None => Err(nothing_here()),
        },
    }
}

/// Part of a path, percent-decoded.
fn decoded(text: &str) -> Result<Cow<'_, str>, Problem> {
    percent_decode_str(text).decode_utf8().map_err(|_| {
        Problem::bad(
            "bad_path",
            "the stream path is not UTF-8 after percent-decoding: encode it as UTF-8",
        )
    })
}

fn nothing_here() -> Problem {
    Problem::new(
        http::StatusCode::NOT_FOUND,
        "route_not_found",
        "nothing is served here: streams are at /v1/stream/{path} and /{bucket}/{stream}, health at /healthz",
    )
}

/// Whether this may be the name of a bucket, as far as its letters go.
fn is_bucket_name(name: &str) -> bool {
    (4..=64).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_where_they_say() {
        let stream = |name: &str| Some(Route::Stream(name.to_owned().into()));
        let beside = |bucket, beside| Some(Route::Beside(bucket, "stream".into(), beside));
        let inside = |bucket, name: &str| Some(Route::InBucket(bucket, name.to_owned().into()));
        let table: [(&str, Option<Route<'_>>, u16); 32] = [
            ("/v1/stream/a", stream("a"), 0),
            ("/v1/stream/a/b%20c", stream("a/b c"), 0),
            ("/v1/stream/%E2%82%AC", stream("€"), 0),
            ("/v1/stream/", stream(""), 0),
            ("/v1/stream/%ff", None, 400),
            ("/v1/stream/__ds/subscriptions/x", None, 501),
            ("/healthz", Some(Route::About(About::Health)), 0),
            ("/readyz/local", Some(Route::About(About::ReadyLocal)), 0),
            ("/readyz/cluster", Some(Route::About(About::ReadyCluster)), 0),
            ("/cluster/status", Some(Route::About(About::Status)), 0),
            ("/cluster/hot-cold-stats", Some(Route::About(About::HotAndCold)), 0),
            ("/metrics", Some(Route::About(About::Metrics)), 0),
            ("/some-bucket", Some(Route::Bucket("some-bucket")), 0),
            ("/some-bucket/streams", Some(Route::Streams("some-bucket")), 0),
            ("/some-bucket/%73treams", Some(Route::Streams("some-bucket")), 0),
            ("/some-bucket/stream", inside("some-bucket", "stream"), 0),
            ("/some-bucket/a%2Fb", inside("some-bucket", "a/b"), 0),
            ("/some-bucket/", inside("some-bucket", ""), 0),
            ("/some-bucket/%ff", None, 400),
            ("/some-bucket/stream/snapshot", beside("some-bucket", Beside::Newest), 0),
            (
                "/some-bucket/stream/snapshot/7",
                beside("some-bucket", Beside::At("7")),
                0,
            ),
            (
                "/some-bucket/stream/bootstrap",
                beside("some-bucket", Beside::Bootstrap),
                0,
            ),
            ("/v1/stream/a/snapshot", stream("a/snapshot"), 0),
            ("/some-bucket/stream/other", None, 404),
            ("/_default/stream", inside("_default", "stream"), 0),
            ("/abc", None, 400),
            ("/Bucket/stream", None, 400),
            ("/streams/x", None, 404),
            ("/__ds/x", None, 404),
            ("/v1/other", None, 404),
            ("/cluster/other", None, 404),
            ("/", None, 404),
        ];
        for (path, expected, status) in table {
            match (route(path), expected) {
                (Ok(found), Some(expected)) => assert_eq!(found, expected, "{path}"),
                (Err(problem), None) => assert_eq!(problem.status.as_u16(), status, "{path}"),
                (found, expected) => panic!("{path}: {found:?}, expected {expected:?}"),
            }
        }
    }
}
