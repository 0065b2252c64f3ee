//! One frame on a peer connection, and a batch of them on its way into the socket.
//!
//! ```text
//! u32 length of the rest | u8 form | u8 kind | u32 group | u64 id | payload
//! ```
//! Integers are big endian. The version of this layout is in the magic and in the hello, so a frame needs none. Payloads
//! are never copied: coming in, they are slices of the read buffer; going out, their pieces are handed to the socket as
//! they are, many frames in one vectored write.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::AsyncWrite;
use tokio_util::codec::LengthDelimitedCodec;

/// Bytes of a frame after its length and before its payload.
pub(super) const HEAD_BYTES: usize = 1 + 1 + 4 + 8;

/// Pieces up to this size are cheaper to copy beside the heads than to name in a vectored write.
const COPY_UP_TO_BYTES: usize = 256;

/// How many pieces one vectored write names at most.
const PIECES_PER_WRITE: usize = 64;

/// The codec of the connection: how frames are cut. `payload_bytes_max` bounds one payload.
pub(super) fn codec(payload_bytes_max: usize) -> LengthDelimitedCodec {
    LengthDelimitedCodec::builder()
        .length_field_length(4)
        .max_frame_length(HEAD_BYTES + payload_bytes_max)
        .new_codec()
}

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Form {
    /// The dialer asks.
    Request = 1,
    /// The acceptor answers.
    Answer = 2,
    /// The acceptor did nothing of what was asked; the payload says why.
    Refusal = 3,
    /// The dialer wants to know whether the line is alive.
    Ping = 4,
    /// It is.
    Pong = 5,
}

/// The fixed part of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) form: Form,
    /// What is asked, in the handler's terms; zero in other forms.
    pub(super) kind: u8,
    /// The Raft group concerned.
    pub(super) group: u32,
    /// Which request; the answer bears the same.
    pub(super) id: u64,
}

impl Head {
    /// A head for a frame about the line itself.
    pub(super) fn bare(form: Form) -> Head {
        Head {
            form,
            kind: 0,
            group: 0,
            id: 0,
        }
    }
}

/// A frame that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadFrame {
    #[error("a frame of {0} bytes is shorter than its head")]
    Short(usize),
    #[error("a frame of the unknown form {0}")]
    Form(u8),
}

/// Takes a frame apart. The payload keeps the buffer it was read into alive.
pub(super) fn decode(mut frame: BytesMut) -> Result<(Head, Bytes), BadFrame> {
    if frame.len() < HEAD_BYTES {
        return Err(BadFrame::Short(frame.len()));
    }
    let form = match frame.get_u8() {
        1 => Form::Request,
        2 => Form::Answer,
        3 => Form::Refusal,
        4 => Form::Ping,
        5 => Form::Pong,
        other => return Err(BadFrame::Form(other)),
    };
    let head = Head {
        form,
        kind: frame.get_u8(),
        group: frame.get_u32(),
        id: frame.get_u64(),
    };
    Ok((head, frame.freeze()))
}

/// Frames on their way into a socket: heads and small pieces side by side in scratch buffers, large pieces as they came.
#[derive(Default)]
pub(super) struct Batch {
    pieces: VecDeque<Bytes>,
    scratch: BytesMut,
    /// Bytes in `pieces` and `scratch` together.
    bytes: usize,
}

impl Batch {
    /// Adds a frame at the end. Its payload is the parts one after the other.
    ///
    /// The caller has bounded the payload, so the length fits.
    pub(super) fn push(&mut self, head: Head, parts: Vec<Bytes>) {
        let payload: usize = parts.iter().map(Bytes::len).sum();
        let length = u32::try_from(HEAD_BYTES + payload).expect("payloads are bounded far below 4 GiB");
        self.scratch.reserve(4 + HEAD_BYTES);
        self.scratch.put_u32(length);
        self.scratch.put_u8(head.form as u8);
        self.scratch.put_u8(head.kind);
        self.scratch.put_u32(head.group);
        self.scratch.put_u64(head.id);
        for part in parts {
            if part.len() <= COPY_UP_TO_BYTES {
                self.scratch.extend_from_slice(&part);
            } else {
                self.seal();
                self.pieces.push_back(part);
            }
        }
        self.bytes += 4 + HEAD_BYTES + payload;
    }

