//! The journal: every byte of the node, of all its groups, in the order it came, until it is old.
//!
//! | file | what |
//! |---|---|
//! | `record` | what is stored, and where it lies |
//! | `format` | the bytes of a segment |
//! | `queue` | who comes next, and where it will lie |
//! | `commit` | one write and one sync for everything that waits |
//! | `scan`, `examine`, `recover` | the start: what is there, what was never acknowledged, what is damaged |
//! | `standing` | what each segment repeats, so that older ones can be freed |
//! | `read`, `files` | reading back |
//! | `free` | giving up segments |
//! | [`inspect`] | a journal, for a person |
//!
//! The journal does not know what an entry means, which entries are still needed, or what a group is for.

mod commit;
mod error;
mod examine;
mod files;
mod format;
mod free;
pub mod inspect;
mod queue;
mod read;
mod record;
mod recover;
mod scan;
mod standing;

use std::{
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use tokio::sync::{Notify, oneshot};

pub use self::{
    commit::CommitLoop,
    error::JournalError,
    record::{Kind, MAX_PAYLOAD, Placed, Position, Record, Recovered},
};
use self::{
    files::Files,
    queue::{Done, Fate, Ready, State},
};
use crate::disk::Disk;

const SEGMENT_BYTES_MIN: u64 = 4 << 10;

/// The largest segment there can be, in bytes.
pub const SEGMENT_BYTES_MAX: u64 = 1 << 30;

/// How a journal is kept.
#[derive(Debug, Clone)]
pub struct Options {
    /// Whose journal it is; a file of another is refused. Part of every checksum.
    pub identity: [u8; 16],
    /// The size of a segment in bytes, preallocated. Default 64 MiB; at least 4 KiB, at most 1 GiB.
    pub segment_bytes: u64,
    /// How many bytes may wait for the disk before [`Journal::ready`] waits. Default 64 MiB.
    pub queue_bytes: u64,
    /// How many bytes go into one write at most, save for one larger record. Default 8 MiB.
    pub batch_bytes: u64,
    /// How many files of sealed segments are kept open for reads. Default 64.
    pub open_files: usize,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            identity: [0; 16],
            segment_bytes: 64 << 20,
            queue_bytes: 64 << 20,
            batch_bytes: 8 << 20,
            open_files: 64,
        }
    }
}

/// A journal that has been opened.
pub struct Opened {
    /// The handle, to be cloned freely.
    pub journal: Journal,
    /// What writes; to be driven on a thread of its own.
    pub commit_loop: CommitLoop,
    /// Whether there was no journal and this one was begun.
    pub fresh: bool,
    /// The unfinished tail that was cut off, if there was one.
    pub cut: Option<Cut>,
}

/// An unfinished tail: written, never acknowledged.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Cut {
    /// Where it begins.
    pub from: Position,
    /// How many bytes, up to the last that was not zero.
    pub bytes: u64,
}

/// A segment, for the caller's book-keeping of what is still needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentInfo {
    /// Its number; they count up from 1.
    pub id: u64,
    /// The bytes written to it.
    pub bytes: u64,
    /// Whether nothing more is written to it and all of it is durable, so that it can be freed.
    pub sealed: bool,
}

/// What the journal has done since it was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Records made durable, the journal's own included.
    pub records: u64,
    /// Bytes made durable.
    pub bytes: u64,
    /// Batches, each one write and one sync.
    pub syncs: u64,
}

/// A handle on the journal. When the last one is dropped, the journal is closed.
#[derive(Clone)]
pub struct Journal(Arc<Handle>);

struct Handle(Arc<Shared>);

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// What the handles and the commit loop share.
struct Shared {
    disk: Arc<dyn Disk>,
    folder: String,
    options: Options,
    state: Mutex<State>,
    files: Mutex<Files>,
    /// There may be something to write, or the journal closes.
    work: Notify,
    /// The queue has become shorter.
    space: Notify,
    /// The fate is settled.
    ended: Notify,
}

