//! Appends and reads of a log, judged in one pass.
//!
//! In a log the longest read gives the order of the records, so there is nothing to search: every read must be a prefix
//! of it, and the line of records, with each read right after the last record it saw, must be true to real time. That is
//! so if nothing in the line ended before something earlier in it began. An acknowledged record that no read shows comes
//! after all that was read. Must agree with [`linear`](crate::linear) wherever both apply (a property test holds them
//! together); it is quick on histories of any size and says plainly what is wrong.

use rustc_hash::FxHashMap;

use super::sessions::sessions;
use crate::history::{Event, History};
use crate::record::{Content, Tag};
use crate::verdict::{Law, Verdict};

/// This law.
pub const LAW: Law = Law {
    name: "log-in-order",
    judge,
};

fn judge(history: &History) -> Verdict {
    for stream in history.streams() {
        // A deleted log is two logs.
        if !history.may_have_been_deleted(&stream) {
            let verdict = judge_log(history, &stream);
            if !verdict.passes() {
                return verdict;
            }
        }
    }
    Verdict::Holds
}

/// When a record can have been stored: after the one and before the other.
struct Span {
    invoked: u64,
    returned: u64,
    event: u32,
}

/// Judges one stream that was never deleted.
#[must_use]
pub fn judge_log(history: &History, stream: &str) -> Verdict {
    let spans = spans(history, stream);
    let sessions = sessions(history);
    let whole = sessions
        .iter()
        .filter(|session| &**session.stream == stream && !session.local);
    let order: Vec<Tag> = whole
        .max_by_key(|session| session.tags.len())
        .map(|session| session.tags.iter().map(|(tag, _)| *tag).collect())
        .unwrap_or_default();
    let mut contents = vec![Content::default()];
    for tag in &order {
        contents.push(contents[contents.len() - 1].then(*tag));
    }

    // Reads to the tail, by the number of records they saw.
    let mut reads: Vec<Vec<&Event>> = vec![Vec::new(); order.len() + 1];
    for event in history.of(stream) {
        let Some((read, seen)) = event.seen() else { continue };
        let Some(content) = seen.after.filter(|_| !read.local && seen.up_to_date) else {
            continue;
        };
        if contents.get(content.count as usize) != Some(&content) {
            let because = format!("{stream}: read {} is no prefix of the longest read", event.id);
            return Verdict::broken(LAW.name, because, [event.id]);
        }
        reads[content.count as usize].push(event);
    }

    let mut line = Line { stream, latest: None };
    let mut left = spans;
    for (place, reads) in reads.iter().enumerate() {
        if let Some(tag) = place.checked_sub(1).map(|before| order[before]) {
            let Some(span) = left.remove(&tag) else {
                let because = format!("{stream}: {tag} was read, but nobody wrote it, or it is there twice");
                return Verdict::broken(
                    LAW.name,
                    because,
                    reads.iter().map(|event| event.id).collect::<Vec<_>>(),
                );
            };
            if let Err(broken) = line.next(&[span]) {
                return broken;
            }
        }
        let alike: Vec<Span> = reads
            .iter()
            .map(|event| Span {
                invoked: event.invoked.order,
                returned: event.returned_order(),
                event: event.id,
            })
            .collect();
        if let Err(broken) = line.next(&alike) {
            return broken;
        }
    }
    // Among themselves they may lie in any order that is true to time, and there always is one.
    let mut unread: Vec<Span> = left.into_values().filter(|span| span.returned != u64::MAX).collect();
    unread.sort_by_key(|span| span.event);
    line.next(&unread).err().unwrap_or(Verdict::Holds)
}

fn spans(history: &History, stream: &str) -> FxHashMap<Tag, Span> {
    let mut spans: FxHashMap<Tag, Span> = FxHashMap::default();
    for event in history.of(stream) {
        let Some(tag) = event.tag() else { continue };
        let span = Span {
            invoked: event.invoked.order,
            returned: event.returned_order(),
            event: event.id,
        };
        if event.stored() {
            spans.insert(tag, span);
        } else if event.uncertain() {
            // Attempts at one record: it can have been any of them, unless one was told that it was the one.
            spans.entry(tag).or_insert(Span {
                returned: u64::MAX,
                ..span
            });
        }
    }
    spans
}

/// The line so far, as the one in it that began last.
struct Line<'a> {
    stream: &'a str,
    latest: Option<(u64, u32)>,
}

