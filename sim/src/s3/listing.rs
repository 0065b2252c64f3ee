//! What a listing shows: all keys, or those of a moment ago.
//!
//! The listings of S3 are consistent since 2020; those of others, or of a cache before them, may not be. One that lags
//! lacks what was put in the last moments and still has what was deleted in them.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use super::asked::Listing;

/// How long it is remembered when a key came or went: longer than any listing lags.
const REMEMBERED: Duration = Duration::from_secs(60);

/// The keys that came and went in the last moments.
#[derive(Debug, Default)]
pub(super) struct Recent(VecDeque<Change>);

#[derive(Debug)]
struct Change {
    at_ns: u64,
    key: String,
    came: bool,
}

impl Recent {
    /// A key came or went.
    pub(super) fn changed(&mut self, now_ns: u64, key: &str, came: bool) {
        let oldest = now_ns.saturating_sub(REMEMBERED.as_nanos() as u64);
        while self.0.front().is_some_and(|change| change.at_ns < oldest) {
            self.0.pop_front();
        }
        self.0.push_back(Change {
            at_ns: now_ns,
            key: key.to_owned(),
            came,
        });
    }

    /// The keys as of a moment ago.
    pub(super) fn as_of(&self, at_ns: u64, mut keys: BTreeSet<String>) -> BTreeSet<String> {
        for change in self.0.iter().rev().take_while(|change| change.at_ns > at_ns) {
            if change.came {
                keys.remove(&change.key);
            } else {
                keys.insert(change.key.clone());
            }
        }
        keys
    }
}

/// The keys of a listing, one more than it may have if there are more.
pub(super) fn page(listing: &Listing, keys: BTreeSet<String>) -> Vec<String> {
    let after = listing.after.as_deref();
    keys.into_iter()
        .filter(|key| key.starts_with(&listing.prefix) && after.is_none_or(|after| key.as_str() > after))
        .take(listing.keys_max + 1)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_that_lags_lacks_the_new_and_still_has_the_old() {
        let keys = |keys: &[&str]| keys.iter().map(|key| (*key).to_owned()).collect::<BTreeSet<_>>();
        let mut recent = Recent::default();
        recent.changed(10, "a", true);
        recent.changed(20, "b", true);
        recent.changed(30, "a", false);
        let now = keys(&["b"]);
        assert_eq!(recent.as_of(30, now.clone()), keys(&["b"]));
        assert_eq!(recent.as_of(25, now.clone()), keys(&["a", "b"]));
        assert_eq!(recent.as_of(15, now.clone()), keys(&["a"]));
        assert_eq!(recent.as_of(5, now), keys(&[]));
    }
}
