//! One request, one ending: done, refused, misused, or nobody knows.

use std::{fmt, io, path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, Uri};
use http_body_util::Full;
use net::serve::{CallError, Client, ClientOptions, Pieces, Trouble};
use serde_json::{Value, json};

use super::tls::Tls;

/// How long an answer may take to begin. Longer than servers wait in a long-poll.
pub(super) const PATIENCE: Duration = Duration::from_secs(90);

/// Our code for output that nobody reads any more.
const CLOSED_PIPE: &str = "closed_pipe";

/// The largest answer that is taken whole.
const ANSWER_BYTES_MAX: usize = 1 << 30;

/// Why a command did not do what was asked.
#[derive(Debug, Clone)]
pub(super) struct Failure {
    kind: Kind,
    /// The server's stable code, or ours.
    code: String,
    message: String,
    status: Option<u16>,
    /// Appends are missing before this one.
    gap: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Refused,
    Misused,
    Unknown,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.status {
            Some(status) => write!(f, "{} ({status} {})", self.message, self.code),
            None => f.write_str(&self.message),
        }
    }
}

impl Failure {
    fn new(kind: Kind, code: &str, message: impl Into<String>) -> Self {
        Self {
            kind,
            code: code.to_owned(),
            message: message.into(),
            status: None,
            gap: false,
        }
    }

    /// The command line makes no sense.
    pub(super) fn misused(message: impl Into<String>) -> Self {
        Self::new(Kind::Misused, "usage", message)
    }

    /// It certainly did not happen.
    pub(super) fn refused(code: &str, message: impl Into<String>) -> Self {
        Self::new(Kind::Refused, code, message)
    }

    /// Something between us and our own input or output.
    pub(super) fn local(error: impl Into<io::Error>) -> Self {
        let error = error.into();
        let code = match error.kind() {
            io::ErrorKind::BrokenPipe => CLOSED_PIPE,
            _ => "input_output",
        };
        Self::new(Kind::Refused, code, error.to_string())
    }

    /// There is no answer. What only looks (`safe`) changed nothing, whether it was heard or not.
    pub(super) fn unanswered(error: &CallError, safe: bool) -> Self {
        if error.sent && !safe {
            Self::new(
                Kind::Unknown,
                "no_answer",
                format!("nobody knows whether it happened: {error}"),
            )
        } else if matches!(&error.trouble, Trouble::Connect(because) if because.kind() == io::ErrorKind::InvalidData) {
            // Not "unreachable": it will be no better the next time.
            Self::new(Kind::Refused, "not_trusted", error.to_string())
        } else {
            Self::new(Kind::Refused, "unreachable", error.to_string())
        }
    }

    /// What a server answered that is not what was asked for.
    pub(super) fn answered(status: u16, headers: &HeaderMap, body: &[u8]) -> Self {
        let parsed: Option<Value> = serde_json::from_slice(body).ok();
        let text = |name: &str| Some(parsed.as_ref()?.get("error")?.get(name)?.as_str()?.to_owned());
        let plain = || {
            let text: String = String::from_utf8_lossy(body).trim().chars().take(200).collect();
            if text.is_empty() {
                "the server says no more than that".to_owned()
            } else {
                text
            }
        };
        Self {
            kind: if status == 504 { Kind::Unknown } else { Kind::Refused },
            code: text("code").unwrap_or_else(|| "answer".to_owned()),
            message: text("message").unwrap_or_else(plain),
            status: Some(status),
            gap: status == 409 && headers.contains_key("producer-expected-seq"),
        }
    }

    /// The same of a HEAD, whose answer has no body to say why.
    pub(super) fn of_head(mut self) -> Self {
        if self.status == Some(404) {
            self.code = "stream_not_found".to_owned();
            self.message = "there is no such stream: create it first".to_owned();
        }
        self
    }

    /// The same of a list, which the protocol does not have: a server that does not know of buckets says so in no words.
    pub(super) fn of_list(mut self) -> Self {
        if matches!(self.status, Some(404 | 405 | 501)) && self.code == "answer" {
            self.code = "no_list".to_owned();
            self.message = "this server lists no streams: not every server of the protocol has buckets".to_owned();
        }
        self
    }

    /// The same, with what came before it.
    pub(super) fn after(mut self, before: &str) -> Self {
        self.message = format!("{before} was not: {}", self.message);
        self
    }

    /// Whether appends of the same producer are missing before this one.
    pub(super) fn is_gap(&self) -> bool {
        self.gap
    }

