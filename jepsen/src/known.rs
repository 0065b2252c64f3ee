//! What the reads of a stream tell before any search: where a record lies, and what had not happened yet.
//!
//! A record that was read tells what lay before it, so it is tried only there; what follows a content that was read on is
//! known, so nothing else is tried. And a write without an answer that a read of the whole stream does not show took
//! effect after that read, if at all: without this, every such write doubles the number of places to look at.

use rustc_hash::FxHashMap;

use crate::history::History;
use crate::model::{Call, Calls, State};
use crate::record::{Content, Tag};

/// What the reads tell about which record lies where.
#[derive(Debug, Default)]
pub(crate) struct Known {
    before: FxHashMap<Tag, Content>,
    next: FxHashMap<Content, Tag>,
    lives_once: bool,
    /// The reads that saw the whole stream, in the order of their beginnings.
    wholes: Vec<Whole>,
}

/// A read that reached the tail, in a session that began at the beginning.
#[derive(Clone, Copy, Debug)]
struct Whole {
    invoked: u64,
    records: u64,
    closed: bool,
}

impl Known {
    /// Reads a history.
    pub(crate) fn of(history: &History, stream: &str) -> Self {
        let lives_once = !history.may_have_been_deleted(stream);
        let mut known = Self {
            lives_once,
            ..Self::default()
        };
        for event in history.of(stream) {
            let Some((read, seen)) = event.seen() else { continue };
            // A local read is no call of the search, so it must not steer it either.
            let counts = !read.local && (lives_once || read.begins());
            let Some(mut content) = read.before.filter(|_| counts) else {
                continue;
            };
            for tag in &seen.tags {
                known.before.entry(*tag).or_insert(content);
                known.next.entry(content).or_insert(*tag);
                content = content.then(*tag);
            }
            let whole = seen
                .after
                .filter(|_| seen.up_to_date && !seen.inside_a_record && seen.garbage.is_none());
            known.wholes.extend(whole.map(|after| Whole {
                invoked: event.invoked.order,
                records: after.count,
                closed: seen.closed,
            }));
        }
        known.wholes.sort_by_key(|whole| whole.invoked);
        known
    }

    /// Tells each write without an answer since when it can have taken effect at the earliest. Changes no verdict: no
    /// order could have put it before that.
    pub(crate) fn narrow(&self, calls: &mut Calls) {
        if !self.lives_once {
            return;
        }
        for call in calls.calls.iter_mut().filter(|call| call.unknown()) {
            let lies_at = call
                .appends()
                .map(|tag| self.before.get(&tag).map(|before| before.count));
            let not_yet = |whole: &&Whole| {
                let unread = match lies_at {
                    Some(Some(at)) => whole.records <= at,
                    Some(None) => true,
                    None => false,
                };
                unread || (call.closes() && !whole.closed)
            };
            if let Some(last) = self.wholes.iter().rfind(not_yet) {
                call.invoked = call.invoked.max(last.invoked);
            }
        }
        calls.calls.sort_by_key(|call| call.invoked);
    }

    /// Whether the record may come here.
    pub(crate) fn allows(&self, state: &State, call: &Call) -> bool {
        let Some(tag) = call.appends() else { return true };
        match self.before.get(&tag) {
            Some(before) => *before == state.content,
            // The empty content is not one place, if the stream may have had several lives.
            None if !self.lives_once && state.content == Content::default() => true,
            None => !self.next.contains_key(&state.content),
        }
    }

    /// Whether somebody read the record.
    pub(crate) fn was_read(&self, call: &Call) -> bool {
        call.appends().is_some_and(|tag| self.before.contains_key(&tag))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checker::tale::{Tale, append};
    use crate::history::{Ending, Op};

    /// The places where the unknown calls begin, after narrowing.
    fn begins(tale: &Tale) -> Vec<u64> {
        let history = tale.history();
        let stream = history.streams().pop().expect("one stream");
        let mut calls = Calls::of(&history, &stream);
        Known::of(&history, &stream).narrow(&mut calls);
        assert!(calls.calls.is_sorted_by_key(|call| call.invoked));
        calls
            .calls
            .iter()
            .filter(|call| call.unknown())
            .map(|call| call.invoked)
            .collect()
    }

    fn invoked(tale: &Tale, event: usize) -> u64 {
        tale.history().events[event].invoked.order
    }

    #[test]
    fn a_write_that_no_whole_read_shows_came_after_the_last_of_them() {
        let mut tale = Tale::new();
        tale.create().unknown(1).reads(&[]).stored(2).reads(&[2]);
        assert_eq!(begins(&tale), [invoked(&tale, 4)]);
    }

    #[test]
    fn a_write_that_was_read_came_after_the_last_whole_read_without_it() {
        let mut tale = Tale::new();
        tale.create().unknown(1).reads(&[]).stored(2).reads(&[2, 1]);
        assert_eq!(begins(&tale), [invoked(&tale, 2)]);
    }

    #[test]
    fn a_close_came_after_the_last_whole_read_of_the_open_stream() {
        let mut tale = Tale::new();
        let mut close = append(1);
        (close.tag, close.close) = (None, true);
        tale.create()
            .call(Op::Append(close), Ending::Unknown("lost".into()))
            .reads(&[]);
        assert_eq!(begins(&tale), [invoked(&tale, 2)]);
    }

    #[test]
    fn in_a_stream_of_several_lives_a_read_says_nothing_of_the_sort() {
        let mut tale = Tale::new();
        tale.create().unknown(1).reads(&[]).delete();
        assert_eq!(begins(&tale), [invoked(&tale, 1)]);
    }
}
