//! A page shows every stream that was certainly there all the while, and none that certainly never was; in order, each
//! once, no more than asked for, and nothing is lost at its border. A count lies between the two.
//!
//! The groups of a server are looked at one by one, so of a stream that came or went meanwhile either may be told.

use std::collections::BTreeSet;

use crate::history::{Answer, BucketOp, BucketSaw, Ending, Event, History, Op};
use crate::verdict::{Law, Verdict};

/// This law.
pub const LAW: Law = Law {
    name: "listings-are-true",
    judge,
};

fn judge(history: &History) -> Verdict {
    for event in &history.events {
        let (Op::Bucket(op), Ending::Done(Answer::Bucket(saw))) = (&event.op, &event.ending) else {
            continue;
        };
        let wrong = match (op, saw) {
            (BucketOp::List { prefix, after, limit }, BucketSaw::Listed { names, next, has_more }) => {
                let page = Page {
                    prefix,
                    after,
                    limit: *limit,
                    names,
                    has_more: *has_more,
                };
                if next.as_ref() != names.last() {
                    Some("its cursor is not its last name".to_owned())
                } else {
                    page.wrong(history, event)
                }
            }
            (BucketOp::Count, BucketSaw::Count(count)) => miscounted(history, event, *count),
            _ => None,
        };
        if let Some(wrong) = wrong {
            let because = format!("{}: {} {wrong}", event.stream, event.id);
            return Verdict::broken(LAW.name, because, [event.id]);
        }
    }
    Verdict::Holds
}

/// What a listing was asked for, and what it told.
struct Page<'a> {
    prefix: &'a str,
    after: &'a str,
    limit: usize,
    names: &'a [String],
    has_more: bool,
}

impl Page<'_> {
    fn wrong(&self, history: &History, event: &Event) -> Option<String> {
        if self.names.len() > self.limit {
            return Some(format!(
                "lists {} streams, {} were asked for",
                self.names.len(),
                self.limit
            ));
        }
        if !self.names.is_sorted_by(|one, next| one < next) {
            return Some(format!("is out of order or repeats: {:?}", self.names));
        }
        let asked = |name: &str| name.starts_with(self.prefix) && name > self.after;
        if let Some(name) = self.names.iter().find(|name| !asked(name)) {
            return Some(format!("lists {name}, which was not asked for"));
        }
        // A page with more to come speaks only of what is up to its last name.
        let within = |name: &str| !self.has_more || self.names.last().is_some_and(|last| name <= last.as_str());
        for (name, standing) in standings(history, event) {
            let listed = self.names.iter().any(|listed| *listed == name);
            match standing {
                Standing::There if !listed && asked(name) && within(name) => {
                    return Some(format!("does not list {name}, which was there all the while"));
                }
                Standing::Missing if listed => return Some(format!("lists {name}, which was not there")),
                _ => {}
            }
        }
        let known: BTreeSet<&str> = standings(history, event).map(|(name, _)| name).collect();
        let unheard = self.names.iter().find(|name| !known.contains(name.as_str()));
        unheard.map(|name| format!("lists {name}, which nobody ever created"))
    }
}

fn miscounted(history: &History, event: &Event, count: u64) -> Option<String> {
    let (mut least, mut most) = (0, 0);
    for (_, standing) in standings(history, event) {
        least += u64::from(standing == Standing::There);
        most += u64::from(standing != Standing::Missing);
    }
    (!(least..=most).contains(&count)).then(|| format!("counts {count} streams, of {least} to {most}"))
}

/// What is certain of a stream while a call went on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    There,
    Missing,
    Either,
}

/// What is certain of each stream of the bucket while this call went on.
fn standings<'a>(history: &'a History, event: &'a Event) -> impl Iterator<Item = (&'a str, Standing)> {
    let bucket = &*event.stream;
    let names: BTreeSet<&str> = history
        .events
        .iter()
        .filter_map(|event| name_in(bucket, event))
        .collect();
    names.into_iter().map(move |name| {
        let of_it = || {
            history
                .events
                .iter()
                .filter(move |event| name_in(bucket, event) == Some(name))
        };
        (name, standing(of_it, event.invoked.order, event.returned_order()))
    })
}

