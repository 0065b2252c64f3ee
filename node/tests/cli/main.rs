//! `holdfast stream …` against a node in this process, over real sockets; and against another server (`reference`).

mod reference;
mod tls;

use std::{
    io::{self, Cursor, Write},
    sync::{Arc, Mutex},
    time::Duration,
};

use clap::Parser;
use net::{clock::SystemClock, dice::Dice, rt};
use node::{
    Node, World,
    cli::{Stream, Surroundings},
    config::Config,
};
use storage::memory::{MemoryDisk, MemoryIndex};

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    stream: Stream,
}

/// Where a command writes, so that a test can look while it runs.
#[derive(Clone, Default)]
struct Paper(Arc<Mutex<Vec<u8>>>);

impl Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Paper {
    fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap().clone()
    }

    fn text(&self) -> String {
        String::from_utf8(self.bytes()).expect("text")
    }
}

struct Shell {
    node: Node,
    config: Config,
    world: World,
}

/// How a command ended.
struct Ended {
    code: u8,
    out: Vec<u8>,
    err: String,
}

impl Shell {
    async fn start() -> Self {
        let world = World {
            disk: Arc::new(MemoryDisk::default()),
            index: Arc::new(MemoryIndex::default()),
            cold: None,
            clock: Arc::new(SystemClock),
            dice: Dice::from_seed(1),
        };
        let mut config = Config::default();
        config.server.listen = "127.0.0.1:0".to_owned();
        config.http.long_poll_timeout = Duration::from_millis(500);
        let node = Node::start(config.clone(), world.clone()).await.expect("it starts");
        config.server.listen = node.address().to_string();
        Self { node, config, world }
    }

    async fn type_into(&self, line: &str, input: &[u8], out: Paper) -> Ended {
        typed(&format!("http://{}", self.config.server.listen), line, input, out).await
    }

    async fn run(&self, line: &str, input: &[u8]) -> Ended {
        self.type_into(line, input, Paper::default()).await
    }

    /// A command that is done.
    async fn done(&self, line: &str, input: &[u8]) -> Vec<u8> {
        let ended = self.run(line, input).await;
        assert_eq!(ended.code, 0, "{line}: {}", ended.err);
        ended.out
    }
}

/// A command, where `HOLDFAST_URL` names this server.
async fn typed(url: &str, line: &str, input: &[u8], out: Paper) -> Ended {
    let words = ["holdfast"].into_iter().chain(line.split_whitespace());
    let parsed = Line::try_parse_from(words).unwrap_or_else(|error| panic!("{line}: {error}"));
    let err = Paper::default();
    let around = Surroundings {
        input: Box::new(Cursor::new(input.to_vec())),
        output: Box::new(out.clone()),
        complaints: Box::new(err.clone()),
        default_url: Some(url.to_owned()),
        watched: false,
    };
    let code = parsed.stream.run(around).await;
    Ended {
        code,
        out: out.bytes(),
        err: err.text(),
    }
}

fn with_shell(test: impl AsyncFnOnce(&mut Shell)) {
    let all = async {
        let mut shell = Shell::start().await;
        test(&mut shell).await;
        shell.node.shutdown(Duration::ZERO).await;
    };
    let ended = rt::block_on(async { rt::timeout(Duration::from_secs(120), all).await });
    ended.expect("a runtime").expect("no test takes two minutes");
}

