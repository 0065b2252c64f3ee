//! Everything the law stores or sends begins with a version byte; the rest is postcard.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Bytes that are not what they should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadFormat {
    /// Nothing there, not even a version.
    #[error("{what}: empty")]
    Empty {
        /// What should have been read.
        what: &'static str,
    },
    /// Written by a version of Holdfast that this one does not know.
    #[error("{what}: format version {found}, this binary reads up to {known}: run the newer binary")]
    Version {
        /// What should have been read.
        what: &'static str,
        /// The version byte found.
        found: u8,
        /// The newest version this binary reads.
        known: u8,
    },
    /// The version is known, the rest is not what it should be.
    #[error("{what}: {because}")]
    Damaged {
        /// What should have been read.
        what: &'static str,
        /// What is wrong with it.
        because: String,
    },
}

/// The version byte, then the value.
pub(crate) fn encode<T: Serialize>(version: u8, value: &T) -> Vec<u8> {
    postcard::to_extend(value, vec![version]).expect("plain data in memory always serialises")
}

/// The value after a version byte, which must be `version`. Left-over bytes are damage.
pub(crate) fn decode<T: DeserializeOwned>(what: &'static str, version: u8, bytes: &[u8]) -> Result<T, BadFormat> {
    let (found, rest) = bytes.split_first().ok_or(BadFormat::Empty { what })?;
    if *found != version {
        return Err(BadFormat::Version {
            what,
            found: *found,
            known: version,
        });
    }
    match postcard::take_from_bytes(rest) {
        Ok((value, [])) => Ok(value),
        Ok((_, left)) => Err(BadFormat::Damaged {
            what,
            because: format!("{} bytes too many", left.len()),
        }),
        Err(error) => Err(BadFormat::Damaged {
            what,
            because: error.to_string(),
        }),
    }
}