fn name_in<'a>(bucket: &str, event: &'a Event) -> Option<&'a str> {
    let changes = matches!(event.op, Op::Create(_) | Op::Delete);
    let name = event.stream.strip_prefix(bucket)?.strip_prefix('/')?;
    changes.then_some(name)
}

fn standing<'a, I: Iterator<Item = &'a Event>>(of_it: impl Fn() -> I, from: u64, to: u64) -> Standing {
    let may_be = |event: &&Event| !matches!(event.ending, Ending::Refused(_)) && event.invoked.order < to;
    let creates = || of_it().filter(|event| matches!(event.op, Op::Create(_))).filter(may_be);
    let deletes = || of_it().filter(|event| matches!(event.op, Op::Delete)).filter(may_be);
    let is_done = |event: &&Event| matches!(event.ending, Ending::Done(_)) && event.returned_order() < from;
    // Acknowledged before, and nothing since its beginning can have undone it.
    let stands = |create: &Event| deletes().all(|delete| delete.returned_order() < create.invoked.order);
    if creates().filter(is_done).any(stands) {
        return Standing::There;
    }
    // Never made; or undone for certain, and nothing since can have made it.
    let undone = |delete: &Event| creates().all(|create| create.returned_order() < delete.invoked.order);
    if creates().next().is_none() || deletes().filter(is_done).any(undone) {
        return Standing::Missing;
    }
    Standing::Either
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checker::bucket_tale::{BucketTale, created, done, listed, unknown};

    fn holds(tale: &BucketTale) -> bool {
        judge(&tale.history()).passes()
    }

    fn three() -> BucketTale {
        let mut tale = BucketTale::new();
        tale.make(done());
        for name in ["a", "b", "c"] {
            tale.create(name, true, created());
        }
        tale
    }

    #[test]
    fn pages_are_judged_by_what_was_there_all_the_while() {
        type Listing<'a> = (&'a str, &'a str, usize, &'a [&'a str], bool);
        let table: [(Listing<'_>, bool); 14] = [
            (("", "", 10, &["a", "b", "c"], false), true),
            (("", "", 2, &["a", "b"], true), true),
            (("", "b", 2, &["c"], false), true),
            (("b", "", 2, &["b"], false), true),
            (("x", "", 2, &[], false), true),
            // Lost in the middle, at the border, at the end.
            (("", "", 10, &["a", "c"], false), false),
            (("", "", 2, &["a", "c"], true), false),
            (("", "", 2, &["a", "b"], false), false),
            // Said to go on, with nothing to go on from.
            (("", "a", 2, &[], false), false),
            // Too many, out of order, repeated, not asked for, never made.
            (("", "", 2, &["a", "b", "c"], false), false),
            (("", "", 10, &["b", "a", "c"], false), false),
            (("", "", 10, &["a", "a", "b", "c"], false), false),
            (("", "a", 10, &["a", "b", "c"], false), false),
            (("", "", 10, &["a", "b", "c", "d"], false), false),
        ];
        for ((prefix, after, limit, names, more), lawful) in table {
            let mut tale = three();
            tale.lists(prefix, after, limit, names, more);
            assert_eq!(holds(&tale), lawful, "{prefix} {after} {limit} {names:?}");
        }
    }

    #[test]
    fn what_is_gone_is_not_listed() {
        let mut tale = three();
        tale.delete("b", done()).lists("", "", 10, &["a", "c"], false).counts(2);
        assert!(holds(&tale));
        tale.lists("", "", 10, &["a", "b", "c"], false);
        assert!(!holds(&tale));
    }

    #[test]
    fn what_comes_or_goes_meanwhile_may_be_told_either_way() {
        for names in [&["a", "b", "c"][..], &["a", "c"]] {
            let mut tale = three();
            let list = tale.begin_list("", "", 10);
            tale.delete("b", done()).end(list, listed(names, false));
            assert!(holds(&tale));
            let mut tale = three();
            tale.delete("b", unknown()).lists("", "", 10, names, false);
            assert!(holds(&tale));
        }
    }

    #[test]
    fn a_count_lies_between_what_is_certain() {
        for (count, lawful) in [(1, false), (2, true), (3, true), (4, false)] {
            let mut tale = three();
            tale.delete("b", unknown()).counts(count);
            assert_eq!(holds(&tale), lawful, "{count}");
        }
    }
}
