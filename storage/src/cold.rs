//! The seam Cold: objects written once and never changed, for bytes that are old.

use std::ops::Range;

use bytes::Bytes;

use crate::{disk::Fut, error::ColdError};

/// A store of immutable objects. Keys are `/`-separated, without `..`.
pub trait Cold: Send + Sync + 'static {
    /// Writes an object under a name that nobody has used.
    ///
    /// # Errors
    /// [`ColdError::Exists`] if the name is taken; anything else leaves it unknown whether the object is there.
    fn put_if_absent(&self, key: &str, pieces: Vec<Bytes>) -> Fut<'_, Result<(), ColdError>>;

    /// Reads a range of an object; shorter only at its end.
    ///
    /// # Errors
    /// [`ColdError::NotFound`] if there is no such object.
    fn get_range(&self, key: &str, range: Range<u64>) -> Fut<'_, Result<Bytes, ColdError>>;

    /// Up to `limit` keys that begin with `prefix` and follow `after`, sorted.
    fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Fut<'_, Result<Vec<String>, ColdError>>;

    /// Removes an object; one that is not there counts as removed.
    fn delete(&self, key: &str) -> Fut<'_, Result<(), ColdError>>;
}
