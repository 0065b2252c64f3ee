//! What was found, for a person first: the law, the calls concerned, the last blows, how to see it again, how to keep it.

use std::fmt::Write;

use serde::Serialize;

use crate::history::{Answer, Ending, Event, History, Op, Refusal, Stored};
use crate::verdict::{Judgement, Verdict};

/// What the one who ran it knows besides the history.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Circumstances {
    /// The blows as struck: seconds of the run, and words.
    pub blows: Vec<(f64, String)>,
    /// The command that runs it again.
    pub again: String,
    /// The command that keeps it.
    pub keep: String,
}

/// All of it, for a machine.
#[derive(Clone, Debug, Serialize)]
pub struct Report<'a> {
    /// What every law said.
    pub judgements: &'a [Judgement],
    /// Calls by how they ended.
    pub tally: Tally,
    /// The calls that a broken law names.
    pub operations: Vec<&'a Event>,
    /// See there.
    #[serde(flatten)]
    pub circumstances: &'a Circumstances,
}

/// How many calls ended how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Appends, creates, deletes that were answered.
    pub writes_done: usize,
    /// Certainly not done.
    pub writes_refused: usize,
    /// Nobody knows.
    pub writes_unknown: usize,
    /// Answered reads and heads.
    pub reads_done: usize,
    /// The rest of them.
    pub reads_failed: usize,
}

impl Tally {
    /// Counts.
    #[must_use]
    pub fn of(history: &History) -> Self {
        let mut tally = Self::default();
        for event in &history.events {
            let count = match (event.writes(), &event.ending) {
                (true, Ending::Done(_)) => &mut tally.writes_done,
                (true, Ending::Refused(_)) => &mut tally.writes_refused,
                (true, _) => &mut tally.writes_unknown,
                (false, Ending::Done(_)) => &mut tally.reads_done,
                (false, _) => &mut tally.reads_failed,
            };
            *count += 1;
        }
        tally
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            writes_done,
            writes_refused,
            writes_unknown,
            reads_done,
            reads_failed,
        } = self;
        let all = writes_done + writes_refused + writes_unknown;
        write!(
            f,
            "{all} writes: {writes_done} answered, {writes_unknown} unknown, {writes_refused} refused · "
        )?;
        write!(f, "{} reads: {reads_done} answered", reads_done + reads_failed)
    }
}

/// The JSON form.
///
/// # Panics
/// Never: every part has a JSON form.
#[must_use]
pub fn to_json(history: &History, judgements: &[Judgement], circumstances: &Circumstances) -> String {
    let operations = concerned(history, judgements);
    let report = Report {
        judgements,
        tally: Tally::of(history),
        operations,
        circumstances,
    };
    serde_json::to_string(&report).expect("a report has a JSON form")
}

/// The form for a person.
#[must_use]
pub fn to_text(history: &History, judgements: &[Judgement], circumstances: &Circumstances) -> String {
    let mut out = format!("  {}\n", Tally::of(history));
    let holds: Vec<&str> = judgements
        .iter()
        .filter(|one| one.verdict.passes())
        .map(|one| one.law.as_str())
        .collect();
    if !holds.is_empty() {
        line(&mut out, format_args!("  holds  {}", holds.join(" · ")));
    }
    for Judgement { law, verdict } in judgements {
        match verdict {
            Verdict::Holds => {}
            Verdict::Unknown { because } => line(&mut out, format_args!("  UNKNOWN {law}: {because}")),
            Verdict::Broken { because, .. } => line(&mut out, format_args!("  BROKEN {law}: {because}")),
        }
    }
    for event in concerned(history, judgements) {
        line(&mut out, format_args!("    {}", in_words(event)));
    }
    if holds.len() < judgements.len() {
        let last = circumstances.blows.iter().rev().take(12).rev();
        let blows: Vec<String> = last.map(|(at, words)| format!("{at:.3} {words}")).collect();
        for (title, text) in [
            ("blows", blows.join(" · ")),
            ("again", circumstances.again.clone()),
            ("keep ", circumstances.keep.clone()),
        ] {
            if !text.is_empty() {
                line(&mut out, format_args!("  {title}   {text}"));
            }
        }
    }
    out
}

/// At most this many calls are shown.
const SHOWN_MAX: usize = 24;

fn concerned<'a>(history: &'a History, judgements: &[Judgement]) -> Vec<&'a Event> {
    let mut ids: Vec<u32> = judgements
        .iter()
        .filter_map(|one| match &one.verdict {
            Verdict::Broken { operations, .. } => Some(operations),
            _ => None,
        })
        .flatten()
        .copied()
        .collect();
    ids.sort_unstable();
    ids.dedup();
    ids.iter()
        .filter_map(|id| history.events.get(*id as usize))
        .take(SHOWN_MAX)
        .collect()
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    writeln!(out, "{text}").expect("a String takes all that is written");
}

