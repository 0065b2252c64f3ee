//! The law of forks: who may fork what, what is kept for whom, and when a source goes at last.

use super::apply::{Case, RowChange, Transition};
use super::bucket;
use super::command::Delete;
use super::content_type::same_content_type;
use super::etag::Condition;
use super::fork::{
    Asked, Base, Bearing, Debt, ForkChange, ForkDone, ForkOp, ForkRefusal, Pledge, Pledging, Reference, Retaining,
    Token,
};
use super::lifetime::Lifetime;
use super::limits::{FORK_DEPTH_MAX, FORKS_MAX};
use super::name::StreamName;
use super::offset::Offset;
use super::outcome::{Outcome, Refusal, Standing};
use super::retention::Retention;
use super::row::{Closing, StreamRow};

impl Case<'_> {
    pub(super) fn fork(self, stream: &StreamName, op: &ForkOp) -> Result<Transition, Refusal> {
        match op {
            ForkOp::Pledge(pledging) => self.pledge(stream, pledging),
            ForkOp::Retain(retaining) => self.retain(stream, retaining),
            ForkOp::Bear(bearing) => self.bear(stream, bearing),
            ForkOp::Abandon { token } => Ok(self.abandon(*token)),
            ForkOp::Release { token, incarnation } => Ok(self.release(stream, *token, *incarnation)),
            ForkOp::Confirm {
                token,
                incarnation,
                seen,
            } => Ok(self.confirm(*token, *incarnation, *seen)),
            ForkOp::Settle { token } => Ok(self.settle(*token)),
        }
    }

    fn pledge(self, stream: &StreamName, pledging: &Pledging) -> Result<Transition, Refusal> {
        let Pledging { asked, incarnation } = pledging;
        if let Some(there) = self.there(asked)? {
            return Ok(there);
        }
        let pledge = Pledge {
            fork: stream.clone(),
            source: asked.source.clone(),
            incarnation: *incarnation,
            owing: false,
        };
        Ok(Transition {
            forks: vec![ForkChange::Pledge(self.index, Some(pledge))],
            ..self.unchanged(Outcome::Fork(ForkDone::Pledged { token: self.index }))
        })
    }

    fn retain(self, stream: &StreamName, retaining: &Retaining) -> Result<Transition, Refusal> {
        let Retaining {
            token,
            fork,
            incarnation,
            offset,
        } = retaining;
        let retained = |reference: &Reference| {
            let Reference { seen, earliest, .. } = *reference;
            Outcome::Fork(ForkDone::Retained { seen, earliest })
        };
        if let Some(reference) = self.loaded.reference {
            return Ok(self.unchanged(retained(reference)));
        }
        let row = self.loaded.row.ok_or(ForkRefusal::NoSource)?;
        if row.incarnation != *incarnation {
            return Err(ForkRefusal::AnotherLife.into());
        }
        row.may_be_forked_at(*offset)?;
        let reference = Reference {
            source: stream.clone(),
            fork: fork.clone(),
            seen: self.index,
            earliest: row.earliest,
            confirmed: false,
        };
        let row = StreamRow {
            refs: row.refs + 1,
            ..row.clone()
        };
        Ok(Transition {
            row: RowChange::Put(row),
            ..self.changing(
                retained(&reference),
                ForkChange::Reference(*incarnation, *token, Some(reference)),
            )
        })
    }

    fn bear(self, stream: &StreamName, bearing: &Bearing) -> Result<Transition, Refusal> {
        let Bearing {
            asked,
            base,
            earliest,
            content_type,
            lifetime,
            as_of,
        } = bearing;
        let born = self.loaded.row.filter(|row| row.is_based_on(base.token));
        if let Some(row) = born {
            let standing = row.standing();
            return Ok(self.unchanged(Outcome::Created { standing }));
        }
        if let Some(there) = self.there(asked)? {
            return Ok(there);
        }
        bucket::admits(self.loaded.sealed, *as_of)?;
        let pledge = self.loaded.pledge.filter(|pledge| {
            !pledge.owing
                && pledge.fork == *stream
                && pledge.source == base.source
                && pledge.incarnation == base.incarnation
        });
        if pledge.is_none() {
            return Err(ForkRefusal::TooLate.into());
        }
        let tail = Offset(base.offset.0.checked_add(self.body_len).ok_or(Refusal::Full)?);
        let mut row = StreamRow {
            tail,
            earliest: *earliest,
            closed: asked.closed.then_some(Closing { by: None }),
            lifetime: *lifetime,
            retention: asked.retention.or(asked.retention_default),
            base: Some(Box::new(base.clone())),
            ..StreamRow::born(self.index, content_type.clone(), self.now_ms)
        };
        self.grown(&mut row);
        let outcome = Outcome::Created {
            standing: row.standing(),
        };
        Ok(Transition {
            stored: self.stored(&row, base.offset),
            row: RowChange::Put(row),
            ..self.changing(outcome, ForkChange::Pledge(base.token, None))
        })
    }

    fn abandon(self, token: u64) -> Transition {
        let debt = |debt| Outcome::Fork(ForkDone::Abandoned { debt });
        let Some(pledge) = self.loaded.pledge else {
            return self.unchanged(debt(None));
        };
        let owed = Debt::of(token, pledge);
        let change = ForkChange::Pledge(token, Some(owed.pledge.clone()));
        let outcome = debt(Some(Box::new(owed)));
        if pledge.owing {
            return self.unchanged(outcome);
        }
        self.changing(outcome, change)
    }

    fn release(self, stream: &StreamName, token: Token, incarnation: u64) -> Transition {
        let released = |debt| Outcome::Fork(ForkDone::Released { debt });
        if self.loaded.reference.is_none() {
            return self.unchanged(released(None));
        }
        let freed = self.changing(released(None), ForkChange::Reference(incarnation, token, None));
        let Some(row) = self.loaded.row.filter(|row| row.incarnation == incarnation) else {
            return freed;
        };
        let refs = row.refs.saturating_sub(1);
        if refs > 0 || !row.gone {
            let row = StreamRow { refs, ..row.clone() };
            return Transition {
                row: RowChange::Put(row),
                ..freed
            };
        }
        let debt = row.debt(stream);
        let mut gone = Transition {
            outcome: released(debt.clone()),
            row: RowChange::Delete,
            dropped: Some(incarnation),
            ..freed
        };
        gone.forks.extend(debt.map(|debt| debt.change()));
        gone
    }

    /// A reference put anew, by a step that came late, is another one: the fork was seen under the first.
    fn confirm(self, token: Token, incarnation: u64, seen: u64) -> Transition {
        let confirmed = Outcome::Fork(ForkDone::Confirmed);
        match self.loaded.reference {
            Some(reference) if reference.seen == seen && !reference.confirmed => {
                let reference = Reference {
                    confirmed: true,
                    ..reference.clone()
                };
                self.changing(confirmed, ForkChange::Reference(incarnation, token, Some(reference)))
            }
            _ => self.unchanged(confirmed),
        }
    }

    fn settle(self, token: u64) -> Transition {
        let settled = Outcome::Fork(ForkDone::Settled);
        if self.loaded.pledge.is_some_and(|pledge| pledge.owing) {
            return self.changing(settled, ForkChange::Pledge(token, None));
        }
        self.unchanged(settled)
    }

    /// The stream is deleted: it goes, or it is kept for its forks only.
    pub(super) fn delete(self, stream: &StreamName, delete: &Delete) -> Result<Transition, Refusal> {
        let row = self.loaded.row.ok_or(Refusal::NotFound)?;
        let standing = row.standing();
        if !admits(delete.if_match.as_ref(), &standing) {
            return Err(Refusal::IfMatch {
                standing: Some(standing),
            });
        }
        if row.refs > 0 {
            return Ok(Transition {
                row: RowChange::Put(row.buried()),
                ..self.unchanged(Outcome::Deleted)
            });
        }
        let debt = row.debt(stream);
        let forks = debt.iter().map(|debt| debt.change()).collect();
        let outcome = debt.map_or(Outcome::Deleted, |debt| Outcome::Fork(ForkDone::Deleted { debt }));
        Ok(Transition {
            row: RowChange::Delete,
            dropped: Some(row.incarnation),
            forks,
            ..self.unchanged(outcome)
        })
    }

    /// What to say to who asks for a fork of a name that is taken; nothing if it is free.
    fn there(self, asked: &Asked) -> Result<Option<Transition>, Refusal> {
        let Some(row) = self.loaded.row else {
            return match asked.if_match {
                Some(_) => Err(Refusal::IfMatch { standing: None }),
                None => Ok(None),
            };
        };
        row.answers(asked).map(|outcome| Some(self.unchanged(outcome)))
    }

    /// An answer, and a row of forks that changes.
    fn changing(self, outcome: Outcome, change: ForkChange) -> Transition {
        Transition {
            forks: vec![change],
            ..self.unchanged(outcome)
        }
    }
}

