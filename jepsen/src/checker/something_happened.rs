//! A run in which nothing happened proves nothing, so it is a failure.

use crate::history::History;
use crate::verdict::{Law, Verdict};

/// This law.
pub const LAW: Law = Law {
    name: "something-happened",
    judge,
};

/// Fewer acknowledged writes than this are nothing.
pub const STORED_MIN: usize = 10;

fn judge(history: &History) -> Verdict {
    let stored = history.events.iter().filter(|event| event.stored()).count();
    let read = history
        .events
        .iter()
        .filter_map(|event| event.seen())
        .filter(|(_, seen)| !seen.tags.is_empty())
        .count();
    let nothing = |what: String| Verdict::broken(LAW.name, what, []);
    if stored < STORED_MIN {
        nothing(format!("only {stored} writes were acknowledged"))
    } else if read == 0 {
        nothing("nobody read anything".into())
    } else if history.blows == Some(0) {
        nothing("no blow was struck".into())
    } else {
        Verdict::Holds
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checker::tale::Tale;

    fn busy() -> Tale {
        let mut tale = Tale::new();
        tale.create();
        for number in 1..=10 {
            tale.stored(number);
        }
        tale
    }

    #[test]
    fn a_busy_run_passes() {
        let mut tale = busy();
        tale.reads(&[1]);
        assert_eq!(judge(&tale.history()), Verdict::Holds);
    }

    #[test]
    fn silence_fails() {
        let unread = busy();
        let mut unwritten = Tale::new();
        unwritten.create().stored(1).reads(&[1]);
        let mut unharmed = busy();
        unharmed.reads(&[1]);
        let mut history = unharmed.history();
        history.blows = Some(0);
        for history in [unread.history(), unwritten.history(), history] {
            assert!(matches!(judge(&history), Verdict::Broken { .. }));
        }
    }
}
