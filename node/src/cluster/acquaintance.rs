//! The rules by which two nodes that meet are friends or strangers. Pure; the order of the rules matters.

use super::record::{Founding, Hello};

/// What a node makes of another's hello.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Acquaintance {
    /// A member of the same cluster, or one of its members that does not know yet.
    Friend,
    /// It belongs to a cluster that counts this node, with this data directory, among its members.
    Join(Founding),
    /// Neither belongs to a cluster yet; nothing speaks against founding one together.
    Unfounded,
    /// Not to be talked to; the sentence says why.
    Stranger(String),
    /// The other's cluster has been founded and this node cannot be part of it; the sentence says why, and what to do.
    Outcast(String),
}

/// Judges the other's hello. It is not the node's own.
pub(super) fn judge(mine: &Hello, theirs: &Hello) -> Acquaintance {
    use Acquaintance::{Friend, Join, Outcast, Stranger, Unfounded};
    let (me, it) = (mine.node_id, theirs.node_id);
    if theirs.cluster_name != mine.cluster_name {
        return Stranger(format!(
            "node {it} at {} belongs to the cluster `{}`, node {me} to `{}`",
            theirs.advertise, theirs.cluster_name, mine.cluster_name
        ));
    }
    if theirs.groups != mine.groups {
        return Stranger(format!(
            "node {it} at {} is configured for {} groups, node {me} for {}: `cluster.groups` must be the same everywhere",
            theirs.advertise, theirs.groups, mine.groups
        ));
    }
    match (&mine.founding, &theirs.founding) {
        (Some(ours), Some(other)) if ours.cluster != other.cluster => Stranger(format!(
            "node {it} at {} belongs to cluster {}, node {me} to cluster {}: two clusters bear the name `{}`",
            theirs.advertise, other.cluster, ours.cluster, mine.cluster_name
        )),
        (Some(ours), _) => match ours.members.get(&it) {
            _ if it == me => Stranger(same_id(mine, theirs)),
            None => Stranger(format!(
                "node {it} at {} is not a member of cluster {}",
                theirs.advertise, ours.cluster
            )),
            Some(member) if member.data != theirs.data => Stranger(lost_disk(theirs, ours)),
            Some(_) => Friend,
        },
        (None, Some(theirs)) => match theirs.members.get(&me) {
            None => Outcast(format!(
                "cluster {} was founded without node {me}: its members are {:?}. If it holds nothing yet, stop all \
                 nodes, empty their data directories, name every node in the routes of the founder, and start again",
                theirs.cluster,
                theirs.members.keys().collect::<Vec<_>>()
            )),
            Some(member) if member.data != mine.data => Outcast(lost_disk(mine, theirs)),
            Some(_) => Join(theirs.clone()),
        },
        (None, None) if it == me => Stranger(same_id(mine, theirs)),
        (None, None) if theirs.bootstrap_node_id != mine.bootstrap_node_id => Stranger(format!(
            "node {it} at {} expects node {} to found the cluster, node {me} expects node {}: \
             `cluster.bootstrap_node_id` must be the same everywhere",
            theirs.advertise, theirs.bootstrap_node_id, mine.bootstrap_node_id
        )),
        (None, None) => Unfounded,
    }
}

fn same_id(mine: &Hello, theirs: &Hello) -> String {
    format!(
        "the nodes at {} and {} both have node id {}: give each its own `server.node_id`",
        mine.advertise, theirs.advertise, mine.node_id
    )
}

/// `node` bears the id of a member of `cluster`, but not its data directory.
fn lost_disk(node: &Hello, cluster: &Founding) -> String {
    format!(
        "node {} took part in cluster {} with another data directory than the one it has now, and may have voted and \
         acknowledged there what it no longer knows. Start it with the directory it had",
        node.node_id, cluster.cluster
    )
}

#[cfg(test)]
mod tests {
    use super::super::{Member, Unique};
    use super::*;

    fn hello(node_id: u64, data: u128) -> Hello {
        Hello {
            node_id,
            data: Unique(data),
            advertise: format!("n{node_id}:1"),
            cluster_name: "prod".into(),
            groups: 4,
            bootstrap_node_id: 1,
            founding: None,
        }
    }

    fn cluster(cluster: u128, members: &[(u64, u128)]) -> Option<Founding> {
        let member = |data| Member {
            address: "x:1".into(),
            data: Unique(data),
        };
        let members = members.iter().map(|(id, data)| (*id, member(*data))).collect();
        Some(Founding {
            cluster: Unique(cluster),
            members,
        })
    }

    fn says(acquaintance: &Acquaintance) -> &str {
        match acquaintance {
            Acquaintance::Friend => "friend",
            Acquaintance::Join(_) => "join",
            Acquaintance::Unfounded => "unfounded",
            Acquaintance::Stranger(why) | Acquaintance::Outcast(why) => why,
        }
    }

    #[test]
    fn who_is_a_friend() {
        let ours = || cluster(7, &[(1, 11), (2, 22)]);
        let me = hello(1, 11);
        let it = hello(2, 22);
        let founded = |hello: &Hello, founding| Hello {
            founding,
            ..hello.clone()
        };
        let table = [
            // mine, theirs, what the verdict says
            (me.clone(), it.clone(), "unfounded"),
            (
                me.clone(),
                Hello {
                    cluster_name: "test".into(),
                    ..it.clone()
                },
                "belongs to the cluster `test`",
            ),
            (
                me.clone(),
                Hello {
                    groups: 8,
                    ..it.clone()
                },
                "configured for 8 groups",
            ),
            (
                me.clone(),
                Hello {
                    bootstrap_node_id: 2,
                    ..it.clone()
                },
                "expects node 2 to found",
            ),
            (me.clone(), hello(1, 22), "both have node id 1"),
            (me.clone(), founded(&it, ours()), "join"),
            (hello(1, 12), founded(&it, ours()), "took part in cluster"),
            (hello(3, 33), founded(&it, ours()), "was founded without node 3"),
            (founded(&me, ours()), it.clone(), "friend"),
            (founded(&me, ours()), hello(2, 23), "took part in cluster"),
            (founded(&me, ours()), hello(3, 33), "not a member"),
            (founded(&me, ours()), hello(1, 12), "both have node id 1"),
            (founded(&me, ours()), founded(&it, ours()), "friend"),
            (
                founded(&me, ours()),
                founded(&hello(2, 23), ours()),
                "took part in cluster",
            ),
            (
                founded(&me, ours()),
                founded(&it, cluster(8, &[(1, 11), (2, 22)])),
                "two clusters",
            ),
            // Whoever belongs to the cluster does not care any more who was to found it.
            (
                founded(&me, ours()),
                Hello {
                    bootstrap_node_id: 2,
                    ..founded(&it, ours())
                },
                "friend",
            ),
        ];
        for (mine, theirs, expected) in table {
            let verdict = judge(&mine, &theirs);
            assert!(
                says(&verdict).contains(expected),
                "{mine:?}\nmeets {theirs:?}\nand finds {verdict:?}"
            );
        }
    }

    #[test]
    fn only_a_node_without_a_cluster_is_ever_cast_out() {
        let me = Hello {
            founding: cluster(7, &[(1, 11), (2, 22)]),
            ..hello(1, 11)
        };
        for theirs in [
            hello(2, 23),
            Hello {
                founding: cluster(9, &[(2, 22)]),
                ..hello(2, 22)
            },
        ] {
            assert!(matches!(judge(&me, &theirs), Acquaintance::Stranger(_)));
        }
    }
}
