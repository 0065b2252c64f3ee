//! When two media types are the same.

/// Whether two `Content-Type` values mean the same stream: type and subtype count, in letters of either case. Parameters do
/// not, as in the reference server: `fetch` adds `charset=UTF-8` to every text it sends, whether or not the stream has it.
#[must_use]
pub fn same_content_type(one: &str, other: &str) -> bool {
    essence(one).eq_ignore_ascii_case(essence(other))
}

/// Type and subtype.
fn essence(content_type: &str) -> &str {
    content_type.split(';').next().unwrap_or_default().trim()
}

/// Whether a stream of this type holds JSON messages rather than bytes.
#[must_use]
pub fn is_json(content_type: &str) -> bool {
    essence(content_type).eq_ignore_ascii_case("application/json")
}
