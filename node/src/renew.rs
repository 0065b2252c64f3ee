//! A read prolongs the life of a stream whose window slides: the use goes through the log, but not every one.
//!
//! The law stretches each window a little (`stream::lifetime`), so that a use must be noted only when the last noted one
//! is older than that. Reads that come while a note is on its way share its outcome; whom it does not reach far enough,
//! because it was sent before his own read began, sends another. By the leader's time, never by this node's.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use bytes::Bytes;
use net::rt::{self, Instant};
use tokio::sync::oneshot;

use crate::{
    Core,
    read::ReadError,
    stream::{Command, Lifetime, Op, Outcome, Refusal, StreamName, StreamRow, Touch},
    write::WriteError,
};

/// How long one tries to note a read that does not wait for it.
const BEST_EFFORT: Duration = Duration::from_secs(5);

/// The pause before a command of unknown outcome that may be repeated is.
const PAUSE: Duration = Duration::from_millis(50);

/// The shortest time between two notes of those who wait for a stream's next bytes.
const KEEP_EVERY_MIN: Duration = Duration::from_millis(50);

/// Notes under way, one for each life of a stream at most, and who waits for them.
#[derive(Default)]
pub(crate) struct Touches {
    waiting: Mutex<BTreeMap<Life, Vec<oneshot::Sender<Noted>>>>,
    /// What is kept alive by those who wait for its next bytes.
    kept: Mutex<BTreeMap<StreamName, Weak<Kept>>>,
}

/// A stream is kept alive as long as somebody holds this.
pub(crate) struct Kept {
    core: Weak<Core>,
    stream: StreamName,
    task: rt::JoinHandle<()>,
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.task.abort();
        if let Some(core) = self.core.upgrade() {
            let mut kept = core.touches.kept.lock().unwrap_or_else(PoisonError::into_inner);
            // Somebody may have begun to keep it anew by now.
            if kept.get(&self.stream).is_some_and(|others| others.strong_count() == 0) {
                kept.remove(&self.stream);
            }
        }
    }
}

/// One life of a stream: that an earlier one is over says nothing about this.
type Life = (StreamName, u64);

/// What became of a note: when the last use was noted, or that there is no such stream.
type Noted = Result<Option<u64>, String>;

/// The one who sends a note answers all others; if he is dropped on the way, so are they, and one of them goes next.
struct Sending<'a> {
    touches: &'a Touches,
    life: &'a Life,
}

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        self.touches.take(self.life);
    }
}

impl Touches {
    /// Joins those who wait; `None`: nobody has sent a note yet, the caller does.
    fn join(&self, life: &Life) -> Option<oneshot::Receiver<Noted>> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(others) = waiting.get_mut(life) {
            let (sender, receiver) = oneshot::channel();
            others.push(sender);
            return Some(receiver);
        }
        waiting.insert(life.clone(), Vec::new());
        None
    }

    fn take(&self, life: &Life) -> Vec<oneshot::Sender<Noted>> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.remove(life).unwrap_or_default()
    }
}

impl Core {
    /// Keeps a stream alive that somebody goes on reading, until all who hold the answer have dropped it. One task does
    /// it for all readers of a stream on this node. `None`: no need.
    pub(crate) fn keep(self: &Arc<Self>, stream: &StreamName, lifetime: Lifetime) -> Option<Arc<Kept>> {
        let every = (Duration::from_millis(lifetime.window_ms()?) / 4).max(KEEP_EVERY_MIN);
        let kept = || self.touches.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let shared = kept().get(stream).and_then(Weak::upgrade);
        // The task of one that keeps an earlier stream of this name may have ended with it.
        if shared.as_ref().is_some_and(|shared| !shared.task.is_finished()) {
            return shared;
        }
        let (core, renewed) = (Arc::downgrade(self), stream.clone());
        let task = rt::spawn("keep a stream alive", async move {
            loop {
                rt::sleep(every).await;
                let Some(core) = core.upgrade() else { return };
                let deadline = Instant::now() + every.max(BEST_EFFORT);
                match core.renew(&renewed, deadline).await {
                    // The next attempt may come in time.
                    Ok(()) | Err(ReadError::Unavailable { .. }) => {}
                    Err(_) => return,
                }
            }
        });
        let shared = Arc::new(Kept {
            core: Arc::downgrade(self),
            stream: stream.clone(),
            task,
        });
        kept().insert(stream.clone(), Arc::downgrade(&shared));
        Some(shared)
    }

