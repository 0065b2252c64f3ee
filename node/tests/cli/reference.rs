//! The same commands against a server that is not Holdfast: the reference server, which `ci/differential/run` starts.

use std::time::Duration;

use futures_util::future::join;
use net::rt;

use super::{Ended, Paper, typed, until};

/// A server of the protocol somewhere.
struct Elsewhere {
    url: String,
}

impl Elsewhere {
    async fn run(&self, line: &str, input: &[u8]) -> Ended {
        typed(&self.url, line, input, Paper::default()).await
    }

    /// What a command that is done printed.
    async fn done(&self, line: &str, input: &[u8]) -> Vec<u8> {
        let ended = self.run(line, input).await;
        assert_eq!(ended.code, 0, "{line}: {}", ended.err);
        ended.out
    }
}

#[test]
#[ignore = "wants the URL of another server in REFERENCE_URL: ci/differential/run starts one"]
#[expect(
    clippy::disallowed_methods,
    reason = "the test has no arguments: its server is named by a variable"
)]
fn every_command_works_with_the_reference_server() {
    let url = std::env::var("REFERENCE_URL").expect("REFERENCE_URL names the server");
    let all = async {
        let there = Elsewhere { url };
        bytes_and_their_end(&there).await;
        lines_of_text(&there).await;
        messages(&there).await;
        for live in ["long-poll", "sse"] {
            tailed(&there, live).await;
        }
        what_it_has_not(&there).await;
    };
    let ended = rt::block_on(async { rt::timeout(Duration::from_secs(120), all).await });
    ended.expect("a runtime").expect("no test takes two minutes");
}

/// The server was started for this run: nobody else has used such a name.
fn name(of: &str) -> String {
    format!("cli/{of}")
}

async fn bytes_and_their_end(there: &Elsewhere) {
    let raw = name("raw");
    let bytes: Vec<u8> = (0..3_000_000u32)
        .map(|number| (number.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    there.done(&format!("create {raw} --ttl 600"), b"").await;
    // A repeat of the whole run is stored once, though it takes several appends.
    for _ in 0..2 {
        there.done(&format!("append {raw} --producer p"), &bytes).await;
    }
    assert!(there.done(&format!("read {raw}"), b"").await == bytes);
    let info = String::from_utf8(there.done(&format!("info {raw}"), b"").await).unwrap();
    assert!(
        info.contains("application/octet-stream") && info.contains("600"),
        "{info}"
    );
    there.done(&format!("close {raw}"), b"").await;
    let refused = there.run(&format!("append {raw}"), b"more").await;
    assert_eq!(refused.code, 1);
    assert!(refused.err.contains("closed"), "{}", refused.err);
    there.done(&format!("rm {raw}"), b"").await;
    for command in ["read", "info", "rm", "tail", "close"] {
        let gone = there.run(&format!("{command} {raw}"), b"").await;
        assert_eq!(gone.code, 1, "{command}: {}", gone.err);
        assert!(gone.err.contains("404"), "{command}: {}", gone.err);
    }
}

async fn lines_of_text(there: &Elsewhere) {
    let log = name("log");
    there.done(&format!("create {log} -t text"), b"").await;
    let lines: String = (0..200).map(|number| format!("{number},\n")).collect();
    let line = format!("append {log} --lines --in-flight 4 --producer p");
    there.done(&line, lines.as_bytes()).await;
    there.done(&line, lines.as_bytes()).await;
    let read = there.done(&format!("read {log}"), b"").await;
    assert_eq!(String::from_utf8(read).unwrap(), lines.replace('\n', ""));
}

async fn messages(there: &Elsewhere) {
    let log = name("messages");
    there.done(&format!("create {log} -t json"), b"").await;
    there.done(&format!("append {log}"), b"[{\"a\": 1}, \"x,]\"]").await;
    there.done(&format!("append {log} --lines"), b"[[3]]\n\n4\n").await;
    let read = there.done(&format!("read {log}"), b"").await;
    assert_eq!(String::from_utf8(read).unwrap(), "{\"a\":1}\n\"x,]\"\n[3]\n4\n");
    let refused = there.run(&format!("append {log}"), b"nonsense").await;
    assert_eq!(refused.code, 1, "{}", refused.err);
}

/// What is written while somebody follows, up to the end of the stream.
async fn tailed(there: &Elsewhere, live: &str) {
    let log = name(live);
    there.done(&format!("create {log}"), b"").await;
    there.done(&format!("append {log}"), b"before ").await;
    let paper = Paper::default();
    let tail = format!("tail {log} --offset -1 --live {live}");
    let following = typed(&there.url, &tail, b"", paper.clone());
    let writing = async {
        until("the beginning", || paper.bytes() == b"before ").await;
        there.done(&format!("append {log}"), b"\xff\0 one ").await;
        until("the first", || paper.bytes() == b"before \xff\0 one ").await;
        there.done(&format!("append {log}"), b"two").await;
        there.done(&format!("close {log}"), b"").await;
    };
    let (ended, ()) = join(following, writing).await;
    assert_eq!(ended.code, 0, "{live}: {}", ended.err);
    assert_eq!(ended.out, b"before \xff\0 one two", "{live}");
}

/// Buckets are Holdfast's own.
async fn what_it_has_not(there: &Elsewhere) {
    let ended = there.run("ls chat", b"").await;
    assert_eq!(ended.code, 1, "{}", ended.err);
    assert!(ended.err.contains("this server lists no streams"), "{}", ended.err);
}
