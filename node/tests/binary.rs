//! The program itself: what it prints, what it refuses, and with which exit code.
#![expect(
    clippy::disallowed_methods,
    reason = "this stands outside of the node: real files, real processes"
)]

use std::{
    ffi::OsStr,
    io::{BufRead, BufReader},
    os::unix::ffi::OsStrExt,
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use net::{
    rt,
    serve::{Client, ClientOptions},
};

const BINARY: &str = env!("CARGO_BIN_EXE_holdfast");

fn run(arguments: &[&str]) -> Output {
    Command::new(BINARY).args(arguments).output().expect("it runs")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A server that runs until it is dropped.
struct Running {
    child: Child,
    address: String,
}

impl Running {
    fn start(data: &Path, more: &[&str]) -> Self {
        let data = data.to_str().expect("UTF-8");
        let arguments = [&["serve", "--listen", "127.0.0.1:0", "--data-dir", data], more].concat();
        let mut child = Command::new(BINARY)
            .env("HOLDFAST_LOG", "warn")
            .args(arguments)
            .stderr(Stdio::piped())
            .spawn()
            .expect("it runs");
        let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        let address = lines.find_map(|line| {
            let line = line.expect("text");
            Some(line.trim().strip_prefix("listening on ")?.split(',').next()?.to_owned())
        });
        // Whatever it says later must not fill the pipe.
        let mut rest = lines;
        let reading = move || while rest.next().is_some() {};
        #[expect(clippy::disallowed_methods, reason = "this is outside of any node")]
        drop(std::thread::spawn(reading));
        Self {
            child,
            address: address.expect("it says where it listens"),
        }
    }

    fn terminate(mut self) -> Option<i32> {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").arg(pid).status().expect("kill").success());
        let status = self.child.wait().expect("an end");
        // A process that a signal ended has no code.
        assert_eq!(status.signal(), None, "{status}");
        status.code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn it_says_its_version() {
    let output = run(&["version"]);
    assert!(output.status.success());
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        format!("holdfast {}\n", env!("CARGO_PKG_VERSION"))
    );
}

#[test]
fn a_configuration_is_checked_and_shown_whole() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("node.toml");
    std::fs::write(&file, "version = 1\n[http]\nmax_body = \"1MiB\"\n").expect("written");
    let output = run(&["config", "check", file.to_str().expect("UTF-8")]);
    assert!(output.status.success(), "{}", said(&output));
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(
        shown.contains("max_body = \"1MiB\"") && shown.contains("[journal]"),
        "{shown}"
    );

    std::fs::write(&file, "version = 1\n[server]\nlistn = \"x\"\n").expect("written");
    let output = run(&["config", "check", file.to_str().expect("UTF-8")]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        said(&output).contains("server.listen"),
        "the nearest key is named: {}",
        said(&output)
    );
    let output = run(&["serve", "--config", file.to_str().expect("UTF-8")]);
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
}

#[test]
fn a_directory_in_use_or_of_another_is_refused_with_a_word_on_what_to_do() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let path = data.to_str().expect("UTF-8");
    let running = Running::start(&data, &[]);

    let output = run(&["serve", "--listen", "127.0.0.1:0", "--data-dir", path]);
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output).contains("in use by another process"), "{}", said(&output));

    // Its journal can be looked at meanwhile.
    let output = run(&["journal", "inspect", path]);
    assert!(output.status.success(), "{}", said(&output));
    assert!(String::from_utf8_lossy(&output.stdout).contains("segment 0000000000000001"));
    let output = run(&["journal", "inspect", path, "--json"]);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(report["segments"][0]["id"], 1);

    let other = folder.path().join("other");
    let output = run(&[
        "serve",
        "--listen",
        &running.address,
        "--data-dir",
        other.to_str().expect("UTF-8"),
    ]);
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output).contains("cannot listen on"), "{}", said(&output));

    assert_eq!(running.terminate(), Some(0));
    let output = run(&["serve", "--listen", "127.0.0.1:0", "--data-dir", path, "--node-id", "2"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output).contains("belongs to node 1"), "{}", said(&output));
    let output = run(&["journal", "inspect", other.join("none").to_str().expect("UTF-8")]);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
}

/// Passed over, it would leave the node with settings that nobody wrote.
#[test]
fn a_variable_that_is_no_text_is_refused_by_its_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let serve = [
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--data-dir",
        data.to_str().expect("UTF-8"),
    ];
    let stream = ["stream", "ls"];
    let bad = OsStr::from_bytes(b"a\xff");
    for (variable, arguments) in [("HOLDFAST_SERVER_DATA_DIR", &serve[..]), ("HOLDFAST_URL", &stream[..])] {
        let output = Command::new(BINARY)
            .env(variable, bad)
            .args(arguments)
            .output()
            .expect("it runs");
        assert_eq!(output.status.code(), Some(2), "{}", said(&output));
        assert!(
            said(&output).contains(&format!("{variable}: is not UTF-8")),
            "{}",
            said(&output)
        );
    }
    let output = Command::new(BINARY)
        .env(OsStr::from_bytes(b"HOLDFAST_\xff"), "1")
        .args(serve)
        .output()
        .expect("it runs");
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert!(said(&output).contains("is not UTF-8"), "{}", said(&output));
    assert!(!data.exists(), "nothing was begun");
}

#[test]
fn what_was_answered_is_there_after_a_restart() {
    rt::block_on(async {
        let folder = tempfile::tempdir().expect("a folder");
        let client = Client::new(ClientOptions::default());
        for round in 0..3 {
            let running = Running::start(folder.path(), &[]);
            let call = async |method: &str, body: &'static [u8]| {
                let request = Request::builder()
                    .method(method)
                    .uri(format!("http://{}/v1/stream/s", running.address))
                    .header("content-type", "text/plain")
                    .body(Full::new(Bytes::from_static(body)))
                    .expect("a request");
                let answer = client.call(request, Duration::from_secs(30)).await.expect("an answer");
                assert!(answer.status().is_success(), "{method}: {}", answer.status());
                answer.into_body()
            };
            call("PUT", b"").await;
            call("POST", b"x").await;
            assert_eq!(call("GET", b"").await, "x".repeat(round + 1));
            assert_eq!(running.terminate(), Some(0));
        }
    })
    .expect("a runtime");
}