    /// Prolongs the life of a stream that is in use. When it returns, the stream will not be over before a whole window
    /// has passed.
    async fn renew(&self, stream: &StreamName, deadline: Instant) -> Result<(), ReadError> {
        let (_, row, now_ms) = self.row(stream, false, deadline).await?;
        self.renewed(stream, &row, now_ms, deadline).await
    }

    /// Notes a use at this time of the leader's, if it must be.
    pub(crate) async fn renewed(
        &self,
        stream: &StreamName,
        row: &StreamRow,
        now_ms: u64,
        deadline: Instant,
    ) -> Result<(), ReadError> {
        if !row.wants_touch(now_ms) {
            return Ok(());
        }
        loop {
            match self.touch(stream, row.incarnation, deadline).await {
                Ok(Some(touched_ms)) if touched_ms.saturating_add(row.lifetime.slack_ms()) >= now_ms => return Ok(()),
                Ok(Some(_)) => {}
                Ok(None) => return Err(ReadError::NotFound),
                Err(because) => return Err(ReadError::Unavailable { because }),
            }
        }
    }

    /// Notes a use when it can, without making anybody wait.
    pub(crate) fn renew_later(self: &Arc<Self>, stream: &StreamName, row: &StreamRow) {
        let (core, stream, incarnation) = (self.clone(), stream.clone(), row.incarnation);
        drop(rt::spawn("note a use", async move {
            if let Err(because) = core.touch(&stream, incarnation, Instant::now() + BEST_EFFORT).await {
                tracing::debug!(%stream, because, "a local read was not noted");
            }
        }));
    }

    async fn touch(&self, stream: &StreamName, incarnation: u64, deadline: Instant) -> Noted {
        let life = (stream.clone(), incarnation);
        loop {
            if let Some(receiver) = self.touches.join(&life) {
                match rt::timeout_at(deadline, receiver).await {
                    Ok(Ok(noted)) => return noted,
                    // Whoever sent it hung up: another one does.
                    Ok(Err(_)) => continue,
                    Err(rt::Elapsed) => return Err("that the stream was read could not be noted in time".into()),
                }
            }
            let sending = Sending {
                touches: &self.touches,
                life: &life,
            };
            let noted = match self.repeat(stream, Op::Touch(Touch { incarnation }), deadline).await {
                Ok(Outcome::Alive { touched_ms, .. }) => Ok(Some(touched_ms)),
                Ok(Outcome::Refused(Refusal::NotFound | Refusal::Gone)) => Ok(None),
                Ok(other) => Err(format!("the law answered strangely: {other:?}")),
                Err(error) => Err(error.to_string()),
            };
            for reader in sending.touches.take(&life) {
                // Whoever hung up does not hear it.
                drop(reader.send(noted.clone()));
            }
            return noted;
        }
    }

    /// Lets the law do to a stream that seems to be over what time has made due. `true`: there is a stream after all.
    pub(crate) async fn tend(&self, stream: &StreamName, deadline: Instant) -> Result<bool, ReadError> {
        match self.repeat(stream, Op::Tend, deadline).await {
            Ok(outcome) => Ok(matches!(outcome, Outcome::Alive { .. })),
            Err(error) => Err(ReadError::Unavailable {
                because: error.to_string(),
            }),
        }
    }

    /// Writes a command that does no harm when it is done twice, again and again until its outcome is known.
    async fn repeat(&self, stream: &StreamName, op: Op, deadline: Instant) -> Result<Outcome, WriteError> {
        loop {
            let command = Command {
                now_ms: 0,
                stream: stream.clone(),
                op: op.clone(),
                elsewhere: None,
                body: Bytes::new(),
            };
            match self.write(command, deadline).await {
                Err(WriteError::Unknown { .. }) if Instant::now() + PAUSE < deadline => rt::sleep(PAUSE).await,
                ended => return ended,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_reads_a_new_life_does_not_join_a_note_of_the_one_before() {
        let touches = Touches::default();
        let name = StreamName::from_parts("b", "s");
        let (before, now) = ((name.clone(), 7), (name, 9));
        assert!(touches.join(&before).is_none(), "the first one sends it");
        assert!(
            touches.join(&now).is_none(),
            "that the life before is over is no answer"
        );
        assert!(touches.join(&now).is_some());
        assert_eq!((touches.take(&before).len(), touches.take(&now).len()), (0, 1));
    }
}
