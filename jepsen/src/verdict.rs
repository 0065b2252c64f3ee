//! What a judge says: it holds, it is broken and why, or nobody can tell. The third is never a pass.

use serde::Serialize;

/// A judgement on one law.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "verdict")]
pub enum Verdict {
    /// Nothing unlawful was seen.
    Holds,
    /// Something unlawful was seen.
    Broken {
        /// The law.
        law: String,
        /// What is wrong, for a person.
        because: String,
        /// The events concerned, by id.
        operations: Vec<u32>,
    },
    /// It could not be told.
    Unknown {
        /// Why not.
        because: String,
    },
}

impl Verdict {
    /// Broken, in words.
    #[must_use]
    pub fn broken(law: &str, because: impl Into<String>, operations: impl Into<Vec<u32>>) -> Self {
        Self::Broken {
            law: law.into(),
            because: because.into(),
            operations: operations.into(),
        }
    }

    /// Not known, in words.
    #[must_use]
    pub fn unknown(because: impl Into<String>) -> Self {
        Self::Unknown {
            because: because.into(),
        }
    }

    /// Only [`Verdict::Holds`] is a pass.
    #[must_use]
    pub fn passes(&self) -> bool {
        matches!(self, Self::Holds)
    }
}

/// A law by its name, and who judges it.
#[derive(Clone, Copy)]
pub struct Law {
    /// Kebab-case, stable: corpus files name it.
    pub name: &'static str,
    /// The judge.
    pub judge: fn(&crate::history::History) -> Verdict,
}

impl std::fmt::Debug for Law {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// The verdict of one law.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Judgement {
    /// The law's name.
    pub law: String,
    /// What the judge says.
    #[serde(flatten)]
    pub verdict: Verdict,
}

/// Lets every law judge the history, in the order given.
#[must_use]
pub fn judge(laws: &[Law], history: &crate::history::History) -> Vec<Judgement> {
    let one = |law: &Law| Judgement {
        law: law.name.into(),
        verdict: (law.judge)(history),
    };
    laws.iter().map(one).collect()
}
