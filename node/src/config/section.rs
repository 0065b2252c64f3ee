//! The sections of the configuration: every number with its unit, its default, its bounds, and why.
//!
//! Times and sizes are whole here (`Duration`, bytes); their human spelling ("20s", "32MiB") is `unit`'s. A test holds
//! the defaults and bounds named below against the ones that are enforced.

use std::time::Duration;

use super::unit::{KIB, MIB};

/// `[server]`: this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Which node of its cluster this is. Unique in the cluster for ever: never give a removed node's number to
    /// another. Default 1; 1 to 4294967295.
    pub node_id: u64,
    /// Address and port to listen on; one port serves clients, peers and operators. Default "127.0.0.1:4437": nobody
    /// outside this machine is let in unless somebody says so.
    pub listen: String,
    /// A second address and port that serves the same, for instance on a network that only peers and operators reach.
    /// Default none.
    pub second_listen: Option<String>,
    /// Host and port at which the other nodes reach this one. Default none; needed as soon as there are routes.
    pub advertise: Option<String>,
    /// Folder that holds all this node stores. Default "./data".
    pub data_dir: String,
    /// How long a node that is told to end hands its leadership over and finishes the requests under way, before it
    /// ends anyhow. Default 10s, 0s to 10m: below the 30 s after which most supervisors kill.
    pub drain: Duration,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            node_id: 1,
            listen: "127.0.0.1:4437".to_owned(),
            second_listen: None,
            advertise: None,
            data_dir: "./data".to_owned(),
            drain: Duration::from_secs(10),
        }
    }
}

/// `[cluster]`: absent on a node that stands alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    /// Name of the cluster. Nodes of differently named clusters refuse to talk to each other. No default.
    pub name: String,
    /// The one node that may found the cluster, and only when no peer has one. The same on every node. No default;
    /// 1 to 4294967295.
    pub bootstrap_node_id: u64,
    /// Where the other nodes are reached, as host and port. Default none: a cluster of one that may grow.
    pub routes: Vec<String>,
    /// How many Raft groups the streams are spread over, fixed at the cluster's birth. Default 16, 1 to 1024: enough
    /// to spread leadership over nodes and cores, few enough that idle groups cost nothing one would notice.
    pub groups: u32,
}

impl Default for Cluster {
    fn default() -> Self {
        Self {
            name: String::new(),
            bootstrap_node_id: 0,
            routes: Vec::new(),
            groups: DEFAULT_GROUPS,
        }
    }
}

/// Groups of a node without `[cluster]`.
pub const DEFAULT_GROUPS: u32 = 16;

