//! The law's rows of a group, out and in again: what a snapshot carries besides the bytes themselves.
//!
//! An image is a sequence of blocks, each as many rows as its writer likes, so that neither side ever holds all of it.

use serde::{Deserialize, Serialize};

use super::bucket::BucketRow;
use super::fork::{Pledge, Reference, Token};
use super::name::StreamName;
use super::row::{Claim, StreamRow};
use super::snapshot::BlobRow;
use super::versioned::{self, BadFormat};

/// Version byte of a block.
const VERSION: u8 = 1;

/// One row of a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ImageRow {
    /// A stream.
    Stream {
        /// Its name.
        name: StreamName,
        /// Its row.
        row: StreamRow,
    },
    /// What is known of a producer of a stream.
    Producer {
        /// The stream's incarnation.
        incarnation: u64,
        /// The producer.
        id: String,
        /// Its last claim.
        claim: Claim,
    },
    /// A bucket, in group 0.
    Bucket {
        /// Its name.
        name: String,
        /// Its row.
        row: BucketRow,
    },
    /// How many stream rows of a bucket the group holds.
    BucketCount {
        /// Its name.
        name: String,
        /// How many; never 0.
        streams: u64,
    },
    /// What the group is sealed at, if it ever was.
    Sealed {
        /// Log index of group 0.
        at: u64,
    },
    /// A blob that is being uploaded.
    Blob {
        /// The blob.
        blob: u64,
        /// Its row.
        row: BlobRow,
    },
    /// A pledge of a fork.
    Pledge {
        /// Index of its token.
        token: u64,
        /// Its row.
        row: Pledge,
    },
    /// A reference to a stream.
    Reference {
        /// The stream's incarnation.
        incarnation: u64,
        /// The fork's.
        token: Token,
        /// Its row.
        row: Reference,
    },
}

/// A block of these rows.
#[must_use]
pub fn encode_rows(rows: &[ImageRow]) -> Vec<u8> {
    versioned::encode(VERSION, &rows)
}

/// The rows of a block.
///
/// # Errors
/// When it is of an unknown version or damaged.
pub fn decode_rows(block: &[u8]) -> Result<Vec<ImageRow>, BadFormat> {
    versioned::decode("image block", VERSION, block)
}
