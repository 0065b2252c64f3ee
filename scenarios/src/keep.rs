//! The corpus: what a failure leaves behind, one small TOML file each.
//!
//! A seed replays today, but means something only together with the code. The blows as struck replay the same faults
//! tomorrow. The story, a directed test, stays true for ever.
#![expect(
    clippy::disallowed_methods,
    reason = "the corpus is files in the repository, not part of any world"
)]

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sim::fault::Fault;

use crate::exploratory;
use crate::nemesis::Script;
use crate::runner::Run;
use crate::scenario::Scenario;

/// One failure, kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kept {
    /// The scenario's name.
    pub scenario: String,
    /// The dice.
    pub seed: u64,
    /// The code it was seen with: a seed means this only together with it.
    pub commit: String,
    /// The law that was broken.
    pub broke: String,
    /// Why, in one sentence, once somebody knows.
    #[serde(default)]
    pub cause: String,
    /// The directed test that tells it, once there is one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub story: String,
    /// The faults as struck.
    #[serde(default)]
    pub blow: Vec<KeptBlow>,
}

/// A fault and its moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeptBlow {
    /// Milliseconds since the storm began.
    pub at_ms: u64,
    /// In words.
    pub fault: Fault,
}

impl Kept {
    /// What there is to keep of a run that failed. `None` if it passed.
    #[must_use]
    pub fn of(run: &Run, commit: String) -> Option<Self> {
        let fails = run.fails()?;
        let at_ms = |at: Duration| u64::try_from(at.as_millis()).unwrap_or(u64::MAX);
        let blow = run.blows.iter().map(|(at, fault)| KeptBlow {
            at_ms: at_ms(*at),
            fault: fault.clone(),
        });
        Some(Self {
            scenario: run.name.into(),
            seed: run.seed,
            commit,
            broke: fails.law.clone(),
            cause: String::new(),
            story: String::new(),
            blow: blow.collect(),
        })
    }

    /// The scenario as the seed tells it. `None` if there is none of this name any more.
    #[must_use]
    pub fn by_seed(&self) -> Option<Scenario> {
        exploratory::by_name(&self.scenario, self.seed)
    }

    /// The scenario with the kept blows instead of its nemeses. `None` if there is none of this name any more.
    #[must_use]
    pub fn by_blows(&self) -> Option<Scenario> {
        let blows = self
            .blow
            .iter()
            .map(|blow| (Duration::from_millis(blow.at_ms), blow.fault.clone()));
        Some(Scenario {
            nemeses: vec![Box::new(Script::new(blows))],
            ..self.by_seed()?
        })
    }

    /// Writes it into the corpus; returns where.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self) -> io::Result<PathBuf> {
        let path = corpus().join(format!("{}-{}.toml", self.scenario, self.seed));
        let text = toml::to_string(self).map_err(io::Error::other)?;
        std::fs::write(&path, text)?;
        Ok(path)
    }

    /// Reads one file.
    ///
    /// # Errors
    /// When it cannot be read, or is not what [`Kept::write`] writes.
    pub fn read(path: &Path) -> io::Result<Self> {
        let wrong = |error| io::Error::new(io::ErrorKind::InvalidData, format!("{}: {error}", path.display()));
        toml::from_str(&std::fs::read_to_string(path)?).map_err(wrong)
    }

    /// Every failure kept, in the order of the files' names.
    ///
    /// # Errors
    /// When the folder or a file in it cannot be read.
    pub fn all() -> io::Result<Vec<Self>> {
        let mut paths = Vec::new();
        for entry in std::fs::read_dir(corpus())? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "toml") {
                paths.push(path);
            }
        }
        paths.sort();
        paths.iter().map(|path| Self::read(path)).collect()
    }
}

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_as_a_person_writes_it_is_read() {
        let text = r#"
            scenario = "leader-churn"
            seed     = 8114
            commit   = "3f2c91d"
            broke    = "acknowledged-appends-stay"
            cause    = "the producer's row was kept in a second batch; a crash fell between the two"
            story    = "a_retry_after_a_crash_stores_once"

            [[blow]]
            at_ms = 40811
            fault = "power-loss n3"
        "#;
        let kept: Kept = toml::from_str(text).expect("it is well-formed");
        assert_eq!(kept.blow[0].fault, Fault::PowerLoss(sim::fault::Whom::node(3)));
        assert!(kept.by_seed().is_some() && kept.by_blows().is_some());
        assert_eq!(
            toml::from_str(&toml::to_string(&kept).expect("it has a form")),
            Ok(kept)
        );
    }
}
