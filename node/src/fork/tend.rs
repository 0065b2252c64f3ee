//! What crashed and failed attempts at forks, and forks that expired, have left over is worked off, by whoever leads the
//! groups concerned.
//!
//! Three things may be left over: a pledge that stays open, because nobody is at it any more; a debt that nobody paid; a
//! reference that nobody confirmed, whose token must be looked up in the fork's group. Each is given time first, for
//! mostly somebody is still at it. That time is measured by this node alone, from when it first saw the thing: no clock
//! that is wrong, and no leader that is new, can do more harm than delay.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use net::rt::{self, Instant};

use crate::{
    Core,
    raft::{Doubt, Lead},
    stream::{Debt, ForkDone, ForkOp, StreamName, Token, group_of},
};

/// How often one looks.
const EVERY: Duration = Duration::from_secs(1);

/// How old something must be before one sees to it that may have been left over.
const PATIENCE: Duration = Duration::from_millis(1_500);

/// How long one tries to do something about one thing.
const EFFORT: Duration = Duration::from_secs(5);

/// The most pages of left-over things that are looked at, of one group at once.
const PAGES: usize = 16;

/// After how many failures one leaves the rest of a group for the next time.
const FAILURES: usize = 4;

/// Something that may be left over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Thing {
    /// Of the group, the pledge of this token, open.
    Open(u32, u64),
    /// Of the group, the pledge of this token, owing.
    Owing(u32, u64),
    /// Of the group, the reference to this incarnation under this token.
    Doubt(u32, u64, Token),
}

/// What became of a token.
enum Fate {
    /// Somebody may still be making the fork.
    Open,
    /// The fork is there.
    Born,
    /// It will never be, or is no more.
    Dead,
}

/// Tends the forks of all groups this node leads, for ever.
pub(crate) async fn tend(core: Arc<Core>) {
    let mut first_seen = BTreeMap::new();
    loop {
        rt::sleep(EVERY).await;
        let mut seen = BTreeMap::new();
        for group in 0..core.groups.count() {
            if core.groups.leader(group) == Lead::Here
                && let Err(because) = core.tend_group(group, &first_seen, &mut seen).await
            {
                tracing::debug!(group, because, "not all that forks have left over was seen to");
            }
        }
        first_seen = seen;
    }
}

impl Core {
    async fn tend_group(
        &self,
        group: u32,
        first_seen: &BTreeMap<Thing, Instant>,
        seen: &mut BTreeMap<Thing, Instant>,
    ) -> Result<(), String> {
        let view = self.groups.view(group);
        let (mut after, mut failed) = ((0, None), Vec::new());
        for _ in 0..PAGES {
            let (pledges, doubts) = view.left_over(after).map_err(|error| error.to_string())?;
            if (pledges.is_empty() && doubts.is_empty()) || failed.len() >= FAILURES {
                break;
            }
            let now = Instant::now();
            let mut age = |thing| {
                let since = *seen
                    .entry(thing)
                    .or_insert_with(|| first_seen.get(&thing).copied().unwrap_or(now));
                now.saturating_duration_since(since)
            };
            for debt in pledges {
                after.0 = debt.token;
                if debt.pledge.owing {
                    if age(Thing::Owing(group, debt.token)) >= PATIENCE {
                        failed.extend(self.pay(debt, Instant::now() + EFFORT).await.err());
                    }
                } else if age(Thing::Open(group, debt.token)) >= self.config.http.request_deadline + PATIENCE {
                    failed.extend(self.abandon(debt).await.err());
                }
            }
            for doubt in doubts {
                after.1 = Some((doubt.incarnation, doubt.token));
                if age(Thing::Doubt(group, doubt.incarnation, doubt.token)) >= PATIENCE {
                    failed.extend(self.look_into(doubt).await.err());
                }
            }
        }
        failed.pop().map_or(Ok(()), Err)
    }

    /// Gives up an attempt that nobody is at any more.
    async fn abandon(&self, debt: Debt) -> Result<(), String> {
        let deadline = Instant::now() + EFFORT;
        let abandon = ForkOp::Abandon { token: debt.token };
        match self.done(&debt.pledge.fork, abandon, deadline).await? {
            ForkDone::Abandoned { debt: Some(debt) } => self.pay(*debt, deadline).await,
            _ => Ok(()),
        }
    }

    /// Asks the fork's group what became of a token, and does to the reference what follows.
    async fn look_into(&self, doubt: Doubt) -> Result<(), String> {
        let Doubt {
            token,
            incarnation,
            reference,
        } = doubt;
        let deadline = Instant::now() + EFFORT;
        let source = &reference.source;
        match self.fate(token, &reference.fork, deadline).await? {
            Fate::Open => Ok(()),
            Fate::Born => {
                let confirm = ForkOp::Confirm {
                    token,
                    incarnation,
                    seen: reference.seen,
                };
                self.done(source, confirm, deadline).await.map(drop)
            }
            Fate::Dead => {
                tracing::info!(%source, fork = %reference.fork, "a reference of an attempt that failed is given back");
                match self
                    .done(source, ForkOp::Release { token, incarnation }, deadline)
                    .await?
                {
                    ForkDone::Released { debt: Some(debt) } => self.pay(*debt, deadline).await,
                    _ => Ok(()),
                }
            }
        }
    }

    /// What became of a token, as of now.
    async fn fate(&self, token: Token, fork: &StreamName, deadline: Instant) -> Result<Fate, String> {
        if token.group != group_of(fork, self.groups.count()) {
            return Err(format!("a reference names {fork} and group {}", token.group));
        }
        self.barrier(token.group, deadline)
            .await
            .map_err(|error| error.to_string())?;
        let view = self.groups.view(token.group);
        // In this order: a token whose pledge is not open any more has either become a fork, or is dead for ever.
        let pledge = view.pledge(token.index).map_err(|error| error.to_string())?;
        if pledge.is_some_and(|pledge| !pledge.owing) {
            return Ok(Fate::Open);
        }
        let row = view.row(fork).map_err(|error| error.to_string())?;
        Ok(match row {
            Some(row) if row.is_based_on(token.index) => Fate::Born,
            _ => Fate::Dead,
        })
    }
}
