//! What groups of different nodes say to each other, as bytes.
//!
//! ```text
//! request   u8 version | varint head length | head (postcard) | tail
//! answer    u8 version | postcard
//! ```
//! The tail holds what must not be copied: encoded entries one after the other, or pieces of a snapshot.

use bytes::{BufMut, Bytes, BytesMut};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::codec::{BadBytes, decode_entry, encode_entry, entry_len, put_varint, take_varint};
use super::incoming::{ColdRun, Run};
use super::types::{LogId, StoredMembership, Types, Vote};
use crate::keys::ObjectId;
use crate::peer::BULK;

/// Version byte of everything here.
const VERSION: u8 = 1;

/// AppendEntries, with or without entries.
pub(super) const APPEND: u8 = 0x01;
/// RequestVote.
pub(super) const VOTE: u8 = 0x02;
/// RequestVote that changes nothing.
pub(super) const PRE_VOTE: u8 = 0x03;
/// The leader asks for an election.
pub(super) const TRANSFER: u8 = 0x04;
/// A piece of a snapshot.
pub(super) const SNAPSHOT: u8 = BULK | 0x01;

/// Whether a request of this kind is for [`Groups::handle`](super::Groups::handle).
pub fn is_raft(kind: u8) -> bool {
    matches!(kind, APPEND | VOTE | PRE_VOTE | TRANSFER | SNAPSHOT)
}

/// openraft's AppendEntries.
pub(super) type Append = openraft::raft::AppendEntriesRequest<Types>;
/// The answer to it.
pub(super) type Appended = openraft::raft::AppendEntriesResponse<Types>;
/// openraft's RequestVote.
pub(super) type Ask = openraft::raft::VoteRequest<Types>;
/// The answer to it.
pub(super) type Asked = openraft::raft::VoteResponse<Types>;
/// openraft's transfer of leadership.
pub(super) type Transfer = openraft::raft::TransferLeaderRequest<Types>;
/// The answer to it.
pub(super) type Transferred = openraft::raft::TransferLeaderResponse<Types>;

#[derive(Serialize, Deserialize)]
struct AppendHead {
    vote: Vote,
    prev: Option<LogId>,
    commit: Option<LogId>,
    lens: Vec<u32>,
}

/// One piece of a snapshot. The bytes it speaks of are in the tail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Piece {
    /// The leader's vote.
    pub(super) vote: Vote,
    /// The sender's number for this transfer.
    pub(super) id: u64,
    /// 0, 1, 2, …
    pub(super) number: u64,
    pub(super) what: What,
}

/// What a piece holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum What {
    /// The first piece: of which moment the state is.
    Begin {
        applied: Option<LogId>,
        membership: StoredMembership,
        digest: u64,
        last_now_ms: u64,
    },
    /// The tail is a block of rows.
    Rows,
    /// The tail is these runs, one after the other.
    Bytes { runs: Vec<Run> },
    /// The last piece: put it in force.
    End,
    /// Runs that are in the cold store.
    Cold { runs: Vec<ColdRun> },
    /// Objects of the cold store, and how many bytes were in each at first.
    Objects { lens: Vec<(ObjectId, u64)> },
}

/// The answer to a piece.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Taking {
    /// Go on.
    Next,
    /// It is in force, or needless; this is the receiver's vote.
    Done(Vote),
    /// The receiver knows a higher vote.
    Higher(Vote),
    /// The receiver cannot go on with this transfer: begin anew.
    Restart(String),
}

/// AppendEntries, its bodies shared and not copied.
pub(super) fn encode_append(request: &Append) -> Vec<Bytes> {
    let mut tail = Vec::with_capacity(2 * request.entries.len());
    let mut lens = Vec::with_capacity(request.entries.len());
    for entry in &request.entries {
        let pieces = encode_entry(entry);
        lens.push(entry_len(&pieces) as u32);
        tail.extend(pieces);
    }
    let head = AppendHead {
        vote: request.vote,
        prev: request.prev_log_id,
        commit: request.leader_commit,
        lens,
    };
    encode(&head, tail)
}

/// What [`encode_append`] wrote. The entries' bodies are slices of it.
///
/// # Errors
/// When it is of an unknown version or makes no sense.
pub(super) fn decode_append(payload: &Bytes) -> Result<Append, BadBytes> {
    let (head, mut tail): (AppendHead, Bytes) = decode("AppendEntries", payload)?;
    let mut entries = Vec::with_capacity(head.lens.len().min(1 << 16));
    for len in head.lens {
        if tail.len() < len as usize {
            return Err(BadBytes::new("AppendEntries", "cut off"));
        }
        entries.push(decode_entry(&tail.split_to(len as usize))?);
    }
    if !tail.is_empty() {
        return Err(BadBytes::new("AppendEntries", format!("{} bytes too many", tail.len())));
    }
    Ok(Append {
        vote: head.vote,
        prev_log_id: head.prev,
        entries,
        leader_commit: head.commit,
    })
}

