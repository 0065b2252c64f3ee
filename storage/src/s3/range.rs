//! What the head of an answer to a range request promises, so that a body that is shorter is seen.

use std::ops::Range;

/// How many bytes the body of an answer holds that was asked for `asked` (which is not empty): the range, cut at the end
/// of the object and nowhere else.
///
/// # Errors
/// In words, what is wrong with the answer: a store that ignores ranges must not pass other bytes for those asked for.
pub(super) fn promised(content_range: Option<&str>, length: Option<i64>, asked: &Range<u64>) -> Result<usize, String> {
    let length = length.and_then(|length| u64::try_from(length).ok());
    let Some(content_range) = content_range else {
        return match length {
            // Some stores answer so where an object is empty, or where the range covers it.
            Some(length) if length == 0 || (asked.start == 0 && length <= asked.end) => Ok(fit(length)?),
            _ => Err(format!(
                "asked for the bytes {asked:?}, the store answers with the whole object"
            )),
        };
    };
    let there = parse(content_range).ok_or_else(|| format!("{content_range:?} is no range of bytes"))?;
    let end = there.total.map_or(asked.end, |total| asked.end.min(total));
    let count = end.saturating_sub(asked.start);
    if there.first != asked.start || there.last.checked_add(1) != Some(end) || length.is_some_and(|len| len != count) {
        return Err(format!(
            "asked for the bytes {asked:?}, the store answers with {content_range:?} in {length:?} bytes"
        ));
    }
    fit(count)
}

fn fit(length: u64) -> Result<usize, String> {
    usize::try_from(length).map_err(|_| format!("{length} bytes do not fit into memory"))
}

struct There {
    first: u64,
    last: u64,
    total: Option<u64>,
}

/// `bytes 3-7/20`, or `bytes 3-7/*` where the store does not say how long the object is.
fn parse(content_range: &str) -> Option<There> {
    let (range, total) = content_range.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    Some(There {
        first: first.parse().ok()?,
        last: last.parse().ok()?,
        total: match total {
            "*" => None,
            total => Some(total.parse().ok()?),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_end_of_the_object_cuts_a_range() {
        let cases: [(Option<&str>, Option<i64>, _, _); 14] = [
            (Some("bytes 3-7/20"), Some(5), 3..8, Some(5)),
            (Some("bytes 3-7/20"), None, 3..8, Some(5)),
            (Some("bytes 3-19/20"), Some(17), 3..99, Some(17)),
            (Some("bytes 3-7/*"), Some(5), 3..8, Some(5)),
            (Some("bytes 3-6/20"), Some(4), 3..8, None),
            (Some("bytes 3-7/20"), Some(4), 3..8, None),
            (Some("bytes 0-7/20"), Some(8), 3..8, None),
            (Some("bytes 3-9/20"), Some(7), 3..8, None),
            (Some("bytes 3-18446744073709551615/*"), None, 3..8, None),
            (Some("lines 3-7/20"), Some(5), 3..8, None),
            (None, Some(0), 3..8, Some(0)),
            (None, Some(6), 0..8, Some(6)),
            (None, Some(20), 0..8, None),
            (None, Some(5), 3..8, None),
        ];
        for (content_range, length, asked, expected) in cases {
            let found = promised(content_range, length, &asked);
            assert_eq!(
                found.clone().ok(),
                expected,
                "{content_range:?} for {asked:?}: {found:?}"
            );
        }
    }
}
