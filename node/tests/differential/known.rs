//! In what Holdfast and the reference server differ, and why. `docs/differences.md` is printed from here.

use std::fmt::Write;

use node::stream::same_content_type;

use crate::{
    answer::{Answer, Difference},
    step::{Place, Step},
};

/// One difference that stays.
pub(crate) struct Known {
    /// What is asked.
    pub(crate) asked: &'static str,
    pub(crate) ours: &'static str,
    pub(crate) theirs: &'static str,
    pub(crate) reason: &'static str,
    explains: fn(&Case<'_>) -> bool,
}

/// A difference and where it was seen.
pub(crate) struct Case<'a> {
    pub(crate) step: &'a Step,
    pub(crate) difference: &'a Difference,
    pub(crate) ours: &'a Answer,
    pub(crate) theirs: &'a Answer,
}

impl Case<'_> {
    /// Statuses, as `200 here, 400 there`.
    fn statuses(&self, ours: u16, theirs: u16) -> bool {
        self.difference.aspect == "status" && (self.ours.status, self.theirs.status) == (ours, theirs)
    }

    /// The header that only Holdfast sends.
    fn only_ours(&self, header: &str) -> bool {
        self.difference.aspect == header && self.theirs.header(header).is_none()
    }

    /// Whether our refusal has this code.
    fn code(&self, code: &str) -> bool {
        String::from_utf8_lossy(&self.ours.body).contains(&format!("\"code\":\"{code}\""))
    }

    /// Whether both name the same media type.
    fn same_type(&self) -> bool {
        let types = [self.ours, self.theirs].map(|answer| answer.header("content-type"));
        matches!(types, [Some(ours), Some(theirs)] if same_content_type(ours, theirs))
    }

    fn says(&self, header: &str, value: &str) -> bool {
        self.step.header(header) == Some(value)
    }
}

/// Which of the known differences this is.
pub(crate) fn known(case: &Case<'_>) -> Option<usize> {
    KNOWN.iter().position(|known| (known.explains)(case))
}