    /// Whether nobody reads what is printed any more.
    pub(super) fn is_closed_pipe(&self) -> bool {
        self.code == CLOSED_PIPE
    }

    /// 0 done, 1 refused, 2 used wrongly, 3 unknown.
    pub(super) fn exit_code(&self) -> u8 {
        match self.kind {
            Kind::Refused => 1,
            Kind::Misused => 2,
            Kind::Unknown => 3,
        }
    }

    /// Whether asking again may help.
    pub(super) fn may_pass(&self) -> bool {
        match (self.kind, self.status) {
            (Kind::Unknown, _) => true,
            (_, Some(status)) => status == 408 || status == 429 || status >= 500 && status != 501,
            (_, None) => self.code == "unreachable",
        }
    }

    /// For machines.
    pub(super) fn to_json(&self) -> Value {
        let ended = match self.kind {
            Kind::Refused => "refused",
            Kind::Misused => "misused",
            Kind::Unknown => "unknown",
        };
        json!({ "ended": ended, "status": self.status, "code": self.code, "message": self.message })
    }
}

/// The server, and how to talk about it.
pub(super) struct Remote {
    pub(super) url: String,
    /// `--json`.
    pub(super) json: bool,
    client: Client,
}

impl Remote {
    /// `ca_file` holds the certificates to trust, if not those of the system.
    pub(super) fn new(url: String, json: bool, ca_file: Option<&Path>) -> Result<Self, Failure> {
        let options = ClientOptions {
            idle_max: 256,
            answer_bytes_max: ANSWER_BYTES_MAX,
            ..ClientOptions::default()
        };
        let tls = Tls::new(ca_file)?;
        Ok(Self {
            url,
            json,
            client: Client::with_tls(options, Some(Arc::new(tls))),
        })
    }

    /// Asks, and takes a success whole.
    pub(super) async fn call(
        &self,
        method: Method,
        target: &Uri,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Result<Response<Bytes>, Failure> {
        let safe = method.is_safe();
        let request = request(method, target, headers, body)?;
        let answer = self.client.call(request, PATIENCE).await;
        let answer = answer.map_err(|error| Failure::unanswered(&error, safe))?;
        if answer.status().is_success() {
            Ok(answer)
        } else {
            Err(Failure::answered(
                answer.status().as_u16(),
                answer.headers(),
                answer.body(),
            ))
        }
    }

    /// Asks for a body that is taken piece by piece.
    pub(super) async fn open(&self, target: &Uri) -> Result<Response<Pieces>, Failure> {
        let request = request(Method::GET, target, &[], Bytes::new())?;
        let answer = self.client.open(request, PATIENCE).await;
        let mut answer = answer.map_err(|error| Failure::unanswered(&error, true))?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        let mut body = Vec::new();
        while let Ok(Some(piece)) = answer.body_mut().next(Duration::from_secs(5)).await {
            body.extend_from_slice(&piece);
            if body.len() > 1 << 16 {
                break;
            }
        }
        Err(Failure::answered(answer.status().as_u16(), answer.headers(), &body))
    }
}

fn request(
    method: Method,
    target: &Uri,
    headers: &[(&str, &str)],
    body: Bytes,
) -> Result<Request<Full<Bytes>>, Failure> {
    let mut request = Request::builder().method(method).uri(target);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request
        .body(Full::new(body))
        .map_err(|error| Failure::misused(format!("{error}: is there a letter that no header may hold?")))
}

/// A header's value, if it can be read.
pub(super) fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_become_exit_codes_and_sentences() {
        let none = HeaderMap::new();
        let body = br#"{"error":{"code":"stream_closed","message":"it is closed"}}"#;
        let table = [
            (
                Failure::answered(409, &none, body),
                1,
                false,
                "it is closed (409 stream_closed)",
            ),
            (
                Failure::answered(504, &none, b""),
                3,
                true,
                "the server says no more than that (504 answer)",
            ),
            (Failure::answered(503, &none, b"busy"), 1, true, "busy (503 answer)"),
            (Failure::answered(501, &none, b"no"), 1, false, "no (501 answer)"),
            (Failure::misused("what?"), 2, false, "what?"),
        ];
        for (failure, exit_code, may_pass, said) in table {
            assert_eq!(
                (failure.exit_code(), failure.may_pass()),
                (exit_code, may_pass),
                "{failure}"
            );
            assert_eq!(failure.to_string(), said);
        }
    }
}
