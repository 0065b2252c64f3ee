//! `holdfast stream …` of a server at `https://`: a node behind a gate that speaks TLS.

use std::{io, path::PathBuf, time::Duration};

use net::rt::{self, TcpListener, TcpStream};
use tempfile::TempDir;
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::ring,
        pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    },
};

use super::{Ended, Paper, any_bytes, typed, until, with_shell};

/// Takes TLS for `localhost`, and hands on what it says to a node.
struct Gate {
    port: u16,
    folder: TempDir,
    /// What vouches for the gate.
    ca_file: PathBuf,
}

impl Gate {
    #[expect(
        clippy::disallowed_methods,
        reason = "a file of certificates is what the command is handed, and it is no node's"
    )]
    async fn before(node: &str) -> Self {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        let folder = tempfile::tempdir().expect("a folder");
        let ca_file = folder.path().join("ca.pem");
        std::fs::write(&ca_file, made.cert.pem()).expect("written");
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let config = ServerConfig::builder_with_provider(ring::default_provider().into())
            .with_safe_default_protocol_versions()
            .expect("versions of TLS")
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .expect("its key");
        let acceptor = TlsAcceptor::from(std::sync::Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("its address").port();
        let node = node.to_owned();
        drop(rt::spawn("gate", async move {
            while let Ok((guest, _)) = listener.accept().await {
                let (acceptor, node) = (acceptor.clone(), node.clone());
                let passing = async move {
                    let mut outside = acceptor.accept(guest).await?;
                    let mut inside = TcpStream::connect(&node).await?;
                    tokio::io::copy_bidirectional(&mut outside, &mut inside).await?;
                    io::Result::Ok(())
                };
                // Who leaves in the middle, or does not trust the gate, has an answer of his own.
                drop(rt::spawn("guest", async move { drop(passing.await) }));
            }
        }));
        Self { port, folder, ca_file }
    }

    /// A command, told whom to trust.
    async fn trusted(&self, line: &str, input: &[u8], out: Paper) -> Ended {
        let line = format!("{line} --ca {}", self.ca_file.display());
        typed(&format!("https://localhost:{}", self.port), &line, input, out).await
    }
}

#[test]
fn what_goes_through_tls_comes_out_byte_by_byte() {
    with_shell(async |shell| {
        let gate = Gate::before(&shell.config.server.listen).await;
        let bytes = any_bytes().repeat(3);
        for (line, input) in [("create raw", &b""[..]), ("append raw", &bytes[..])] {
            let ended = gate.trusted(line, input, Paper::default()).await;
            assert_eq!(ended.code, 0, "{line}: {}", ended.err);
        }
        let read = gate.trusted("read raw", b"", Paper::default()).await;
        assert!(read.code == 0 && read.out == bytes, "{}", read.err);
        // The node itself has them, too.
        assert!(shell.done("read raw", b"").await == bytes);

        // Answers that take their time, and many at once.
        let seen = Paper::default();
        let tail = gate.trusted("tail raw", b"", seen.clone());
        let writing = async {
            until("the tail", || seen.bytes().is_empty()).await;
            rt::sleep(Duration::from_millis(200)).await;
            let lines = gate.trusted("append raw --lines", b"a\nb\nc\n", Paper::default()).await;
            assert_eq!(lines.code, 0, "{}", lines.err);
            until("the lines", || seen.bytes() == b"abc").await;
            gate.trusted("close raw", b"", Paper::default()).await
        };
        let (tail, closed) = futures_util::future::join(tail, writing).await;
        assert_eq!((tail.code, closed.code), (0, 0), "{} {}", tail.err, closed.err);
    });
}

#[test]
fn a_server_that_nobody_vouches_for_is_refused_at_once() {
    with_shell(async |shell| {
        let gate = Gate::before(&shell.config.server.listen).await;
        shell.done("create log", b"").await;
        let system = format!("https://localhost:{}", gate.port);
        let ca = format!("--ca {}", gate.ca_file.display());
        // Its certificate is for a name, and this is another.
        let other_name = format!("https://127.0.0.1:{}", gate.port);
        let plain = format!("https://{}", shell.config.server.listen);
        for (url, more) in [(&system, ""), (&other_name, &ca[..]), (&plain, &ca)] {
            for line in ["append log", "tail log", "info log"] {
                let line = format!("{line} --json {more}");
                let asked = typed(url, &line, b"x", Paper::default());
                // Appends are sent again for half a minute and tails for ever, but not to a stranger.
                let ended = rt::timeout(Duration::from_secs(10), asked).await.expect("at once");
                let told: serde_json::Value = serde_json::from_str(&ended.err).expect(&ended.err);
                assert_eq!(
                    (ended.code, &told["code"]),
                    (1, &"not_trusted".into()),
                    "{url} {line}: {told}"
                );
            }
        }
        assert!(shell.done("read log", b"").await.is_empty());
    });
}

#[test]
fn a_file_that_vouches_for_nobody_is_a_mistake() {
    with_shell(async |shell| {
        let gate = Gate::before(&shell.config.server.listen).await;
        let empty = gate.folder.path().join("missing.pem");
        for file in [empty, PathBuf::from("/dev/null")] {
            let line = format!("info log --ca {}", file.display());
            let ended = shell.run(&line, b"").await;
            assert!(ended.code == 2 && ended.err.contains("--ca"), "{}", ended.err);
        }
    });
}