/// Every byte there is, and more than one piece of it.
fn any_bytes() -> Vec<u8> {
    (0..700_000u32)
        .map(|number| (number.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect()
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..1500 {
        if holds() {
            return;
        }
        rt::sleep(Duration::from_millis(20)).await;
    }
    panic!("{what} did not come");
}

#[test]
fn what_goes_in_comes_out_byte_by_byte() {
    with_shell(async |shell| {
        let bytes = any_bytes();
        shell.done("create raw", b"").await;
        shell.done("append raw", &bytes).await;
        assert!(shell.done("read raw", b"").await == bytes);
        shell.done("append raw", b"\0\xff\r\n").await;
        let end = shell.done("read raw --offset 00000000000000700000", b"").await;
        assert_eq!(end, b"\0\xff\r\n");
    });
}

#[test]
fn a_large_input_goes_in_pieces_and_once() {
    with_shell(async |shell| {
        let bytes = any_bytes().repeat(5);
        shell.done("create raw", b"").await;
        let line = "append raw --producer p --json";
        let told: serde_json::Value = serde_json::from_slice(&shell.done(line, &bytes).await).unwrap();
        assert_eq!(told["appends"], 4, "3.5 million bytes in pieces of a MiB: {told}");
        assert!(shell.done("read raw", b"").await == bytes);
        // The same run again is a repeat, also with several pieces under way.
        shell.done("append raw --producer p --in-flight 4", &bytes).await;
        assert!(shell.done("read raw", b"").await == bytes);
        // Another epoch is not.
        shell
            .done("append raw --producer p --epoch 1 --in-flight 4", &bytes)
            .await;
        assert!(shell.done("read raw", b"").await == bytes.repeat(2));
        let nothing = shell.run("append raw", b"").await;
        assert_eq!(nothing.code, 2, "{}", nothing.err);
    });
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    struct Closed;
    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    with_shell(async |shell| {
        shell.done("create log", b"").await;
        shell.done("append log", b"something").await;
        let parsed = Line::try_parse_from(["holdfast", "read", "log"]).expect("a command");
        let err = Paper::default();
        let around = Surroundings {
            input: Box::new(io::empty()),
            output: Box::new(Closed),
            complaints: Box::new(err.clone()),
            default_url: Some(format!("http://{}", shell.config.server.listen)),
            watched: false,
        };
        assert_eq!(parsed.stream.run(around).await, 0);
        assert_eq!(err.text(), "");
    });
}

#[test]
fn the_streams_of_a_bucket_are_listed_one_a_line() {
    with_shell(async |shell| {
        for name in ["chat/b", "chat/a", "chat/ab", "other"] {
            shell.done(&format!("create {name}"), b"").await;
        }
        let table = [
            ("ls chat", "a\nab\nb\n"),
            ("ls chat --prefix a", "a\nab\n"),
            ("ls chat --limit 2", "a\nab\n"),
            ("ls", "other\n"),
        ];
        for (line, expected) in table {
            let listed = String::from_utf8(shell.done(line, b"").await).unwrap();
            assert_eq!(listed, expected, "{line}");
        }
        let first = String::from_utf8(shell.done("ls chat --limit 1 --json", b"").await).unwrap();
        let first: serde_json::Value = serde_json::from_str(&first).expect("one object a line");
        assert_eq!(first["stream_id"], "a");
        let missing = shell.run("ls nothing", b"").await;
        assert_eq!(missing.code, 1, "{}", missing.err);
        assert!(missing.err.contains("bucket_not_found"), "{}", missing.err);
    });
}

#[test]
fn a_stream_is_told_of_closed_and_removed() {
    with_shell(async |shell| {
        shell.done("create log -t text --ttl 600", b"").await;
        let info = String::from_utf8(shell.done("info log", b"").await).unwrap();
        assert!(info.contains("text/plain") && info.contains("600"), "{info}");
        let known: serde_json::Value = serde_json::from_slice(&shell.done("info log --json", b"").await).unwrap();
        assert_eq!(
            (&known["next_offset"], &known["ttl_seconds"]),
            (&"00000000000000000000".into(), &600.into())
        );
        shell.done("close log", b"").await;
        let refused = shell.run("append log", b"more").await;
        assert_eq!(refused.code, 1);
        assert!(refused.err.contains("409 stream_closed"), "{}", refused.err);
        shell.done("rm log", b"").await;
        for line in ["read log", "info log", "rm log", "tail log"] {
            let gone = shell.run(line, b"").await;
            assert_eq!(gone.code, 1, "{line}");
            assert!(gone.err.contains("stream_not_found"), "{line}: {}", gone.err);
        }
        let gone: serde_json::Value = serde_json::from_str(&shell.run("--json read log", b"").await.err).unwrap();
        assert_eq!((&gone["ended"], &gone["status"]), (&"refused".into(), &404.into()));
        let misused = shell.run("read log --url ftp://x", b"").await;
        assert_eq!(misused.code, 2, "{}", misused.err);
        let nobody = shell.run("info log --url http://127.0.0.1:1", b"").await;
        assert_eq!(nobody.code, 1, "{}", nobody.err);
    });
}

#[test]
fn lines_are_appended_in_order_and_once() {
    with_shell(async |shell| {
        shell.done("create log -t text", b"").await;
        let lines: String = (0..500).map(|number| format!("{number},\n")).collect();
        let line = "append log --lines --producer p --json";
        let told: serde_json::Value = serde_json::from_slice(&shell.done(line, lines.as_bytes()).await).unwrap();
        assert_eq!(told["appends"], 500, "{told}");
        let expected = lines.replace('\n', "");
        assert_eq!(shell.done("read log", b"").await, expected.as_bytes());
        // The same run again is a repeat.
        shell.done(line, lines.as_bytes()).await;
        assert_eq!(shell.done("read log", b"").await, expected.as_bytes());
        // Bytes that are no text are lines, too; empty lines are none.
        shell.done("create raw", b"").await;
        shell.done("append raw --lines", b"\xff\xfe\n\n\0\r\nend").await;
        assert_eq!(shell.done("read raw", b"").await, b"\xff\xfe\0end");
    });
}

#[test]
fn messages_come_out_one_a_line_as_they_went_in() {
    with_shell(async |shell| {
        shell.done("create m -t json", b"").await;
        let lines = "{\"b\":1.50,\"a\":[1,2]}\n\"x,]\"\n[3]\n";
        shell
            .done(
                "append m --lines --in-flight 1",
                lines.replace("[3]", "[[3]]").as_bytes(),
            )
            .await;
        assert_eq!(String::from_utf8(shell.done("read m", b"").await).unwrap(), lines);
        let refused = shell.run("append m --lines", b"7\nnonsense\n8\n").await;
        assert_eq!(refused.code, 1);
        assert!(refused.err.contains("invalid_json"), "{}", refused.err);
    });
}

#[test]
fn a_tail_goes_on_over_a_restart_of_the_server_without_gap_or_repeat() {
    for live in ["long-poll", "sse"] {
        with_shell(async |shell| {
            shell.done("create log", b"").await;
            shell.done("append log", b"before ").await;
            let paper = Paper::default();
            let tail = format!("tail log --offset -1 --live {live}");
            let other = Shell {
                node: shell.node.clone(),
                config: shell.config.clone(),
                world: shell.world.clone(),
            };
            let out = paper.clone();
            let following = async { other.type_into(&tail, b"", out).await };
            let writing = async {
                until("the beginning", || paper.bytes() == b"before ").await;
                shell.done("append log", b"\xff\0 one ").await;
                until("the first", || paper.bytes() == b"before \xff\0 one ").await;
                shell.node.shutdown(Duration::ZERO).await;
                rt::sleep(Duration::from_millis(300)).await;
                shell.node = Node::start(shell.config.clone(), shell.world.clone())
                    .await
                    .expect("it starts again");
                shell.done("append log", b"two ").await;
                shell.done("append log", b"three").await;
                shell.done("close log", b"").await;
            };
            let (ended, ()) = futures_util::future::join(following, writing).await;
            assert_eq!(ended.code, 0, "{live}: {}", ended.err);
            assert_eq!(ended.out, b"before \xff\0 one two three", "{live}");
        });
    }
}
