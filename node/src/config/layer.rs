//! The layers: what the file, the environment and the flags say, each laid over the one before.
//!
//! Nothing here decides whether settings fit together; that is `rule`. Every problem is noted and the next one looked
//! for, so that a person mends a file once.

use std::collections::BTreeMap;
use std::ops::Range;

use toml::de::{DeTable, DeValue};

use super::problem::{ConfigProblem, Place};
use super::setting::{ENV_PREFIX, Kind, SETTINGS, Setting};
use super::unit::{parse_size, parse_time};
use super::{Config, Overrides};

/// A configuration in the making, and what was found wrong with it so far.
#[derive(Default)]
pub(super) struct Draft {
    pub(super) config: Config,
    pub(super) problems: Vec<ConfigProblem>,
    /// Where each setting got its value; those not in here have their defaults.
    pub(super) origins: BTreeMap<&'static str, Place>,
}

impl Draft {
    /// Lays a file over the configuration.
    pub(super) fn file(&mut self, text: &str) {
        let line = |span: Range<usize>| Place::Line(1 + text[..span.start.min(text.len())].matches('\n').count());
        let (document, errors) = DeTable::parse_recoverable(text);
        for error in &errors {
            let place = error.span().map_or(Place::Whole, line);
            self.note(place, "", format!("this is not TOML: {}", error.message()));
        }
        // What a parser recovers after an error is a guess; do not complain about guesses.
        if !errors.is_empty() {
            return;
        }

        let document = document.get_ref();
        if !document.is_empty() && !document.contains_key("version") {
            self.note(
                Place::Whole,
                "version",
                "is missing: write `version = 1` at the top of the file".to_owned(),
            );
        }
        for (name, value) in document {
            let (place, name) = (line(name.span()), name.get_ref());
            let is_section = SETTINGS.iter().any(|setting| setting.section().0 == name);
            match value.get_ref() {
                DeValue::Table(section) if is_section => {
                    if name == "cluster" {
                        // An empty [cluster] is one, too: it is refused for what it lacks, not ignored.
                        self.config.cluster_mut();
                    }
                    for (field, value) in section {
                        let key = format!("{name}.{}", field.get_ref());
                        self.read(line(field.span()), &key, Given::Toml(value.get_ref()));
                    }
                }
                DeValue::Table(_) => {
                    let nearest = nearest(name, |setting| setting.section().0.to_owned());
                    self.note(place, name, format!("is no section: did you mean [{nearest}]?"));
                }
                _ if is_section => self.note(
                    place,
                    name,
                    format!("is a section: write [{name}] on a line of its own"),
                ),
                value => self.read(place, name, Given::Toml(value)),
            }
        }
    }

    /// Lays environment variables over the configuration; those that are not ours are not looked at.
    pub(super) fn environment(&mut self, variables: impl IntoIterator<Item = (String, String)>) {
        for (name, value) in variables.into_iter().filter(|(name, _)| name.starts_with(ENV_PREFIX)) {
            match SETTINGS.iter().find(|setting| setting.variable() == name) {
                Some(setting) => self.read(Place::Variable(name), setting.key, Given::Text(&value)),
                None if is_service_link(&name, &value) => {}
                None => {
                    let nearest = nearest(&name, Setting::variable);
                    let message = format!("is no variable of Holdfast's: did you mean {nearest}?");
                    self.note(Place::Variable(name), "", message);
                }
            }
        }
    }

    /// Lays flags over the configuration.
    pub(super) fn flags(&mut self, overrides: &Overrides) {
        let Overrides {
            node_id,
            listen,
            advertise,
            data_dir,
        } = overrides;
        let table = [
            ("--node-id", "server.node_id", node_id),
            ("--listen", "server.listen", listen),
            ("--advertise", "server.advertise", advertise),
            ("--data-dir", "server.data_dir", data_dir),
        ];
        for (flag, key, value) in table {
            if let Some(value) = value {
                self.read(Place::Flag(flag), key, Given::Text(value));
            }
        }
    }

    fn read(&mut self, place: Place, key: &str, given: Given<'_>) {
        let setting = match find(key) {
            Ok(setting) => setting,
            Err(message) => return self.note(place, key, message),
        };
        self.origins.insert(setting.key, place.clone());
        if let Err(message) = store(&mut self.config, setting, given) {
            self.note(place, key, message);
        }
    }

    fn note(&mut self, place: Place, key: &str, message: String) {
        self.problems.push(ConfigProblem {
            place,
            key: key.to_owned(),
            message,
        });
    }
}

