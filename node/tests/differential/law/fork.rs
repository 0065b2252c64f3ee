//! Forks by the law alone: the four steps one after the other, and what a stream that goes owes to its source.

use node::stream::{
    Asked, Base, Bearing, Condition, Debt, ForkDone, ForkOp, ForkRefusal, Offset, Op, Outcome, Pledging, Refusal,
    Retaining, Retention, StreamName, Token, Whence, is_json, same_content_type,
};

use super::{Law, closed, lifetime, messages, name};
use crate::{
    answer::Answer,
    step::{Fork, Place, Step},
};

/// The group all streams are in here.
const GROUP: u32 = 0;

impl Law {
    /// PUT of a fork; none if its words are wrong.
    pub(super) fn fork(&mut self, step: &Step, fork: &Fork, if_match: Option<Condition>) -> Option<Answer> {
        let offset = match &fork.at {
            None => None,
            Some(at) => {
                let source = self.streams.entry(fork.from).or_default();
                let text = match at {
                    Place::Literal(text) => text,
                    Place::Answered(ago) => source.offsets.answered(*ago),
                };
                match Offset::parse(text).ok()? {
                    Whence::At(offset) => Some(offset),
                    _ => return None,
                }
            }
        };
        let sub = match step.header("stream-fork-sub-offset") {
            None => 0,
            Some("01") => return None,
            Some(digits) => digits.parse().ok()?,
        };
        if sub > 0 && offset.is_none() {
            return None;
        }
        let own = step.header("stream-ttl").is_some() || step.header("stream-expires-at").is_some();
        let asked = Asked {
            source: name(fork.from),
            offset,
            sub,
            content_type: step.header("content-type").map(str::to_owned),
            closed: closed(step)?,
            if_match,
            lifetime: if own { Some(lifetime(step)?) } else { None },
            retention: Retention::default(),
            retention_default: Retention::default(),
        };
        let mut answer = Answer::default();
        answer.headers.insert("x-content-type-options", "nosniff".to_owned());
        let outcome = match self.made(step, fork.from, asked)? {
            Ok(outcome) => outcome,
            Err((status, tail)) => {
                answer.status = status;
                if let Some(tail) = tail {
                    let known = &mut self.streams.entry(fork.from).or_default().offsets;
                    answer
                        .headers
                        .insert("stream-next-offset", known.name(&tail.to_string()));
                }
                return Some(answer);
            }
        };
        if matches!(outcome, Outcome::Created { .. }) {
            let source = self.streams[&fork.from].offsets.clone();
            let known = match &fork.at {
                None => source.up_to(None),
                Some(Place::Answered(ago)) => source.up_to(Some(source.answered(*ago))),
                Some(Place::Literal(_)) => source.up_to(Some("")),
            };
            self.streams.entry(step.stream).or_default().offsets = known;
        }
        Some(self.streams.entry(step.stream).or_default().told(step, &outcome))
    }

    /// The fork, or the status (and the tail, if that is told) where there is nothing to fork.
    fn made(&mut self, step: &Step, from: usize, asked: Asked) -> Option<Result<Outcome, (u16, Option<Offset>)>> {
        if let Some(row) = &self.streams.entry(step.stream).or_default().row {
            return Some(Ok(row.answers(&asked).unwrap_or_else(Outcome::Refused)));
        }
        if asked.if_match.is_some() {
            return Some(Ok(Outcome::Refused(Refusal::IfMatch { standing: None })));
        }
        let (anchor, offset) = match self.origin(from, &asked) {
            Ok(found) => found,
            Err(refused) => return Some(Err(refused)),
        };
        let source = self.streams[&from].row.clone()?;
        let body = match is_json(&source.content_type) && !step.body.is_empty() {
            true => messages(&step.body)?,
            false => step.body.clone(),
        };
        let pledging = ForkOp::Pledge(Box::new(Pledging {
            asked: asked.clone(),
            incarnation: source.incarnation,
        }));
        let Outcome::Fork(ForkDone::Pledged { token: index }) = self.step(step.stream, pledging) else {
            panic!("the name is free");
        };
        let token = Token { group: GROUP, index };
        let retaining = ForkOp::Retain(Box::new(Retaining {
            token,
            fork: name(step.stream),
            incarnation: source.incarnation,
            offset,
        }));
        let Outcome::Fork(ForkDone::Retained { seen, earliest }) = self.step(from, retaining) else {
            panic!("the source may be forked there");
        };
        let base = Base {
            source: name(from),
            incarnation: source.incarnation,
            offset,
            anchor,
            sub: asked.sub,
            token: index,
            seen,
            depth: source.depth() + 1,
            own_lifetime: asked.lifetime.is_some(),
        };
        let bearing = Bearing {
            lifetime: asked.lifetime.unwrap_or(source.lifetime),
            asked,
            base,
            earliest,
            content_type: source.content_type,
            as_of: 0,
        };
        self.inherit(step.stream, from, offset);
        let born = self.tell(step.stream, Op::Fork(ForkOp::Bear(Box::new(bearing))), body);
        let confirm = ForkOp::Confirm {
            token,
            incarnation: source.incarnation,
            seen,
        };
        self.step(from, confirm);
        Some(Ok(born))
    }