/// `[http]`: what clients may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Http {
    /// How long a long-poll waits for news. Default 20s, 100ms to 5m: below the minute after which many proxies cut
    /// silent connections.
    pub long_poll_timeout: Duration,
    /// About how long a tailing read by server-sent events lasts before the node ends it, and the reader asks again.
    /// Default 1m, 1s to 1h: new readers can then share what a cache in between already holds.
    pub sse_lifetime: Duration,
    /// How often such a read is sent a comment, so that nobody in between takes it for dead. Default 15s, 100ms to 5m.
    pub sse_heartbeat: Duration,
    /// Readers that wait at the tail of streams at once, long-polls and server-sent events together; past it, they are
    /// answered 503 `backpressure`. Default 100000, 1 to 10000000.
    pub max_waiters: u64,
    /// Largest body of one append. Default 32MiB, 1KiB to 512MiB. It is held in memory on every node of the group until
    /// it is on disk, and goes to a peer in one message, so that large ones delay small ones.
    pub max_body: u64,
    /// Bytes of request bodies held at once on this node; past it, writes are answered 503 `backpressure`. Default
    /// 256MiB, 1MiB to 64GiB; no less than `max_body`. This bounds the memory that writers can take.
    pub max_inflight: u64,
    /// How deep arrays and objects of a JSON body may lie in each other. Default 128, 1 to 100000: what most parsers of
    /// readers take without being told to take more.
    pub json_max_depth: u64,
    /// Most messages in one JSON body. Default 100000, 1 to 100000000.
    pub json_max_messages: u64,
    /// Largest message of a JSON stream, without insignificant blanks. Default 32MiB, 1B to 1GiB.
    pub json_max_message: u64,
    /// Largest blob of a snapshot. Default 128MiB, 1KiB to 1GiB. It is streamed into the log part by part, so this bounds
    /// what a stream takes on the disks rather than memory.
    pub max_snapshot: u64,
    /// Bytes of a snapshot that make one entry of the log. Default 1MiB, 1KiB to 16MiB; `max_body` where that is less. An
    /// upload holds two of these in memory; smaller ones delay appends of the same group less, and cost more.
    pub snapshot_part: u64,
    /// What publishing a snapshot does to the bytes before it: "keep" them, or "trim" them at once, so that who reads on
    /// from there is answered 410 and has to begin with the snapshot. Default "keep": not every reader knows snapshots;
    /// `PUT /{bucket}/{stream}/retention/{offset}` trims one stream when its readers do.
    pub on_snapshot: OnSnapshot,
    /// Most bytes of one catch-up read; the reader goes on from `Stream-Next-Offset`. Default 64MiB, 64KiB to 64GiB.
    /// Answers are streamed, so this bounds the time of a request rather than memory.
    pub max_read: u64,
    /// Connections open at once; more are closed as they come. Default 10000, 1 to 1000000. Each takes buffers and a
    /// file descriptor: raise the limit of the process with it.
    pub max_connections: u64,
    /// From the first byte of a request's head to its last. Default 10s, 100ms to 5m: a client that sends its head
    /// slower than this is not one.
    pub header_timeout: Duration,
    /// How long a connection may be silent between requests. Default 75s, 1s to 1h: above the minute for which most
    /// clients and proxies keep connections, so that they end them and not we.
    pub idle_timeout: Duration,
    /// How long a body, either way, may make no progress before its connection is closed. Default 30s, 100ms to 10m.
    pub stall_timeout: Duration,
    /// From a request's last byte to its answer's first, long-polls apart; then 503. Default 30s, 100ms to 10m: several
    /// elections long, so that clients seldom see one.
    pub request_deadline: Duration,
    /// What a node does with a write that another leads: "forward" it, or "redirect" the client by 307. Default
    /// "forward".
    pub write_routing: WriteRouting,
    /// Who may keep the answer of a catch-up read: "public" (shared caches, too) or "private". Default "public".
    pub cache: CacheScope,
    /// Pages of which origins may use this node from a browser: "*" for all, or a list such as "https://example.org",
    /// compared as they stand. Default "*"; an empty list lets no page of another origin in.
    pub cors_origin: Vec<String>,
}

impl Default for Http {
    fn default() -> Self {
        Self {
            long_poll_timeout: Duration::from_secs(20),
            sse_lifetime: Duration::from_secs(60),
            sse_heartbeat: Duration::from_secs(15),
            max_waiters: 100_000,
            max_body: 32 * MIB,
            max_inflight: 256 * MIB,
            json_max_depth: 128,
            json_max_messages: 100_000,
            json_max_message: 32 * MIB,
            max_snapshot: 128 * MIB,
            snapshot_part: MIB,
            on_snapshot: OnSnapshot::Keep,
            max_read: 64 * MIB,
            max_connections: 10_000,
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            stall_timeout: Duration::from_secs(30),
            request_deadline: Duration::from_secs(30),
            write_routing: WriteRouting::Forward,
            cache: CacheScope::Public,
            cors_origin: vec!["*".to_owned()],
        }
    }
}

/// What a node does with a write that another node leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteRouting {
    /// Hand it to the leader and answer for it.
    Forward,
    /// Answer 307 with the leader's address.
    Redirect,
}

/// What publishing a snapshot does to the bytes it stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnSnapshot {
    /// They stay.
    Keep,
    /// They are no longer kept.
    Trim,
}

/// Who may keep an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheScope {
    /// Everybody, proxies and content networks too.
    Public,
    /// The client alone.
    Private,
}

