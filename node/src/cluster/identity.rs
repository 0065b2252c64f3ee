//! The file `identity` in the data directory: which node it belongs to, and which cluster.
//!
//! A person can read it. It is replaced as a whole: written beside, synced, renamed over.
//!
//! ```text
//! holdfast identity 1        the format's version
//! crc32c 1a2b3c4d            of the rest
//! { JSON }
//! ```

use std::{io, sync::Arc};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use storage::disk::Disk;

use super::record::{Founding, Restored, Unique};

const NAME: &str = "identity";
const BESIDE: &str = "identity.new";
/// The folder of the journal. The identity is there before anything is in it.
const JOURNAL: &str = "journal";
const FIRST_WORDS: &str = "holdfast identity ";
const VERSION: u32 = 1;

/// Beyond this it is not ours, bytes.
const LENGTH_MAX: u64 = 1 << 20;

/// What the file says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Identity {
    pub(super) node_id: u64,
    /// The number of this data directory, minted with it.
    pub(super) data: Unique,
    /// Empty for a node on its own.
    pub(super) cluster_name: String,
    /// Fixed for good.
    pub(super) groups: u32,
    /// The cluster this directory belongs to; absent until there is one.
    pub(super) founding: Option<Founding>,
    /// Whether this node has nothing left to do for the founding.
    pub(super) founded: bool,
    /// The cluster that this node brings back, or has brought back, when it founds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) restored: Option<Restored>,
}

/// Why a data directory cannot be used. The sentence says what to do.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// It is another node's.
    #[error(
        "this data directory belongs to node {found}, but the configuration says node {configured}: \
         set `server.node_id = {found}`, or give node {configured} a directory of its own in `server.data_dir`"
    )]
    OtherNode {
        /// Whose it is.
        found: u64,
        /// Who asks for it.
        configured: u64,
    },
    /// It is another cluster's.
    #[error(
        "this data directory belongs to {}, but the configuration says {}: \
         mend `cluster.name`, or use another directory in `server.data_dir`", named(.found), named(.configured)
    )]
    OtherCluster {
        /// The name of the cluster it belongs to; empty for a single node.
        found: String,
        /// The name in the configuration; empty for a single node.
        configured: String,
    },
    /// The number of groups cannot change.
    #[error(
        "this data directory was made for {found} groups, but the configuration says {configured}: \
         the number is fixed at the birth of a cluster, so set `cluster.groups = {found}`"
    )]
    OtherGroups {
        /// How many it has.
        found: u32,
        /// How many are asked for.
        configured: u32,
    },
    /// It was written by a later version.
    #[error(
        "this data directory was written by a newer Holdfast (identity format {found}, this one knows up to {known}): \
         start that version, or a newer one"
    )]
    Newer {
        /// The format's version in the file.
        found: u32,
        /// The newest this program reads.
        known: u32,
    },
    /// The file is not what was written.
    #[error(
        "the file `identity` in the data directory is damaged ({0}): restore it from a copy. Without it this node \
         cannot know what it has promised, and must not start"
    )]
    Damaged(String),
    /// There is none, in a directory that has been used.
    #[error(
        "the data directory holds a journal but no file `identity`: restore that file from a copy. Without it this node \
         cannot know what it has promised, and must not start"
    )]
    Missing,
    /// The disk failed.
    #[error("the file `identity` in the data directory cannot be read or written: {0}")]
    Io(#[from] io::Error),
}

fn named(cluster: &str) -> String {
    if cluster.is_empty() {
        "a node on its own".into()
    } else {
        format!("cluster `{cluster}`")
    }
}

