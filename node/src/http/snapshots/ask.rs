//! What is asked beside a stream: `/{bucket}/{stream}/snapshot[/{offset}]`, `…/retention/{offset}`, `…/bootstrap`.

use http::{Method, header::IF_MATCH, request::Parts};

use super::super::{errors::Problem, request};
use crate::stream::{Condition, Offset, Whence};

/// What stands beside a stream in its bucket. (On the flat route the same words are part of a stream's name.)
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::http) enum Beside<'a> {
    /// `snapshot`: the newest.
    Newest,
    /// `snapshot/{offset}`
    At(&'a str),
    /// `retention/{offset}`: which bytes are kept.
    Retention(&'a str),
    /// `bootstrap`: the newest snapshot, and what came after it.
    Bootstrap,
}

impl<'a> Beside<'a> {
    /// What the segments after `/{bucket}/{stream}/` name, if anything.
    pub(in crate::http) fn of(segments: &[&'a str]) -> Option<Self> {
        match *segments {
            ["snapshot"] => Some(Self::Newest),
            ["snapshot", offset] => Some(Self::At(offset)),
            ["retention", offset] => Some(Self::Retention(offset)),
            ["bootstrap"] => Some(Self::Bootstrap),
            _ => None,
        }
    }
}

/// What a request wants of the snapshots of a stream.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::http) enum Ask {
    /// `PUT snapshot/{offset}`, without its body.
    Publish {
        offset: Offset,
        content_type: String,
        if_match: Option<Condition>,
    },
    /// `GET snapshot`
    Newest { local: bool },
    /// `GET snapshot/{offset}`
    Fetch { offset: Offset, local: bool },
    /// `DELETE snapshot/{offset}`
    Remove { offset: Offset },
    /// `PUT retention/{offset}`
    Trim { offset: Offset },
    /// `GET bootstrap`
    Bootstrap { local: bool },
}

/// Understands a request about the snapshots of a stream.
pub(in crate::http) fn ask(head: &Parts, beside: Beside<'_>) -> Result<Ask, Problem> {
    let Parts {
        method, uri, headers, ..
    } = head;
    let query = request::Query::of(uri)?;
    let local = query.local;
    let gets = method == Method::GET || method == Method::HEAD;
    Ok(match beside {
        Beside::Newest if gets => Ask::Newest { local },
        Beside::Newest => return Err(request::not_allowed("GET, HEAD, OPTIONS")),
        Beside::At(offset) if gets => Ask::Fetch {
            offset: place(offset)?,
            local,
        },
        Beside::At(offset) if method == Method::PUT => Ask::Publish {
            offset: place(offset)?,
            content_type: request::content_type(headers)?.unwrap_or_else(|| request::DEFAULT_CONTENT_TYPE.to_owned()),
            if_match: request::condition(headers, &IF_MATCH)?,
        },
        Beside::At(offset) if method == Method::DELETE => Ask::Remove { offset: place(offset)? },
        Beside::At(_) => return Err(request::not_allowed("GET, HEAD, PUT, DELETE, OPTIONS")),
        Beside::Retention(offset) if method == Method::PUT => Ask::Trim { offset: place(offset)? },
        Beside::Retention(_) => return Err(request::not_allowed("PUT, OPTIONS")),
        Beside::Bootstrap if gets && query.live.is_some() => {
            return Err(Problem::bad(
                "bad_live",
                "a bootstrap ends at the tail: read it, then read live from its Stream-Next-Offset",
            ));
        }
        Beside::Bootstrap if gets => Ask::Bootstrap { local },
        Beside::Bootstrap => return Err(request::not_allowed("GET, HEAD, OPTIONS")),
    })
}

/// The offset in a path: a place in the stream, not a word for one.
fn place(text: &str) -> Result<Offset, Problem> {
    match Offset::parse(text) {
        Ok(Whence::At(offset)) => Ok(offset),
        _ => Err(Problem::bad(
            "bad_offset",
            "a snapshot is at a Stream-Next-Offset that this server answered, unchanged: 20 digits",
        )),
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn asked(method: Method, target: &str) -> Result<Ask, u16> {
        let head = Request::builder()
            .method(method)
            .uri(target)
            .body(())
            .unwrap()
            .into_parts()
            .0;
        let segments: Vec<&str> = head.uri.path().split('/').skip(3).collect();
        let beside = Beside::of(&segments).ok_or(404_u16)?;
        ask(&head, beside).map_err(|problem| problem.status.as_u16())
    }

    #[test]
    fn what_is_asked_beside_a_stream() {
        let offset = Offset(42);
        let publish = Ask::Publish {
            offset,
            content_type: "application/octet-stream".to_owned(),
            if_match: None,
        };
        let at = "/some-bucket/log/snapshot/00000000000000000042";
        let kept = "/some-bucket/log/retention/00000000000000000042";
        let table = [
            (
                Method::GET,
                "/some-bucket/log/snapshot",
                Ok(Ask::Newest { local: false }),
            ),
            (Method::PUT, "/some-bucket/log/snapshot", Err(405)),
            (Method::PUT, at, Ok(publish)),
            (Method::GET, at, Ok(Ask::Fetch { offset, local: false })),
            (Method::DELETE, at, Ok(Ask::Remove { offset })),
            (Method::POST, at, Err(405)),
            (Method::GET, "/some-bucket/log/snapshot/-1", Err(400)),
            (Method::PUT, "/some-bucket/log/snapshot/now", Err(400)),
            (Method::PUT, "/some-bucket/log/snapshot/42", Err(400)),
            (Method::PUT, "/some-bucket/log/snapshot/", Err(400)),
            (Method::GET, "/some-bucket/log/snapshot/1/2", Err(404)),
            (Method::PUT, kept, Ok(Ask::Trim { offset })),
            (Method::GET, kept, Err(405)),
            (
                Method::GET,
                "/some-bucket/log/bootstrap?consistency=local",
                Ok(Ask::Bootstrap { local: true }),
            ),
            (Method::GET, "/some-bucket/log/bootstrap?live=sse", Err(400)),
            (Method::PUT, "/some-bucket/log/bootstrap", Err(405)),
            (Method::GET, "/some-bucket/log/other", Err(404)),
        ];
        for (method, target, expected) in table {
            assert_eq!(asked(method.clone(), target), expected, "{method} {target}");
        }
    }
}
