//! The cold store as a bucket of S3, or of a store that speaks S3, by the official SDK.
//!
//! What a name means to the seam, `If-None-Match: *` means to the store: whoever is first has it. A store that does not
//! keep to that loses bytes in silence, so [`S3Cold::probe`] refuses it. The SDK sends a request again when its answer was
//! lost; after a put that had succeeded the second one finds the name taken, and [`ColdError::Exists`] is what the caller
//! is told of its own object. Names are chosen so that nobody else uses them: who is told `Exists` reads and compares.
//!
//! Time comes from the SDK's configuration, where [`S3Cold::with_config`] takes it from: a timer, a clock and a client that
//! are not of this machine can be handed in.

mod body;
mod client;
mod error;
mod options;
mod probe;
mod range;

use std::{fmt, io, ops::Range, pin::pin, time::Duration};

pub use aws_sdk_s3;
use aws_sdk_s3::{
    Client,
    config::{self, AsyncSleep, SharedAsyncSleep},
    error::ProvideErrorMetadata,
    primitives::ByteStream,
    types::ServerSideEncryption,
};
use bytes::{Bytes, BytesMut};
use futures_util::future::{Either, select};

pub use self::options::{Encryption, S3Options, Secret};
use self::{
    body::Pieces,
    error::{Place, refusal, told, words},
};
use crate::{
    cold::{Cold, KEY_LEN_MAX, check_key},
    disk::Fut,
    error::ColdError,
};

/// The most keys that S3 puts into one answer.
const PAGE_KEYS_MAX: usize = 1000;
/// How often a put is sent at most that meets another of the same name (409), and how long it waits before the second
/// time; then twice as long, and so on: 1.5 s in all.
const CONFLICTS_MAX: u32 = 5;
const CONFLICT_PAUSE: Duration = Duration::from_millis(100);
/// S3 takes names of 1024 bytes.
const PREFIX_LEN_MAX: usize = 1024 - 1 - KEY_LEN_MAX;
/// Further than any object reaches; stores count in 64 bits with a sign.
const OFFSET_MAX: u64 = i64::MAX as u64;

/// A [`Cold`] in a bucket. It is driven by tokio, unless [`S3Cold::with_config`] was given another client and timer.
pub struct S3Cold {
    client: Client,
    sleep: SharedAsyncSleep,
    place: Place,
    /// What stands before every key: empty, or with a `/` at its end.
    prefix: String,
    encryption: Encryption,
    body_timeout: Duration,
}

impl fmt::Debug for S3Cold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let S3Cold { place, prefix, .. } = self;
        f.debug_struct("S3Cold")
            .field("place", place)
            .field("prefix", prefix)
            .finish_non_exhaustive()
    }
}

impl S3Cold {
    /// A client for a bucket; whether it answers, [`S3Cold::probe`] tells.
    ///
    /// Credentials and region that the options leave open come from the SDK's standard chain, which reads the environment
    /// (`AWS_ACCESS_KEY_ID`, `AWS_PROFILE`, ...), the files in `~/.aws`, a web identity, and the metadata of the container
    /// or the machine. With an access key and a region or an endpoint in the options none of that is looked at.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidInput`] if the options make no sense or there is no region; those of reading the CA file.
    pub async fn open(options: S3Options) -> Result<S3Cold, ColdError> {
        options.check().map_err(invalid)?;
        let config = client::real(&options).await?;
        S3Cold::with_config(options, config)
    }

    /// The same with another outside: `config` brings the HTTP client, the timer (`sleep_impl`), the clock (`time_source`)
    /// and, where the options have none, credentials and region. The options' CA file is not looked at; all else of them
    /// is.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidInput`] if the options make no sense, or `config` lacks a timer or a region.
    pub fn with_config(options: S3Options, config: config::Builder) -> Result<S3Cold, ColdError> {
        options.check().map_err(invalid)?;
        let prefix = match options.prefix.trim_matches('/') {
            "" => String::new(),
            prefix => {
                check_key(prefix)?;
                if prefix.len() > PREFIX_LEN_MAX {
                    return Err(invalid(format!("the prefix is longer than {PREFIX_LEN_MAX} bytes")));
                }
                format!("{prefix}/")
            }
        };
        let client = client::build(&options, config)?;
        let sleep = client.config().sleep_impl();
        let sleep =
            sleep.ok_or_else(|| invalid("the configuration of the SDK has no timer (sleep_impl)".to_owned()))?;
        let region = client.config().region().map_or("", |region| region.as_ref());
        let place = Place {
            endpoint: options.endpoint.unwrap_or_else(|| format!("AWS ({region})")),
            bucket: options.bucket,
        };
        Ok(S3Cold {
            client,
            sleep,
            place,
            prefix,
            encryption: options.encryption,
            body_timeout: options.operation_timeout,
        })
    }

