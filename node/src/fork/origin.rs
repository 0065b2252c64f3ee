//! Where a fork begins: the source as it is now, and the byte that was asked for.

use std::sync::Arc;

use net::rt::Instant;

use crate::{
    Core,
    read::{Broken, Query, ReadError, Reading},
    stream::{Asked, ForkRefusal, Offset, StreamRow, Whence, is_json, same_content_type},
};

/// What is to be forked.
pub(crate) struct Origin {
    /// The source.
    pub(crate) row: Arc<StreamRow>,
    /// `Stream-Fork-Offset`, or the source's tail.
    pub(crate) anchor: Offset,
    /// Where the fork begins to have bytes of its own.
    pub(crate) offset: Offset,
}

/// Why there is nothing to fork.
#[derive(Debug)]
pub(crate) enum NoOrigin {
    /// The law would refuse it.
    Refused(ForkRefusal),
    /// The fork asks for another type than its source has.
    ContentType {
        /// The source's.
        expected: String,
    },
    /// The offset lies inside a message.
    NoBoundary,
    /// The sub-offset goes past the end of the append it begins in.
    PastAppend,
    /// The source cannot be read.
    Read(ReadError),
}

impl Core {
    /// Looks for what a fork asks for, as of now. Messages end with the byte `end`.
    ///
    /// # Errors
    /// When it is not there; see [`NoOrigin`].
    pub(crate) async fn origin(&self, asked: &Asked, end: u8, deadline: Instant) -> Result<Origin, NoOrigin> {
        let (view, row, _) = match self.row(&asked.source, false, deadline).await {
            Ok(found) => found,
            Err(ReadError::NotFound) => return Err(ForkRefusal::NoSource.into()),
            Err(ReadError::Gone) => return Err(ForkRefusal::SourceGone.into()),
            Err(error) => return Err(NoOrigin::Read(error)),
        };
        let differs = |asked: &String| !same_content_type(asked, &row.content_type);
        if asked.content_type.as_ref().is_some_and(differs) {
            let expected = row.content_type.clone();
            return Err(NoOrigin::ContentType { expected });
        }
        let anchor = asked.offset.unwrap_or(row.tail);
        row.may_be_forked_at(anchor)?;
        let json = is_json(&row.content_type);
        if asked.sub == 0 && (!json || anchor == row.tail) {
            let offset = anchor;
            return Ok(Origin { row, anchor, offset });
        }

        // Not a use of the source: what is read here nobody sees.
        let query = Query {
            stream: asked.source.clone(),
            whence: Whence::At(anchor),
            local: false,
            deadline,
        };
        let reading = self.planned(&query, view, row.clone()).await;
        let mut reading = reading.map_err(NoOrigin::Read)?;
        if json && !reading.align(end).await? {
            return Err(NoOrigin::NoBoundary);
        }
        let offset = match asked.sub {
            0 => anchor,
            sub if json => after_messages(&reading, anchor, sub, end).await?,
            sub => {
                let append_end = reading.append_end(anchor)?.ok_or(NoOrigin::PastAppend)?;
                let offset = anchor.0.checked_add(sub).map(Offset);
                offset
                    .filter(|offset| *offset <= append_end)
                    .ok_or(NoOrigin::PastAppend)?
            }
        };
        Ok(Origin { row, anchor, offset })
    }
}

/// Where the `sub`th message after `anchor` ends, which must be of the same append as the first.
async fn after_messages(reading: &Reading, anchor: Offset, sub: u64, end: u8) -> Result<Offset, NoOrigin> {
    let append_end = reading.append_end(anchor)?.ok_or(NoOrigin::PastAppend)?;
    let (mut at, mut left) = (anchor, sub);
    while at < append_end {
        for piece in reading.fetch(at, append_end).await? {
            for (skip, byte) in (1..).zip(piece.iter()) {
                left -= u64::from(*byte == end);
                if left == 0 {
                    return Ok(Offset(at.0 + skip));
                }
            }
            at = Offset(at.0 + piece.len() as u64);
        }
    }
    Err(NoOrigin::PastAppend)
}

impl From<ForkRefusal> for NoOrigin {
    fn from(refusal: ForkRefusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Broken> for NoOrigin {
    fn from(broken: Broken) -> Self {
        Self::Read(broken.into())
    }
}
