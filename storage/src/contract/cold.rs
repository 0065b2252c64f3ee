//! What every [`Cold`] must do.

use std::{io, sync::Arc};

use bytes::Bytes;
use futures_util::future::join_all;

use crate::{
    cold::{Cold, KEY_LEN_MAX},
    error::ColdError,
};

/// Makes an empty store.
pub type Make<'a> = &'a dyn Fn() -> Arc<dyn Cold>;

/// Every test, one after the other.
pub async fn all(make: Make<'_>) {
    an_object_reads_as_its_pieces_in_order(make).await;
    a_name_is_written_once(make).await;
    a_race_for_a_name_has_one_winner(make).await;
    ranges_are_cut_at_the_end_of_the_object(make).await;
    lists_are_sorted_and_paged(make).await;
    deleting_twice_is_deleting(make).await;
    a_name_may_be_the_beginning_of_another(make).await;
    unlawful_keys_are_refused(make).await;
}

/// Pieces are joined, also when there are none.
pub async fn an_object_reads_as_its_pieces_in_order(make: Make<'_>) {
    let cold = make();
    assert!(matches!(cold.get_range("a", 0..10).await, Err(ColdError::NotFound)));
    cold.put_if_absent("a", vec![text("one "), text(""), text("two")])
        .await
        .unwrap();
    assert_eq!(cold.get_range("a", 0..7).await.unwrap(), "one two");
    cold.put_if_absent("empty", vec![]).await.unwrap();
    assert_eq!(cold.get_range("empty", 0..7).await.unwrap(), "");
}

/// The second writer is told, and the first one's bytes stay.
pub async fn a_name_is_written_once(make: Make<'_>) {
    let cold = make();
    cold.put_if_absent("x/y", vec![text("first")]).await.unwrap();
    assert!(matches!(
        cold.put_if_absent("x/y", vec![text("second")]).await,
        Err(ColdError::Exists)
    ));
    assert!(matches!(
        cold.put_if_absent("x/y", vec![text("first")]).await,
        Err(ColdError::Exists)
    ));
    assert_eq!(cold.get_range("x/y", 0..100).await.unwrap(), "first");
}

/// Of many who write a name at once, one is told that it did, and its bytes are there.
pub async fn a_race_for_a_name_has_one_winner(make: Make<'_>) {
    let cold = make();
    let bodies: Vec<Bytes> = (0..8).map(|racer| Bytes::from(format!("of racer {racer}"))).collect();
    let results = join_all(bodies.iter().map(|body| cold.put_if_absent("race", vec![body.clone()]))).await;
    let winners: Vec<usize> = (0..bodies.len()).filter(|racer| results[*racer].is_ok()).collect();
    assert_eq!(winners.len(), 1, "one winner: {results:?}");
    let losers = results
        .iter()
        .filter(|result| matches!(result, Err(ColdError::Exists)))
        .count();
    assert_eq!(losers, bodies.len() - 1, "everyone else is told so: {results:?}");
    assert_eq!(cold.get_range("race", 0..100).await.unwrap(), bodies[winners[0]]);
}

/// A range is what there is of it.
pub async fn ranges_are_cut_at_the_end_of_the_object(make: Make<'_>) {
    let cold = make();
    cold.put_if_absent("digits", vec![text("0123456789")]).await.unwrap();
    let cases = [
        (0..10, "0123456789"),
        (2..5, "234"),
        (9..10, "9"),
        (8..99, "89"),
        (10..20, ""),
        (4..4, ""),
    ];
    for (range, expected) in cases {
        assert_eq!(
            cold.get_range("digits", range.clone()).await.unwrap(),
            expected,
            "{range:?}"
        );
    }
    assert_eq!(cold.get_range("digits", 3..u64::MAX).await.unwrap(), "3456789");
    assert_eq!(cold.get_range("digits", u64::MAX - 1..u64::MAX).await.unwrap(), "");
    assert!(matches!(cold.get_range("other", 4..4).await, Err(ColdError::NotFound)));
}

