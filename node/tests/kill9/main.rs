//! The real program, as real processes on real files: killed with SIGKILL under load, started again, and held to its word.
//!
//! | file | tells |
//! |---|---|
//! | `single` | one process, killed again and again in the middle of appends |
//! | `three` | three processes from three files: any order, rolling kills, two at once, all at once |
//! | `refusals` | directories and files that a node must refuse, with a sentence that helps |
//! | `process` | how processes are started and killed |
//! | `workload` | who writes what, and what must be found afterwards |
#![expect(
    clippy::disallowed_methods,
    reason = "this stands outside of the node: real files, real processes"
)]

mod process;
mod refusals;
mod single;
mod three;
mod workload;