impl Line<'_> {
    /// These come next, in any order among themselves.
    fn next(&mut self, spans: &[Span]) -> Result<(), Verdict> {
        for span in spans {
            if let Some((_, before)) = self.latest.filter(|(invoked, _)| *invoked > span.returned) {
                let (stream, after) = (self.stream, span.event);
                let because =
                    format!("{stream}: by what was read {before} comes before {after}, but it began after it ended");
                return Err(Verdict::broken(LAW.name, because, [before, after]));
            }
        }
        let latest = spans.iter().map(|span| (span.invoked, span.event)).max();
        self.latest = self.latest.max(latest);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checker::tale::{Tale, offset, seen, stored_at, tag};
    use crate::history::{Answer, Ending, Op, Stored};
    use crate::linear;
    use proptest::prelude::*;

    fn broken(tale: &Tale) -> bool {
        matches!(judge(&tale.history()), Verdict::Broken { .. })
    }

    #[test]
    fn overlapping_appends_in_either_order_are_lawful() {
        for order in [[1, 2], [2, 1]] {
            let mut tale = Tale::new();
            tale.create();
            let (one, two) = (tale.begin_append(1), tale.begin_append(2));
            tale.end(one, stored_at(1)).end(two, stored_at(2)).reads(&order);
            assert_eq!(judge(&tale.history()), Verdict::Holds);
        }
    }

    #[test]
    fn appends_against_the_order_of_time_are_found() {
        let mut tale = Tale::new();
        tale.create().stored(1).stored(2).reads(&[2, 1]);
        assert!(broken(&tale));
    }

    #[test]
    fn a_stale_read_is_found() {
        let mut tale = Tale::new();
        tale.create().stored(1).stored(2).reads(&[1]).reads(&[1, 2]);
        assert!(broken(&tale));
    }

    #[test]
    fn a_read_that_goes_back_is_found() {
        let mut tale = Tale::new();
        tale.create();
        let append = tale.begin_append(1);
        tale.reads(&[1]).reads(&[]).end(append, stored_at(1));
        assert!(broken(&tale));
    }

    #[test]
    fn an_unread_acknowledged_append_makes_an_older_read_stale() {
        let mut tale = Tale::new();
        tale.create().stored(1).reads(&[]);
        assert!(broken(&tale));
    }

    #[test]
    fn reads_that_disagree_are_found() {
        let mut tale = Tale::new();
        tale.create().unknown(1).unknown(2).reads(&[1]).reads(&[2, 1]);
        assert!(broken(&tale));
    }

    /// A lawful history of appends and reads from a true log: every call has a point between its ends at which it
    /// happens. `chance` says, call for call, who acts and how it ends.
    fn lawful(chance: &[(u8, u8)]) -> History {
        let mut tale = Tale::new();
        tale.create();
        let mut log: Vec<u32> = Vec::new();
        // Open calls: event, the number it appends (0: it reads), what it saw when it happened.
        let mut open: Vec<(u32, u32, Option<Vec<u32>>)> = Vec::new();
        let mut numbers = 0;
        for (what, which) in chance {
            let pick = *which as usize % open.len().max(1);
            match what % 4 {
                0 if open.len() < 5 => {
                    numbers += 1;
                    open.push((tale.begin_append(numbers), numbers, None));
                }
                1 if open.len() < 5 => open.push((tale.begin_read(), 0, None)),
                2 if pick < open.len() && open[pick].2.is_none() => {
                    log.extend(Some(open[pick].1).filter(|number| *number > 0));
                    open[pick].2 = Some(log.clone());
                }
                3 if pick < open.len() => {
                    let (event, number, saw) = open.swap_remove(pick);
                    let unanswered = || Ending::Unknown("deadline".into());
                    let ending = match (number, saw) {
                        (_, None) => unanswered(),
                        (0, Some(saw)) => Ending::Done(seen(&saw)),
                        (_, Some(_)) if which % 5 == 0 => unanswered(),
                        (..) => Ending::Done(Answer::Appended {
                            stored: Stored::Now,
                            next: None,
                            etag: None,
                        }),
                    };
                    tale.end(event, ending);
                }
                _ => {}
            }
        }
        tale.reads(&log);
        tale.history()
    }

    /// Damages one read or one ending.
    fn mutate(history: &mut History, kind: u8, which: usize, place: usize) {
        let count = history.events.len();
        let event = &mut history.events[which % count];
        if let (Op::Append(_), Ending::Unknown(_)) = (&event.op, &event.ending) {
            event.ending = Ending::Done(Answer::Appended {
                stored: Stored::Now,
                next: None,
                etag: None,
            });
        }
        let Ending::Done(Answer::Read(seen)) = &mut event.ending else {
            return;
        };
        match kind % 4 {
            0 => drop(seen.tags.pop()),
            1 if !seen.tags.is_empty() => drop(seen.tags.remove(place % seen.tags.len())),
            2 if seen.tags.len() > 1 => {
                let last = seen.tags.len() - 1;
                seen.tags.swap(place % last, last);
            }
            _ => seen.tags.push(tag(1 + place as u32 % 8)),
        }
        seen.next = offset(seen.tags.len() as u64);
        seen.after = Some(
            seen.tags
                .iter()
                .fold(Content::default(), |content, tag| content.then(*tag)),
        );
    }

    fn both(history: &History) -> (Verdict, Verdict) {
        let slow = linear::judge_stream(history, "log-0", linear::Budget::default());
        (judge_log(history, "log-0"), slow)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn lawful_histories_hold_for_both(chance in prop::collection::vec(any::<(u8, u8)>(), 0..120)) {
            let history = lawful(&chance);
            prop_assert_eq!(both(&history), (Verdict::Holds, Verdict::Holds));
        }

        #[test]
        fn on_damaged_histories_both_agree(
            chance in prop::collection::vec(any::<(u8, u8)>(), 0..80),
            damage in prop::collection::vec((any::<u8>(), any::<usize>(), any::<usize>()), 1..3),
        ) {
            let mut history = lawful(&chance);
            for (kind, which, place) in damage {
                mutate(&mut history, kind, which, place);
            }
            let (quick, slow) = both(&history);
            prop_assert_eq!(quick.passes(), slow.passes(), "log: {:?}\nlinear: {:?}\n{}", quick, slow, history.to_json_lines());
        }
    }
}
