//! The false S3: an HTTP server on a host of the simulated network, and the outside that the true AWS SDK needs to live
//! there. So signing, retries, timeouts and the reading of errors are simulated, too.
//!
//! It keeps its objects in the store that [`FalseCold`] holds, so that whoever looks at that store sees the same at both
//! levels. What goes wrong, goes wrong on the way: objects are always whole and durable.
//!
//! | file | question |
//! |---|---|
//! | `mod.rs` | what is there, and what may be done to it? |
//! | `fault.rs` | what goes wrong, and with which request? |
//! | `server.rs` | what becomes of a request? |
//! | `asked.rs` | what does it ask for? |
//! | `signature.rs` | who asks, and may they? |
//! | `answer.rs` | how does S3 say it? |
//! | `body.rs` | which bytes of an answer arrive? |
//! | `listing.rs` | what is in a listing, and what is it behind by? |
//! | `outside.rs` | what does the SDK need: time, credentials, an address? |
//! | `connector.rs` | how does it reach the server? |

mod answer;
mod asked;
mod body;
mod connector;
mod fault;
mod listing;
mod outside;
mod server;
mod signature;

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use net::dice::{Dice, Stream};
use rand::{Rng, RngExt};

use crate::cold::FalseCold;
use crate::engine::{Control, Down, HostId};
use crate::net::Net;
use crate::tell::Tell;

pub use fault::{Outage, S3Faults, Trouble};
use listing::Recent;

/// The port it serves on.
const PORT: u16 = 9000;
/// The bucket that is there.
const BUCKET: &str = "sim";
/// Where it is.
const REGION: &str = "us-east-1";
/// The one who may ask.
const KEY_ID: &str = "AKIASIMULATED";
/// Their secret.
const SECRET: &str = "what only the nodes and the false S3 know";

/// A false S3 in the hands of the world. Clones are the same one.
#[derive(Clone)]
pub struct FalseS3(Arc<Inner>);

struct Inner {
    control: Control,
    net: Net,
    host: HostId,
    cold: FalseCold,
    tell: Tell,
    state: Mutex<State>,
}

struct State {
    dice: Stream,
    faults: S3Faults,
    outage: Option<Outage>,
    /// What befalls the next requests, one each, whatever the chances.
    next: VecDeque<Trouble>,
    recent: Recent,
    /// How often each thing went wrong.
    met: BTreeMap<Trouble, u64>,
    requests: u64,
}

impl FalseS3 {
    /// A healthy server on a host of its own, over the objects of `cold`. It throws the stream `s3` of these dice.
    #[must_use]
    pub fn new(control: &Control, net: &Net, cold: &FalseCold, dice: &Dice) -> Self {
        let mut dice = dice.stream("s3");
        // The SDK throws for the pauses between its attempts and for the ids of its calls with what belongs to the thread,
        // and lets nobody hand in another generator for the first. A world is one thread: seeded once, it throws as if the
        // generator were the world's. (Where somebody listens to its tracing spans it throws for them, too: another tale.)
        fastrand::seed(dice.next_u64());
        let host = control.host("s3");
        let state = State {
            dice,
            faults: S3Faults::default(),
            outage: None,
            next: VecDeque::new(),
            recent: Recent::default(),
            met: BTreeMap::new(),
            requests: 0,
        };
        let s3 = Self(Arc::new(Inner {
            control: control.clone(),
            net: net.clone(),
            host,
            cold: cold.clone(),
            tell: Tell::on(control, host),
            state: Mutex::new(state),
        }));
        s3.serve();
        s3
    }

    /// The host it runs on.
    #[must_use]
    pub fn host(&self) -> HostId {
        self.0.host
    }

    /// Changes what is wrong with it, from the next request on. An outage begins and ends at once.
    pub fn change(&self, change: impl FnOnce(&mut S3Faults)) {
        let (out, was_down) = {
            let state = &mut *self.state();
            change(&mut state.faults);
            let before = state.outage;
            state.outage = match (state.faults.out, before) {
                (false, _) => None,
                (true, Some(outage)) => Some(outage),
                (true, None) => Some(Outage::ALL[state.dice.random_range(0..Outage::ALL.len())]),
            };
            (state.outage, before.is_some_and(|outage| outage.is_down()))
        };
        match out {
            Some(outage) if !was_down => self.go_out(outage),
            None if was_down => {
                self.0.control.boot(self.0.host);
                self.serve();
            }
            _ => {}
        }
    }

    /// It is healthy again.
    pub fn mend(&self) {
        self.change(|faults| *faults = S3Faults::default());
        self.state().next.clear();
    }

    /// An outage of this kind begins, or goes on as this kind.
    pub fn out(&self, outage: Outage) {
        self.mend();
        {
            let mut state = self.state();
            state.outage = Some(outage);
            state.faults.out = true;
        }
        self.go_out(outage);
    }

    /// What befalls the next requests, one each.
    pub fn next(&self, troubles: impl IntoIterator<Item = Trouble>) {
        self.state().next.extend(troubles);
    }

    /// How often something went wrong.
    #[must_use]
    pub fn met(&self, trouble: Trouble) -> u64 {
        self.state().met.get(&trouble).copied().unwrap_or_default()
    }

    /// How many requests were received whole.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.state().requests
    }

    fn go_out(&self, outage: Outage) {
        match outage {
            Outage::Refuses => self.0.control.kill(self.0.host, Down::Crash),
            Outage::Silent => self.0.control.kill(self.0.host, Down::PowerLoss),
            Outage::Unavailable => {}
        }
    }

    fn serve(&self) {
        let s3 = self.clone();
        let serving = async move { s3.listen().await };
        drop(self.0.control.spawn_on(self.0.host, "s3", serving));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Whoever panicked is a test that has failed already.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for FalseS3 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FalseS3")
            .field("faults", &self.state().faults)
            .finish_non_exhaustive()
    }
}
