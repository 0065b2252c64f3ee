//! The steps towards a founded cluster, as a pure function of what a node is and what the others told it.
//!
//! ```text
//! alone    found with itself -> initialise the groups -> enter
//! founder  ask everybody -> all answered, none knows a cluster -> found: the record is durable -> initialise -> enter
//! others   wait, and ask -> a member shows them the record, or comes with it -> join: it is durable -> enter
//! ```
//! Each arrow is one durable step, and each step may be taken twice: a crash anywhere resumes where the file says. What
//! nobody but the founder knew when the founder's disk was lost has never been in force, because nothing commits without
//! a majority, and the majority keeps the record before it answers anything.

use std::collections::BTreeMap;

use super::{
    acquaintance::{Acquaintance, judge},
    record::{Founding, Hello, Member},
};

/// What a node is.
#[derive(Clone, Debug)]
pub(super) struct State {
    /// Itself, with the record if it has one.
    pub(super) me: Hello,
    /// No others are configured.
    pub(super) alone: bool,
    /// Nothing is left to do for the founding.
    pub(super) founded: bool,
    /// It brings back a cluster that was lost.
    pub(super) restores: bool,
}

/// What one round of asking brought, by route.
pub(super) type Answers = BTreeMap<String, Result<Hello, String>>;

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Serve.
    Enter,
    /// Mint a cluster of these, and write it down.
    Found(BTreeMap<u64, Member>),
    /// Initialise the groups that are not, then write down that all are.
    Initialise(Founding),
    /// Write down that this is our cluster.
    Join(Founding),
    /// Ask everybody again after a while. The sentences say what is waited for.
    Wait(Vec<String>),
    /// Stop: the sentence says why, and what to do.
    Refuse(String),
}

/// The next step, given the answers of the latest round. `None`: nobody has been asked yet.
pub(super) fn next(state: &State, answers: Option<&Answers>) -> Step {
    let me = &state.me;
    if let Some(founding) = &me.founding {
        return if state.founded {
            Step::Enter
        } else {
            Step::Initialise(founding.clone())
        };
    }
    let myself = (
        me.node_id,
        Member {
            address: me.advertise.clone(),
            data: me.data,
        },
    );
    if state.alone {
        return Step::Found([myself].into());
    }
    let Some(answers) = answers else {
        return Step::Wait(vec!["nobody has been asked yet".into()]);
    };

    let mut members = BTreeMap::from([myself]);
    let mut obstacles = Vec::new();
    for (route, answer) in answers {
        let them = match answer {
            Ok(them) if (them.node_id, them.data) == (me.node_id, me.data) => continue, // the route leads here
            Ok(them) => them,
            Err(reason) => {
                obstacles.push(format!("{route} does not answer: {reason}"));
                continue;
            }
        };
        match judge(me, them) {
            Acquaintance::Join(founding) if state.restores => {
                return Step::Refuse(format!(
                    "node {} was to bring back a cluster, but node {} belongs to cluster {}, which counts it among its members: \
                     start those nodes with empty data directories that the restored cluster is to consist of, or remove the \
                     data directory of this one if that cluster is the one you want",
                    me.node_id, them.node_id, founding.cluster
                ));
            }
            Acquaintance::Join(founding) => return Step::Join(founding),
            Acquaintance::Outcast(why) => return Step::Refuse(why),
            Acquaintance::Stranger(why) => obstacles.push(why),
            Acquaintance::Friend | Acquaintance::Unfounded => {
                let member = Member {
                    address: them.advertise.clone(),
                    data: them.data,
                };
                if let Some(why) = clash(&members, them) {
                    obstacles.push(why);
                }
                members.insert(them.node_id, member);
            }
        }
    }
    if me.bootstrap_node_id != me.node_id {
        let founder = me.bootstrap_node_id;
        obstacles.insert(0, format!("node {founder} has yet to found the cluster"));
    }
    if obstacles.is_empty() {
        Step::Found(members)
    } else {
        Step::Wait(obstacles)
    }
}

/// Two routes to one node are fine; two nodes with one id or one address are not.
fn clash(members: &BTreeMap<u64, Member>, them: &Hello) -> Option<String> {
    let id = them.node_id;
    if let Some(known) = members.get(&id)
        && known.data != them.data
    {
        let (here, there) = (&known.address, &them.advertise);
        return Some(format!(
            "the nodes at {here} and {there} both have node id {id}: give each its own"
        ));
    }
    let twin = members
        .iter()
        .find(|(other, member)| **other != id && member.address == them.advertise);
    twin.map(|(other, _)| {
        format!(
            "nodes {other} and {id} both advertise {}: give each its own `server.advertise`",
            them.advertise
        )
    })
}

#[cfg(test)]
mod tests {
    use super::super::Unique;
    use super::*;

    fn hello(node_id: u64) -> Hello {
        Hello {
            node_id,
            data: Unique(u128::from(node_id) * 11),
            advertise: format!("n{node_id}:1"),
            cluster_name: "prod".into(),
            groups: 4,
            bootstrap_node_id: 1,
            founding: None,
        }
    }

    fn members(ids: &[u64]) -> BTreeMap<u64, Member> {
        ids.iter()
            .map(|id| {
                (
                    *id,
                    Member {
                        address: hello(*id).advertise,
                        data: hello(*id).data,
                    },
                )
            })
            .collect()
    }

    fn cluster(ids: &[u64]) -> Founding {
        Founding {
            cluster: Unique(7),
            members: members(ids),
        }
    }

    fn state(node_id: u64) -> State {
        State {
            me: hello(node_id),
            alone: false,
            founded: false,
            restores: false,
        }
    }