    fn full(&self, key: &str) -> Result<String, ColdError> {
        check_key(key)?;
        Ok(format!("{}{key}", self.prefix))
    }

    async fn put(&self, key: &str, pieces: Vec<Bytes>) -> Result<(), ColdError> {
        let full = self.full(key)?;
        let pieces = Pieces::new(pieces);
        let length = i64::try_from(pieces.len()).map_err(|_| invalid(format!("the object {full} is too long")))?;
        let (encryption, kms) = match &self.encryption {
            Encryption::AsTheBucketSays => (None, None),
            Encryption::Aes256 => (Some(ServerSideEncryption::Aes256), None),
            Encryption::Kms(id) => (Some(ServerSideEncryption::AwsKms), Some(id.clone())),
        };
        let checksum = pieces.crc32c();
        let mut pause = CONFLICT_PAUSE;
        let mut turn = 1;
        loop {
            let request = self
                .client
                .put_object()
                .bucket(&self.place.bucket)
                .key(&full)
                .if_none_match("*")
                .content_length(length)
                .checksum_crc32_c(&checksum)
                .set_server_side_encryption(encryption.clone())
                .set_ssekms_key_id(kms.clone())
                .body(ByteStream::new(pieces.to_body()));
            let Err(error) = request.send().await else {
                return Ok(());
            };
            match refusal(&error).map(|refusal| refusal.status) {
                Some(412) => return Err(ColdError::Exists),
                // A race that is not decided: nothing was written, and the next time it is.
                Some(409) if turn < CONFLICTS_MAX => {
                    self.sleep.sleep(pause).await;
                    pause *= 2;
                    turn += 1;
                }
                _ => return Err(told(&error, &format!("PutObject of {full}"), &self.place).into()),
            }
        }
    }

    async fn get(&self, key: &str, range: Range<u64>) -> Result<Bytes, ColdError> {
        let full = self.full(key)?;
        let range = range.start..range.end.min(OFFSET_MAX);
        // What is empty is still asked for with a byte: the object may not be there, and HEAD does not say why.
        let asked = if range.is_empty() { 0..1 } else { range.clone() };
        let request = self
            .client
            .get_object()
            .bucket(&self.place.bucket)
            .key(&full)
            .range(format!("bytes={}-{}", asked.start, asked.end - 1));
        let answer = match request.send().await {
            Ok(answer) => answer,
            Err(error) => {
                return match refusal(&error) {
                    Some(refusal) if refusal.status == 416 => Ok(Bytes::new()),
                    // Any other 404 comes from a wrong bucket, or from something that is no S3 store.
                    Some(refusal) if refusal.code == "NoSuchKey" => Err(ColdError::NotFound),
                    _ => Err(told(&error, &format!("GetObject of {full}"), &self.place).into()),
                };
            }
        };
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        let bad = |kind, what: String| {
            let (bucket, endpoint) = (&self.place.bucket, &self.place.endpoint);
            let told = format!("GetObject of {full} in the bucket {bucket} at {endpoint}: {what}");
            ColdError::Io(io::Error::new(kind, told))
        };
        let length = range::promised(answer.content_range(), answer.content_length(), &asked)
            .map_err(|what| bad(io::ErrorKind::InvalidData, what))?;
        let read = pin!(read(answer.body, length));
        match select(read, self.sleep.sleep(self.body_timeout)).await {
            Either::Left((read, _)) => read.map_err(|what| bad(io::ErrorKind::UnexpectedEof, what)),
            Either::Right(_) => {
                let what = format!("its {length} bytes did not come within {:?}", self.body_timeout);
                Err(bad(io::ErrorKind::TimedOut, what))
            }
        }
    }

