//! The seam Cold: objects written once and never changed, for bytes that are old.

use std::{io, ops::Range};

use bytes::Bytes;

use crate::{disk::Fut, error::ColdError};

/// The longest key, in bytes.
pub const KEY_LEN_MAX: usize = 512;

/// A store of immutable objects. What a key may be, says [`check_key`].
pub trait Cold: Send + Sync + 'static {
    /// Writes an object under a name that nobody has used. When it returns, the object is durable and whole: nobody
    /// ever reads a part of it.
    ///
    /// # Errors
    /// [`ColdError::Exists`] if the name is taken; anything else leaves it unknown whether the object is there.
    fn put_if_absent(&self, key: &str, pieces: Vec<Bytes>) -> Fut<'_, Result<(), ColdError>>;

    /// Reads a range of an object; shorter only at its end, empty beyond it.
    ///
    /// # Errors
    /// [`ColdError::NotFound`] if there is no such object.
    fn get_range(&self, key: &str, range: Range<u64>) -> Fut<'_, Result<Bytes, ColdError>>;

    /// Up to `limit` keys that begin with `prefix` (any text, not only whole folders) and follow `after`, sorted by
    /// bytes.
    ///
    /// # Errors
    /// Only those of the store.
    fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Fut<'_, Result<Vec<String>, ColdError>>;

    /// Removes an object; one that is not there counts as removed.
    ///
    /// # Errors
    /// Only those of the store; whether the object is still there is then unknown.
    fn delete(&self, key: &str) -> Fut<'_, Result<(), ColdError>>;
}

/// Whether a key is one that every store takes: 1 to [`KEY_LEN_MAX`] bytes, parts of 1 to 200 letters, digits and
/// `. _ = -` with `/` between them, no part beginning with a dot.
///
/// # Errors
/// [`io::ErrorKind::InvalidInput`] with the key and what is wrong with it.
pub fn check_key(key: &str) -> Result<(), ColdError> {
    let lawful = |byte: u8| byte.is_ascii_alphanumeric() || b"._=-".contains(&byte);
    let wrong = if key.len() > KEY_LEN_MAX {
        "is too long"
    } else if key.split('/').any(str::is_empty) {
        "has an empty part"
    } else if key.split('/').any(|part| part.starts_with('.')) {
        "has a part that begins with a dot"
    } else if key.split('/').any(|part| part.len() > 200) {
        "has a part that is too long"
    } else if !key.bytes().all(|byte| lawful(byte) || byte == b'/') {
        "holds a character that not every store takes"
    } else {
        return Ok(());
    };
    Err(ColdError::Io(io::Error::new(
        io::ErrorKind::InvalidInput,
        format!("the object key {key:?} {wrong}"),
    )))
}
