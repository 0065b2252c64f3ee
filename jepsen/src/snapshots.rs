//! How the judge's clients publish snapshots and begin with them.
//!
//! A snapshot here holds the tags of all records before its offset, each as the shortest record with that tag. So a
//! bootstrap tells the whole stream from its beginning: it is recorded as a read of all of it, and judged as one. What
//! else must hold of it is [`snapshots_stand_for_what_came_before`](crate::checker::snapshots_stand_for_what_came_before).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response};

use crate::client::{BEGINNING, Client, Cursor, error_code, is_true, never_left, not_done, text};
use crate::format::{Format, messages};
use crate::history::{Answer, Ending, Op, Publish, Read, Refusal, Seen, Snapshot};
use crate::record::{self, Content, LEN_MIN, Parser, Tag};

/// Everything of a stream up to some offset, as one client read it.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// Its records.
    pub tags: Vec<Tag>,
    /// Where they end.
    pub offset: String,
    /// What the answer was tagged with.
    pub etag: String,
}

/// The blob that stands for these records.
#[must_use]
pub fn blob(tags: &[Tag]) -> Bytes {
    let records: Vec<Bytes> = tags.iter().map(|tag| record::body(*tag, LEN_MIN)).collect();
    records.concat().into()
}

/// What these records are in all.
#[must_use]
pub fn content(tags: &[Tag]) -> Content {
    tags.iter().fold(Content::default(), |content, tag| content.then(*tag))
}

impl Client {
    /// Publishes what is known as a snapshot, if the stream is still the one it is known of, with a pause in the middle of
    /// the upload: much may happen to the stream, and to whoever takes the upload, before it is whole.
    pub async fn publish(&self, node: usize, stream: &Arc<str>, known: &Known, pause: Duration) -> Ending {
        let publish = Publish {
            offset: known.offset.clone(),
            content: content(&known.tags),
        };
        let request = Request::builder()
            .method(Method::PUT)
            .uri(format!("{}/snapshot/{}", beside(stream), known.offset))
            .header("If-Match", &known.etag);
        self.call_pausing(node, stream, Op::Publish(publish), request, blob(&known.tags), pause)
            .await
    }

    /// Lets go of what lies before an offset.
    pub async fn trim(&self, node: usize, stream: &Arc<str>, offset: &str) -> Ending {
        let request = Request::builder()
            .method(Method::PUT)
            .uri(format!("{}/retention/{offset}", beside(stream)));
        let offset = offset.to_owned();
        self.call(node, stream, Op::Trim { offset }, request, Bytes::new())
            .await
    }

    /// Asks for the newest snapshot, and fetches it.
    pub async fn newest(&self, node: usize, stream: &Arc<str>) -> Ending {
        let id = self
            .recorder
            .invoke(self.id, node, stream, Op::Newest, self.transport.now_ns());
        let ending = match self.get(node, format!("{}/snapshot", beside(stream))).await {
            Ok(found) if found.status().as_u16() == 307 => {
                let location = text(found.headers(), "Location").unwrap_or_default();
                let path = location.split_once("://").map_or(&location[..], |(_, rest)| rest);
                let path = path.find('/').map_or("/", |at| &path[at..]).to_owned();
                match self.get(node, path).await {
                    Ok(fetched) if fetched.status().as_u16() == 200 => newest(&fetched),
                    // A newer one has replaced it meanwhile; or it went with its stream.
                    Ok(other) if other.status().as_u16() == 404 => {
                        let (status, code) = (404, "replaced_meanwhile".into());
                        Ending::Refused(Refusal::Other { status, code })
                    }
                    Ok(other) => not_done(&Op::Newest, &other),
                    Err(ending) => ending,
                }
            }
            Ok(none) if error_code(none.body()) == "snapshot_not_found" => Ending::Done(Answer::Newest {
                snapshot: None,
                garbage: None,
            }),
            Ok(other) => not_done(&Op::Newest, &other),
            Err(ending) => ending,
        };
        self.recorder.end(id, ending.clone(), self.transport.now_ns());
        ending
    }

