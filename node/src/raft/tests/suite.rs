//! openraft's own tests of a log and a state machine, on ours.

use openraft::storage::RaftStateMachine;
use openraft::testing::log::{StoreBuilder, Suite};
use openraft::StorageError;

use super::*;
use crate::raft::log::GroupLog;
use crate::raft::machine::Machine;
use crate::raft::state_machine::StateMachine;
use crate::raft::types::Types;

struct Builder;

/// What keeps a store alive.
struct Alive(storage::journal::Journal);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl StoreBuilder<Types, GroupLog, StateMachine, Alive> for Builder {
    async fn build(&self) -> Result<(Alive, GroupLog, StateMachine), StorageError<Types>> {
        let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
        let opened = storage::journal::Journal::open(disk, "journal", Default::default(), &mut |_| {}).await.unwrap();
        let (journal, commit_loop) = (opened.journal, opened.commit_loop);
        drop(rt::dedicated("journal", async move { commit_loop.run().await.unwrap() }));
        let log = GroupLog::new(0, journal.clone(), 1 << 10, Default::default());
        // The suite purges without a flush; what that may cost is tested elsewhere.
        log.set_flushed(Some(types::log_id(u64::MAX, u64::MAX - 1)));
        let tail = Arc::new(TailCache::new(1 << 20));
        let machine =
            Machine::open(log.clone(), Arc::new(MemoryIndex::new()), tail, Arc::new(Nobody), Arc::default(), 100, 100);
        Ok((Alive(journal), log, StateMachine { machine: Arc::new(machine.unwrap()) }))
    }
}

#[test]
fn the_log_does_what_openraft_asks_of_one() {
    fn check<SM: RaftStateMachine<Types>>() {}
    check::<StateMachine>();
    run(async { Suite::<Types, GroupLog, StateMachine, Builder, Alive>::test_all(Builder).await }).unwrap();
}