/// `[raft]`: how groups elect, replicate and shorten their logs. The same on every node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Raft {
    /// How often an idle leader says that it lives. Default 500ms, 10ms to 10s: with many groups, shorter ones cost
    /// more than the seconds they save in a failure.
    pub heartbeat: Duration,
    /// Shortest time a follower waits for a sign of its leader before it stands for election. Default 1500ms, 20ms to
    /// 1m; at least twice the heartbeat, so that one lost message topples nobody.
    pub election_min: Duration,
    /// Longest such time; each wait is thrown between the two, so that two seldom stand at once. Default 3s, 30ms to
    /// 2m; more than `election_min`.
    pub election_max: Duration,
    /// How long after a quorum's answer a leader serves reads without asking again. Default 750ms, 0s to 1m; at most half
    /// of `election_min`: clocks drift, and a process may be stopped between the question and the answer. 0s asks
    /// every time.
    pub lease: Duration,
    /// After how long a peer's answer is not waited for any longer. Default 2s, 10ms to 1m: a lost answer on an open
    /// connection would otherwise be waited for for ever.
    pub rpc_deadline: Duration,
    /// Most entries in one message to a peer. Default 256, 1 to 10000.
    pub batch_entries: u64,
    /// Most messages with entries that one group has on their way to one peer. Default 4, 1 to 64: more carry further
    /// over a long line, fewer gather larger batches.
    pub appends_in_flight: u64,
    /// A snapshot is made after so many entries. Default 50000, 10 to 10000000: seldom enough to cost nothing, often
    /// enough that the log stays small and a restart replays little.
    pub snapshot_entries: u64,
    /// Entries kept in the log past a snapshot, so that a follower that lags a little needs no snapshot. Default
    /// 10000, 0 to 10000000; no more than `snapshot_entries`.
    pub keep_entries: u64,
    /// Most bytes of the journal that a leader keeps for a follower that is being sent a snapshot, so that it can go on from
    /// the log. Default 1GiB, 0B to 1TiB: what the disk can spare for some minutes. A follower slower than that is sent
    /// another snapshot.
    pub hold_bytes: u64,
    /// Size of the pieces in which a snapshot travels. Default 1MiB, 4KiB to 16MiB: bounds what either side holds.
    pub snapshot_chunk: u64,
}

impl Default for Raft {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_millis(500),
            election_min: Duration::from_millis(1500),
            election_max: Duration::from_millis(3000),
            lease: Duration::from_millis(750),
            rpc_deadline: Duration::from_secs(2),
            batch_entries: 256,
            appends_in_flight: 4,
            snapshot_entries: 50_000,
            keep_entries: 10_000,
            hold_bytes: 1024 * MIB,
            snapshot_chunk: MIB,
        }
    }
}

/// `[journal]`: the log on disk that holds every byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Journal {
    /// Size of a segment file, preallocated. Default 64MiB, 64KiB to 1GiB; more than `http.max_body` by 64KiB, because
    /// a record lies in one segment. Space is freed by whole segments.
    pub segment: u64,
    /// Bytes that may wait for the disk; past it, writers wait. Default 64MiB, 64KiB to 4GiB; more than `http.max_body`
    /// by 64KiB.
    pub queue: u64,
}

impl Default for Journal {
    fn default() -> Self {
        Self {
            segment: 64 * MIB,
            queue: 64 * MIB,
        }
    }
}

/// `[index]`: what finds the bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    /// How often the index is made durable. Default 5s, 100ms to 10m: a restart replays the journal from there.
    pub flush_interval: Duration,
    /// Memory for blocks read from disk. Default 64MiB, 1MiB to 256GiB.
    pub block_cache: u64,
    /// Memory for rows not yet in a file. Default 16MiB, 1MiB to 4GiB.
    pub write_buffer: u64,
}

impl Default for Index {
    fn default() -> Self {
        Self {
            flush_interval: Duration::from_secs(5),
            block_cache: 64 * MIB,
            write_buffer: 16 * MIB,
        }
    }
}

