//! What is known of a cluster and its members, and what a node says of itself.

use std::{collections::BTreeMap, fmt, str::FromStr};

use net::rt;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

/// A number that nobody else has. People and files see 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Unique(pub u128);

impl Unique {
    /// A new one.
    pub fn mint() -> Unique {
        // Not from `World::dice`: those give the same throws after every restart.
        Unique(u128::from(rt::random_u64()) << 64 | u128::from(rt::random_u64()))
    }
}

impl fmt::Display for Unique {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for Unique {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Unique {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Unique, Self::Err> {
        if text.len() != 32 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err("not 32 hexadecimal digits");
        }
        u128::from_str_radix(text, 16)
            .map(Unique)
            .map_err(|_| "not 32 hexadecimal digits")
    }
}

impl Serialize for Unique {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            self.0.serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Unique, D::Error> {
        if deserializer.is_human_readable() {
            String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
        } else {
            u128::deserialize(deserializer).map(Unique)
        }
    }
}

/// A member of a cluster, as it was at the founding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Where it said that it can be reached, `host:port`. Later words of its own count more.
    pub address: String,
    /// The number of its data directory.
    pub data: Unique,
}

/// The birth of a cluster: written down by the founder before anything else, then kept by every member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Founding {
    /// The cluster's number.
    pub cluster: Unique,
    /// The members, by node id.
    pub members: BTreeMap<u64, Member>,
}

impl Founding {
    /// The members' addresses, by node id.
    pub fn addresses(&self) -> BTreeMap<u64, String> {
        self.members
            .iter()
            .map(|(id, member)| (*id, member.address.clone()))
            .collect()
    }
}

/// That this node brings back a cluster that was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restored {
    /// The number of the lost cluster; the restored one goes on under it.
    pub cluster: Unique,
    /// How many times it has been restored, this time counted.
    pub generation: u64,
}

/// What a node says of itself to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Its node id.
    pub node_id: u64,
    /// The number of its data directory.
    pub data: Unique,
    /// Where it can be reached, `host:port`.
    pub advertise: String,
    /// The name of its cluster in its configuration.
    pub cluster_name: String,
    /// How many groups its configuration asks for.
    pub groups: u32,
    /// Who may found the cluster, by its configuration.
    pub bootstrap_node_id: u64,
    /// The cluster it belongs to, if it does yet.
    pub founding: Option<Founding>,
}
