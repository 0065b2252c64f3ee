//! The things a node is handed: where bytes stay, what time it is, what chance says.
//!
//! Numbers are in the [`Config`](crate::config::Config), things are here. Sockets, tasks and passing time come from
//! [`net::rt`], which asks the thread it runs on who serves them. Nothing here tells a node whether its world is real.

use std::sync::Arc;

use net::{clock::Clock, dice::Dice};
use storage::{cold::Cold, disk::Disk, index::Index};

/// What surrounds one node. Clones are the same world.
#[derive(Clone)]
pub struct World {
    /// Files: the journal and the node's identity.
    pub disk: Arc<dyn Disk>,
    /// What finds the bytes; lazily durable, rebuilt from the journal.
    pub index: Arc<dyn Index>,
    /// Where old bytes go; none if they stay.
    pub cold: Option<Arc<dyn Cold>>,
    /// The wall clock: stamps commands, decides nothing else.
    pub clock: Arc<dyn Clock>,
    /// Chance, by name.
    pub dice: Dice,
}
