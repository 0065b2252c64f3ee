//! A small world for the judge: clients in virtual time, a network that loses and delays, a server that is right or wrong.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, atomic::AtomicBool, atomic::Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use jepsen::client::Client;
use jepsen::history::{History, Recorder};
use jepsen::record::mix;
use jepsen::transport::{Fut, Transport, TransportError};
use jepsen::workload::{self, Stage, Workload};

mod server;
pub(crate) use server::{Bug, Server};

/// Time, and who waits for it.
#[derive(Default)]
struct Time {
    now_ns: u64,
    throws: u64,
    sleepers: BTreeMap<(u64, u64), Waker>,
}

type Late = Vec<(u64, Request<Bytes>)>;

#[derive(Clone)]
pub(crate) struct World {
    time: Arc<Mutex<Time>>,
    server: Arc<Mutex<Server>>,
    /// Requests that take effect long after their client has given up: when, and what.
    late: Arc<Mutex<Late>>,
    bug: Bug,
    seed: u64,
    /// One message in so many is lost; 0: none.
    lossy: Arc<Mutex<u64>>,
}

impl World {
    fn throw(&self, sides: u64) -> u64 {
        let mut time = self.time.lock().unwrap();
        time.throws += 1;
        mix(self.seed ^ mix(time.throws)) % sides
    }

    fn one_in(&self, count: u64) -> bool {
        count > 0 && self.throw(count) == 0
    }

    fn wait(&self, span: Duration) -> Sleep {
        let mut time = self.time.lock().unwrap();
        time.throws += 1;
        Sleep {
            time: Arc::clone(&self.time),
            key: (time.now_ns + span.as_nanos() as u64, time.throws),
        }
    }

    fn serve(&self, request: &Request<Bytes>) -> Response<Bytes> {
        let now = self.now_ns();
        let mut late = self.late.lock().unwrap();
        let mut server = self.server.lock().unwrap();
        late.retain(|(at, request)| {
            let due = *at <= now;
            if due {
                server.answer(request);
            }
            !due
        });
        server.answer(request)
    }

    /// Runs the future and whatever it waits for, in virtual time.
    fn run<T>(&self, future: impl Future<Output = T>) -> T {
        let mut future = Box::pin(future);
        let woken = Arc::new(Flag(AtomicBool::new(true)));
        let waker = Waker::from(Arc::clone(&woken));
        loop {
            while woken.0.swap(false, Ordering::SeqCst) {
                if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                    return value;
                }
            }
            let mut time = self.time.lock().unwrap();
            let ((at, _), sleeper) = time.sleepers.pop_first().expect("somebody waits for time");
            time.now_ns = at;
            drop(time);
            sleeper.wake();
        }
    }
}

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

struct Sleep {
    time: Arc<Mutex<Time>>,
    key: (u64, u64),
}

impl Future for Sleep {
    type Output = ();
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut time = self.time.lock().unwrap();
        if time.now_ns >= self.key.0 {
            return Poll::Ready(());
        }
        time.sleepers.insert(self.key, context.waker().clone());
        Poll::Pending
    }
}

impl Transport for World {
    fn call(
        &self,
        _: usize,
        request: Request<Bytes>,
        deadline: Duration,
    ) -> Fut<'_, Result<Response<Bytes>, TransportError>> {
        Box::pin(async move {
            let lost = |sent| TransportError {
                sent,
                why: "deadline".into(),
            };
            let lossy = *self.lossy.lock().unwrap();
            if self.one_in(lossy * 2) {
                return Err(lost(false));
            }
            if self.one_in(lossy * 2) {
                if self.bug == Bug::StoresTheRefused {
                    self.serve(&request);
                }
                return Ok(server_busy());
            }
            self.wait(Duration::from_micros(100 + self.throw(5000))).await;
            if self.one_in(lossy) {
                if self.one_in(2) {
                    // Held up somewhere, and executed when nobody expects it any more; or never.
                    let at = self.now_ns() + self.throw(5_000_000_000);
                    self.late.lock().unwrap().push((at, request));
                }
                self.wait(deadline).await;
                return Err(lost(true));
            }
            let response = self.serve(&request);
            if self.one_in(lossy) {
                self.wait(deadline).await;
                return Err(lost(true));
            }
            self.wait(Duration::from_micros(100 + self.throw(5000))).await;
            Ok(response)
        })
    }

    fn now_ns(&self) -> u64 {
        self.time.lock().unwrap().now_ns
    }

    fn sleep(&self, span: Duration) -> Fut<'_, ()> {
        Box::pin(self.wait(span))
    }
}

fn server_busy() -> Response<Bytes> {
    let body = r#"{"error":{"code":"no_leader"}}"#;
    Response::builder()
        .status(503)
        .body(body.into())
        .expect("a status and a body are a response")
}

/// Dice for a client.
struct Dice(u64);

impl rand::TryRng for Dice {
    type Error = std::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        self.try_next_u64().map(|number| (number >> 32) as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        self.0 = mix(self.0);
        Ok(self.0)
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Self::Error> {
        for byte in bytes {
            *byte = self.try_next_u32()? as u8;
        }
        Ok(())
    }
}

/// Storm, calm, end: what the clients saw.
pub(crate) fn tell(seed: u64, bug: Bug, workloads: &[Workload], storm: Duration) -> History {
    let world = World {
        time: Arc::default(),
        server: Arc::new(Mutex::new(Server::new(bug))),
        late: Arc::default(),
        bug,
        seed,
        lossy: Arc::new(Mutex::new(20)),
    };
    let recorder = Recorder::new(true);
    let stage = Stage::new(3, 2);
    let transport: Arc<dyn Transport> = Arc::new(world.clone());
    let client = |id| Client::new(id, Arc::clone(&transport), recorder.clone(), Duration::from_secs(1));
    let each = workloads
        .iter()
        .flat_map(|workload| (0..workload.clients).map(move |_| workload));
    let clients = (1..).zip(each).map(|(id, workload)| {
        let dice = Box::new(Dice(mix(seed) ^ u64::from(id)));
        workload.run(client(id), stage.clone(), dice)
    });
    let mut manager = client(0);
    world.run(async {
        assert!(workload::opening(&mut manager, &stage).await, "the opening succeeds");
        let play = async {
            transport.sleep(storm).await;
            *world.lossy.lock().unwrap() = 0;
            // What was held up arrives in the storm, or not at all.
            transport.sleep(Duration::from_secs(6)).await;
            recorder.calm();
            transport.sleep(Duration::from_secs(2)).await;
            stage.curtain();
        };
        futures_util::future::join(play, futures_util::future::join_all(clients)).await;
        workload::last_look(&mut manager, &stage).await;
    });
    recorder.history()
}
