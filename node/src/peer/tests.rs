//! Peers over loopback and over pipes: what calls promise, and what strangers cannot do.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::{
    FutureExt,
    future::{self, BoxFuture, join_all},
};
use net::{
    dice::Dice,
    rt::{self, TcpListener, TcpStream},
};
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

use super::{
    BULK, Gate, Handler, MAGIC, NotDone, Options, PeerState, Peers, Reply, Why,
    handshake::{self, Purpose, Welcome},
};
use crate::cluster::{Hello, Unique};

const LONG: Duration = Duration::from_secs(10);

/// Talks to everybody whose cluster has the same name.
struct Open(Hello);

impl Open {
    fn new(node_id: u64, advertise: &str, cluster_name: &str) -> Arc<Open> {
        Arc::new(Open(Hello {
            node_id,
            data: Unique(u128::from(node_id)),
            advertise: advertise.into(),
            cluster_name: cluster_name.into(),
            groups: 1,
            bootstrap_node_id: 1,
            founding: None,
        }))
    }
}

impl Gate for Open {
    fn hello(&self) -> Hello {
        self.0.clone()
    }

    fn meet<'a>(&'a self, theirs: &'a Hello) -> BoxFuture<'a, Result<(), String>> {
        let known = theirs.cluster_name == self.0.cluster_name;
        async move {
            if known {
                Ok(())
            } else {
                Err("of another cluster".into())
            }
        }
        .boxed()
    }
}

const ECHO: u8 = 1;
const NOTE: u8 = 2;
const HANG: u8 = 3;
const REFUSE: u8 = 4;
const SLOW_ECHO: u8 = BULK;

#[derive(Default)]
struct Desk {
    noted: Mutex<Vec<Bytes>>,
    hanging: Arc<AtomicUsize>,
}

/// Counts the futures that hang, and notices when they are dropped.
struct Hanging(Arc<AtomicUsize>);

