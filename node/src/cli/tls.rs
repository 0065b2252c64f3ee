//! TLS, for servers at `https://`: whom to trust, and the handshake.
//!
//! The certificates of the system are read when the first `https://` is called, and not before: who has none can still
//! use `http://`.

use std::{io, path::Path, sync::Arc};

use futures_util::future::BoxFuture;
use net::{
    rt::TcpStream,
    serve::{Duplex, Secure},
};
use tokio::sync::OnceCell;
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::ring,
        pki_types::{CertificateDer, ServerName, pem::PemObject},
    },
};

use super::call::Failure;

/// The client's side of TLS.
#[derive(Default)]
pub(super) struct Tls {
    connector: OnceCell<TlsConnector>,
}

impl Tls {
    /// Trusts the certificates in this file of PEM, and no others; without a file, what the system trusts.
    pub(super) fn new(ca_file: Option<&Path>) -> Result<Self, Failure> {
        let Some(file) = ca_file else {
            return Ok(Self::default());
        };
        let unfit = |because: String| Failure::misused(format!("--ca {}: {because}", file.display()));
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(file).map_err(|error| unfit(error.to_string()))? {
            let certificate = certificate.map_err(|error| unfit(error.to_string()))?;
            roots.add(certificate).map_err(|error| unfit(error.to_string()))?;
        }
        if roots.is_empty() {
            return Err(unfit("there is no certificate in it".to_owned()));
        }
        let connector = connector(roots).map_err(|error| unfit(error.to_string()))?;
        Ok(Self {
            connector: OnceCell::new_with(Some(connector)),
        })
    }

    async fn connector(&self) -> io::Result<&TlsConnector> {
        let of_the_system = || async {
            let mut roots = RootCertStore::empty();
            let found = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(found.certs);
            if roots.is_empty() {
                let because = found
                    .errors
                    .first()
                    .map_or(String::new(), |error| format!(" ({error})"));
                let message = format!("this system trusts no certificates{because}: name a file of them with --ca");
                return Err(io::Error::new(io::ErrorKind::InvalidData, message));
            }
            connector(roots)
        };
        self.connector.get_or_try_init(of_the_system).await
    }
}

/// HTTP/1.1 over TLS 1.2 or 1.3, with servers that one of these vouches for.
fn connector(roots: RootCertStore) -> io::Result<TlsConnector> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

impl Secure for Tls {
    fn secure<'a>(&'a self, host: &'a str, stream: TcpStream) -> BoxFuture<'a, io::Result<Box<dyn Duplex>>> {
        Box::pin(async move {
            let name = host.trim_start_matches('[').trim_end_matches(']').to_owned();
            let name = ServerName::try_from(name).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            let stream = self.connector().await?.connect(name, stream).await?;
            Ok(Box::new(stream) as Box<dyn Duplex>)
        })
    }
}
