//! A moto server that tests share while any of them runs.

use std::{
    fs::File,
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, Weak},
    thread,
    time::Duration,
};

use storage::s3::S3Options;

static RUNNING: Mutex<Weak<Moto>> = Mutex::new(Weak::new());

/// The server; the last test that lets go of it ends it.
pub(crate) struct Moto {
    server: Child,
    port: u16,
    scheme: &'static str,
}

impl Moto {
    /// The one that runs, or a new one, with a bucket `bucket`.
    pub(crate) fn shared() -> Arc<Moto> {
        let mut running = RUNNING.lock().unwrap();
        if let Some(moto) = running.upgrade() {
            return moto;
        }
        let moto = Arc::new(Moto::start(None));
        *running = Arc::downgrade(&moto);
        moto
    }

    /// One of its own that speaks TLS only, with its certificates in a folder (see `ci/s3/moto`).
    pub(crate) fn by_tls(folder: &Path) -> Moto {
        Moto::start(Some(folder))
    }

    fn start(tls: Option<&Path>) -> Moto {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../ci/s3/moto");
        let log = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("moto-{port}.log"));
        let server = Command::new(&script)
            .args([&port.to_string(), "tied"])
            .args(tls)
            // Held open by us alone, so that it ends when we do, however that happens.
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", script.display()));
        let scheme = if tls.is_some() { "https" } else { "http" };
        let mut moto = Moto { server, port, scheme };
        // Long: the first time it is installed.
        for _ in 0..6000 {
            if tls.is_some() {
                if TcpStream::connect(moto.address()).is_ok() {
                    return moto;
                }
            } else if moto.ask("GET / HTTP/1.1").is_some() {
                let made = moto.ask("PUT /bucket HTTP/1.1").unwrap();
                assert!(made.contains("200"), "making a bucket: {made}");
                return moto;
            }
            if let Some(ended) = moto.server.try_wait().unwrap() {
                panic!("moto ended ({ended}): {}", std::fs::read_to_string(&log).unwrap());
            }
            thread::sleep(Duration::from_millis(100));
        }
        panic!("moto does not answer: {}", std::fs::read_to_string(&log).unwrap());
    }

    fn address(&self) -> SocketAddrV4 {
        SocketAddrV4::new(Ipv4Addr::LOCALHOST, self.port)
    }

    fn ask(&self, what: &str) -> Option<String> {
        let mut server = TcpStream::connect(self.address()).ok()?;
        write!(
            server,
            "{what}\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        )
        .ok()?;
        let mut answer = String::new();
        server.read_to_string(&mut answer).ok()?;
        (!answer.is_empty()).then_some(answer)
    }

    /// What reaches the bucket below a prefix.
    pub(crate) fn options(&self, prefix: &str) -> S3Options {
        S3Options {
            prefix: prefix.to_owned(),
            endpoint: Some(format!("{}://127.0.0.1:{}", self.scheme, self.port)),
            path_style: true,
            access_key_id: Some("key".to_owned()),
            secret_access_key: Some("secret".to_owned().into()),
            ..S3Options::new("bucket")
        }
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}