impl Journal {
    /// Opens the journal in a folder, or begins one, and shows every record of the callers to `visit`, in order.
    ///
    /// How the logs follow from the records: an `Entry` of index `i` removes every earlier entry of its group from `i`
    /// on; a `Truncate` removes those from its index on; a `Purge` those up to its index; of `Vote`, `Committed` and
    /// `Purge` the latest counts. Records of freed segments are missing: entries may begin anywhere and have gaps, but
    /// none above the last `Purge` of their group. Records with `repeated` set follow the same rules.
    ///
    /// Every record is verified before the journal opens, but some are shown before others are verified: if this fails,
    /// forget what was shown. Calls the disk itself: not for the thread of a runtime.
    ///
    /// # Errors
    /// [`JournalError::Damaged`], [`JournalError::Version`], [`JournalError::Foreign`], or what the disk says.
    pub async fn open(
        disk: Arc<dyn Disk>,
        folder: &str,
        options: Options,
        visit: &mut (dyn FnMut(Recovered) + Send),
    ) -> Result<Opened, JournalError> {
        let mut options = options;
        options.segment_bytes = options.segment_bytes.clamp(SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX) / 8 * 8;
        let found = recover::recover(&disk, folder, &options, visit).await?;
        if let Some(cut) = &found.cut {
            tracing::warn!(
                segment = cut.from.segment,
                offset = cut.from.offset,
                bytes = cut.bytes,
                "cut an unfinished tail off the journal"
            );
        }
        let shared = Arc::new(Shared {
            disk,
            folder: folder.into(),
            state: Mutex::new(found.state),
            files: Mutex::new(Files::new(options.open_files)),
            options,
            work: Notify::new(),
            space: Notify::new(),
            ended: Notify::new(),
        });
        Ok(Opened {
            journal: Journal(Arc::new(Handle(shared.clone()))),
            commit_loop: CommitLoop::new(shared, found.chain),
            fresh: found.fresh,
            cut: found.cut,
        })
    }

    /// Places records at the end and queues them to be written. Returns where each will lie, at once. `done` is called
    /// by the commit loop when a sync has covered all of them, in the order of the calls to `append`; or with the error
    /// that poisoned the journal. If the journal is poisoned or closed already, or a record is larger than
    /// [`MAX_PAYLOAD`], `done` is called before this returns and every place is [`Placed::NOWHERE`]. If the commit loop
    /// is dropped, as in a crash, `done` is dropped and never called.
    ///
    /// The records can be read at once, before they are durable. Records of one call may be torn apart by a crash
    /// before `done`: any prefix of them may be found at the next start. Without records, `done` is called when
    /// everything placed so far is durable.
    ///
    /// Takes whatever comes: callers that may be many first wait for [`Journal::ready`].
    pub fn append(
        &self,
        records: Vec<Record>,
        done: impl FnOnce(Result<(), JournalError>) + Send + 'static,
    ) -> Vec<Placed> {
        self.shared().append(records, Some(Box::new(done)))
    }

    /// Like [`Journal::append`], but nobody waits: the records are written and synced with the next batch that somebody
    /// waits for, or when half of [`Options::queue_bytes`] has gathered, or when the journal closes.
    pub fn append_lazily(&self, records: Vec<Record>) -> Vec<Placed> {
        self.shared().append(records, None)
    }

    /// Appends, and waits until the records are durable.
    ///
    /// # Errors
    /// The error that poisoned the journal; [`JournalError::Poisoned`] after it; [`JournalError::Closed`],
    /// [`JournalError::TooLarge`].
    pub async fn append_durable(&self, records: Vec<Record>) -> Result<Vec<Placed>, JournalError> {
        let (done, durable) = oneshot::channel();
        // The receiver may be gone: then nobody wants to know.
        let placed = self.append(records, move |result| drop(done.send(result)));
        durable.await.unwrap_or(Err(JournalError::Closed)).map(|()| placed)
    }

    /// Waits while more than [`Options::queue_bytes`] wait for the disk. Returns at once if the journal takes nothing
    /// more, so that the append that follows says why.
    pub async fn ready(&self) {
        let shared = self.shared();
        shared
            .until(&shared.space, |state| {
                let open = matches!(state.fate, Fate::Open);
                if open && state.queued_bytes > shared.options.queue_bytes {
                    None
                } else {
                    Some(())
                }
            })
            .await;
    }

