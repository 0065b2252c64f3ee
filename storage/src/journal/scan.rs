//! Reading a segment from its beginning, in bounded pieces, believing nothing.

use std::io;

use bytes::Bytes;

use super::{
    format::{self, HEAD, Head, LEAD, Lead, link, padded},
    record::Kind,
};
use crate::disk::File;

/// How much is read at once; a larger record is read whole.
const CHUNK: u64 = 1 << 20;

/// A record that is as it was written.
pub(super) struct Found {
    /// Where its lead begins.
    pub(super) offset: u64,
    pub(super) lead: Lead,
    pub(super) payload: Bytes,
}

/// What comes next in a segment.
pub(super) enum Step {
    Record(Found),
    /// The segment's last record was the one before.
    Complete,
    /// Here is no record; why, in words.
    Hole(&'static str),
}

/// Walks over the records of one segment, and adds up its chain.
pub(super) struct Walk<'a> {
    file: &'a dyn File,
    file_len: u64,
    seed: u32,
    /// Where the next record begins, or the hole.
    pub(super) offset: u64,
    /// The batch start of the last record; 0, where the head is, before the first.
    pub(super) start: u64,
    pub(super) chain: u32,
    /// The last record, if there was one.
    pub(super) last: Option<Lead>,
    buffer: Bytes,
    buffer_at: u64,
}

impl<'a> Walk<'a> {
    /// Begins after the head.
    pub(super) async fn new(file: &'a dyn File, identity: &[u8; 16], segment: u64) -> io::Result<Walk<'a>> {
        Ok(Walk {
            file,
            file_len: file.len().await?,
            seed: format::seed(identity, segment),
            offset: HEAD,
            start: 0,
            chain: 0,
            last: None,
            buffer: Bytes::new(),
            buffer_at: 0,
        })
    }

    /// The next record, verified: its lead, its payload, and that it continues its batch or begins one.
    pub(super) async fn next(&mut self) -> io::Result<Step> {
        if self.last.is_some_and(|lead| lead.kind == Kind::End) {
            return Ok(Step::Complete);
        }
        let offset = self.offset;
        if offset + LEAD > self.file_len {
            return Ok(Step::Hole(
                "the file ends here, and not with the record that ends a segment",
            ));
        }
        let bytes = self.bytes(offset, LEAD).await?;
        let Some((lead, crc)) = Lead::decode(&bytes, self.seed, offset) else {
            let empty = bytes.iter().all(|&byte| byte == 0);
            return Ok(Step::Hole(if empty {
                "zeros where a record should be"
            } else {
                "a record's lead is not valid"
            }));
        };
        if u64::from(lead.start) != offset && u64::from(lead.start) != self.start {
            return Ok(Step::Hole("a record of another batch"));
        }
        if offset + lead.size() > self.file_len {
            return Ok(Step::Hole("a record is cut off by the end of the file"));
        }
        let len = u64::from(lead.payload_len);
        let body = self.bytes(offset + LEAD, padded(len)).await?;
        if crc32c::crc32c(&body) != lead.payload_crc {
            return Ok(Step::Hole("a record's payload does not match its checksum"));
        }
        self.offset += lead.size();
        self.start = lead.start.into();
        self.chain = link(self.chain, crc);
        self.last = Some(lead);
        Ok(Step::Record(Found {
            offset,
            lead,
            payload: body.slice(..len as usize),
        }))
    }

    /// Bytes that lie in the file; the caller has checked its length.
    async fn bytes(&mut self, offset: u64, len: u64) -> io::Result<Bytes> {
        let end = offset + len;
        let inside = offset >= self.buffer_at && end <= self.buffer_at + self.buffer.len() as u64;
        if !inside {
            self.buffer = self.file.read_at(offset, len.max(CHUNK) as usize).await?;
            self.buffer_at = offset;
            if (self.buffer.len() as u64) < len {
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "the file is shorter than it said",
                ));
            }
        }
        let from = (offset - self.buffer_at) as usize;
        Ok(self.buffer.slice(from..from + len as usize))
    }
}

/// Reads the head of a segment; `None` if it has none that is valid.
pub(super) async fn read_head(file: &dyn File) -> io::Result<Option<Head>> {
    Ok(Head::decode(&file.read_at(0, HEAD as usize).await?))
}

/// What lies behind a hole.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Behind {
    /// The blocks that are not all zeros, as ranges from the hole on.
    pub(super) blocks: Vec<(u64, u64)>,
    /// The first record whose batch began after the hole: the bytes before were synced once. And its batch start.
    pub(super) proof: Option<(u64, u64)>,
}

impl Behind {
    /// The end of the last byte that is not zero.
    pub(super) fn end(&self) -> Option<u64> {
        self.blocks.last().map(|block| block.1)
    }
}

/// Looks at everything from `hole` to the end of the file, for a record whose batch began after the hole. Stops there.
pub(super) async fn look_behind(file: &dyn File, seed: u32, hole: u64) -> io::Result<Behind> {
    const BLOCK: usize = 4096;
    let file_len = file.len().await?;
    let mut behind = Behind::default();
    let mut at = hole;
    while at < file_len {
        // Some more than a chunk, so that a lead across its end is seen whole.
        let bytes = file.read_at(at, (CHUNK + LEAD) as usize).await?;
        let own = bytes.len().min(CHUNK as usize);
        for block in (0..own).step_by(BLOCK) {
            let end = own.min(block + BLOCK);
            let Some(last) = bytes[block..end].iter().rposition(|&byte| byte != 0) else {
                continue;
            };
            let (from, to) = (at + block as u64, at + (block + last + 1) as u64);
            match behind.blocks.last_mut() {
                Some(before) if from - before.1 < BLOCK as u64 => before.1 = to,
                _ => behind.blocks.push((from, to)),
            }
            // Holes and chunks begin at multiples of 8, as records do.
            for slot in (block..end).step_by(8) {
                let offset = at + slot as u64;
                if let Some((lead, _)) = Lead::decode(&bytes[slot..bytes.len().min(slot + LEAD as usize)], seed, offset)
                    && u64::from(lead.start) > hole
                {
                    behind.proof = Some((offset, lead.start.into()));
                    return Ok(behind);
                }
            }
        }
        if own == 0 {
            break;
        }
        at += own as u64;
    }
    Ok(behind)
}
