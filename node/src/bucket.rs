//! The journeys that concern a bucket: into it with a new stream, making it, looking at it, and deleting it across all
//! groups. The law is [`stream::apply_bucket`](crate::stream::apply_bucket); its head says why nothing slips through.
//!
//! Appends never come here: a stream that exists keeps its bucket alive.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::future::join_all;
use net::rt::{self, Instant};

use crate::{
    Core,
    raft::Lead,
    read::{Broken, ReadError},
    stream::{
        BucketOp, BucketOutcome, BucketRefusal, BucketRow, Command, Op, Outcome, REGISTRY, Refusal, Retention,
        StreamName, group_of,
    },
    write::WriteError,
};

/// What a create does whose bucket is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    /// It makes the bucket.
    Made,
    /// It is refused.
    Refused,
}

/// The pauses while a bucket is being deleted by somebody else.
const PAUSE: Duration = Duration::from_millis(25);

/// How long the owner of a deletion goes on with it at most. Meanwhile nobody creates streams in the bucket.
const DELETE_WITHIN: Duration = Duration::from_secs(2);

/// How long a deletion may have no end before the leader of group 0 ends it: by then its owner has given up.
const ORPHANED: Duration = Duration::from_millis(2500);

/// How often the leader of group 0 looks for such.
const LOOK: Duration = Duration::from_millis(250);

/// How many deletions it looks at.
const LOOK_AT: usize = 64;

/// Whether a stream may be created in a bucket.
pub(crate) enum Door {
    /// Yes: it was live as of this index of group 0, and this is what its streams forget.
    Open(u64, Retention),
    /// No.
    Shut(BucketRefusal),
}

impl Core {
    /// Carries a create to the group of its stream, as of a moment when its bucket was live.
    ///
    /// # Errors
    /// When there is no outcome; see [`WriteError`].
    pub(crate) async fn create(
        &self,
        mut command: Command,
        missing: Missing,
        deadline: Instant,
    ) -> Result<Outcome, WriteError> {
        let group = group_of(&command.stream, self.groups.count());
        let mut at_least = 0;
        loop {
            let (as_of, retention) = match self.enter(command.stream.bucket(), missing, at_least, deadline).await? {
                Door::Open(as_of, retention) => (as_of, retention),
                Door::Shut(refusal) => return Ok(Outcome::Refused(Refusal::Bucket(refusal))),
            };
            if let Op::Create(create) = &mut command.op {
                create.as_of = as_of;
                create.retention_default = retention;
            }
            match self.write_to(group, command.clone(), deadline).await? {
                Outcome::Refused(Refusal::Bucket(BucketRefusal::Sealed { at })) if Instant::now() < deadline => {
                    at_least = at;
                }
                outcome => return Ok(outcome),
            }
        }
    }

    /// As of which index of group 0, at least `at_least`, the bucket is live. Waits while it is being deleted.
    pub(crate) async fn enter(
        &self,
        bucket: &str,
        missing: Missing,
        at_least: u64,
        deadline: Instant,
    ) -> Result<Door, WriteError> {
        let not_stored = |because: String| WriteError::NoLeader { because };
        if at_least > 0 {
            let left = deadline.saturating_duration_since(Instant::now());
            match rt::timeout(left, self.groups.wait_applied(REGISTRY, at_least)).await {
                Ok(Ok(())) => {}
                Ok(Err(because)) => return Err(not_stored(because)),
                Err(rt::Elapsed) => return Err(not_stored("this node has not caught up with the buckets".into())),
            }
        }
        let mut confirmed = false;
        loop {
            let seen = self.groups.view(REGISTRY).bucket(bucket);
            match seen.map_err(|error| not_stored(error.to_string()))? {
                (Some(row), as_of) if row.deleting.is_none() => return Ok(Door::Open(as_of, row.retention)),
                (Some(_), _) => {}
                (None, _) if missing == Missing::Made => {
                    let retention = Retention::default();
                    match self.registry(bucket, BucketOp::Create { retention }, deadline).await {
                        Ok(BucketOutcome::Made { as_of }) => return Ok(Door::Open(as_of, retention)),
                        Ok(BucketOutcome::Exists { as_of, retention }) => return Ok(Door::Open(as_of, retention)),
                        Ok(BucketOutcome::TooMany) => return Ok(Door::Shut(BucketRefusal::TooMany)),
                        Ok(_) => {}
                        // The stream is certainly not there. The bucket may come yet, so asking once more could make it
                        // twice, the second time after somebody has deleted it.
                        Err(WriteError::Unknown { because }) => return Err(not_stored(because)),
                        Err(error) => return Err(error),
                    }
                }
                (None, _) if confirmed => return Ok(Door::Shut(BucketRefusal::NotFound)),
                (None, _) => {
                    let barrier = self.barrier(REGISTRY, deadline).await;
                    barrier.map_err(|error| not_stored(error.to_string()))?;
                    confirmed = true;
                    continue;
                }
            }
            if Instant::now() + PAUSE >= deadline {
                return Ok(Door::Shut(BucketRefusal::Busy));
            }
            rt::sleep(PAUSE).await;
        }
    }