/// One call on one line.
#[must_use]
pub fn in_words(event: &Event) -> String {
    let seconds = |ns: u64| ns as f64 / 1e9;
    let end = event
        .returned
        .map_or("never".into(), |at| format!("{:.6}", seconds(at.ns)));
    let Event {
        id,
        client,
        node,
        stream,
        invoked,
        ..
    } = event;
    let (op, ending) = (op_in_words(&event.op), ending_in_words(&event.ending));
    format!(
        "#{id} client {client} node {node} {:.6}..{end} {stream} {op}: {ending}",
        seconds(invoked.ns)
    )
}

fn op_in_words(op: &Op) -> String {
    match op {
        Op::Create(create) => format!("create{}", if create.closed { " closed" } else { "" }),
        Op::Append(append) => {
            let mut words = append
                .tag
                .map_or("close".into(), |tag| format!("append {tag} ({} bytes)", append.len));
            if append.close && append.tag.is_some() {
                words.push_str(" and close");
            }
            if let Some(producer) = &append.producer {
                let crate::history::Producer { id, epoch, seq } = producer;
                words.push_str(&format!(" as {id} epoch {epoch} seq {seq}"));
            }
            if let Some(seq) = &append.seq {
                words.push_str(&format!(" stream-seq {seq}"));
            }
            if let Some(etag) = &append.if_match {
                words.push_str(&format!(" if-match {etag}"));
            }
            words
        }
        Op::Fork(fork) => format!("fork {} as {}", fork.source, fork.tag),
        Op::Delete => "delete".into(),
        Op::Head => "head".into(),
        Op::Bucket(op) => format!("bucket {op:?}"),
        Op::Publish(publish) => format!("publish {} records at {}", publish.content.count, publish.offset),
        Op::Newest => "newest snapshot".into(),
        Op::Trim { offset } => format!("trim below {offset}"),
        Op::Read(read) if read.bootstrap => format!("bootstrap{}", if read.local { " locally" } else { "" }),
        Op::Read(read) => format!("read from {}{}", read.from, if read.local { " locally" } else { "" }),
    }
}

fn ending_in_words(ending: &Ending) -> String {
    let or = |text: &Option<String>| text.clone().unwrap_or("?".into());
    match ending {
        Ending::Open => "open".into(),
        Ending::Unknown(why) => format!("unknown ({why})"),
        Ending::Refused(Refusal::Fenced { epoch }) => format!("fenced by epoch {epoch}"),
        Ending::Refused(refusal) => format!("refused {refusal:?}"),
        Ending::Done(Answer::Deleted | Answer::Published) => "done".into(),
        Ending::Done(Answer::Trimmed { earliest }) => format!("done, begins at {earliest}"),
        Ending::Done(Answer::Newest { snapshot, .. }) => snapshot.as_ref().map_or("none".into(), |snapshot| {
            format!("{} records at {}", snapshot.content.count, snapshot.offset)
        }),
        Ending::Done(Answer::Bucket(saw)) => format!("{saw:?}"),
        Ending::Done(Answer::Created { new, next, .. }) => {
            format!("{}, ends at {}", if *new { "created" } else { "was there" }, or(next))
        }
        Ending::Done(Answer::Appended {
            stored: Stored::Before(seq),
            ..
        }) => format!("stored before (seq {seq})"),
        Ending::Done(Answer::Appended { next, .. }) => format!("done, ends at {}", or(next)),
        Ending::Done(Answer::Head { next, closed, .. }) => {
            format!("ends at {next}{}", if *closed { ", closed" } else { "" })
        }
        Ending::Done(Answer::Read(seen)) => {
            let last: Vec<String> = seen.tags.iter().rev().take(3).rev().map(ToString::to_string).collect();
            let dots = if seen.tags.len() > 3 { "… " } else { "" };
            let tail = if seen.up_to_date { ", the tail" } else { "" };
            let closed = if seen.closed { ", closed" } else { "" };
            let records = format!("{} records [{dots}{}]", seen.tags.len(), last.join(" "));
            format!("{records} up to {}{tail}{closed}", seen.next)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checker::{law, tale::Tale};
    use crate::verdict::judge;

    #[test]
    fn a_broken_law_is_shown_with_calls_blows_and_commands() {
        let mut tale = Tale::new();
        tale.create().stored(1).stored(2).reads(&[1]);
        let history = tale.history();
        let judgements = judge(&[law("acknowledged-appends-stay").unwrap()], &history);
        let circumstances = Circumstances {
            blows: vec![(40.811, "isolate n2".into())],
            again: "cargo sim run leader-churn --seed 8114".into(),
            keep: "cargo sim keep leader-churn 8114".into(),
        };
        let text = to_text(&history, &judgements, &circumstances);
        for part in [
            "BROKEN acknowledged-appends-stay",
            "append c1.2",
            "40.811 isolate n2",
            "--seed 8114",
            "sim keep",
        ] {
            assert!(text.contains(part), "{part} in\n{text}");
        }
        let json: serde_json::Value = serde_json::from_str(&to_json(&history, &judgements, &circumstances)).unwrap();
        assert_eq!(json["judgements"][0]["verdict"], "broken");
        assert_eq!(json["operations"][0]["id"], 2);
    }
}
