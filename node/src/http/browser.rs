//! The headers browsers need: on every answer, errors too.
//!
//! `nosniff` and `Cross-Origin-Resource-Policy` keep a stream from being run as something else (protocol, "Browser
//! security"); the CORS headers let a page of another origin use the streams at all.

use http::{HeaderMap, HeaderName, HeaderValue, header};

const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, PUT, POST, DELETE, OPTIONS");
const ALLOWED: HeaderValue = HeaderValue::from_static(
    "content-type, authorization, if-match, if-none-match, stream-seq, stream-ttl, stream-expires-at, stream-closed, \
     stream-retention-age, stream-retention-bytes, stream-forked-from, stream-fork-offset, stream-fork-sub-offset, \
     producer-id, producer-epoch, producer-seq",
);
const EXPOSED: HeaderValue = HeaderValue::from_static(
    "etag, location, retry-after, stream-next-offset, stream-cursor, stream-up-to-date, stream-closed, stream-ttl, \
     stream-expires-at, stream-retention-age, stream-retention-bytes, stream-earliest-offset, stream-snapshot-offset, \
     stream-sse-data-encoding, producer-epoch, producer-seq, producer-expected-seq, \
     producer-received-seq",
);
const CORP: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// Pages of which origins may use the streams.
#[derive(Debug)]
pub(super) enum Origins {
    /// All.
    All,
    /// These, as browsers spell them.
    These(Vec<String>),
}

impl Origins {
    /// As `http.cors_origin` says.
    pub(super) fn new(listed: &[String]) -> Self {
        if listed.iter().any(|origin| origin == "*") {
            Self::All
        } else {
            Self::These(listed.to_vec())
        }
    }

    /// Adds what every answer carries. `origin` is what the request says of the page it comes from.
    pub(super) fn dress(&self, origin: Option<&HeaderValue>, headers: &mut HeaderMap) {
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(CORP, HeaderValue::from_static("cross-origin"));
        let allowed = match self {
            Self::All => Some(HeaderValue::from_static("*")),
            Self::These(origins) => {
                // The answer depends on who asks, also where nobody is let in.
                headers.append(header::VARY, HeaderValue::from_static("origin"));
                origin
                    .filter(|origin| origins.iter().any(|listed| listed.as_bytes() == origin.as_bytes()))
                    .cloned()
            }
        };
        if let Some(allowed) = allowed {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
        }
    }
}

/// Adds what the answer to a preflight (`OPTIONS`) carries besides.
pub(super) fn preflight(headers: &mut HeaderMap) {
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, ALLOWED);
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("86400"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_forbids_sniffing_and_is_open_to_all_origins() {
        let mut headers = HeaderMap::new();
        Origins::new(&["*".to_owned()]).dress(None, &mut headers);
        assert_eq!(headers["x-content-type-options"], "nosniff");
        assert_eq!(headers["cross-origin-resource-policy"], "cross-origin");
        assert_eq!(headers["access-control-allow-origin"], "*");
        assert!(!headers.contains_key("vary"));
        assert!(
            headers["access-control-expose-headers"]
                .to_str()
                .unwrap()
                .contains("stream-next-offset")
        );
    }

    #[test]
    fn of_a_list_only_the_origin_that_asks_is_named() {
        let origins = Origins::new(&["https://a.example".to_owned(), "http://localhost:3000".to_owned()]);
        let table = [
            (Some("https://a.example"), Some("https://a.example")),
            (Some("http://localhost:3000"), Some("http://localhost:3000")),
            (Some("http://localhost"), None),
            (Some("https://A.example"), None),
            (Some("null"), None),
            (None, None),
        ];
        for (asks, named) in table {
            let asks = asks.map(HeaderValue::from_static);
            let mut headers = HeaderMap::new();
            origins.dress(asks.as_ref(), &mut headers);
            let found = headers.get("access-control-allow-origin");
            assert_eq!(found.map(|value| value.to_str().unwrap()), named, "{asks:?}");
            assert_eq!(headers["vary"], "origin", "{asks:?}");
        }
    }
}