    /// Makes a bucket. Waits while one of its name is being deleted.
    ///
    /// # Errors
    /// When there is no outcome; see [`WriteError`].
    pub(crate) async fn make_bucket(
        &self,
        bucket: &str,
        retention: Retention,
        deadline: Instant,
    ) -> Result<BucketOutcome, WriteError> {
        self.unless_busy(bucket, BucketOp::Create { retention }, deadline).await
    }

    /// How many streams a bucket holds, and what they forget where they do not say; `None` if there is no such bucket.
    /// Each group is counted at a moment of its own.
    ///
    /// # Errors
    /// When nobody can tell.
    pub(crate) async fn look_at_bucket(
        &self,
        bucket: &str,
        local: bool,
        deadline: Instant,
    ) -> Result<Option<(u64, Retention)>, ReadError> {
        let Some(row) = self.bucket_row(bucket, local, deadline).await? else {
            return Ok(None);
        };
        let count = async |group| {
            if !local {
                self.barrier(group, deadline).await?;
            }
            let streams = self.groups.view(group).streams_in(bucket);
            streams.map_err(|error| ReadError::from(Broken::of(error)))
        };
        let counts = join_all((0..self.groups.count()).map(count)).await;
        let streams: Result<u64, ReadError> = counts.into_iter().sum();
        Ok(Some((streams?, row.retention)))
    }

    /// Whether there is such a bucket, as of now.
    ///
    /// # Errors
    /// When nobody can tell.
    pub(crate) async fn has_bucket(&self, bucket: &str, local: bool, deadline: Instant) -> Result<bool, ReadError> {
        Ok(self.bucket_row(bucket, local, deadline).await?.is_some())
    }

    async fn bucket_row(&self, bucket: &str, local: bool, deadline: Instant) -> Result<Option<BucketRow>, ReadError> {
        if !local {
            self.barrier(REGISTRY, deadline).await?;
        }
        match self.groups.view(REGISTRY).bucket(bucket) {
            Ok((row, _)) => Ok(row),
            Err(error) => Err(Broken::of(error).into()),
        }
    }

    /// Deletes a bucket that holds no streams.
    ///
    /// # Errors
    /// When there is no outcome; see [`WriteError`].
    pub(crate) async fn delete_bucket(&self, bucket: &str, deadline: Instant) -> Result<BucketOutcome, WriteError> {
        let deadline = deadline.min(Instant::now() + DELETE_WITHIN);
        // One that certainly holds streams is refused without disturbing those who create more.
        match self.look_at_bucket(bucket, false, deadline).await {
            Ok(None) => return Ok(BucketOutcome::NotFound),
            Ok(Some((streams, _))) if streams > 0 => return Ok(BucketOutcome::NotEmpty { streams }),
            Ok(Some(_)) => {}
            Err(error) => {
                let because = error.to_string();
                return Err(WriteError::NoLeader { because });
            }
        }
        match self.unless_busy(bucket, BucketOp::BeginDelete, deadline).await? {
            BucketOutcome::Begun { begun } => self.end_deletion(bucket, begun, deadline).await,
            other => Ok(other),
        }
    }

