//! Which path means what.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use super::errors::Problem;

/// What a request is about.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Route<'a> {
    /// `/v1/stream/{path}`, the path percent-decoded and not yet checked as a name.
    Stream(Cow<'a, str>),
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
}

/// Names that routes of this server begin with, so that no bucket may bear them.
const RESERVED: [&str; 6] = ["cluster", "healthz", "metrics", "readyz", "streams", "v1"];

/// Finds the route of a request path (without query).
///
/// # Errors
/// 404 for a path nobody knows, 501 for one that a later version will, 400 for a stream path that is not UTF-8.
pub(super) fn route(path: &str) -> Result<Route<'_>, Problem> {
    if let Some(rest) = path.strip_prefix("/v1/stream/") {
        if rest == "__ds" || rest.starts_with("__ds/") {
            return Err(Problem::not_implemented(
                "subscriptions (/v1/stream/__ds/) are not there yet",
            ));
        }
        let decoded = percent_decode_str(rest).decode_utf8().map_err(|_| {
            Problem::bad(
                "bad_path",
                "the stream path is not UTF-8 after percent-decoding: encode it as UTF-8",
            )
        })?;
        return Ok(Route::Stream(decoded));
    }
    match path {
        "/healthz" => Ok(Route::About(About::Health)),
        "/readyz" | "/readyz/local" => Ok(Route::About(About::ReadyLocal)),
        "/readyz/cluster" => Ok(Route::About(About::ReadyCluster)),
        "/cluster/status" => Ok(Route::About(About::Status)),
        _ if is_bucket_path(path) => Err(Problem::not_implemented(
            "bucket routes (/{bucket}/{stream}) are not there yet: use /v1/stream/{bucket}/{stream}",
        )),
        _ => Err(Problem::new(
            http::StatusCode::NOT_FOUND,
            "route_not_found",
            "nothing is served here: streams are at /v1/stream/{path}, health at /healthz",
        )),
    }
}

/// Whether the path looks like `/{bucket}` or below it: `[a-z0-9_-]{4,64}`, none of our own names.
fn is_bucket_path(path: &str) -> bool {
    let first = path.trim_start_matches('/').split('/').next().unwrap_or("");
    (4..=64).contains(&first.len())
        && first
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-')
        && !RESERVED.contains(&first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_where_they_say() {
        let stream = |name: &str| Some(Route::Stream(name.to_owned().into()));
        let table: [(&str, Option<Route<'_>>, u16); 14] = [
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
            ("/some-bucket/stream", None, 501),
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