    /// The newest snapshot and all that came after it: what the stream is, and a cursor behind it.
    pub async fn bootstrap(
        &mut self,
        node: usize,
        stream: &Arc<str>,
        local: bool,
    ) -> (Ending, Option<(Known, Cursor)>) {
        let session = self.session();
        let read = Read {
            from: BEGINNING.into(),
            local,
            session,
            before: Some(Content::default()),
            bootstrap: true,
            live: None,
        };
        let id = self
            .recorder
            .invoke(self.id, node, stream, Op::Read(read), self.transport.now_ns());
        let consistency = if local { "?consistency=local" } else { "" };
        let (ending, known) = match self
            .get(node, format!("{}/bootstrap{consistency}", beside(stream)))
            .await
        {
            Ok(answer) if answer.status().as_u16() == 200 => bootstrapped(stream, &answer),
            Ok(other) => (not_done(&Op::Head, &other), None),
            Err(ending) => (ending, None),
        };
        self.recorder.end(id, ending.clone(), self.transport.now_ns());
        let known = known.map(|known| {
            let cursor = Cursor::behind(&known.offset, session, content(&known.tags));
            (known, cursor)
        });
        (ending, known)
    }

    async fn get(&self, node: usize, uri: String) -> Result<Response<Bytes>, Ending> {
        let request = Request::builder().method(Method::GET).uri(uri).body(Bytes::new());
        let request = request.map_err(|error| never_left(&error))?;
        match self.transport.call(node, request, self.deadline).await {
            Ok(response) => Ok(response),
            Err(error) if error.sent => Err(Ending::Unknown(error.why)),
            Err(_) => Err(Ending::Refused(Refusal::NotSent)),
        }
    }
}

/// The other shape of a stream's URL, beside which its snapshots are.
fn beside(stream: &str) -> String {
    if stream.contains('/') {
        format!("/{stream}")
    } else {
        format!("/_default/{stream}")
    }
}

fn newest(response: &Response<Bytes>) -> Ending {
    let Some(offset) = text(response.headers(), "Stream-Snapshot-Offset") else {
        return Ending::Unknown("the answer has no Stream-Snapshot-Offset".into());
    };
    let (tags, garbage) = records(Format::Bytes, response.body());
    Ending::Done(Answer::Newest {
        snapshot: Some(Snapshot {
            offset,
            content: content(&tags),
        }),
        garbage,
    })
}

/// All records of some bytes, and what else there is.
fn records(format: Format, bytes: &[u8]) -> (Vec<Tag>, Option<String>) {
    let mut parser = Parser::default();
    match parser.take_as(format, bytes) {
        Ok(tags) if parser.inside_a_record() => (tags, Some("it ends inside a record".into())),
        Ok(tags) => (tags, None),
        Err(garbage) => (Vec::new(), Some(garbage.to_string())),
    }
}

fn bootstrapped(stream: &str, response: &Response<Bytes>) -> (Ending, Option<Known>) {
    let headers = response.headers();
    let lacks = |what: &str| (Ending::Unknown(format!("the answer has no {what}")), None);
    let Some(next) = text(headers, "Stream-Next-Offset") else {
        return lacks("Stream-Next-Offset");
    };
    let Some(at) = text(headers, "Stream-Snapshot-Offset") else {
        return lacks("Stream-Snapshot-Offset");
    };
    let Some(parts) = parts(headers, response.body()) else {
        return lacks("parts that can be told apart");
    };
    let (mut tags, mut garbage) = records(Format::Bytes, parts.first().copied().unwrap_or_default());
    let snapshot = (at != "none").then(|| Snapshot {
        offset: at,
        content: content(&tags),
    });
    for (number, part) in parts.iter().enumerate().skip(1) {
        let (found, foreign) = match Format::of(stream) {
            // One message is an array of one, once it is put into brackets.
            Format::Json => match messages(&[&b"["[..], part, b"]"].concat()) {
                Ok(tags) => (tags, None),
                Err(garbage) => (Vec::new(), Some(garbage.to_string())),
            },
            format => records(format, part),
        };
        let alone = (found.len() != 1 && foreign.is_none()).then(|| format!("{} records, not one", found.len()));
        garbage = garbage.or(foreign.or(alone).map(|what| format!("part {number}: {what}")));
        tags.extend(found);
    }
    let closed = is_true(headers, "Stream-Closed");
    let after = content(&tags);
    let known = Known {
        tags: tags.clone(),
        offset: next.clone(),
        etag: text(headers, "ETag").unwrap_or_default(),
    };
    let seen = Seen {
        // Everything up to there was told, whatever it took to tell it.
        bytes: next.parse().unwrap_or(0),
        next,
        up_to_date: is_true(headers, "Stream-Up-To-Date"),
        closed,
        tags,
        after: Some(after),
        inside_a_record: false,
        garbage,
        snapshot,
        heard_ns: None,
    };
    (Ending::Done(Answer::Read(seen)), Some(known))
}

