//! The journey of a fork: through its source's group and its own, and back when one of them says no.
//!
//! The steps, and why they leave nothing behind whatever fails between them, stand in the law of forks
//! ([`ForkOp`]). Here they are taken in their order; each may be taken again when nobody knows what became of it. What
//! is left over after a crash is worked off by `tend`.

mod origin;
mod tend;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use net::rt::{self, Instant};

pub(crate) use origin::{NoOrigin, Origin};
pub(crate) use tend::tend;

use crate::{
    Core,
    bucket::{Door, Missing},
    stream::{
        Asked, Base, Bearing, BucketRefusal, Command, Debt, ForkDone, ForkOp, Op, Outcome, Pledging, Refusal,
        Retaining, StreamName, Token, group_of,
    },
    write::WriteError,
};

/// The pause before a step is taken again of which nobody knows what became.
const PAUSE: Duration = Duration::from_millis(50);

/// How long a request waits for what follows it and does not change its answer.
const AFTERMATH: Duration = Duration::from_secs(1);

impl Core {
    /// Makes a fork of what [`Core::origin`] found.
    ///
    /// # Errors
    /// When there is no outcome; see [`WriteError`].
    pub(crate) async fn fork(
        self: &Arc<Self>,
        fork: &StreamName,
        mut asked: Asked,
        origin: &Origin,
        body: Bytes,
        missing: Missing,
        deadline: Instant,
    ) -> Result<Outcome, WriteError> {
        let as_of = match self.enter(fork.bucket(), missing, 0, deadline).await? {
            Door::Open(as_of, retention) => {
                asked.retention_default = retention;
                as_of
            }
            Door::Shut(refusal) => return Ok(Outcome::Refused(Refusal::Bucket(refusal))),
        };
        let incarnation = origin.row.incarnation;
        let pledging = Pledging {
            asked: asked.clone(),
            incarnation,
        };
        let pledged = self.step(fork, ForkOp::Pledge(Box::new(pledging)), Bytes::new(), deadline);
        let index = match pledged.await? {
            Outcome::Fork(ForkDone::Pledged { token }) => token,
            other => return Ok(other),
        };
        let group = group_of(fork, self.groups.count());
        let token = Token { group, index };

        let retaining = Retaining {
            token,
            fork: fork.clone(),
            incarnation,
            offset: origin.offset,
        };
        let retained = self.step(
            &asked.source,
            ForkOp::Retain(Box::new(retaining)),
            Bytes::new(),
            deadline,
        );
        let (seen, earliest) = match retained.await? {
            Outcome::Fork(ForkDone::Retained { seen, earliest }) => (seen, earliest),
            other => {
                self.withdraw(fork, index).await;
                return Ok(other);
            }
        };

        let base = Base {
            source: asked.source.clone(),
            incarnation,
            offset: origin.offset,
            anchor: origin.anchor,
            sub: asked.sub,
            token: index,
            seen,
            depth: origin.row.depth() + 1,
            own_lifetime: asked.lifetime.is_some(),
        };
        let source = asked.source.clone();
        let mut bearing = Bearing {
            lifetime: asked.lifetime.unwrap_or(origin.row.lifetime),
            asked,
            base,
            earliest,
            content_type: origin.row.content_type.clone(),
            as_of,
        };
        let (born, doubted) = loop {
            let bear = ForkOp::Bear(Box::new(bearing.clone()));
            let (born, doubted) = self.try_step(fork, bear, body.clone(), deadline).await;
            let Ok(Outcome::Refused(Refusal::Bucket(BucketRefusal::Sealed { at }))) = born else {
                break (born, doubted);
            };
            // Some bucket was deleted meanwhile, mostly another one.
            match self.enter(fork.bucket(), missing, at, deadline).await {
                Ok(Door::Open(as_of, retention)) => {
                    bearing.as_of = as_of;
                    bearing.asked.retention_default = retention;
                }
                Ok(Door::Shut(refusal)) => break (Ok(Outcome::Refused(Refusal::Bucket(refusal))), doubted),
                Err(error) => break (Err(error), doubted),
            }
        };
        let born = match born? {
            // What was refused at last may have been done at first, and undone by somebody since.
            Outcome::Refused(_) if doubted => {
                let because = "it was made, or was not, and is not there now".into();
                return Err(WriteError::Unknown { because });
            }
            born => born,
        };
        if matches!(born, Outcome::Created { .. }) {
            self.confirm_soon(source, token, incarnation, seen);
        } else {
            self.withdraw(fork, index).await;
        }
        Ok(born)
    }

