//! In what Holdfast and the reference server differ, and why. `docs/differences.md` is printed from here.

use std::fmt::Write;

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
        ours: "`Stream-Next-Offset` (and `Stream-Closed`) on 409 wherever the stream is there",
        theirs: "only on 409 for a closed stream",
        reason: "who lost a race can read on from there without asking again",
        explains: |case| {
            case.ours.status == 409 && (case.only_ours("stream-next-offset") || case.only_ours("stream-closed"))
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
        asked: "a read with words that make no sense, of a stream that is not there",
        ours: "400",
        theirs: "404",
        reason: "a request is understood before anything is looked up",
        explains: |case| case.statuses(400, 404),
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
        ours: "400 `invalid_json`",
        theirs: "what those rules say: 204 (a repeat), 400, 403 or 409",
        reason: "a repeat whose body is broken is a mistake that should be seen; nothing is stored either way",
        explains: |case| {
            let is_json_fault = case.code("invalid_json") || case.code("empty_body");
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
mean something, bodies, and offsets by when they were first answered. Whatever differs and is not in this table fails it.
The table is printed from `node/tests/differential/known.rs` (`ci/differential/run --page`).

| asked | Holdfast | reference server | why |
|---|---|---|---|
";

const TAIL: &str = "
Not compared, because each server has its own: the text of errors (Holdfast's are JSON with a stable code), the characters of
offsets, tags and cursors (they are opaque), blanks and the text of numbers in JSON (Holdfast keeps a number as it was
written, the reference server prints it anew), and caching headers.
";
