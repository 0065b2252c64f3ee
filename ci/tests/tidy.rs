//! The house keeps its shape: who may import whom, who may name what.
//!
//! Each rule is a sentence of the README's "The house". A rule that is broken prints the file and what to do instead.

#![expect(
    clippy::disallowed_methods,
    reason = "this test reads the sources: it stands outside every node"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// Room → rooms it may import (normal and build dependencies; tests may use more only where listed).
const ARROWS: [(&str, &[&str]); 7] = [
    ("storage", &[]),
    ("net", &[]),
    ("node", &["net", "storage"]),
    ("sim", &["net", "node", "storage"]),
    ("jepsen", &[]),
    ("scenarios", &["jepsen", "net", "node", "sim"]),
    ("ci", &[]),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("ci/ lies in the workspace")
        .to_path_buf()
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let Ok(entries) = fs::read_dir(folder) else {
        return files;
    };
    for entry in entries {
        let path = entry.expect("a readable folder").path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// The text of a file without its comments: a rule is about code. Good enough for whole-line comments, which is how we write.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).expect("a readable file");
    text.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n")
}

fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

fn refuse(broken: Vec<String>, instead: &str) {
    assert!(broken.is_empty(), "\n{}\n  instead: {instead}\n", broken.join("\n"));
}

/// What a manifest depends on, for whatever purpose and target, with the table that says so. What is renamed there, or in the
/// workspace's table, goes by its own name; what is a path, by that of its folder.
fn dependencies(manifest: &toml::Table, workspace: &toml::Table) -> Vec<(String, String)> {
    let mut tables = vec![(String::new(), manifest)];
    for (target, table) in manifest
        .get("target")
        .and_then(|table| table.as_table())
        .into_iter()
        .flatten()
    {
        tables.extend(table.as_table().map(|table| (format!("target.{target}."), table)));
    }
    let mut found = Vec::new();
    for (before, table) in tables {
        for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let dependencies = table.get(section).and_then(|section| section.as_table());
            for (name, wanted) in dependencies.into_iter().flatten() {
                let shared = wanted.get("workspace").and_then(|_| workspace.get(name));
                for place in [Some(wanted), shared].into_iter().flatten() {
                    let path = place.get("path").and_then(|path| path.as_str());
                    let folder = path.and_then(|path| Path::new(path).file_name()?.to_str());
                    let package = place.get("package").and_then(|package| package.as_str());
                    for name in [Some(name.as_str()), package, folder].into_iter().flatten() {
                        found.push((format!("{before}{section}"), name.to_owned()));
                    }
                }
            }
        }
    }
    found.sort();
    found.dedup();
    found
}

#[test]
fn imports_go_only_along_the_arrows() {
    let rooms: BTreeSet<&str> = ARROWS.iter().map(|(room, _)| *room).collect();
    let allowed: BTreeMap<&str, &[&str]> = ARROWS.into_iter().collect();
    let workspace = fs::read_to_string(root().join("Cargo.toml")).expect("the workspace has a manifest");
    let workspace: toml::Table = workspace.parse().expect("valid TOML");
    let members = workspace["workspace"]["members"].as_array().expect("its rooms");
    let members: BTreeSet<&str> = members.iter().filter_map(|member| member.as_str()).collect();
    assert_eq!(rooms, members, "every room has its arrows");
    let shared = workspace["workspace"]["dependencies"]
        .as_table()
        .expect("what they share");
    let mut broken = Vec::new();
    for room in &rooms {
        let manifest = fs::read_to_string(root().join(room).join("Cargo.toml")).expect("every room has a manifest");
        let manifest: toml::Table = manifest.parse().expect("valid TOML");
        for (section, name) in dependencies(&manifest, shared) {
            if rooms.contains(name.as_str()) && name != *room && !allowed[room].contains(&name.as_str()) {
                broken.push(format!("{room}/Cargo.toml [{section}] names {name}"));
            }
        }
    }
    refuse(
        broken,
        "see the arrows in the README; move the code to the room that may know both",
    );
}

#[test]
fn a_dependency_is_seen_under_whatever_name_and_in_whatever_table() {
    let parsed = |text: &str| text.parse::<toml::Table>().expect("valid TOML");
    let shared = parsed("other = { package = \"node\", path = \"node\" }");
    for manifest in [
        "[dependencies]\nnode.workspace = true",
        "[build-dependencies]\nnode = \"1\"",
        "[dev-dependencies]\nthing = { package = \"node\", version = \"1\" }",
        "[dependencies]\nthing = { path = \"../node\" }",
        "[dependencies]\nother = { workspace = true }",
        "[target.'cfg(unix)'.dependencies]\nnode = { path = \"../node\" }",
        "[target.x86_64-unknown-linux-gnu.dev-dependencies]\nthing = { package = \"node\" }",
    ] {
        let found = dependencies(&parsed(manifest), &shared);
        assert!(found.iter().any(|(_, name)| name == "node"), "{manifest}: {found:?}");
    }
}