    /// Bytes not yet written.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Writes all of it, as far as the socket takes it. Ready means everything is in the socket.
    ///
    /// # Errors
    /// Those of the socket; [`io::ErrorKind::WriteZero`] if it takes no more for ever.
    pub(super) fn poll_write<IO>(&mut self, io: &mut IO, cx: &mut Context<'_>) -> Poll<io::Result<()>>
    where
        IO: AsyncWrite + Unpin,
    {
        self.seal();
        while self.bytes > 0 {
            let mut io = Pin::new(&mut *io);
            let written = if io.is_write_vectored() {
                let mut slices = [IoSlice::new(&[]); PIECES_PER_WRITE];
                let mut count = 0;
                for (slice, piece) in slices.iter_mut().zip(&self.pieces) {
                    *slice = IoSlice::new(piece);
                    count += 1;
                }
                ready!(io.as_mut().poll_write_vectored(cx, &slices[..count]))?
            } else {
                ready!(
                    io.as_mut()
                        .poll_write(cx, self.pieces.front().map_or(&[], |piece| &piece[..]))
                )?
            };
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.advance(written);
        }
        Poll::Ready(Ok(()))
    }

    /// Moves what is in the scratch buffer behind the pieces.
    fn seal(&mut self) {
        if !self.scratch.is_empty() {
            self.pieces.push_back(self.scratch.split().freeze());
        }
    }

    fn advance(&mut self, mut written: usize) {
        self.bytes -= written;
        while written > 0 {
            let Some(piece) = self.pieces.front_mut() else { return };
            if written < piece.len() {
                piece.advance(written);
                return;
            }
            written -= piece.len();
            self.pieces.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use proptest::prelude::*;
    use tokio_util::codec::Decoder;

    use super::*;

    /// A socket that takes a few bytes at a time.
    struct Narrow {
        taken: Vec<u8>,
        width: usize,
        vectored: bool,
    }

    impl AsyncWrite for Narrow {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            let count = bytes.len().min(self.width);
            self.taken.extend_from_slice(&bytes[..count]);
            Poll::Ready(Ok(count))
        }

        fn poll_write_vectored(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            slices: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            let all: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
            let count = all.len().min(self.width);
            self.taken.extend_from_slice(&all[..count]);
            Poll::Ready(Ok(count))
        }

        fn is_write_vectored(&self) -> bool {
            self.vectored
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn heads() -> impl Strategy<Value = Head> {
        let forms = prop_oneof![
            Just(Form::Request),
            Just(Form::Answer),
            Just(Form::Refusal),
            Just(Form::Ping),
            Just(Form::Pong)
        ];
        (forms, any::<u8>(), any::<u32>(), any::<u64>()).prop_map(|(form, kind, group, id)| Head {
            form,
            kind,
            group,
            id,
        })
    }

    fn parts() -> impl Strategy<Value = Vec<Bytes>> {
        let part = prop_oneof![0..8usize, 250..262usize, 0..5000usize];
        prop::collection::vec(part.prop_map(|len| Bytes::from(vec![len as u8; len])), 0..5)
    }

    proptest! {
        #[test]
        fn what_goes_in_comes_out_through_any_narrow_socket(
            frames in prop::collection::vec((heads(), parts()), 1..20),
            width in 1..4000usize,
            vectored: bool,
        ) {
            let mut batch = Batch::default();
            for (head, parts) in &frames {
                batch.push(*head, parts.clone());
            }
            let mut io = Narrow { taken: Vec::new(), width, vectored };
            futures_util::FutureExt::now_or_never(poll_fn(|cx| batch.poll_write(&mut io, cx)))
                .expect("never pending").expect("never fails");
            prop_assert_eq!(batch.bytes(), 0);

            let mut wire = BytesMut::from(&io.taken[..]);
            let mut codec = codec(1 << 20);
            for (head, parts) in frames {
                let frame = codec.decode(&mut wire).unwrap().expect("a frame");
                prop_assert_eq!(decode(frame).unwrap(), (head, Bytes::from(parts.concat())));
            }
            prop_assert!(wire.is_empty());
        }

        #[test]
        fn garbage_is_refused_or_understood_but_never_panics(garbage in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut codec = codec(128);
            let mut wire = BytesMut::from(&garbage[..]);
            while let Ok(Some(frame)) = codec.decode(&mut wire) {
                prop_assert!(frame.len() <= HEAD_BYTES + 128);
                let _ = decode(frame);
            }
        }
    }

    #[test]
    fn a_length_beyond_the_bound_is_an_error_before_any_memory_is_taken() {
        let mut wire = BytesMut::from(&u32::MAX.to_be_bytes()[..]);
        let before = wire.capacity();
        assert!(codec(1024).decode(&mut wire).is_err());
        assert!(wire.capacity() <= before.max(64));
    }

    #[test]
    fn the_layout_is_the_one_written_above() {
        let mut batch = Batch::default();
        let head = Head {
            form: Form::Request,
            kind: 7,
            group: 0x0102_0304,
            id: 0x0506_0708_090a_0b0c,
        };
        batch.push(head, vec![Bytes::from_static(b"ab"), Bytes::from_static(b"c")]);
        let mut io = Narrow {
            taken: Vec::new(),
            width: 1000,
            vectored: true,
        };
        futures_util::FutureExt::now_or_never(poll_fn(|cx| batch.poll_write(&mut io, cx)))
            .unwrap()
            .unwrap();
        assert_eq!(
            io.taken,
            b"\x00\x00\x00\x11\x01\x07\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0cabc"
        );
    }
}