pub(crate) const KNOWN: &[Known] = &[
    Known {
        asked: "a read past the tail",
        ours: "400 `offset_beyond_tail`, with `Stream-Next-Offset`",
        theirs: "200 without a body, as if the reader had caught up",
        reason: "an offset that was never answered is a mistake; to take it for the tail would hide the loss of a stream",
        explains: |case| {
            let answered = case.statuses(400, 200) || case.statuses(400, 304);
            answered && matches!(case.step.place, Some(Place::Literal(_)))
        },
    },
    Known {
        asked: "a repeated append of a producer",
        ours: "204 with `Stream-Next-Offset`",
        theirs: "204 without it",
        reason: "PROTOCOL.md has it on every success, and clients insist",
        explains: |case| case.only_ours("stream-next-offset") && case.ours.status == 204,
    },
    Known {
        asked: "a write that is refused",
        ours: "`Stream-Next-Offset` (and `Stream-Closed`) on 409 wherever the stream is there, and on 400 for a fork beyond its source's tail",
        theirs: "only on 409 for a closed stream",
        reason: "who lost a race can read on from there without asking again",
        explains: |case| {
            let refused = case.ours.status == 409 || case.code("offset_beyond_tail");
            refused && (case.only_ours("stream-next-offset") || case.only_ours("stream-closed"))
        },
    },
    Known {
        asked: "a first append of a producer nobody knows, with `Producer-Seq` above 0",
        ours: "400 `producer_seq_not_zero`",
        theirs: "409, as a gap after nothing",
        reason: "an epoch begins at 0, the first one like any other: there is no append before it to send first",
        explains: |case| case.statuses(400, 409) && case.code("producer_seq_not_zero"),
    },
    Known {
        asked: "a close without a body that repeats the numbers of an append that did not close",
        ours: "204 as a repeat, without `Stream-Closed`: the stream is open",
        theirs: "204 with `Stream-Closed: true`, though its stream stays open, too",
        reason: "an answer says what is",
        explains: |case| {
            case.difference.aspect == "stream-closed" && case.ours.status == 204 && case.step.body.is_empty()
        },
    },
    Known {
        asked: "an append that a producer has no right to, and that is of another type or out of `Stream-Seq` order, too",
        ours: "the type is looked at first, then a repeat, then `Stream-Seq`, then the rest of the producer's rules",
        theirs: "the producer's rules come first",
        reason: "the order of PROTOCOL.md; either way nothing is stored",
        explains: |case| {
            case.step.header("producer-id").is_some()
                && case.ours.status == 409
                && (case.code("content_type_mismatch") || case.code("stream_seq_conflict"))
                && matches!(case.theirs.status, 204 | 400 | 403 | 409)
        },
    },
    Known {
        asked: "a request with words that make no sense, of a stream that is not there, or is there already",
        ours: "400",
        theirs: "404, 410, or 409 for a fork",
        reason: "a request is understood before anything is looked up",
        explains: |case| {
            let fork = case.step.fork.is_some() && case.code("bad_fork");
            case.statuses(400, 404) || case.statuses(400, 410) || fork && case.statuses(400, 409)
        },
    },
    Known {
        asked: "a read answered 304",
        ours: "with `Stream-Next-Offset`, `Stream-Up-To-Date` and `Stream-Closed`, as the 200 would have them",
        theirs: "with the tag alone",
        reason: "RFC 9110, 15.4.5: what a cache needs to go on",
        explains: |case| case.ours.status == 304 && case.only_ours(case.difference.aspect),
    },
    Known {
        asked: "PUT and GET of a stream that does not live for ever",
        ours: "`Stream-TTL` or `Stream-Expires-At` on the answer",
        theirs: "on HEAD only",
        reason: "who asks learns what was understood",
        explains: |case| case.only_ours("stream-ttl") || case.only_ours("stream-expires-at"),
    },
    Known {
        asked: "a body that is no JSON, where the rules of producers or of `Stream-Seq` refuse it, too",
        ours: "400 `invalid_json`, or 409 `stream_closed`",
        theirs: "what those rules say: 204 (a repeat), 400, 403 or 409",
        reason: "a repeat whose body is broken is a mistake that should be seen; nothing is stored either way",
        explains: |case| {
            let broken = serde_json::from_str::<serde_json::Value>(&case.step.body).is_err();
            let is_json_fault =
                case.code("invalid_json") || case.code("empty_body") || broken && case.code("stream_closed");
            let ruled = case.step.header("producer-id").is_some() || case.step.header("stream-seq").is_some();
            is_json_fault && ruled && matches!(case.theirs.status, 204 | 400 | 403 | 409)
        },
    },
    Known {
        asked: "PUT of a stream that is there, with a body that is no JSON",
        ours: "400 `invalid_json`",
        theirs: "200 or 409, without a look at the body",
        reason: "a request is understood before anything is looked up",
        explains: |case| {
            case.step.method == "PUT" && case.code("invalid_json") && matches!(case.theirs.status, 200 | 409)
        },
    },
    Known {
        asked: "a read with the tag of a stream that was deleted, and created again",
        ours: "200: another life, another tag",
        theirs: "304: a tag is made of path and offsets alone",
        reason: "bytes of another life are not what the client has",
        explains: |case| case.statuses(200, 304) && case.step.unless_same,
    },
    Known {
        asked: "PUT with `Content-Type: nonsense`",
        ours: "400 `bad_content_type`",
        theirs: "201, as `application/octet-stream`",
        reason: "what a client did not mean is not guessed at",
        explains: |case| case.ours.status == 400 && case.says("content-type", "nonsense"),
    },
    Known {
        asked: "`Stream-Closed: yes`",
        ours: "400 `bad_header`",
        theirs: "taken for absent",
        reason: "a client that means to close must not believe it has",
        explains: |case| case.ours.status == 400 && case.says("stream-closed", "yes"),
    },
    Known {
        asked: "`Stream-Closed: TRUE`",
        ours: "closes",
        theirs: "taken for absent",
        reason: "booleans are read in letters of either case, as other servers do",
        explains: |case| case.says("stream-closed", "TRUE"),
    },
    Known {
        asked: "`live=later`, or any other way to read that there is not",
        ours: "400 `bad_live`",
        theirs: "200: a plain read",
        reason: "who means to wait must not believe that nothing came",
        explains: |case| case.ours.status == 400 && case.step.live == Some("later"),
    },
    Known {
        asked: "a long-poll from `-1` of a stream without bytes",
        ours: "waits; then 204, or at once if the stream is closed",
        theirs: "200 without a body, at once",
        reason: "the beginning of an empty stream is its tail: nobody should ask in circles there",
        explains: |case| {
            let empty = matches!(&case.theirs.body[..], b"" | b"[]");
            let waits = case.step.live == Some("long-poll") && empty;
            waits && (case.statuses(204, 200) || case.statuses(204, 304))
        },
    },
    Known {
        asked: "a long-poll at the tail of a closed stream",
        ours: "204 with `Stream-Cursor`",
        theirs: "without",
        reason: "every answer to a long-poll has it; nobody needs this one",
        explains: |case| {
            case.only_ours("stream-cursor") && case.ours.status == 204 && case.ours.header("stream-closed").is_some()
        },
    },
    Known {
        asked: "a read by events",
        ours: "`Stream-Next-Offset` where the events begin",
        theirs: "in control events only",
        reason: "who asked for `now` knows where that was before anything comes",
        explains: |case| case.only_ours("stream-next-offset") && case.step.live == Some("sse"),
    },
    Known {
        asked: "PUT of a fork that is there, once more, without a `Content-Type` or a lifetime, which it took from its source",
        ours: "200: the same question",
        theirs: "409: what was not said is taken for `application/octet-stream` and for ever",
        reason: "who repeats a request whose answer was lost must get the same answer",
        explains: |case| {
            let inherits = |headers: &[&str]| headers.iter().all(|header| case.step.header(header).is_none());
            let fork = case.step.fork.is_some() && case.statuses(200, 409);
            fork && (inherits(&["content-type"]) || inherits(&["stream-ttl", "stream-expires-at"]))
        },
    },
    Known {
        asked: "PUT of a fork with its source's media type, spelled otherwise (`; charset=utf-8`)",
        ours: "the type as the source has it",
        theirs: "as it was sent",
        reason: "the bytes are the source's, and so is what they are",
        explains: |case| case.difference.aspect == "content-type" && case.step.fork.is_some() && case.same_type(),
    },
    Known {
        asked: "a close of a stream that was deleted and is kept for its forks",
        ours: "410",
        theirs: "204 (it is closed, unseen), or what the producer's rules say",
        reason: "a stream that is gone is gone for whoever asks",
        explains: |case| {
            let close = case.says("stream-closed", "true") && case.step.body.is_empty();
            close && case.ours.status == 410 && matches!(case.theirs.status, 204 | 400 | 403 | 409)
        },
    },
    Known {
        asked: "a read by events of text with a line that begins with a blank",
        ours: "every byte of a line",
        theirs: "without the first blank",
        reason: "readers of events take one blank off after `data:`, so one is added there",
        explains: |case| {
            let bare = |answer: &Answer| String::from_utf8_lossy(&answer.body).replace(' ', "");
            let text = case.ours.header("stream-sse-data-encoding").is_none();
            let by_events = case.difference.aspect == "body" && case.step.live == Some("sse");
            by_events && text && case.theirs.body.len() < case.ours.body.len() && bare(case.ours) == bare(case.theirs)
        },
    },
];

