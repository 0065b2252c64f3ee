//! The real program, as real processes on real files: killed with SIGKILL under load, started again, and held to its word.
//!
//! | file | tells |
//! |---|---|
//! | `single` | one process, killed again and again in the middle of appends |
//! | `three` | three processes from three files: any order, rolling kills, two at once, all at once |
//! | `old_bytes` | one process and three whose old bytes move to a folder, or to a bucket |
//! | `refusals` | directories and files that a node must refuse, with a sentence that helps |
//! | `process` | how processes are started and killed |
//! | `workload` | who writes what, and what must be found afterwards |
#![expect(
    clippy::disallowed_methods,
    reason = "this stands outside of the node: real files, real processes"
)]

#[expect(dead_code, reason = "TLS is tested where the backend is")]
#[path = "../../../storage/tests/s3/moto.rs"]
mod moto;
mod old_bytes;
mod process;
mod refusals;
mod single;
mod three;
mod workload;
