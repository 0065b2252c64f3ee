//! Who asks, and may they: AWS Signature Version 4, computed from the request as it came.
//!
//! Written from the specification and not with the SDK's own signer: so the two check each other.

use bytes::Bytes;
use http::HeaderMap;
use http::request::Parts;
use sha2::{Digest, Sha256};

use super::answer::Refusal;
use super::asked::header;
use super::{KEY_ID, REGION, SECRET};

/// How far the clocks of the two sides may be apart.
const SKEW_S_MAX: i64 = 15 * 60;
/// The size of what SHA-256 works on at once.
const BLOCK: usize = 64;

/// The parts of an `Authorization` header.
struct Claim<'a> {
    key_id: &'a str,
    /// Day, region, service, `aws4_request`.
    scope: &'a str,
    signed: &'a str,
    signature: &'a str,
}

/// Whether whoever sent this may ask; `now_ms` by the server's clock.
pub(super) fn check(head: &Parts, body: &Bytes, now_ms: u64) -> Result<(), Refusal> {
    let authorization = header(&head.headers, "authorization").ok_or(Refusal::AccessDenied)?;
    let claim = claim(authorization).ok_or(Refusal::AuthorizationHeaderMalformed)?;
    if claim.key_id != KEY_ID {
        return Err(Refusal::InvalidAccessKeyId);
    }
    let at = header(&head.headers, "x-amz-date").ok_or(Refusal::AccessDenied)?;
    let seconds = seconds(at).ok_or(Refusal::AccessDenied)?;
    if (seconds - (now_ms / 1000) as i64).abs() > SKEW_S_MAX {
        return Err(Refusal::RequestTimeTooSkewed);
    }
    if claim.scope != format!("{}/{REGION}/s3/aws4_request", &at[..8]) {
        return Err(Refusal::AuthorizationHeaderMalformed);
    }
    let payload = header(&head.headers, "x-amz-content-sha256").ok_or(Refusal::AccessDenied)?;
    if payload != "UNSIGNED-PAYLOAD" && payload != hex(&Sha256::digest(body)) {
        return Err(Refusal::ContentSha256Mismatch);
    }
    let canonical = canonical(head, claim.signed, payload).ok_or(Refusal::SignatureDoesNotMatch)?;
    let to_sign = format!(
        "AWS4-HMAC-SHA256\n{at}\n{}\n{}",
        claim.scope,
        hex(&Sha256::digest(canonical))
    );
    let mut key = format!("AWS4{SECRET}").into_bytes();
    for part in claim.scope.split('/') {
        key = hmac(&key, part.as_bytes()).to_vec();
    }
    if claim.signature == hex(&hmac(&key, to_sign.as_bytes())) {
        Ok(())
    } else {
        Err(Refusal::SignatureDoesNotMatch)
    }
}

fn claim(authorization: &str) -> Option<Claim<'_>> {
    let parts = authorization.strip_prefix("AWS4-HMAC-SHA256 ")?;
    let part = |name: &str| {
        let mut parts = parts.split(',').filter_map(|part| part.trim().split_once('='));
        parts.find(|(n, _)| *n == name).map(|(_, value)| value)
    };
    let (key_id, scope) = part("Credential")?.split_once('/')?;
    Some(Claim {
        key_id,
        scope,
        signed: part("SignedHeaders")?,
        signature: part("Signature")?,
    })
}

/// The request in the form that is signed; `None` if a header that was signed is not there.
fn canonical(head: &Parts, signed: &str, payload: &str) -> Option<String> {
    let mut query: Vec<(&str, &str)> = head
        .uri
        .query()
        .unwrap_or_default()
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .collect();
    query.sort_unstable();
    let query: Vec<String> = query.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let headers: Option<String> = signed.split(';').map(|name| line(&head.headers, name)).collect();
    Some(format!(
        "{}\n{}\n{}\n{}\n{signed}\n{payload}",
        head.method,
        head.uri.path(),
        query.join("&"),
        headers?
    ))
}

fn line(headers: &HeaderMap, name: &str) -> Option<String> {
    let value: Vec<&str> = header(headers, name)?.split_ascii_whitespace().collect();
    Some(format!("{name}:{}\n", value.join(" ")))
}

/// Seconds since 1970 of `20260101T000000Z`.
fn seconds(at: &str) -> Option<i64> {
    let digits = |from: usize, to: usize| at.get(from..to)?.parse::<i64>().ok();
    let shape = at.len() == 16 && at.is_ascii() && &at[8..9] == "T" && at.ends_with('Z');
    let (year, month, day) = (digits(0, 4)?, digits(4, 6)?, digits(6, 8)?);
    let (hour, minute, second) = (digits(9, 11)?, digits(11, 13)?, digits(13, 15)?);
    // Years that begin in March, so that the day of a leap year is their last.
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1 - 719_468;
    shape.then_some(days * 86_400 + hour * 3600 + minute * 60 + second)
}

/// RFC 2104, with SHA-256.
fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut block = [0_u8; BLOCK];
    if key.len() > BLOCK {
        block[..32].copy_from_slice(&Sha256::digest(key));
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let padded = |with: u8| block.map(|byte| byte ^ with);
    let inner = Sha256::new()
        .chain_update(padded(0x36))
        .chain_update(message)
        .finalize();
    let outer = Sha256::new().chain_update(padded(0x5c)).chain_update(inner).finalize();
    outer.into()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::EPOCH_MS;

    #[test]
    fn the_code_of_a_message_is_the_one_of_the_rfc() {
        // RFC 4231, test cases 2 and 6: a short key, and one longer than a block.
        assert_eq!(
            hex(&hmac(b"Jefe", b"what do ya want for nothing?")),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
        let long = hmac(&[0xaa; 131], b"Test Using Larger Than Block-Size Key - Hash Key First");
        assert_eq!(
            hex(&long),
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"
        );
    }

    #[test]
    fn dates_are_read_as_seconds() {
        assert_eq!(seconds("19700101T000000Z"), Some(0));
        assert_eq!(seconds("20260101T000000Z"), Some((EPOCH_MS / 1000) as i64));
        assert_eq!(seconds("20240229T235959Z"), Some(1_709_251_199));
        assert_eq!(seconds("2026-01-01T00:00"), None);
    }
}
