//! Who should lead what: leadership spread over the members, and handed over before a node ends.

use std::sync::Arc;
use std::time::Duration;

use net::rt::{self, Instant};
use openraft::async_runtime::watch::WatchReceiver;

use super::group::Group;
use super::{Groups, Lead};

/// How far behind a follower may be to be given the lead: it must catch up before it is elected.
const LAG: u64 = 64;

/// How often one looks whether a handover is done.
const LOOK: Duration = Duration::from_millis(20);

impl Group {
    /// The members that vote, by id.
    fn voters(&self) -> Vec<u64> {
        self.raft
            .metrics()
            .borrow_watched()
            .membership_config
            .membership()
            .voter_ids()
            .collect()
    }

    /// Whether a follower has almost all of the log, and answered of late.
    fn is_fit(&self, node: u64, recent: Duration) -> bool {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let matched = metrics
            .replication
            .as_ref()
            .and_then(|all| all.get(&node))
            .copied()
            .flatten();
        let close = matched.is_some_and(|id| metrics.last_log_index.is_none_or(|last| id.index + LAG >= last));
        let heard = metrics
            .heartbeat
            .as_ref()
            .and_then(|all| all.get(&node))
            .copied()
            .flatten();
        close && heard.is_some_and(|heard| heard.0.elapsed() <= recent)
    }

    /// Asks a member to take the lead; nothing happens if it cannot.
    pub(super) async fn transfer(&self, to: u64) {
        if let Err(error) = self.raft.trigger().transfer_leader(to).await {
            self.failed(error);
        }
    }

    /// The fittest member to take the lead from this node, beginning with the preferred one.
    fn heir(&self, recent: Duration) -> Option<u64> {
        let voters = self.voters();
        let first = self.number as usize % voters.len().max(1);
        let in_turn = voters[first..].iter().chain(&voters[..first]).copied();
        in_turn
            .filter(|node| *node != self.me)
            .find(|node| self.is_fit(*node, recent))
    }
}

impl Groups {
    /// Hands the lead of one group over.
    pub async fn transfer_leader(&self, group: u32, to: u64) {
        self.group(group).transfer(to).await;
    }

    /// Hands over whatever this node leads, and waits until others lead it or the deadline has passed. `true`: done.
    pub async fn transfer_all(&self, deadline: Duration) -> bool {
        let deadline = Instant::now() + deadline;
        let recent = self.recent();
        let mut last_try = None;
        loop {
            let led: Vec<&Arc<Group>> = self.all().iter().filter(|group| group.leader() == Lead::Here).collect();
            let left: Vec<_> = led.into_iter().filter(|group| group.voters().len() > 1).collect();
            if left.is_empty() {
                return true;
            }
            let now = Instant::now();
            if now >= deadline {
                return false;
            }
            // An order that found nobody ready is given again, but not before it may have worked.
            if last_try.is_none_or(|at: Instant| at.elapsed() > self.shared.settings.raft.heartbeat) {
                last_try = Some(now);
                for group in left {
                    if let Some(heir) = group.heir(recent) {
                        group.transfer(heir).await;
                    }
                }
            }
            rt::sleep(LOOK.min(deadline.saturating_duration_since(now))).await;
        }
    }

    /// One step towards every member leading as many groups as the others: hands over at most one group whose preferred
    /// leader is another, fit member. `true`: one was handed over.
    pub async fn balance(&self) -> bool {
        let recent = self.recent();
        for group in self.all() {
            if group.leader() != Lead::Here {
                continue;
            }
            let voters = group.voters();
            let Some(preferred) = voters.get(group.number as usize % voters.len().max(1)).copied() else {
                continue;
            };
            if preferred != group.me && group.is_fit(preferred, recent) {
                group.transfer(preferred).await;
                return true;
            }
        }
        false
    }

    /// An answer within this time is recent.
    fn recent(&self) -> Duration {
        self.shared.settings.raft.heartbeat * 3
    }
}
