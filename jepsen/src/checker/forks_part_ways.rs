//! A fork is what its source was when it was forked, and then what was written to it: exactly.
//!
//! PROTOCOL-NOTES, Forks. Nothing that is written to the source later leaks in, nothing of what was there before is
//! missing, and it stays so when the source is deleted. What is there is found; what is not there is not.
//!
//! The streams judged here each have one client that writes to them, one call after the other, and begin each of their
//! lives with a record of its own ([`workload`](crate::workload)); so every record that is read can be told by who put it
//! where.

use std::collections::BTreeMap;

use crate::history::{Answer, Ending, Event, History, Op, Refusal};
use crate::record::{Content, LEN_MIN, Tag};
use crate::verdict::{Law, Verdict};

/// This law.
pub const LAW: Law = Law {
    name: "forks-part-ways",
    judge,
};

/// One life of a stream: from a create that may have taken effect to a delete that may have.
struct Life<'a> {
    born: &'a Event,
    birth: Tag,
    appends: BTreeMap<Tag, &'a Event>,
    deleted: Option<&'a Event>,
}

type Lives<'a> = BTreeMap<&'a str, Vec<Life<'a>>>;

fn judge(history: &History) -> Verdict {
    let lives = lives(history);
    // What every life was seen to hold at most, and by which read.
    let mut seen_of: BTreeMap<Tag, (Vec<Tag>, u32)> = BTreeMap::new();
    for event in &history.forks {
        let none = Vec::new();
        let of = lives.get(&*event.stream).unwrap_or(&none);
        let judged = match (&event.op, &event.ending) {
            (_, Ending::Refused(why @ (Refusal::NotFound | Refusal::Buried))) if !is_of_source(event) => {
                absent(of, event, why)
            }
            (Op::Read(read), Ending::Done(Answer::Read(seen))) if read.before == Some(Content::default()) => {
                match &seen.garbage {
                    Some(garbage) => Err(garbage.clone()),
                    None => content(&lives, of, event, &seen.tags)
                        .and_then(|birth| stays(&mut seen_of, birth, event, &seen.tags)),
                }
            }
            _ => Ok(()),
        };
        if let Err(because) = judged {
            let Event { id, node, stream, .. } = event;
            let because = format!("{stream}: call {id} of the forks, to node {node}: {because}");
            return Verdict::broken(LAW.name, because, []);
        }
    }
    Verdict::Holds
}

/// Whether what was not found may be another stream than the one the call was about.
fn is_of_source(event: &Event) -> bool {
    matches!(event.op, Op::Fork(_))
}

fn lives(history: &History) -> Lives<'_> {
    let mut lives = Lives::new();
    for event in &history.forks {
        if matches!(event.ending, Ending::Refused(_)) {
            continue;
        }
        let of = lives.entry(&*event.stream).or_default();
        let born = match &event.op {
            Op::Create(create) => create.tag,
            Op::Fork(fork) => Some(fork.tag),
            _ => None,
        };
        if let Some(birth) = born {
            of.push(Life {
                born: event,
                birth,
                appends: BTreeMap::new(),
                deleted: None,
            });
        }
        match (&event.op, of.last_mut()) {
            (Op::Append(append), Some(life)) => life.appends.extend(append.tag.map(|tag| (tag, event))),
            (Op::Delete, Some(life)) => life.deleted = Some(event),
            _ => {}
        }
    }
    lives
}

fn is_done(event: &Event) -> bool {
    matches!(event.ending, Ending::Done(_))
}

/// Whether the one had ended before the other began.
fn before(one: &Event, other: &Event) -> bool {
    one.returned_order() < other.invoked.order
}

impl Life<'_> {
    /// Whether a call may have met it.
    fn may_be_met_by(&self, call: &Event) -> bool {
        let over = self
            .deleted
            .is_some_and(|deleted| is_done(deleted) && before(deleted, call));
        self.born.invoked.order < call.returned_order() && !over
    }

    /// How many bytes it has from others, if that was told or asked.
    fn inherited(&self) -> Option<u64> {
        let told = match &self.born.ending {
            Ending::Done(Answer::Created { next: Some(next), .. }) => next.parse::<u64>().ok(),
            _ => None,
        };
        match &self.born.op {
            Op::Fork(fork) => told
                .and_then(|next| next.checked_sub(fork.len.into()))
                .or_else(|| fork.offset.map(|offset| offset + fork.sub)),
            _ => Some(0),
        }
    }
}

/// A stream was said not to be there.
fn absent(of: &[Life<'_>], call: &Event, why: &Refusal) -> Result<(), String> {
    let there = |life: &&Life<'_>| {
        let never_deleted = life
            .deleted
            .is_none_or(|deleted| call.returned_order() < deleted.invoked.order);
        is_done(life.born) && before(life.born, call) && never_deleted
    };
    match of.iter().find(there) {
        Some(life) => Err(format!(
            "{why:?}, though it was created by call {} and never deleted",
            life.born.id
        )),
        None => Ok(()),
    }
}

