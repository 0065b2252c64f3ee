//! The headers browsers need: on every answer, errors too.
//!
//! `nosniff` and `Cross-Origin-Resource-Policy` keep a stream from being run as something else (protocol, "Browser
//! security"); the CORS headers let a page of another origin use the streams at all.

use http::{HeaderMap, HeaderName, HeaderValue, header};

const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, PUT, POST, DELETE, OPTIONS");
const ALLOWED: HeaderValue = HeaderValue::from_static(
    "content-type, authorization, if-match, if-none-match, stream-seq, stream-ttl, stream-expires-at, stream-closed, \
     stream-retention-age, stream-retention-bytes, stream-forked-from, stream-fork-offset, stream-fork-sub-offset, producer-id, producer-epoch, producer-seq",
);
const EXPOSED: HeaderValue = HeaderValue::from_static(
    "etag, location, retry-after, stream-next-offset, stream-cursor, stream-up-to-date, stream-closed, stream-ttl, \
     stream-expires-at, stream-retention-age, stream-retention-bytes, stream-earliest-offset, stream-snapshot-offset, stream-sse-data-encoding, producer-epoch, \
     producer-seq, producer-expected-seq, producer-received-seq",
);
const CORP: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// Adds what every answer carries.
pub(super) fn dress(headers: &mut HeaderMap) {
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CORP, HeaderValue::from_static("cross-origin"));
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
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
        dress(&mut headers);
        assert_eq!(headers["x-content-type-options"], "nosniff");
        assert_eq!(headers["cross-origin-resource-policy"], "cross-origin");
        assert_eq!(headers["access-control-allow-origin"], "*");
        assert!(
            headers["access-control-expose-headers"]
                .to_str()
                .unwrap()
                .contains("stream-next-offset")
        );
    }
}
