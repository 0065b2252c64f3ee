//! Server processes: started, asked whether they are ready, killed.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use net::{
    rt,
    serve::{Client, ClientOptions},
};

/// A node that can be started and killed, over one data directory.
pub(crate) struct Server {
    /// `127.0.0.1:port`.
    pub(crate) authority: String,
    arguments: Vec<String>,
    log: PathBuf,
    child: Option<Child>,
}

impl Server {
    /// A node that has not been started. Its words go to a file `{name}.log` in the folder.
    pub(crate) fn new(folder: &Path, name: &str, authority: &str, arguments: &[&str]) -> Server {
        Server {
            authority: authority.to_owned(),
            arguments: arguments.iter().map(|argument| (*argument).to_owned()).collect(),
            log: folder.join(format!("{name}.log")),
            child: None,
        }
    }

    pub(crate) fn start(&mut self) {
        assert!(self.child.is_none(), "it runs already");
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.log)
            .unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_holdfast"))
            .args(&self.arguments)
            .env("HOLDFAST_LOG_FILTER", "info,openraft=warn")
            .env("KILL9_SECRET", "secret")
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn();
        self.child = Some(child.expect("the program starts"));
    }

    /// SIGKILL: no flush, no farewell.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Waits for the process to end by itself.
    pub(crate) async fn end(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("it runs");
        let began = Instant::now();
        loop {
            if let Some(status) = child.try_wait().unwrap() {
                return status;
            }
            if began.elapsed() > Duration::from_secs(20) {
                drop(child.kill());
                panic!("it does not end; it said:\n{}", self.said());
            }
            rt::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until `path` answers 200, and says how long that took.
    pub(crate) async fn ready(&mut self, path: &str) -> Duration {
        let client = client();
        let began = Instant::now();
        loop {
            if let Ok(answer) = get(&client, &format!("http://{}{path}", self.authority)).await
                && answer.status() == 200
            {
                return began.elapsed();
            }
            let ended = self.child.as_mut().expect("it runs").try_wait().unwrap();
            assert!(
                ended.is_none() && began.elapsed() < Duration::from_secs(30),
                "{} does not answer {path}; ended: {ended:?}; it said:\n{}",
                self.authority,
                self.said()
            );
            rt::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The end of what it has written to its log.
    pub(crate) fn said(&self) -> String {
        let said = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = said.lines().collect();
        lines[lines.len().saturating_sub(60)..].join("\n")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("--- {} said:\n{}", self.authority, self.said());
        }
    }
}

/// A client whose answers may hold a whole stream.
pub(crate) fn client() -> Client {
    Client::new(ClientOptions {
        answer_bytes_max: 256 << 20,
        ..ClientOptions::default()
    })
}

/// A GET with a deadline.
pub(crate) async fn get(client: &Client, uri: &str) -> Result<http::Response<Bytes>, net::serve::CallError> {
    let request = Request::get(uri)
        .body(Full::new(Bytes::new()))
        .expect("a valid request");
    client.call(request, Duration::from_secs(10)).await
}

/// So many ports that nobody listens on.
pub(crate) fn free_authorities<const N: usize>() -> [String; N] {
    let held = [(); N].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    held.map(|listener| listener.local_addr().unwrap().to_string())
}

/// Runs a test on a runtime of its own, for so long and no longer.
pub(crate) fn run(limit: Duration, test: impl Future<Output = ()>) {
    rt::block_on(async { rt::timeout(limit, test).await.expect("the test ends in time") }).unwrap();
}