/// Which life of the stream a read saw.
fn content(lives: &Lives<'_>, of: &[Life<'_>], read: &Event, tags: &[Tag]) -> Result<Tag, String> {
    let mut because = "no life of it can have been read".to_owned();
    for life in of.iter().filter(|life| life.may_be_met_by(read)) {
        match explain(lives, life, read, tags, true) {
            Ok(()) => return Ok(life.birth),
            Err(why) => because = why,
        }
    }
    Err(because)
}

/// Whether this is what a life held when a call met it, from the beginning on: all of it, or a part.
fn explain(lives: &Lives<'_>, life: &Life<'_>, call: &Event, tags: &[Tag], whole: bool) -> Result<(), String> {
    let Some(at) = tags.iter().position(|tag| *tag == life.birth) else {
        if whole {
            return Err(format!("its first record {} is missing", life.birth));
        }
        return inherits(lives, life, tags, false);
    };
    inherits(lives, life, &tags[..at], true)?;
    let own = &tags[at + 1..];
    for (place, tag) in own.iter().enumerate() {
        let Some(append) = life.appends.get(tag) else {
            return Err(format!(
                "{tag} was never written to it, nor to its source before it was forked"
            ));
        };
        if append.invoked.order > call.returned_order() {
            return Err(format!("{tag} was written only later, by call {}", append.id));
        }
        if own[..place].contains(tag) {
            return Err(format!("{tag} is there twice"));
        }
        let lacks = |(other, earlier): &(&Tag, &&Event)| {
            is_done(earlier) && before(earlier, append) && !own[..place].contains(other)
        };
        if let Some((other, _)) = life.appends.iter().find(lacks) {
            return Err(format!("{tag} is there before {other}, which was acknowledged earlier"));
        }
    }
    let acknowledged = |(tag, append): &(&Tag, &&Event)| is_done(append) && before(append, call) && !own.contains(tag);
    match life.appends.iter().find(acknowledged) {
        Some((tag, append)) if whole => Err(format!("{tag} is missing, which call {} acknowledged", append.id)),
        _ => Ok(()),
    }
}

/// Whether this is what a life has from its source: all of it, or a part.
fn inherits(lives: &Lives<'_>, life: &Life<'_>, tags: &[Tag], whole: bool) -> Result<(), String> {
    let bytes = tags.len() as u64 * u64::from(LEN_MIN);
    match life.inherited() {
        Some(inherited) if bytes > inherited || (whole && bytes < inherited) => {
            return Err(format!(
                "{bytes} bytes stand before its own, and it inherits {inherited}"
            ));
        }
        _ => {}
    }
    let Op::Fork(fork) = &life.born.op else { return Ok(()) };
    let none = Vec::new();
    let sources = lives.get(&*fork.source).unwrap_or(&none);
    let mut because = format!("it was forked from {}, which was not there", fork.source);
    for source in sources.iter().filter(|source| source.may_be_met_by(life.born)) {
        match explain(lives, source, life.born, tags, whole && fork.offset.is_none()) {
            Ok(()) => return Ok(()),
            Err(why) => because = format!("as a fork of {}: {why}", fork.source),
        }
    }
    Err(because)
}