    async fn keys(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<String>, ColdError> {
        let within = format!("{}{prefix}", self.prefix);
        let mut last = after.map(|after| format!("{}{after}", self.prefix));
        let mut keys = Vec::new();
        let mut go_on = None;
        while keys.len() < limit {
            let page = (limit - keys.len()).min(PAGE_KEYS_MAX);
            let request = self
                .client
                .list_objects_v2()
                .bucket(&self.place.bucket)
                .set_prefix((!within.is_empty()).then(|| within.clone()))
                .set_start_after(last.clone().filter(|_| go_on.is_none()))
                .set_continuation_token(go_on.take())
                .max_keys(page as i32);
            let asked = || format!("ListObjectsV2 of {within}");
            let answer = request
                .send()
                .await
                .map_err(|error| told(&error, &asked(), &self.place))?;
            for full in answer.contents().iter().filter_map(|object| object.key()) {
                let key = full.strip_prefix(&self.prefix);
                let key = key.filter(|_| full.starts_with(&within) && last.as_deref().is_none_or(|last| full > last));
                let Some(key) = key else {
                    let told = format!(
                        "{} in the bucket {}: {full} follows {last:?}: this store does not list in the order of keys",
                        asked(),
                        self.place.bucket
                    );
                    return Err(ColdError::Io(io::Error::new(io::ErrorKind::InvalidData, told)));
                };
                // What no key of ours can be, as the markers that consoles make for folders, is not ours.
                if check_key(key).is_ok() {
                    keys.push(key.to_owned());
                }
                last = Some(full.to_owned());
            }
            go_on = answer.next_continuation_token().map(str::to_owned);
            if go_on.is_none() {
                break;
            }
        }
        Ok(keys)
    }

    async fn remove(&self, key: &str) -> Result<(), ColdError> {
        let full = self.full(key)?;
        let request = self.client.delete_object().bucket(&self.place.bucket).key(&full);
        match request.send().await {
            Ok(_) => Ok(()),
            // S3 says 204 where nothing was; not all do.
            Err(error) if error.code() == Some("NoSuchKey") => Ok(()),
            Err(error) => Err(told(&error, &format!("DeleteObject of {full}"), &self.place).into()),
        }
    }
}

impl Cold for S3Cold {
    /// A put that met another of the same name is sent again a few times; one whose answer was lost, by the SDK. So
    /// [`ColdError::Exists`] may tell of the object that this very call has written.
    fn put_if_absent(&self, key: &str, pieces: Vec<Bytes>) -> Fut<'_, Result<(), ColdError>> {
        let key = key.to_owned();
        Box::pin(async move { self.put(&key, pieces).await })
    }

    /// A body that breaks off is an error and not sent for again: the SDK sees only the heads of answers.
    fn get_range(&self, key: &str, range: Range<u64>) -> Fut<'_, Result<Bytes, ColdError>> {
        let key = key.to_owned();
        Box::pin(async move { self.get(&key, range).await })
    }

    fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Fut<'_, Result<Vec<String>, ColdError>> {
        let (prefix, after) = (prefix.to_owned(), after.map(str::to_owned));
        Box::pin(async move { self.keys(&prefix, after.as_deref(), limit).await })
    }

    fn delete(&self, key: &str) -> Fut<'_, Result<(), ColdError>> {
        let key = key.to_owned();
        Box::pin(async move { self.remove(&key).await })
    }
}

/// A body of exactly `length` bytes; in words, why it is none.
async fn read(mut body: ByteStream, length: usize) -> Result<Bytes, String> {
    let mut bytes = BytesMut::with_capacity(length);
    loop {
        match body.try_next().await {
            Ok(Some(chunk)) if chunk.len() <= length - bytes.len() => bytes.extend_from_slice(&chunk),
            Ok(Some(_)) => return Err(format!("more than the promised {length} bytes came")),
            Ok(None) if bytes.len() == length => return Ok(bytes.freeze()),
            Ok(None) => return Err(format!("{} bytes came of {length}", bytes.len())),
            Err(error) => {
                return Err(format!(
                    "{} bytes came of {length}, then: {}",
                    bytes.len(),
                    words(&error)
                ));
            }
        }
    }
}

fn invalid(what: String) -> ColdError {
    ColdError::Io(io::Error::new(io::ErrorKind::InvalidInput, what))
}
