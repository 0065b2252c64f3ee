//! What a client is told when it does not get what it asked for.
//!
//! Every error body is JSON: `{"error":{"code":"stream_closed","message":"one sentence saying what to do",…fields}}`. The
//! codes are stable: clients switch on them, so a code is never renamed and never used for a second meaning.
//!
//! | status | codes |
//! |---|---|
//! | 307 | `not_leader` |
//! | 400 | `bad_path` `bad_bucket` `bad_query` `bad_offset` `offset_beyond_tail` `missing_offset` `bad_live` `bad_header` `bad_condition` |
//! |     | `bad_content_type` `missing_content_type` `empty_body` `body_incomplete` `invalid_json` `json_too_deep` `bad_stream_seq` |
//! |     | `bad_producer` `producer_seq_not_zero` `too_long` |
//! |     | `bad_ttl` `bad_expires_at` `bad_retention` `bad_fork` `fork_sub_offset_beyond_append` |
//! | 403 | `producer_fenced` |
//! | 404 | `stream_not_found` `snapshot_not_found` `bucket_not_found` `fork_source_not_found` `route_not_found` |
//! | 405 | `method_not_allowed` |
//! | 408 | `body_timeout` |
//! | 409 | `stream_exists` `stream_closed` `content_type_mismatch` `stream_seq_conflict` `producer_seq_conflict` |
//! |     | `too_many_producers` `bucket_exists` `bucket_not_empty` `too_many_buckets` `stream_gone` (PUT) |
//! |     | `fork_source_gone` `too_many_forks` |
//! |     | `snapshot_older` `snapshot_exists` `snapshot_beyond_tail` `snapshot_is_newest` `stream_recreated` `no_snapshot` |
//! | 410 | `offset_trimmed` `stream_gone` |
//! | 412 | `precondition_failed` |
//! | 413 | `body_too_large` `json_too_many_messages` `json_message_too_large` `stream_full` |
//! | 500 | `read_failed` `internal` |
//! | 501 | `not_implemented` |
//! | 503 | `no_leader` `backpressure` `cold_unreachable` `bucket_busy` `fork_source_changed` `shutting_down` `upload_lost` (nothing was stored; with `Retry-After`) |
//! | 504 | `outcome_unknown` (it may or may not be stored) |

use std::borrow::Cow;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde_json::{Map, Value};

/// A refusal on its way to the client: status, stable code, one sentence, and what else helps.
#[derive(Debug, Clone)]
pub(crate) struct Problem {
    pub(crate) status: StatusCode,
    pub(crate) code: &'static str,
    message: Cow<'static, str>,
    fields: Vec<(&'static str, Value)>,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
}

impl Problem {
    /// A problem without extra fields or headers.
    pub(crate) fn new(status: StatusCode, code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            fields: Vec::new(),
            headers: Vec::new(),
        }
    }

    /// The request cannot mean anything: 400.
    pub(crate) fn bad(code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    /// A route or feature that is known and not there yet: 501.
    pub(crate) fn not_implemented(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::NOT_IMPLEMENTED, "not_implemented", message)
    }

    /// Nothing was stored, and trying again soon may succeed: 503 with `Retry-After`.
    pub(crate) fn try_again(code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code, message)
            .with_header(header::RETRY_AFTER, HeaderValue::from_static("1"))
    }

    /// Adds a field beside code and message.
    pub(crate) fn with_field(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.fields.push((name, value.into()));
        self
    }

    /// Adds a response header.
    pub(crate) fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// The JSON body.
    pub(crate) fn body(&self) -> Bytes {
        let mut error = Map::with_capacity(2 + self.fields.len());
        error.insert("code".to_owned(), self.code.into());
        error.insert("message".to_owned(), self.message.as_ref().into());
        for (name, value) in &self.fields {
            error.insert((*name).to_owned(), value.clone());
        }
        let mut body = serde_json::json!({ "error": error }).to_string();
        body.push('\n');
        body.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_body_is_json_with_code_message_and_fields_in_that_order() {
        let problem = Problem::bad("bad_offset", "say it with 20 digits").with_field("offset", "x\"y");
        assert_eq!(
            problem.body(),
            "{\"error\":{\"code\":\"bad_offset\",\"message\":\"say it with 20 digits\",\"offset\":\"x\\\"y\"}}\n"
        );
    }

    #[test]
    fn what_may_be_tried_again_says_when() {
        let problem = Problem::try_again("no_leader", "an election is under way");
        assert_eq!(problem.status, 503);
        assert_eq!(problem.headers, [(header::RETRY_AFTER, HeaderValue::from_static("1"))]);
    }
}