/// `[cache]`: what is kept in memory because it is asked for often.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cache {
    /// Newest bytes of streams, shared by all readers at the tail. Default 64MiB, 0B to 256GiB.
    pub tail: u64,
    /// Streams whose rows are kept at hand; the others are read from the index when asked for. Default 20000, 16 to
    /// 100000000. Each takes some 400 bytes.
    pub streams: u64,
    /// Bytes read from a disk at once for one reader, and the most a slow one holds. Default 256KiB, 4KiB to 16MiB.
    pub read_piece: u64,
}

impl Default for Cache {
    fn default() -> Self {
        Self {
            tail: 64 * MIB,
            streams: 20_000,
            read_piece: 256 * KIB,
        }
    }
}

/// `[cold]`: where old bytes go, when, and how they are read there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cold {
    /// "none" keeps everything in the journal; "local" is a folder in `data_dir`, for a node that stands alone.
    /// Default "none" with `[cluster]`, "local" without it.
    pub backend: ColdBackend,
    /// Bytes of a stream move when the first of them is so old. Default 1h, 100ms to 2160h. Later makes fewer and fuller
    /// objects; sooner loses less with the last node.
    pub hot_age: Duration,
    /// Bytes of a stream move when there are more of them than this, however young. Default 64MiB, 1KiB to 64GiB.
    pub hot_stream: u64,
    /// The oldest bytes of a group move when it has more of them than this in the journal. Default 1GiB, 64KiB to 64TiB:
    /// with `groups`, this is about what the journal takes on the disk.
    pub hot_group: u64,
    /// Appends are refused with 503 while a group has more bytes than this in the journal, because the cold store does not
    /// take them. Default 8GiB, 64KiB to 64TiB; more than `hot_group`.
    pub hot_max: u64,
    /// How often a leader looks what has to move. Default 5s, 50ms to 1h.
    pub every: Duration,
    /// Size of an object, about: what is gathered from many streams before it is put. Default 8MiB, 4KiB to 512MiB.
    pub object: u64,
    /// Bodies of appends, and parts of snapshots, of so many bytes or more go to the cold store before the log hears of them,
    /// and only where they are goes through the log. Default 4MiB, 0B to 512MiB; 0B: never.
    pub reference: u64,
    /// How often a leader looks for objects that nothing refers to. Default 10m, 100ms to 168h.
    pub sweep_every: Duration,
    /// How long such an object stays, for readers that are under way and nodes that are behind. Default 1h, 100ms to 2160h.
    pub grace: Duration,
    /// How often a leader writes down what was committed in its group, with `cold.backend = "s3"`: a cluster that is lost
    /// comes back from the bucket as it was then. Default 30s, 0s to 24h; 0s: never, and a lost cluster stays lost.
    pub record_every: Duration,
    /// Bytes of objects kept in memory for readers. Default 64MiB, 0B to 256GiB.
    pub cache: u64,
    /// Bytes of objects kept on the node's own disk for readers, in the folder `cold-cache`; a restart begins anew. Default 0B,
    /// none; 0B to 64TiB.
    pub disk_cache: u64,
    /// Bytes of an object that are fetched and kept at once. Default 1MiB, 4KiB to 64MiB.
    pub block: u64,
    /// Blocks fetched ahead of a reader that goes on. Default 4, 0 to 64.
    pub read_ahead: u64,
    /// How long one tries to read an object. Default 20s, 100ms to 10m.
    pub patience: Duration,
    /// A read that takes longer than that is asked a second time beside it. Default 1s, 10ms to 10m.
    pub hedge_after: Duration,
}

impl Default for Cold {
    fn default() -> Self {
        Self {
            backend: ColdBackend::None,
            hot_age: Duration::from_secs(3600),
            hot_stream: 64 * MIB,
            hot_group: 1024 * MIB,
            hot_max: 8 * 1024 * MIB,
            every: Duration::from_secs(5),
            object: 8 * MIB,
            reference: 4 * MIB,
            sweep_every: Duration::from_secs(600),
            grace: Duration::from_secs(3600),
            record_every: Duration::from_secs(30),
            cache: 64 * MIB,
            disk_cache: 0,
            block: MIB,
            read_ahead: 4,
            patience: Duration::from_secs(20),
            hedge_after: Duration::from_secs(1),
        }
    }
}