/// What `docs/differences.md` must say.
pub(crate) fn page() -> String {
    let mut page = String::from(HEAD);
    for known in KNOWN {
        let Known {
            asked,
            ours,
            theirs,
            reason,
            ..
        } = known;
        let _ = writeln!(page, "| {asked} | {ours} | {theirs} | {reason} |");
    }
    page.push_str(TAIL);
    page
}

const HEAD: &str = "\
# Differences from the reference server

`ci/differential/run` throws random sequences of requests at Holdfast, at the reference server of the Durable Streams
protocol (npm `@durable-streams/server` 0.3.7) and at Holdfast's law alone, and compares the answers: status, headers that
mean something, bodies, and offsets by when they were first answered. Streams are created, written whole or in chunks,
closed, read at once, by long-poll and by events, forked, deleted with and without forks, and made again. Whatever differs
and is not in this table fails it.
The table is printed from `node/tests/differential/known.rs` (`ci/differential/run --page`).

| asked | Holdfast | reference server | why |
|---|---|---|---|
";

const TAIL: &str = "
Not compared, because each server has its own: the text of errors (Holdfast's are JSON with a stable code), the characters of
offsets, tags and cursors (they are opaque), blanks and the text of numbers in JSON (Holdfast keeps a number as it was
written, the reference server prints it anew), in how many events data comes (it is taken together), and caching headers.
`If-Match` is Holdfast's own: what it refuses is held against the law alone.

In one thing both servers are laxer than the words of the protocol, which has the `Content-Type` of a create that is repeated
and of an append match the stream's: they compare type and subtype alone, without parameters. `fetch` adds `charset=UTF-8` to
every text it sends, so that a page could otherwise not append to a stream that was created as `text/plain` from a shell; and
bytes are stored as they come, so that a parameter changes none of them.
";
