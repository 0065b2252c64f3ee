//! The bytes of a segment, version 1.
//!
//! ```text
//! segment   head (64 bytes), then records, each at a multiple of 8, then zeros to the end of the file
//! head      magic 8 | version u16 | 0 u16 | checkpoint end u32 | journal identity 16 | segment id u64
//!           | predecessor id u64 | predecessor's end u32 | predecessor's chain u32 | 0 u32 | crc u32
//! record    lead (40 bytes), payload, zeros up to a multiple of 8
//! lead      crc u32 | payload crc u32 | payload length u32 | kind u8 | flags u8 | 0 u16 | group u32
//!           | batch start u32 | index u64 | term u64
//! ```
//!
//! Numbers are little-endian; every crc is crc32c. A lead's crc covers, besides the lead, the identity of the journal,
//! the segment and the offset: bytes that land in the wrong place, or were left by an earlier use of the space, are
//! not a record. A payload's crc covers its padding. A segment's chain is the crc of the crcs of its leads, in order,
//! so a segment vouches for every record of the one before it.
//!
//! **Batch start** is where the write began that carried the record, and all its neighbours of the same sync. It is
//! what tells an unfinished tail from damage, see [`super::recover`].
//!
//! The head keeps this layout in all versions, so that an older program can tell a newer file from a torn one.

use bytes::Bytes;

use super::record::{Kind, MAX_PAYLOAD};

/// The version written, and the only one read.
pub(super) const VERSION: u16 = 1;
/// The length of a segment's head.
pub(super) const HEAD: u64 = 64;
/// The length of a record's lead.
pub(super) const LEAD: u64 = 40;
const _: () = assert!(
    HEAD.is_multiple_of(8) && LEAD.is_multiple_of(8),
    "records lie at multiples of 8"
);
/// The flag of a record that repeats, at the head of a segment, what held before.
pub(super) const REPEATED: u8 = 1;

const MAGIC: [u8; 8] = *b"HOLDJRNL";
const ZEROS: [u8; 8] = [0; 8];

/// The file name of a segment.
pub(super) fn file_name(folder: &str, segment: u64) -> String {
    if folder.is_empty() {
        format!("{segment:016x}.seg")
    } else {
        format!("{folder}/{segment:016x}.seg")
    }
}

/// The segment a file name stands for.
pub(super) fn segment_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".seg")?;
    let plain = digits.len() == 16 && digits.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    if plain {
        u64::from_str_radix(digits, 16).ok()
    } else {
        None
    }
}

/// What a payload takes with its padding.
pub(super) fn padded(payload_len: u64) -> u64 {
    payload_len.next_multiple_of(8)
}

/// The zeros that follow a payload.
pub(super) fn padding(payload_len: u64) -> &'static [u8] {
    &ZEROS[..(padded(payload_len) - payload_len) as usize]
}

/// The crc of a payload and its padding.
pub(super) fn payload_crc(pieces: &[Bytes]) -> u32 {
    let (mut crc, mut len) = (0, 0);
    for piece in pieces {
        crc = crc32c::crc32c_append(crc, piece);
        len += piece.len() as u64;
    }
    crc32c::crc32c_append(crc, padding(len))
}

/// Where every lead's crc begins: whose journal, and which segment.
pub(super) fn seed(identity: &[u8; 16], segment: u64) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(identity), &segment.to_le_bytes())
}

/// The next link of a segment's chain.
pub(super) fn link(chain: u32, lead_crc: u32) -> u32 {
    crc32c::crc32c_append(chain, &lead_crc.to_le_bytes())
}

/// The head of a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) version: u16,
    /// Where the records end that were repeated from the segments before. A segment without all of them was never
    /// acknowledged.
    pub(super) checkpoint_end: u32,
    pub(super) identity: [u8; 16],
    pub(super) segment: u64,
    /// The segment before, 0 for the first.
    pub(super) previous: u64,
    pub(super) previous_end: u32,
    pub(super) previous_chain: u32,
}

impl Head {
    pub(super) fn encode(&self) -> [u8; HEAD as usize] {
        let mut out = [0; HEAD as usize];
        out[..8].copy_from_slice(&MAGIC);
        out[8..10].copy_from_slice(&self.version.to_le_bytes());
        out[12..16].copy_from_slice(&self.checkpoint_end.to_le_bytes());
        out[16..32].copy_from_slice(&self.identity);
        out[32..40].copy_from_slice(&self.segment.to_le_bytes());
        out[40..48].copy_from_slice(&self.previous.to_le_bytes());
        out[48..52].copy_from_slice(&self.previous_end.to_le_bytes());
        out[52..56].copy_from_slice(&self.previous_chain.to_le_bytes());
        let crc = crc32c::crc32c(&out[..60]);
        out[60..].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// `None` if this is not a head, or not as it was written.
    pub(super) fn decode(bytes: &[u8]) -> Option<Head> {
        let bytes: &[u8; HEAD as usize] = bytes.get(..HEAD as usize)?.try_into().ok()?;
        if bytes[..8] != MAGIC || u32_at(bytes, 60) != crc32c::crc32c(&bytes[..60]) {
            return None;
        }
        Some(Head {
            version: u16::from_le_bytes([bytes[8], bytes[9]]),
            checkpoint_end: u32_at(bytes, 12),
            identity: bytes[16..32].try_into().expect("16 bytes"),
            segment: u64_at(bytes, 32),
            previous: u64_at(bytes, 40),
            previous_end: u32_at(bytes, 48),
            previous_chain: u32_at(bytes, 52),
        })
    }
}

/// The lead of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lead {
    pub(super) kind: Kind,
    pub(super) flags: u8,
    pub(super) group: u32,
    pub(super) index: u64,
    pub(super) term: u64,
    pub(super) payload_len: u32,
    pub(super) payload_crc: u32,
    /// Where the write began that carried this record.
    pub(super) start: u32,
}

