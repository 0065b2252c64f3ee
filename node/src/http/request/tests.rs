//! Headers and queries, as tables.

use super::*;

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.append(
            HeaderName::from_static(name),
            HeaderValue::from_bytes(value.as_bytes()).unwrap(),
        );
    }
    headers
}

fn tuple(id: &str, epoch: u64, seq: u64) -> ProducerTuple {
    ProducerTuple {
        id: id.to_owned(),
        epoch,
        seq,
    }
}

#[test]
fn producer_headers_come_all_or_none_and_in_plain_digits() {
    let long = "x".repeat(257);
    let (id, epoch, seq) = ("producer-id", "producer-epoch", "producer-seq");
    type Given<'a> = Vec<(&'static str, &'a str)>;
    let table: Vec<(Given<'_>, Result<Option<ProducerTuple>, &str>)> = vec![
        (vec![], Ok(None)),
        (vec![(id, "p"), (epoch, "0"), (seq, "0")], Ok(Some(tuple("p", 0, 0)))),
        (vec![(id, "€"), (epoch, "7"), (seq, "12")], Ok(Some(tuple("€", 7, 12)))),
        (
            vec![(id, "p"), (epoch, "9007199254740991"), (seq, "0")],
            Ok(Some(tuple("p", (1 << 53) - 1, 0))),
        ),
        (
            vec![(id, "p"), (epoch, "9007199254740992"), (seq, "0")],
            Err("bad_producer"),
        ),
        (
            vec![(id, "p"), (epoch, "99999999999999999999999"), (seq, "0")],
            Err("bad_producer"),
        ),
        (vec![(id, "p")], Err("bad_producer")),
        (vec![(epoch, "0")], Err("bad_producer")),
        (vec![(id, "p"), (epoch, "0")], Err("bad_producer")),
        (vec![(id, ""), (epoch, "0"), (seq, "0")], Err("bad_producer")),
        (vec![(id, "p"), (epoch, "0"), (seq, "1abc")], Err("bad_producer")),
        (vec![(id, "p"), (epoch, "1e3"), (seq, "0")], Err("bad_producer")),
        (vec![(id, "p"), (epoch, "-1"), (seq, "0")], Err("bad_producer")),
        (vec![(id, "p"), (epoch, "+1"), (seq, "0")], Err("bad_producer")),
        (vec![(id, "p"), (epoch, ""), (seq, "0")], Err("bad_producer")),
        (vec![(id, &long), (epoch, "0"), (seq, "0")], Err("bad_producer")),
        (vec![(id, "p"), (id, "q"), (epoch, "0"), (seq, "0")], Err("bad_header")),
        (
            vec![(id, "p"), (epoch, "0"), (epoch, "0"), (seq, "0")],
            Err("bad_header"),
        ),
    ];
    for (given, expected) in table {
        let found = append(&headers(&given))
            .map(|append| append.producer)
            .map_err(|problem| problem.code);
        assert_eq!(found, expected, "{given:?}");
    }
}

#[test]
fn header_bytes_that_are_not_utf8_are_refused() {
    for name in ["producer-id", "stream-seq", "if-match"] {
        let mut headers = headers(&[("producer-epoch", "0"), ("producer-seq", "0")]);
        headers.insert(
            HeaderName::from_static(name),
            HeaderValue::from_bytes(b"a\xff").unwrap(),
        );
        assert_eq!(append(&headers).unwrap_err().status, 400, "{name}");
    }
}

#[test]
fn a_content_type_is_a_media_type_and_kept_as_spelled() {
    let table = [
        ("text/plain", true),
        ("TEXT/Plain; charset=UTF-8", true),
        ("application/vnd.x+json", true),
        ("text", false),
        ("/plain", false),
        ("text/", false),
        ("te xt/plain", false),
        ("", false),
        ("text/plain; x=\u{e9}", false),
    ];
    for (given, lawful) in table {
        let found = create(&headers(&[("content-type", given)]));
        assert_eq!(
            found.map(|create| create.content_type).ok().as_deref(),
            lawful.then_some(given),
            "{given}"
        );
    }
    assert_eq!(create(&HeaderMap::new()).unwrap().content_type, DEFAULT_CONTENT_TYPE);
}

#[test]
fn stream_closed_is_true_or_absent() {
    for (value, expected) in [
        ("true", Some(true)),
        ("TRUE", Some(true)),
        ("false", Some(false)),
        ("1", None),
    ] {
        let found = append(&headers(&[("stream-closed", value)]))
            .map(|append| append.close)
            .ok();
        assert_eq!(found, expected, "{value}");
    }
    assert!(!append(&HeaderMap::new()).unwrap().close);
}

