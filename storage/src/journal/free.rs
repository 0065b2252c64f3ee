//! Freeing segments: first a durable note, then the files.
//!
//! The note comes first so that a missing file always has an explanation. A file that outlives its note, because the
//! machine stopped in between, is removed at the next start.

use tokio::sync::oneshot;

use super::{
    Journal, Shared,
    error::{JournalError, Told},
    format,
    queue::{Done, Ready},
};

impl Journal {
    /// Frees sealed segments, any of them: notes durably that they are gone, then removes their files. Whatever was in
    /// them is gone; the latest votes and the like were repeated in later segments. Calls the disk itself: not for the
    /// thread of a runtime.
    ///
    /// # Errors
    /// [`JournalError::NotFreeable`] before anything is done; or what the disk says, in which case the files that are
    /// left are removed at the next start.
    pub async fn remove_segments(&self, ids: &[u64]) -> Result<(), JournalError> {
        if ids.is_empty() {
            return Ok(());
        }
        let shared = self.shared();
        let (done, noted) = oneshot::channel();
        shared.note_freed(ids, Box::new(move |result| drop(done.send(result))))?;
        shared.work.notify_one();
        noted.await.unwrap_or(Err(JournalError::Closed))?;
        {
            let mut state = shared.state();
            let mut files = shared.files();
            for id in ids {
                state.segments.remove(id);
                files.forget(*id);
            }
        }
        for &id in ids {
            let name = format::file_name(&shared.folder, id);
            shared.disk.remove(&name).await.told("remove", &name)?;
        }
        shared
            .disk
            .sync_dir(&shared.folder)
            .await
            .told("sync the folder of", &format::file_name(&shared.folder, 0))
    }
}

impl Shared {
    /// Places the note, under the same lock that checks the segments: every note holds the whole set.
    fn note_freed(&self, ids: &[u64], done: Done) -> Result<(), JournalError> {
        let mut state = self.state();
        if let Some(refusal) = state.refusal() {
            return Err(refusal);
        }
        for &id in ids {
            let why = match state.segments.get(&id) {
                None => "there is no such segment",
                Some(segment) if segment.freeing => "it is being freed already",
                Some(_) if id >= state.durable.segment => "it is still written to",
                Some(_) => continue,
            };
            return Err(JournalError::NotFreeable { segment: id, why });
        }
        for &id in ids {
            state.standing.released.insert(id);
            if let Some(segment) = state.segments.get_mut(&id) {
                segment.freeing = true;
            }
        }
        let note = state.standing.released.record();
        state.place(&self.options, Ready::new(note));
        state.wait(done);
        Ok(())
    }
}
