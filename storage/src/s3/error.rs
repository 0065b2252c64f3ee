//! What went wrong, as a sentence that says what to do.

use std::{error::Error, io};

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::{
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
};

/// An answer of the store that is none we hoped for.
#[derive(Debug)]
pub(super) struct Refusal<'a> {
    /// The HTTP status.
    pub(super) status: u16,
    /// The code of the error, as `NoSuchKey`; empty if the answer had none.
    pub(super) code: &'a str,
    message: &'a str,
    request_id: &'a str,
    /// Where the bucket is, if the store says so.
    region: Option<&'a str>,
}

impl Refusal<'_> {
    /// What the store said, for whoever asks its operator.
    fn verbatim(&self) -> String {
        let mut said = format!("status {}", self.status);
        for (between, part) in [(" ", self.code), (", request ", self.request_id), (": ", self.message)] {
            if !part.is_empty() {
                said += between;
                said += part;
            }
        }
        said
    }
}

/// The store's answer, if there was one.
pub(super) fn refusal<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> Option<Refusal<'_>> {
    let response = error.raw_response()?;
    let header = |name: &str| response.headers().get(name);
    Some(Refusal {
        status: response.status().as_u16(),
        code: error.code().unwrap_or_default(),
        message: error.message().unwrap_or_default(),
        request_id: header("x-amz-request-id").unwrap_or_default(),
        region: header("x-amz-bucket-region"),
    })
}

/// Where the requests went, for the sentences.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) bucket: String,
    /// The endpoint, or the words for AWS's own.
    pub(super) endpoint: String,
}

/// The error for people. `asked`: the request, as `PutObject of a/b`.
pub(super) fn told<E>(error: &SdkError<E, HttpResponse>, asked: &str, place: &Place) -> io::Error
where
    E: ProvideErrorMetadata + Error + 'static,
{
    let (kind, sentence) = match refusal(error) {
        Some(refusal) if !refusal.code.is_empty() || refusal.status >= 300 => {
            let (kind, sentence) = refused(&refusal, place);
            (kind, format!("{sentence} ({})", refusal.verbatim()))
        }
        _ => unanswered(error, place),
    };
    io::Error::new(kind, format!("{asked} in the bucket {}: {sentence}", place.bucket))
}

