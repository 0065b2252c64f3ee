//! Which node this is, which cluster it belongs to, and how a cluster comes into being.
//!
//! A data directory bears a number that nobody else has, minted when it was first used. A cluster is founded once, by
//! the one node that the configuration names, and only when every other node has answered and none knows a cluster. The
//! record of the [`Founding`] names each member **with the number of its data directory**, and every node keeps it. So a
//! member that comes back with an empty disk is a stranger to everybody, itself included: it has forgotten what it
//! voted for and acknowledged, must not vote again, and refuses to start.
//!
//! | file | holds |
//! |---|---|
//! | `record` | what is known of clusters and members, and what nodes say of themselves |
//! | `identity` | the file in the data directory that keeps it |
//! | `acquaintance` | the rules by which two nodes that meet are friends or strangers |
//! | `founding` | the steps towards a founded cluster, pure |
//! | `standing` | the running node's side: keeps the file, opens the gate to peers, takes the steps |

mod acquaintance;
mod founding;
mod identity;
mod record;
mod standing;
#[cfg(test)]
mod tests;

pub use identity::IdentityError;
pub use record::{Founding, Hello, Member, Restored, Unique};
pub use standing::{EnterError, Founder, Settings, Standing, StandingStatus};