/// The contents of a multipart answer; `None` if it is not one, or not whole.
fn parts<'a>(headers: &HeaderMap, body: &'a [u8]) -> Option<Vec<&'a [u8]>> {
    let kind = text(headers, "Content-Type")?;
    let boundary = kind.strip_prefix("multipart/mixed; boundary=")?;
    let delimiter = format!("\r\n--{boundary}");
    let mut rest = body.strip_prefix(&delimiter.as_bytes()[2..])?;
    let mut parts = Vec::new();
    loop {
        if rest == b"--\r\n" {
            return Some(parts);
        }
        let head = find(rest, b"\r\n\r\n")?;
        let content = &rest[head + 4..];
        let end = find(content, delimiter.as_bytes())?;
        parts.push(&content[..end]);
        rest = &content[end + delimiter.len()..];
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Tag = Tag { client: 1, number: 1 };
    const B: Tag = Tag { client: 1, number: 2 };

    fn answer(at: &str, parts: &[Bytes]) -> Response<Bytes> {
        let mut body = Vec::new();
        for part in parts {
            body.extend_from_slice(b"--xyz\r\nContent-Type: a/b\r\n\r\n");
            body.extend_from_slice(part);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(b"--xyz--\r\n");
        Response::builder()
            .header("Content-Type", "multipart/mixed; boundary=xyz")
            .header("Stream-Next-Offset", "100")
            .header("Stream-Snapshot-Offset", at)
            .header("Stream-Up-To-Date", "true")
            .body(body.into())
            .unwrap()
    }

    fn seen(response: &Response<Bytes>) -> Seen {
        match bootstrapped("log-0", response).0 {
            Ending::Done(Answer::Read(seen)) => seen,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_bootstrap_is_a_read_from_the_beginning() {
        let seen = seen(&answer("40", &[blob(&[A]), record::body(B, 60)]));
        assert_eq!((seen.tags, seen.garbage, seen.bytes), (vec![A, B], None, 100));
        assert_eq!(seen.after, Some(content(&[A, B])));
        let snapshot = seen.snapshot.unwrap();
        assert_eq!((&snapshot.offset[..], snapshot.content), ("40", content(&[A])));
    }

    #[test]
    fn without_a_snapshot_the_first_part_is_empty() {
        let seen = seen(&answer("none", &[Bytes::new(), record::body(A, 100)]));
        assert_eq!((seen.tags, seen.garbage, seen.snapshot), (vec![A], None, None));
    }

    #[test]
    fn parts_that_are_not_one_append_are_garbage() {
        let two = [record::body(A, 40), record::body(B, 60)].concat();
        let half = record::body(A, 100).slice(..50);
        for part in [two.into(), half, Bytes::new()] {
            assert!(seen(&answer("none", &[Bytes::new(), part])).garbage.is_some());
        }
    }

    #[test]
    fn an_answer_that_is_cut_off_is_none() {
        let whole = answer("40", &[blob(&[A]), record::body(B, 60)]);
        for len in 0..whole.body().len() {
            let mut cut = answer("40", &[]);
            *cut.body_mut() = whole.body().slice(..len);
            assert!(
                matches!(bootstrapped("log-0", &cut).0, Ending::Unknown(_)),
                "cut to {len}"
            );
        }
    }
}
