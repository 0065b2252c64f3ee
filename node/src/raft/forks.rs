//! The rows that hold forks and their sources together: loaded for the law, put and removed as it says, and shown to
//! whoever works off what is left over.

use std::collections::BTreeMap;
use std::io;

use bytes::Bytes;

use super::GroupView;
use super::apply::Changes;
use super::machine::{Machine, State, damaged, each_row};
use crate::keys::{Chunk, Key, KeyRange};
use crate::stream::{Base, Command, Debt, ForkChange, Offset, Pledge, Reference, StreamName, StreamRow, Token};

/// Rows shown at once.
const PAGE: usize = 64;

/// Rows of forks that a batch has put or removed. The index does not show that before the batch is written.
#[derive(Default)]
pub(super) struct ForkRows {
    pledges: BTreeMap<u64, Option<Pledge>>,
    references: BTreeMap<(u64, Token), Option<Reference>>,
}

/// A reference that nobody has confirmed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doubt {
    /// The fork's.
    pub token: Token,
    /// The source's incarnation.
    pub incarnation: u64,
    /// Its row.
    pub reference: Reference,
}

/// Everything a group knows of forks: for whoever wants to see that nothing leaks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ForkCensus {
    /// All pledges, by token.
    pub pledges: Vec<Debt>,
    /// All references: incarnation of the source, token, row.
    pub references: Vec<(u64, Token, Reference)>,
    /// All streams that are forks, have any, or are kept for theirs only: name, incarnation, base, references, gone.
    pub streams: Vec<(StreamName, u64, Option<Base>, u32, bool)>,
}

impl Machine {
    /// The pledge and the reference that a command concerns, as they are.
    pub(super) fn fork_rows(
        &self,
        state: &State,
        changes: &Changes,
        command: &Command,
    ) -> io::Result<(Option<Pledge>, Option<Reference>)> {
        let Some(fork) = command.fork() else {
            return Ok((None, None));
        };
        let pledge = match fork.pledge() {
            Some(token) => match changes.forks.pledges.get(&token) {
                Some(put) => put.clone(),
                None => self.pledge(state, token)?,
            },
            None => None,
        };
        let reference = match fork.reference() {
            Some((incarnation, token)) => match changes.forks.references.get(&(incarnation, token)) {
                Some(put) => put.clone(),
                None => self.reference(state, incarnation, token)?,
            },
            None => None,
        };
        Ok((pledge, reference))
    }

    fn pledge(&self, state: &State, token: u64) -> io::Result<Option<Pledge>> {
        let (group, generation) = (self.group, state.generation);
        let key = Key::Pledge {
            group,
            generation,
            token,
        };
        let row = self.index.get(&key.encode())?;
        row.map(|row| Pledge::decode(&row).map_err(damaged)).transpose()
    }

    fn reference(&self, state: &State, incarnation: u64, token: Token) -> io::Result<Option<Reference>> {
        for confirmed in [true, false] {
            let key = self.reference_key(state, confirmed, incarnation, token);
            if let Some(row) = self.index.get(&key)? {
                return Reference::decode(&row).map(Some).map_err(damaged);
            }
        }
        Ok(None)
    }

    fn reference_key(&self, state: &State, confirmed: bool, incarnation: u64, token: Token) -> Bytes {
        let (group, generation) = (self.group, state.generation);
        Key::Reference {
            group,
            generation,
            confirmed,
            incarnation,
            token,
        }
        .encode()
    }

    /// Does to the rows of forks what the law says.
    pub(super) fn note_forks(&self, state: &mut State, changes: &mut Changes, forks: Vec<ForkChange>) {
        let (group, generation) = (self.group, state.generation);
        for change in forks {
            match change {
                ForkChange::Pledge(token, pledge) => {
                    let key = Key::Pledge {
                        group,
                        generation,
                        token,
                    }
                    .encode();
                    match &pledge {
                        Some(pledge) => {
                            state.forks = true;
                            changes.batch.put(key, pledge.encode());
                        }
                        None => changes.batch.delete(key),
                    }
                    changes.forks.pledges.insert(token, pledge);
                }
                ForkChange::Reference(incarnation, token, reference) => {
                    let confirmed = reference.as_ref().map(|reference| reference.confirmed);
                    for stale in [true, false].into_iter().filter(|stale| confirmed != Some(*stale)) {
                        changes
                            .batch
                            .delete(self.reference_key(state, stale, incarnation, token));
                    }
                    if let Some(reference) = &reference {
                        state.forks |= !reference.confirmed;
                        let key = self.reference_key(state, reference.confirmed, incarnation, token);
                        changes.batch.put(key, reference.encode());
                    }
                    changes.forks.references.insert((incarnation, token), reference);
                }
            }
        }
    }
}

