//! Reading back what was placed: from the queue while it is not durable, then from the file.

use std::sync::Arc;

use bytes::Bytes;

use super::{
    Shared,
    error::{JournalError, Told},
    format::{self, HEAD, LEAD, Lead, padded},
    record::{Placed, Position},
};
use crate::disk::File;

/// Where the bytes are now.
enum Place {
    Memory(Bytes),
    File,
}

impl Shared {
    /// Reads `len` bytes from a place in a payload, unverified.
    pub(super) async fn read(&self, from: Position, len: usize) -> Result<Bytes, JournalError> {
        match self.locate(from, len as u64)? {
            Place::Memory(bytes) => Ok(bytes),
            Place::File => self.pread(from, len).await,
        }
    }

    /// Reads a payload and verifies it.
    pub(super) async fn read_record(&self, placed: Placed) -> Result<Bytes, JournalError> {
        let Placed { position, payload_len } = placed;
        if let Place::Memory(bytes) = self.locate(position, payload_len.into())? {
            return Ok(bytes);
        }
        let at = position
            .offset
            .checked_sub(LEAD)
            .filter(|&at| at >= HEAD && at % 8 == 0);
        let at = at.ok_or(JournalError::Nowhere { position })?;
        let body = padded(payload_len.into()) as usize;
        let bytes = self
            .pread(Position { offset: at, ..position }, LEAD as usize + body)
            .await?;
        let seed = format::seed(&self.options.identity, position.segment);
        let damaged = |what: &str| JournalError::Damaged {
            segment: position.segment,
            offset: at,
            what: what.into(),
        };
        let (lead, _) = Lead::decode(&bytes, seed, at).ok_or_else(|| damaged("a record's lead is not valid"))?;
        if lead.payload_len != payload_len {
            return Err(JournalError::Nowhere { position });
        }
        if crc32c::crc32c(&bytes[LEAD as usize..]) != lead.payload_crc {
            return Err(damaged("a record's payload does not match its checksum"));
        }
        Ok(bytes.slice(LEAD as usize..(LEAD + u64::from(payload_len)) as usize))
    }

    fn locate(&self, from: Position, len: u64) -> Result<Place, JournalError> {
        let state = self.state();
        if let Some(bytes) = state.waiting(from, len) {
            return Ok(Place::Memory(bytes));
        }
        match state.end_of(from.segment) {
            Some(end) if from.offset >= HEAD && from.offset.checked_add(len).is_some_and(|to| to <= end) => {
                Ok(Place::File)
            }
            None if (1..=state.tail.segment).contains(&from.segment) => Err(JournalError::Freed { position: from }),
            _ => Err(JournalError::Nowhere { position: from }),
        }
    }

    async fn pread(&self, from: Position, len: usize) -> Result<Bytes, JournalError> {
        let name = format::file_name(&self.folder, from.segment);
        let file = self.opened(from).await?;
        let bytes = file.read_at(from.offset, len).await.told("read", &name)?;
        if bytes.len() < len {
            return Err(JournalError::Damaged {
                segment: from.segment,
                offset: from.offset + bytes.len() as u64,
                what: "the file ends here, and did not when it was written".into(),
            });
        }
        Ok(bytes)
    }

    async fn opened(&self, from: Position) -> Result<Arc<dyn File>, JournalError> {
        if let Some(file) = self.files().get(from.segment) {
            return Ok(file);
        }
        let name = format::file_name(&self.folder, from.segment);
        let file = match self.disk.open(&name).await {
            Ok(file) => file,
            // It may have been freed meanwhile.
            Err(error) => {
                return Err(match self.state().end_of(from.segment) {
                    None => JournalError::Freed { position: from },
                    Some(_) => JournalError::io("open", name, error),
                });
            }
        };
        self.files().put(from.segment, file.clone());
        Ok(file)
    }
}
