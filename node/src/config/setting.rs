//! One table of all settings: how each is called, read, bounded and shown.
//!
//! The file, the environment, the flags, the bounds and the printing all walk this table, so that none of them can know
//! a setting that the others do not.

use std::time::Duration;

use super::section::{CacheScope, ColdBackend, LogFormat, OnSnapshot, S3, S3Addressing, S3Encryption, WriteRouting};
use super::unit::{GIB, KIB, MIB};
use super::{Config, VERSION};

/// One setting.
pub(super) struct Setting {
    /// `section.name`, as in the file.
    pub(super) key: &'static str,
    /// What it holds.
    pub(super) kind: Kind,
}

/// What a setting holds, and where.
pub(super) enum Kind {
    /// A whole number within bounds.
    Number {
        get: fn(&Config) -> u64,
        set: fn(&mut Config, u64),
        min: u64,
        max: u64,
    },
    /// A size in bytes, within bounds.
    Size {
        get: fn(&Config) -> u64,
        set: fn(&mut Config, u64),
        min: u64,
        max: u64,
    },
    /// A time, within bounds.
    Time {
        get: fn(&Config) -> Duration,
        set: fn(&mut Config, Duration),
        min: Duration,
        max: Duration,
    },
    /// A text that is not empty; `None` where it is not given.
    Text {
        get: fn(&Config) -> Option<&str>,
        set: fn(&mut Config, String),
    },
    /// Texts that are not empty; in the environment, separated by commas.
    List {
        get: fn(&Config) -> &[String],
        set: fn(&mut Config, Vec<String>),
    },
    /// One of a few words: its place among them.
    Choice {
        get: fn(&Config) -> usize,
        set: fn(&mut Config, usize),
        words: &'static [&'static str],
    },
}

const fn ms(number: u64) -> Duration {
    Duration::from_millis(number)
}

const fn secs(number: u64) -> Duration {
    Duration::from_secs(number)
}

const NODE_ID_MAX: u64 = u32::MAX as u64;

macro_rules! setting {
    ($key:literal, number $section:ident.$field:ident, $min:expr, $max:expr) => {
        Setting {
            key: $key,
            kind: Kind::Number {
                get: |c| c.$section.$field,
                set: |c, v| c.$section.$field = v,
                min: $min,
                max: $max,
            },
        }
    };
    ($key:literal, size $section:ident.$field:ident, $min:expr, $max:expr) => {
        Setting {
            key: $key,
            kind: Kind::Size { get: |c| c.$section.$field, set: |c, v| c.$section.$field = v, min: $min, max: $max },
        }
    };
    ($key:literal, time $section:ident.$field:ident, $min:expr, $max:expr) => {
        Setting {
            key: $key,
            kind: Kind::Time { get: |c| c.$section.$field, set: |c, v| c.$section.$field = v, min: $min, max: $max },
        }
    };
    ($key:literal, text $section:ident.$field:ident) => {
        Setting {
            key: $key,
            kind: Kind::Text { get: |c| Some(&c.$section.$field), set: |c, v| c.$section.$field = v },
        }
    };
    ($key:literal, option $section:ident.$field:ident) => {
        Setting {
            key: $key,
            kind: Kind::Text { get: |c| c.$section.$field.as_deref(), set: |c, v| c.$section.$field = Some(v) },
        }
    };
    ($key:literal, choice $section:ident.$field:ident, [$($word:literal => $variant:path),+]) => {
        Setting {
            key: $key,
            kind: Kind::Choice {
                get: |c| [$($variant),+].iter().position(|v| *v == c.$section.$field).unwrap_or_default(),
                set: |c, v| c.$section.$field = [$($variant),+][v],
                words: &[$($word),+],
            },
        }
    };
}

