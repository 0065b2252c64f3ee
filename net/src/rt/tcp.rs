//! TCP sockets.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::engine::{self, Conn, Listener};
use super::tokio_backend;

/// A listening socket.
pub struct TcpListener(Listening);

enum Listening {
    Tokio(tokio::net::TcpListener),
    Engine(Box<dyn Listener>),
}

impl TcpListener {
    /// Listens on `host:port`. Port 0 lets the system choose.
    ///
    /// # Errors
    /// An address that cannot be read or listened on.
    pub async fn bind(addr: &str) -> io::Result<Self> {
        match engine::current() {
            Some(engine) => Ok(Self(Listening::Engine(engine.listen(parsed(addr)?)?))),
            None => Ok(Self(Listening::Tokio(tokio_backend::listen(addr).await?))),
        }
    }

    /// The next connection, and where it comes from.
    ///
    /// # Errors
    /// What the system says; the listener stays good. Too many open files is an error to wait out, not to spin on.
    pub async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        match &self.0 {
            Listening::Tokio(listener) => {
                let (stream, from) = listener.accept().await?;
                Ok((TcpStream(Stream::Tokio(stream)), from))
            }
            Listening::Engine(listener) => {
                let (conn, from) = poll_fn(|cx| listener.poll_accept(cx)).await?;
                Ok((TcpStream(Stream::Engine(conn)), from))
            }
        }
    }

    /// Where it listens.
    ///
    /// # Errors
    /// What the system says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        match &self.0 {
            Listening::Tokio(listener) => listener.local_addr(),
            Listening::Engine(listener) => Ok(listener.local_addr()),
        }
    }
}

/// A connection. Dropping it closes both directions.
pub struct TcpStream(Stream);

enum Stream {
    Tokio(tokio::net::TcpStream),
    Engine(Box<dyn Conn>),
}

impl TcpStream {
    /// Connects to `host:port`. Callers bring the deadline: [`super::timeout`].
    ///
    /// # Errors
    /// An address that cannot be read, found or reached.
    pub async fn connect(addr: &str) -> io::Result<Self> {
        match engine::current() {
            Some(engine) => Ok(Self(Stream::Engine(engine.connect(parsed(addr)?).await?))),
            None => Ok(Self(Stream::Tokio(tokio_backend::connect(addr).await?))),
        }
    }

    /// Sends small writes at once (`TCP_NODELAY`).
    ///
    /// # Errors
    /// What the system says.
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        match &self.0 {
            Stream::Tokio(stream) => stream.set_nodelay(nodelay),
            Stream::Engine(_) => Ok(()),
        }
    }

    /// The near address.
    ///
    /// # Errors
    /// What the system says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        match &self.0 {
            Stream::Tokio(stream) => stream.local_addr(),
            Stream::Engine(conn) => Ok(conn.local_addr()),
        }
    }

    /// The far address.
    ///
    /// # Errors
    /// What the system says, for example that the connection is gone.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        match &self.0 {
            Stream::Tokio(stream) => stream.peer_addr(),
            Stream::Engine(conn) => Ok(conn.peer_addr()),
        }
    }
}

fn parsed(addr: &str) -> io::Result<SocketAddr> {
    addr.parse()
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, format!("`{addr}` is not an address")))
}

impl AsyncRead for TcpStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            Stream::Tokio(stream) => Pin::new(stream).poll_read(cx, buf),
            Stream::Engine(conn) => Pin::new(conn).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for TcpStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.0 {
            Stream::Tokio(stream) => Pin::new(stream).poll_write(cx, buf),
            Stream::Engine(conn) => Pin::new(conn).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.0 {
            Stream::Tokio(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Stream::Engine(conn) => Pin::new(conn).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.0 {
            Stream::Tokio(stream) => stream.is_write_vectored(),
            Stream::Engine(conn) => conn.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            Stream::Tokio(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Engine(conn) => Pin::new(conn).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            Stream::Tokio(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Engine(conn) => Pin::new(conn).poll_shutdown(cx),
        }
    }
}