impl Drop for Hanging {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Handler for Desk {
    fn handle(&self, from: u64, kind: u8, group: u32, payload: Bytes) -> Reply {
        match kind {
            ECHO => async move { Ok(vec![Bytes::from(format!("{from} {group} ")), payload]) }.boxed(),
            NOTE => {
                self.noted.lock().unwrap().push(payload);
                async { Ok(Vec::new()) }.boxed()
            }
            HANG => {
                self.hanging.fetch_add(1, Ordering::SeqCst);
                let hanging = Hanging(self.hanging.clone());
                async move {
                    let _hanging = hanging;
                    std::future::pending().await
                }
                .boxed()
            }
            SLOW_ECHO => async move {
                rt::sleep(Duration::from_millis(u64::from(group))).await;
                Ok(vec![payload])
            }
            .boxed(),
            _ => async { Err(NotDone("nothing is known of that".into())) }.boxed(),
        }
    }
}

/// A node that only knows how to talk.
struct Party {
    peers: Peers,
    address: String,
    desk: Arc<Desk>,
    accepting: rt::JoinHandle<()>,
}

impl Drop for Party {
    fn drop(&mut self) {
        self.accepting.abort();
        self.peers.shutdown();
    }
}

async fn party_of(cluster: &str, node_id: u64, at: &str, options: Options) -> Party {
    let listener = TcpListener::bind(at).await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let peers = Peers::start(
        Open::new(node_id, &address, cluster),
        options,
        &Dice::from_seed(node_id),
    );
    let desk = Arc::new(Desk::default());
    let (accepted_peers, accepted_desk) = (peers.clone(), desk.clone());
    let accepting = rt::spawn("accept", async move {
        loop {
            let (mut io, _) = listener.accept().await.unwrap();
            io.set_nodelay(true).unwrap();
            let (peers, desk) = (accepted_peers.clone(), accepted_desk.clone());
            drop(rt::spawn("serve", async move {
                let mut magic = [0; 16];
                if io.read_exact(&mut magic).await.is_ok() && magic == MAGIC {
                    peers.serve(io, desk).await;
                }
            }));
        }
    });
    Party {
        peers,
        address,
        desk,
        accepting,
    }
}

fn quick() -> Options {
    let ms = Duration::from_millis;
    Options {
        ping_every: ms(50),
        handshake: ms(500),
        backoff_min: ms(5),
        backoff_max: ms(50),
        payload_bytes_max: 8 << 20,
        ..Options::default()
    }
}

async fn party(node_id: u64) -> Party {
    party_of("prod", node_id, "127.0.0.1:0", quick()).await
}

/// Two parties that know each other's address.
async fn pair() -> (Party, Party) {
    let (one, two) = (party(1).await, party(2).await);
    one.peers.set_address(2, &two.address);
    (one, two)
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    for _ in 0..1000 {
        if condition() {
            return;
        }
        rt::sleep(Duration::from_millis(5)).await;
    }
    panic!("never: {what}");
}

fn run(test: impl Future<Output = ()>) {
    rt::block_on(async {
        rt::timeout(Duration::from_secs(30), test)
            .await
            .expect("a test in time")
    })
    .unwrap();
}

fn state(party: &Party, of: u64) -> PeerState {
    party
        .peers
        .status()
        .into_iter()
        .find(|peer| peer.node_id == of)
        .unwrap()
        .state
}

fn text(text: &str) -> Vec<Bytes> {
    vec![Bytes::copy_from_slice(text.as_bytes())]
}

#[test]
fn a_call_is_answered_and_the_caller_known() {
    run(async {
        let (one, two) = pair().await;
        let answer = one.peers.call(2, ECHO, 7, text("hello"), LONG).await.unwrap();
        assert_eq!(answer, "1 7 hello");
        // Whoever is dialled learns where the dialer lives, and dials back.
        until("node 2 knows node 1", || two.peers.known().contains_key(&1)).await;
        assert_eq!(two.peers.call(1, ECHO, 0, text("you"), LONG).await.unwrap(), "2 0 you");
        assert_eq!(two.peers.known()[&1], one.address);
    });
}

#[test]
fn many_calls_of_all_sizes_share_the_line_and_are_answered_in_any_order() {
    run(async {
        let (one, _two) = pair().await;
        let calls = (0..600_u32).map(|at| {
            let peers = one.peers.clone();
            async move {
                let size = [0, 1, 255, 256, 257, 4096, 70_000, 300_000][at as usize % 8];
                let parts = vec![Bytes::from(vec![at as u8; size]), Bytes::from_static(b"end")];
                let kind = if at % 2 == 0 { ECHO } else { SLOW_ECHO };
                let answer = peers.call(2, kind, at % 20, parts, LONG).await.unwrap();
                assert!(answer.ends_with(b"end"));
                let body = &answer[answer.len() - 3 - size..answer.len() - 3];
                assert!(body.iter().all(|byte| *byte == at as u8));
            }
        });
        join_all(calls).await;
        let status = &one.peers.status()[0];
        assert_eq!((status.waiting, status.queued_bytes), (0, 0));
    });
}

#[test]
fn requests_of_a_class_reach_the_handler_in_order() {
    run(async {
        let (one, two) = pair().await;
        let notes: Vec<_> = (0..2000_u32).map(|at| Bytes::from(at.to_string())).collect();
        join_all(
            notes
                .iter()
                .map(|note| one.peers.call(2, NOTE, 0, vec![note.clone()], LONG)),
        )
        .await;
        assert_eq!(*two.desk.noted.lock().unwrap(), notes);
    });
}

#[test]
fn a_deadline_says_that_the_request_may_have_arrived() {
    run(async {
        let (one, two) = pair().await;
        let error = one
            .peers
            .call(2, HANG, 0, text("x"), Duration::from_millis(200))
            .await
            .unwrap_err();
        assert_eq!((error.sent, error.why), (true, Why::Deadline));
        assert_eq!(two.desk.hanging.load(Ordering::SeqCst), 1);
        assert_eq!(one.peers.status()[0].waiting, 0);
    });
}

#[test]
fn what_the_handler_did_not_do_was_not_done() {
    run(async {
        let (one, _two) = pair().await;
        let error = one.peers.call(2, REFUSE, 0, text("x"), LONG).await.unwrap_err();
        assert_eq!(
            (error.sent, error.why),
            (false, Why::NotDone("nothing is known of that".into()))
        );
    });
}

#[test]
fn a_lost_connection_fails_its_calls_at_once_and_comes_back() {
    run(async {
        let (one, two) = pair().await;
        let calls = one.peers.clone();
        let hanging = rt::spawn("call", async move { calls.call(2, HANG, 0, text("x"), LONG).await });
        until("the call arrives", || two.desk.hanging.load(Ordering::SeqCst) == 1).await;
        let address = two.address.clone();
        let desk = two.desk.clone();
        drop(two);
        let error = hanging.await.unwrap().unwrap_err();
        assert!(error.sent && matches!(error.why, Why::Lost(_)), "{error:?}");
        until("the handler's future is dropped", || {
            desk.hanging.load(Ordering::SeqCst) == 0
        })
        .await;

        until("it is missed", || state(&one, 2) == PeerState::Unreachable).await;
        let again = party_of("prod", 2, &address, quick()).await;
        until("it is found again", || state(&one, 2) == PeerState::Connected).await;
        assert_eq!(one.peers.call(2, ECHO, 0, text("x"), LONG).await.unwrap(), "1 0 x");
        drop(again);
    });
}

#[test]
fn a_peer_that_moves_is_followed() {
    run(async {
        let (one, two) = pair().await;
        one.peers.call(2, ECHO, 0, text("x"), LONG).await.unwrap();
        drop(two);
        // At another port; nobody tells node 1 but node 2 itself.
        let moved = party(2).await;
        moved.peers.set_address(1, &one.address);
        until("node 1 dials the new address", || {
            one.peers.known()[&2] == moved.address && state(&one, 2) == PeerState::Connected
        })
        .await;
    });
}

#[test]
fn strangers_are_refused_on_either_side_and_the_status_says_why() {
    run(async {
        let one = party(1).await;
        let other = party_of("test", 2, "127.0.0.1:0", quick()).await;
        one.peers.set_address(2, &other.address);
        until("it is refused", || state(&one, 2) == PeerState::Unreachable).await;
        let error = one.peers.call(2, ECHO, 0, text("x"), LONG).await.unwrap_err();
        assert_eq!(
            (error.sent, error.why),
            (false, Why::NotConnected("of another cluster".into()))
        );
        assert_eq!(one.peers.status()[0].reason.as_deref(), Some("of another cluster"));

        let four = party(4).await;
        one.peers.set_address(3, &four.address);
        let reason = || one.peers.status()[1].reason.clone().unwrap_or_default();
        until("the wrong node answers", || {
            reason().contains("answers node 4, not node 3")
        })
        .await;
        let error = one.peers.call(9, ECHO, 0, text("x"), LONG).await.unwrap_err();
        assert_eq!((error.sent, error.why), (false, Why::NoAddress));
    });
}

#[test]
fn anybody_may_ask_who_is_there() {
    run(async {
        let one = party(1).await;
        let other = party_of("test", 2, "127.0.0.1:0", quick()).await;
        let hello = one.peers.greet(&other.address).await.unwrap();
        assert_eq!(
            (hello.node_id, &hello.advertise, &*hello.cluster_name),
            (2, &other.address, "test")
        );
        assert!(other.peers.known().is_empty());
        assert!(one.peers.greet("127.0.0.1:1").await.is_err());
    });
}

/// A listener that introduces itself as node 2 and then does as it likes.
async fn odd_peer<F>(then: impl FnOnce(handshake::Line<TcpStream>) -> F + Send + 'static) -> String
where
    F: Future<Output = ()> + Send,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(rt::spawn("odd peer", async move {
        let (mut io, _) = listener.accept().await.unwrap();
        io.read_exact(&mut [0; 16]).await.unwrap();
        let mut line = handshake::line(io);
        handshake::read_hello(&mut line).await.unwrap();
        let welcome = Welcome {
            hello: Open::new(2, "odd:1", "prod").hello(),
            refusal: None,
        };
        handshake::send_welcome(&mut line, &welcome).await.unwrap();
        then(line).await;
    }));
    address
}

#[test]
fn a_peer_that_does_not_read_holds_no_more_memory_than_the_bound() {
    run(async {
        let address = odd_peer(|line| async move {
            let _line = line;
            std::future::pending().await
        })
        .await;
        // Patient with silence, so that only the bound is in play.
        let options = Options {
            queue_bytes_max: 1 << 20,
            ping_every: LONG,
            ..quick()
        };
        let one = party_of("prod", 1, "127.0.0.1:0", options).await;
        one.peers.set_address(2, &address);
        until("connected", || state(&one, 2) == PeerState::Connected).await;
        let body = Bytes::from(vec![0; 100_000]);
        // Slow enough for the line to take what it can, and enough to fill any buffer of the system.
        let mut calls = Vec::new();
        for _ in 0..200 {
            let (peers, body) = (one.peers.clone(), body.clone());
            let call = async move {
                peers
                    .call(2, ECHO, 0, vec![body], Duration::from_secs(2))
                    .await
                    .unwrap_err()
            };
            calls.push(rt::spawn("call", call));
            rt::sleep(Duration::from_millis(2)).await;
        }
        let queued = one.peers.status()[0].queued_bytes;
        assert!((900_000..=1 << 20).contains(&queued), "{queued}");
        let errors: Vec<_> = join_all(calls).await.into_iter().map(Result::unwrap).collect();
        let overloaded = errors
            .iter()
            .filter(|error| (error.sent, &error.why) == (false, &Why::Overloaded))
            .count();
        let unsent = errors
            .iter()
            .filter(|error| (error.sent, &error.why) == (false, &Why::Deadline))
            .count();
        let sent = errors
            .iter()
            .filter(|error| (error.sent, &error.why) == (true, &Why::Deadline))
            .count();
        assert!(overloaded > 0 && unsent > 0 && sent > 0, "{overloaded} {unsent} {sent}");
        assert_eq!(overloaded + unsent + sent, 200);
        assert_eq!(
            (one.peers.status()[0].queued_bytes, one.peers.status()[0].waiting),
            (0, 0)
        );
    });
}

#[test]
fn a_peer_that_falls_silent_is_given_up() {
    run(async {
        let address = odd_peer(|line| async move {
            let _line = line;
            std::future::pending().await
        })
        .await;
        let one = party(1).await;
        one.peers.set_address(2, &address);
        until("connected", || state(&one, 2) == PeerState::Connected).await;
        let error = one.peers.call(2, ECHO, 0, text("x"), LONG).await.unwrap_err();
        assert_eq!(
            (error.sent, error.why),
            (true, Why::Lost("it has fallen silent".into()))
        );
    });
}

#[test]
fn an_idle_line_stays_open() {
    run(async {
        let (one, two) = pair().await;
        until("both ways", || {
            two.peers.status().iter().any(|peer| peer.state == PeerState::Connected)
        })
        .await;
        until("connected", || state(&one, 2) == PeerState::Connected).await;
        rt::sleep(quick().ping_every * 20).await;
        assert_eq!(one.peers.call(2, ECHO, 0, text("x"), LONG).await.unwrap(), "1 0 x");
        assert!(one.peers.status()[0].calls_us);
    });
}

#[test]
fn nonsense_from_the_acceptor_ends_the_connection() {
    run(async {
        for nonsense in [
            &b"\xff\xff\xff\xff"[..],
            b"\0\0\0\x01\x01",
            b"\0\0\0\x0e\x01abcdefghijklm",
            b"\0\0\0\x0e\x09abcdefghijklm",
        ] {
            let address = odd_peer(move |mut line| async move {
                line.get_mut().write_all(nonsense).await.unwrap();
                std::future::pending().await
            })
            .await;
            let one = party_of(
                "prod",
                1,
                "127.0.0.1:0",
                Options {
                    ping_every: LONG,
                    ..quick()
                },
            )
            .await;
            one.peers.set_address(2, &address);
            until("given up", || one.peers.status()[0].reason.is_some()).await;
        }
    });
}

#[test]
fn too_many_requests_of_one_peer_are_turned_away_undone() {
    run(async {
        let one = party(1).await;
        let two = party_of(
            "prod",
            2,
            "127.0.0.1:0",
            Options {
                serving_calls_max: 3,
                ..quick()
            },
        )
        .await;
        one.peers.set_address(2, &two.address);
        let wait = Duration::from_millis(300);
        let answers = join_all((0..5).map(|_| one.peers.call(2, HANG, 0, text("x"), wait))).await;
        let undone = answers
            .iter()
            .filter(|answer| !answer.as_ref().unwrap_err().sent)
            .count();
        assert_eq!(undone, 2, "{answers:?}");
        // The other class has bounds of its own.
        assert_eq!(one.peers.call(2, SLOW_ECHO, 0, text("x"), LONG).await.unwrap(), "x");
    });
}

#[test]
fn more_calls_than_may_wait_are_not_sent() {
    run(async {
        let two = party(2).await;
        let one = party_of(
            "prod",
            1,
            "127.0.0.1:0",
            Options {
                calls_max: 3,
                ..quick()
            },
        )
        .await;
        one.peers.set_address(2, &two.address);
        let wait = Duration::from_millis(300);
        let answers = join_all((0..5).map(|_| one.peers.call(2, HANG, 0, text("x"), wait))).await;
        let overloaded = answers
            .iter()
            .filter(|answer| answer.as_ref().unwrap_err().why == Why::Overloaded)
            .count();
        assert_eq!(overloaded, 2);
        let error = one
            .peers
            .call(2, ECHO, 0, vec![Bytes::from(vec![0; 9 << 20])], LONG)
            .await
            .unwrap_err();
        assert_eq!((error.sent, error.why), (false, Why::TooLarge(9 << 20)));
    });
}

#[test]
fn whoever_dials_again_has_given_up_the_line_before() {
    run(async {
        let two = party(2).await;
        let twin = || async {
            let gate = Open::new(1, "127.0.0.1:1", "prod");
            super::link::introduce(&*gate, &two.address, Purpose::Link, LONG)
                .await
                .unwrap()
                .0
        };
        let mut first = twin().await;
        let _second = twin().await;
        assert_eq!(
            rt::timeout(LONG, first.get_mut().read(&mut [0; 8]))
                .await
                .unwrap()
                .unwrap_or(0),
            0
        );
    });
}

#[test]
fn a_shutdown_ends_everything_at_once() {
    run(async {
        let (one, two) = pair().await;
        let calls = one.peers.clone();
        let hanging = rt::spawn("call", async move { calls.call(2, HANG, 0, text("x"), LONG).await });
        until("the call arrives", || two.desk.hanging.load(Ordering::SeqCst) == 1).await;
        one.peers.shutdown();
        let error = hanging.await.unwrap().unwrap_err();
        assert_eq!((error.sent, error.why), (true, Why::Closed));
        let error = one.peers.call(2, ECHO, 0, text("x"), LONG).await.unwrap_err();
        assert_eq!((error.sent, error.why), (false, Why::Closed));
        until("the other side sees it", || {
            two.desk.hanging.load(Ordering::SeqCst) == 0
        })
        .await;
        assert!(one.peers.known().is_empty());
    });
}

/// Serves bytes from a pipe that then ends.
async fn serve_bytes(bytes: &[u8]) -> Vec<u8> {
    let peers = Peers::start(Open::new(1, "a:1", "prod"), quick(), &Dice::from_seed(1));
    let (near, mut far) = duplex(1 << 16);
    let serving = peers.serve(near, Arc::new(Desk::default()));
    let sending = async {
        drop(far.write_all(bytes).await);
        drop(far.shutdown().await);
        let mut said = Vec::new();
        drop(far.read_to_end(&mut said).await);
        said
    };
    future::join(serving, sending).await.1
}

fn opening() -> BytesMut {
    let hello = postcard::to_stdvec(&Open::new(2, "127.0.0.1:1", "prod").0).unwrap();
    let mut bytes = BytesMut::new();
    bytes.put_u32(2 + u32::try_from(hello.len()).unwrap());
    bytes.put_slice(&[1, Purpose::Link as u8]);
    bytes.put_slice(&hello);
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn garbage_instead_of_a_hello_ends_the_connection(garbage in prop::collection::vec(any::<u8>(), 0..300)) {
        run(async { assert!(serve_bytes(&garbage).await.is_empty()) });
    }

    #[test]
    fn garbage_after_a_hello_ends_the_connection(
        garbage in prop::collection::vec(any::<u8>(), 0..300),
        cut in 0..1000usize,
        frames: bool,
    ) {
        let mut bytes = opening();
        if frames {
            // Well cut, so that the garbage is in the heads.
            for piece in garbage.chunks(15) {
                bytes.put_u32(u32::try_from(piece.len()).unwrap());
                bytes.put_slice(piece);
            }
        } else {
            bytes.put_slice(&garbage);
        }
        let length = bytes.len().min(cut);
        run(async { drop(serve_bytes(&bytes[..length]).await) });
    }
}

#[test]
fn another_version_of_the_protocol_is_told_apart() {
    run(async {
        let mut bytes = opening();
        bytes[4] = 9;
        assert!(serve_bytes(&bytes).await.is_empty());
        let mut line = handshake::line(&bytes[..]);
        let error = handshake::read_hello(&mut line).await.unwrap_err();
        assert_eq!(error, "it speaks version 9 of the peer protocol, this node version 1");
    });
}