#[test]
fn the_simulator_enters_scenarios_only_with_its_feature() {
    let manifest = fs::read_to_string(root().join("scenarios/Cargo.toml")).expect("a manifest");
    let manifest: toml::Table = manifest.parse().expect("valid TOML");
    for room in ["sim", "net", "node"] {
        assert_eq!(
            manifest["dependencies"][room]
                .get("optional")
                .and_then(toml::Value::as_bool),
            Some(true),
            "scenarios may use {room} only behind the feature `sim`"
        );
    }
}

/// `words` may stand in code only in files below `homes`.
fn only_in(rooms: &[&str], words: &[&str], homes: &[&str], instead: &str) {
    let mut broken = Vec::new();
    for room in rooms {
        for path in rust_files(&root().join(room).join("src")) {
            let name = shown(&path);
            if homes.iter().any(|home| name.starts_with(home)) {
                continue;
            }
            let text = code(&path);
            for word in words.iter().filter(|word| text.contains(**word)) {
                broken.push(format!("{name} names `{word}`"));
            }
        }
    }
    refuse(broken, instead);
}

#[test]
fn only_the_raft_folder_names_openraft() {
    only_in(
        &["node", "net", "storage", "sim"],
        &["openraft"],
        // main.rs names it in the filter of the log.
        &["node/src/raft/", "node/src/main.rs"],
        "ask `node::raft::Groups`",
    );
}

#[test]
fn only_the_http_folder_knows_status_codes() {
    only_in(
        &["node"],
        &["StatusCode"],
        &["node/src/http/"],
        "return a value; http/answer.rs renders it",
    );
}

#[test]
fn only_the_rocks_file_names_rocksdb() {
    only_in(
        &["node", "net", "storage", "sim"],
        &["rocksdb::"],
        &["storage/src/rocks"],
        "use the seam Index",
    );
}

#[test]
fn only_the_s3_folder_names_the_aws_sdk() {
    only_in(
        &["node", "net", "storage"],
        &["aws_"],
        &["storage/src/s3/"],
        "use the seam Cold",
    );
}

#[test]
fn the_product_does_not_know_that_it_is_simulated() {
    only_in(
        &["node", "storage", "net"],
        &["cfg(sim", "madsim", "turmoil", "feature = \"sim\"", "cfg!(sim"],
        &[],
        "hand the difference in through World or net::rt's engine",
    );
}

#[test]
fn the_law_never_waits_reads_a_clock_throws_dice_or_touches_a_disk() {
    let mut broken = Vec::new();
    for path in rust_files(&root().join("node/src/stream")) {
        let text = code(&path);
        for word in [
            "async ",
            ".await",
            "rt::",
            "Clock",
            "Dice",
            "Disk",
            "Index,",
            "std::fs",
            "std::io",
            "tracing::",
            "Mutex",
            "Atomic",
        ] {
            if text.contains(word) {
                broken.push(format!("{} names `{}`", shown(&path), word.trim()));
            }
        }
    }
    refuse(
        broken,
        "the law takes a command with its time inside and returns an outcome",
    );
}

#[test]
fn a_lint_against_nondeterminism_is_lifted_only_in_the_production_side_of_a_seam() {
    // Each of these is where a seam meets the real world; nothing else may.
    let homes = [
        "net/src/rt/",
        "net/src/clock.rs",
        "net/src/dice.rs",
        // Macros only, and for the whole crate because it cannot be done for less; the next test watches them.
        "net/src/lib.rs",
        // hyper's timer: an origin in the standard library's instants, used for distances from it alone.
        "net/src/conn.rs",
        "storage/src/local/",
        "storage/src/rocks",
        "storage/src/s3/client.rs",
        "node/src/main.rs",
        "node/src/cli/",
    ];
    // The lint's name, wherever it stands in an attribute of whatever form, and the groups that contain it.
    let lifted = ["clippy::disallowed", "clippy::all", "clippy::style", "(warnings"];
    only_in(
        &["node", "net", "storage", "sim"],
        &lifted,
        &homes,
        "go through the seam; the lint is what proves that nothing reaches around it",
    );
}

