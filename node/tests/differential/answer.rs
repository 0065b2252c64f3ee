//! What was answered, in words that can be compared, and how two answers differ.

use std::{collections::BTreeMap, fmt};

use serde_json::Value;

/// The headers that mean something, compared whenever either side sends them; and what the last control event of an answer
/// by events says.
const HEADERS: [&str; 15] = [
    "stream-up-to-date",
    "stream-closed",
    "producer-epoch",
    "producer-seq",
    "producer-expected-seq",
    "producer-received-seq",
    "stream-ttl",
    "stream-expires-at",
    "x-content-type-options",
    "stream-cursor",
    "stream-sse-data-encoding",
    "streamNextOffset",
    "streamCursor",
    "upToDate",
    "streamClosed",
];

/// The ones of a control event.
pub(crate) const CONTROL: [&str; 4] = ["streamNextOffset", "streamCursor", "upToDate", "streamClosed"];

/// An answer, with offsets replaced by when they were answered first. If it was by events, the body is what they carried.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: BTreeMap<&'static str, String>,
    pub(crate) body: Vec<u8>,
}

/// One way in which two answers differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Difference {
    /// `status`, `body`, or a header's name.
    pub(crate) aspect: &'static str,
    pub(crate) ours: String,
    pub(crate) theirs: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} here, {} there", self.aspect, self.ours, self.theirs)
    }
}

impl Answer {
    pub(crate) fn ok(&self) -> bool {
        (200..300).contains(&self.status)
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// The header names that are kept.
    pub(crate) fn kept_headers() -> impl Iterator<Item = &'static str> {
        HEADERS.into_iter().filter(|name| !CONTROL.contains(name)).chain([
            "content-type",
            "stream-next-offset",
            "location",
            "etag",
        ])
    }

    /// Everything in which `theirs` differs. Once the statuses differ nothing else is compared.
    pub(crate) fn differences(&self, theirs: &Self, is_head: bool) -> Vec<Difference> {
        let differing = |aspect, ours: Option<&str>, theirs: Option<&str>| {
            (ours != theirs).then(|| Difference {
                aspect,
                ours: ours.unwrap_or("nothing").to_owned(),
                theirs: theirs.unwrap_or("nothing").to_owned(),
            })
        };
        if self.status != theirs.status {
            let (ours, theirs) = (self.status.to_string(), theirs.status.to_string());
            return differing("status", Some(&ours), Some(&theirs)).into_iter().collect();
        }
        let mut found: Vec<Difference> = HEADERS
            .into_iter()
            .chain(["stream-next-offset"])
            .filter_map(|name| differing(name, self.header(name), theirs.header(name)))
            .collect();
        // What an error says is each server's own; so are the characters of a tag and of a URL's origin.
        if self.ok() {
            found.extend(differing(
                "content-type",
                self.header("content-type"),
                theirs.header("content-type"),
            ));
            found.extend(differing(
                "location",
                self.header("location"),
                theirs.header("location"),
            ));
            if !is_head && !same_body(self, theirs) {
                found.push(Difference {
                    aspect: "body",
                    ours: format!("{:?}", String::from_utf8_lossy(&self.body)),
                    theirs: format!("{:?}", String::from_utf8_lossy(&theirs.body)),
                });
            }
        }
        found
    }
}

/// The same bytes; in JSON the same value, for the text of a number or a blank is not part of it.
fn same_body(ours: &Answer, theirs: &Answer) -> bool {
    if ours.body == theirs.body {
        return true;
    }
    let is_json = ours
        .header("content-type")
        .is_some_and(|of| of.starts_with("application/json"));
    let value = |body: &[u8]| serde_json::from_slice::<Value>(body).ok();
    is_json && value(&ours.body).is_some() && value(&ours.body) == value(&theirs.body)
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.status)?;
        for (name, value) in &self.headers {
            write!(f, " {name}: {value};")?;
        }
        if !self.body.is_empty() {
            write!(f, " body {:?}", String::from_utf8_lossy(&self.body))?;
        }
        Ok(())
    }
}

/// The offsets, or the tags, that were answered for a stream, in order of their first appearance.
#[derive(Debug, Default, Clone)]
pub(crate) struct Offsets(Vec<String>);

impl Offsets {
    /// The name of an offset: the same for every server that answers the same.
    pub(crate) fn name(&mut self, offset: &str) -> String {
        let at = self.0.iter().position(|known| known == offset).unwrap_or_else(|| {
            self.0.push(offset.to_owned());
            self.0.len() - 1
        });
        format!("#{at}")
    }

    /// The offset that was answered so many offsets ago; the beginning if there were not so many.
    pub(crate) fn answered(&self, ago: usize) -> &str {
        let at = self.0.len().checked_sub(ago + 1);
        at.map_or("-1", |at| &self.0[at])
    }

    /// A new stream under the old name begins to count anew.
    pub(crate) fn forget(&mut self) {
        self.0.clear();
    }

    /// What a fork knows from the beginning: the offsets of its source up to where it begins, which are its own, too. As
    /// texts they grow as the stream does.
    pub(crate) fn up_to(&self, offset: Option<&str>) -> Self {
        let known = self
            .0
            .iter()
            .filter(|known| offset.is_none_or(|end| known.as_str() <= end));
        Self(known.cloned().collect())
    }
}
