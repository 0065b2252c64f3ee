//! Who are you, may we talk: the first frame in each direction.
//!
//! The dialer's opening is the magic and a frame `u8 version | u8 purpose | postcard(Hello)`, the acceptor's answer a
//! frame `u8 version | postcard(Welcome)`. What makes two nodes strangers is decided by the [`Gate`], on both sides.

use std::io;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures_util::{StreamExt, future::BoxFuture};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio_util::codec::{FramedRead, LengthDelimitedCodec};

use super::{MAGIC, frame};
use crate::cluster::Hello;

/// The version of hello, welcome and the frames after them.
const VERSION: u8 = 1;

/// Bound on a hello and a welcome, bytes: a list of members, no more.
const HELLO_BYTES_MAX: usize = 64 << 10;

/// How much is read from a connection at once, bytes.
const READ_BUFFER_BYTES: usize = 64 << 10;

/// Who this node is, and whom it talks to.
pub trait Gate: Send + Sync + 'static {
    /// This node, as it introduces itself now.
    fn hello(&self) -> Hello;

    /// Whether to talk to whoever said this. May learn from it, durably, before it answers.
    ///
    /// # Errors
    /// A sentence for the log of both sides.
    fn meet<'a>(&'a self, theirs: &'a Hello) -> BoxFuture<'a, Result<(), String>>;
}

/// Why a dialer came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Purpose {
    /// To ask who is there, and leave.
    Greet = 1,
    /// To stay and send requests.
    Link = 2,
}

/// The acceptor's answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Welcome {
    pub(super) hello: Hello,
    /// Why the acceptor will not talk, if so.
    pub(super) refusal: Option<String>,
}

/// A connection cut into frames. Its inner io is written to directly.
pub(super) type Line<IO> = FramedRead<IO, LengthDelimitedCodec>;

/// Cuts a fresh connection into frames of the size a stranger may send.
pub(super) fn line<IO: AsyncRead>(io: IO) -> Line<IO> {
    FramedRead::with_capacity(io, frame::codec(HELLO_BYTES_MAX), READ_BUFFER_BYTES)
}

/// Lets the line carry the frames of a friend.
pub(super) fn widen<IO: AsyncRead>(line: &mut Line<IO>, payload_bytes_max: usize) {
    line.decoder_mut()
        .set_max_frame_length(frame::HEAD_BYTES + payload_bytes_max);
}

/// The dialer's opening.
pub(super) async fn send_hello<IO>(line: &mut Line<IO>, purpose: Purpose, hello: &Hello) -> io::Result<()>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let mut bytes = BytesMut::from(MAGIC);
    put_frame(&mut bytes, &[VERSION, purpose as u8], hello)?;
    send(line, bytes).await
}

/// The acceptor's answer.
pub(super) async fn send_welcome<IO>(line: &mut Line<IO>, welcome: &Welcome) -> io::Result<()>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let mut bytes = BytesMut::new();
    put_frame(&mut bytes, &[VERSION], welcome)?;
    send(line, bytes).await
}

/// Reads a dialer's opening, after its magic.
///
/// # Errors
/// A sentence if it is none, or of another version.
pub(super) async fn read_hello<IO: AsyncRead + Unpin>(line: &mut Line<IO>) -> Result<(Purpose, Hello), String> {
    let mut frame = read(line).await?;
    let purpose = match frame.try_get_u8() {
        Ok(1) => Purpose::Greet,
        Ok(2) => Purpose::Link,
        _ => return Err("it opened with an unknown purpose".into()),
    };
    Ok((purpose, parse(&frame)?))
}

/// Reads an acceptor's answer.
///
/// # Errors
/// A sentence if it is none, or of another version.
pub(super) async fn read_welcome<IO: AsyncRead + Unpin>(line: &mut Line<IO>) -> Result<Welcome, String> {
    let frame = read(line).await?;
    parse(&frame)
}

fn put_frame(bytes: &mut BytesMut, head: &[u8], body: &impl Serialize) -> io::Result<()> {
    let body = postcard::to_stdvec(body).map_err(io::Error::other)?;
    let length = u32::try_from(head.len() + body.len()).map_err(io::Error::other)?;
    bytes.put_u32(length);
    bytes.put_slice(head);
    bytes.put_slice(&body);
    Ok(())
}

async fn send<IO: AsyncRead + AsyncWrite + Unpin>(line: &mut Line<IO>, bytes: BytesMut) -> io::Result<()> {
    line.get_mut().write_all(&bytes).await?;
    line.get_mut().flush().await
}

async fn read<IO: AsyncRead + Unpin>(line: &mut Line<IO>) -> Result<Bytes, String> {
    let mut frame = match line.next().await {
        None => return Err("it hung up without a word".into()),
        Some(Err(error)) => return Err(error.to_string()),
        Some(Ok(frame)) => frame.freeze(),
    };
    match frame.try_get_u8() {
        Ok(VERSION) => Ok(frame),
        Ok(other) => Err(format!(
            "it speaks version {other} of the peer protocol, this node version {VERSION}"
        )),
        Err(_) => Err("its introduction is empty".into()),
    }
}

fn parse<'a, T: Deserialize<'a>>(frame: &'a [u8]) -> Result<T, String> {
    postcard::from_bytes(frame).map_err(|error| format!("its introduction makes no sense: {error}"))
}
