//! Who comes in: connections are accepted, told apart by their first bytes, and handed to whom they came for.
//!
//! One port serves clients, peers and operators; a second one, where it is set, does the same on another address, say on
//! a network that only peers and operators reach. Clients have a bound, and so has everybody who has not yet said a word:
//! where there are too many of those the one who has been silent for longest has to go. So no crowd keeps a node out of its
//! cluster, whether it talks or not.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use hyper::service::service_fn;
use net::{
    rt::{self, TcpListener, TcpStream},
    serve::{self, Limits, Protocol, Shutdown, Sniffed},
};
use tokio::sync::Semaphore;

use crate::{config, http::Http, peer};

/// Connections that have not yet shown what they are, on each listener.
const NEWCOMERS_MAX: usize = 1024;

/// The pause after the system refused to accept, which is mostly for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The listeners, and all that was let in by it.
pub(crate) struct Door {
    address: SocketAddr,
    /// The word to accept nobody more, and to end connections after the requests they are in the middle of.
    shutdown: Shutdown,
    /// The word to end connections wherever they are.
    cut: Shutdown,
    /// One permit for each client connection.
    clients: Arc<Semaphore>,
    clients_max: u32,
}

/// What a connection is served with.
struct Inside {
    http: Http,
    peers: peer::Peers,
    handler: Arc<dyn peer::Handler>,
    limits: Limits,
    /// How long the first bytes of a connection may take.
    first_patience: Duration,
}

impl Door {
    /// Listens, and lets in whoever comes.
    ///
    /// # Errors
    /// The address that cannot be had, and what the system says to it.
    pub(crate) async fn open(
        config: &config::Config,
        http: Http,
        peers: peer::Peers,
        handler: Arc<dyn peer::Handler>,
    ) -> Result<Self, (String, io::Error)> {
        let bind = async |address: &String| {
            let listener = TcpListener::bind(address).await;
            listener.map_err(|error| (address.clone(), error))
        };
        let listener = bind(&config.server.listen).await?;
        let second = match &config.server.second_listen {
            Some(address) => Some(bind(address).await?),
            None => None,
        };
        let clients_max = u32::try_from(config.http.max_connections)
            .unwrap_or(u32::MAX)
            .min(1 << 28);
        let door = Self {
            address: listener
                .local_addr()
                .map_err(|error| (config.server.listen.clone(), error))?,
            shutdown: Shutdown::new(),
            cut: Shutdown::new(),
            clients: Arc::new(Semaphore::new(clients_max as usize)),
            clients_max,
        };
        let limits = Limits {
            head_patience: config.http.idle_timeout.max(config.http.header_timeout),
            write_patience: config.http.stall_timeout,
            ..Limits::default()
        };
        let inside = Inside {
            http,
            peers,
            handler,
            limits,
            first_patience: config.http.header_timeout,
        };
        let inside = Arc::new(inside);
        for listener in [Some(listener), second].into_iter().flatten() {
            let accepting = accept(
                listener,
                inside.clone(),
                door.shutdown.clone(),
                door.cut.clone(),
                door.clients.clone(),
            );
            drop(rt::spawn("door", accepting));
        }
        Ok(door)
    }

    /// Where its first listener is.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lets nobody in any more, and tells every connection to end after what it is in the middle of.
    pub(crate) fn close(&self) {
        self.shutdown.begin();
    }

    /// Ends every connection, wherever it is.
    pub(crate) fn cut(&self) {
        self.shutdown.begin();
        self.cut.begin();
    }

    /// Waits until the last client connection has ended.
    pub(crate) async fn drained(&self) {
        // All permits together exist only when no connection holds one.
        let _all = self.clients.acquire_many(self.clients_max).await;
    }
}

