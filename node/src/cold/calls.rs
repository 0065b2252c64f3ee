//! Putting, listing and deleting: each call is tried until a deadline, and its end is yes, no, or nobody knows.

use std::sync::Arc;

use bytes::Bytes;
use net::rt::{self, Instant};
use storage::error::ColdError;

use super::again::Again;
use super::object::{Packed, key_of, object_of, prefix_of};
use super::store::{ColdReadError, Store, count};
use crate::keys::ObjectId;

/// Names listed at once.
const PAGE: usize = 1000;

/// The longest file that is read whole, in bytes.
const WHOLE_BYTES_MAX: u64 = 1 << 30;

/// What became of a put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// The object is there, whole and durable.
    Stored,
    /// Another object bears the name.
    Taken,
}

impl Store {
    /// Puts an object under a name that nobody has used. A put whose answer was lost is tried again, and finds its own
    /// object: it is known by its directory, which holds a number thrown for it alone.
    ///
    /// # Errors
    /// When nobody knows whether it is there; the sentence says why.
    pub async fn put(&self, key: &str, packed: &Packed, until: Instant) -> Result<Put, String> {
        let mut again = Again::until(until);
        loop {
            count(&self.traffic.puts, 1);
            let (seam, name, pieces) = (self.seam.clone(), key.to_owned(), packed.pieces());
            let bytes: usize = pieces.iter().map(Bytes::len).sum();
            let call = rt::offload(async move { seam.put_if_absent(&name, pieces).await });
            let because = match rt::timeout_at(until, call).await {
                Ok(Ok(Ok(()))) => {
                    count(&self.traffic.put_bytes, bytes as u64);
                    return Ok(Put::Stored);
                }
                Ok(Ok(Err(ColdError::Exists))) => match self.is_ours(key, packed, until).await {
                    Ok(true) => return Ok(Put::Stored),
                    Ok(false) => return Ok(Put::Taken),
                    Err(because) => because,
                },
                Ok(Ok(Err(error))) => error.to_string(),
                Ok(Err(error)) => error.to_string(),
                Err(rt::Elapsed) => return Err("no answer in time".into()),
            };
            count(&self.traffic.failures, 1);
            if !again.may().await {
                return Err(because);
            }
        }
    }

    /// Whether the object of this name is the one we wanted to put.
    async fn is_ours(&self, key: &str, packed: &Packed, until: Instant) -> Result<bool, String> {
        let (key, len) = (Arc::<str>::from(key), packed.head.len() as u64);
        match rt::timeout_at(until, self.call_get(&key, 0..len)).await {
            Ok(Ok(head)) => Ok(head == packed.head),
            Ok(Err(error)) => Err(error.to_string()),
            Err(rt::Elapsed) => Err("no answer in time".into()),
        }
    }

    /// All names that begin with this prefix and follow `after`.
    ///
    /// # Errors
    /// When the store does not say; the sentence says why.
    pub async fn names(&self, prefix: &str, after: Option<&str>) -> Result<Vec<String>, String> {
        let (mut found, mut after) = (Vec::new(), after.map(str::to_owned));
        loop {
            let page = self.page(prefix, after.as_deref(), PAGE).await?;
            let is_last = page.len() < PAGE;
            after = page.last().cloned();
            found.extend(page);
            if is_last {
                return Ok(found);
            }
        }
    }

    /// Up to `limit` names that begin with this prefix and follow `after`.
    ///
    /// # Errors
    /// When the store does not say; the sentence says why.
    pub async fn page(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<String>, String> {
        let mut again = Again::until(Instant::now() + self.options.patience);
        loop {
            count(&self.traffic.lists, 1);
            let (seam, prefix, after) = (self.seam.clone(), prefix.to_owned(), after.map(str::to_owned));
            let call = rt::offload(async move { seam.list(&prefix, after.as_deref(), limit).await });
            let because = match rt::timeout_at(again.until, call).await {
                Ok(Ok(Ok(page))) => return Ok(page),
                Ok(Ok(Err(error))) => self.failed(error),
                Ok(Err(error)) => self.failed(error),
                Err(rt::Elapsed) => return Err(self.failed("no answer in time")),
            };
            if !again.may().await {
                return Err(because);
            }
        }
    }

    /// All objects of a group that bear a lawful name.
    ///
    /// # Errors
    /// When the store does not say; the sentence says why.
    pub async fn objects_of(&self, group: u32) -> Result<Vec<ObjectId>, String> {
        let Some(cluster) = self.cluster() else {
            return Ok(Vec::new());
        };
        let names = self.names(&prefix_of(cluster, group), None).await?;
        Ok(names.iter().filter_map(|key| object_of(cluster, group, key)).collect())
    }

    /// Deletes an object.
    ///
    /// # Errors
    /// When nobody knows whether it is still there; the sentence says why.
    pub async fn delete(&self, group: u32, object: ObjectId) -> Result<(), String> {
        let Some(cluster) = self.cluster() else {
            return Ok(());
        };
        self.remove(&key_of(cluster, group, object)).await
    }

    /// Deletes what bears this name.
    ///
    /// # Errors
    /// When nobody knows whether it is still there; the sentence says why.
    pub async fn remove(&self, key: &str) -> Result<(), String> {
        count(&self.traffic.deletes, 1);
        let (seam, key) = (self.seam.clone(), key.to_owned());
        let call = rt::offload(async move { seam.delete(&key).await });
        match rt::timeout(self.options.patience, call).await {
            Ok(Ok(Ok(()))) => Ok(()),
            Ok(Ok(Err(error))) => Err(self.failed(error)),
            Ok(Err(error)) => Err(self.failed(error)),
            Err(rt::Elapsed) => Err(self.failed("no answer in time")),
        }
    }

    /// All of what bears this name. Not kept in memory.
    ///
    /// # Errors
    /// When it cannot be had; see [`ColdReadError`].
    pub async fn whole(&self, key: &str) -> Result<Bytes, ColdReadError> {
        self.get(&Arc::from(key), 0..WHOLE_BYTES_MAX).await
    }

    fn failed(&self, because: impl std::fmt::Display) -> String {
        count(&self.traffic.failures, 1);
        because.to_string()
    }
}
