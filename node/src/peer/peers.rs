//! All connections of a node to its peers.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use bytes::Bytes;
use net::{dice::Dice, rt};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    Gate, Handler, Options, PeerError, PeerStatus, Why,
    handshake::{self, Purpose, Welcome},
    link::{self, Link},
    serving::{Served, Serving},
};
use crate::cluster::Hello;

/// The other nodes, and the connections to and from them. Clones share them; the last one dropped ends them.
#[derive(Clone)]
pub struct Peers(Arc<Inner>);

struct Inner {
    options: Options,
    me: u64,
    gate: Arc<dyn Gate>,
    dice: Dice,
    lines: Mutex<Lines>,
}

#[derive(Default)]
struct Lines {
    links: BTreeMap<u64, Arc<Link>>,
    served: BTreeMap<u64, Arc<Served>>,
    closed: bool,
}

impl Peers {
    /// Nobody is known yet, and nothing is dialled before [`Peers::set_address`].
    pub fn start(gate: Arc<dyn Gate>, options: Options, dice: &Dice) -> Peers {
        Peers(Arc::new(Inner {
            options,
            me: gate.hello().node_id,
            gate,
            dice: dice.clone(),
            lines: Mutex::default(),
        }))
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.0.lines()
    }

    /// Asks node `to`, and waits for its answer until `deadline` has passed.
    ///
    /// The payload is the parts one after the other; none is copied. Kinds from [`super::BULK`] on wait behind others.
    ///
    /// # Errors
    /// When there is no answer; [`PeerError::sent`] says whether the peer may have acted.
    pub async fn call(
        &self,
        to: u64,
        kind: u8,
        group: u32,
        parts: Vec<Bytes>,
        deadline: Duration,
    ) -> Result<Bytes, PeerError> {
        let link = self.lines().links.get(&to).cloned();
        let Some(link) = link else {
            let why = if self.is_closed() { Why::Closed } else { Why::NoAddress };
            return Err(PeerError::unsent(why));
        };
        link.call(kind, group, parts, deadline).await
    }

    /// Asks whoever lives at an address who it is, on a connection of its own.
    ///
    /// # Errors
    /// A sentence that says what failed.
    pub async fn greet(&self, address: &str) -> Result<Hello, String> {
        let (_, welcome) = link::introduce(&*self.0.gate, address, Purpose::Greet, self.0.options.handshake).await?;
        match welcome.refusal {
            Some(refusal) => Err(refusal),
            None => Ok(welcome.hello),
        }
    }

    /// Looks for a node at this address from now on, and keeps a connection to it.
    pub fn set_address(&self, id: u64, address: &str) {
        let mut lines = self.lines();
        if lines.closed || id == self.0.me {
            return;
        }
        if let Some(link) = lines.links.get(&id) {
            return link.set_address(address);
        }
        let link = Link::new(id, address.to_owned(), self.0.options.clone(), self.0.gate.clone());
        let link = Arc::new(link);
        lines.links.insert(id, link.clone());
        let chance = self.0.dice.stream(&format!("peer {id}"));
        drop(rt::spawn("peer", link.keep(chance)));
    }

    /// The nodes this one keeps connections to, and where it looks for them.
    pub fn known(&self) -> BTreeMap<u64, String> {
        self.lines()
            .links
            .iter()
            .map(|(id, link)| (*id, link.address()))
            .collect()
    }

    /// The state of every connection.
    pub fn status(&self) -> Vec<PeerStatus> {
        let lines = self.lines();
        lines
            .links
            .iter()
            .map(|(id, link)| link.status(lines.served.contains_key(id)))
            .collect()
    }

    /// Serves a connection whose dialer has opened with [`super::MAGIC`]; the magic has been read. Returns when it ends.
    pub async fn serve<IO>(&self, io: IO, handler: Arc<dyn Handler>)
    where
        IO: AsyncRead + AsyncWrite + Send + Unpin,
    {
        let options = &self.0.options;
        let gate = &self.0.gate;
        let mut line = handshake::line(io);
        let (purpose, theirs) = match rt::timeout(options.handshake, handshake::read_hello(&mut line)).await {
            Ok(Ok(opening)) => opening,
            Ok(Err(reason)) => return tracing::debug!(reason, "a peer was not understood"),
            Err(rt::Elapsed) => return tracing::debug!("a peer did not introduce itself"),
        };
        let refusal = match purpose {
            Purpose::Greet => None,
            Purpose::Link => gate.meet(&theirs).await.err(),
        };
        let refused = refusal.is_some();
        let welcome = Welcome {
            hello: gate.hello(),
            refusal,
        };
        let sent = rt::timeout(options.handshake, handshake::send_welcome(&mut line, &welcome)).await;
        if !matches!(sent, Ok(Ok(()))) || refused || purpose == Purpose::Greet {
            return;
        }
        handshake::widen(&mut line, options.payload_bytes_max);

        let from = theirs.node_id;
        let served = Arc::new(Served::default());
        {
            let mut lines = self.lines();
            if lines.closed {
                return;
            }
            // One connection each way: whoever dials again has given up the one before.
            if let Some(older) = lines.served.insert(from, served.clone()) {
                older.end();
            }
        }
        let _registered = Registered {
            peers: self,
            from,
            served: &served,
        };
        self.set_address(from, &theirs.advertise);
        if let Some(link) = self.lines().links.get(&from) {
            link.nudge();
        }
        let reason = Serving::new(line, from, handler, &served, options).await;
        tracing::debug!(peer = from, reason, "a peer's connection ended");
    }

    /// Whether [`Peers::shutdown`] was called.
    pub fn is_closed(&self) -> bool {
        self.lines().closed
    }

    /// Ends all connections, for good. Calls that wait fail at once.
    pub fn shutdown(&self) {
        self.0.shutdown();
    }
}

impl Inner {
    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().expect("nothing panics while it holds the lines")
    }

    fn shutdown(&self) {
        let lines = {
            let mut lines = self.lines();
            lines.closed = true;
            std::mem::replace(
                &mut *lines,
                Lines {
                    closed: true,
                    ..Lines::default()
                },
            )
        };
        lines.links.values().for_each(|link| link.close());
        lines.served.values().for_each(|served| served.end());
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.shutdown();
    }
}

/// The place of a served connection among the lines, given up when it ends or its task is dropped.
struct Registered<'a> {
    peers: &'a Peers,
    from: u64,
    served: &'a Arc<Served>,
}

impl Drop for Registered<'_> {
    fn drop(&mut self) {
        let mut lines = self.peers.lines();
        if lines
            .served
            .get(&self.from)
            .is_some_and(|now| Arc::ptr_eq(now, self.served))
        {
            lines.served.remove(&self.from);
        }
    }
}
