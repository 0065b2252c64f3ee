//! Reading on from where a reading ended: what a reader does that stays.
//!
//! Only the first look of a live read asks a majority. After that the node's own state is enough: every byte in it is
//! committed, and it never goes back behind what the reader has seen.

use std::sync::Arc;

use bytes::Bytes;

use super::{Broken, ReadError, Reading};
use crate::stream::{Offset, StreamName, StreamRow, Whence, plan};

impl Reading {
    /// Where the reader stands: one past the last byte handed out.
    pub(crate) fn at(&self) -> Offset {
        self.at
    }

    /// Plans at most `want_bytes` from where the reader stands, as of what this node has applied by now. `stream` is the
    /// one that is being read. If there is nothing new the plan is empty.
    ///
    /// # Errors
    /// When that life of the stream is over, or those bytes are no longer kept.
    pub(crate) fn go_on(&mut self, stream: &StreamName, want_bytes: u64) -> Result<(), ReadError> {
        let view = self.lineage.view();
        let row = view.row(stream).map_err(Broken::of)?;
        let now_ms = view.now_ms();
        let lives = |row: &Arc<StreamRow>| row.incarnation == self.plan.incarnation && !row.is_over(now_ms);
        let Some(row) = row.filter(lives) else {
            return Err(ReadError::NotFound);
        };
        if row.gone {
            return Err(ReadError::Gone);
        }
        // A look at this node alone may begin ahead of it.
        if self.at <= row.tail {
            self.plan = plan(&row, Whence::At(self.at), want_bytes).map_err(ReadError::Refused)?;
            self.row = row;
        }
        Ok(())
    }

    /// Leaves all but the first bytes of the plan for later.
    pub(crate) fn limit(&mut self, want_bytes: u64) {
        let end = Offset(self.at.0.saturating_add(want_bytes));
        if end < self.plan.end {
            self.plan.end = end;
            self.plan.at_tail = false;
            self.plan.closed = false;
        }
    }

    /// The bytes from where the reader stands up to `to`, if all of them are in memory.
    pub(crate) fn recent(&self, to: Offset) -> Option<Vec<Bytes>> {
        self.lineage.recent(self.at, to)
    }

    /// The reader was given the bytes up to there in another way; or not the last of those it was handed.
    pub(crate) fn stand_at(&mut self, at: Offset) {
        self.fetched.clear();
        self.at = at;
        self.plan.start = at;
        self.plan.end = at;
    }
}
