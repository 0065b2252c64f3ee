//! Long-poll: one answer, at once if there is something to say, else as soon as there is, else after a while that there
//! is nothing.

use http::HeaderName;
use net::rt;

use super::super::{
    Answer, Http,
    answer::{self, value},
    lifetime, refusal,
    request::Read,
};
use crate::{
    read::Reading,
    stream::{StreamName, Whence},
    tail::News,
};

const STREAM_CURSOR: HeaderName = HeaderName::from_static("stream-cursor");

impl Http {
    /// Answers a long-poll.
    pub(in super::super) async fn long_poll(&self, stream: StreamName, read: Read, cursor: Option<u64>) -> Answer {
        let Read {
            whence,
            local,
            if_none_match,
            ..
        } = read;
        let want_bytes = self.node.config.http.max_read;
        let mut reading = self.begin(&stream, whence, local, want_bytes).await?;
        if !says_something(&reading) {
            self.until_something(&stream, &mut reading).await?;
            self.align(&mut reading).await?;
        }
        let (plan, lifetime) = (reading.plan(), reading.lifetime());
        let mut response = if plan.is_empty() {
            answer::nothing_yet(plan)
        } else if whence != Whence::Now && if_none_match.is_some_and(|condition| condition.has(&plan.etag())) {
            answer::not_modified(plan, &self.caching)
        } else {
            answer::read(reading, whence, &self.caching)
        };
        lifetime::put_lifetime(response.headers_mut(), lifetime);
        let cursor = self.live.cursors.after(cursor);
        response.headers_mut().insert(STREAM_CURSOR, value(cursor));
        Ok(response)
    }

    /// Waits until the reading has bytes or has come to the end of a closed stream, or until it has waited for long
    /// enough.
    async fn until_something(&self, stream: &StreamName, reading: &mut Reading) -> Result<(), super::Problem> {
        let until = rt::Instant::now() + self.live.long_poll_timeout;
        let mut waiter = super::wait(&self.node, stream)?;
        let _kept = self.node.keep(stream, reading.lifetime());
        while waiter.news() != News::Over {
            reading
                .go_on(stream, self.node.config.http.max_read)
                .map_err(refusal::read_failed)?;
            if says_something(reading) || rt::timeout_at(until, waiter.change()).await.is_err() {
                break;
            }
        }
        Ok(())
    }
}

fn says_something(reading: &Reading) -> bool {
    reading.left() > 0 || reading.plan().closed
}
