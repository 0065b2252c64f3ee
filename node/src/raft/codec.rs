//! How log entries are written: to the journal, and between nodes.
//!
//! ```text
//! u8 version | u8 kind | varint term | varint index | varint meta length | varint body length | meta | body
//! ```
//! The body is last and is a piece of its own: it goes to the disk and to the wire without being copied, and the place of
//! its bytes in the journal follows from the record's end. On disks: change it only with the version.

use bytes::{BufMut, Bytes, BytesMut};
use openraft::entry::RaftEntry;

use super::types::{Entry, Envelope, LogId, Membership, Payload, Vote, log_id};

/// Version byte of an entry.
const ENTRY_VERSION: u8 = 1;

/// Version byte of a vote in the journal.
const VOTE_VERSION: u8 = 1;

const BLANK: u8 = 0;
const COMMAND: u8 = 1;
const MEMBERSHIP: u8 = 2;

/// Bytes that are not what they should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {because}")]
pub struct BadBytes {
    /// What should have been read.
    pub what: &'static str,
    /// What is wrong with it.
    pub because: String,
}

impl BadBytes {
    pub(super) fn new(what: &'static str, because: impl ToString) -> Self {
        Self {
            what,
            because: because.to_string(),
        }
    }
}

impl From<BadBytes> for std::io::Error {
    fn from(bad: BadBytes) -> Self {
        Self::new(std::io::ErrorKind::InvalidData, bad)
    }
}

/// An entry in one or two pieces: everything but the body, and the body if there is one.
pub(super) fn encode_entry(entry: &Entry) -> Vec<Bytes> {
    let owned;
    let (kind, meta, body): (u8, &[u8], Bytes) = match &entry.payload {
        Payload::Blank => (BLANK, &[], Bytes::new()),
        Payload::Normal(envelope) => (COMMAND, &envelope.meta, envelope.body.clone()),
        Payload::Membership(membership) => {
            owned = postcard::to_stdvec(membership).expect("plain data in memory always serialises");
            (MEMBERSHIP, &owned, Bytes::new())
        }
    };
    let mut head = BytesMut::with_capacity(2 + 4 * 10 + meta.len());
    head.put_u8(ENTRY_VERSION);
    head.put_u8(kind);
    put_varint(&mut head, entry.log_id.leader_id.term);
    put_varint(&mut head, entry.log_id.index);
    put_varint(&mut head, meta.len() as u64);
    put_varint(&mut head, body.len() as u64);
    head.put_slice(meta);
    let mut pieces = Vec::with_capacity(2);
    pieces.push(head.freeze());
    if !body.is_empty() {
        pieces.push(body);
    }
    pieces
}

/// What [`encode_entry`] wrote, in one piece. Meta and body are slices of it.
///
/// # Errors
/// When it is of an unknown version or damaged.
pub(super) fn decode_entry(bytes: &Bytes) -> Result<Entry, BadBytes> {
    let bad = |because: String| BadBytes::new("log entry", because);
    let [version, kind, rest @ ..] = &bytes[..] else {
        return Err(bad("cut off".into()));
    };
    if *version != ENTRY_VERSION {
        return Err(bad(format!(
            "format version {version}, this binary reads {ENTRY_VERSION}: run the newer binary"
        )));
    }
    let mut rest = rest;
    let mut next = || take_varint(&mut rest).ok_or_else(|| bad("cut off".into()));
    let (term, index, meta_len, body_len) = (next()?, next()?, next()?, next()?);
    let left = rest.len() as u64;
    if meta_len.checked_add(body_len) != Some(left) {
        return Err(bad(format!("{left} bytes where {meta_len} + {body_len} should be")));
    }
    let head_len = bytes.len() - rest.len();
    let meta_end = head_len + meta_len as usize;
    let payload = match *kind {
        BLANK => Payload::Blank,
        COMMAND => Payload::Normal(Envelope {
            meta: bytes.slice(head_len..meta_end),
            body: bytes.slice(meta_end..),
        }),
        MEMBERSHIP => {
            let membership: Membership =
                postcard::from_bytes(&bytes[head_len..meta_end]).map_err(|error| bad(error.to_string()))?;
            Payload::Membership(membership)
        }
        other => return Err(bad(format!("kind {other} is unknown"))),
    };
    Ok(Entry::new(log_id(term, index), payload))
}

/// The length of the body of an encoded entry.
///
/// # Errors
/// When it is of an unknown version or damaged.
pub(super) fn body_len(bytes: &Bytes) -> Result<u32, BadBytes> {
    match decode_entry(bytes)?.payload {
        Payload::Normal(envelope) => Ok(envelope.body.len() as u32),
        Payload::Blank | Payload::Membership(_) => Ok(0),
    }
}