/// A head, then a tail.
pub(super) fn encode(head: &impl Serialize, tail: Vec<Bytes>) -> Vec<Bytes> {
    let head = postcard::to_stdvec(head).expect("plain data in memory always serialises");
    let mut first = BytesMut::with_capacity(head.len() + 11);
    first.put_u8(VERSION);
    put_varint(&mut first, head.len() as u64);
    first.put_slice(&head);
    let mut parts = Vec::with_capacity(1 + tail.len());
    parts.push(first.freeze());
    parts.extend(tail);
    parts
}

/// What [`encode`] wrote.
///
/// # Errors
/// When it is of an unknown version or makes no sense.
pub(super) fn decode<T: DeserializeOwned>(what: &'static str, payload: &Bytes) -> Result<(T, Bytes), BadBytes> {
    let mut rest = versioned(what, payload)?;
    let len = take_varint(&mut rest).filter(|len| *len <= rest.len() as u64);
    let len = len.ok_or_else(|| BadBytes::new(what, "cut off"))? as usize;
    let head = postcard::from_bytes(&rest[..len]).map_err(|error| BadBytes::new(what, error))?;
    let tail_at = payload.len() - rest.len() + len;
    Ok((head, payload.slice(tail_at..)))
}

/// An answer.
pub(super) fn encode_answer(answer: &impl Serialize) -> Vec<Bytes> {
    let bytes = postcard::to_extend(answer, vec![VERSION]).expect("plain data in memory always serialises");
    vec![bytes.into()]
}

/// What [`encode_answer`] wrote.
///
/// # Errors
/// When it is of an unknown version or makes no sense.
pub(super) fn decode_answer<T: DeserializeOwned>(what: &'static str, payload: &[u8]) -> Result<T, BadBytes> {
    postcard::from_bytes(versioned(what, payload)?).map_err(|error| BadBytes::new(what, error))
}

fn versioned<'a>(what: &'static str, payload: &'a [u8]) -> Result<&'a [u8], BadBytes> {
    match payload.split_first() {
        Some((&VERSION, rest)) => Ok(rest),
        Some((version, _)) => Err(BadBytes::new(what, format!("version {version} is unknown here"))),
        None => Err(BadBytes::new(what, "empty")),
    }
}

#[cfg(test)]
mod tests {
    use openraft::entry::RaftEntry;
    use proptest::prelude::*;

    use super::super::types::{Entry, Envelope, Payload, log_id};
    use super::*;

    fn hex(parts: &[Bytes]) -> String {
        parts.concat().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Golden: nodes of different releases talk to each other.
    #[test]
    fn requests_are_written_as_they_were_by_the_first_release() {
        let body = Bytes::from_static(b"body");
        let command = Payload::Normal(Envelope {
            meta: Bytes::from_static(b"me"),
            body: body.clone(),
        });
        let request = Append {
            vote: Vote::new_committed(2, 1),
            prev_log_id: Some(log_id(1, 6)),
            entries: vec![
                Entry::new(log_id(2, 7), command),
                Entry::new(log_id(2, 8), Payload::Blank),
            ],
            leader_commit: None,
        };
        let parts = encode_append(&request);
        assert_eq!(parts[2].as_ptr(), body.as_ptr());
        assert_eq!(
            hex(&parts),
            "010b02010101010106000 20c06".replace(' ', "") + "0101020702046d65626f6479" + "010002080000"
        );
        let back = decode_append(&parts.concat().into()).unwrap();
        assert_eq!(back.entries, request.entries);
        assert_eq!(
            (back.vote, back.prev_log_id, back.leader_commit),
            (request.vote, request.prev_log_id, None)
        );

        let ask = Ask::new(Vote::new(3, 2), Some(log_id(2, 8)));
        assert_eq!(hex(&encode(&ask, Vec::new())), "0108030102000102 0800".replace(' ', ""));
        let answer = Asked::new(Vote::new(3, 2), None, true);
        assert_eq!(hex(&encode_answer(&answer)), "01030102000100");
    }

    #[test]
    fn answers_come_back() {
        let higher = Appended::HigherVote(Vote::new(9, 1));
        for answer in [
            Appended::Success,
            Appended::Conflict,
            Appended::PartialSuccess(Some(log_id(1, 2))),
            higher,
        ] {
            let bytes = encode_answer(&answer).concat();
            assert_eq!(decode_answer::<Appended>("answer", &bytes), Ok(answer));
        }
        let piece = Piece {
            vote: Vote::new_committed(1, 1),
            id: 7,
            number: 3,
            what: What::Bytes {
                runs: vec![Run {
                    incarnation: 1,
                    end: 5,
                    len: 5,
                    crc32c: 9,
                    ends: true,
                }],
            },
        };
        let bytes = Bytes::from(encode(&piece, vec![Bytes::from_static(b"hello")]).concat());
        assert_eq!(
            decode::<Piece>("piece", &bytes),
            Ok((piece, Bytes::from_static(b"hello")))
        );
    }

    proptest! {
        #[test]
        fn no_bytes_make_decoding_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            drop(decode_append(&bytes.clone().into()));
            if let Some(first) = bytes.first_mut() {
                *first = VERSION;
            }
            let bytes = Bytes::from(bytes);
            drop(decode_append(&bytes));
            drop(decode::<Piece>("piece", &bytes));
            drop(decode_answer::<Taking>("answer", &bytes));
        }
    }
}
