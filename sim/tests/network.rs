//! The false network carries bytes as TCP does, and each of its faults is shown to bite.

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::service::service_fn;
use net::rt::{self, Instant, TcpListener, TcpStream};
use net::serve::{Client, ClientOptions, Limits, Protocol, Shutdown, Sniffed, serve_connection, sniff};
use sim::engine::{Control, Down, Engine, HostId, Options};
use sim::net::{Link, Net, NetOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const PORT: u16 = 4437;

struct World {
    engine: Engine,
    net: Net,
    a: HostId,
    b: HostId,
}

fn world(seed: u64) -> World {
    let engine = Engine::new(seed, Options::default());
    let net = Net::new(&engine, NetOptions::default());
    let (a, b) = (engine.host("a"), engine.host("b"));
    World { engine, net, a, b }
}

fn millis(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn secs(s: u64) -> Duration {
    Duration::from_secs(s)
}

fn address(host: HostId) -> String {
    Net::addr(host, PORT).to_string()
}

/// A server that sends back what it gets, until the other side shuts down.
fn echo(control: &Control, host: HostId) {
    let serve = async {
        let listener = TcpListener::bind("0.0.0.0:4437").await.expect("a free port");
        loop {
            let (mut stream, _) = listener.accept().await.expect("a listener");
            drop(rt::spawn("echo", async move {
                let mut buf = vec![0; 4 * 1024];
                loop {
                    match stream.read(&mut buf).await {
                        Ok(0) | Err(_) => break,
                        Ok(read) => {
                            if stream.write_all(&buf[..read]).await.is_err() {
                                break;
                            }
                        }
                    }
                }
                let _ = stream.shutdown().await;
            }));
        }
    };
    drop(control.spawn_on(host, "echo server", serve));
}

impl World {
    /// Runs a future on host a, after servers have had time to listen.
    fn on_a<T: Send + 'static>(&mut self, future: impl Future<Output = T> + Send + 'static) -> T {
        self.engine.run_for(millis(20)).expect("a run");
        let task = self.engine.spawn_on(self.a, "test", future);
        self.engine
            .run_until(task)
            .unwrap_or_else(|halt| panic!("{halt}"))
            .expect("no panic")
    }

    fn hand(&self) -> (Control, Net, HostId, HostId) {
        (self.engine.control(), self.net.clone(), self.a, self.b)
    }
}

async fn said(stream: &mut TcpStream, word: &[u8]) -> std::io::Result<Vec<u8>> {
    stream.write_all(word).await?;
    let mut answer = vec![0; word.len()];
    stream.read_exact(&mut answer).await?;
    Ok(answer)
}

#[test]
fn bytes_come_back_in_order_in_pieces_and_the_end_too() {
    for seed in 0..50 {
        let mut world = world(seed);
        echo(&world.engine, world.b);
        let to = address(world.b);
        let sent: Vec<u8> = (0..100_000_u32).map(|n| (n % 251) as u8).collect();
        let expected = sent.clone();
        let got = world.on_a(async move {
            let stream = TcpStream::connect(&to).await.expect("a connection");
            assert_eq!(stream.peer_addr().expect("an address").to_string(), to);
            let (mut reads, mut writes) = tokio::io::split(stream);
            let writing = rt::spawn("write", async move {
                writes.write_all(&sent).await.expect("an open connection");
                writes.shutdown().await.expect("an open connection");
                writes
            });
            let mut got = Vec::new();
            reads.read_to_end(&mut got).await.expect("an open connection");
            drop(writing.await);
            got
        });
        assert!(got == expected, "seed {seed}");
        world.engine.run_for(secs(1)).expect("a run");
        assert_eq!(world.net.connection_count(), 0, "nobody holds it any more");
    }
}

#[test]
fn the_same_seed_carries_the_same_packets() {
    let run = |seed| {
        let mut world = world(seed);
        echo(&world.engine, world.b);
        let to = address(world.b);
        world.on_a(async move {
            let mut stream = TcpStream::connect(&to).await.expect("a connection");
            for _ in 0..50 {
                said(&mut stream, b"hello").await.expect("an open connection");
            }
        });
        (world.engine.hash(), world.engine.now_ns())
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

#[test]
fn a_port_nobody_listens_on_refuses_and_a_taken_one_is_taken() {
    let mut world = world(1);
    let to = address(world.b);
    let (refused, taken, foreign) = world.on_a(async move {
        let refused = TcpStream::connect(&to).await.err().map(|error| error.kind());
        let _first = TcpListener::bind("10.0.0.1:80").await.expect("a free port");
        let taken = TcpListener::bind("0.0.0.0:80").await.err().map(|error| error.kind());
        let foreign = TcpListener::bind("10.0.0.2:80").await.err().map(|error| error.kind());
        (refused, taken, foreign)
    });
    assert_eq!(refused, Some(ErrorKind::ConnectionRefused));
    assert_eq!(taken, Some(ErrorKind::AddrInUse));
    assert_eq!(foreign, Some(ErrorKind::AddrNotAvailable));
}

#[test]
fn a_writer_waits_for_a_reader_who_does_not_read() {
    let mut world = world(2);
    let control = world.engine.control();
    drop(control.spawn_on(world.b, "silent server", async {
        let listener = TcpListener::bind("0.0.0.0:4437").await.expect("a free port");
        let held = listener.accept().await;
        std::future::pending::<()>().await;
        drop(held);
    }));
    let to = address(world.b);
    let written = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&written);
    world.on_a(async move {
        let mut stream = TcpStream::connect(&to).await.expect("a connection");
        let flood = async {
            loop {
                let taken = stream.write(&[7; 10_000]).await.expect("an open connection");
                counted.fetch_add(taken, Ordering::Relaxed);
            }
        };
        assert!(rt::timeout(secs(5), flood).await.is_err());
    });
    assert_eq!(written.load(Ordering::Relaxed), 256 * 1024);
}

#[test]
fn packets_take_the_time_of_their_link() {
    let mut world = world(3);
    echo(&world.engine, world.b);
    let (_, net, a, b) = world.hand();
    let to = address(world.b);
    let (quick, slow) = world.on_a(async move {
        let mut stream = TcpStream::connect(&to).await.expect("a connection");
        let began = Instant::now();
        said(&mut stream, b"hello").await.expect("an open connection");
        let quick = began.elapsed();
        net.set_link(
            a,
            b,
            Link {
                latency: millis(100),
                ..Link::default()
            },
        );
        let began = Instant::now();
        said(&mut stream, b"hello").await.expect("an open connection");
        (quick, began.elapsed())
    });
    assert!(quick < millis(20), "{quick:?}");
    assert!(slow > millis(200) && slow < millis(220), "{slow:?}");
}

#[test]
fn a_narrow_link_takes_its_time_for_many_bytes() {
    let mut world = world(4);
    echo(&world.engine, world.b);
    let (_, net, a, b) = world.hand();
    net.set_link_one_way(
        a,
        b,
        Link {
            bandwidth: Some(100_000),
            ..Link::default()
        },
    );
    let to = address(world.b);
    let took = world.on_a(async move {
        let mut stream = TcpStream::connect(&to).await.expect("a connection");
        let began = Instant::now();
        said(&mut stream, &[1; 50_000]).await.expect("an open connection");
        began.elapsed()
    });
    assert!(took > millis(500) && took < millis(600), "{took:?}");
}

#[test]
fn a_lossy_link_is_slow_and_sometimes_fatal() {
    let mut died = 0;
    let mut stalled = 0;
    for seed in 0..40 {
        let mut world = world(seed);
        echo(&world.engine, world.b);
        let (_, net, a, b) = world.hand();
        let to = address(world.b);
        let ended = world.on_a(async move {
            let mut stream = TcpStream::connect(&to).await.expect("a connection");
            net.set_link(
                a,
                b,
                Link {
                    loss: 0.3,
                    ..Link::default()
                },
            );
            let began = Instant::now();
            for n in 0..30_u8 {
                let answer = rt::timeout(secs(60), said(&mut stream, &[n; 10])).await??;
                assert_eq!(answer, [n; 10], "order is kept");
            }
            Ok::<_, std::io::Error>(began.elapsed())
        });
        match ended {
            Ok(took) if took > secs(1) => stalled += 1,
            Ok(_) => {}
            Err(error) => {
                assert!(
                    matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::ConnectionReset),
                    "{error}"
                );
                died += 1;
            }
        }
    }
    assert!(died > 0 && stalled > 10, "{died} died, {stalled} stalled");
}

#[test]
fn a_link_that_resets_breaks_a_message_in_the_middle() {
    let mut broken = 0;
    for seed in 0..20 {
        let mut world = world(seed);
        echo(&world.engine, world.b);
        let (_, net, a, b) = world.hand();
        let to = address(world.b);
        let ended = world.on_a(async move {
            let mut stream = TcpStream::connect(&to).await.expect("a connection");
            net.set_link(
                a,
                b,
                Link {
                    reset: 0.02,
                    ..Link::default()
                },
            );
            for _ in 0..30 {
                said(&mut stream, &[1; 10]).await?;
            }
            Ok::<_, std::io::Error>(())
        });
        broken += usize::from(
            ended.is_err_and(|error| matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof)),
        );
    }
    assert!(broken > 5, "{broken}");
}