impl Identity {
    /// Reads the file; `None` if the directory is new.
    pub(super) async fn read(disk: &dyn Disk) -> Result<Option<Identity>, IdentityError> {
        let file = match disk.open(NAME).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let unused = disk.list(JOURNAL).await?.is_empty();
                return if unused { Ok(None) } else { Err(IdentityError::Missing) };
            }
            file => file?,
        };
        let length = file.len().await?;
        if length > LENGTH_MAX {
            return Err(IdentityError::Damaged(format!("it is {length} bytes long")));
        }
        let length = usize::try_from(length).map_err(io::Error::other)?;
        let bytes = file.read_at(0, length).await?;
        Identity::parse(&bytes).map(Some)
    }

    /// Replaces the file, durably. Takes what it needs along, so that it can run on elsewhere.
    pub(super) async fn write(self, disk: Arc<dyn Disk>) -> io::Result<()> {
        let file = match disk.create(BESIDE).await {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                // Left by a crash before the rename: it was never this node's word.
                disk.remove(BESIDE).await?;
                disk.create(BESIDE).await?
            }
            file => file?,
        };
        file.write_at(0, vec![Bytes::from(self.render()?)]).await?;
        file.sync().await?;
        disk.rename(BESIDE, NAME).await?;
        disk.sync_dir("").await
    }

    /// Whether the configuration asks for the same.
    pub(super) fn check(&self, node_id: u64, cluster_name: &str, groups: u32) -> Result<(), IdentityError> {
        if self.node_id != node_id {
            return Err(IdentityError::OtherNode {
                found: self.node_id,
                configured: node_id,
            });
        }
        if self.cluster_name != cluster_name {
            let (found, configured) = (self.cluster_name.clone(), cluster_name.into());
            return Err(IdentityError::OtherCluster { found, configured });
        }
        if self.groups != groups {
            return Err(IdentityError::OtherGroups {
                found: self.groups,
                configured: groups,
            });
        }
        Ok(())
    }

    fn render(&self) -> io::Result<String> {
        let body = serde_json::to_string_pretty(self)? + "\n";
        Ok(format!(
            "{FIRST_WORDS}{VERSION}\ncrc32c {:08x}\n{body}",
            crc32c::crc32c(body.as_bytes())
        ))
    }

    fn parse(bytes: &[u8]) -> Result<Identity, IdentityError> {
        let damaged = |what: &str| IdentityError::Damaged(what.to_owned());
        let text = std::str::from_utf8(bytes).map_err(|_| damaged("it is not text"))?;
        let (first, rest) = text.split_once('\n').ok_or_else(|| damaged("it is cut off"))?;
        let version = first.strip_prefix(FIRST_WORDS).and_then(|version| version.parse().ok());
        match version {
            None => return Err(damaged("its first line is not that of an identity")),
            Some(VERSION) => {}
            Some(found) if found > VERSION => return Err(IdentityError::Newer { found, known: VERSION }),
            Some(_) => return Err(damaged("there was never such a version")),
        }
        let (crc, body) = rest.split_once('\n').ok_or_else(|| damaged("it is cut off"))?;
        let crc = crc
            .strip_prefix("crc32c ")
            .and_then(|crc| u32::from_str_radix(crc, 16).ok());
        if crc != Some(crc32c::crc32c(body.as_bytes())) {
            return Err(damaged("its checksum is wrong"));
        }
        serde_json::from_str(body).map_err(|error| IdentityError::Damaged(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Member;
    use super::*;

    /// As version 1 wrote it. It must be readable for ever.
    const GOLDEN: &str = r#"holdfast identity 1
crc32c 628e713b
{
  "node_id": 1,
  "data": "000000000000000000000000000000a1",
  "cluster_name": "prod",
  "groups": 16,
  "founding": {
    "cluster": "0123456789abcdef0123456789abcdef",
    "members": {
      "1": {
        "address": "10.0.0.1:4437",
        "data": "000000000000000000000000000000a1"
      },
      "2": {
        "address": "10.0.0.2:4437",
        "data": "000000000000000000000000000000a2"
      }
    }
  },
  "founded": true
}
"#;

    fn golden() -> Identity {
        let member = |last, data| Member {
            address: format!("10.0.0.{last}:4437"),
            data: Unique(data),
        };
        Identity {
            node_id: 1,
            data: Unique(0xa1),
            cluster_name: "prod".into(),
            groups: 16,
            founding: Some(Founding {
                cluster: Unique(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef),
                members: [(1, member(1, 0xa1)), (2, member(2, 0xa2))].into(),
            }),
            founded: true,
            restored: None,
        }
    }

    #[test]
    fn the_golden_file_is_read_and_written() {
        assert_eq!(Identity::parse(GOLDEN.as_bytes()).unwrap(), golden());
        assert_eq!(golden().render().unwrap(), GOLDEN);
    }

    #[test]
    fn what_a_node_brings_back_is_written_as_by_the_first_release() {
        let restored = Some(Restored {
            cluster: Unique(0x0123),
            generation: 2,
        });
        let text = Identity { restored, ..golden() }.render().unwrap();
        let written =
            "\"restored\": {\n    \"cluster\": \"00000000000000000000000000000123\",\n    \"generation\": 2\n  }";
        assert!(text.contains(written), "{text}");
        assert_eq!(Identity::parse(text.as_bytes()).unwrap().restored, restored);
    }

    #[test]
    fn a_newer_version_is_named_whatever_follows() {
        let error = Identity::parse(b"holdfast identity 2\n\xff".split_at(20).0).unwrap_err();
        assert!(
            error.to_string().contains("identity format 2, this one knows up to 1"),
            "{error}"
        );
    }

    #[test]
    fn what_the_configuration_says_otherwise_is_refused_with_advice() {
        let table = [
            (golden().check(1, "prod", 16), None),
            (golden().check(2, "prod", 16), Some("set `server.node_id = 1`")),
            (
                golden().check(1, "test", 16),
                Some("belongs to cluster `prod`, but the configuration says cluster `test`"),
            ),
            (
                golden().check(1, "", 16),
                Some("the configuration says a node on its own"),
            ),
            (golden().check(1, "prod", 8), Some("set `cluster.groups = 16`")),
        ];
        for (checked, expected) in table {
            match (checked, expected) {
                (Ok(()), None) => {}
                (Err(error), Some(expected)) => assert!(error.to_string().contains(expected), "{error}"),
                (checked, expected) => panic!("{checked:?}, expected {expected:?}"),
            }
        }
    }

    proptest! {
        #[test]
        fn damage_is_noticed_wherever_it_strikes(at in 0..GOLDEN.len(), bit in 0..8u8) {
            let mut bytes = GOLDEN.as_bytes().to_vec();
            bytes[at] ^= 1 << bit;
            // The version, and the case of a digit of the checksum, may change into something lawful; the content not.
            match Identity::parse(&bytes) {
                Ok(read) => prop_assert_eq!(read, golden()),
                Err(IdentityError::Damaged(_) | IdentityError::Newer { .. }) => {}
                Err(other) => prop_assert!(false, "{}", other),
            }
        }

        #[test]
        fn a_file_that_was_cut_off_is_damaged(length in 0..GOLDEN.len()) {
            prop_assert!(matches!(Identity::parse(&GOLDEN.as_bytes()[..length]), Err(IdentityError::Damaged(_))));
        }

        #[test]
        fn garbage_is_refused(garbage in prop::collection::vec(any::<u8>(), 0..400)) {
            prop_assert!(Identity::parse(&garbage).is_err());
        }
    }
}