    fn answers<const N: usize>(answers: [Result<Hello, String>; N]) -> Option<Answers> {
        Some(
            answers
                .into_iter()
                .enumerate()
                .map(|(at, answer)| (format!("r{at}:1"), answer))
                .collect(),
        )
    }

    fn silent() -> Result<Hello, String> {
        Err("connection refused".into())
    }

    fn waits_for(step: Step, expected: &str) {
        let Step::Wait(obstacles) = step else {
            panic!("{step:?}, expected to wait: {expected}")
        };
        assert!(
            obstacles.iter().any(|obstacle| obstacle.contains(expected)),
            "{obstacles:?}: {expected}"
        );
    }

    #[test]
    fn a_node_on_its_own_founds_at_once() {
        assert_eq!(
            next(
                &State {
                    alone: true,
                    ..state(1)
                },
                None
            ),
            Step::Found(members(&[1]))
        );
    }

    #[test]
    fn the_founder_founds_when_all_have_answered_and_none_knows_a_cluster() {
        let all = answers([Ok(hello(2)), Ok(hello(3))]);
        assert_eq!(next(&state(1), all.as_ref()), Step::Found(members(&[1, 2, 3])));
    }

    #[test]
    fn a_route_may_lead_home_and_two_routes_to_one_node() {
        let all = answers([Ok(hello(1)), Ok(hello(2)), Ok(hello(2)), Ok(hello(3))]);
        assert_eq!(next(&state(1), all.as_ref()), Step::Found(members(&[1, 2, 3])));
    }

    #[test]
    fn the_founder_waits_while_anything_is_unclear() {
        let table = [
            (None, "nobody has been asked"),
            (
                answers([Ok(hello(2)), silent()]),
                "r1:1 does not answer: connection refused",
            ),
            (
                answers([
                    Ok(hello(2)),
                    Ok(Hello {
                        data: Unique(9),
                        ..hello(2)
                    }),
                ]),
                "both have node id 2",
            ),
            (
                answers([
                    Ok(hello(2)),
                    Ok(Hello {
                        data: Unique(9),
                        ..hello(1)
                    }),
                ]),
                "both have node id 1",
            ),
            (
                answers([
                    Ok(hello(2)),
                    Ok(Hello {
                        advertise: "n2:1".into(),
                        ..hello(3)
                    }),
                ]),
                "both advertise n2:1",
            ),
            (
                answers([Ok(Hello {
                    cluster_name: "test".into(),
                    ..hello(2)
                })]),
                "belongs to the cluster `test`",
            ),
            (answers([Ok(Hello { groups: 5, ..hello(2) })]), "5 groups"),
            (
                answers([Ok(Hello {
                    bootstrap_node_id: 2,
                    ..hello(2)
                })]),
                "expects node 2 to found",
            ),
        ];
        for (answers, expected) in table {
            waits_for(next(&state(1), answers.as_ref()), expected);
        }
    }

    #[test]
    fn others_never_found() {
        waits_for(
            next(&state(2), answers([Ok(hello(1)), Ok(hello(3))]).as_ref()),
            "node 1 has yet to found",
        );
    }

    #[test]
    fn whoever_is_shown_the_record_joins_even_while_others_are_silent() {
        let founder = Hello {
            founding: Some(cluster(&[1, 2, 3])),
            ..hello(1)
        };
        let some = answers([silent(), Ok(founder)]);
        assert_eq!(next(&state(2), some.as_ref()), Step::Join(cluster(&[1, 2, 3])));
    }

    #[test]
    fn who_brings_back_a_cluster_joins_no_other() {
        let founder = Hello {
            founding: Some(cluster(&[1, 2, 3])),
            ..hello(2)
        };
        let some = answers([Ok(founder), silent()]);
        let restoring = State {
            restores: true,
            ..state(1)
        };
        let Step::Refuse(why) = next(&restoring, some.as_ref()) else {
            panic!("must refuse")
        };
        assert!(why.contains("was to bring back a cluster"), "{why}");
    }

    #[test]
    fn a_founder_that_lost_its_disk_founds_nothing_and_stops() {
        let other = Hello {
            founding: Some(cluster(&[1, 2, 3])),
            ..hello(2)
        };
        let empty = State {
            me: Hello {
                data: Unique(99),
                ..hello(1)
            },
            ..state(1)
        };
        for some in [
            answers([Ok(other.clone()), silent()]),
            answers([Ok(hello(3)), Ok(other.clone())]),
        ] {
            let Step::Refuse(why) = next(&empty, some.as_ref()) else {
                panic!("must refuse")
            };
            assert!(why.contains("node 1 took part in cluster"), "{why}");
        }
    }

    #[test]
    fn a_node_nobody_counted_stops() {
        let founder = Hello {
            founding: Some(cluster(&[1, 2])),
            ..hello(1)
        };
        let Step::Refuse(why) = next(&state(3), answers([Ok(founder)]).as_ref()) else {
            panic!("must refuse")
        };
        assert!(why.contains("was founded without node 3"), "{why}");
    }

    #[test]
    fn a_crash_in_the_middle_resumes_where_the_file_says() {
        let founding = Some(cluster(&[1, 2, 3]));
        let intent = State {
            me: Hello {
                founding: founding.clone(),
                ..hello(1)
            },
            ..state(1)
        };
        assert_eq!(next(&intent, None), Step::Initialise(cluster(&[1, 2, 3])));
        assert_eq!(
            next(
                &State {
                    founded: true,
                    ..intent
                },
                None
            ),
            Step::Enter
        );
    }
}
