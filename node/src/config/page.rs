//! `docs/configuration.md` says of every setting what `section` says, and how its variable is called.

use std::collections::BTreeMap;

use super::setting::{Kind, SETTINGS, Setting};

/// What `section.rs` says of each setting.
fn said() -> BTreeMap<String, String> {
    let (mut section, mut doc, mut said) = ("", String::new(), BTreeMap::new());
    for line in include_str!("section.rs").lines().map(str::trim) {
        if let Some(words) = line.strip_prefix("/// ") {
            if let Some((name, _)) = words.strip_prefix("`[").and_then(|rest| rest.split_once("]`")) {
                section = name;
            }
            let blank = if doc.is_empty() { "" } else { " " };
            doc.extend([blank, words]);
            continue;
        }
        if let Some((name, _)) = line.strip_prefix("pub ").and_then(|rest| rest.split_once(':')) {
            said.insert(format!("{section}.{name}"), doc.clone());
        }
        doc.clear();
    }
    said
}

fn is_a(setting: &Setting) -> String {
    match &setting.kind {
        Kind::Number { .. } => "number".to_owned(),
        Kind::Size { .. } => "size".to_owned(),
        Kind::Time { .. } => "time".to_owned(),
        Kind::Text { .. } => "text".to_owned(),
        Kind::List { .. } => "list".to_owned(),
        Kind::Choice { words, .. } => format!("one of \"{}\"", words.join("\", \"")),
    }
}

#[test]
fn every_setting_is_in_the_page_for_people_as_it_is_in_the_source() {
    let said = said();
    let page = include_str!("../../../docs/configuration.md");
    let (mut section, mut rows) = ("", Vec::new());
    for line in page.lines() {
        if let Some(name) = line.strip_prefix("## [") {
            section = name.trim_end_matches(']');
        } else if line.starts_with("| `") {
            rows.push((section, line.to_owned()));
        }
    }
    // The version stands before all sections, and the page says so in words.
    let settings = SETTINGS.iter().filter(|setting| setting.key != "version");
    let expected: Vec<_> = settings
        .map(|setting| {
            let (key, variable, is_a) = (setting.key, setting.variable(), is_a(setting));
            let said = said
                .get(key)
                .unwrap_or_else(|| panic!("section.rs says nothing of {key}"));
            (
                setting.section().0,
                format!("| `{key}` | `{variable}` | {is_a} | {said} |"),
            )
        })
        .collect();
    let lacks: Vec<_> = expected.iter().filter(|row| !rows.contains(row)).collect();
    assert!(
        lacks.is_empty(),
        "docs/configuration.md lacks, below these sections: {lacks:#?}"
    );
    assert_eq!(
        rows, expected,
        "docs/configuration.md has more than there is, or in another order"
    );
}