/// A vote, as the journal keeps it.
pub(super) fn encode_vote(vote: &Vote) -> Bytes {
    postcard::to_extend(vote, vec![VOTE_VERSION])
        .expect("plain data in memory always serialises")
        .into()
}

/// What [`encode_vote`] wrote.
///
/// # Errors
/// When it is of an unknown version or damaged.
pub(super) fn decode_vote(bytes: &[u8]) -> Result<Vote, BadBytes> {
    match bytes.split_first() {
        Some((&VOTE_VERSION, rest)) => postcard::from_bytes(rest).map_err(|error| BadBytes::new("vote", error)),
        Some((version, _)) => Err(BadBytes::new("vote", format!("format version {version} is unknown"))),
        None => Err(BadBytes::new("vote", "empty")),
    }
}

/// How many bytes the encoded entry takes.
pub(super) fn entry_len(pieces: &[Bytes]) -> usize {
    pieces.iter().map(Bytes::len).sum()
}

/// The next index after a log id; 0 at first.
pub(super) fn next_index(log_id: Option<LogId>) -> u64 {
    log_id.map_or(0, |id| id.index + 1)
}

pub(super) fn put_varint(buffer: &mut BytesMut, mut number: u64) {
    while number >= 0x80 {
        buffer.put_u8(number as u8 | 0x80);
        number >>= 7;
    }
    buffer.put_u8(number as u8);
}

pub(super) fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let seven = u64::from(byte & 0x7f);
        if shift == 63 && seven > 1 {
            return None;
        }
        number |= seven << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::super::types::Member;
    use super::*;

    fn whole(entry: &Entry) -> Bytes {
        encode_entry(entry).concat().into()
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn membership() -> Membership {
        let members = BTreeMap::from([(1, Member { addr: "a:1".into() }), (2, Member { addr: "b:2".into() })]);
        Membership::new(vec![BTreeSet::from([1, 2])], members).unwrap()
    }

    /// Golden: these bytes are on disks.
    #[test]
    fn entries_are_written_as_they_were_by_the_first_release() {
        let command = Payload::Normal(Envelope {
            meta: Bytes::from_static(b"me"),
            body: Bytes::from_static(b"body"),
        });
        let table = [
            (Payload::Blank, "0100 02ac020000"),
            (command, "0101 02ac020204 6d65 626f6479"),
            (
                Payload::Membership(membership()),
                "0102 02ac020f00 01020102020103613a310203623a32",
            ),
        ];
        for (payload, golden) in table {
            let entry = Entry::new(log_id(2, 300), payload);
            assert_eq!(hex(&whole(&entry)), golden.replace(' ', ""), "{entry}");
            assert_eq!(decode_entry(&whole(&entry)), Ok(entry));
        }
    }

    #[test]
    fn votes_are_written_as_they_were_by_the_first_release() {
        let vote = Vote::new_committed(7, 3);
        assert_eq!(hex(&encode_vote(&vote)), "0107010301");
        assert_eq!(decode_vote(&encode_vote(&vote)), Ok(vote));
        assert!(decode_vote(&[]).is_err());
        assert!(decode_vote(&[9, 9]).is_err());
    }

    #[test]
    fn a_body_is_shared_and_not_copied() {
        let body = Bytes::from(vec![7; 1000]);
        let entry = Entry::new(
            log_id(1, 1),
            Payload::Normal(Envelope {
                meta: Bytes::new(),
                body: body.clone(),
            }),
        );
        let pieces = encode_entry(&entry);
        assert_eq!(pieces.last().unwrap().as_ptr(), body.as_ptr());
    }

    #[test]
    fn what_is_cut_or_too_long_is_no_entry() {
        let command = Payload::Normal(Envelope {
            meta: Bytes::from_static(b"me"),
            body: Bytes::from_static(b"body"),
        });
        let good = whole(&Entry::new(log_id(2, 300), command));
        for len in 0..good.len() {
            assert!(decode_entry(&good.slice(..len)).is_err(), "cut to {len}");
        }
        assert!(decode_entry(&[&good[..], b"x"].concat().into()).is_err());
    }

    proptest! {
        #[test]
        fn numbers_come_back(number: u64) {
            let mut buffer = BytesMut::new();
            put_varint(&mut buffer, number);
            let mut rest = &buffer[..];
            prop_assert_eq!(take_varint(&mut rest), Some(number));
            prop_assert!(rest.is_empty());
        }

        #[test]
        fn no_bytes_make_decoding_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            drop(decode_entry(&Bytes::from(bytes)));
        }
    }
}
