//! After the end there is nothing more.
//!
//! PROTOCOL.md, Stream Closure. Once anybody was told that a stream is closed, nobody may later append to it or be told
//! that it is open.

use crate::history::{Answer, Ending, Event, History, Op, Refusal, Stored};
use crate::verdict::{Law, Verdict};

/// This law.
pub const LAW: Law = Law {
    name: "closed-stays-closed",
    judge,
};

fn judge(history: &History) -> Verdict {
    for stream in history.streams() {
        if history.may_have_been_deleted(&stream) {
            continue;
        }
        let told = history
            .of(&stream)
            .filter(|event| says_closed(event))
            .min_by_key(|event| event.returned_order());
        let Some(told) = told else { continue };
        let later = history
            .of(&stream)
            .filter(|event| event.invoked.order > told.returned_order());
        for event in later {
            if let Some(what) = contradicts(event) {
                let (end, id) = (told.id, event.id);
                let because = format!("{stream}: call {end} was told that it is closed; later call {id} {what}");
                return Verdict::broken(LAW.name, because, [end, id]);
            }
        }
    }
    Verdict::Holds
}

fn says_closed(event: &Event) -> bool {
    match (&event.op, &event.ending) {
        (Op::Append(append), Ending::Done(_)) => append.close,
        (Op::Create(create), Ending::Done(_)) => create.closed,
        (Op::Head, Ending::Done(Answer::Head { closed, .. })) => *closed,
        (Op::Read(_), Ending::Done(Answer::Read(seen))) => seen.closed,
        (_, Ending::Refused(Refusal::Closed { .. })) => true,
        _ => false,
    }
}

fn contradicts(event: &Event) -> Option<&'static str> {
    match (&event.op, &event.ending) {
        (
            Op::Append(_),
            Ending::Done(Answer::Appended {
                stored: Stored::Now, ..
            }),
        ) if event.tag().is_some() => Some("stored a record"),
        (Op::Create(create), Ending::Done(_)) if !create.closed => Some("found it open"),
        (Op::Head, Ending::Done(Answer::Head { closed: false, .. })) => Some("saw it open"),
        (Op::Read(read), Ending::Done(Answer::Read(seen))) if !read.local && seen.up_to_date && !seen.closed => {
            Some("read to its tail and was not told of the end")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checker::tale::{Tale, append, closing, stored_at};

    fn broken(tale: &Tale) -> bool {
        matches!(judge(&tale.history()), Verdict::Broken { .. })
    }

    #[test]
    fn an_end_that_stays_is_lawful() {
        let mut tale = Tale::new();
        tale.create().stored(1).reads(&[1]).stores(closing()).reads_closed(&[1]);
        tale.refused(append(2), Refusal::Closed { next: None })
            .reads_locally(&[1]);
        assert_eq!(judge(&tale.history()), Verdict::Holds);
    }

    #[test]
    fn an_append_that_overlaps_the_close_is_lawful() {
        let mut tale = Tale::new();
        tale.create();
        let racing = tale.begin_append(1);
        tale.stores(closing()).end(racing, stored_at(1));
        assert_eq!(judge(&tale.history()), Verdict::Holds);
    }

    #[test]
    fn an_append_after_the_end_is_found() {
        let mut tale = Tale::new();
        tale.create().stores(closing()).stored(1);
        assert!(broken(&tale));
    }

    #[test]
    fn a_forgotten_end_is_found() {
        let mut tale = Tale::new();
        tale.create().stored(1).stores(closing()).reads_closed(&[1]).reads(&[1]);
        assert!(broken(&tale));
    }
}
