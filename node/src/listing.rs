//! The streams of a bucket, by name, a page at a time, gathered from all groups.
//!
//! Each group is looked at after a barrier of its own, so a page shows every stream that was there from the beginning of
//! the call to its end, and none that was not there at all; of one that came or went meanwhile it may show either. What a
//! page holds is bounded, whatever the groups hold: a group is asked for little at a time, and no further than the page
//! still reaches.

use std::{collections::BTreeMap, io, sync::Arc};

use futures_util::future::join_all;
use net::rt::{self, Instant};

use crate::{
    Core,
    raft::GroupView,
    read::{Broken, ReadError},
    stream::StreamRow,
};

/// Rows a group is asked for at once.
const ROWS: usize = 256;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listing {
    /// Only streams whose names begin so.
    pub(crate) prefix: String,
    /// Only streams whose names come after this one.
    pub(crate) after: Option<String>,
    /// At most so many; at least 1.
    pub(crate) limit: usize,
    /// Whether this node's own state will do.
    pub(crate) local: bool,
}

/// One page.
#[derive(Debug, Default)]
pub(crate) struct Page {
    /// By name, each once.
    pub(crate) streams: BTreeMap<String, StreamRow>,
    /// Whether there are more after the last one.
    pub(crate) has_more: bool,
}

impl Core {
    /// A page of the streams of a bucket; `None` if there is no such bucket.
    ///
    /// # Errors
    /// When nobody can tell.
    pub(crate) async fn list(
        &self,
        bucket: &str,
        listing: Listing,
        deadline: Instant,
    ) -> Result<Option<Page>, ReadError> {
        if !self.has_bucket(bucket, listing.local, deadline).await? {
            return Ok(None);
        }
        let ready = async |group| {
            let leaders_ms = if listing.local {
                0
            } else {
                self.barrier(group, deadline).await?
            };
            let view = self.groups.view(group);
            let now_ms = leaders_ms.max(view.now_ms());
            Ok::<_, ReadError>((view, now_ms))
        };
        let views = join_all((0..self.groups.count()).map(ready)).await;
        let views: Vec<(GroupView, u64)> = views.into_iter().collect::<Result<_, _>>()?;
        let bucket: Arc<str> = bucket.into();
        let gathered = rt::blocking(move || gather(&views, &bucket, &listing)).await;
        let page = gathered.map_err(io::Error::other).and_then(|page| page);
        page.map(Some).map_err(|error| Broken::of(error).into())
    }
}

fn gather(views: &[(GroupView, u64)], bucket: &str, listing: &Listing) -> io::Result<Page> {
    let mut page = Page::default();
    for (view, now_ms) in views {
        let mut after = listing.after.clone();
        'group: loop {
            let rows = view.list(bucket, &listing.prefix, after.as_deref(), ROWS)?;
            let is_last = rows.len() < ROWS;
            for (name, row) in rows {
                if !page.takes(&name, listing.limit) {
                    break 'group;
                }
                after = Some(name.clone());
                // What is over is swept soon, and shown to nobody until then; nor is what is kept for its forks only.
                if !row.gone && !row.is_over(*now_ms) {
                    page.put(name, row, listing.limit);
                }
            }
            if is_last {
                break;
            }
        }
    }
    Ok(page)
}

impl Page {
    /// Whether a stream of this name would stand on the page as it is.
    fn takes(&self, name: &str, limit: usize) -> bool {
        let last = self.streams.last_key_value();
        self.streams.len() < limit || !self.has_more || last.is_some_and(|(last, _)| name < last.as_str())
    }

    fn put(&mut self, name: String, row: StreamRow, limit: usize) {
        self.streams.insert(name, row);
        if self.streams.len() > limit {
            self.streams.pop_last();
            self.has_more = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(limit: usize, names: &[&str]) -> (Vec<String>, bool) {
        let mut page = Page::default();
        for name in names {
            if page.takes(name, limit) {
                page.put((*name).to_owned(), StreamRow::born(1, "a/b".to_owned(), 0), limit);
            }
        }
        (page.streams.into_keys().collect(), page.has_more)
    }

    #[test]
    fn a_page_holds_the_first_names_and_tells_whether_there_are_more() {
        let table: [(usize, &[&str], &[&str], bool); 6] = [
            (2, &[], &[], false),
            (2, &["b", "a"], &["a", "b"], false),
            (2, &["b", "a", "c"], &["a", "b"], true),
            (2, &["b", "c", "a"], &["a", "b"], true),
            (2, &["d", "c", "b", "a"], &["a", "b"], true),
            (1, &["b", "a"], &["a"], true),
        ];
        for (limit, names, expected, more) in table {
            let expected: Vec<String> = expected.iter().map(|name| (*name).to_owned()).collect();
            assert_eq!(page(limit, names), (expected, more), "{names:?}");
        }
    }
}
