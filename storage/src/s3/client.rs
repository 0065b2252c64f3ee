//! The SDK's client: what the options mean to it, how it reaches the store, and who it says it is.

use std::{io, path::Path};

use aws_config::Region;
use aws_sdk_s3::{
    Client,
    config::{
        self, BehaviorVersion, Credentials, RequestChecksumCalculation, ResponseChecksumValidation, SharedHttpClient,
        StalledStreamProtectionConfig,
        retry::{RetryConfig, RetryPartition},
        timeout::TimeoutConfig,
    },
};
use aws_smithy_async::rt::sleep::TokioSleep;
use aws_smithy_http_client::{
    Builder,
    tls::{self, TlsContext, TrustStore, rustls_provider::CryptoMode},
};
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};

use super::options::S3Options;

/// What most stores that are not AWS take for a region.
const REGION_ANY: &str = "us-east-1";

/// The pieces for a real store: sockets, TLS, time, and credentials and region from the standard chain where the options
/// leave them open.
pub(super) async fn real(options: &S3Options) -> io::Result<config::Builder> {
    let roots = match &options.ca_file {
        Some(file) => trusted(file)?,
        None if options.is_https() => TrustStore::default(),
        // Not even looked for: a machine without certificates can use a store without TLS.
        None => TrustStore::empty(),
    };
    let known = options.access_key_id.is_some() && (options.region.is_some() || options.endpoint.is_some());
    let config = if known {
        config::Builder::new()
    } else {
        let mut chain =
            aws_config::defaults(BehaviorVersion::latest()).http_client(http_client(TrustStore::default())?);
        if let Some(region) = &options.region {
            chain = chain.region(Region::new(region.clone()));
        }
        config::Builder::from(&chain.load().await)
    };
    Ok(config.http_client(http_client(roots)?).sleep_impl(TokioSleep::new()))
}

/// The client: the options, and for the rest what is in `config`.
pub(super) fn build(options: &S3Options, mut config: config::Builder) -> io::Result<Client> {
    if let (Some(id), Some(secret)) = (&options.access_key_id, &options.secret_access_key) {
        config = config.credentials_provider(Credentials::new(id, secret.reveal(), None, None, "options"));
    }
    if let Some(region) = &options.region {
        config = config.region(Region::new(region.clone()));
    }
    if let Some(endpoint) = &options.endpoint {
        config = config.endpoint_url(endpoint);
    }
    let region = config.clone().build().region().cloned();
    match region {
        Some(_) => {}
        None if options.endpoint.is_some() => config = config.region(Region::new(REGION_ANY)),
        None => {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "no region for the S3 bucket: set it in the configuration, or as AWS_REGION",
            ));
        }
    }
    let config = config
        .behavior_version(BehaviorVersion::latest())
        .force_path_style(options.path_style)
        .retry_config(RetryConfig::standard().with_max_attempts(options.attempts))
        // Otherwise all clients of the process would draw their retries from one account.
        .retry_partition(RetryPartition::custom("holdfast").build())
        .timeout_config(
            TimeoutConfig::builder()
                .connect_timeout(options.connect_timeout)
                .operation_attempt_timeout(options.attempt_timeout)
                .operation_timeout(options.operation_timeout)
                .build(),
        )
        .stalled_stream_protection(
            StalledStreamProtectionConfig::enabled()
                // The timeout of an attempt has an eye on what is sent.
                .upload_enabled(false)
                .grace_period(options.attempt_timeout)
                .build(),
        )
        // A put brings its own (see `body`), and what is read in ranges is checked by whoever reads it.
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
    Ok(Client::from_conf(config.build()))
}

fn http_client(roots: TrustStore) -> io::Result<SharedHttpClient> {
    let tls = TlsContext::builder()
        .with_trust_store(roots)
        .build()
        .map_err(io::Error::other)?;
    Ok(Builder::new()
        .tls_provider(tls::Provider::Rustls(CryptoMode::Ring))
        .tls_context(tls)
        .build_https())
}

/// The certificates of a file, and nothing else. They are looked at here, for the SDK would panic over a bad one.
#[expect(
    clippy::disallowed_methods,
    reason = "read once, at start, on the production side of the seam"
)]
fn trusted(file: &Path) -> io::Result<TrustStore> {
    let at = |kind, what: String| io::Error::new(kind, format!("the certificates in {}: {what}", file.display()));
    let pem = std::fs::read(file).map_err(|error| at(error.kind(), error.to_string()))?;
    let bad = |what: String| at(io::ErrorKind::InvalidData, what);
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|error| bad(error.to_string()))?;
        roots.add(certificate).map_err(|error| bad(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(bad("there are none; a PEM file of at least one is needed".to_owned()));
    }
    Ok(TrustStore::empty().with_pem_certificate(pem))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a broken file is made by hand")]
    fn a_bad_ca_file_is_an_error_with_its_path() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.pem");
        let refused = || trusted(&file).unwrap_err().to_string();
        assert!(refused().contains("ca.pem"), "a missing one");
        std::fs::write(&file, "no PEM").unwrap();
        assert!(refused().contains("at least one is needed"));
        std::fs::write(&file, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
        assert!(refused().contains("ca.pem"), "one that is no certificate");
    }

    #[test]
    fn without_a_region_it_says_where_to_set_one() {
        let error = build(&S3Options::new("bucket"), config::Builder::new()).unwrap_err();
        assert!(error.to_string().contains("AWS_REGION"), "{error}");
    }
}