#[test]
fn a_cut_holds_bytes_back_and_a_heal_lets_them_through() {
    let mut world = world(5);
    echo(&world.engine, world.b);
    let (_, net, a, b) = world.hand();
    let to = address(world.b);
    world.on_a(async move {
        let mut stream = TcpStream::connect(&to).await.expect("a connection");
        net.cut(a, b);
        assert!(rt::timeout(secs(2), said(&mut stream, b"one")).await.is_err());
        net.heal_all();
        let mut answer = [0; 3];
        let began = Instant::now();
        stream
            .read_exact(&mut answer)
            .await
            .expect("a connection that lived through it");
        assert!(began.elapsed() < secs(5));
        assert_eq!(&answer, b"one");
    });
}

#[test]
fn a_long_cut_kills_connections_and_hangs_attempts() {
    let mut world = world(6);
    echo(&world.engine, world.b);
    let (_, net, a, b) = world.hand();
    let to = address(world.b);
    world.on_a(async move {
        let mut stream = TcpStream::connect(&to).await.expect("a connection");
        net.cut(a, b);
        let began = Instant::now();
        let error = said(&mut stream, b"one").await.expect_err("nobody hears it");
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert!(
            began.elapsed() >= secs(5) && began.elapsed() < secs(25),
            "{:?}",
            began.elapsed()
        );
        let began = Instant::now();
        let error = TcpStream::connect(&to).await.err().expect("nobody hears it");
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert!(began.elapsed() >= secs(19), "{:?}", began.elapsed());
        // An attempt that began in the cut succeeds after it.
        let attempt = rt::spawn("attempt", async move { TcpStream::connect(&to).await });
        rt::sleep(millis(500)).await;
        net.heal(a, b);
        assert!(attempt.await.expect("no panic").is_ok());
    });
}

