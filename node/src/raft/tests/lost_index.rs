//! The index is lost, but not the journal: it is made anew from a whole log, and never from what is left of one.

use super::single::{alone, tidy};
use super::*;

#[test]
fn an_emptied_index_is_rebuilt_as_long_as_the_log_is_whole() {
    run(async {
        let (node, groups) = alone().await;
        assert!(is_stored(&groups.propose(0, create("a", b"one,"), soon()).await));
        assert!(is_stored(&groups.propose(0, append("a", b"two"), soon()).await));
        node.stop(groups, false).await;
        node.index.empty();
        let groups = node.start().await;
        until("it leads again", || groups.leader(0) == Lead::Here).await;
        let index = groups.read_index(0, soon()).await.unwrap();
        groups.wait_applied(0, index).await.unwrap();
        assert_eq!(content(&groups, 0, "a").await.unwrap(), b"one,two");
        groups.shutdown().await;
    });
}

#[test]
fn an_index_that_ends_before_the_log_begins_is_refused_with_a_word_on_what_to_do() {
    run(async {
        let (node, groups) = alone().await;
        drop(groups.propose(0, create("a", b""), soon()).await);
        for _ in 0..40 {
            assert!(is_stored(&groups.propose(0, append("a", b"0123456789"), soon()).await));
        }
        tidy(&groups).await;
        until("the log is purged", || groups.status()[0].purged.is_some()).await;
        let purged = groups.status()[0].purged.unwrap();
        node.stop(groups, false).await;
        node.index.empty();
        // As often as one tries: the attempt itself must not make it look whole.
        for _ in 0..2 {
            let refused = node.try_start().await.err().expect("a refusal");
            assert!(
                matches!(refused, StartError::IndexLost { group: 0, next: 0, first } if first == purged.index + 1),
                "{refused:?}"
            );
            let said = refused.to_string();
            assert!(said.contains("put back the folder `index`"), "{said}");
        }
    });
}
