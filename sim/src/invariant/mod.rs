//! White box: what must hold between the replicas at every moment, one property a file.
//!
//! The world looks at every node again and again and hands what it saw to [`Invariants::observe`]. The properties of Raft
//! are those of Ongaro's dissertation, figure 3.2; the last one is Holdfast's own promise.
//!
//! | property | source | file |
//! |---|---|---|
//! | Election Safety: at most one leader in a term | fig. 3.2 | [`one_leader_per_term`] |
//! | Log Matching and Leader Completeness, seen at the commit: an index is committed with one term only | fig. 3.2 | [`committed_never_changes`] |
//! | terms grow along a log, which reaches what is committed | lemma A.2 | [`log_terms_grow`] |
//! | State Machine Safety: the same applied index, the same digest | fig. 3.2 | [`same_applied_same_digest`] |
//! | term, vote and, within one life of a process, commit and applied index never go back | ch. 3.8 | [`nothing_goes_back`] |
//! | a refused or crashed fork leaks nothing, at the end | issue 3 | [`forks_leak_nothing`] |
//! | whatever is referred to is in the cold store, and nothing else, at the end | issue 4 | [`cold_keeps_what_is_referred_to`] |
//! | committed is on the synced disks of a majority | DESIGN §1, promise 1 | [`committed_is_on_a_majority`] |

pub mod cold_keeps_what_is_referred_to;
pub mod committed_is_on_a_majority;
pub mod committed_never_changes;
pub mod forks_leak_nothing;
pub mod log_terms_grow;
pub mod nothing_goes_back;
pub mod one_leader_per_term;
pub mod same_applied_same_digest;

pub use cold_keeps_what_is_referred_to::{all_is_written_down, cold_keeps_what_is_referred_to};
pub use committed_is_on_a_majority::{Durable, committed_is_on_a_majority};
pub use forks_leak_nothing::forks_leak_nothing;

/// A vote on a synced disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ballot {
    /// In which term.
    pub term: u64,
    /// For whom, or who leads the term, if it has heard of that.
    pub voted_for: u64,
    /// Whether a quorum made that one the leader. A node that voted for a loser then takes the winner's name.
    pub elected: bool,
}

/// One replica at one moment, as its own node tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Observation {
    /// Simulated time.
    pub at_ns: u64,
    /// Which node.
    pub node: u64,
    /// Which life of its process: counts starts.
    pub life: u64,
    /// Which group.
    pub group: u32,
    /// The term it is in, which may be ahead of what it has saved.
    pub term: u64,
    /// The vote on its synced disk.
    pub saved: Option<Ballot>,
    /// Whether it believes to lead that term.
    pub leads: bool,
    /// The last entry of its log: index and term.
    pub last_log: Option<(u64, u64)>,
    /// The first entry near the end of the log whose term is lower than that of the entry before it: index, the term
    /// before, its own term.
    pub term_falls: Option<(u64, u64, u64)>,
    /// The last entry known to be committed: index and term.
    pub committed: Option<(u64, u64)>,
    /// The last entry applied: index and term.
    pub applied: Option<(u64, u64)>,
    /// Chained digest of all entries and their outcomes up to `applied`.
    pub digest: u64,
}

/// An invariant does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{invariant}: {because}")]
pub struct Broken {
    /// The property, as its file is called.
    pub invariant: &'static str,
    /// Who saw what.
    pub because: String,
}

/// A property that is watched over time.
pub trait Invariant: Send {
    /// Takes one observation in.
    ///
    /// # Errors
    /// The first time that what was observed cannot be.
    fn observe(&mut self, seen: &Observation) -> Result<(), Broken>;

    /// All nodes were lost with all they knew; those that come now are others.
    fn all_lost(&mut self) {}

    /// A group comes back as it was after this entry: what was committed before still is, and nothing else.
    fn comes_back(&mut self, _group: u32, _index: u64) {}
}

/// All properties that a stream of observations is held against.
pub struct Invariants {
    watched: Vec<Box<dyn Invariant>>,
    observations: u64,
}

impl Default for Invariants {
    fn default() -> Self {
        Self {
            watched: vec![
                Box::<one_leader_per_term::OneLeaderPerTerm>::default(),
                Box::<committed_never_changes::CommittedNeverChanges>::default(),
                Box::<log_terms_grow::LogTermsGrow>::default(),
                Box::<same_applied_same_digest::SameAppliedSameDigest>::default(),
                Box::<nothing_goes_back::NothingGoesBack>::default(),
            ],
            observations: 0,
        }
    }
}

impl Invariants {
    /// Holds one observation against every property.
    ///
    /// # Errors
    /// The first property that does not hold.
    pub fn observe(&mut self, seen: &Observation) -> Result<(), Broken> {
        self.observations += 1;
        self.watched
            .iter_mut()
            .try_for_each(|invariant| invariant.observe(seen))
    }

    /// All nodes were lost with all they knew; those that come now are others.
    pub fn all_lost(&mut self) {
        for invariant in &mut self.watched {
            invariant.all_lost();
        }
    }

    /// A group comes back as it was after this entry.
    pub fn comes_back(&mut self, group: u32, index: u64) {
        for invariant in &mut self.watched {
            invariant.comes_back(group, index);
        }
    }

    /// How many observations were made: a run without any has proved nothing.
    #[must_use]
    pub fn observations(&self) -> u64 {
        self.observations
    }
}
