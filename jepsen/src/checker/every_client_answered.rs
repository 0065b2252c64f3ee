//! After the calm every call has its answer.
//!
//! DESIGN, promise 6. Once everything is whole no call may end Unknown or for want of a leader, and no call of the
//! whole run may stay open for ever. For a short while after the calm began, a client may still find out that the
//! connection it kept is dead.

use crate::history::{Ending, History, Refusal};
use crate::verdict::{Law, Verdict};

/// This law.
pub const LAW: Law = Law {
    name: "every-client-answered",
    judge,
};

/// How long after the beginning of the calm a call may still fail, in nanoseconds of the run.
pub const GRACE_NS: u64 = 3_000_000_000;

fn judge(history: &History) -> Verdict {
    if let Some(open) = history.events.iter().find(|event| event.ending == Ending::Open) {
        let because = format!(
            "{}: call {} of client {} has no ending at all",
            open.stream, open.id, open.client
        );
        return Verdict::broken(LAW.name, because, [open.id]);
    }
    let Some(calm_from) = history.calm_from else {
        return Verdict::unknown("the calm never came");
    };
    let after = || history.events.iter().filter(|event| event.invoked.order > calm_from);
    let Some(calm_ns) = after().map(|event| event.invoked.ns).next() else {
        return Verdict::unknown("nobody asked anything after the calm");
    };
    for event in after().filter(|event| event.invoked.ns > calm_ns + GRACE_NS) {
        let why = match &event.ending {
            Ending::Unknown(why) => why.as_str(),
            Ending::Refused(Refusal::Unavailable { code }) => code.as_str(),
            Ending::Refused(Refusal::NotSent) => "it could not be sent",
            _ => continue,
        };
        let because = format!(
            "{}: in the calm, call {} to node {}: {why}",
            event.stream, event.id, event.node
        );
        return Verdict::broken(LAW.name, because, [event.id]);
    }
    Verdict::Holds
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checker::tale::{Tale, append};
    use crate::history::Op;

    #[test]
    fn trouble_in_the_storm_is_lawful() {
        let mut tale = Tale::new();
        tale.create().unknown(1).calm().stored(2).reads(&[2]);
        assert_eq!(judge(&tale.history()), Verdict::Holds);
    }

    #[test]
    fn a_call_without_an_ending_is_found() {
        let mut tale = Tale::new();
        tale.create();
        let _ = tale.begin_append(1);
        tale.calm().stored(2);
        assert!(matches!(judge(&tale.history()), Verdict::Broken { operations, .. } if operations == [1]));
    }

    #[test]
    fn trouble_in_the_calm_is_found_after_a_grace() {
        let unavailable = || {
            Ending::Refused(Refusal::Unavailable {
                code: "no_leader".into(),
            })
        };
        let mut tale = Tale::new();
        tale.create().calm().stored(1).unknown(2);
        let mut history = tale.history();
        assert_eq!(judge(&history), Verdict::Holds);
        for ending in [Ending::Unknown("deadline".into()), unavailable()] {
            let last = history.events.last_mut().unwrap();
            last.invoked.ns += GRACE_NS;
            (last.op, last.ending) = (Op::Append(append(2)), ending);
            assert!(matches!(judge(&history), Verdict::Broken { .. }));
        }
    }

    #[test]
    fn without_a_calm_nobody_can_tell() {
        let mut tale = Tale::new();
        tale.create().stored(1);
        assert!(matches!(judge(&tale.history()), Verdict::Unknown { .. }));
    }
}
