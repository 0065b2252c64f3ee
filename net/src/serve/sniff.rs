//! Who is there? One port serves HTTP/1.1, cleartext HTTP/2 and peers; the first bytes tell which.

use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::conn::Replayed;
use crate::rt;

/// The first bytes a peer sends.
pub const PEER_MAGIC: &[u8] = b"HOLDFAST-PEER/1\n";

/// The beginning of HTTP/2's connection preface; no HTTP/1 request begins so.
const HTTP2_MAGIC: &[u8] = b"PRI * HTTP/2.0";

/// The most that is read before an answer is known. A whole small request comes with one read.
const FIRST_READ_MAX: usize = 2 * 1024;

/// A connection whose kind is known.
#[derive(Debug)]
pub enum Sniffed<T> {
    /// Everything that matches nothing else; all bytes are replayed.
    Http1(Replayed<T>),
    /// HTTP/2 with prior knowledge; all bytes are replayed.
    Http2(Replayed<T>),
    /// A peer. The magic has been taken off; what followed it is replayed.
    Peer(Replayed<T>),
}

/// Reads until the kind of a connection is known, which is at the first byte that only one kind begins with.
///
/// # Errors
/// [`io::ErrorKind::TimedOut`] if that takes longer than `patience`; [`io::ErrorKind::UnexpectedEof`] if nothing was
/// sent at all; what the system says.
pub async fn sniff<T: AsyncRead + Unpin>(mut io: T, patience: Duration) -> io::Result<Sniffed<T>> {
    let mut first = BytesMut::new();
    let known = rt::timeout(patience, async {
        loop {
            first.reserve(FIRST_READ_MAX);
            let read = io.read_buf(&mut first).await?;
            if read == 0 && first.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            // Half a magic and then the end: HTTP/1 knows how to answer that.
            if let Some(kind) = kind(&first).or((read == 0).then_some(Kind::Http1)) {
                return Ok::<_, io::Error>(kind);
            }
        }
    });
    let kind = known.await??;
    let mut first: Bytes = first.freeze();
    Ok(match kind {
        Kind::Http1 => Sniffed::Http1(Replayed::new(first, io)),
        Kind::Http2 => Sniffed::Http2(Replayed::new(first, io)),
        Kind::Peer => Sniffed::Peer(Replayed::new(first.split_off(PEER_MAGIC.len()), io)),
    })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Http1,
    Http2,
    Peer,
}

/// The kind of a connection that began so; `None` while it could still become several.
fn kind(first: &[u8]) -> Option<Kind> {
    for (magic, kind) in [(HTTP2_MAGIC, Kind::Http2), (PEER_MAGIC, Kind::Peer)] {
        if first.starts_with(magic) {
            return Some(kind);
        }
        if magic.starts_with(first) {
            return None;
        }
    }
    Some(Kind::Http1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_known_at_the_first_byte_that_differs() {
        let table: &[(&[u8], Option<Kind>)] = &[
            (b"", None),
            (b"G", Some(Kind::Http1)),
            (b"GET / HTTP/1.1\r\n", Some(Kind::Http1)),
            (b"P", None),
            (b"PR", None),
            (b"PU", Some(Kind::Http1)),
            (b"PROPFIND / HTTP/1.1\r\n", Some(Kind::Http1)),
            (b"PRI * HTTP/2.0", Some(Kind::Http2)),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Some(Kind::Http2)),
            (b"H", None),
            (b"HEAD / HTTP/1.1\r\n", Some(Kind::Http1)),
            (b"HOLDFAST-PEER/1", None),
            (b"HOLDFAST-PEER/1\nhello", Some(Kind::Peer)),
            (b"HOLDFAST-PEER/2\n", Some(Kind::Http1)),
            (b"\x16\x03\x01", Some(Kind::Http1)),
        ];
        for (first, expected) in table {
            assert_eq!(kind(first), *expected, "{}", String::from_utf8_lossy(first));
        }
    }
}