impl StreamRow {
    /// Whether this is what is asked for: the answer to a `PUT` of a fork where this stream is.
    ///
    /// # Errors
    /// The refusal, if it is something else.
    pub fn answers(&self, asked: &Asked) -> Result<Outcome, Refusal> {
        if self.gone {
            return Err(Refusal::Gone);
        }
        let standing = self.standing();
        let content_type = self.content_type.clone();
        let same = self
            .base
            .as_ref()
            .is_some_and(|base| base.answers(asked, self.lifetime))
            && asked
                .content_type
                .as_ref()
                .is_none_or(|asked| same_content_type(asked, &content_type))
            && standing.closed == asked.closed
            && asked.retention.or(self.retention) == self.retention;
        if !same {
            return Err(Refusal::Conflict { standing, content_type });
        }
        if !admits(asked.if_match.as_ref(), &standing) {
            return Err(Refusal::IfMatch {
                standing: Some(standing),
            });
        }
        Ok(Outcome::Exists { standing, content_type })
    }

    /// Whether a fork may begin with the bytes below this offset.
    ///
    /// # Errors
    /// The refusal, if not.
    pub fn may_be_forked_at(&self, offset: Offset) -> Result<(), ForkRefusal> {
        let Self { tail, earliest, .. } = *self;
        match offset {
            _ if self.gone => Err(ForkRefusal::SourceGone),
            offset if offset > tail => Err(ForkRefusal::BeyondTail { tail }),
            offset if offset < earliest => Err(ForkRefusal::Trimmed { earliest }),
            _ if self.refs >= FORKS_MAX || self.depth() >= FORK_DEPTH_MAX => Err(ForkRefusal::TooMany),
            _ => Ok(()),
        }
    }