#[test]
fn a_one_way_cut_lets_requests_through_and_loses_the_answers() {
    let mut world = world(7);
    let heard = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&heard);
    drop(world.engine.spawn_on(world.b, "server", async move {
        let listener = TcpListener::bind("0.0.0.0:4437").await.expect("a free port");
        let (mut stream, _) = listener.accept().await.expect("a listener");
        let mut buf = [0; 64];
        while let Ok(read @ 1..) = stream.read(&mut buf).await {
            count.fetch_add(read, Ordering::Relaxed);
            let _ = stream.write_all(&buf[..read]).await;
        }
    }));
    let (_, net, a, b) = world.hand();
    let to = address(world.b);
    world.on_a(async move {
        let mut stream = TcpStream::connect(&to).await.expect("a connection");
        net.cut_one_way(b, a);
        assert!(rt::timeout(secs(1), said(&mut stream, b"one")).await.is_err());
        assert_eq!(heard.load(Ordering::Relaxed), 3, "the request arrived");
        let error = stream.read_exact(&mut [0; 3]).await.expect_err("never acknowledged");
        assert_eq!(error.kind(), ErrorKind::TimedOut);
    });
}

#[test]
fn a_clogged_way_holds_bytes_for_as_long_as_it_takes() {
    let mut world = world(8);
    echo(&world.engine, world.b);
    let (_, net, a, b) = world.hand();
    let to = address(world.b);
    world.on_a(async move {
        let mut stream = TcpStream::connect(&to).await.expect("a connection");
        net.clog(a, b);
        assert!(rt::timeout(secs(300), said(&mut stream, b"one")).await.is_err());
        net.heal(a, b);
        let mut answer = [0; 3];
        stream
            .read_exact(&mut answer)
            .await
            .expect("a connection that lived through it");
        assert_eq!(&answer, b"one");
    });
}

