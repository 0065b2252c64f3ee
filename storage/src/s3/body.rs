//! The body of a put: pieces as the caller has them, sent one after the other without being joined.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use aws_sdk_s3::primitives::SdkBody;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

/// Pieces that can be sent again from the beginning.
#[derive(Debug, Clone)]
pub(super) struct Pieces {
    pieces: Arc<[Bytes]>,
    next: usize,
    left: u64,
}

impl Pieces {
    pub(super) fn new(pieces: Vec<Bytes>) -> Pieces {
        let left = pieces.iter().map(|piece| piece.len() as u64).sum();
        let pieces = pieces.into_iter().filter(|piece| !piece.is_empty()).collect();
        Pieces { pieces, next: 0, left }
    }

    /// Bytes in all.
    pub(super) fn len(&self) -> u64 {
        self.left
    }

    /// The CRC32C of the bytes as S3 wants it: base64 of its four bytes, the highest first.
    ///
    /// Computed here and sent as a header, for else the SDK would send it after the body, in an encoding (`aws-chunked`)
    /// that not every store understands.
    pub(super) fn crc32c(&self) -> String {
        let crc = self
            .pieces
            .iter()
            .fold(0, |crc, piece| crc32c::crc32c_append(crc, piece));
        aws_smithy_types::base64::encode(crc.to_be_bytes())
    }

    /// The body for the SDK, which takes it anew for each attempt.
    pub(super) fn to_body(&self) -> SdkBody {
        let pieces = self.clone();
        SdkBody::retryable(move || SdkBody::from_body_1_x(pieces.clone()))
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Some(piece) = self.pieces.get(self.next).cloned() else {
            return Poll::Ready(None);
        };
        self.next += 1;
        self.left -= piece.len() as u64;
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_one_of_the_joined_pieces() {
        // RFC 3720, B.4: 32 bytes of zeros give aa 36 91 8a, the lowest byte first.
        let pieces = Pieces::new(vec![Bytes::from(vec![0; 20]), Bytes::new(), Bytes::from(vec![0; 12])]);
        assert_eq!(pieces.len(), 32);
        assert_eq!(
            pieces.crc32c(),
            aws_smithy_types::base64::encode([0x8a, 0x91, 0x36, 0xaa])
        );
    }

    #[test]
    fn the_body_has_a_known_length_and_can_be_sent_again() {
        let body = Pieces::new(vec![Bytes::from_static(b"one "), Bytes::from_static(b"two")]).to_body();
        assert_eq!(body.content_length(), Some(7));
        assert!(body.try_clone().is_some());
        assert_eq!(Pieces::new(vec![]).to_body().content_length(), Some(0));
    }
}
