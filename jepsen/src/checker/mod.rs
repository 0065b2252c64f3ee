//! The laws, one a file. Each is a function from a history to a verdict.
//!
//! | law | in words |
//! |---|---|
//! | [`linear`](crate::linear) | there is an order, true to real time, that explains every answer |
//! | [`log`] | the same for appends and reads alone, without a search |
//! | [`acknowledged_appends_stay`] | what was acknowledged is there, once |
//! | [`nothing_read_that_nobody_wrote`] | no foreign bytes, nothing before its time, nothing that was refused |
//! | [`offsets_grow`] | an offset names one content for ever, and later content has a greater one |
//! | [`producer_stores_once`] | a tuple is stored once, in order; a fenced one not at all |
//! | [`closed_stays_closed`] | after the end there is nothing more |
//! | [`snapshots_stand_for_what_came_before`] | what begins with a snapshot misses nothing |
//! | [`local_reads_are_prefixes`] | the cheap answer may be old, never wrong |
//! | [`deleted_stays_deleted`] | a re-created stream is another stream |
//! | [`lives_while_used`] | a stream with a window lives while it is used, and not much longer |
//! | [`ends_at_its_moment`] | a stream that is to end at a moment ends then |
//! | [`forgets_as_agreed`] | what is to be kept is there, what is to be forgotten goes in time |
//! | [`buckets`](crate::buckets) | a bucket and its streams are one object: it goes only when it is empty |
//! | [`listings_are_true`] | a page shows what was there all the while, and nothing that was not |
//! | [`forks_part_ways`] | a fork is what its source was, and then what was written to it |
//! | [`waiting_readers_are_told`] | whoever waits at the tail is told what comes |
//! | [`every_client_answered`] | after the calm every call has its answer |
//! | [`something_happened`] | a run in which nothing happened proves nothing |

pub mod acknowledged_appends_stay;
#[cfg(test)]
pub(crate) mod bucket_tale;
pub mod closed_stays_closed;
pub mod deleted_stays_deleted;
pub mod ends_at_its_moment;
pub mod every_client_answered;
pub mod forgets_as_agreed;
pub mod forks_part_ways;
pub mod listings_are_true;
pub mod lives_while_used;
pub mod local_reads_are_prefixes;
pub mod log;
pub mod nothing_read_that_nobody_wrote;
pub mod offsets_grow;
pub mod producer_stores_once;
pub mod sessions;
pub mod snapshots_stand_for_what_came_before;
pub mod something_happened;
#[cfg(test)]
pub(crate) mod tale;
pub mod waiting_readers_are_told;

use crate::buckets;
use crate::linear;
use crate::verdict::Law;

/// Every law: first what was wrong, then what took too long or never was.
pub const LAWS: [Law; 19] = [
    nothing_read_that_nobody_wrote::LAW,
    acknowledged_appends_stay::LAW,
    offsets_grow::LAW,
    producer_stores_once::LAW,
    closed_stays_closed::LAW,
    deleted_stays_deleted::LAW,
    snapshots_stand_for_what_came_before::LAW,
    local_reads_are_prefixes::LAW,
    lives_while_used::LAW,
    ends_at_its_moment::LAW,
    forgets_as_agreed::LAW,
    log::LAW,
    Law {
        name: linear::LAW,
        judge: linear::linearizable,
    },
    buckets::LAW,
    listings_are_true::LAW,
    forks_part_ways::LAW,
    waiting_readers_are_told::LAW,
    every_client_answered::LAW,
    something_happened::LAW,
];

/// A law by its name.
#[must_use]
pub fn law(name: &str) -> Option<Law> {
    LAWS.into_iter().find(|law| law.name == name)
}