#[test]
fn an_append_has_a_body_with_a_type_unless_it_only_closes() {
    let table = [
        (&[][..], 0, Err("empty_body")),
        (&[("content-type", "text/plain")][..], 0, Err("empty_body")),
        (&[("stream-closed", "true")][..], 0, Ok(None)),
        (
            &[("stream-closed", "true"), ("content-type", "nonsense")][..],
            0,
            Ok(None),
        ),
        (&[("stream-closed", "true")][..], 1, Err("missing_content_type")),
        (&[][..], 1, Err("missing_content_type")),
        (&[("content-type", "nonsense")][..], 1, Err("bad_content_type")),
        (
            &[("content-type", "text/plain")][..],
            1,
            Ok(Some("text/plain".to_owned())),
        ),
    ];
    for (given, len, expected) in table {
        let headers = headers(given);
        let found = typed(append(&headers).unwrap(), &headers, len);
        let found = found.map(|append| append.content_type).map_err(|problem| problem.code);
        assert_eq!(found, expected, "{given:?} {len}");
    }
}

#[test]
fn offsets_and_queries_mean_one_thing_or_are_refused() {
    let at = |offset| Ok(Whence::At(Offset(offset)));
    let table = [
        ("", Ok(Whence::Start)),
        ("?", Ok(Whence::Start)),
        ("?offset=-1", Ok(Whence::Start)),
        ("?offset=now", Ok(Whence::Now)),
        ("?offset=00000000000000000012", at(12)),
        ("?offset=0000000000000000_0000000000000007", at(7)),
        ("?offset=%2D1", Ok(Whence::Start)),
        ("?foo=bar&offset=-1&baz", Ok(Whence::Start)),
        ("?foo=1&foo=2", Ok(Whence::Start)),
        ("?offset=", Err("bad_offset")),
        ("?offset", Err("bad_offset")),
        ("?offset=0,1", Err("bad_offset")),
        ("?offset=0%201", Err("bad_offset")),
        ("?offset=0+1", Err("bad_offset")),
        ("?offset=12", Err("bad_offset")),
        ("?offset=NOW", Err("bad_offset")),
        ("?offset=a&offset=b", Err("bad_query")),
        ("?offset=-1&offset=-1", Err("bad_query")),
        ("?offset=%ff", Err("bad_query")),
        ("?consistency=local", Ok(Whence::Start)),
        ("?consistency=linearizable", Ok(Whence::Start)),
        ("?consistency=eventual", Err("bad_query")),
        ("?live=sse", Err("missing_offset")),
        ("?live=long-poll", Err("missing_offset")),
        ("?live=sse&offset=-1", Ok(Whence::Start)),
        ("?live=long-poll&offset=now&cursor=7", Ok(Whence::Now)),
        ("?live=sse&live=sse&offset=-1", Err("bad_query")),
        ("?live=carrier-pigeon&offset=-1", Err("bad_live")),
    ];
    for (query, expected) in table {
        let uri: Uri = format!("/v1/stream/s{query}").parse().unwrap();
        let found = read(&uri, &HeaderMap::new())
            .map(|read| read.whence)
            .map_err(|problem| problem.code);
        assert_eq!(found, expected, "{query}");
    }
    let uri: Uri = "/v1/stream/s?consistency=local".parse().unwrap();
    assert!(read(&uri, &HeaderMap::new()).unwrap().local);
}

#[test]
fn a_cursor_that_is_none_of_ours_says_nothing() {
    for (given, cursor) in [
        ("&cursor=7", Some(7)),
        ("&cursor=x", None),
        ("&cursor=", None),
        ("", None),
    ] {
        let uri: Uri = format!("/v1/stream/s?offset=-1&live=sse{given}").parse().unwrap();
        let mode = Mode::Sse;
        assert_eq!(
            read(&uri, &HeaderMap::new()).unwrap().live,
            Some(Ask { mode, cursor }),
            "{given}"
        );
    }
}

#[test]
fn conditions_given_twice_are_one_list() {
    let given = headers(&[("if-match", "\"1:0:2\""), ("if-match", "\"1:0:3\"")]);
    let expected = Condition::parse("\"1:0:2\", \"1:0:3\"").unwrap();
    assert_eq!(append(&given).unwrap().if_match, Some(expected));
    assert_eq!(
        append(&headers(&[("if-match", "no quotes")])).unwrap_err().code,
        "bad_condition"
    );
}