/// All settings, in the order in which they are printed.
pub(super) const SETTINGS: &[Setting] = &[
    Setting {
        key: "version",
        kind: Kind::Number {
            get: |c| c.version,
            set: |c, v| c.version = v,
            min: VERSION,
            max: VERSION,
        },
    },
    setting!("server.node_id", number server.node_id, 1, NODE_ID_MAX),
    setting!("server.listen", text server.listen),
    Setting {
        key: "server.advertise",
        kind: Kind::Text {
            get: |c| c.server.advertise.as_deref(),
            set: |c, v| c.server.advertise = Some(v),
        },
    },
    Setting {
        key: "server.second_listen",
        kind: Kind::Text {
            get: |c| c.server.second_listen.as_deref(),
            set: |c, v| c.server.second_listen = Some(v),
        },
    },
    setting!("server.data_dir", text server.data_dir),
    setting!("server.drain", time server.drain, Duration::ZERO, secs(600)),
    Setting {
        key: "cluster.name",
        kind: Kind::Text {
            get: |c| c.cluster.as_ref().map(|cluster| cluster.name.as_str()),
            set: |c, v| c.cluster_mut().name = v,
        },
    },
    Setting {
        key: "cluster.bootstrap_node_id",
        kind: Kind::Number {
            get: |c| c.cluster.as_ref().map_or(0, |cluster| cluster.bootstrap_node_id),
            set: |c, v| c.cluster_mut().bootstrap_node_id = v,
            min: 1,
            max: NODE_ID_MAX,
        },
    },
    Setting {
        key: "cluster.routes",
        kind: Kind::List {
            get: |c| c.cluster.as_ref().map_or(&[], |cluster| &cluster.routes),
            set: |c, v| c.cluster_mut().routes = v,
        },
    },
    Setting {
        key: "cluster.groups",
        kind: Kind::Number {
            get: |c| u64::from(c.groups()),
            // Too large a number stays too large, and is refused for it.
            set: |c, v| c.cluster_mut().groups = v.try_into().unwrap_or(u32::MAX),
            min: 1,
            max: 1024,
        },
    },
    setting!("http.long_poll_timeout", time http.long_poll_timeout, ms(100), secs(300)),
    setting!("http.sse_lifetime", time http.sse_lifetime, secs(1), secs(3600)),
    setting!("http.sse_heartbeat", time http.sse_heartbeat, ms(100), secs(300)),
    setting!("http.max_waiters", number http.max_waiters, 1, 10_000_000),
    // A record of the journal holds up to 1GiB, the command and its header included, and so does a message to a peer.
    setting!("http.max_body", size http.max_body, KIB, 512 * MIB),
    setting!("http.max_inflight", size http.max_inflight, MIB, 64 * GIB),
    setting!("http.json_max_depth", number http.json_max_depth, 1, 100_000),
    setting!("http.json_max_messages", number http.json_max_messages, 1, 100_000_000),
    setting!("http.json_max_message", size http.json_max_message, 1, GIB),
    setting!("http.max_snapshot", size http.max_snapshot, KIB, GIB),
    setting!("http.snapshot_part", size http.snapshot_part, KIB, 16 * MIB),
    setting!("http.on_snapshot", choice http.on_snapshot, ["keep" => OnSnapshot::Keep, "trim" => OnSnapshot::Trim]),
    setting!("http.max_read", size http.max_read, 64 * KIB, 64 * GIB),
    setting!("http.max_connections", number http.max_connections, 1, 1_000_000),
    setting!("http.header_timeout", time http.header_timeout, ms(100), secs(300)),
    setting!("http.idle_timeout", time http.idle_timeout, secs(1), secs(3600)),
    setting!("http.stall_timeout", time http.stall_timeout, ms(100), secs(600)),
    setting!("http.request_deadline", time http.request_deadline, ms(100), secs(600)),
    setting!("http.write_routing", choice http.write_routing,
        ["forward" => WriteRouting::Forward, "redirect" => WriteRouting::Redirect]),
    setting!("http.cache", choice http.cache, ["public" => CacheScope::Public, "private" => CacheScope::Private]),
    Setting {
        key: "http.cors_origin",
        kind: Kind::List {
            get: |c| &c.http.cors_origin,
            set: |c, v| c.http.cors_origin = v,
        },
    },
    setting!("raft.heartbeat", time raft.heartbeat, ms(10), secs(10)),
    setting!("raft.election_min", time raft.election_min, ms(20), secs(60)),
    setting!("raft.election_max", time raft.election_max, ms(30), secs(120)),
    setting!("raft.lease", time raft.lease, Duration::ZERO, secs(60)),
    setting!("raft.rpc_deadline", time raft.rpc_deadline, ms(10), secs(60)),
    setting!("raft.batch_entries", number raft.batch_entries, 1, 10_000),
    setting!("raft.appends_in_flight", number raft.appends_in_flight, 1, 64),
    setting!("raft.snapshot_entries", number raft.snapshot_entries, 10, 10_000_000),
    setting!("raft.keep_entries", number raft.keep_entries, 0, 10_000_000),
    setting!("raft.hold_bytes", size raft.hold_bytes, 0, 1024 * GIB),
    setting!("raft.snapshot_chunk", size raft.snapshot_chunk, 4 * KIB, 16 * MIB),
    setting!("journal.segment", size journal.segment, 64 * KIB, GIB),
    setting!("journal.queue", size journal.queue, 64 * KIB, 4 * GIB),
    setting!("index.flush_interval", time index.flush_interval, ms(100), secs(600)),
    setting!("index.block_cache", size index.block_cache, MIB, 256 * GIB),
    setting!("index.write_buffer", size index.write_buffer, MIB, 4 * GIB),
    setting!("cache.tail", size cache.tail, 0, 256 * GIB),
    setting!("cache.streams", number cache.streams, 16, 100_000_000),
    setting!("cache.read_piece", size cache.read_piece, 4 * KIB, 16 * MIB),
    setting!("cold.backend", choice cold.backend,
        ["none" => ColdBackend::None, "local" => ColdBackend::Local, "s3" => ColdBackend::S3]),
    setting!("cold.hot_age", time cold.hot_age, ms(100), secs(90 * 86_400)),
    setting!("cold.hot_stream", size cold.hot_stream, KIB, 64 * GIB),
    setting!("cold.hot_group", size cold.hot_group, 64 * KIB, 64 * 1024 * GIB),
    setting!("cold.hot_max", size cold.hot_max, 64 * KIB, 64 * 1024 * GIB),
    setting!("cold.every", time cold.every, ms(50), secs(3600)),
    setting!("cold.object", size cold.object, 4 * KIB, 512 * MIB),
    setting!("cold.reference", size cold.reference, 0, 512 * MIB),
    setting!("cold.sweep_every", time cold.sweep_every, ms(100), secs(7 * 86_400)),
    setting!("cold.grace", time cold.grace, ms(100), secs(90 * 86_400)),
    setting!("cold.record_every", time cold.record_every, Duration::ZERO, secs(86_400)),
    setting!("cold.cache", size cold.cache, 0, 256 * GIB),
    setting!("cold.disk_cache", size cold.disk_cache, 0, 64 * 1024 * GIB),
    setting!("cold.block", size cold.block, 4 * KIB, 64 * MIB),
    setting!("cold.read_ahead", number cold.read_ahead, 0, 64),
    setting!("cold.patience", time cold.patience, ms(100), secs(600)),
    setting!("cold.hedge_after", time cold.hedge_after, ms(10), secs(600)),
    setting!("s3.bucket", option s3.bucket),
    setting!("s3.prefix", option s3.prefix),
    setting!("s3.region", option s3.region),
    setting!("s3.endpoint", option s3.endpoint),
    setting!("s3.addressing", choice s3.addressing, ["host" => S3Addressing::Host, "path" => S3Addressing::Path]),
    setting!("s3.access_key_id", option s3.access_key_id),
    setting!("s3.secret_access_key", option s3.secret_access_key),
    setting!("s3.ca_file", option s3.ca_file),
    setting!("s3.encryption", choice s3.encryption,
        ["bucket" => S3Encryption::Bucket, "aes256" => S3Encryption::Aes256, "kms" => S3Encryption::Kms]),
    setting!("s3.kms_key", option s3.kms_key),
    setting!("s3.connect_timeout", time s3.connect_timeout, ms(10), secs(600)),
    setting!("s3.attempt_timeout", time s3.attempt_timeout, ms(10), secs(600)),
    setting!("s3.operation_timeout", time s3.operation_timeout, ms(10), secs(3600)),
    setting!("s3.attempts", number s3.attempts, 1, 100),
    setting!("log.filter", text log.filter),
    setting!("log.format", choice log.format, ["text" => LogFormat::Text, "json" => LogFormat::Json]),
];

impl Setting {
    /// `HOLDFAST_HTTP_MAX_BODY` for `http.max_body`.
    pub(super) fn variable(&self) -> String {
        format!("{ENV_PREFIX}{}", self.key.replace('.', "_").to_ascii_uppercase())
    }

    /// Whether a configuration has it at all: a node that stands alone has no cluster, and one that moves nothing to S3 no
    /// bucket.
    pub(super) fn is_in(&self, config: &Config) -> bool {
        match self.section().0 {
            "cluster" => config.cluster.is_some(),
            "s3" => config.s3 != S3::default() || config.cold.backend == ColdBackend::S3,
            _ => true,
        }
    }

    /// The section, and the name in it. The version stands before all sections.
    pub(super) fn section(&self) -> (&'static str, &'static str) {
        self.key.split_once('.').unwrap_or(("", self.key))
    }
}

/// What every variable of ours begins with.
pub(super) const ENV_PREFIX: &str = "HOLDFAST_";
