//! Buckets over HTTP: PUT, GET, HEAD and DELETE of `/{bucket}`.

use http::{HeaderMap, Method, Response, StatusCode};

use super::{
    Answer, Http, answer,
    errors::Problem,
    lifetime,
    pour::AnswerBody,
    refusal,
    request::{consistency, not_allowed},
};
use crate::stream::{BucketOutcome, BucketRefusal, Retention};

/// What is asked of a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BucketWish {
    /// PUT.
    Make {
        /// What its streams forget where they do not say.
        retention: Retention,
    },
    /// GET or HEAD.
    Look {
        /// `?consistency=local`.
        local: bool,
    },
    /// DELETE.
    Delete,
}

impl BucketWish {
    /// Understands method, query and headers.
    pub(super) fn of(method: &Method, uri: &http::Uri, headers: &HeaderMap) -> Result<Self, Problem> {
        Ok(match *method {
            Method::PUT => Self::Make {
                retention: lifetime::retention(headers)?,
            },
            Method::GET | Method::HEAD => Self::Look {
                local: consistency(uri)?,
            },
            Method::DELETE => Self::Delete,
            _ => return Err(not_allowed("GET, HEAD, PUT, DELETE, OPTIONS")),
        })
    }
}

impl Http {
    /// Does what is asked of a bucket. `target` is the request's path and query.
    pub(super) async fn bucket(&self, bucket: &str, wish: BucketWish, target: &str) -> Answer {
        let outcome = match wish {
            BucketWish::Look { local } => {
                let looked = self.node.look_at_bucket(bucket, local, self.deadline()).await;
                let Some((streams, retention)) = looked.map_err(refusal::read_failed)? else {
                    return Err(not_found());
                };
                return Ok(told(StatusCode::OK, bucket, streams, retention));
            }
            BucketWish::Make { retention } => {
                let made = self.node.make_bucket(bucket, retention, self.deadline()).await;
                if matches!(made, Ok(BucketOutcome::Made { .. })) {
                    return Ok(told(StatusCode::CREATED, bucket, 0, retention));
                }
                made
            }
            BucketWish::Delete => self.node.delete_bucket(bucket, self.deadline()).await,
        };
        match outcome.map_err(|error| refusal::write_failed(error, target))? {
            BucketOutcome::Deleted => Ok(answer::empty(StatusCode::NO_CONTENT)),
            BucketOutcome::Exists { .. } => Err(Problem::new(
                StatusCode::CONFLICT,
                "bucket_exists",
                "a bucket of this name exists: use it as it is",
            )),
            BucketOutcome::NotEmpty { streams } => Err(Problem::new(
                StatusCode::CONFLICT,
                "bucket_not_empty",
                "the bucket holds streams: delete them first (what was deleted and has forks, or has expired, counts until \
                 it is collected)",
            )
            .with_field("streams", streams)),
            BucketOutcome::NotFound => Err(not_found()),
            BucketOutcome::Busy => Err(refused(BucketRefusal::Busy)),
            BucketOutcome::TooMany => Err(refused(BucketRefusal::TooMany)),
            other => {
                tracing::error!(?other, "an outcome that belongs to another command");
                Err(Problem::new(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "internal",
                    "this node answered itself strangely: look first",
                ))
            }
        }
    }

    /// What was answered to a request on `/{bucket}/{stream}`: where there is no stream, there may be no bucket.
    pub(super) async fn or_no_bucket(
        &self,
        answer: Result<Response<AnswerBody>, Problem>,
        bucket: Option<&str>,
    ) -> Answer {
        match (answer, bucket) {
            (Err(problem), Some(bucket)) if problem.code == "stream_not_found" => {
                match self.node.has_bucket(bucket, false, self.deadline()).await {
                    Ok(false) => Err(not_found()),
                    // Who cannot tell says what is certain.
                    Ok(true) | Err(_) => Err(problem),
                }
            }
            (answer, _) => answer,
        }
    }
}

/// A bucket as it is.
fn told(status: StatusCode, bucket: &str, streams: u64, retention: Retention) -> Response<AnswerBody> {
    let mut response = answer::json(status, &serde_json::json!({ "bucket_id": bucket, "streams": streams }));
    lifetime::put_retention(response.headers_mut(), retention);
    response
}

/// 404 for a bucket.
pub(super) fn not_found() -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "bucket_not_found",
        "there is no such bucket: create it with PUT /{bucket}",
    )
}

/// What a create is told that its bucket did not take.
pub(super) fn refused(refusal: BucketRefusal) -> Problem {
    match refusal {
        BucketRefusal::NotFound => not_found(),
        BucketRefusal::Busy | BucketRefusal::Sealed { .. } => Problem::try_again(
            "bucket_busy",
            "the bucket is being deleted, nothing was stored: send it again soon",
        ),
        BucketRefusal::TooMany => Problem::new(
            StatusCode::CONFLICT,
            "too_many_buckets",
            "there are as many buckets as there may be: use one of them, or delete empty ones",
        ),
    }
}
