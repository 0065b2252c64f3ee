//! AppendEntries to one follower, several under way: the next batch travels while the one before is being synced.
//!
//! Requests leave in log order on one connection, and the receiver takes them up in that order (see
//! [`Handler`](crate::peer::Handler)). Answers are handed to openraft in the order of the requests, whatever order they
//! come back in; the first that is not a plain success ends the stream, and openraft begins the next one at what was
//! acknowledged.
//!
//! By an answer openraft takes for answered whatever it sent that ends at the same entry, also what it sent later, and
//! trusts its lease from then on. A request without entries (it tells how far is committed) ends where the one before it
//! does. So the answer to a request is passed over while one behind it that ends at the same entry has no answer: the
//! answer to that one says the same, and is as new as openraft takes it for. Else a leader that stood still, and found old
//! answers when it went on, would lead by them again.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesOrdered, Stream, StreamExt};
use openraft::errors::{NetworkError, RPCError};
use openraft::raft::StreamAppendResult;

use super::types::{Entry, LogId, Payload, Types};
use super::wire::{Append, Appended};

/// How much may be on its way to one follower of one group.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    /// Requests without an answer, at least 1.
    pub(super) requests: usize,
    /// Bytes of entries in them beyond which no further request is added.
    pub(super) bytes: usize,
}

/// What openraft is told of one request.
pub(super) type Told = Result<StreamAppendResult<Types>, RPCError<Types>>;

/// Sends what `input` yields and yields what came of it.
pub(super) struct Pipeline<S, F> {
    /// `None` once it has ended.
    input: Option<S>,
    send: F,
    window: Window,
    under_way: FuturesOrdered<BoxFuture<'static, Answer>>,
    /// Where each of them ends.
    ends: VecDeque<Option<LogId>>,
    bytes: usize,
    /// Nothing has been acknowledged yet.
    fresh: bool,
    over: bool,
}

struct Answer {
    prev: Option<LogId>,
    last: Option<LogId>,
    bytes: usize,
    answer: Result<Appended, RPCError<Types>>,
}

impl<S, F, Sending> Pipeline<S, F>
where
    S: Stream<Item = Append> + Unpin,
    F: FnMut(Append) -> Sending + Unpin,
    Sending: Future<Output = Result<Appended, RPCError<Types>>> + Send + 'static,
{
    pub(super) fn new(input: S, window: Window, send: F) -> Self {
        Self {
            input: Some(input),
            send,
            window,
            under_way: FuturesOrdered::new(),
            ends: VecDeque::new(),
            bytes: 0,
            fresh: true,
            over: false,
        }
    }

    fn has_room(&self) -> bool {
        self.under_way.is_empty() || (self.under_way.len() < self.window.requests && self.bytes < self.window.bytes)
    }

    /// Takes requests in while there is room. Asking for one may wait for new entries to be proposed.
    fn fill(&mut self, cx: &mut Context<'_>) {
        while self.has_room() {
            let Some(input) = &mut self.input else { return };
            match input.poll_next_unpin(cx) {
                Poll::Ready(Some(request)) => {
                    let prev = request.prev_log_id;
                    let last = request.entries.last().map(|entry| entry.log_id).or(prev);
                    let bytes = request.entries.iter().map(size).sum();
                    self.bytes += bytes;
                    self.ends.push_back(last);
                    let sending = (self.send)(request);
                    self.under_way.push_back(Box::pin(async move {
                        let answer = sending.await;
                        Answer {
                            prev,
                            last,
                            bytes,
                            answer,
                        }
                    }));
                }
                Poll::Ready(None) => self.input = None,
                Poll::Pending => return,
            }
        }
    }

    /// An answer has come. `None`: the next one will say the same.
    fn answered(&mut self, answer: Answer) -> Option<Told> {
        self.bytes -= answer.bytes;
        self.ends.pop_front();
        let whole = match &answer.answer {
            Ok(Appended::Success) => true,
            Ok(Appended::PartialSuccess(upto)) => *upto == answer.last,
            _ => false,
        };
        if whole && self.ends.front() == Some(&answer.last) {
            self.fresh = false;
            return None;
        }
        Some(self.tell(answer))
    }

    fn tell(&mut self, answer: Answer) -> Told {
        let fresh = std::mem::take(&mut self.fresh);
        let appended = answer.answer.inspect_err(|_| self.over = true)?;
        match &appended {
            Appended::Success => {}
            Appended::PartialSuccess(upto) => self.over |= *upto != answer.last,
            // What precedes this request was just acknowledged, so the follower has it: this one was taken up out of turn
            // (the one before lost its place in the queue). To openraft a conflict there would be a log that shrank.
            Appended::Conflict if !fresh => {
                self.over = true;
                let why = std::io::Error::other("a request was taken up before the one it follows");
                return Err(RPCError::Network(NetworkError::new(&why)));
            }
            Appended::Conflict | Appended::HigherVote(_) => self.over = true,
        }
        Ok(appended.into_stream_result(answer.prev, answer.last))
    }
}

