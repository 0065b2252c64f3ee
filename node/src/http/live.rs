//! Reads that wait for what is yet to come. PROTOCOL-NOTES, Reads.
//!
//! | file | the question |
//! |---|---|
//! | `long_poll` | one answer, as soon as there is something to say |
//! | `sse` | one answer that goes on |
//! | `event` | how are bytes and places written as events? |
//! | `cursor` | what keeps caches from answering the same for ever? |
//!
//! Both begin like any other read, with the newest that a majority can confirm. Then they wait for what this node applies.

mod cursor;
mod event;
mod long_poll;
mod sse;

use std::{sync::Arc, time::Duration};

use net::{clock::Clock, dice::Dice};

pub(crate) use sse::Sse;

use super::{errors::Problem, refusal};
use crate::{
    Core,
    stream::{StreamName, group_of},
    tail::{TooMany, Waiter},
};
use cursor::Cursors;

/// How a read goes on at the tail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// `live=long-poll`
    LongPoll,
    /// `live=sse`
    Sse,
}

/// What a live read asks for besides the place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ask {
    pub(super) mode: Mode,
    /// The cursor the client was told last.
    pub(super) cursor: Option<u64>,
}

/// What live reads of a node share.
pub(super) struct Live {
    cursors: Arc<Cursors>,
    long_poll_timeout: Duration,
    sse_lifetime: Duration,
    sse_heartbeat: Duration,
    /// About how many bytes go into one event.
    event_bytes: u64,
}

impl Live {
    pub(super) fn new(core: &Core, clock: Arc<dyn Clock>, dice: &Dice) -> Self {
        let http = &core.config.http;
        Self {
            cursors: Arc::new(Cursors::new(clock, dice.stream("live"))),
            long_poll_timeout: http.long_poll_timeout,
            sse_lifetime: http.sse_lifetime,
            sse_heartbeat: http.sse_heartbeat,
            event_bytes: core.config.cache.read_piece,
        }
    }
}

/// Begins to wait for a stream. Whoever calls this looks at the stream afterwards.
fn wait(core: &Core, stream: &StreamName) -> Result<Waiter, Problem> {
    let group = group_of(stream, core.groups.count());
    core.tails
        .wait(group, stream)
        .map_err(|TooMany| refusal::too_many_wait())
}
