//! An object of the cold store: a header, a directory, and the bytes of runs one after the other.
//!
//! It begins as [`envelope`](super::envelope) says; its head is the [`Directory`]. A format: change it only together with
//! the version.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::envelope::Kind;
use crate::keys::ObjectId;

/// An object.
pub(super) const OBJECT: Kind = Kind {
    magic: b"HFOB",
    version: 1,
    name: "object",
};

/// What an object holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Directory {
    /// The number of the cluster.
    pub cluster: u128,
    /// The group.
    pub group: u32,
    /// The object among those of the group.
    pub object: ObjectId,
    /// A number thrown when it was written, so that its writer knows it again when the answer to a put was lost.
    pub nonce: u64,
    /// What is in it, in the order of the bytes.
    pub runs: Vec<RunEntry>,
}

/// A run of a stream's bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunEntry {
    /// Which life of which stream, or which blob.
    pub incarnation: u64,
    /// Its first byte, as an offset of the stream.
    pub start: u64,
    /// How many bytes.
    pub len: u32,
    /// Checksum of them.
    pub crc32c: u32,
    /// How many bytes of it each append takes that ends in it.
    pub lens: Vec<u32>,
}

/// An object that is ready to be put.
#[derive(Debug, Clone)]
pub struct Packed {
    /// Header and directory.
    pub head: Bytes,
    /// The bytes of the runs.
    pub data: Vec<Bytes>,
}

impl Packed {
    /// Packs runs; `data` is their bytes, in pieces of any size.
    #[must_use]
    pub fn new(directory: &Directory, data: Vec<Bytes>) -> Self {
        Self {
            head: OBJECT.seal(directory),
            data,
        }
    }

    /// All of it, in pieces.
    #[must_use]
    pub fn pieces(&self) -> Vec<Bytes> {
        std::iter::once(&self.head).chain(&self.data).cloned().collect()
    }
}

/// What the names of all objects of a group begin with.
#[must_use]
pub fn prefix_of(cluster: u128, group: u32) -> String {
    format!("{cluster:032x}/group-{group:04}/")
}

/// The name of an object. Names sort as terms do, and then as sequences.
#[must_use]
pub fn key_of(cluster: u128, group: u32, object: ObjectId) -> String {
    let ObjectId { term, sequence } = object;
    format!("{}{term:016x}-{sequence:016x}", prefix_of(cluster, group))
}

/// The object of this name, if its group has one of that name.
#[must_use]
pub fn object_of(cluster: u128, group: u32, key: &str) -> Option<ObjectId> {
    let name = key.strip_prefix(&prefix_of(cluster, group))?;
    let (term, sequence) = name.split_once('-')?;
    let number = |digits: &str| match digits.len() {
        16 => u64::from_str_radix(digits, 16).ok(),
        _ => None,
    };
    let object = ObjectId {
        term: number(term)?,
        sequence: number(sequence)?,
    };
    (key_of(cluster, group, object) == key).then_some(object)
}

#[cfg(test)]
mod tests {
    use super::super::envelope::{BadObject, HEADER_BYTES, unspell};
    use super::*;

    fn directory() -> Directory {
        Directory {
            cluster: 0x0102,
            group: 3,
            object: ObjectId { term: 5, sequence: 7 },
            nonce: 300,
            runs: vec![RunEntry {
                incarnation: 9,
                start: 300,
                len: 4,
                crc32c: crc32c::crc32c(b"abcd"),
                lens: vec![1, 3],
            }],
        }
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn an_object_is_written_as_by_the_first_release() {
        let packed = Packed::new(&directory(), vec![Bytes::from_static(b"abcd")]);
        let golden = "48464f42 01 00000014 a8f18695 8202 03 05 07 ac02 01 09 ac02 04 b194a09609 02 01 03";
        assert_eq!(hex(&packed.head), golden.replace(' ', ""));
        assert_eq!(packed.pieces().concat(), [&packed.head[..], b"abcd"].concat());
        let (len, crc32c) = OBJECT.header(&packed.head).expect("a header");
        let rest = &packed.head[HEADER_BYTES as usize..];
        assert_eq!(rest.len() as u64, len);
        assert_eq!(unspell::<Directory>(rest, crc32c), Ok(directory()));
    }

    #[test]
    fn what_is_no_object_is_refused_with_a_reason() {
        let packed = Packed::new(&directory(), vec![]);
        assert_eq!(OBJECT.header(b"HFOB"), Err(BadObject::NoObject("object")));
        assert_eq!(OBJECT.header(&[b'x'; 20]), Err(BadObject::NoObject("object")));
        let mut newer = packed.head.to_vec();
        newer[4] = 2;
        assert_eq!(OBJECT.header(&newer), Err(BadObject::Version { found: 2, known: 1 }));
        let mut long = packed.head.to_vec();
        long[5] = 0xff;
        assert!(matches!(OBJECT.header(&long), Err(BadObject::Damaged(_))));
        let (_, crc32c) = OBJECT.header(&packed.head).expect("a header");
        let mut rest = packed.head[HEADER_BYTES as usize..].to_vec();
        rest[3] ^= 1;
        assert!(matches!(
            unspell::<Directory>(&rest, crc32c),
            Err(BadObject::Damaged(_))
        ));
    }

    #[test]
    fn names_sort_as_terms_and_sequences_and_say_what_they_name() {
        let object = |term, sequence| ObjectId { term, sequence };
        let key = |object| key_of(7, 2, object);
        assert!(key(object(1, 0xffff)) < key(object(2, 0)) && key(object(2, 9)) < key(object(2, 10)));
        assert_eq!(object_of(7, 2, &key(object(2, 10))), Some(object(2, 10)));
        for other in [
            key_of(7, 3, object(1, 1)),
            key_of(8, 2, object(1, 1)),
            key(object(1, 1)) + "0",
            "x".into(),
        ] {
            assert_eq!(object_of(7, 2, &other), None, "{other}");
        }
        storage::cold::check_key(&key(object(1, 1))).expect("a name that every store takes");
    }
}
