//! How a stream is called, and which group it belongs to.
//!
//! PROTOCOL-NOTES, URL shapes. Both are formats: names are keys of the index, and the hash decides for ever which group
//! holds a stream.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::limits::{NAME_BYTES_MAX, NAME_IN_BUCKET_BYTES_MAX};

/// The bucket of a stream whose flat path has one segment.
const DEFAULT_BUCKET: &str = "_default";

/// First segment kept for the protocol's own routes.
const RESERVED: &str = "__ds";

/// A bucket and a name in it. Neither holds a NUL, and both are never empty (but see
/// [`StreamName::of_bucket`]).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StreamName {
    bucket: String,
    name: String,
}

/// Why a path names no stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadName {
    /// No path, or nothing between two slashes, or a slash at the end.
    #[error("a stream path has no empty segments: remove doubled and trailing slashes")]
    Empty,
    /// Longer than [`NAME_BYTES_MAX`].
    #[error("a stream path has at most {NAME_BYTES_MAX} bytes after percent-decoding")]
    TooLong,
    /// NUL, or another control character.
    #[error("a stream path holds no control characters")]
    Control,
    /// A segment `.` or `..`, which proxies and clients resolve differently.
    #[error("a stream path has no segment \".\" or \"..\"")]
    Dots,
    /// On the bucketed route: longer than [`NAME_IN_BUCKET_BYTES_MAX`].
    #[error(
        "a bucket and the name of a stream in it have at most {NAME_IN_BUCKET_BYTES_MAX} bytes together: longer ones are \
         at /v1/stream/{{path}}"
    )]
    TooLongInBucket,
    /// On the bucketed route: a slash within a name.
    #[error("the name of a stream in a bucket holds no slash: names with slashes are at /v1/stream/{{path}}")]
    Slash,
    /// The first segment is the protocol's own.
    #[error("paths below {RESERVED} are reserved for the protocol")]
    Reserved,
}

impl StreamName {
    /// The stream of a percent-decoded path on the flat route: `mystream` is `mystream` in the bucket `_default`,
    /// `a/b/c` is `b/c` in the bucket `a`. (So `_default/mystream` is another spelling of `mystream`.)
    ///
    /// # Errors
    /// When the path is empty or too long, has an empty, `.` or `..` segment or a control character, or is reserved.
    pub fn flat(path: &str) -> Result<Self, BadName> {
        if path.len() > NAME_BYTES_MAX {
            return Err(BadName::TooLong);
        }
        if path.chars().any(char::is_control) {
            return Err(BadName::Control);
        }
        for segment in path.split('/') {
            match segment {
                "" => return Err(BadName::Empty),
                "." | ".." => return Err(BadName::Dots),
                _ => {}
            }
        }
        let (bucket, name) = match path.split_once('/') {
            Some((first, rest)) => (first, rest),
            None => (DEFAULT_BUCKET, path),
        };
        if bucket == RESERVED || path == RESERVED {
            return Err(BadName::Reserved);
        }
        Ok(Self {
            bucket: bucket.to_owned(),
            name: name.to_owned(),
        })
    }

    /// The stream of `/{bucket}/{name}`, the name percent-decoded: the same as that of the flat path `bucket/name`, under
    /// stricter rules. The bucket's letters were checked by the route.
    ///
    /// # Errors
    /// When the name is empty or too long, or holds a slash, a control character or `..`.
    pub fn in_bucket(bucket: &str, name: &str) -> Result<Self, BadName> {
        if bucket.len() + name.len() > NAME_IN_BUCKET_BYTES_MAX {
            return Err(BadName::TooLongInBucket);
        }
        match name {
            "" => return Err(BadName::Empty),
            name if name.contains('/') => return Err(BadName::Slash),
            name if name.chars().any(char::is_control) => return Err(BadName::Control),
            name if name == "." || name.contains("..") => return Err(BadName::Dots),
            _ => {}
        }
        Ok(Self::from_parts(bucket, name))
    }

    /// What stands for a bucket as a whole: a name that no stream has.
    #[must_use]
    pub fn of_bucket(bucket: &str) -> Self {
        Self::from_parts(bucket, "")
    }

    /// The bucket.
    #[must_use]
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// The name within the bucket; may hold slashes.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// From the two parts of an index key, which were checked before they were written.
    #[must_use]
    pub fn from_parts(bucket: &str, name: &str) -> Self {
        Self {
            bucket: bucket.to_owned(),
            name: name.to_owned(),
        }
    }
}

/// `bucket/name`, for people.
impl fmt::Display for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.bucket, self.name)
    }
}

/// The group a stream belongs to, of `groups` (at least one) fixed at the cluster's birth.
///
/// FNV-1a over `bucket NUL name`, its halves folded, modulo `groups`. Never change it: streams would be lost from
/// sight.
#[must_use]
pub fn group_of(stream: &StreamName, groups: u32) -> u32 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in stream.bucket.bytes().chain([0]).chain(stream.name.bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    let folded = hash ^ (hash >> 32);
    (folded % u64::from(groups.max(1))) as u32
}