#[test]
fn a_reset_is_told_to_both_sides() {
    let mut world = world(9);
    let (control, net, a, b) = world.hand();
    let server = control.spawn_on(world.b, "server", async move {
        let listener = TcpListener::bind("0.0.0.0:4437").await.expect("a free port");
        let (mut stream, _) = listener.accept().await.expect("a listener");
        stream.read(&mut [0; 8]).await.map_err(|error| error.kind())
    });
    let to = address(world.b);
    let here = world.on_a(async move {
        let mut stream = TcpStream::connect(&to).await.expect("a connection");
        rt::sleep(millis(10)).await;
        net.reset_connections(a, b);
        stream.read(&mut [0; 8]).await.map_err(|error| error.kind())
    });
    let there = world.engine.run_until(server).expect("a run").expect("no panic");
    assert_eq!(
        (here, there),
        (Err(ErrorKind::ConnectionReset), Err(ErrorKind::ConnectionReset))
    );
}

#[test]
fn a_crashed_process_is_heard_of_at_once() {
    let mut kinds = std::collections::BTreeSet::new();
    for seed in 0..20 {
        let mut world = world(seed);
        echo(&world.engine, world.b);
        let (control, _, _, b) = world.hand();
        let to = address(world.b);
        kinds.insert(world.on_a(async move {
            let mut stream = TcpStream::connect(&to).await.expect("a connection");
            said(&mut stream, b"one").await.expect("an open connection");
            control.kill(b, Down::Crash);
            let began = Instant::now();
            let end = stream.read(&mut [0; 8]).await;
            assert!(began.elapsed() < millis(50));
            let refused = TcpStream::connect(&to).await.err().map(|error| error.kind());
            assert_eq!(refused, Some(ErrorKind::ConnectionRefused));
            format!("{:?}", end.map_err(|error| error.kind()))
        }));
    }
    assert!(
        kinds.contains("Ok(0)") && kinds.contains("Err(ConnectionReset)"),
        "{kinds:?}"
    );
}

#[test]
fn a_lost_power_is_not_heard_of_until_the_machine_is_back() {
    let mut world = world(11);
    echo(&world.engine, world.b);
    let (control, _, _, b) = world.hand();
    let to = address(world.b);
    world.on_a(async move {
        let mut idle = TcpStream::connect(&to).await.expect("a connection");
        let mut busy = TcpStream::connect(&to).await.expect("a connection");
        control.kill(b, Down::PowerLoss);
        assert!(
            rt::timeout(secs(60), idle.read(&mut [0; 8])).await.is_err(),
            "nothing is heard"
        );
        let gave_up = said(&mut busy, b"one").await.expect_err("nobody hears it");
        assert_eq!(gave_up.kind(), ErrorKind::TimedOut);
        let attempt = rt::spawn("attempt", async move { TcpStream::connect(&to).await });
        rt::sleep(millis(100)).await;
        control.boot(b);
        // The machine is back, and knows nothing of the connection; and no program listens yet.
        let reset = said(&mut idle, b"one").await.expect_err("a kernel without memory");
        assert_eq!(reset.kind(), ErrorKind::ConnectionReset);
        let refused = attempt.await.expect("no panic").err().map(|error| error.kind());
        assert_eq!(refused, Some(ErrorKind::ConnectionRefused));
    });
}

