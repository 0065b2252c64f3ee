//! What an S3 store needs to be told, and what it may be told.

use std::{fmt, path::PathBuf, time::Duration};

/// Where the bucket is, who asks, and how long to wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Options {
    /// The bucket. It must exist: it is never created.
    pub bucket: String,
    /// What the names of all objects begin with, as `team/holdfast`; a `/` at either end makes no difference. Empty: the
    /// whole bucket. What else lies in the bucket is never looked at.
    pub prefix: String,
    /// The region, as `eu-central-1`. `None`: what the standard chain says; with an endpoint and without that, `us-east-1`,
    /// which most other stores do not look at.
    pub region: Option<String>,
    /// Where the store is, if it is not AWS's own: `https://host:port` or `http://host:port`.
    pub endpoint: Option<String>,
    /// Whether the bucket stands in the path (`host/bucket/key`) and not in the host name (`bucket.host/key`). Most stores
    /// other than AWS want it. Default: no.
    pub path_style: bool,
    /// The id of the access key. `None`: the standard chain is asked (see [`super::S3Cold::open`]).
    pub access_key_id: Option<String>,
    /// The secret of the access key; given if and only if the id is.
    pub secret_access_key: Option<Secret>,
    /// A file of PEM certificates; with it, only what they vouch for is trusted. `None`: the certificates of the system.
    pub ca_file: Option<PathBuf>,
    /// How the store encrypts what it writes to its disks. Default: as the bucket says.
    pub encryption: Encryption,
    /// How long to wait for a connection. Default: 5 s.
    pub connect_timeout: Duration,
    /// How long one attempt may take, from sending the request to the head of the answer; and how long the bytes of a
    /// body may stand still. Default: 30 s.
    pub attempt_timeout: Duration,
    /// How long a request may take with all its attempts, and again how long the body of an answer may. Default: 120 s.
    pub operation_timeout: Duration,
    /// How often a request is sent at most, counting the first time: again after a timeout, a broken connection, a 5xx or
    /// 503 SlowDown, with growing pauses. 1: never again. Default: 3.
    pub attempts: u32,
}

impl S3Options {
    /// The whole of a bucket, with the defaults for everything else.
    pub fn new(bucket: impl Into<String>) -> S3Options {
        S3Options {
            bucket: bucket.into(),
            prefix: String::new(),
            region: None,
            endpoint: None,
            path_style: false,
            access_key_id: None,
            secret_access_key: None,
            ca_file: None,
            encryption: Encryption::AsTheBucketSays,
            connect_timeout: Duration::from_secs(5),
            attempt_timeout: Duration::from_secs(30),
            operation_timeout: Duration::from_secs(120),
            attempts: 3,
        }
    }

    /// What is wrong with them, in words.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.bucket.is_empty() || self.bucket.contains('/') {
            return Err(format!("{:?} is no name of a bucket", self.bucket));
        }
        if let Some(endpoint) = &self.endpoint
            && !["http://", "https://"]
                .iter()
                .any(|scheme| endpoint.starts_with(scheme))
        {
            return Err(format!("the endpoint {endpoint:?} must begin with http:// or https://"));
        }
        if self.access_key_id.is_some() != self.secret_access_key.is_some() {
            return Err(
                "an access key has an id and a secret: give both, or neither for the standard chain".to_owned(),
            );
        }
        if self.attempts == 0 {
            return Err("a request must be sent at least once: attempts is 0".to_owned());
        }
        let times = [self.connect_timeout, self.attempt_timeout, self.operation_timeout];
        if times.iter().any(Duration::is_zero) {
            return Err("a timeout of zero lets nothing pass".to_owned());
        }
        Ok(())
    }

    /// Whether the answers come over an encrypted connection.
    pub(super) fn is_https(&self) -> bool {
        self.endpoint
            .as_deref()
            .is_none_or(|endpoint| endpoint.starts_with("https://"))
    }
}

/// How the store encrypts what it writes to its disks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Encryption {
    /// As the bucket's own setting says.
    #[default]
    AsTheBucketSays,
    /// SSE-S3: with keys of the store's own (`AES256`).
    Aes256,
    /// SSE-KMS: with the key of this id or ARN in the store's key management; who writes and reads needs
    /// `kms:GenerateDataKey` and `kms:Decrypt` for it.
    Kms(String),
}

/// A text that is not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl From<String> for Secret {
    fn from(text: String) -> Secret {
        Secret(text)
    }
}

impl Secret {
    /// The text itself.
    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_shown() {
        let mut options = S3Options::new("bucket");
        options.access_key_id = Some("id".to_owned());
        options.secret_access_key = Some("hush".to_owned().into());
        let shown = format!("{options:?}");
        assert!(shown.contains("***") && !shown.contains("hush"), "{shown}");
    }

    #[test]
    fn what_makes_no_sense_is_told_in_words() {
        type Spoil = fn(&mut S3Options);
        let cases: [(Spoil, &str); 6] = [
            (|o| o.bucket = String::new(), "no name of a bucket"),
            (|o| o.endpoint = Some("host:9000".to_owned()), "must begin with http"),
            (|o| o.access_key_id = Some("id".to_owned()), "give both"),
            (|o| o.secret_access_key = Some("s".to_owned().into()), "give both"),
            (|o| o.attempts = 0, "at least once"),
            (|o| o.attempt_timeout = Duration::ZERO, "zero"),
        ];
        assert_eq!(S3Options::new("bucket").check(), Ok(()));
        for (spoil, words) in cases {
            let mut options = S3Options::new("bucket");
            spoil(&mut options);
            let error = options.check().unwrap_err();
            assert!(error.contains(words), "{error}");
        }
    }
}
