//! How big things may be. `http` refuses what is larger with a 4xx; the law refuses it again, so that no log entry,
//! wherever it came from, can make a row grow without bound.

/// Longest path on the flat route, in bytes after percent-decoding. Names are index keys: 1 KiB keeps them well within
/// a block, and is eight times what the bucketed route allows.
pub const NAME_BYTES_MAX: usize = 1024;

/// Longest bucket and name together on the bucketed route, in bytes after percent-decoding.
pub const NAME_IN_BUCKET_BYTES_MAX: usize = 122;

/// How many buckets there may be. Each is a row of some 100 bytes in the index of every node.
pub const BUCKETS_MAX: u64 = 1_000_000;

/// Longest `Producer-Id`, in bytes. It is part of an index key; a UUID takes 36.
pub const PRODUCER_ID_BYTES_MAX: usize = 256;

/// Longest `Stream-Seq`, in bytes. The last one is kept in the stream's row, which is rewritten by every append.
pub const STREAM_SEQ_BYTES_MAX: usize = 256;

/// Longest `Content-Type`, in bytes. It is kept in the stream's row, which is rewritten by every append.
pub const CONTENT_TYPE_BYTES_MAX: usize = 256;

/// Largest producer epoch and sequence number, 2^53 − 1: the largest integer that JavaScript clients count exactly.
pub const PRODUCER_NUMBER_MAX: u64 = (1 << 53) - 1;

/// How many producers one stream remembers. A claim takes up to about 350 bytes of index, so this bounds them to some
/// 23 MB per stream. The next unknown producer is refused: to forget an old one in its favour would store that one's
/// late retry a second time, silently. A producer that starts anew should keep its id and raise its epoch.
pub const PRODUCERS_MAX: u32 = 65_536;

/// Largest blob of a snapshot, in bytes: the most `http.max_snapshot` may be set to. Every replica keeps it whole.
pub const BLOB_BYTES_MAX: u64 = 1 << 30;

/// How many snapshots may be uploaded at once to the streams of one group. Their rows are held in memory by every
/// replica.
pub const UPLOADS_MAX: usize = 64;

/// Most entity tags in one `If-Match` or `If-None-Match`. The tags of `If-Match` travel through the log.
pub const CONDITION_TAGS_MAX: usize = 16;

/// Most forks of one stream, attempts at one included: what a count of them can be trusted to hold.
pub const FORKS_MAX: u32 = 1 << 20;

/// Most streams that a fork may be based on, one on the other: a reader of its first bytes looks at all of them.
pub const FORK_DEPTH_MAX: u32 = 1000;
