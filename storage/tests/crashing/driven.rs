//! A journal driven by hand: nothing is written until the test says so.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use storage::{
    disk::Disk,
    journal::{Cut, Journal, JournalError, Kind, Options, Placed, Record, Recovered},
};

pub(crate) const FOLDER: &str = "journal";

/// A journal with its commit loop.
pub(crate) struct Driven {
    pub(crate) journal: Journal,
    pub(crate) fresh: bool,
    pub(crate) cut: Option<Cut>,
    run: Pin<Box<dyn Future<Output = Result<(), JournalError>> + Send>>,
    pub(crate) ended: Option<Result<(), JournalError>>,
}

/// Whether somebody was told, and what.
#[derive(Debug, Clone, Default)]
pub(crate) struct Told(Arc<Mutex<Option<Result<(), JournalError>>>>);

impl Told {
    pub(crate) fn answer(&self) -> Option<Result<(), JournalError>> {
        self.0.lock().unwrap().clone()
    }

    pub(crate) fn is_durable(&self) -> bool {
        matches!(self.answer(), Some(Ok(())))
    }
}

/// Small segments, so that there are many.
pub(crate) fn options() -> Options {
    Options {
        identity: *b"an identity here",
        segment_bytes: 4096,
        ..Options::default()
    }
}

/// Opens, and collects what is shown. `None` if the power went off.
pub(crate) fn try_open(
    disk: Arc<dyn Disk>,
    options: Options,
) -> Option<Result<(Driven, Vec<Recovered>), JournalError>> {
    let mut seen = Vec::new();
    let opened = poll_once(Box::pin(Journal::open(disk, FOLDER, options, &mut |found| {
        seen.push(found)
    })))?;
    Some(opened.map(|opened| {
        let run = Box::pin(opened.commit_loop.run());
        (
            Driven {
                journal: opened.journal,
                fresh: opened.fresh,
                cut: opened.cut,
                run,
                ended: None,
            },
            seen,
        )
    }))
}

/// Opens what must open.
pub(crate) fn open(disk: Arc<dyn Disk>) -> (Driven, Vec<Recovered>) {
    try_open(disk, options())
        .expect("the power is on")
        .expect("the journal opens")
}

impl Driven {
    /// Lets the commit loop do all it can.
    pub(crate) fn drive(&mut self) {
        if self.ended.is_none()
            && let Poll::Ready(result) = self.run.as_mut().poll(&mut Context::from_waker(Waker::noop()))
        {
            self.ended = Some(result);
        }
    }

    pub(crate) fn append(&self, records: Vec<Record>) -> (Vec<Placed>, Told) {
        let told = Told::default();
        let tell = told.clone();
        let placed = self
            .journal
            .append(records, move |result| *tell.0.lock().unwrap() = Some(result));
        (placed, told)
    }

    /// Runs a future of the journal along with the loop; `None` if the power went off, or it waits for ever.
    pub(crate) fn along<T>(&mut self, future: impl Future<Output = T> + Send) -> Option<T> {
        let mut future = Box::pin(future);
        for _ in 0..4 {
            if let Poll::Ready(result) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                return Some(result);
            }
            self.drive();
        }
        None
    }

    /// Closes in good order.
    pub(crate) fn close(mut self) {
        self.journal.close();
        self.drive();
        assert!(
            matches!(self.ended, Some(Ok(()))),
            "a close ends the loop: {:?}",
            self.ended
        );
    }
}

/// The result of a future that either is ready at once or waits for ever.
pub(crate) fn poll_once<F: Future + Unpin>(mut future: F) -> Option<F::Output> {
    match Pin::new(&mut future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => Some(result),
        Poll::Pending => None,
    }
}

pub(crate) fn record(kind: Kind, group: u32, index: u64, payload: impl Into<Bytes>) -> Record {
    Record {
        kind,
        group,
        index,
        term: 1,
        payload: vec![payload.into()],
    }
}

pub(crate) fn entry(group: u32, index: u64, payload: impl Into<Bytes>) -> Record {
    record(Kind::Entry, group, index, payload)
}
