//! openraft's own tests of a log, on ours. The machine beside it is the simplest there is: ours refuses a log that does
//! not begin at its beginning, as openraft's tests do.

use futures_util::{Stream, StreamExt};
use openraft::storage::{EntryResponder, RaftSnapshotBuilder, RaftStateMachine};
use openraft::testing::log::{StoreBuilder, Suite};
use openraft::{OptionalSend, StorageError};

use super::*;
use crate::raft::log::GroupLog;
use crate::raft::types::{LogId, Payload, StoredMembership, Types};

#[derive(Default)]
struct Plain {
    applied: Option<LogId>,
    membership: StoredMembership,
    snapshot: Arc<Mutex<Option<openraft::alias::SnapshotMetaOf<Types>>>>,
}

type PlainSnapshot = openraft::alias::SnapshotOf<Types, ()>;

impl RaftSnapshotBuilder<Types> for Plain {
    type SnapshotData = ();
    async fn build_snapshot(&mut self) -> io::Result<PlainSnapshot> {
        let meta = openraft::SnapshotMeta {
            last_log_id: self.applied,
            last_membership: self.membership.clone(),
        };
        *self.snapshot.lock().unwrap() = Some(meta.clone());
        Ok(PlainSnapshot { meta, snapshot: () })
    }
}

impl RaftStateMachine<Types> for Plain {
    type SnapshotData = ();
    type SnapshotBuilder = Self;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        Ok((self.applied, self.membership.clone()))
    }

    async fn apply<Strm>(&mut self, mut entries: Strm) -> io::Result<()>
    where
        Strm: Stream<Item = Result<EntryResponder<Types>, io::Error>> + Unpin + OptionalSend,
    {
        while let Some(next) = entries.next().await {
            let (entry, responder) = next?;
            self.applied = Some(entry.log_id);
            if let Payload::Membership(membership) = entry.payload {
                self.membership = StoredMembership::new(Some(entry.log_id), membership);
            }
            if let Some(responder) = responder {
                responder.send(types::Answer(None));
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        let snapshot = self.snapshot.clone();
        Self {
            applied: self.applied,
            membership: self.membership.clone(),
            snapshot,
        }
    }

    async fn install_snapshot(&mut self, meta: &openraft::alias::SnapshotMetaOf<Types>, (): ()) -> io::Result<()> {
        self.applied = meta.last_log_id;
        self.membership = meta.last_membership.clone();
        *self.snapshot.lock().unwrap() = Some(meta.clone());
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<PlainSnapshot>> {
        Ok(self
            .snapshot
            .lock()
            .unwrap()
            .clone()
            .map(|meta| PlainSnapshot { meta, snapshot: () }))
    }
}

struct Builder;

/// What keeps a store alive.
struct Alive(storage::journal::Journal);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl StoreBuilder<Types, GroupLog, Plain, Alive> for Builder {
    async fn build(&self) -> Result<(Alive, GroupLog, Plain), StorageError<Types>> {
        let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
        let opened = storage::journal::Journal::open(disk, "journal", Default::default(), &mut |_| {})
            .await
            .unwrap();
        let (journal, commit_loop) = (opened.journal, opened.commit_loop);
        drop(rt::dedicated(
            "journal",
            async move { commit_loop.run().await.unwrap() },
        ));
        let log = GroupLog::new(0, journal.clone(), 1 << 10, Default::default());
        // The suite purges without a flush; what that may cost is tested elsewhere.
        log.set_flushed(Some(types::log_id(u64::MAX, u64::MAX - 1)));
        Ok((Alive(journal), log, Plain::default()))
    }
}

#[test]
fn the_log_does_what_openraft_asks_of_one() {
    run(async { Suite::<Types, GroupLog, Plain, Builder, Alive>::test_all(Builder).await }).unwrap();
}
