//! What was acknowledged is there: once, for good.
//!
//! PROTOCOL.md, Durability. Every read to the tail that began after the acknowledgement must hold it. An append that
//! ended Unknown may be there or not; both are lawful. Streams that are deleted, or forget, are judged elsewhere.

use rustc_hash::FxHashMap;

use super::sessions::sessions;
use crate::history::{Event, History};
use crate::record::Tag;
use crate::verdict::{Law, Verdict};

/// This law.
pub const LAW: Law = Law {
    name: "acknowledged-appends-stay",
    judge,
};

fn judge(history: &History) -> Verdict {
    let sessions = sessions(history);
    for stream in history.streams() {
        if history.may_have_been_deleted(&stream) || history.policy(&stream).is_some() {
            continue;
        }
        let mut acknowledged: Vec<(Tag, &Event)> = history
            .of(&stream)
            .filter(|event| event.stored())
            .filter_map(|event| Some((event.tag()?, event)))
            .collect();
        acknowledged.sort_by_key(|(_, event)| event.returned_order());
        let mut newest_read = 0;
        for session in sessions.iter().filter(|session| *session.stream == stream) {
            let mut places: FxHashMap<Tag, usize> = FxHashMap::default();
            for (place, (tag, event)) in session.tags.iter().enumerate() {
                if let Some(before) = places.insert(*tag, place) {
                    let because = format!("{stream}: record {tag} is stored twice, as number {before} and {place}");
                    return Verdict::broken(LAW.name, because, writers(history, *tag, event.id));
                }
            }
            let Some((last, count)) = session.reached_tail.filter(|_| !session.local) else {
                continue;
            };
            for (tag, append) in &acknowledged {
                if append.returned_order() > last.invoked.order {
                    break;
                }
                if places.get(tag).is_none_or(|place| *place >= count) {
                    let because = format!(
                        "{stream}: append {} ({tag}) was acknowledged, and read {} to the tail, begun later, lacks it",
                        append.id, last.id
                    );
                    return Verdict::broken(LAW.name, because, [append.id, last.id]);
                }
            }
            newest_read = newest_read.max(last.invoked.order);
        }
        if let Some((tag, append)) = acknowledged.last()
            && newest_read < append.returned_order()
        {
            let because = format!("{stream}: nobody read to the tail after {tag} was acknowledged");
            return Verdict::unknown(because);
        }
    }
    Verdict::Holds
}

fn writers(history: &History, tag: Tag, read: u32) -> Vec<u32> {
    let writers = history
        .events
        .iter()
        .filter(|event| event.tag() == Some(tag))
        .map(|event| event.id);
    writers.chain([read]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checker::tale::Tale;

    #[test]
    fn what_is_there_once_is_lawful() {
        let mut tale = Tale::new();
        tale.create().stored(1).stored(2).reads(&[1, 2]);
        assert_eq!(judge(&tale.history()), Verdict::Holds);
    }

    #[test]
    fn unknown_may_be_there_or_not() {
        for found in [&[1, 2][..], &[1][..]] {
            let mut tale = Tale::new();
            tale.create().stored(1).unknown(2).reads(found);
            assert_eq!(judge(&tale.history()), Verdict::Holds);
        }
    }

    #[test]
    fn a_lost_append_is_found() {
        let mut tale = Tale::new();
        tale.create().stored(1).stored(2).reads(&[1]);
        assert!(matches!(judge(&tale.history()), Verdict::Broken { operations, .. } if operations == [2, 3]));
    }

    #[test]
    fn an_append_stored_twice_is_found() {
        let mut tale = Tale::new();
        tale.create().unknown(1).reads(&[1, 1]);
        assert!(matches!(judge(&tale.history()), Verdict::Broken { .. }));
    }

    #[test]
    fn an_append_lost_for_a_while_is_found() {
        let mut tale = Tale::new();
        tale.create().stored(1).reads(&[]).reads(&[1]);
        assert!(matches!(judge(&tale.history()), Verdict::Broken { .. }));
    }

    #[test]
    fn without_a_read_nobody_can_tell() {
        let mut tale = Tale::new();
        tale.create().stored(1).reads(&[1]).stored(2);
        assert!(matches!(judge(&tale.history()), Verdict::Unknown { .. }));
    }
}