impl GroupView {
    /// The pledge of a token, if it is there.
    ///
    /// # Errors
    /// If the index fails.
    pub fn pledge(&self, token: u64) -> io::Result<Option<Pledge>> {
        self.machine.pledge(&self.machine.state(), token)
    }

    /// Some of the pledges and of the unconfirmed references, the first ones after these: what may be left over. When
    /// there are none at all, that is remembered, and costs nothing until there are some again.
    ///
    /// # Errors
    /// If the index fails.
    pub fn left_over(&self, after: (u64, Option<(u64, Token)>)) -> io::Result<(Vec<Debt>, Vec<Doubt>)> {
        let mut state = self.machine.state();
        if !state.forks {
            return Ok((Vec::new(), Vec::new()));
        }
        let (group, generation) = (self.machine.group, state.generation);
        let (mut pledges, mut doubts) = (Vec::new(), Vec::new());
        let all = KeyRange::pledges(group, generation);
        let from = Key::Pledge {
            group,
            generation,
            token: after.0.saturating_add(1),
        };
        for (key, row) in self.machine.index.scan(&from.encode(), &all.to, PAGE)? {
            if let Key::Pledge { token, .. } = Key::decode(&key).map_err(damaged)? {
                let pledge = Pledge::decode(&row).map_err(damaged)?;
                pledges.push(Debt { token, pledge });
            }
        }
        let all = KeyRange::doubts(group, generation);
        let from = match after.1 {
            Some((incarnation, token)) => {
                let mut from = self.machine.reference_key(&state, false, incarnation, token).to_vec();
                from.push(0);
                Bytes::from(from)
            }
            None => all.from,
        };
        for (key, row) in self.machine.index.scan(&from, &all.to, PAGE)? {
            if let Key::Reference { incarnation, token, .. } = Key::decode(&key).map_err(damaged)? {
                let reference = Reference::decode(&row).map_err(damaged)?;
                doubts.push(Doubt {
                    token,
                    incarnation,
                    reference,
                });
            }
        }
        if after == (0, None) && pledges.is_empty() && doubts.is_empty() {
            state.forks = false;
        }
        Ok((pledges, doubts))
    }

    /// Everything this node's copy of the group knows of forks. Scans all of its streams.
    ///
    /// # Errors
    /// If the index fails.
    pub fn fork_census(&self) -> io::Result<ForkCensus> {
        let state = self.machine.state();
        let (group, generation) = (self.machine.group, state.generation);
        let index = &*self.machine.index;
        let mut census = ForkCensus::default();
        each_row(index, &KeyRange::pledges(group, generation), |key, row| {
            if let Key::Pledge { token, .. } = Key::decode(key).map_err(damaged)? {
                let pledge = Pledge::decode(row).map_err(damaged)?;
                census.pledges.push(Debt { token, pledge });
            }
            Ok(())
        })?;
        each_row(index, &KeyRange::references(group, generation), |key, row| {
            if let Key::Reference { incarnation, token, .. } = Key::decode(key).map_err(damaged)? {
                let reference = Reference::decode(row).map_err(damaged)?;
                census.references.push((incarnation, token, reference));
            }
            Ok(())
        })?;
        each_row(index, &KeyRange::streams(group, generation), |key, row| {
            if let Key::Stream { bucket, name, .. } = Key::decode(key).map_err(damaged)? {
                let StreamRow {
                    incarnation,
                    base,
                    refs,
                    gone,
                    ..
                } = StreamRow::decode(row).map_err(damaged)?;
                if base.is_some() || refs > 0 || gone {
                    let name = StreamName::from_parts(bucket, name);
                    let base = base.map(|base| *base);
                    census.streams.push((name, incarnation, base, refs, gone));
                }
            }
            Ok(())
        })?;
        Ok(census)
    }

    /// Where the append ends that the byte at `offset` is of; nothing if that byte is not there.
    ///
    /// # Errors
    /// If the index fails.
    pub fn append_end(&self, incarnation: u64, offset: Offset) -> io::Result<Option<Offset>> {
        let generation = self.machine.state().generation;
        let mut last = None;
        loop {
            let from = last.unwrap_or(offset);
            let range = KeyRange::chunks_from(self.machine.group, generation, incarnation, from);
            let page = self.machine.index.scan(&range.from, &range.to, PAGE)?;
            let is_last = page.len() < PAGE;
            for (key, chunk) in page {
                let Key::Chunk { end, .. } = Key::decode(&key).map_err(damaged)? else {
                    break;
                };
                last = Some(end);
                if Chunk::decode(&chunk).map_err(damaged)?.ends {
                    return Ok(last);
                }
            }
            if is_last {
                return Ok(last);
            }
        }
    }
}
