//! What is wrong with a configuration, and what to do about it.

use std::fmt;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigProblem {
    /// Where it was said.
    pub place: Place,
    /// Which setting it concerns, as `section.name`; empty when none.
    pub key: String,
    /// What is wrong and what to do, as a sentence.
    pub message: String,
}

/// Where something was said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// On this line of the file, from 1.
    Line(usize),
    /// In this environment variable.
    Variable(String),
    /// By this flag.
    Flag(&'static str),
    /// Nowhere in particular: it is missing, or settings contradict each other.
    Whole,
}

/// `line 7: server.node_id: …`.
impl fmt::Display for ConfigProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Line(line) => write!(f, "line {line}: ")?,
            Place::Variable(name) => write!(f, "{name}: ")?,
            Place::Flag(name) => write!(f, "{name}: ")?,
            Place::Whole => {}
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for ConfigProblem {}