async fn accept(
    listener: TcpListener,
    inside: Arc<Inside>,
    shutdown: Shutdown,
    cut: Shutdown,
    clients: Arc<Semaphore>,
) {
    let newcomers = Arc::new(Newcomers::new(NEWCOMERS_MAX));
    loop {
        let accepted = tokio::select! {
            biased;
            () = shutdown.begun() => return,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _from)) => stream,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                rt::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (inside, shutdown, cut, clients) = (inside.clone(), shutdown.clone(), cut.clone(), clients.clone());
        let newcomer = newcomers.enter();
        drop(rt::spawn("connection", async move {
            // Small answers must not wait for the acknowledgement of the one before.
            if let Err(error) = stream.set_nodelay(true) {
                return tracing::debug!(%error, "a connection ended before it began");
            }
            let sniffed = tokio::select! {
                biased;
                () = shutdown.begun() => return,
                () = newcomer.out.begun() => return tracing::debug!("a silent connection made room for others"),
                sniffed = serve::sniff(stream, inside.first_patience) => sniffed,
            };
            drop(newcomer);
            let sniffed = match sniffed {
                Ok(sniffed) => sniffed,
                Err(error) => return tracing::debug!(%error, "a connection said nothing"),
            };
            tokio::select! {
                biased;
                () = cut.begun() => {}
                () = inside.serve(sniffed, &shutdown, &clients) => {}
            }
        }));
    }
}

/// The connections of which nobody knows yet what they are.
struct Newcomers {
    max: usize,
    inner: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    /// How many ever came.
    came: u64,
    /// The word to go, for each by its number: the oldest first.
    out: BTreeMap<u64, Shutdown>,
}

/// One of them; dropped, it is none any more.
struct Newcomer {
    newcomers: Arc<Newcomers>,
    number: u64,
    /// The word to go.
    out: Shutdown,
}

impl Newcomers {
    fn new(max: usize) -> Self {
        Self {
            max,
            inner: Mutex::default(),
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more, for whom the oldest has to go if there are too many.
    fn enter(self: &Arc<Self>) -> Newcomer {
        let out = Shutdown::new();
        let mut waiting = self.waiting();
        let number = waiting.came;
        waiting.came += 1;
        waiting.out.insert(number, out.clone());
        let oldest = (waiting.out.len() > self.max)
            .then(|| waiting.out.pop_first())
            .flatten();
        drop(waiting);
        if let Some((_, oldest)) = oldest {
            oldest.begin();
        }
        let newcomers = self.clone();
        Newcomer { newcomers, number, out }
    }
}

impl Drop for Newcomer {
    fn drop(&mut self) {
        self.newcomers.waiting().out.remove(&self.number);
    }
}

impl Inside {
    async fn serve(self: Arc<Self>, sniffed: Sniffed<TcpStream>, shutdown: &Shutdown, clients: &Semaphore) {
        let (io, protocol) = match sniffed {
            // In a box: there are few of them, and the many others need not be as large.
            Sniffed::Peer(io) => return Box::pin(self.peers.serve(io, self.handler.clone())).await,
            Sniffed::Http1(io) => (io, Protocol::Http1),
            Sniffed::Http2(io) => (io, Protocol::Http2),
        };
        let Ok(_place) = clients.try_acquire() else {
            return tracing::debug!("a connection was closed: http.max_connections are open");
        };
        let inside = self.clone();
        let service = service_fn(move |request| {
            let inside = inside.clone();
            // In a box while it is being answered: hyper keeps the place for as long as the connection lives, and most live
            // idle or wait at the tail of a stream.
            let answering = Box::pin(async move { inside.http.answer(request).await });
            async move { Ok::<_, Infallible>(answering.await) }
        });
        match serve::serve_connection(io, protocol, service, &self.limits, shutdown).await {
            Ok(()) => {}
            Err(error) if error.is_everyday() => tracing::trace!(%error, "a connection ended"),
            Err(error) => tracing::debug!(%error, "a connection ended"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_newcomer_goes_when_there_are_too_many() {
        let newcomers = Arc::new(Newcomers::new(2));
        let (first, second) = (newcomers.enter(), newcomers.enter());
        assert!(!first.out.is_begun());
        let third = newcomers.enter();
        assert!(first.out.is_begun() && !second.out.is_begun() && !third.out.is_begun());
        // Who has said what it is makes room, and is not told to go.
        drop((first, second));
        let fourth = newcomers.enter();
        assert!(!third.out.is_begun() && !fourth.out.is_begun());
        assert_eq!(newcomers.waiting().out.len(), 2);
        drop((third, fourth));
        assert!(newcomers.waiting().out.is_empty());
    }
}
