//! Nobody sleeps through a change, and nobody is remembered who has gone.

use std::task::{Context, Poll, Waker};

use super::*;
use crate::stream::{Lifetime, Offset, Retention};

fn tails() -> Arc<Tails> {
    Arc::new(Tails::new(1000))
}

fn name(path: &str) -> StreamName {
    StreamName::flat(path).expect("a name")
}

fn row(incarnation: u64, tail: u64) -> StreamRow {
    StreamRow {
        incarnation,
        content_type: "text/plain".into(),
        created_ms: 0,
        tail: Offset(tail),
        earliest: Offset(0),
        closed: None,
        last_seq: None,
        producers: 0,
        lifetime: Lifetime::Forever,
        touched_ms: 0,
        deadline_key_ms: None,
        retention: Retention::default(),
        marks: Vec::new(),
        written_ms: 0,
        snapshot: None,
        base: None,
        refs: 0,
        gone: false,
    }
}

fn poll(waiter: &mut Waiter) -> Poll<()> {
    waiter.poll_change(&mut Context::from_waker(Waker::noop()))
}

fn topics(tails: &Tails) -> usize {
    tails.shards.iter().map(|shard| shard.lock().unwrap().len()).sum()
}

#[test]
fn what_happens_between_the_look_and_the_wait_ends_the_wait() {
    let tails = tails();
    let mut waiter = tails.wait(0, &name("a")).unwrap();
    assert_eq!(waiter.news(), News::Look);
    // Here the reader looks at the stream, and finds nothing new.
    tails.changed(0, &name("a"), Some(&row(1, 5)));
    assert_eq!(poll(&mut waiter), Poll::Ready(()));
    assert_eq!(waiter.news(), News::At(row(1, 5).standing()));
    assert_eq!(poll(&mut waiter), Poll::Pending);
}

#[test]
fn what_was_told_before_somebody_came_is_not_believed() {
    let tails = tails();
    let mut early = tails.wait(0, &name("a")).unwrap();
    tails.changed(0, &name("a"), None);
    let mut late = tails.wait(0, &name("a")).unwrap();
    assert_eq!(early.news(), News::Gone);
    // It was created again before the late one looked, and that is yet to be told.
    assert_eq!(late.news(), News::Look);
    assert_eq!(late.news(), News::Look);
    tails.changed(0, &name("a"), Some(&row(2, 0)));
    assert_eq!(late.news(), News::At(row(2, 0).standing()));
}

#[test]
fn only_the_readers_of_that_stream_wake() {
    let tails = tails();
    let (mut a, mut b) = (tails.wait(0, &name("a")).unwrap(), tails.wait(0, &name("b")).unwrap());
    a.news();
    b.news();
    tails.changed(0, &name("a"), Some(&row(1, 5)));
    assert_eq!((poll(&mut a), poll(&mut b)), (Poll::Ready(()), Poll::Pending));
}

#[test]
fn a_snapshot_wakes_everybody_of_its_group_to_look() {
    let tails = tails();
    let (mut a, mut b) = (tails.wait(3, &name("a")).unwrap(), tails.wait(4, &name("b")).unwrap());
    a.news();
    b.news();
    tails.changed(3, &name("a"), Some(&row(1, 5)));
    tails.replaced(3);
    assert_eq!((poll(&mut a), poll(&mut b)), (Poll::Ready(()), Poll::Pending));
    assert_eq!(a.news(), News::Look);
}

#[test]
fn nobody_waits_at_a_node_that_ends() {
    let tails = tails();
    let mut waiter = tails.wait(0, &name("a")).unwrap();
    waiter.news();
    tails.end();
    assert_eq!(poll(&mut waiter), Poll::Ready(()));
    assert_eq!(waiter.news(), News::Over);
    assert_eq!(tails.wait(0, &name("a")).unwrap().news(), News::Over);
}

#[test]
fn there_is_a_bound_and_nothing_is_kept_of_who_has_gone() {
    let tails = Arc::new(Tails::new(3));
    let mut waiters: Vec<Waiter> = (0..3)
        .map(|n| tails.wait(0, &name(["a", "b"][n % 2])).unwrap())
        .collect();
    assert!(tails.wait(0, &name("c")).is_err());
    assert_eq!(topics(&tails), 2);
    waiters.clear();
    assert_eq!(topics(&tails), 0);
    for _ in 0..10 {
        drop(tails.wait(0, &name("c")).unwrap());
    }
    assert_eq!((topics(&tails), tails.waiters.load(Ordering::Relaxed)), (0, 0));
}

#[test]
fn an_event_is_made_once_for_all_and_not_kept_for_one() {
    let tails = tails();
    let place = Place {
        incarnation: 1,
        from: Offset(0),
        manner: 0,
    };
    let made = std::cell::Cell::new(0);
    let make = || {
        made.set(made.get() + 1);
        Some(Event {
            whole: "event".into(),
            data_len: 0,
            next: Offset(5),
            seen: Offset(5),
            cursor: 0,
            last: false,
        })
    };
    let one = tails.wait(0, &name("a")).unwrap();
    one.shared(place, make).unwrap();
    one.shared(place, make).unwrap();
    assert_eq!(made.get(), 2);
    let other = tails.wait(0, &name("a")).unwrap();
    one.shared(place, make).unwrap();
    other.shared(place, make).unwrap();
    assert_eq!(made.get(), 3);
    assert_eq!(tails.shared_bytes.load(Ordering::Relaxed), 5);
    drop((one, other));
    assert_eq!(tails.shared_bytes.load(Ordering::Relaxed), 0);
}