#[test]
fn what_is_lifted_for_a_whole_crate_is_used_in_one_place() {
    let lib = code(&root().join("net/src/lib.rs"));
    let lints: Vec<&str> = lib.split("clippy::").skip(1).collect();
    assert!(
        lints.iter().all(|lint| lint.starts_with("disallowed_macros")),
        "net/src/lib.rs lifts more than the lint against macros"
    );
    only_in(
        &["net"],
        &["thread_local!"],
        &["net/src/rt/engine.rs"],
        "a node is a value: nothing belongs to a thread but the engine it has entered",
    );
    only_in(
        &["net"],
        &["join!", "futures_util::select"],
        &[],
        "futures_util::future::join, and tokio::select! with `biased;`: both poll in a fixed order",
    );
}

#[test]
fn every_select_is_biased() {
    let mut broken = Vec::new();
    for room in ["net", "node", "storage", "sim"] {
        for path in rust_files(&root().join(room)) {
            let text: String = code(&path).split_whitespace().collect();
            let selects = text.split("select!").skip(1);
            let fair = selects.filter(|after| !after.trim_start_matches(['{', '(', '[']).starts_with("biased;"));
            broken.extend(fair.map(|_| format!("{} has a `select!` without `biased;`", shown(&path))));
        }
    }
    refuse(
        broken,
        "begin it with `biased;`: without it a throw of the OS picks the branch, and a seed is no tale any more",
    );
}

#[test]
fn every_source_file_opens_with_what_it_is() {
    let mut broken = Vec::new();
    for (room, _) in ARROWS {
        for path in rust_files(&root().join(room)) {
            let text = fs::read_to_string(&path).expect("a readable file");
            if !text.starts_with("//!") && !text.starts_with("#!") {
                broken.push(format!("{} has no `//!` at its head", shown(&path)));
            }
        }
    }
    refuse(broken, "say in one to six lines what the file is and why");
}

#[test]
fn no_room_has_a_drawer_for_odds_and_ends() {
    let mut broken = Vec::new();
    for (room, _) in ARROWS {
        for path in rust_files(&root().join(room)) {
            let stem = path.file_stem().and_then(|s| s.to_str()).unwrap_or_default();
            if ["utils", "util", "common", "helpers", "helper", "misc"].contains(&stem) {
                broken.push(shown(&path));
            }
        }
    }
    refuse(broken, "name the file after its one idea");
}

#[test]
fn unfinished_work_is_not_left_in_the_code() {
    let mut broken = Vec::new();
    for (room, _) in ARROWS {
        for path in rust_files(&root().join(room)) {
            if shown(&path) == "ci/tests/tidy.rs" {
                continue;
            }
            let text = fs::read_to_string(&path).expect("a readable file");
            for word in ["TODO", "FIXME", "XXX", "todo!(", "unimplemented!("] {
                if text.contains(word) {
                    broken.push(format!("{} has `{word}`", shown(&path)));
                }
            }
        }
    }
    refuse(broken, "finish it, or say in the docs what is not there");
}

/// Tests that `cargo test` passes over, and who runs them.
const IGNORED: &[(&str, &str, &str)] = &[
    (
        "storage/tests/journal_golden.rs",
        "write_the_golden_files",
        "a person, when the format of the journal has a new version",
    ),
    (
        "node/tests/cli/reference.rs",
        "every_command_works_with_the_reference_server",
        "ci/differential/run, which starts the other server it wants",
    ),
];

#[test]
fn no_test_is_passed_over_but_those_that_somebody_else_runs() {
    let mut found = Vec::new();
    for (room, _) in ARROWS {
        for path in rust_files(&root().join(room)) {
            let name = shown(&path);
            // This file spells the attribute.
            if name == "ci/tests/tidy.rs" {
                continue;
            }
            let text: String = code(&path).split_whitespace().collect::<Vec<_>>().join(" ");
            for attribute in ["#[ignore", "#[ ignore", ", ignore)]", ", ignore ="] {
                for after in text.split(attribute).skip(1) {
                    let test = after.split("fn ").nth(1).and_then(|test| test.split('(').next());
                    found.push((name.clone(), test.unwrap_or_default().to_owned()));
                }
            }
        }
    }
    found.sort();
    let mut known: Vec<_> = IGNORED
        .iter()
        .map(|(file, test, _)| ((*file).to_owned(), (*test).to_owned()))
        .collect();
    known.sort();
    assert_eq!(
        found, known,
        "a test that nobody runs is none: mend it, or say in IGNORED who runs it"
    );
    let script = fs::read_to_string(root().join("ci/differential/run")).expect("a script");
    let told = format!("--ignored --exact reference::{}", IGNORED[1].1);
    assert!(
        script.contains(&told),
        "ci/differential/run no longer runs what it should"
    );
}