#[test]
fn a_frozen_host_takes_connections_and_bytes_and_answers_later() {
    let mut world = world(12);
    echo(&world.engine, world.b);
    let (control, _, _, b) = world.hand();
    let to = address(world.b);
    world.on_a(async move {
        control.freeze(b);
        let mut stream = TcpStream::connect(&to).await.expect("the kernel takes it");
        assert!(rt::timeout(secs(60), said(&mut stream, b"one")).await.is_err());
        control.thaw(b);
        let mut answer = [0; 3];
        stream.read_exact(&mut answer).await.expect("an open connection");
        assert_eq!(&answer, b"one");
    });
}

/// Answers every request with what it carried, over whatever HTTP it came.
fn http_echo(control: &Control, host: HostId) {
    let serve = async {
        let listener = TcpListener::bind("0.0.0.0:4437").await.expect("a free port");
        loop {
            let (stream, _) = listener.accept().await.expect("a listener");
            drop(rt::spawn("http connection", async move {
                let Ok(sniffed) = sniff(stream, secs(5)).await else {
                    return;
                };
                let (io, protocol) = match sniffed {
                    Sniffed::Http1(io) => (io, Protocol::Http1),
                    Sniffed::Http2(io) => (io, Protocol::Http2),
                    Sniffed::Peer(_) => return,
                };
                let service = service_fn(|request: Request<hyper::body::Incoming>| async move {
                    let body = request.into_body().collect().await?.to_bytes();
                    Ok::<_, hyper::Error>(Response::new(Full::new(body)))
                });
                let _ = serve_connection(io, protocol, service, &Limits::default(), &Shutdown::new()).await;
            }));
        }
    };
    drop(control.spawn_on(host, "http server", serve));
}

