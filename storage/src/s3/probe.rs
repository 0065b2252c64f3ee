//! Whether a store can be trusted with the seam: asked once, at start.

use std::io;

use bytes::Bytes;
use futures_util::future::join_all;

use super::S3Cold;
use crate::{cold::Cold, error::ColdError};

/// How many write one name at once, and how often it is tried: in the first round they still open their connections.
const RACERS: usize = 8;
const ROUNDS: usize = 3;

impl S3Cold {
    /// Looks whether the bucket is there, the credentials may write, read, list and delete in it, and a name is written
    /// once whoever races for it.
    ///
    /// `name` is one that nobody has used for a probe of this bucket; letters, digits, `_` and `-`. The objects
    /// `probe-<name>-<round>` are written and deleted again; a crash in between leaves them, and they may be deleted at
    /// any time.
    ///
    /// # Errors
    /// [`io::ErrorKind::Unsupported`] if a name may be written twice: this store must not be used. Otherwise as the store
    /// answers.
    pub async fn probe(&self, name: &str) -> Result<(), ColdError> {
        for round in 0..ROUNDS {
            let key = format!("probe-{name}-{round}");
            let judged = self.probe_round(&key).await;
            let deleted = self.delete(&key).await;
            judged.and(deleted)?;
        }
        Ok(())
    }

    async fn probe_round(&self, key: &str) -> Result<(), ColdError> {
        let bodies: Vec<Bytes> = (0..RACERS)
            .map(|racer| Bytes::from(format!("{key} of racer {racer}")))
            .collect();
        let puts = join_all(bodies.iter().map(|body| self.put_if_absent(key, vec![body.clone()]))).await;
        let mut winners = Vec::new();
        for (racer, put) in puts.into_iter().enumerate() {
            match put {
                Ok(()) => winners.push(racer),
                Err(ColdError::Exists) => {}
                Err(error) => return Err(error),
            }
        }
        let found = self.get_range(key, 0..1000).await?;
        let lawful = match winners[..] {
            [winner] => found == bodies[winner],
            // The winner's answer was lost, and when it asked again its own object was there.
            [] if bodies.contains(&found) => true,
            [] => {
                let told = format!("the object {key} was there before: give the probe a name that nobody has used");
                return Err(io::Error::new(io::ErrorKind::AlreadyExists, told).into());
            }
            _ => false,
        };
        if !lawful {
            let told = format!(
                "of {RACERS} that raced for a name, {} were told that it is theirs",
                winners.len()
            );
            return Err(self.overwrites(&told));
        }
        match self.put_if_absent(key, vec![Bytes::from_static(b"too late")]).await {
            Err(ColdError::Exists) => {}
            Ok(()) => return Err(self.overwrites("a name that was taken could be written again")),
            Err(error) => return Err(error),
        }
        match self.list(key, None, 10).await?.iter().any(|listed| listed == key) {
            true => Ok(()),
            false => Err(self.unfit("it does not list what was written just now")),
        }
    }

    fn unfit(&self, because: &str) -> ColdError {
        let told = format!(
            "the store at {} must not be used: {because}; use one that does what docs/cold.md says",
            self.place.endpoint
        );
        ColdError::Io(io::Error::new(io::ErrorKind::Unsupported, told))
    }

    /// The reason that makes nodes overwrite each other's objects.
    fn overwrites(&self, because: &str) -> ColdError {
        self.unfit(&format!("it does not keep to `If-None-Match: *` ({because})"))
    }
}
