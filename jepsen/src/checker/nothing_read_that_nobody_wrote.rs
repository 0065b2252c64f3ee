//! No foreign bytes, nothing before its time, nothing that was refused.
//!
//! PROTOCOL.md, Durability and Byte-exactness. Holds for every read on every node, local ones too. A record is there
//! whole or not at all, so no read that reached the tail ends inside one.

use rustc_hash::FxHashMap;

use crate::history::{Ending, Event, History};
use crate::record::Tag;
use crate::verdict::{Law, Verdict};

/// This law.
pub const LAW: Law = Law {
    name: "nothing-read-that-nobody-wrote",
    judge,
};

/// The attempts at one record.
struct Attempts<'a> {
    stream: &'a str,
    first: &'a Event,
    all_refused: bool,
}

fn judge(history: &History) -> Verdict {
    let mut written: FxHashMap<Tag, Attempts<'_>> = FxHashMap::default();
    for event in &history.events {
        let Some(tag) = event.tag() else { continue };
        let refused = matches!(event.ending, Ending::Refused(_));
        let first = || Attempts {
            stream: &event.stream,
            first: event,
            all_refused: true,
        };
        written.entry(tag).or_insert_with(first).all_refused &= refused;
    }
    for stream in history.streams() {
        let lives_once = !history.may_have_been_deleted(&stream);
        for event in history.of(&stream) {
            let Some((read, seen)) = event.seen() else { continue };
            let broken = |because: String, others: &[u32]| {
                Verdict::broken(LAW.name, format!("{stream}: {because}"), [others, &[event.id]].concat())
            };
            // Whoever reads on in another life of a stream begins in the middle of something.
            if lives_once || read.begins() {
                if let Some(garbage) = &seen.garbage {
                    return broken(format!("read {} returned bytes nobody wrote: {garbage}", event.id), &[]);
                }
                if seen.up_to_date && seen.inside_a_record {
                    return broken(format!("read {} reached the tail, inside a record", event.id), &[]);
                }
            }
            for tag in &seen.tags {
                let Some(attempts) = written.get(tag).filter(|attempts| *attempts.stream == *stream) else {
                    return broken(
                        format!("read {} returned {tag}, which nobody wrote there", event.id),
                        &[],
                    );
                };
                let first = attempts.first;
                if first.invoked.order > event.returned_order() {
                    return broken(
                        format!("read {} returned {tag} before it was sent", event.id),
                        &[first.id],
                    );
                }
                if attempts.all_refused {
                    return broken(
                        format!("read {} returned {tag}, which was refused", event.id),
                        &[first.id],
                    );
                }
            }
        }
    }
    Verdict::Holds
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checker::tale::{Tale, append, seen};
    use crate::history::{Answer, Refusal};

    fn broken(tale: &Tale) -> bool {
        matches!(judge(&tale.history()), Verdict::Broken { .. })
    }

    #[test]
    fn what_was_written_may_be_read() {
        let mut tale = Tale::new();
        tale.create().stored(1).unknown(2).reads(&[1, 2]).reads_locally(&[1]);
        assert_eq!(judge(&tale.history()), Verdict::Holds);
    }

    #[test]
    fn an_append_may_be_read_before_it_is_answered() {
        let mut tale = Tale::new();
        tale.create();
        let append = tale.begin_append(1);
        tale.reads(&[1]).end(append, crate::checker::tale::stored_at(1));
        assert_eq!(judge(&tale.history()), Verdict::Holds);
    }

    #[test]
    fn a_record_from_nowhere_is_found() {
        let mut tale = Tale::new();
        tale.create().stored(1).reads(&[1, 9]);
        assert!(broken(&tale));
    }

    #[test]
    fn a_record_before_its_time_is_found() {
        let mut tale = Tale::new();
        tale.create().reads(&[1]).stored(1);
        assert!(broken(&tale));
    }

    #[test]
    fn a_refused_record_is_found_unless_another_attempt_was_not_refused() {
        let no_leader = || Refusal::Unavailable {
            code: "no_leader".into(),
        };
        let mut tale = Tale::new();
        tale.create().refused(append(1), no_leader()).reads_locally(&[1]);
        assert!(broken(&tale));
        let mut tale = Tale::new();
        tale.create().unknown(1).refused(append(1), no_leader()).reads(&[1]);
        assert_eq!(judge(&tale.history()), Verdict::Holds);
    }

    #[test]
    fn damage_and_torn_records_are_found() {
        for (garbage, inside_a_record) in [(Some("flipped".to_owned()), false), (None, true)] {
            let mut tale = Tale::new();
            tale.create().stored(1);
            let read = tale.begin_read();
            let Answer::Read(mut seen) = seen(&[1]) else {
                unreachable!("seen is a read")
            };
            (seen.garbage, seen.inside_a_record) = (garbage, inside_a_record);
            tale.end(read, Ending::Done(Answer::Read(seen)));
            assert!(broken(&tale));
        }
    }
}
