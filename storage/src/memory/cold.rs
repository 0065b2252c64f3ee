//! The cold store as a sorted map in memory.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::{Bound, Range},
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;

use crate::{
    cold::{Cold, check_key},
    disk::Fut,
    error::ColdError,
};

/// A [`Cold`] that lives as long as its value does.
#[derive(Debug, Default)]
pub struct MemoryCold {
    objects: Mutex<BTreeMap<String, Bytes>>,
}

impl MemoryCold {
    /// An empty store.
    pub fn new() -> MemoryCold {
        MemoryCold::default()
    }

    /// The names of all objects.
    pub fn keys(&self) -> BTreeSet<String> {
        self.objects().keys().cloned().collect()
    }

    fn objects(&self) -> MutexGuard<'_, BTreeMap<String, Bytes>> {
        // A panic elsewhere cannot leave half an object: the calls below change the map in one step.
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put_now(&self, key: &str, pieces: &[Bytes]) -> Result<(), ColdError> {
        check_key(key)?;
        let mut objects = self.objects();
        if objects.contains_key(key) {
            return Err(ColdError::Exists);
        }
        objects.insert(key.to_owned(), Bytes::from(pieces.concat()));
        Ok(())
    }

    fn get_now(&self, key: &str, range: Range<u64>) -> Result<Bytes, ColdError> {
        check_key(key)?;
        let object = self.objects().get(key).cloned().ok_or(ColdError::NotFound)?;
        let clamp = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(object.len());
        let (start, end) = (clamp(range.start), clamp(range.end));
        Ok(object.slice(start..end.max(start)))
    }

    fn list_now(&self, prefix: &str, after: Option<&str>, limit: usize) -> Vec<String> {
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let objects = self.objects();
        let found = objects.range::<str, _>((start, Bound::Unbounded)).map(|(key, _)| key);
        found
            .take_while(|key| key.starts_with(prefix))
            .take(limit)
            .cloned()
            .collect()
    }
}

impl Cold for MemoryCold {
    fn put_if_absent(&self, key: &str, pieces: Vec<Bytes>) -> Fut<'_, Result<(), ColdError>> {
        let key = key.to_owned();
        Box::pin(async move { self.put_now(&key, &pieces) })
    }

    fn get_range(&self, key: &str, range: Range<u64>) -> Fut<'_, Result<Bytes, ColdError>> {
        let key = key.to_owned();
        Box::pin(async move { self.get_now(&key, range) })
    }

    fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Fut<'_, Result<Vec<String>, ColdError>> {
        let (prefix, after) = (prefix.to_owned(), after.map(str::to_owned));
        Box::pin(async move { Ok(self.list_now(&prefix, after.as_deref(), limit)) })
    }

    fn delete(&self, key: &str) -> Fut<'_, Result<(), ColdError>> {
        let key = key.to_owned();
        Box::pin(async move {
            check_key(&key)?;
            self.objects().remove(&key);
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::contract;

    #[tokio::test]
    async fn keeps_the_contract() {
        contract::cold::all(&|| Arc::new(MemoryCold::new())).await;
    }
}