    /// What is owed is given back, and what is owed for that, and so on up the chain of sources.
    ///
    /// # Errors
    /// The sentence says what could not be done in time. It can be done again.
    pub(crate) async fn pay(&self, debt: Debt, deadline: Instant) -> Result<(), String> {
        let mut owed = Some(debt);
        while let Some(Debt { token: index, pledge }) = owed.take() {
            let group = group_of(&pledge.fork, self.groups.count());
            let release = ForkOp::Release {
                token: Token { group, index },
                incarnation: pledge.incarnation,
            };
            owed = match self.done(&pledge.source, release, deadline).await? {
                ForkDone::Released { debt } => debt.map(|debt| *debt),
                other => return Err(format!("a release was answered with {other:?}")),
            };
            self.done(&pledge.fork, ForkOp::Settle { token: index }, deadline)
                .await?;
        }
        Ok(())
    }

    /// Pays while a client waits: not for long, for somebody else will do it, too.
    pub(crate) async fn pay_now(&self, debt: Debt) {
        if let Err(because) = self.pay(debt, Instant::now() + AFTERMATH).await {
            tracing::debug!(because, "a reference to a source is given back later");
        }
    }

    /// The attempt has failed for good.
    async fn withdraw(&self, fork: &StreamName, token: u64) {
        let deadline = Instant::now() + AFTERMATH;
        match self.done(fork, ForkOp::Abandon { token }, deadline).await {
            Ok(ForkDone::Abandoned { debt: Some(debt) }) => self.pay_now(*debt).await,
            Ok(_) => {}
            Err(because) => tracing::debug!(because, "a pledge is given up later"),
        }
    }

    /// Spares everybody looking into the reference; nobody waits for it.
    fn confirm_soon(self: &Arc<Self>, source: StreamName, token: Token, incarnation: u64, seen: u64) {
        let core = self.clone();
        let confirm = ForkOp::Confirm {
            token,
            incarnation,
            seen,
        };
        drop(rt::spawn("fork: confirm", async move {
            let done = core.done(&source, confirm, Instant::now() + AFTERMATH).await;
            if let Err(because) = done {
                tracing::debug!(because, "a reference is confirmed later");
            }
        }));
    }

    /// Takes a step that the law never refuses.
    async fn done(&self, stream: &StreamName, op: ForkOp, deadline: Instant) -> Result<ForkDone, String> {
        match self.step(stream, op, Bytes::new(), deadline).await {
            Ok(Outcome::Fork(done)) => Ok(done),
            Ok(other) => Err(format!("it was answered with {other:?}")),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Takes a step before the last: whatever becomes of it, there is no fork yet.
    async fn step(
        &self,
        stream: &StreamName,
        op: ForkOp,
        body: Bytes,
        deadline: Instant,
    ) -> Result<Outcome, WriteError> {
        match self.try_step(stream, op, body, deadline).await.0 {
            Err(WriteError::Unknown { because }) => Err(WriteError::NoLeader { because }),
            ended => ended,
        }
    }

    /// Takes a step, again if nobody knows what became of it; and whether that was ever so.
    async fn try_step(
        &self,
        stream: &StreamName,
        op: ForkOp,
        body: Bytes,
        deadline: Instant,
    ) -> (Result<Outcome, WriteError>, bool) {
        let command = Command {
            now_ms: 0,
            stream: stream.clone(),
            op: Op::Fork(op),
            elsewhere: None,
            body,
        };
        let mut unknown = None;
        loop {
            match (self.write(command.clone(), deadline).await, unknown) {
                (Err(error @ WriteError::Unknown { .. }), _) if Instant::now() + PAUSE < deadline => {
                    unknown = Some(error);
                    rt::sleep(PAUSE).await;
                }
                // That this attempt did nothing says nothing of the one before.
                (Err(_), Some(error)) => return (Err(error), true),
                (ended, unknown) => return (ended, unknown.is_some()),
            }
        }
    }
}
