//! Streams that time changes by itself are looked at when their time has come: they are over, or forget old bytes.
//!
//! Only the leader looks, by its own clock, and it decides nothing: it proposes, and the law judges the row again with
//! the stamped time. So a leader with a bad clock, or one that leads no longer, asks in vain; and a stream that was used
//! in between lives on. What is due is in the index, in order; each look is bounded.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use net::clock::Clock;
use net::rt::{self, Instant};

use super::Lead;
use super::group::Group;
use super::machine::{Machine, damaged};
use crate::keys::{Key, KeyRange};
use crate::stream::{Command, Op, Outcome, StreamName};

/// The pause between two looks at all groups.
const EVERY: Duration = Duration::from_secs(1);

/// Streams of one group that are tended at once.
const AT_ONCE: usize = 64;

/// The pause after so many: other proposals go first.
const PAUSE: Duration = Duration::from_millis(20);

/// How long the outcome of a proposal is waited for. Without one, the next look proposes again.
const DEADLINE: Duration = Duration::from_secs(5);

/// Tends the groups that a node leads.
pub(super) struct Tending {
    pub(super) groups: Vec<Arc<Group>>,
    pub(super) clock: Arc<dyn Clock>,
}

impl Tending {
    /// Works until it is aborted, or something fails.
    pub(super) async fn run(self) {
        loop {
            rt::sleep(EVERY).await;
            for group in &self.groups {
                if let Err(error) = self.tend(group).await {
                    group.fate.fail(format!("the index failed: {error}"));
                    return;
                }
            }
        }
    }

    /// Tends what is due in a group, for as long as this node leads it and gets on.
    async fn tend(&self, group: &Group) -> io::Result<()> {
        let mut after = None;
        while group.leader() == Lead::Here {
            let due = group
                .machine
                .due(after.as_ref(), group.now_ms(self.clock.now_ms()), AT_ONCE)?;
            let streams = due.iter().map(|(_, stream)| self.propose(group, stream.clone()));
            let all_done = join_all(streams).await.into_iter().all(|done| done);
            if due.len() < AT_ONCE || !all_done {
                return Ok(());
            }
            // Whatever was tended is due later, or gone. If not, it must neither keep us busy nor be in the way of those
            // behind it.
            after = due.into_iter().last().map(|(key, _)| key);
            rt::sleep(PAUSE).await;
        }
        Ok(())
    }

    /// Whether there was an outcome.
    async fn propose(&self, group: &Group, stream: StreamName) -> bool {
        let command = Command {
            now_ms: 0,
            stream,
            op: Op::Tend,
            elsewhere: None,
            body: Bytes::new(),
        };
        let outcome = group
            .propose(command, self.clock.now_ms(), Instant::now() + DEADLINE)
            .await;
        match outcome {
            Ok(Outcome::Alive { .. } | Outcome::Refused(_)) => true,
            Ok(other) => {
                tracing::error!(?other, "an outcome that belongs to another command");
                false
            }
            Err(error) => {
                tracing::debug!(group = group.number, %error, "a stream was not tended; the next look will");
                false
            }
        }
    }
}

impl Machine {
    /// Up to so many streams that are to be looked at by this time, those that wait longest first, with the keys of
    /// their rows; only those behind a key, if there is one.
    ///
    /// # Errors
    /// If the index fails.
    fn due(&self, after: Option<&Bytes>, now_ms: u64, limit: usize) -> io::Result<Vec<(Bytes, StreamName)>> {
        let generation = self.state().generation;
        let KeyRange { mut from, to } = KeyRange::deadlines(self.group, generation, now_ms);
        if let Some(after) = after {
            // The next key there can be.
            from = from.max([after, &[0][..]].concat().into());
        }
        let page = self.index.scan(&from, &to, limit)?.into_iter();
        let named = page.map(|(key, _)| match Key::decode(&key).map_err(damaged)? {
            Key::Deadline { bucket, name, .. } => {
                let stream = StreamName::from_parts(bucket, name);
                Ok((key, stream))
            }
            _ => Err(io::Error::other("a row of another kind lies among the deadlines")),
        });
        named.collect()
    }
}