#[test]
fn hyper_talks_over_it_the_same_way_each_time() {
    let run = |seed| {
        let mut world = world(seed);
        http_echo(&world.engine, world.b);
        let to = address(world.b);
        world.on_a(async move {
            let client = Client::new(ClientOptions::default());
            for n in 0..40_usize {
                let body = Bytes::from(vec![b'x'; n * 1_000]);
                let request = Request::post(format!("http://{to}/echo"))
                    .body(Full::new(body.clone()))
                    .expect("valid");
                let answer = client.call(request, secs(10)).await.expect("an answer");
                assert_eq!(answer.into_body(), body);
            }
        });
        (world.engine.hash(), world.engine.now_ns())
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

#[test]
fn a_call_knows_whether_anything_was_sent() {
    let mut world = world(13);
    http_echo(&world.engine, world.b);
    let (control, net, a, b) = world.hand();
    let to = address(world.b);
    world.on_a(async move {
        let client = Client::new(ClientOptions::default());
        let call = || {
            let request = Request::post(format!("http://{to}/echo"))
                .body(Full::new(Bytes::from("x")))
                .expect("valid");
            client.call(request, secs(3))
        };
        call().await.expect("an answer");
        // Over the connection that was kept: sent, and nobody knows what became of it.
        net.cut(a, b);
        assert!(call().await.expect_err("no answer").sent);
        // Over a new one, which cannot be had.
        assert!(!call().await.expect_err("no connection").sent);
        net.heal_all();
        control.kill(b, Down::Crash);
        assert!(!call().await.expect_err("refused").sent);
    });
}

/// Whatever befalls the network, what is read is a prefix of what was written; and after the storm all is well.
#[test]
fn in_every_storm_bytes_keep_their_order_and_after_it_they_flow() {
    let mut received = 0;
    for seed in 0..25 {
        let mut world = world(seed);
        let (control, net, a, b) = world.hand();
        let c = control.host("c");
        let total = Arc::new(AtomicUsize::new(0));
        let listen = |total: Arc<AtomicUsize>| async move {
            let listener = TcpListener::bind("0.0.0.0:4437").await.expect("a free port");
            loop {
                let (mut stream, _) = listener.accept().await.expect("a listener");
                let total = Arc::clone(&total);
                drop(rt::spawn("reader", async move {
                    let mut buf = [0; 3_000];
                    let mut at = 0_usize;
                    while let Ok(read @ 1..) = stream.read(&mut buf).await {
                        for byte in &buf[..read] {
                            assert_eq!(usize::from(*byte), at % 251, "byte {at}");
                            at += 1;
                        }
                        total.fetch_add(read, Ordering::Relaxed);
                    }
                }));
            }
        };
        drop(control.spawn_on(b, "server", listen(Arc::clone(&total))));
        let to = address(b);
        for host in [a, c] {
            let to = to.clone();
            drop(control.spawn_on(host, "writer", async move {
                let sent: Vec<u8> = (0..251_000_u32).map(|n| (n % 251) as u8).collect();
                loop {
                    if let Ok(Ok(mut stream)) = rt::timeout(secs(3), TcpStream::connect(&to)).await {
                        for piece in sent.chunks(777) {
                            rt::sleep(millis(1)).await;
                            if !matches!(rt::timeout(secs(3), stream.write_all(piece)).await, Ok(Ok(()))) {
                                break;
                            }
                        }
                    }
                    rt::sleep(millis(10)).await;
                }
            }));
        }
        let (hand, counted) = (control.clone(), Arc::clone(&total));
        let storm = async move {
            for _ in 0..60 {
                rt::sleep(millis(rt::random_u64() % 800)).await;
                let (x, y) = if rt::random_u64() & 1 == 0 { (a, b) } else { (b, c) };
                match rt::random_u64() % 12 {
                    0 => net.cut(x, y),
                    1 => net.cut_one_way(x, y),
                    2 => net.cut_one_way(y, x),
                    3 => net.clog(x, y),
                    4 => net.set_link(
                        x,
                        y,
                        Link {
                            loss: 0.2,
                            reset: 0.01,
                            ..Link::default()
                        },
                    ),
                    5 => net.set_link(
                        x,
                        y,
                        Link {
                            bandwidth: Some(50_000),
                            ..Link::default()
                        },
                    ),
                    6 => net.reset_connections(x, y),
                    7 => net.reset_all_of(b),
                    8 => hand.freeze(b),
                    9 => hand.thaw(b),
                    10 => {
                        let how = if rt::random_u64() & 1 == 0 {
                            Down::Crash
                        } else {
                            Down::PowerLoss
                        };
                        hand.kill(b, how);
                        rt::sleep(millis(rt::random_u64() % 8_000)).await;
                        hand.boot(b);
                        drop(hand.spawn_on(b, "server", listen(Arc::clone(&counted))));
                    }
                    _ => net.heal_all(),
                }
            }
            net.heal_all();
            hand.thaw(b);
        };
        world.engine.run_until(storm).unwrap_or_else(|halt| panic!("{halt}"));
        let before = total.load(Ordering::Relaxed);
        world.engine.run_for(secs(30)).unwrap_or_else(|halt| panic!("{halt}"));
        let after = total.load(Ordering::Relaxed);
        assert!(
            after > before + 1_000_000,
            "seed {seed}: {before} bytes in the storm, {after} after the calm"
        );
        received += before;
    }
    assert!(received > 1_000_000, "{received}");
}

#[test]
fn a_hundred_worlds_with_connections_leave_nothing_behind() {
    let mut left = Vec::new();
    for seed in 0..100 {
        let mut world = world(seed);
        http_echo(&world.engine, world.b);
        let alive = Arc::new(());
        left.push(Arc::downgrade(&alive));
        let (control, net, _, b) = world.hand();
        let to = address(world.b);
        drop(control.clone().spawn_on(world.a, "test", async move {
            let client = Client::new(ClientOptions::default());
            for _ in 0..5 {
                let request = Request::post(format!("http://{to}/"))
                    .body(Full::new(Bytes::from("x")))
                    .expect("valid");
                let _ = client.call(request, secs(3)).await;
            }
            control.kill(b, Down::PowerLoss);
            std::future::pending::<()>().await;
            drop((alive, net, client));
        }));
        world.engine.run_for(secs(1)).expect("a run");
    }
    assert_eq!(left.iter().filter(|alive| alive.strong_count() > 0).count(), 0);
}