    /// Reads `len` bytes of a payload, from byte `skip` after `position` on, which may be any byte of the payload.
    /// Unverified: the caller holds a checksum of its own, or wants [`Journal::read_record`]. Records not yet durable
    /// are read from memory; others call the disk: not for the thread of a runtime.
    ///
    /// # Errors
    /// [`JournalError::Freed`], [`JournalError::Nowhere`], or what the disk says.
    pub async fn read(&self, position: Position, skip: u64, len: usize) -> Result<Bytes, JournalError> {
        let offset = position
            .offset
            .checked_add(skip)
            .ok_or(JournalError::Nowhere { position })?;
        self.shared().read(Position { offset, ..position }, len).await
    }

    /// Reads a whole payload and verifies it.
    ///
    /// # Errors
    /// As [`Journal::read`]; [`JournalError::Damaged`] if it is not what was written.
    pub async fn read_record(&self, placed: Placed) -> Result<Bytes, JournalError> {
        self.shared().read_record(placed).await
    }

    /// Everything before this position is durable.
    pub fn durable(&self) -> Position {
        self.shared().state().durable
    }

    /// The first error of a write or a sync, if there was one.
    pub fn poisoned(&self) -> Option<String> {
        match &self.shared().state().fate {
            Fate::Poisoned(reason) => Some(reason.to_string()),
            _ => None,
        }
    }

    /// Waits until the journal is poisoned, and tells why. Waits for ever if it closes in good order.
    pub async fn fatal(&self) -> String {
        let shared = self.shared();
        shared
            .until(&shared.ended, |state| match &state.fate {
                Fate::Poisoned(reason) => Some(reason.to_string()),
                _ => None,
            })
            .await
    }

    /// The segments there are, oldest first.
    pub fn segments(&self) -> Vec<SegmentInfo> {
        self.shared().state().infos()
    }

    /// What was done since the journal was opened.
    pub fn totals(&self) -> Totals {
        self.shared().state().totals
    }

    /// How many bytes wait for the disk.
    pub fn queued_bytes(&self) -> u64 {
        self.shared().state().queued_bytes
    }

    /// Takes nothing more. The commit loop writes what waits, and ends.
    pub fn close(&self) {
        self.shared().close();
    }

    fn shared(&self) -> &Shared {
        &self.0.0
    }
}

impl Shared {
    /// The state. Held for arithmetic only, never across a call of the disk or of a callback.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The open files. Taken after the state, if both are.
    fn files(&self) -> MutexGuard<'_, Files> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn append(&self, records: Vec<Record>, done: Option<Done>) -> Vec<Placed> {
        let count = records.len();
        let refuse = |done: Option<Done>, error| {
            if let Some(done) = done {
                done(Err(error));
            }
            vec![Placed::NOWHERE; count]
        };
        if let Some(bytes) = records.iter().map(Record::payload_len).find(|&len| len > MAX_PAYLOAD) {
            return refuse(
                done,
                JournalError::TooLarge {
                    bytes,
                    max: MAX_PAYLOAD,
                },
            );
        }
        let ready: Vec<Ready> = records.into_iter().map(Ready::new).collect();
        let mut state = self.state();
        if let Some(refusal) = state.refusal() {
            drop(state);
            return refuse(done, refusal);
        }
        let placed = ready
            .into_iter()
            .map(|ready| state.place(&self.options, ready))
            .collect();
        if let Some(done) = done {
            state.wait(done);
        }
        let due = state.is_due(&self.options);
        drop(state);
        if due {
            self.work.notify_one();
        }
        placed
    }

    /// The first `count` things in the queue are durable; returns who is to be told.
    fn settle(&self, count: usize) -> Vec<Done> {
        let settled = self.state().settle(count);
        self.space.notify_waiters();
        settled
    }

    fn close(&self) {
        {
            let mut state = self.state();
            if matches!(state.fate, Fate::Open) {
                state.fate = Fate::Closing;
            }
        }
        self.wake_all();
    }

    fn wake_all(&self) {
        self.work.notify_one();
        self.space.notify_waiters();
        self.ended.notify_waiters();
    }

    /// Waits for `news` until `ask` of the state has an answer.
    async fn until<T>(&self, news: &Notify, ask: impl Fn(&State) -> Option<T>) -> T {
        loop {
            let mut told = pin!(news.notified());
            // From here on no notification is missed.
            told.as_mut().enable();
            if let Some(answer) = ask(&self.state()) {
                return answer;
            }
            told.await;
        }
    }
}
