//! How S3 says it: heads, codes, XML.

use bytes::Bytes;
use http::{Response, StatusCode};

use super::asked::{Listing, to_token};
use super::body::Sent;

/// What S3 answers instead of what was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    AccessDenied,
    AuthorizationHeaderMalformed,
    BadDigest,
    ConditionalRequestConflict,
    ContentSha256Mismatch,
    ExpiredToken,
    InternalError,
    InvalidAccessKeyId,
    InvalidArgument(&'static str),
    InvalidRange,
    InvalidRequest(&'static str),
    MethodNotAllowed,
    NoSuchBucket,
    NoSuchKey,
    PreconditionFailed,
    RequestTimeTooSkewed,
    ServiceUnavailable,
    SignatureDoesNotMatch,
    SlowDown,
}

impl Refusal {
    /// Status, code, message.
    fn said(self) -> (u16, &'static str, &'static str) {
        match self {
            Self::AccessDenied => (403, "AccessDenied", "Access Denied"),
            Self::AuthorizationHeaderMalformed => (
                400,
                "AuthorizationHeaderMalformed",
                "The authorization header that you provided is not valid.",
            ),
            Self::BadDigest => (
                400,
                "BadDigest",
                "The CRC32C you specified did not match what we received.",
            ),
            Self::ConditionalRequestConflict => (
                409,
                "ConditionalRequestConflict",
                "A conflicting operation occurred during the request.",
            ),
            Self::ContentSha256Mismatch => (
                400,
                "XAmzContentSHA256Mismatch",
                "The provided 'x-amz-content-sha256' header does not match what was computed.",
            ),
            Self::ExpiredToken => (403, "ExpiredToken", "The provided token has expired."),
            Self::InternalError => (
                500,
                "InternalError",
                "We encountered an internal error. Please try again.",
            ),
            Self::InvalidAccessKeyId => (
                403,
                "InvalidAccessKeyId",
                "The AWS access key ID that you provided does not exist in our records.",
            ),
            Self::InvalidArgument(what) => (400, "InvalidArgument", what),
            Self::InvalidRange => (416, "InvalidRange", "The requested range is not satisfiable"),
            Self::InvalidRequest(what) => (400, "InvalidRequest", what),
            Self::MethodNotAllowed => (
                405,
                "MethodNotAllowed",
                "The specified method is not allowed against this resource.",
            ),
            Self::NoSuchBucket => (404, "NoSuchBucket", "The specified bucket does not exist"),
            Self::NoSuchKey => (404, "NoSuchKey", "The specified key does not exist."),
            Self::PreconditionFailed => (
                412,
                "PreconditionFailed",
                "At least one of the pre-conditions you specified did not hold",
            ),
            Self::RequestTimeTooSkewed => (
                403,
                "RequestTimeTooSkewed",
                "The difference between the request time and the server's time is too large.",
            ),
            Self::ServiceUnavailable => (503, "ServiceUnavailable", "Service is unable to handle request."),
            Self::SignatureDoesNotMatch => (
                403,
                "SignatureDoesNotMatch",
                "The request signature that the server calculated does not match the signature that you provided.",
            ),
            Self::SlowDown => (503, "SlowDown", "Please reduce your request rate."),
        }
    }

    /// As it goes over the wire.
    pub(super) fn answer(self) -> Response<Sent> {
        let (status, code, message) = self.said();
        let body = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>{message}</Message></Error>"
        );
        let mut answer = with_body(status, Bytes::from(body));
        answer
            .headers_mut()
            .insert("content-type", http::HeaderValue::from_static("application/xml"));
        answer
    }
}

/// Done, and there is nothing to say.
pub(super) fn done(status: u16) -> Response<Sent> {
    with_body(status, Bytes::new())
}

/// The part of an object: which bytes, of how many.
pub(super) fn part(bytes: Bytes, first: u64, total: u64) -> Response<Sent> {
    let last = first + bytes.len() as u64 - 1;
    let mut answer = with_body(206, bytes);
    let range = format!("bytes {first}-{last}/{total}");
    answer.headers_mut().insert("content-range", value(&range));
    answer
}

/// The whole of an object.
pub(super) fn whole(bytes: Bytes) -> Response<Sent> {
    with_body(200, bytes)
}

/// A page of keys; `more`: it goes on after the last one. Keys hold nothing that XML would have to escape.
pub(super) fn page(listing: &Listing, keys: &[String], more: bool) -> Response<Sent> {
    let contents: String = keys
        .iter()
        .map(|key| format!("<Contents><Key>{key}</Key><StorageClass>STANDARD</StorageClass></Contents>"))
        .collect();
    let next = keys.last().filter(|_| more).map_or_else(String::new, |last| {
        format!("<NextContinuationToken>{}</NextContinuationToken>", to_token(last))
    });
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>{}</Name><Prefix>{}</Prefix>{next}\
         <KeyCount>{}</KeyCount><MaxKeys>{}</MaxKeys><IsTruncated>{more}</IsTruncated>{contents}</ListBucketResult>",
        super::BUCKET,
        listing.prefix,
        keys.len(),
        listing.keys_max,
    );
    let mut answer = with_body(200, Bytes::from(body));
    answer.headers_mut().insert("content-type", value("application/xml"));
    answer
}

fn with_body(status: u16, body: Bytes) -> Response<Sent> {
    let mut answer = Response::new(Sent::whole(body));
    *answer.status_mut() = StatusCode::from_u16(status).expect("a status of S3");
    answer
}

/// A header's value made of digits and letters.
pub(super) fn value(text: &str) -> http::HeaderValue {
    http::HeaderValue::from_str(text).expect("it is visible ASCII")
}
