//! The journeys that concern snapshots: a snapshot and what came after it, as of one moment; and uploads that stand still.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use net::rt::{self, Instant};

use crate::{
    Core,
    raft::Lead,
    read::{Broken, Lineage, ReadError, Reading},
    stream::{BlobRow, Command, Offset, Op, ReadPlan, SnapshotOp, StreamName, StreamRow},
};

/// How often a leader looks for uploads that stand still, as a part of the time they may.
const LOOKS: u32 = 4;

impl Core {
    /// A stream's row, its newest snapshot, and everything after that: all as of one moment, and kept until it is read,
    /// whatever is published, trimmed or deleted meanwhile.
    ///
    /// # Errors
    /// When there is no such stream, or nobody can tell; see [`ReadError`].
    pub(crate) async fn bootstrap(
        self: &Arc<Self>,
        stream: &StreamName,
        local: bool,
        deadline: Instant,
    ) -> Result<(Arc<StreamRow>, Option<Reading>, Reading), ReadError> {
        let (view, _) = self.used(stream, local, deadline).await?;
        // What is held is of one moment, later than that which was waited for.
        let held = view.hold(stream).map_err(Broken::of)?;
        let (row, holds) = held.ok_or(ReadError::NotFound)?;
        let mut holds = holds.into_iter();
        let piece = self.config.cache.read_piece;
        let start = row.snapshot.as_ref().map_or(row.earliest, |newest| newest.offset);
        let plan = ReadPlan {
            incarnation: row.incarnation,
            start,
            end: row.tail,
            tail: row.tail,
            at_tail: true,
            closed: row.closed.is_some(),
        };
        let lineage = self.lineage(&view, stream, &row, start, deadline).await?;
        let rest = Reading::of(lineage, row.clone(), plan, piece).holding(holds.next());
        let snapshot = row.snapshot.as_deref().map(|newest| {
            let (start, end) = (Offset(0), Offset(newest.len));
            let plan = ReadPlan {
                incarnation: newest.blob,
                start,
                end,
                tail: end,
                at_tail: true,
                closed: true,
            };
            let blob = Arc::new(StreamRow::of_blob(newest));
            let lineage = Lineage::alone(view, newest.blob);
            Reading::of(lineage, blob, plan, piece).holding(holds.next())
        });
        Ok((row, snapshot, rest))
    }

    /// Gives up uploads that made no progress for longer than a client may stand still, in the groups this node leads.
    /// Measured by this node's own time from when it first saw them so: no wall clock can end an upload early.
    pub(crate) async fn watch_uploads(self: Arc<Self>) {
        let http = &self.config.http;
        let patience = http.stall_timeout + http.request_deadline;
        let mut seen: BTreeMap<(u32, u64), (u64, Instant)> = BTreeMap::new();
        loop {
            rt::sleep(patience / LOOKS).await;
            let now = Instant::now();
            let mut open = BTreeMap::new();
            for group in (0..self.groups.count()).filter(|group| self.groups.leader(*group) == Lead::Here) {
                for (blob, upload) in self.groups.view(group).uploads() {
                    let before = seen.get(&(group, blob)).filter(|(len, _)| *len == upload.len);
                    let since = before.map_or(now, |(_, since)| *since);
                    open.insert((group, blob), (upload.len, since));
                    if now.saturating_duration_since(since) >= patience {
                        self.give_up(blob, upload).await;
                    }
                }
            }
            seen = open;
        }
    }

    async fn give_up(&self, blob: u64, upload: BlobRow) {
        let BlobRow { stream, len, .. } = upload;
        tracing::info!(blob, %stream, len, "an upload of a snapshot stood still and is given up");
        let command = Command {
            now_ms: 0,
            stream,
            op: Op::Snapshot(SnapshotOp::Drop { blob, len }),
            elsewhere: None,
            body: Bytes::new(),
        };
        if let Err(error) = self
            .write(command, Instant::now() + self.config.http.request_deadline)
            .await
        {
            tracing::debug!(blob, %error, "it is tried again later");
        }
    }
}
