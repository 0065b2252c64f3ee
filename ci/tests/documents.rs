//! The documents say what the server does: every error code that the source makes is in docs/api.md with its status, and no
//! other; docs/api.md and the description for machines have the same routes.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("ci/ lies in the workspace")
}

#[expect(
    clippy::disallowed_methods,
    reason = "this test reads the documents: it stands outside every node"
)]
fn text(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Files of Rust in a folder and those below it, but those of tests.
#[expect(
    clippy::disallowed_methods,
    reason = "this test reads the sources: it stands outside every node"
)]
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(root().join(folder)).expect("a folder of sources") {
        let entry = entry.expect("a readable folder");
        let (path, is_dir) = (entry.path(), entry.file_type().expect("a type").is_dir());
        match path.file_stem().and_then(|stem| stem.to_str()) {
            Some("tests") => {}
            _ if is_dir => files.extend(sources(&path)),
            _ => files.push(path),
        }
    }
    files
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

/// A call that makes an error, or hands a code on to one that does.
struct Maker {
    /// In which file; everywhere, if empty.
    file: &'static str,
    call: &'static str,
    /// Which of its arguments is the code.
    code: usize,
    /// The status, if not an argument in front of the code says it.
    status: Option<u16>,
}

const fn maker(file: &'static str, call: &'static str, code: usize, status: Option<u16>) -> Maker {
    Maker {
        file,
        call,
        code,
        status,
    }
}

/// All there are: fields of a `Problem` are private, so nothing else makes one.
const MAKERS: &[Maker] = &[
    maker("", "Problem::new(", 1, None),
    maker("", "Problem::bad(", 0, Some(400)),
    maker("", "Problem::try_again(", 0, Some(503)),
    maker("errors.rs", "Self::new(", 1, None),
    maker("refusal.rs", " conflict(", 0, Some(409)),
    maker("json.rs", " too_large(", 0, Some(413)),
    maker("request.rs", " text(", 2, Some(400)),
];

/// Where a code is handed on under the name `code`, and how often: who calls these is in `MAKERS`.
const HANDED_ON: &[(&str, usize)] = &[("errors.rs", 2), ("json.rs", 1), ("refusal.rs", 1), ("request.rs", 2)];

/// The arguments of a call, from what follows its opening parenthesis.
fn arguments(call: &str) -> Vec<&str> {
    let (mut arguments, mut from, mut depth, mut quoted, mut escaped) = (Vec::new(), 0, 0, false, false);
    for (at, c) in call.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ if quoted => {}
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' if depth > 0 => depth -= 1,
            ',' | ')' if depth == 0 => {
                arguments.push(call[from..at].trim());
                from = at + 1;
                if c == ')' {
                    break;
                }
            }
            _ => {}
        }
    }
    arguments
}

/// A status by its name in the source, as in `StatusCode::CONFLICT`.
fn status(name: &str) -> u16 {
    match name.rsplit("::").next().unwrap_or_default() {
        "TEMPORARY_REDIRECT" => 307,
        "BAD_REQUEST" => 400,
        "FORBIDDEN" => 403,
        "NOT_FOUND" => 404,
        "METHOD_NOT_ALLOWED" => 405,
        "REQUEST_TIMEOUT" => 408,
        "CONFLICT" => 409,
        "GONE" => 410,
        "PRECONDITION_FAILED" => 412,
        "PAYLOAD_TOO_LARGE" => 413,
        "INTERNAL_SERVER_ERROR" => 500,
        "NOT_IMPLEMENTED" => 501,
        "SERVICE_UNAVAILABLE" => 503,
        "GATEWAY_TIMEOUT" => 504,
        _ => panic!("`{name}`: which status is that? Write it in full, or add it here"),
    }
}

/// Status and code of every error that is made in the source.
fn made() -> BTreeSet<(u16, String)> {
    let (mut made, mut handed_on) = (BTreeSet::new(), Vec::new());
    for path in sources(Path::new("node/src")) {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let text = text(&path);
        // Tests stand at the end of a file.
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        let code: Vec<&str> = code
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"))
            .collect();
        let code = code.join("\n");
        let mut unsaid = 0;
        for maker in MAKERS
            .iter()
            .filter(|maker| maker.file.is_empty() || maker.file == name)
        {
            for call in code.split(maker.call).skip(1) {
                let arguments = arguments(call);
                let said = arguments[maker.code];
                match said.strip_prefix('"').and_then(|said| said.strip_suffix('"')) {
                    Some(said) => {
                        let status = maker.status.unwrap_or_else(|| status(arguments[0]));
                        made.insert((status, said.to_owned()));
                    }
                    None => {
                        assert_eq!(said, "code", "{name}: `{}{said}…`: write the code itself", maker.call);
                        unsaid += 1;
                    }
                }
            }
        }
        if unsaid > 0 {
            handed_on.push((name.to_owned(), unsaid));
        }
    }
    handed_on.sort();
    let known: Vec<_> = HANDED_ON
        .iter()
        .map(|(name, times)| ((*name).to_owned(), *times))
        .collect();
    assert_eq!(
        handed_on, known,
        "a code is handed on elsewhere: add who does it to MAKERS, or its calls are not seen here"
    );
    made
}

#[test]
fn every_error_code_is_documented_with_its_status_and_no_other() {
    let made = made();
    assert!(made.len() > 40, "the source makes more errors than these: {made:?}");
    let source = text("node/src/http/errors.rs");
    let api = text("docs/api.md");
    let errors = api
        .split("\n## Errors")
        .nth(1)
        .expect("docs/api.md has a section Errors");
    let pages = [
        ("docs/api.md", codes(errors.lines())),
        (
            "the table in node/src/http/errors.rs",
            codes(source.lines().filter_map(|line| line.strip_prefix("//! "))),
        ),
    ];
    for (page, documented) in pages {
        let missing: Vec<_> = made.difference(&documented).collect();
        let invented: Vec<_> = documented.difference(&made).collect();
        assert!(missing.is_empty(), "made in node/src and not in {page}: {missing:?}");
        assert!(invented.is_empty(), "in {page} and made nowhere: {invented:?}");
    }
}

#[test]
fn the_arguments_of_a_call_are_told_apart() {
    let call = "S::GONE, \"a_b\", format!(\"x, {y}) \\\" (\"), [1, 2])\n.with_field(\"z\", 1)";
    let expected = ["S::GONE", "\"a_b\"", "format!(\"x, {y}) \\\" (\")", "[1, 2]"];
    assert_eq!(arguments(call), expected);
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
