//! When two media types are the same.

/// Whether two `Content-Type` values mean the same stream: letters of either case, blanks around `;` do not count,
/// parameters do.
#[must_use]
pub fn same_content_type(one: &str, other: &str) -> bool {
    let mut left = one.split(';').map(str::trim);
    let mut right = other.split(';').map(str::trim);
    loop {
        match (left.next(), right.next()) {
            (None, None) => return true,
            (Some(a), Some(b)) if a.eq_ignore_ascii_case(b) => {}
            _ => return false,
        }
    }
}

/// Whether a stream of this type holds JSON messages rather than bytes.
#[must_use]
pub fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default();
    essence.trim().eq_ignore_ascii_case("application/json")
}