    /// Seals all groups, then forgets the bucket; or lets it live on, if a group holds a stream. May be repeated.
    async fn end_deletion(&self, bucket: &str, begun: u64, deadline: Instant) -> Result<BucketOutcome, WriteError> {
        // Whatever fails from here on, somebody will end it, in whichever way.
        let unknown = |because: String| WriteError::Unknown { because };
        let seals = (0..self.groups.count()).map(|group| self.seal(group, bucket, begun, deadline));
        let mut held = 0;
        for sealed in join_all(seals).await {
            match sealed.map_err(|error| unknown(error.to_string()))? {
                BucketOutcome::Sealed => {}
                BucketOutcome::NotEmpty { streams } => held += streams,
                other => return Err(unknown(format!("a group answered a seal with {other:?}"))),
            }
        }
        let last = if held > 0 {
            BucketOp::AbortDelete { begun }
        } else {
            BucketOp::FinishDelete { begun }
        };
        match self.registry(bucket, last, deadline).await {
            Ok(BucketOutcome::Deleted) => Ok(BucketOutcome::Deleted),
            Ok(BucketOutcome::Aborted) => Ok(BucketOutcome::NotEmpty { streams: held }),
            Ok(_) => Err(unknown("somebody else has ended this deletion".into())),
            Err(error) => Err(unknown(error.to_string())),
        }
    }

    async fn seal(&self, group: u32, bucket: &str, begun: u64, deadline: Instant) -> Result<BucketOutcome, WriteError> {
        let op = BucketOp::Seal { begun };
        loop {
            match self.bucket_command(group, bucket, op, deadline).await {
                // A seal may be repeated.
                Err(WriteError::Unknown { .. }) if Instant::now() + PAUSE < deadline => rt::sleep(PAUSE).await,
                answer => return answer,
            }
        }
    }

    /// A command on the registry, again and again while a deletion is under way.
    async fn unless_busy(&self, bucket: &str, op: BucketOp, deadline: Instant) -> Result<BucketOutcome, WriteError> {
        loop {
            match self.registry(bucket, op, deadline).await? {
                BucketOutcome::Busy if Instant::now() + PAUSE < deadline => rt::sleep(PAUSE).await,
                outcome => return Ok(outcome),
            }
        }
    }

    async fn registry(&self, bucket: &str, op: BucketOp, deadline: Instant) -> Result<BucketOutcome, WriteError> {
        self.bucket_command(REGISTRY, bucket, op, deadline).await
    }

    async fn bucket_command(
        &self,
        group: u32,
        bucket: &str,
        op: BucketOp,
        deadline: Instant,
    ) -> Result<BucketOutcome, WriteError> {
        let command = Command {
            now_ms: 0,
            stream: StreamName::of_bucket(bucket),
            op: Op::Bucket(op),
            elsewhere: None,
            body: Bytes::new(),
        };
        match self.write_to(group, command, deadline).await? {
            Outcome::Bucket(outcome) => Ok(outcome),
            other => Err(WriteError::Unknown {
                because: format!("a command on a bucket was answered {other:?}"),
            }),
        }
    }
}

/// Ends deletions whose owner has vanished, as long as this node leads group 0.
pub(crate) async fn tend(core: Arc<Core>) {
    let mut since: BTreeMap<u64, Instant> = BTreeMap::new();
    loop {
        rt::sleep(LOOK).await;
        if core.groups.leader(REGISTRY) != Lead::Here {
            since.clear();
            continue;
        }
        let under_way = match core.groups.view(REGISTRY).deleting(LOOK_AT) {
            Ok(under_way) => under_way,
            Err(error) => {
                tracing::warn!(%error, "the deletions of buckets cannot be looked at");
                continue;
            }
        };
        since.retain(|known, _| under_way.iter().any(|(begun, _)| begun == known));
        for (begun, bucket) in under_way {
            if since.entry(begun).or_insert_with(Instant::now).elapsed() < ORPHANED {
                continue;
            }
            match core.end_deletion(&bucket, begun, Instant::now() + DELETE_WITHIN).await {
                Ok(outcome) => tracing::info!(bucket, begun, ?outcome, "a deletion without an owner was ended"),
                Err(error) => tracing::debug!(bucket, begun, %error, "a deletion without an owner is still open"),
            }
        }
    }
}
