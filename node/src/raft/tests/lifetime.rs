//! Streams that end by themselves, and uses that make them last.

use super::single::alone;
use super::*;
use crate::keys::Key;
use crate::stream::Touch;

/// A row of the index of deadlines that no tending moves must cost the others nothing.
#[test]
fn rows_that_do_not_advance_keep_nobody_from_being_tended() {
    run(async {
        let (node, groups) = alone().await;
        let generation = groups.view(0).machine.state().generation;
        let mut batch = Batch::default();
        // More than are tended at once, twice over, and all of them come first.
        for number in 1..=130 {
            let nobody = name(&format!("nobody-{number}"));
            batch.put(Key::deadline(0, generation, number, &nobody).encode(), Bytes::new());
        }
        node.index.write(batch).unwrap();
        // It is over at the time at which all clocks of these tests stand.
        let over = create_for("over", Lifetime::Until { ms: 1_000 }, b"x");
        assert!(is_stored(&groups.propose(0, over, soon()).await));
        until("the stream behind them is gone", || {
            groups.view(0).row(&name("over")).unwrap().is_none()
        })
        .await;
        groups.shutdown().await;
    });
}

#[test]
fn a_use_that_is_noted_wakes_nobody_and_a_change_does() {
    run(async {
        let (node, groups) = alone().await;
        let heard = || std::mem::take(&mut *node.heard.0.lock().unwrap()).len();
        let sliding = create_for("a", Lifetime::Window { ms: 60_000 }, b"");
        assert!(is_stored(&groups.propose(0, sliding, soon()).await));
        assert_eq!(heard(), 1);
        let row = groups.view(0).row(&name("a")).unwrap().unwrap();
        for later in 1..=20 {
            let touch = Command {
                now_ms: 0,
                stream: name("a"),
                op: Op::Touch(Touch {
                    incarnation: row.incarnation,
                }),
                elsewhere: None,
                body: Bytes::new(),
            };
            // A clock that goes on, so that each use is a newer one.
            let noted = groups.group(0).propose(touch, 1_000 + later * 10_000, soon()).await;
            assert!(
                matches!(noted, Ok(Outcome::Alive { touched_ms, .. }) if touched_ms == 1_000 + later * 10_000),
                "{noted:?}"
            );
        }
        assert_eq!(heard(), 0);
        let row = groups.view(0).row(&name("a")).unwrap().unwrap();
        let below = Offset(1);
        for (change, told) in [
            (append("a", b"more"), 1),
            (append_by("b", b"no such stream", None), 0),
            (trim("a", row.incarnation, below), 1),
            (trim("a", row.incarnation, below), 0),
            (delete("a"), 1),
            (create("a", b""), 1),
            (create("a", b""), 0),
        ] {
            let outcome = groups.propose(0, change.clone(), soon()).await;
            assert_eq!(heard(), told, "{change:?}: {outcome:?}");
        }
        groups.shutdown().await;
    });
}
