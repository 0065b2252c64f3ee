//! A re-created stream is another stream: what was deleted does not come back.
//!
//! A record whose every attempt had ended before a delete began belongs to the life that the delete ended, so no read
//! that began after it may return it. Local reads may be older than the delete, so they are not judged.

use rustc_hash::FxHashMap;

use crate::history::{Answer, Ending, Event, History};
use crate::record::Tag;
use crate::verdict::{Law, Verdict};

/// This law.
pub const LAW: Law = Law {
    name: "deleted-stays-deleted",
    judge,
};

fn judge(history: &History) -> Verdict {
    for stream in history.streams() {
        let deletes: Vec<&Event> = history
            .of(&stream)
            .filter(|event| event.ending == Ending::Done(Answer::Deleted))
            .collect();
        if deletes.is_empty() {
            continue;
        }
        // When the last attempt at each record had certainly ended.
        let mut settled: FxHashMap<Tag, (u64, u32)> = FxHashMap::default();
        for event in history.of(&stream) {
            if let Some(tag) = event.tag() {
                let end = if event.uncertain() {
                    u64::MAX
                } else {
                    event.returned_order()
                };
                let known = settled.entry(tag).or_insert((0, event.id));
                *known = (*known).max((end, event.id));
            }
        }
        for event in history.of(&stream) {
            let Some((_, seen)) = event.seen().filter(|(read, _)| !read.local) else {
                continue;
            };
            // The last delete that was over when the read began is the strictest.
            let over = deletes
                .iter()
                .filter(|delete| delete.returned_order() < event.invoked.order);
            let Some(delete) = over.max_by_key(|delete| delete.invoked.order) else {
                continue;
            };
            for tag in &seen.tags {
                let Some((end, writer)) = settled.get(tag) else {
                    continue;
                };
                if *end < delete.invoked.order {
                    let because = format!("{stream}: read {} returned {tag}, deleted by {}", event.id, delete.id);
                    return Verdict::broken(LAW.name, because, [*writer, delete.id, event.id]);
                }
            }
        }
    }
    Verdict::Holds
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checker::tale::Tale;

    #[test]
    fn a_new_life_begins_empty() {
        let mut tale = Tale::new();
        tale.create()
            .stored(1)
            .reads(&[1])
            .delete()
            .create()
            .stored(2)
            .reads_locally(&[1])
            .reads(&[2]);
        assert_eq!(judge(&tale.history()), Verdict::Holds);
    }

    #[test]
    fn an_unknown_append_may_land_in_the_new_life() {
        let mut tale = Tale::new();
        tale.create().unknown(1).delete().create().reads(&[1]);
        assert_eq!(judge(&tale.history()), Verdict::Holds);
    }

    #[test]
    fn bytes_that_come_back_are_found() {
        let mut tale = Tale::new();
        tale.create().stored(1).delete().create().stored(2).reads(&[1, 2]);
        assert!(matches!(judge(&tale.history()), Verdict::Broken { .. }));
    }
}
