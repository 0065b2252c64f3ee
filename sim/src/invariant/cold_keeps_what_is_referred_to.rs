//! Every object that a group refers to is there, and nothing else is: looked at when the storm is over and the grace period,
//! too.

use std::collections::{BTreeMap, BTreeSet};

use node::cold::{Chain, key_of, object_of, records_of};
use node::keys::{ObjectId, ObjectRow};

/// What is not as it should be, in words. The objects each group of one node refers to, in order, and the names in the
/// store.
#[must_use]
pub fn cold_keeps_what_is_referred_to(
    cluster: u128,
    groups: &[BTreeMap<ObjectId, ObjectRow>],
    stored: &BTreeSet<String>,
) -> Option<String> {
    let mut referred = BTreeSet::new();
    for (group, objects) in (0..).zip(groups) {
        for (object, row) in objects {
            let key = key_of(cluster, group, *object);
            if row.live == 0 {
                return Some(format!(
                    "group {group} refers to no byte of {key}, and keeps it all the same"
                ));
            }
            if row.live > row.len {
                return Some(format!(
                    "group {group} refers to {} bytes of {key}, which never had more than {}",
                    row.live, row.len
                ));
            }
            if row.live < row.len / 2 {
                return Some(format!(
                    "group {group} refers to {} bytes of {key}, which has {}, and it is not rewritten",
                    row.live, row.len
                ));
            }
            if !stored.contains(&key) {
                return Some(format!("group {group} refers to {key}, which is not there"));
            }
            referred.insert(key);
        }
    }
    let is_object = |key: &str| {
        (0..)
            .zip(groups)
            .any(|(group, _)| object_of(cluster, group, key).is_some())
    };
    let orphan = stored
        .iter()
        .filter(|key| is_object(key))
        .find(|key| !referred.contains(*key))?;
    Some(format!("nothing refers to {orphan}"))
}

/// What is not written down, in words. The last entry that each group has applied, in order, and the names in the store.
#[must_use]
pub fn all_is_written_down(cluster: u128, applied: &[Option<u64>], stored: &BTreeSet<String>) -> Option<String> {
    let names: Vec<String> = stored.iter().cloned().collect();
    (0..).zip(applied).find_map(|(group, applied)| {
        let end = Chain::find(&records_of(cluster, group), &names).end();
        (end < *applied).then(|| {
            format!("group {group} has applied up to entry {applied:?}, and is written down up to entry {end:?}")
        })
    })
}

#[cfg(test)]
mod tests {
    use node::cold::{LogName, StateName};

    use super::*;

    const OBJECT: ObjectId = ObjectId { term: 1, sequence: 2 };

    fn group(live: u64) -> Vec<BTreeMap<ObjectId, ObjectRow>> {
        vec![BTreeMap::from([(OBJECT, ObjectRow { live, len: 10 })])]
    }

    fn stored(keys: &[ObjectId]) -> BTreeSet<String> {
        keys.iter().map(|object| key_of(7, 0, *object)).collect()
    }

    #[test]
    fn an_object_and_a_reference_to_it_are_lawful() {
        assert_eq!(cold_keeps_what_is_referred_to(7, &group(5), &stored(&[OBJECT])), None);
        assert_eq!(
            cold_keeps_what_is_referred_to(7, &[BTreeMap::new()], &stored(&[])),
            None
        );
    }

    #[test]
    fn a_group_is_written_down_up_to_the_end_of_its_last_whole_state_and_the_log_after_it() {
        let prefix = records_of(7, 0);
        let state = StateName { index: 5, nonce: 1 }.part(&prefix, 0, true);
        let log = LogName {
            from: 6,
            to: 8,
            nonce: 1,
        }
        .key(&prefix);
        let stored = BTreeSet::from([state, log]);
        assert_eq!(all_is_written_down(7, &[Some(8)], &stored), None);
        assert_eq!(all_is_written_down(7, &[None], &BTreeSet::new()), None);
        let wrong = all_is_written_down(7, &[Some(9)], &stored).unwrap_or_default();
        assert!(wrong.contains("up to entry Some(8)"), "{wrong}");
        assert!(all_is_written_down(7, &[Some(8), Some(0)], &stored).is_some());
    }

    #[test]
    fn a_reference_to_nothing_an_orphan_and_wrong_books_are_found() {
        let other = ObjectId { term: 2, sequence: 0 };
        for (groups, stored, what) in [
            (group(5), stored(&[]), "is not there"),
            (group(5), stored(&[OBJECT, other]), "nothing refers to"),
            (group(0), stored(&[OBJECT]), "no byte"),
            (group(4), stored(&[OBJECT]), "not rewritten"),
            (group(11), stored(&[OBJECT]), "never had"),
        ] {
            let wrong = cold_keeps_what_is_referred_to(7, &groups, &stored).unwrap_or_default();
            assert!(wrong.contains(what), "{wrong}");
        }
    }
}