impl Lead {
    /// What the record takes, all in all.
    pub(super) fn size(&self) -> u64 {
        LEAD + padded(self.payload_len.into())
    }

    pub(super) fn encode(&self, seed: u32, offset: u64) -> [u8; LEAD as usize] {
        let mut out = [0; LEAD as usize];
        out[4..8].copy_from_slice(&self.payload_crc.to_le_bytes());
        out[8..12].copy_from_slice(&self.payload_len.to_le_bytes());
        out[12] = self.kind as u8;
        out[13] = self.flags;
        out[16..20].copy_from_slice(&self.group.to_le_bytes());
        out[20..24].copy_from_slice(&self.start.to_le_bytes());
        out[24..32].copy_from_slice(&self.index.to_le_bytes());
        out[32..40].copy_from_slice(&self.term.to_le_bytes());
        let crc = lead_crc(&out, seed, offset);
        out[..4].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// The lead and its crc; `None` if there is none at this offset, or it is not as it was written.
    pub(super) fn decode(bytes: &[u8], seed: u32, offset: u64) -> Option<(Lead, u32)> {
        let bytes: &[u8; LEAD as usize] = bytes.get(..LEAD as usize)?.try_into().ok()?;
        // Cheap questions first: a search asks them at every eighth byte.
        let kind = Kind::from_byte(bytes[12])?;
        let (payload_len, start) = (u32_at(bytes, 8), u32_at(bytes, 20));
        if bytes[13] & !REPEATED != 0 || bytes[14..16] != [0, 0] {
            return None;
        }
        if u64::from(payload_len) > MAX_PAYLOAD || u64::from(start) > offset || start % 8 != 0 {
            return None;
        }
        let crc = u32_at(bytes, 0);
        if crc != lead_crc(bytes, seed, offset) {
            return None;
        }
        let lead = Lead {
            kind,
            flags: bytes[13],
            group: u32_at(bytes, 16),
            index: u64_at(bytes, 24),
            term: u64_at(bytes, 32),
            payload_len,
            payload_crc: u32_at(bytes, 4),
            start,
        };
        Some((lead, crc))
    }
}

fn lead_crc(lead: &[u8; LEAD as usize], seed: u32, offset: u64) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c_append(seed, &offset.to_le_bytes()), &lead[4..])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lead() -> Lead {
        Lead {
            kind: Kind::Entry,
            flags: 0,
            group: 3,
            index: 7,
            term: 2,
            payload_len: 5,
            payload_crc: payload_crc(&[Bytes::from_static(b"hello")]),
            start: 64,
        }
    }

    #[test]
    fn a_lead_is_valid_only_where_it_was_written() {
        let bytes = lead().encode(seed(&[1; 16], 1), 72);
        assert_eq!(
            Lead::decode(&bytes, seed(&[1; 16], 1), 72).map(|found| found.0),
            Some(lead())
        );
        assert_eq!(Lead::decode(&bytes, seed(&[1; 16], 1), 80), None, "another offset");
        assert_eq!(Lead::decode(&bytes, seed(&[1; 16], 2), 72), None, "another segment");
        assert_eq!(Lead::decode(&bytes, seed(&[2; 16], 1), 72), None, "another journal");
    }

    #[test]
    fn every_flipped_bit_of_a_lead_or_a_head_is_seen() {
        let seed = seed(&[1; 16], 1);
        let good = lead().encode(seed, 72);
        for bit in 0..good.len() * 8 {
            let mut bad = good;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Lead::decode(&bad, seed, 72), None, "bit {bit}");
        }
        let head = Head {
            version: VERSION,
            checkpoint_end: 64,
            identity: [1; 16],
            segment: 1,
            previous: 0,
            previous_end: 0,
            previous_chain: 0,
        };
        let good = head.encode();
        assert_eq!(Head::decode(&good), Some(head));
        for bit in 0..good.len() * 8 {
            let mut bad = good;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Head::decode(&bad), None, "bit {bit}");
        }
    }

    #[test]
    fn names_of_segments_go_there_and_back() {
        assert_eq!(file_name("journal", 255), "journal/00000000000000ff.seg");
        assert_eq!(segment_of("00000000000000ff.seg"), Some(255));
        assert_eq!(segment_of("00000000000000FF.seg"), None);
        assert_eq!(segment_of("LOCK"), None);
    }
}
