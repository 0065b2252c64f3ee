//! What can go wrong below the node.

use std::io;

/// An error of the seam Cold.
#[derive(Debug, thiserror::Error)]
pub enum ColdError {
    /// The name is taken.
    #[error("an object of that name exists")]
    Exists,
    /// There is no such object.
    #[error("no such object")]
    NotFound,
    /// The store did not answer as it should; whether a write took effect is unknown.
    #[error("cold store: {0}")]
    Io(#[from] io::Error),
}
