//! The bucket that the configuration names, ready to be used as the cold store.

use std::{path::PathBuf, sync::Arc};

use net::rt;
use node::config::{S3, S3Addressing, S3Encryption};
use storage::{
    cold::Cold,
    s3::{Encryption, S3Cold, S3Options},
};

use crate::{Failure, resolved};

/// The bucket of an S3 store, after it was seen that puts which must not overwrite do not.
pub(crate) async fn bucket(s3: &S3) -> Result<Arc<dyn Cold>, Failure> {
    let cold = opened(s3).await?;
    cold.probe(&format!("{:016x}", rt::random_u64()))
        .await
        .map_err(Failure::refused)?;
    Ok(Arc::new(cold))
}

/// The same for who only reads: nothing is put there.
pub(crate) async fn bucket_to_look(s3: &S3) -> Result<Arc<dyn Cold>, Failure> {
    Ok(Arc::new(opened(s3).await?))
}

async fn opened(s3: &S3) -> Result<S3Cold, Failure> {
    let text = |key: &str, text: &Option<String>| text.as_deref().map(|text| resolved(key, text)).transpose();
    let options = S3Options {
        prefix: text("s3.prefix", &s3.prefix)?.unwrap_or_default(),
        region: text("s3.region", &s3.region)?,
        endpoint: text("s3.endpoint", &s3.endpoint)?,
        path_style: s3.addressing == S3Addressing::Path,
        access_key_id: text("s3.access_key_id", &s3.access_key_id)?,
        secret_access_key: text("s3.secret_access_key", &s3.secret_access_key)?.map(Into::into),
        ca_file: text("s3.ca_file", &s3.ca_file)?.map(PathBuf::from),
        encryption: match s3.encryption {
            S3Encryption::Bucket => Encryption::AsTheBucketSays,
            S3Encryption::Aes256 => Encryption::Aes256,
            S3Encryption::Kms => Encryption::Kms(text("s3.kms_key", &s3.kms_key)?.unwrap_or_default()),
        },
        connect_timeout: s3.connect_timeout,
        attempt_timeout: s3.attempt_timeout,
        operation_timeout: s3.operation_timeout,
        attempts: u32::try_from(s3.attempts).unwrap_or(u32::MAX),
        ..S3Options::new(text("s3.bucket", &s3.bucket)?.unwrap_or_default())
    };
    S3Cold::open(options).await.map_err(Failure::refused)
}
