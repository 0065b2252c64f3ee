//! Large bodies go to the cold store before the log hears of them, and the log carries only where they are.
//!
//! The leader that would propose a command puts its body under a name of its own, as it does with what moves, and
//! proposes the command without it. Whatever becomes of that, an object that the log took no word of is swept like any
//! other that nothing refers to. If the store does not take it in time, the body goes through the log as ever: appends go
//! on while the store is out.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use net::rt::Instant;

use super::calls::Put;
use super::names::Name;
use super::object::{Directory, Packed, RunEntry, key_of};
use super::store::count;
use crate::Core;
use crate::raft::ProposeError;
use crate::stream::{Command, Elsewhere, Op, Outcome, PIECE_BYTES, SnapshotOp};

/// How long the store is left alone after it did not take a body in time: meanwhile they go through the log, and nobody
/// waits for what will not come.
const RESPITE: Duration = Duration::from_secs(5);

/// Whether the store is left alone. The default is that it is not.
#[derive(Debug, Default)]
pub(crate) struct Respite(Mutex<Option<Instant>>);

impl Respite {
    fn lasts(&self) -> bool {
        self.until().is_some_and(|until| Instant::now() < until)
    }

    fn begin(&self) {
        *self.until() = Some(Instant::now() + RESPITE);
    }

    fn until(&self) -> MutexGuard<'_, Option<Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A command whose body has gone ahead.
pub(crate) struct Ahead {
    /// The command without it.
    pub(crate) command: Command,
    name: Name,
}

impl Ahead {
    /// The log has answered, or nobody knows what it would have.
    pub(crate) fn answered(self, answer: &Result<Outcome, ProposeError>) {
        if !matches!(answer, Err(ProposeError::Unknown(_))) {
            self.name.close();
        }
    }
}

impl Core {
    /// Puts the body of a command into the cold store, if it is large, this node leads the group, and the store takes it
    /// in half the time that is left.
    pub(crate) async fn send_ahead(&self, group: u32, command: &Command, deadline: Instant) -> Option<Ahead> {
        let store = self.cold.as_ref()?;
        let least = self.config.cold.sent_ahead()?;
        if (command.body.len() as u64) < least || self.respite.lasts() {
            return None;
        }
        let (cluster, term) = (store.cluster()?, self.groups.leading_term(group)?);
        // A create is the beginning of a life that has no number yet.
        let (incarnation, start) = match &command.op {
            Op::Append(_) => {
                let row = self.groups.view(group).row(&command.stream).ok()??;
                if row.closed.is_some() {
                    return None;
                }
                (row.incarnation, row.tail.0)
            }
            Op::Snapshot(SnapshotOp::Part { blob, at }) => (*blob, *at),
            _ => return None,
        };
        let until = Instant::now() + deadline.saturating_duration_since(Instant::now()) / 2;
        let pieces = pieces(&command.body);
        loop {
            let name = self.names.open(group, term)?;
            let directory = directory((cluster, group), &name, (incarnation, start), &pieces);
            let packed = Packed::new(&directory, vec![command.body.clone()]);
            let key = key_of(cluster, group, name.object);
            match store.put(&key, &packed, until).await {
                Ok(Put::Stored) => {
                    count(&store.traffic().ahead, 1);
                    let elsewhere = Elsewhere {
                        object: name.object,
                        incarnation,
                        at: packed.head.len() as u64,
                        len: command.body.len() as u64,
                        crc32c: pieces.iter().map(|(_, crc32c)| *crc32c).collect(),
                    };
                    let command = Command {
                        elsewhere: Some(Arc::new(elsewhere)),
                        body: Bytes::new(),
                        ..command.clone()
                    };
                    return Some(Ahead { command, name });
                }
                Ok(Put::Taken) => name.close(),
                Err(because) => {
                    tracing::debug!(key, because, "a large body goes through the log");
                    self.respite.begin();
                    name.close();
                    return None;
                }
            }
        }
    }
}

/// The pieces of a body: how long each is, and its checksum.
fn pieces(body: &[u8]) -> Vec<(u32, u32)> {
    let piece = |piece: &[u8]| (piece.len() as u32, crc32c::crc32c(piece));
    body.chunks(PIECE_BYTES).map(piece).collect()
}

/// What the object says of itself. An append may end up further behind than where the stream ends now.
fn directory(
    (cluster, group): (u128, u32),
    name: &Name,
    (incarnation, mut start): (u64, u64),
    pieces: &[(u32, u32)],
) -> Directory {
    let whole: u32 = pieces.iter().map(|(len, _)| len).sum();
    let run = |(at, (len, crc32c)): (usize, &(u32, u32))| {
        let ends = at + 1 == pieces.len();
        let run = RunEntry {
            incarnation,
            start,
            len: *len,
            crc32c: *crc32c,
            lens: if ends { vec![whole] } else { Vec::new() },
        };
        start += u64::from(*len);
        run
    };
    Directory {
        cluster,
        group,
        object: name.object,
        nonce: name.nonce,
        runs: pieces.iter().enumerate().map(run).collect(),
    }
}
