//! The documents say what the server does: every error code is in docs/api.md with its status, and no other; docs/api.md and
//! the description for machines have the same routes.

use std::{collections::BTreeSet, fs, path::Path};

use serde_json::Value;

#[expect(
    clippy::disallowed_methods,
    reason = "this test reads the documents: it stands outside every node"
)]
fn text(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("ci/ lies in the workspace");
    fs::read_to_string(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// What stands between backticks.
fn quoted(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

/// Status and code of each row of the tables in `lines`; a row without a status belongs to the one above.
fn codes<'a>(lines: impl Iterator<Item = &'a str>) -> BTreeSet<(u16, String)> {
    let mut status = 0;
    let mut found = BTreeSet::new();
    for line in lines {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [_, first, second, ..] = cells[..] else { continue };
        if !first.is_empty() {
            let Ok(number) = first.parse() else { continue };
            status = number;
        }
        found.extend(
            quoted(second)
                .filter(|word| *word != "Retry-After")
                .map(|code| (status, code.to_owned())),
        );
    }
    found
}

#[test]
fn every_error_code_is_documented_with_its_status_and_no_other() {
    let source = text("node/src/http/errors.rs");
    let known = codes(source.lines().filter_map(|line| line.strip_prefix("//! ")));
    let api = text("docs/api.md");
    let errors = api
        .split("\n## Errors")
        .nth(1)
        .expect("docs/api.md has a section Errors");
    let documented = codes(errors.lines());
    assert!(known.len() > 40, "the table of codes was not found: {known:?}");
    let missing: Vec<_> = known.difference(&documented).collect();
    let invented: Vec<_> = documented.difference(&known).collect();
    assert!(
        missing.is_empty(),
        "in node/src/http/errors.rs and not in docs/api.md: {missing:?}"
    );
    assert!(
        invented.is_empty(),
        "in docs/api.md and not in node/src/http/errors.rs: {invented:?}"
    );
}

#[test]
fn the_routes_for_people_and_for_machines_are_the_same() {
    let api = text("docs/api.md");
    let table = api
        .split("\n## Routes")
        .nth(1)
        .and_then(|rest| rest.split("\n## ").next())
        .expect("docs/api.md has a section Routes");
    let mut for_people = BTreeSet::new();
    for line in table.lines() {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [_, routes, methods, ..] = cells[..] else { continue };
        for route in quoted(routes) {
            for_people.extend(methods.split(' ').map(|method| format!("{method} {route}")));
        }
    }
    let described: Value = serde_json::from_str(&text("node/src/http/openapi.json")).expect("openapi.json is JSON");
    let mut for_machines = BTreeSet::new();
    for (route, methods) in described["paths"].as_object().expect("it has paths") {
        let methods = methods.as_object().expect("a path has methods").keys();
        let methods = methods.filter(|method| *method != "parameters");
        for_machines.extend(methods.map(|method| format!("{} {route}", method.to_uppercase())));
    }
    assert!(
        for_people.len() > 30,
        "the table of routes was not found: {for_people:?}"
    );
    let missing: Vec<_> = for_people.difference(&for_machines).collect();
    let invented: Vec<_> = for_machines.difference(&for_people).collect();
    assert!(
        missing.is_empty(),
        "in docs/api.md and not in node/src/http/openapi.json: {missing:?}"
    );
    assert!(
        invented.is_empty(),
        "in node/src/http/openapi.json and not in docs/api.md: {invented:?}"
    );
}
