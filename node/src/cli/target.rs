//! From what a person types to a URL.

use http::Uri;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use super::call::Failure;

/// What cannot stand in a path as it is.
const IN_PATH: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'`')
    .add(b'{')
    .add(b'}')
    .add(b'\\')
    .add(b'^')
    .add(b'|')
    .add(b'[')
    .add(b']');

/// What cannot stand in a value of a query as it is.
const IN_QUERY: &AsciiSet = &IN_PATH
    .add(b'&')
    .add(b'+')
    .add(b'=')
    .add(b'/')
    .add(b':')
    .add(b'@')
    .add(b',')
    .add(b';');

/// The URL of a stream: a whole URL as it is, a path with a slash in front on the server as it is, anything else below
/// `/v1/stream/`, with what must be percent-encoded.
pub(super) fn stream(server: &str, typed: &str) -> Result<Uri, Failure> {
    if typed.contains("://") {
        return url(typed.to_owned());
    }
    let server = server.trim_end_matches('/');
    if typed.starts_with('/') {
        return url(format!("{server}{typed}"));
    }
    if typed.is_empty() {
        return Err(Failure::misused("the stream has no name"));
    }
    url(format!("{server}/v1/stream/{}", utf8_percent_encode(typed, IN_PATH)))
}

/// The URL of a bucket's list.
pub(super) fn list(server: &str, bucket: &str, query: &[(&str, &str)]) -> Result<Uri, Failure> {
    let server = server.trim_end_matches('/');
    let path = format!("{server}/{}/streams", utf8_percent_encode(bucket, IN_PATH));
    with(&url(path)?, query)
}

/// The same URL with more parameters.
pub(super) fn with(target: &Uri, query: &[(&str, &str)]) -> Result<Uri, Failure> {
    let mut text = target.to_string();
    let mut sign = if text.contains('?') { '&' } else { '?' };
    for (name, value) in query {
        text.push(sign);
        text.push_str(name);
        text.push('=');
        text.extend(utf8_percent_encode(value, IN_QUERY));
        sign = '&';
    }
    url(text)
}

fn url(text: String) -> Result<Uri, Failure> {
    match text.parse::<Uri>() {
        Ok(uri) if matches!(uri.scheme_str(), Some("http" | "https")) && uri.authority().is_some() => Ok(uri),
        _ => Err(Failure::misused(format!(
            "{text} is no URL: write http://host:port or https://host"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_becomes_a_url() {
        let table = [
            ("log", Some("http://h:1/v1/stream/log")),
            ("a/b c?", Some("http://h:1/v1/stream/a/b%20c%3F")),
            ("ü", Some("http://h:1/v1/stream/%C3%BC")),
            ("/bucket/log", Some("http://h:1/bucket/log")),
            ("http://other:2/x/y", Some("http://other:2/x/y")),
            ("https://other/x", Some("https://other/x")),
            ("ftp://other/x", None),
            ("", None),
        ];
        for (typed, expected) in table {
            let found = stream("http://h:1/", typed).ok().map(|uri| uri.to_string());
            assert_eq!(found.as_deref(), expected, "{typed}");
        }
        let target = stream("http://h:1", "log").unwrap();
        let with = with(&target, &[("offset", "-1"), ("prefix", "a&b=c")]).unwrap();
        assert_eq!(with.to_string(), "http://h:1/v1/stream/log?offset=-1&prefix=a%26b%3Dc");
        assert!(stream("nonsense", "log").is_err());
    }
}