/// A value as it was given.
#[derive(Clone, Copy)]
enum Given<'a> {
    /// In a variable or a flag.
    Text(&'a str),
    /// In the file.
    Toml(&'a DeValue<'a>),
}

/// Reads a value into its setting. Bounds are looked at later, when all layers are in.
fn store(config: &mut Config, setting: &Setting, given: Given<'_>) -> Result<(), String> {
    match &setting.kind {
        Kind::Number { set, .. } => set(config, whole_number(given)?),
        Kind::Size { set, .. } => {
            set(
                config,
                text(given)
                    .and_then(parse_size)
                    .ok_or("is a size: write it with its unit, as in \"32MiB\"")?,
            );
        }
        Kind::Time { set, .. } => {
            set(
                config,
                text(given)
                    .and_then(parse_time)
                    .ok_or("is a time: write it with its unit, as in \"20s\"")?,
            );
        }
        Kind::Text { set, .. } => {
            set(
                config,
                text(given)
                    .filter(|text| !text.is_empty())
                    .ok_or("is a text, not empty")?
                    .to_owned(),
            );
        }
        Kind::List { set, .. } => set(config, list(given).ok_or("is a list of texts, none of them empty")?),
        Kind::Choice { set, words, .. } => {
            let place = text(given).and_then(|text| words.iter().position(|word| *word == text));
            set(
                config,
                place.ok_or_else(|| format!("is one of \"{}\"", words.join("\", \"")))?,
            );
        }
    }
    Ok(())
}

fn text<'a>(given: Given<'a>) -> Option<&'a str> {
    match given {
        Given::Text(text) => Some(text),
        Given::Toml(value) => value.as_str(),
    }
}

fn whole_number(given: Given<'_>) -> Result<u64, String> {
    let number = match given {
        Given::Text(text) => text.trim().parse().ok(),
        Given::Toml(value) => value
            .as_integer()
            .and_then(|integer| u64::from_str_radix(integer.as_str(), integer.radix()).ok()),
    };
    number.ok_or_else(|| "is a whole number, not negative, without quotes".to_owned())
}

fn list(given: Given<'_>) -> Option<Vec<String>> {
    let texts: Vec<&str> = match given {
        Given::Text("") => Vec::new(),
        Given::Text(text) => text.split(',').map(str::trim).collect(),
        Given::Toml(value) => value
            .as_array()?
            .iter()
            .map(|item| item.get_ref().as_str())
            .collect::<Option<_>>()?,
    };
    texts
        .iter()
        .all(|text| !text.is_empty())
        .then(|| texts.into_iter().map(str::to_owned).collect())
}

/// Whether Kubernetes put this variable there because a service is called holdfast: `HOLDFAST_SERVICE_HOST`,
/// `HOLDFAST_PORT=tcp://…`, `HOLDFAST_PEERS_PORT_4437_TCP_ADDR`. Nobody can help those; a node must start among them.
fn is_service_link(name: &str, value: &str) -> bool {
    let is_url = value.starts_with("tcp://") || value.starts_with("udp://");
    let numbered = name
        .split("_PORT_")
        .skip(1)
        .any(|after| after.starts_with(|c: char| c.is_ascii_digit()));
    name.ends_with("_SERVICE_HOST") || name.contains("_SERVICE_PORT") || (name.ends_with("_PORT") && is_url) || numbered
}

/// The setting of a key, or a sentence that names the nearest one.
fn find(key: &str) -> Result<&'static Setting, String> {
    let setting = SETTINGS.iter().find(|setting| setting.key == key);
    setting.ok_or_else(|| {
        format!(
            "is no setting: did you mean {}?",
            nearest(key, |setting| setting.key.to_owned())
        )
    })
}

/// The name most like this one. A right name in a wrong section is nearer than a wrong name in the right one.
fn nearest(name: &str, spell: impl Fn(&Setting) -> String) -> String {
    const WRONG_SECTION: usize = 3;
    let last = |key: &str| key.rsplit('.').next().unwrap_or_default().to_owned();
    let distance = |candidate: &String| {
        let whole = strsim::osa_distance(name, candidate);
        whole.min(strsim::osa_distance(&last(name), &last(candidate)) + WRONG_SECTION)
    };
    SETTINGS
        .iter()
        .map(spell)
        .filter(|candidate| !candidate.is_empty())
        .min_by_key(distance)
        .unwrap_or_default()
}
