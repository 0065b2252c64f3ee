//! What every file in the cold store begins with: what it is, in which version, and a head that says what follows.
//!
//! ```text
//! 0   4  four letters: what it is
//! 4   1  version
//! 5   4  length of the head, big-endian
//! 9   4  crc32c of the head, big-endian
//! 13     the head (postcard)
//!        what it speaks of
//! ```

use bytes::{Buf, Bytes};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Bytes before the head.
pub(super) const HEADER_BYTES: u64 = 13;

/// The longest head: more cannot be asked for by damaged bytes.
const HEAD_BYTES_MAX: u32 = 64 << 20;

/// A kind of file, and the version in which it is written and read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kind {
    /// The four letters.
    pub(super) magic: &'static [u8; 4],
    pub(super) version: u8,
    /// As it is called in an error.
    pub(super) name: &'static str,
}

/// Why bytes are no such file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadObject {
    /// It does not begin as one does.
    #[error("it is no {0} of Holdfast")]
    NoObject(&'static str),
    /// It was written by a newer Holdfast.
    #[error("it has format version {found}, this program reads {known}: use the version that wrote it, or a newer one")]
    Version {
        /// The version of it.
        found: u8,
        /// The version that is known here.
        known: u8,
    },
    /// It is shorter than it says, or its bytes do not match their checksum.
    #[error("it is damaged: {0}")]
    Damaged(String),
}

impl Kind {
    /// Everything before what the head speaks of.
    pub(super) fn seal(self, head: &impl Serialize) -> Bytes {
        let spelled = postcard::to_stdvec(head).expect("plain data in memory always serialises");
        let mut sealed = Vec::with_capacity(HEADER_BYTES as usize + spelled.len());
        sealed.extend(self.magic);
        sealed.push(self.version);
        sealed.extend((spelled.len() as u32).to_be_bytes());
        sealed.extend(crc32c::crc32c(&spelled).to_be_bytes());
        sealed.extend(spelled);
        sealed.into()
    }

    /// How long the head is, by the first [`HEADER_BYTES`], and its checksum.
    ///
    /// # Errors
    /// When that is not how such a file begins.
    pub(super) fn header(self, mut bytes: &[u8]) -> Result<(u64, u32), BadObject> {
        if bytes.len() < HEADER_BYTES as usize || &bytes[..4] != self.magic {
            return Err(BadObject::NoObject(self.name));
        }
        bytes.advance(4);
        let (found, known) = (bytes.get_u8(), self.version);
        if found != known {
            return Err(BadObject::Version { found, known });
        }
        let (len, crc32c) = (bytes.get_u32(), bytes.get_u32());
        if len > HEAD_BYTES_MAX {
            return Err(BadObject::Damaged(format!("a head of {len} bytes")));
        }
        Ok((len.into(), crc32c))
    }

    /// The head and what follows it, of a whole file.
    ///
    /// # Errors
    /// When it is no such file, or damaged.
    pub(super) fn unseal<T: DeserializeOwned>(self, whole: &Bytes) -> Result<(T, Bytes), BadObject> {
        let (len, crc32c) = self.header(whole)?;
        let mut rest = whole.slice(HEADER_BYTES as usize..);
        if (rest.len() as u64) < len {
            return Err(BadObject::Damaged("it is cut off".into()));
        }
        let head = rest.split_to(len as usize);
        Ok((unspell(&head, crc32c)?, rest))
    }
}

/// The head of which a [`Kind::header`] speaks.
///
/// # Errors
/// When it is damaged.
pub(super) fn unspell<T: DeserializeOwned>(bytes: &[u8], crc32c: u32) -> Result<T, BadObject> {
    if crc32c::crc32c(bytes) != crc32c {
        return Err(BadObject::Damaged("its head does not match its checksum".into()));
    }
    postcard::from_bytes(bytes).map_err(|error| BadObject::Damaged(error.to_string()))
}
