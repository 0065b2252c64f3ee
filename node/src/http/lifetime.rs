//! How long a stream lives and what it forgets, as headers: asked for by PUT, told by PUT, GET and HEAD.

use http::{HeaderMap, HeaderName, HeaderValue};

use super::{answer::value, errors::Problem, moment, request::single};
use crate::stream::{Lifetime, PRODUCER_NUMBER_MAX, Retention};

pub(super) const STREAM_TTL: HeaderName = HeaderName::from_static("stream-ttl");
pub(super) const STREAM_EXPIRES_AT: HeaderName = HeaderName::from_static("stream-expires-at");
pub(super) const STREAM_RETENTION_AGE: HeaderName = HeaderName::from_static("stream-retention-age");
pub(super) const STREAM_RETENTION_BYTES: HeaderName = HeaderName::from_static("stream-retention-bytes");

/// `Stream-TTL` or `Stream-Expires-At`, as PUT may send them.
pub(super) fn lifetime(headers: &HeaderMap) -> Result<Lifetime, Problem> {
    let ttl = single(headers, &STREAM_TTL)?;
    let expires_at = single(headers, &STREAM_EXPIRES_AT)?;
    match (ttl, expires_at) {
        (None, None) => Ok(Lifetime::Forever),
        (Some(ttl), None) => match number(ttl) {
            Some(seconds) => Ok(Lifetime::Window { ms: seconds * 1000 }),
            None => Err(Problem::bad(
                "bad_ttl",
                "Stream-TTL is whole seconds from 0 to 2^53-1, in digits without sign or leading zeros",
            )),
        },
        (None, Some(moment)) => match moment.to_str().ok().and_then(moment::parse) {
            Some(ms) => Ok(Lifetime::Until { ms }),
            None => Err(Problem::bad(
                "bad_expires_at",
                "Stream-Expires-At is a moment as in 2026-07-01T12:00:00Z or 2026-07-01T14:00:00.000+02:00",
            )),
        },
        (Some(_), Some(_)) => Err(Problem::bad(
            "bad_ttl",
            "Stream-TTL and Stream-Expires-At exclude each other: send one",
        )),
    }
}

/// `Stream-Retention-Age` (seconds) and `Stream-Retention-Bytes`, as PUT may send them.
pub(super) fn retention(headers: &HeaderMap) -> Result<Retention, Problem> {
    let positive = |name: &HeaderName| match single(headers, name)? {
        None => Ok(None),
        Some(sent) => match number(sent) {
            Some(number) if number > 0 => Ok(Some(number)),
            _ => Err(Problem::bad(
                "bad_retention",
                format!("{name} is a whole number from 1 to 2^53-1, in digits without sign or leading zeros"),
            )),
        },
    };
    Ok(Retention {
        age_ms: positive(&STREAM_RETENTION_AGE)?.map(|seconds| seconds * 1000),
        bytes: positive(&STREAM_RETENTION_BYTES)?,
    })
}

/// Adds what a stream was created with.
pub(super) fn put_lifetime(headers: &mut HeaderMap, lifetime: Lifetime) {
    match lifetime {
        Lifetime::Forever => {}
        Lifetime::Window { ms } => drop(headers.insert(STREAM_TTL, value(ms / 1000))),
        Lifetime::Until { ms } => drop(headers.insert(STREAM_EXPIRES_AT, value(moment::print(ms)))),
    }
}

/// Adds what a stream forgets.
pub(super) fn put_retention(headers: &mut HeaderMap, retention: Retention) {
    if let Some(ms) = retention.age_ms {
        headers.insert(STREAM_RETENTION_AGE, value(ms / 1000));
    }
    if let Some(bytes) = retention.bytes {
        headers.insert(STREAM_RETENTION_BYTES, value(bytes));
    }
}

/// Digits only, no leading zero, up to 2^53 − 1: milliseconds of so many seconds fit in 64 bits.
fn number(value: &HeaderValue) -> Option<u64> {
    let digits = value.as_bytes();
    let lawful = matches!(digits, [b'0'] | [b'1'..=b'9', ..]) && digits.len() <= 16;
    if !lawful || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = digits.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'));
    (number <= PRODUCER_NUMBER_MAX).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&HeaderName, &str)]) -> HeaderMap {
        let pairs = pairs.iter().map(|(name, text)| {
            let value = HeaderValue::from_str(text).expect("printable");
            ((*name).clone(), value)
        });
        pairs.collect()
    }

    #[test]
    fn a_lifetime_is_a_window_or_a_moment_and_comes_back_as_it_was_sent() {
        let table = [
            (&STREAM_TTL, "0", Lifetime::Window { ms: 0 }, "0"),
            (&STREAM_TTL, "3600", Lifetime::Window { ms: 3_600_000 }, "3600"),
            (
                &STREAM_TTL,
                "9007199254740991",
                Lifetime::Window {
                    ms: 9_007_199_254_740_991_000,
                },
                "9007199254740991",
            ),
            (
                &STREAM_EXPIRES_AT,
                "2026-07-01T02:00:00+02:00",
                Lifetime::Until { ms: 1_782_864_000_000 },
                "2026-07-01T00:00:00.000Z",
            ),
        ];
        for (name, sent, expected, told) in table {
            assert_eq!(lifetime(&headers(&[(name, sent)])).expect(sent), expected);
            let mut answer = HeaderMap::new();
            put_lifetime(&mut answer, expected);
            assert_eq!(answer.get(name).expect("told"), told);
        }
        assert_eq!(lifetime(&HeaderMap::new()).expect("none"), Lifetime::Forever);
    }

    #[test]
    fn what_is_no_lifetime_is_refused() {
        for sent in [
            "",
            "abc",
            "-1",
            "+60",
            "00060",
            "00",
            "60.5",
            "1e3",
            " 60",
            "60s",
            "0x10",
            "9007199254740992",
            "18446744073709551616",
            "99999999999999999999999999",
        ] {
            let problem = lifetime(&headers(&[(&STREAM_TTL, sent)])).expect_err(sent);
            assert_eq!((problem.status.as_u16(), problem.code), (400, "bad_ttl"), "{sent}");
        }
        let problem = lifetime(&headers(&[(&STREAM_EXPIRES_AT, "soon")])).expect_err("soon");
        assert_eq!(problem.code, "bad_expires_at");
        let both = [(&STREAM_TTL, "60"), (&STREAM_EXPIRES_AT, "2026-07-01T00:00:00Z")];
        assert_eq!(lifetime(&headers(&both)).expect_err("both").code, "bad_ttl");
        let twice = [(&STREAM_TTL, "60"), (&STREAM_TTL, "60")];
        assert_eq!(lifetime(&headers(&twice)).expect_err("twice").code, "bad_header");
    }

    #[test]
    fn a_policy_is_positive_numbers() {
        let sent = headers(&[(&STREAM_RETENTION_AGE, "60"), (&STREAM_RETENTION_BYTES, "1048576")]);
        let expected = Retention {
            age_ms: Some(60_000),
            bytes: Some(1_048_576),
        };
        assert_eq!(retention(&sent).expect("lawful"), expected);
        let mut told = HeaderMap::new();
        put_retention(&mut told, expected);
        assert_eq!(told, sent);
        for bad in ["0", "01", "-1", "1h", ""] {
            let sent = headers(&[(&STREAM_RETENTION_BYTES, bad)]);
            assert_eq!(retention(&sent).expect_err(bad).code, "bad_retention");
        }
    }
}