impl<S, F, Sending> Stream for Pipeline<S, F>
where
    S: Stream<Item = Append> + Unpin,
    F: FnMut(Append) -> Sending + Unpin,
    Sending: Future<Output = Result<Appended, RPCError<Types>>> + Send + 'static,
{
    type Item = Told;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Told>> {
        let this = &mut *self;
        if this.over {
            return Poll::Ready(None);
        }
        loop {
            this.fill(cx);
            match this.under_way.poll_next_unpin(cx) {
                Poll::Ready(Some(answer)) => {
                    if let Some(told) = this.answered(answer) {
                        return Poll::Ready(Some(told));
                    }
                }
                Poll::Ready(None) if this.input.is_none() => return Poll::Ready(None),
                Poll::Ready(None) | Poll::Pending => return Poll::Pending,
            }
        }
    }
}

/// About how many bytes an entry takes on the line.
fn size(entry: &Entry) -> usize {
    match &entry.payload {
        Payload::Normal(envelope) => envelope.meta.len() + envelope.body.len(),
        Payload::Blank | Payload::Membership(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::{Arc, Mutex};

    use futures_util::FutureExt;
    use futures_util::stream;
    use openraft::entry::RaftEntry;
    use openraft::raft::StreamAppendError;
    use tokio::sync::{mpsc, oneshot};

    use super::super::types::{Envelope, Vote, log_id};
    use super::*;

    const WINDOW: Window = Window {
        requests: 3,
        bytes: 100,
    };

    /// The entry `at`, of `bytes` bytes.
    fn request(at: u64, bytes: usize) -> Append {
        let envelope = Envelope {
            meta: Vec::new().into(),
            body: vec![0; bytes].into(),
        };
        Append {
            vote: Vote::new_committed(1, 1),
            prev_log_id: Some(log_id(1, at - 1)),
            entries: vec![Entry::new(log_id(1, at), Payload::Normal(envelope))],
            leader_commit: None,
        }
    }

    /// Tells that what was sent is committed up to the entry `at`, without entries.
    fn committed(at: u64) -> Append {
        Append {
            prev_log_id: Some(log_id(1, at)),
            entries: Vec::new(),
            leader_commit: Some(log_id(1, at)),
            ..request(at, 0)
        }
    }

    /// What the follower calls a request without entries by, beside the entry it ends at.
    const COMMITTED: u64 = 100;

    type Follower = Arc<Mutex<BTreeMap<u64, oneshot::Sender<Result<Appended, RPCError<Types>>>>>>;
    type Asking = BoxFuture<'static, Result<Appended, RPCError<Types>>>;

    /// A follower that answers when told to, and a pipeline to it.
    fn pipeline<S: Stream<Item = Append> + Unpin>(
        input: S,
    ) -> (Follower, Pipeline<S, impl FnMut(Append) -> Asking + Unpin>) {
        let follower = Follower::default();
        let asked = follower.clone();
        let send = move |request: Append| {
            let (sender, answer) = oneshot::channel();
            let without = || COMMITTED + request.prev_log_id.expect("there is one").index;
            let at = request.entries.first().map_or_else(without, |entry| entry.log_id.index);
            asked.lock().unwrap().insert(at, sender);
            async move { answer.await.unwrap() }.boxed()
        };
        (follower, Pipeline::new(input, WINDOW, send))
    }

    fn answer(follower: &Follower, at: u64, answer: Result<Appended, RPCError<Types>>) {
        let sender = follower.lock().unwrap().remove(&at).expect("it was asked");
        sender.send(answer).unwrap();
    }

    fn asked(follower: &Follower) -> Vec<u64> {
        follower.lock().unwrap().keys().copied().collect()
    }

    fn lost() -> RPCError<Types> {
        RPCError::Network(NetworkError::new(&std::io::Error::other("lost")))
    }

    #[test]
    fn several_are_under_way_and_the_rest_waits_for_room() {
        let (follower, mut pipeline) = pipeline(stream::iter((1..=5).map(|at| request(at, 10))));
        assert!(pipeline.next().now_or_never().is_none());
        assert_eq!(asked(&follower), [1, 2, 3]);
        answer(&follower, 1, Ok(Appended::Success));
        assert_eq!(
            pipeline.next().now_or_never().unwrap().unwrap().unwrap(),
            Ok(Some(log_id(1, 1)))
        );
        assert!(pipeline.next().now_or_never().is_none());
        assert_eq!(asked(&follower), [2, 3, 4]);
    }

    #[test]
    fn many_bytes_under_way_are_enough() {
        let (follower, mut pipeline) = pipeline(stream::iter((1..=5).map(|at| request(at, 70))));
        assert!(pipeline.next().now_or_never().is_none());
        assert_eq!(asked(&follower), [1, 2]);
    }

    #[test]
    fn a_request_larger_than_the_window_goes_alone() {
        let (follower, mut pipeline) = pipeline(stream::iter((1..=2).map(|at| request(at, 1000))));
        assert!(pipeline.next().now_or_never().is_none());
        assert_eq!(asked(&follower), [1]);
    }

    #[test]
    fn answers_are_told_in_the_order_of_the_requests() {
        let (follower, mut pipeline) = pipeline(stream::iter((1..=3).map(|at| request(at, 10))));
        assert!(pipeline.next().now_or_never().is_none());
        answer(&follower, 3, Ok(Appended::Success));
        answer(&follower, 2, Ok(Appended::Success));
        assert!(pipeline.next().now_or_never().is_none());
        answer(&follower, 1, Ok(Appended::Success));
        for at in 1..=3 {
            let told = pipeline.next().now_or_never().unwrap().unwrap().unwrap();
            assert_eq!(told, Ok(Some(log_id(1, at))));
        }
        assert!(pipeline.next().now_or_never().unwrap().is_none());
    }

    #[test]
    fn an_answer_does_not_count_for_what_was_sent_later_and_ends_at_the_same_entry() {
        let (follower, mut pipeline) = pipeline(stream::iter([request(1, 10), committed(1), request(2, 10)]));
        assert!(pipeline.next().now_or_never().is_none());
        answer(&follower, 1, Ok(Appended::Success));
        assert!(pipeline.next().now_or_never().is_none());
        answer(&follower, COMMITTED + 1, Ok(Appended::Success));
        let told = pipeline.next().now_or_never().unwrap().unwrap().unwrap();
        assert_eq!(told, Ok(Some(log_id(1, 1))));
        answer(&follower, 2, Ok(Appended::Success));
        let told = pipeline.next().now_or_never().unwrap().unwrap().unwrap();
        assert_eq!(told, Ok(Some(log_id(1, 2))));
        assert!(pipeline.next().now_or_never().unwrap().is_none());
    }

    #[test]
    fn an_answer_passed_over_is_not_told_if_the_next_one_is_a_refusal() {
        for refusal in [
            Ok(Appended::HigherVote(Vote::new(9, 2))),
            Ok(Appended::Conflict),
            Err(lost()),
        ] {
            let (follower, mut pipeline) = pipeline(stream::iter([request(1, 10), committed(1)]));
            assert!(pipeline.next().now_or_never().is_none());
            answer(&follower, 1, Ok(Appended::Success));
            let higher = matches!(refusal, Ok(Appended::HigherVote(_)));
            answer(&follower, COMMITTED + 1, refusal);
            let told = pipeline.next().now_or_never().unwrap().unwrap();
            match told {
                Ok(Err(StreamAppendError::HigherVote(_))) => assert!(higher),
                // What precedes it was acknowledged, so a conflict there is an error of the line.
                Err(RPCError::Network(_)) => assert!(!higher),
                other => panic!("{other:?}"),
            }
            assert!(pipeline.next().now_or_never().unwrap().is_none());
        }
    }

    #[test]
    fn answers_are_told_while_the_log_has_nothing_new() {
        let (proposed, mut log) = mpsc::unbounded_channel();
        let (follower, mut pipeline) = pipeline(stream::poll_fn(move |cx| log.poll_recv(cx)));
        proposed.send(request(1, 10)).unwrap();
        assert!(pipeline.next().now_or_never().is_none());
        answer(&follower, 1, Ok(Appended::Success));
        assert!(pipeline.next().now_or_never().is_some());
        assert!(pipeline.next().now_or_never().is_none());
        proposed.send(request(2, 10)).unwrap();
        assert!(pipeline.next().now_or_never().is_none());
        assert_eq!(asked(&follower), [2]);
    }

    #[test]
    fn a_lost_answer_ends_it_whatever_came_of_the_others() {
        let (follower, mut pipeline) = pipeline(stream::iter((1..=3).map(|at| request(at, 10))));
        assert!(pipeline.next().now_or_never().is_none());
        answer(&follower, 2, Ok(Appended::Success));
        answer(&follower, 1, Err(lost()));
        assert!(pipeline.next().now_or_never().unwrap().unwrap().is_err());
        assert!(pipeline.next().now_or_never().unwrap().is_none());
    }

    #[test]
    fn only_the_first_request_may_find_another_log() {
        let (follower, mut pipeline) = pipeline(stream::iter((1..=3).map(|at| request(at, 10))));
        assert!(pipeline.next().now_or_never().is_none());
        answer(&follower, 1, Ok(Appended::Conflict));
        let told = pipeline.next().now_or_never().unwrap().unwrap().unwrap();
        assert_eq!(told, Err(StreamAppendError::Conflict(log_id(1, 0))));
        assert!(pipeline.next().now_or_never().unwrap().is_none());
    }

    #[test]
    fn a_request_taken_up_out_of_turn_is_an_error_of_the_line_and_no_conflict() {
        let (follower, mut pipeline) = pipeline(stream::iter((1..=3).map(|at| request(at, 10))));
        assert!(pipeline.next().now_or_never().is_none());
        answer(&follower, 1, Ok(Appended::Success));
        answer(&follower, 2, Ok(Appended::Conflict));
        assert!(pipeline.next().now_or_never().unwrap().unwrap().is_ok());
        assert!(matches!(
            pipeline.next().now_or_never().unwrap().unwrap(),
            Err(RPCError::Network(_))
        ));
        assert!(pipeline.next().now_or_never().unwrap().is_none());
    }

    #[test]
    fn a_follower_that_took_a_part_is_asked_anew() {
        let (follower, mut pipeline) = pipeline(stream::iter((1..=3).map(|at| request(at, 10))));
        assert!(pipeline.next().now_or_never().is_none());
        answer(&follower, 1, Ok(Appended::PartialSuccess(Some(log_id(1, 0)))));
        let told = pipeline.next().now_or_never().unwrap().unwrap().unwrap();
        assert_eq!(told, Ok(Some(log_id(1, 0))));
        assert!(pipeline.next().now_or_never().unwrap().is_none());
    }

    #[test]
    fn a_higher_vote_ends_it() {
        let (follower, mut pipeline) = pipeline(stream::iter((1..=3).map(|at| request(at, 10))));
        assert!(pipeline.next().now_or_never().is_none());
        answer(&follower, 1, Ok(Appended::HigherVote(Vote::new(9, 2))));
        let told = pipeline.next().now_or_never().unwrap().unwrap().unwrap();
        assert_eq!(told, Err(StreamAppendError::HigherVote(Vote::new(9, 2))));
        assert!(pipeline.next().now_or_never().unwrap().is_none());
    }
}