/// A page goes on after the last key of the one before, whatever the prefix.
pub async fn lists_are_sorted_and_paged(make: Make<'_>) {
    let cold = make();
    assert_eq!(cold.list("", None, 10).await.unwrap(), Vec::<String>::new());
    // `-` and `.` sort before `/`, letters after it: folder by folder is not the order of keys.
    let sorted = ["a", "a-b", "a.b", "a/1", "a/2/x", "a/2/y", "a0", "b/1"];
    for key in ["b/1", "a/2/y", "a", "a0", "a/1", "a.b", "a/2/x", "a-b"] {
        cold.put_if_absent(key, vec![text(key)]).await.unwrap();
    }
    assert_eq!(cold.list("", None, 100).await.unwrap(), sorted);
    assert_eq!(cold.list("a/", None, 100).await.unwrap(), sorted[3..6]);
    assert_eq!(cold.list("a/2", None, 100).await.unwrap(), sorted[4..6]);
    assert_eq!(cold.list("a/2/x", None, 100).await.unwrap(), ["a/2/x"]);
    assert_eq!(
        cold.list("b", Some("a/2"), 100).await.unwrap(),
        ["b/1"],
        "an `after` before the prefix"
    );
    assert_eq!(cold.list("a/", Some("b"), 100).await.unwrap(), Vec::<String>::new());
    assert_eq!(cold.list("c", None, 100).await.unwrap(), Vec::<String>::new());
    assert_eq!(cold.list("", None, 0).await.unwrap(), Vec::<String>::new());
    for limit in 1..4 {
        let mut found: Vec<String> = Vec::new();
        loop {
            let page = cold.list("", found.last().map(String::as_str), limit).await.unwrap();
            assert!(page.len() <= limit);
            if page.is_empty() {
                break;
            }
            found.extend(page);
        }
        assert_eq!(found, sorted, "in pages of {limit}");
    }
    assert_eq!(
        cold.list("", Some("a1"), 100).await.unwrap(),
        ["b/1"],
        "an `after` that is no key"
    );
}

/// What is gone is gone, its name is free, and its neighbours stay.
pub async fn deleting_twice_is_deleting(make: Make<'_>) {
    let cold = make();
    cold.put_if_absent("a/1", vec![text("1")]).await.unwrap();
    cold.put_if_absent("a/2", vec![text("2")]).await.unwrap();
    cold.delete("a/1").await.unwrap();
    cold.delete("a/1").await.unwrap();
    cold.delete("never/was").await.unwrap();
    assert!(matches!(cold.get_range("a/1", 0..1).await, Err(ColdError::NotFound)));
    assert_eq!(cold.list("", None, 10).await.unwrap(), ["a/2"]);
    assert_eq!(cold.get_range("a/2", 0..1).await.unwrap(), "2");
    cold.put_if_absent("a/1", vec![text("3")]).await.unwrap();
    assert_eq!(cold.get_range("a/1", 0..1).await.unwrap(), "3");
}

/// There are no folders: `a` and `a/b` are two names.
pub async fn a_name_may_be_the_beginning_of_another(make: Make<'_>) {
    let cold = make();
    for (key, other) in [("a", "a/b"), ("c/d", "c")] {
        cold.put_if_absent(key, vec![text(key)]).await.unwrap();
        cold.put_if_absent(other, vec![text(other)]).await.unwrap();
        assert_eq!(cold.get_range(key, 0..10).await.unwrap(), key);
        assert_eq!(cold.get_range(other, 0..10).await.unwrap(), other);
    }
    cold.delete("a").await.unwrap();
    assert_eq!(cold.get_range("a/b", 0..10).await.unwrap(), "a/b");
}

/// What one store cannot take, none takes.
pub async fn unlawful_keys_are_refused(make: Make<'_>) {
    let cold = make();
    let long = "x/".repeat(KEY_LEN_MAX / 2) + "xx";
    let part = "x".repeat(201);
    let unlawful = [
        "", "/", "/a", "a/", "a//b", ".", "..", "../a", "a/../b", "a/.b", "a b", "a\0", "ä", "a\\b", "a@1",
    ];
    for key in unlawful.into_iter().chain([&*long, &*part]) {
        let refused = |error: ColdError| match error {
            ColdError::Io(error) => error.kind() == io::ErrorKind::InvalidInput,
            _ => false,
        };
        assert!(cold.put_if_absent(key, vec![]).await.is_err_and(refused), "put {key:?}");
        assert!(cold.get_range(key, 0..1).await.is_err_and(refused), "get {key:?}");
        assert!(cold.delete(key).await.is_err_and(refused), "delete {key:?}");
    }
    assert_eq!(cold.list("", None, 10).await.unwrap(), Vec::<String>::new());
    cold.put_if_absent("Az09/._=-".replace("/.", "/_").as_str(), vec![])
        .await
        .unwrap();
}

fn text(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}