/// What was read of a life once is read ever after.
fn stays(seen_of: &mut BTreeMap<Tag, (Vec<Tag>, u32)>, birth: Tag, read: &Event, tags: &[Tag]) -> Result<(), String> {
    let (longest, by) = seen_of.entry(birth).or_insert_with(|| (tags.to_vec(), read.id));
    let common = longest.len().min(tags.len());
    if longest[..common] != tags[..common] {
        return Err(format!("it read something else than call {by}"));
    }
    if tags.len() > longest.len() {
        (*longest, *by) = (tags.to_vec(), read.id);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::checker::tale::{append, seen, stored_at, tag};
    use crate::client::BEGINNING;
    use crate::history::{Create, Fork, Read, Recorder};

    /// Streams `a`, `b`, … of hand-written histories.
    struct Grove {
        recorder: Recorder,
        now_ns: u64,
    }

    impl Grove {
        fn new() -> Self {
            let recorder = Recorder::new(true).of_forks();
            Self { recorder, now_ns: 0 }
        }

        fn begin(&mut self, stream: &str, op: Op) -> u32 {
            self.now_ns += 1;
            self.recorder.invoke(1, 0, &Arc::from(stream), op, self.now_ns)
        }

        fn call(&mut self, stream: &str, op: Op, ending: Ending) -> &mut Self {
            let id = self.begin(stream, op);
            self.recorder.end(id, ending, self.now_ns);
            self
        }

        fn create(&mut self, stream: &str, number: u32) -> &mut Self {
            let tag = Some(tag(number));
            let create = Create {
                tag,
                len: LEN_MIN,
                ..Create::default()
            };
            self.call(stream, Op::Create(create), created(1))
        }

        fn fork(&mut self, stream: &str, of: &str, number: u32, count: u64) -> &mut Self {
            self.call(stream, fork(of, number, None), created(count))
        }

        fn stores(&mut self, stream: &str, number: u32) -> &mut Self {
            self.call(stream, Op::Append(append(number)), stored_at(0))
        }

        fn delete(&mut self, stream: &str) -> &mut Self {
            self.call(stream, Op::Delete, Ending::Done(Answer::Deleted))
        }

        fn reads(&mut self, stream: &str, numbers: &[u32]) -> &mut Self {
            self.call(stream, read(), Ending::Done(seen(numbers)))
        }

        fn verdict(&self) -> Verdict {
            judge(&self.recorder.history())
        }

        fn is_broken(&self) -> bool {
            matches!(self.verdict(), Verdict::Broken { .. })
        }
    }

    fn created(count: u64) -> Ending {
        Ending::Done(Answer::Created {
            new: true,
            next: Some(format!("{:020}", count * u64::from(LEN_MIN))),
            etag: None,
        })
    }

    fn fork(of: &str, number: u32, offset: Option<u64>) -> Op {
        Op::Fork(Fork {
            source: of.into(),
            offset: offset.map(|offset| offset * u64::from(LEN_MIN)),
            sub: 0,
            tag: tag(number),
            len: LEN_MIN,
        })
    }

    fn read() -> Op {
        Op::Read(Read {
            from: BEGINNING.into(),
            local: false,
            bootstrap: false,
            live: None,
            session: 1,
            before: Some(Content::default()),
        })
    }

    /// `a` holds 1 and 2, was forked as `b`, and goes on with 3; `b` begins with 10 and goes on with 11.
    fn parted() -> Grove {
        let mut grove = Grove::new();
        grove.create("a", 1).stores("a", 2).fork("b", "a", 10, 3);
        grove.stores("a", 3).stores("b", 11);
        grove
    }

    #[test]
    fn what_was_there_and_what_is_its_own_is_lawful_for_forks_of_forks_too() {
        let mut grove = parted();
        grove.reads("a", &[1, 2, 3]).reads("b", &[1, 2, 10, 11]);
        grove.fork("c", "b", 20, 5).delete("a").delete("b");
        grove.reads("c", &[1, 2, 10, 11, 20]);
        grove.call("b", read(), Ending::Refused(Refusal::Buried));
        assert_eq!(grove.verdict(), Verdict::Holds);
    }

    #[test]
    fn a_place_in_what_was_inherited_is_lawful_to_fork() {
        let mut grove = parted();
        grove.call("c", fork("b", 20, Some(1)), created(2)).reads("c", &[1, 20]);
        assert_eq!(grove.verdict(), Verdict::Holds);
        grove.reads("c", &[1, 2, 20]);
        assert!(grove.is_broken());
    }

    #[test]
    fn what_the_source_got_later_must_not_leak_in() {
        for leaks in [&[1, 2, 3, 10, 11][..], &[1, 2, 10, 11, 3], &[1, 3, 10, 11]] {
            let mut grove = parted();
            assert!(grove.reads("b", leaks).is_broken(), "{leaks:?}");
        }
        let mut grove = parted();
        assert!(grove.reads("a", &[1, 2, 11]).is_broken());
    }

    #[test]
    fn what_was_there_must_not_be_missing_or_change() {
        for lacks in [
            &[1, 10, 11][..],
            &[10, 11],
            &[2, 1, 10, 11],
            &[1, 2, 10],
            &[1, 2, 11, 10],
        ] {
            let mut grove = parted();
            assert!(grove.reads("b", lacks).is_broken(), "{lacks:?}");
        }
    }

    #[test]
    fn a_fork_that_was_not_deleted_is_found() {
        for why in [Refusal::NotFound, Refusal::Buried] {
            let mut grove = parted();
            grove.delete("a").call("b", read(), Ending::Refused(why));
            assert!(grove.is_broken());
        }
    }

    #[test]
    fn what_nobody_knows_may_be_there_or_not_and_then_stays() {
        let mut grove = Grove::new();
        grove.create("a", 1);
        grove.call("a", Op::Append(append(2)), Ending::Unknown("deadline".into()));
        grove.fork("b", "a", 10, 3).reads("b", &[1, 2, 10]).reads("a", &[1, 2]);
        assert_eq!(grove.verdict(), Verdict::Holds);
        grove.stores("a", 3).reads("a", &[1, 3]);
        assert!(grove.is_broken());
    }

    #[test]
    fn another_life_of_a_name_is_another_stream() {
        let mut grove = parted();
        grove.delete("b").fork("b", "a", 12, 4).reads("b", &[1, 2, 3, 12]);
        assert_eq!(grove.verdict(), Verdict::Holds);
        grove.reads("b", &[1, 2, 10, 11]);
        assert!(grove.is_broken());
    }
}
