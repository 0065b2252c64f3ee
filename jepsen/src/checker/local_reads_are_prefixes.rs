//! The cheap answer may be old, never wrong: what a node shows of a stream is how the stream begins.
//!
//! DESIGN, promise 3. A later local read may show less than an earlier one (another node, or the same after a crash).

use std::collections::BTreeMap;

use super::sessions::{Session, sessions};
use crate::history::History;
use crate::verdict::{Law, Verdict};

/// This law.
pub const LAW: Law = Law {
    name: "local-reads-are-prefixes",
    judge,
};

fn judge(history: &History) -> Verdict {
    let sessions = sessions(history);
    let mut longest: BTreeMap<&str, &Session<'_>> = BTreeMap::new();
    for session in sessions.iter().filter(|session| !session.local) {
        let known = longest.entry(session.stream).or_insert(session);
        if session.tags.len() > known.tags.len() {
            *known = session;
        }
    }
    for local in sessions
        .iter()
        .filter(|session| session.local && !session.tags.is_empty())
    {
        if history.may_have_been_deleted(local.stream) {
            continue;
        }
        let Some(whole) = longest.get(&**local.stream) else {
            return Verdict::unknown(format!("{}: there are only local reads", local.stream));
        };
        for (place, ((seen, event), (tag, other))) in local.tags.iter().zip(&whole.tags).enumerate() {
            if seen != tag {
                let because = format!(
                    "{}: local read {} of node {} has {seen} as record number {place}, the stream has {tag}",
                    local.stream, event.id, event.node
                );
                return Verdict::broken(LAW.name, because, [event.id, other.id]);
            }
        }
        if let Some((extra, event)) = local.tags.get(whole.tags.len())
            && whole
                .reached_tail
                .is_some_and(|(last, _)| last.invoked.order > event.returned_order())
        {
            let because = format!(
                "{}: local read {} of node {} has {extra}, which a later read to the tail lacks",
                local.stream, event.id, event.node
            );
            return Verdict::broken(LAW.name, because, [event.id]);
        }
    }
    Verdict::Holds
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checker::tale::Tale;

    #[test]
    fn an_old_prefix_is_lawful() {
        let mut tale = Tale::new();
        tale.create()
            .stored(1)
            .stored(2)
            .reads_locally(&[])
            .reads_locally(&[1])
            .reads_locally(&[])
            .reads(&[1, 2]);
        assert_eq!(judge(&tale.history()), Verdict::Holds);
    }

    #[test]
    fn what_is_no_prefix_is_found() {
        for seen in [&[2][..], &[2, 1], &[1, 3]] {
            let mut tale = Tale::new();
            tale.create()
                .stored(1)
                .stored(2)
                .unknown(3)
                .reads_locally(seen)
                .reads(&[1, 2, 3]);
            assert!(matches!(judge(&tale.history()), Verdict::Broken { .. }), "{seen:?}");
        }
    }

    #[test]
    fn an_uncommitted_record_that_vanishes_is_found() {
        let mut tale = Tale::new();
        tale.create().stored(1).unknown(2).reads_locally(&[1, 2]).reads(&[1]);
        assert!(matches!(judge(&tale.history()), Verdict::Broken { .. }));
    }
}