    /// Where a fork begins: what was asked for, and with the bytes or messages past that.
    fn origin(&self, from: usize, asked: &Asked) -> Result<(Offset, Offset), (u16, Option<Offset>)> {
        let kept = &self.streams.get(&from).ok_or((404, None))?;
        let source = kept.row.as_ref().ok_or((404, None))?;
        let differs = |asked: &String| !same_content_type(asked, &source.content_type);
        if source.gone || asked.content_type.as_ref().is_some_and(differs) {
            return Err((409, None));
        }
        let anchor = asked.offset.unwrap_or(source.tail);
        source.may_be_forked_at(anchor).map_err(|refusal| match refusal {
            ForkRefusal::BeyondTail { tail } => (400, Some(tail)),
            ForkRefusal::Trimmed { .. } => (410, None),
            _ => (409, None),
        })?;
        if asked.sub == 0 {
            return Ok((anchor, anchor));
        }
        let append = kept
            .ends
            .iter()
            .copied()
            .find(|end| *end > anchor.0)
            .ok_or((400, None))?;
        let bytes = &kept.bytes[anchor.0 as usize..append as usize];
        let len = if is_json(&source.content_type) {
            let ends = (1..).zip(bytes).filter(|(_, byte)| **byte == b'\n');
            ends.map(|(len, _)| len).nth(asked.sub as usize - 1)
        } else {
            Some(asked.sub).filter(|sub| *sub <= bytes.len() as u64)
        };
        let len = len.ok_or((400, None))?;
        Ok((anchor, Offset(anchor.0 + len)))
    }

    /// The bytes of a fork below where it begins are its source's, and so are the ends of the appends they came in.
    fn inherit(&mut self, fork: usize, source: usize, offset: Offset) {
        let source = &self.streams[&source];
        let bytes = source.bytes[..offset.0 as usize].to_vec();
        let ends = source.ends.iter().copied().filter(|end| *end < offset.0);
        let ends = ends.chain((offset.0 > 0).then_some(offset.0)).collect();
        let kept = self.streams.entry(fork).or_default();
        (kept.bytes, kept.ends) = (bytes, ends);
    }

    /// What a deletion owes is paid, and what is owed for that.
    pub(super) fn pay(&mut self, outcome: Outcome) -> Outcome {
        let Outcome::Fork(ForkDone::Deleted { debt }) = outcome else {
            return outcome;
        };
        let mut owed = Some(debt);
        while let Some(debt) = owed.take() {
            let Debt { token: index, pledge } = *debt;
            let release = ForkOp::Release {
                token: Token { group: GROUP, index },
                incarnation: pledge.incarnation,
            };
            let Outcome::Fork(ForkDone::Released { debt }) = self.step(number(&pledge.source), release) else {
                panic!("a reference can always be given back");
            };
            owed = debt;
            self.step(number(&pledge.fork), ForkOp::Settle { token: index });
        }
        Outcome::Deleted
    }

    fn step(&mut self, stream: usize, op: ForkOp) -> Outcome {
        self.tell(stream, Op::Fork(op), String::new())
    }
}

/// Which stream has this name.
fn number(stream: &StreamName) -> usize {
    (0..crate::step::STREAMS)
        .find(|number| name(*number) == *stream)
        .expect("a stream of the sequence")
}