impl Cold {
    /// From how many bytes on a body goes to the cold store at once, if any does.
    #[must_use]
    pub fn sent_ahead(&self) -> Option<u64> {
        (self.backend != ColdBackend::None && self.reference > 0).then_some(self.reference)
    }

    /// Whether the groups are written down, to be restored if all nodes are lost. A folder would be lost with them.
    #[must_use]
    pub fn records(&self) -> bool {
        self.backend == ColdBackend::S3 && !self.record_every.is_zero()
    }
}

/// Where old bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColdBackend {
    /// Nowhere.
    None,
    /// A folder of this node, which has to stand alone: others could not read it.
    Local,
    /// An S3 bucket.
    S3,
}

impl ColdBackend {
    /// As it is written in the file.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Local => "local",
            Self::S3 => "s3",
        }
    }
}

/// `[s3]`: the bucket, where `cold.backend` is "s3". A text that begins with `$` is the name of an environment variable, and
/// what that holds is meant; if there is none, the node does not start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3 {
    /// The bucket. It must be there. Default none; needed with `cold.backend = "s3"`.
    pub bucket: Option<String>,
    /// What the names of all objects begin with. Default none: several clusters may share a bucket, for each has a number
    /// of its own in the names.
    pub prefix: Option<String>,
    /// The region, as in "eu-central-1". Default none: what the environment of the AWS tools says.
    pub region: Option<String>,
    /// Where the store is, as in "https://s3.example.org:9000", if it is not AWS's own. Default none.
    pub endpoint: Option<String>,
    /// How the bucket is named in requests: "host" (bucket.host/key) or "path" (host/bucket/key), which most stores other
    /// than AWS want. Default "host".
    pub addressing: S3Addressing,
    /// The id of the access key. Default none: the standard chain of the AWS tools (variables, profile, instance role).
    pub access_key_id: Option<String>,
    /// The secret of the access key, as in "$HOLDFAST_SECRET". Default none.
    pub secret_access_key: Option<String>,
    /// A file of PEM certificates to trust instead of the system's. Default none.
    pub ca_file: Option<String>,
    /// How the store encrypts objects: "bucket" as the bucket says, "aes256" (SSE-S3), or "kms" (SSE-KMS, with `kms_key`).
    /// Default "bucket".
    pub encryption: S3Encryption,
    /// The id or ARN of the key for "kms". Default none.
    pub kms_key: Option<String>,
    /// How long to wait for a connection. Default 5s, 10ms to 10m.
    pub connect_timeout: Duration,
    /// How long one attempt may take until its answer begins. Default 30s, 10ms to 10m.
    pub attempt_timeout: Duration,
    /// How long a request may take with all its attempts. Default 2m, 10ms to 1h.
    pub operation_timeout: Duration,
    /// How often a request is sent at most. Default 3, 1 to 100.
    pub attempts: u64,
}

impl Default for S3 {
    fn default() -> Self {
        Self {
            bucket: None,
            prefix: None,
            region: None,
            endpoint: None,
            addressing: S3Addressing::Host,
            access_key_id: None,
            secret_access_key: None,
            ca_file: None,
            encryption: S3Encryption::Bucket,
            kms_key: None,
            connect_timeout: Duration::from_secs(5),
            attempt_timeout: Duration::from_secs(30),
            operation_timeout: Duration::from_secs(120),
            attempts: 3,
        }
    }
}

/// How a bucket is named in requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum S3Addressing {
    /// In the name of the host.
    Host,
    /// In the path.
    Path,
}

/// How a store encrypts what it writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum S3Encryption {
    /// As the bucket says.
    Bucket,
    /// With keys of the store's own.
    Aes256,
    /// With a key of its key management.
    Kms,
}

/// `[log]`: what the node tells its operator, on standard error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// What is told: "error", "warn", "info", "debug", "trace", or directives such as "info,node::raft=debug". Default
    /// "info".
    pub filter: String,
    /// "text" for people, "json" for machines. Default "text".
    pub format: LogFormat,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            filter: "info".to_owned(),
            format: LogFormat::Text,
        }
    }
}

/// How a line of the log looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}
