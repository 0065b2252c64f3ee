//! A refused or crashed fork leaks nothing: looked at when the storm is over and everybody had time to clean up.
//!
//! Then no attempt is under way and no debt is unpaid; every reference belongs to a fork that is there, and every fork has
//! its reference and its source; a source that was deleted is kept only for forks that are there.

use std::collections::BTreeMap;

use node::raft::ForkCensus;
use node::stream::{StreamName, Token, group_of};

/// What is left over, in words; nothing if all is as it should be. One census for each group, in order, of one node.
#[must_use]
pub fn forks_leak_nothing(groups: &[ForkCensus]) -> Option<String> {
    let count = u32::try_from(groups.len()).unwrap_or(u32::MAX);
    let group_of = |stream: &StreamName| group_of(stream, count) as usize;
    // Every fork that is there: source's group, its incarnation, token.
    let mut forks: BTreeMap<(usize, u64, Token), &StreamName> = BTreeMap::new();
    for (number, census) in (0..).zip(groups) {
        if let Some(debt) = census.pledges.first() {
            let state = if debt.pledge.owing { "unpaid" } else { "open" };
            return Some(format!(
                "group {number} has {} pledges, one of {} for {}, {state}",
                census.pledges.len(),
                debt.pledge.fork,
                debt.pledge.source
            ));
        }
        for (name, _, base, _, _) in &census.streams {
            let Some(base) = base else { continue };
            let token = Token {
                group: number,
                index: base.token,
            };
            forks.insert((group_of(&base.source), base.incarnation, token), name);
        }
    }
    for (number, census) in groups.iter().enumerate() {
        for (incarnation, token, reference) in &census.references {
            if !reference.confirmed {
                return Some(format!(
                    "nobody has confirmed that {} is forked as {}",
                    reference.source, reference.fork
                ));
            }
            if forks.remove(&(number, *incarnation, *token)).is_none() {
                return Some(format!(
                    "{} is kept for {}, which is not there",
                    reference.source, reference.fork
                ));
            }
            let source = census.streams.iter().find(|(_, of, ..)| of == incarnation);
            if source.is_none() {
                return Some(format!(
                    "{} is not there, and is forked as {}",
                    reference.source, reference.fork
                ));
            }
        }
        for (name, incarnation, _, refs, gone) in &census.streams {
            let references = census.references.iter().filter(|(of, ..)| of == incarnation).count();
            if references != *refs as usize {
                return Some(format!("{name} counts {refs} forks and has {references} references"));
            }
            if *gone && *refs == 0 {
                return Some(format!("{name} is deleted and kept for nobody"));
            }
        }
    }
    forks
        .into_values()
        .next()
        .map(|fork| format!("{fork} is a fork, and its source holds no reference for it"))
}

#[cfg(test)]
mod tests {
    use node::stream::{Base, Debt, Offset, Pledge, Reference};

    use super::*;

    fn name(text: &str) -> StreamName {
        StreamName::flat(text).unwrap()
    }

    /// One group, in which `a` was forked as `b`.
    fn forked() -> ForkCensus {
        let base = Base {
            source: name("a"),
            incarnation: 1,
            offset: Offset(0),
            anchor: Offset(0),
            sub: 0,
            token: 2,
            seen: 3,
            depth: 1,
            own_lifetime: false,
        };
        let reference = Reference {
            source: name("a"),
            fork: name("b"),
            seen: 3,
            earliest: Offset(0),
            confirmed: true,
        };
        ForkCensus {
            pledges: Vec::new(),
            references: vec![(1, Token { group: 0, index: 2 }, reference)],
            streams: vec![(name("a"), 1, None, 1, true), (name("b"), 4, Some(base), 0, false)],
        }
    }

    #[test]
    fn a_fork_and_its_source_are_lawful_and_so_is_nothing() {
        assert_eq!(forks_leak_nothing(&[forked()]), None);
        assert_eq!(
            forks_leak_nothing(&[ForkCensus::default(), ForkCensus::default()]),
            None
        );
    }

    #[test]
    fn whatever_is_left_over_is_found() {
        let leaks: [fn(&mut ForkCensus); 7] = [
            |census| drop(census.streams.pop()),
            |census| drop(census.streams.remove(0)),
            |census| census.references.clear(),
            |census| census.references[0].2.confirmed = false,
            |census| census.streams[0].3 = 2,
            |census| {
                census.references.clear();
                census.streams.truncate(1);
                census.streams[0].3 = 0;
            },
            |census| {
                let pledge = Pledge {
                    fork: name("c"),
                    source: name("a"),
                    incarnation: 1,
                    owing: true,
                };
                census.pledges.push(Debt { token: 9, pledge });
            },
        ];
        for (number, leak) in leaks.into_iter().enumerate() {
            let mut census = forked();
            leak(&mut census);
            assert!(forks_leak_nothing(&[census]).is_some(), "leak {number}");
        }
    }
}