    /// How many streams it is based on.
    #[must_use]
    pub fn depth(&self) -> u32 {
        self.base.as_ref().map_or(0, |base| base.depth)
    }

    /// Whether it is the fork that this token was for.
    #[must_use]
    pub fn is_based_on(&self, token: u64) -> bool {
        self.base.as_ref().is_some_and(|base| base.token == token)
    }

    /// As it stays behind for its forks: nobody can use it, and time does nothing to it.
    pub(super) fn buried(&self) -> Self {
        Self {
            gone: true,
            lifetime: Lifetime::Forever,
            deadline_key_ms: None,
            retention: Retention::default(),
            marks: Vec::new(),
            last_seq: None,
            ..self.clone()
        }
    }

    /// What a stream of this name owes when it goes.
    pub(super) fn debt(&self, stream: &StreamName) -> Option<Box<Debt>> {
        let base = self.base.as_ref()?;
        let pledge = Pledge {
            fork: stream.clone(),
            source: base.source.clone(),
            incarnation: base.incarnation,
            owing: true,
        };
        Some(Box::new(Debt {
            token: base.token,
            pledge,
        }))
    }
}

impl Base {
    fn answers(&self, asked: &Asked, lifetime: Lifetime) -> bool {
        self.source == asked.source
            && asked.offset.is_none_or(|offset| offset == self.anchor)
            && self.sub == asked.sub
            && asked.lifetime.map_or(!self.own_lifetime, |asked| asked == lifetime)
    }
}

impl Debt {
    fn of(token: u64, pledge: &Pledge) -> Self {
        let pledge = Pledge {
            owing: true,
            ..pledge.clone()
        };
        Self { token, pledge }
    }

    pub(super) fn change(&self) -> ForkChange {
        ForkChange::Pledge(self.token, Some(self.pledge.clone()))
    }
}

/// Whether a condition on a write, if there is one, holds for a stream that stands so.
fn admits(condition: Option<&Condition>, standing: &Standing) -> bool {
    condition.is_none_or(|condition| condition.allows_write(Some(standing)))
}
