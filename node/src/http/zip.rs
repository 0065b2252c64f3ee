//! JSON answers packed with gzip, for clients that ask for it.
//!
//! Which encoding was used is a property of the answer, not of the stream, so a packed answer has a weak `ETag`: it still
//! answers `If-None-Match`, and is refused as a precondition of a write, which wants strong ones (RFC 9110, 8.8.3 and
//! 13.1.1). Whatever might have been packed says `Vary: accept-encoding`. Streams of events are never packed: they would
//! wait in the packer.
//!
//! Packing goes piece by piece as the client drains the answer, so it costs the packer's window and one piece of memory,
//! and an answer that breaks off lacks its last chunk.

use std::{
    io::{self, Write},
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Buf, Bytes};
use flate2::{Compression, write::GzEncoder};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body::{Body, Frame};

use super::pour::AnswerBody;
use crate::{read::Broken, stream::is_json};

/// An answer shorter than this goes out as it is: it fits in one packet anyhow.
const SMALL_BYTES: u64 = 1024;

/// What is packed at once: a fraction of a millisecond, then others have their turn.
const STEP_BYTES: usize = 64 * 1024;

/// Packs an answer to a GET where that is `wanted` and worth it.
pub(super) fn perhaps(wanted: bool, mut response: Response<AnswerBody>) -> Response<AnswerBody> {
    let status = response.status();
    let json = (response.headers().get(header::CONTENT_TYPE)).is_some_and(|value| value.to_str().is_ok_and(is_json));
    if !(status == StatusCode::NOT_MODIFIED || status == StatusCode::OK && json) {
        return response;
    }
    let headers = response.headers_mut();
    headers.append(header::VARY, HeaderValue::from_static("accept-encoding"));
    let exact = response.body().size_hint().exact();
    if !json || exact.is_none_or(|bytes| bytes < SMALL_BYTES) || !wanted {
        return response;
    }
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    headers.remove(header::CONTENT_LENGTH);
    if let Some(strong) = headers.get(header::ETAG) {
        let weak = [b"W/", strong.as_bytes()].concat();
        if let Ok(weak) = HeaderValue::try_from(weak) {
            headers.insert(header::ETAG, weak);
        }
    }
    response.map(|body| AnswerBody::Zipped(Box::new(Zipped::new(body))))
}

/// Whether `Accept-Encoding` takes gzip, and likes it no less than plain bytes (RFC 9110, 12.5.3).
pub(super) fn wanted(headers: &HeaderMap) -> bool {
    let (mut gzip, mut identity, mut any) = (None, None, None);
    for value in headers.get_all(header::ACCEPT_ENCODING) {
        let Ok(value) = value.to_str() else { return false };
        for item in value.split(',') {
            let mut parts = item.split(';').map(str::trim);
            let coding = parts.next().unwrap_or_default();
            // A weight that cannot be read is no wish.
            let weight = match parts.find_map(|part| part.strip_prefix("q=").or(part.strip_prefix("Q="))) {
                None => 1000,
                Some(text) => thousandths(text).unwrap_or(0),
            };
            match coding {
                "*" => any = Some(weight),
                coding if coding.eq_ignore_ascii_case("gzip") || coding.eq_ignore_ascii_case("x-gzip") => {
                    gzip = Some(weight);
                }
                coding if coding.eq_ignore_ascii_case("identity") => identity = Some(weight),
                _ => {}
            }
        }
    }
    let gzip = gzip.or(any).unwrap_or(0);
    gzip > 0 && gzip >= identity.unwrap_or(0)
}

/// `1`, `0.5`, `0.123`: in thousandths.
fn thousandths(text: &str) -> Option<u32> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if !matches!(whole, "0" | "1") || fraction.len() > 3 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let sum = format!("{whole}{fraction:0<3}").parse().ok()?;
    (sum <= 1000).then_some(sum)
}

/// A body on its way through the packer.
pub(crate) struct Zipped {
    inner: AnswerBody,
    /// What came of the inner body and is not packed yet.
    rest: Bytes,
    /// None once the end is written.
    packer: Option<GzEncoder<Vec<u8>>>,
}

impl Zipped {
    fn new(inner: AnswerBody) -> Self {
        Self {
            inner,
            rest: Bytes::new(),
            packer: Some(GzEncoder::new(Vec::new(), Compression::fast())),
        }
    }

    /// The next packed piece.
    pub(super) fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        loop {
            let Some(packer) = &mut self.packer else {
                return Poll::Ready(None);
            };
            if self.rest.is_empty() {
                match Pin::new(&mut self.inner).poll_frame(cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Some(Ok(frame))) => self.rest = frame.into_data().unwrap_or_default(),
                    Poll::Ready(Some(Err(broken))) => {
                        self.packer = None;
                        return Poll::Ready(Some(Err(broken)));
                    }
                    Poll::Ready(None) => {
                        let end = self.packer.take().map(GzEncoder::finish);
                        return Poll::Ready(end.map(|packed| Ok(Frame::data(in_memory(packed).into()))));
                    }
                }
                continue;
            }
            let step = self.rest.len().min(STEP_BYTES);
            in_memory(packer.write_all(&self.rest[..step]));
            self.rest.advance(step);
            let packed = std::mem::take(packer.get_mut());
            if !packed.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(packed.into()))));
            }
        }
    }

    /// Whether everything has been handed out.
    pub(super) fn is_over(&self) -> bool {
        self.packer.is_none()
    }
}

/// Writing to a `Vec` does not fail.
fn in_memory<T: Default>(written: io::Result<T>) -> T {
    debug_assert!(written.is_ok(), "a write to memory failed");
    written.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_is_sent_to_those_who_like_it_no_less_than_plain_bytes() {
        let table = [
            (&["gzip"][..], true),
            (&["GZIP"], true),
            (&["x-gzip"], true),
            (&["deflate, gzip;q=1.0, *;q=0.5"], true),
            (&["deflate", "gzip"], true),
            (&["*"], true),
            (&["gzip;q=0.001"], true),
            (&["gzip;q=0.5, identity;q=0.5"], true),
            (&["gzip;q=0.5, identity"], false),
            (&["gzip;q=0"], false),
            (&["gzip; q=0, *"], false),
            (&["*;q=0"], false),
            (&["identity"], false),
            (&["br, deflate"], false),
            (&[""], false),
            (&[], false),
            (&["gzip;q=x"], false),
            (&["gzip;q=2"], false),
            (&["gzip;q=0.1234"], false),
        ];
        for (values, expected) in table {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::ACCEPT_ENCODING, HeaderValue::from_static(value));
            }
            assert_eq!(wanted(&headers), expected, "{values:?}");
        }
    }
}