/// What the store means, and what to do about it.
fn refused(refusal: &Refusal<'_>, place: &Place) -> (io::ErrorKind, String) {
    use io::ErrorKind::{InvalidInput, NotFound, Other, PermissionDenied, ResourceBusy, StorageFull, Unsupported};
    let Place { bucket, endpoint } = place;
    match (refusal.status, refusal.code) {
        (_, "NoSuchBucket") => (
            NotFound,
            format!("there is no bucket {bucket} at {endpoint}: create it, or correct its name or the endpoint"),
        ),
        (_, "InvalidAccessKeyId") => (
            PermissionDenied,
            format!("{endpoint} does not know the access key id: correct it, or make a new key"),
        ),
        (_, "SignatureDoesNotMatch") => (
            PermissionDenied,
            "the secret does not belong to the access key id: correct it; if it is right, something on the way changes \
             the requests (a proxy that rewrites the host or the path)"
                .to_owned(),
        ),
        (_, "RequestTimeTooSkewed") => (
            PermissionDenied,
            "the clock of this machine and the store's are more than 15 minutes apart: set it, and keep it with NTP"
                .to_owned(),
        ),
        (_, "ExpiredToken" | "TokenRefreshRequired" | "InvalidToken") => (
            PermissionDenied,
            "the session credentials have expired or are not valid: renew them where they come from".to_owned(),
        ),
        (_, "PermanentRedirect" | "TemporaryRedirect" | "AuthorizationHeaderMalformed" | "InvalidRegion")
        | (301 | 307, _) => (
            InvalidInput,
            match refusal.region {
                Some(region) => format!("the bucket is in the region {region}: set this one"),
                None => "the bucket is in another region, or at another endpoint: correct them".to_owned(),
            },
        ),
        // Before the rule for every other 403.
        (_, "InvalidObjectState") => (
            Other,
            "the object was moved to an archive: restore it, and take the rule that moves objects off the bucket"
                .to_owned(),
        ),
        (_, "AccessDenied" | "AllAccessDisabled") | (401 | 403, _) => (
            PermissionDenied,
            "the policy of the credentials or of the bucket forbids this: allow s3:ListBucket on the bucket, and \
             s3:PutObject, s3:GetObject and s3:DeleteObject on what is in it (and the KMS key, if there is one)"
                .to_owned(),
        ),
        (_, "NotImplemented") | (501, _) => (
            Unsupported,
            "the store does not know this kind of request: what it must know is in docs/cold.md".to_owned(),
        ),
        (_, "QuotaExceeded" | "XMinioStorageFull" | "ServiceQuotaExceeded") | (507, _) => {
            (StorageFull, "the store is full, or the quota is: make room".to_owned())
        }
        (_, "SlowDown" | "Throttling" | "RequestLimitExceeded" | "ServiceUnavailable") | (429 | 503, _) => {
            (ResourceBusy, "the store asks to be asked less often".to_owned())
        }
        (409, _) => (
            ResourceBusy,
            "somebody else writes or deletes this very name at the same time".to_owned(),
        ),
        (404, _) => (
            NotFound,
            format!("nothing is there; is {endpoint} the endpoint of an S3 store?"),
        ),
        (500.., _) => (Other, "the store failed".to_owned()),
        _ => (Other, "the store refused".to_owned()),
    }
}

/// No answer, or none that can be read.
fn unanswered<E>(error: &SdkError<E, HttpResponse>, place: &Place) -> (io::ErrorKind, String)
where
    E: Error + 'static,
{
    let endpoint = &place.endpoint;
    let causes: Vec<&(dyn Error + 'static)> = chain(error).collect();
    let why = words(error);
    if causes.iter().any(|cause| cause.is::<CredentialsError>()) {
        let sentence = format!(
            "no credentials: set an access key in the configuration, or give some by AWS_ACCESS_KEY_ID and \
             AWS_SECRET_ACCESS_KEY, a profile, a web identity or the machine's role ({why})"
        );
        return (io::ErrorKind::PermissionDenied, sentence);
    }
    let late = match error {
        SdkError::TimeoutError(_) => true,
        SdkError::DispatchFailure(failure) => failure.is_timeout(),
        _ => false,
    };
    if late {
        let sentence = format!("no answer from {endpoint} in time: is it up, and can it be reached from here? ({why})");
        return (io::ErrorKind::TimedOut, sentence);
    }
    if why.contains("certificate") {
        let sentence = format!(
            "the certificate of {endpoint} is not trusted: for a certificate authority of one's own, set its file ({why})"
        );
        return (io::ErrorKind::PermissionDenied, sentence);
    }
    let kind = causes
        .iter()
        .find_map(|cause| cause.downcast_ref::<io::Error>())
        .map_or(io::ErrorKind::Other, io::Error::kind);
    match error {
        SdkError::DispatchFailure(_) => (
            kind,
            format!("{endpoint} cannot be reached, or breaks the connection off ({why})"),
        ),
        SdkError::ConstructionFailure(_) => (
            io::ErrorKind::InvalidInput,
            format!("the request cannot be made ({why})"),
        ),
        _ => (
            kind,
            format!("what {endpoint} answers is broken off, or not what an S3 store answers ({why})"),
        ),
    }
}

fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

/// The error and its causes, each as it displays itself: none of that names a secret.
pub(super) fn words(error: &(dyn Error + 'static)) -> String {
    let mut words: Vec<String> = chain(error).map(ToString::to_string).collect();
    words.dedup();
    words.join(": ")
}
