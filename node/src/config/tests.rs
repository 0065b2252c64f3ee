//! What a person writes, and what the node says to it.

use super::*;

/// The file of the documentation.
const CLUSTER: &str = r#"
version = 1
[server]
node_id = 1
listen = "0.0.0.0:4437"
advertise = "10.0.0.1:4437"
data_dir = "/var/lib/holdfast"
[cluster]
name = "prod"
bootstrap_node_id = 1
routes = ["10.0.0.2:4437", "10.0.0.3:4437"]
groups = 16
[http]
long_poll_timeout = "20s"
max_body = "32MiB"
[cold]
backend = "none"
"#;

/// What a node amounts to of which nothing is said.
fn alone() -> Config {
    let mut config = Config::default();
    config.cold.backend = ColdBackend::Local;
    config
}

fn check(text: &str) -> Result<Config, Vec<ConfigProblem>> {
    Config::check(text, [], &Overrides::default())
}

fn check_env(text: &str, env: &[(&str, &str)]) -> Result<Config, Vec<ConfigProblem>> {
    Config::check(
        text,
        env.iter().map(|(name, value)| (name.to_string(), value.to_string())),
        &Overrides::default(),
    )
}

/// What is said, one line per problem.
fn said(checked: Result<Config, Vec<ConfigProblem>>) -> Vec<String> {
    checked
        .err()
        .unwrap_or_default()
        .iter()
        .map(ToString::to_string)
        .collect()
}

/// What is said to a file of a version line and these lines.
fn said_to(lines: &str) -> Vec<String> {
    said(check(&format!("version = 1\n{lines}")))
}

#[test]
fn nothing_need_be_written() {
    let config = check("").expect("good");
    assert_eq!(config, alone());
    assert_eq!(
        (config.server.listen.as_str(), config.server.data_dir.as_str()),
        ("127.0.0.1:4437", "./data")
    );
    assert_eq!(
        (config.cluster.is_none(), config.groups(), config.advertised()),
        (true, 16, "127.0.0.1:4437")
    );
    assert_eq!(config.validate(), Ok(()));
    assert_eq!(check("# only a comment\n"), Ok(config));
}

#[test]
fn the_file_of_the_documentation_is_good() {
    let config = check(CLUSTER).expect("good");
    let cluster = config.cluster.as_ref().expect("there");
    assert_eq!(
        (cluster.name.as_str(), cluster.bootstrap_node_id, cluster.groups),
        ("prod", 1, 16)
    );
    assert_eq!(cluster.routes, ["10.0.0.2:4437", "10.0.0.3:4437"]);
    assert_eq!(config.http.max_body, 32 << 20);
    assert_eq!(config.advertised(), "10.0.0.1:4437");
}

#[test]
fn the_environment_stands_over_the_file_and_flags_over_both() {
    let env = [
        ("HOLDFAST_SERVER_LISTEN", "10.0.0.9:1"),
        ("HOLDFAST_SERVER_NODE_ID", "2"),
        ("PATH", "/bin"),
    ];
    let env = env.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let flags = Overrides {
        node_id: Some("3".to_owned()),
        ..Overrides::default()
    };
    let config = Config::check(
        "version = 1\nserver.data_dir = \"d\"\nserver.listen = \"1.1.1.1:1\"",
        env,
        &flags,
    );
    let server = config.expect("good").server;
    assert_eq!(
        (server.data_dir.as_str(), server.listen.as_str(), server.node_id),
        ("d", "10.0.0.9:1", 3)
    );
}

#[test]
fn a_list_in_the_environment_is_separated_by_commas() {
    let config = check_env(CLUSTER, &[("HOLDFAST_CLUSTER_ROUTES", "b:1, c:2")]).expect("good");
    assert_eq!(config.cluster.expect("there").routes, ["b:1", "c:2"]);
    let wrong = check_env(CLUSTER, &[("HOLDFAST_CLUSTER_ROUTES", "b:1,,c:2")]);
    assert_eq!(
        said(wrong),
        ["HOLDFAST_CLUSTER_ROUTES: cluster.routes: is a list of texts, none of them empty"]
    );
}

#[test]
fn a_key_that_is_none_is_answered_with_the_nearest() {
    assert_eq!(
        said_to("[server]\nnode = 1"),
        ["line 3: server.node: is no setting: did you mean server.node_id?"]
    );
    assert_eq!(
        said_to("[htttp]\nmax_body = 1"),
        ["line 2: htttp: is no section: did you mean [http]?"]
    );
    assert_eq!(
        said_to("listen = \"a\""),
        ["line 2: listen: is no setting: did you mean server.listen?"]
    );
    // A right name in a wrong section is nearer than a wrong name in the right one.
    assert_eq!(
        said_to("[http]\nlisten = \"a\""),
        ["line 3: http.listen: is no setting: did you mean server.listen?"]
    );
}

#[test]
fn a_variable_that_is_none_is_answered_with_the_nearest() {
    assert_eq!(
        said(check_env("", &[("HOLDFAST_SERVER_LISTN", "x")])),
        ["HOLDFAST_SERVER_LISTN: is no variable of Holdfast's: did you mean HOLDFAST_SERVER_LISTEN?"]
    );
}

#[test]
fn what_kubernetes_puts_into_the_environment_is_let_be() {
    let links = [
        ("HOLDFAST_SERVICE_HOST", "10.0.0.1"),
        ("HOLDFAST_SERVICE_PORT", "4437"),
        ("HOLDFAST_SERVICE_PORT_HTTP", "4437"),
        ("HOLDFAST_PORT", "tcp://10.0.0.1:4437"),
        ("HOLDFAST_PEERS_PORT_4437_TCP", "tcp://10.0.0.1:4437"),
        ("HOLDFAST_PEERS_PORT_4437_TCP_ADDR", "10.0.0.1"),
    ];
    assert_eq!(check_env("", &links), Ok(alone()));
    assert_eq!(
        said(check_env("", &[("HOLDFAST_SERVER_PORT", "4437")])).len(),
        1,
        "a person wrote that"
    );
}

#[test]
fn a_value_of_the_wrong_kind_is_answered_with_the_right_spelling() {
    let table = [
        (
            "[server]\nnode_id = \"1\"",
            "line 3: server.node_id: is a whole number, not negative, without quotes",
        ),
        (
            "[server]\nnode_id = -1",
            "line 3: server.node_id: is a whole number, not negative, without quotes",
        ),
        (
            "[server]\nnode_id = 1.5",
            "line 3: server.node_id: is a whole number, not negative, without quotes",
        ),
        ("[server]\nlisten = 4437", "line 3: server.listen: is a text, not empty"),
        (
            "[server]\nadvertise = \"\"",
            "line 3: server.advertise: is a text, not empty",
        ),
        (
            "[http]\nmax_body = 33554432",
            "line 3: http.max_body: is a size: write it with its unit, as in \"32MiB\"",
        ),
        (
            "[http]\nmax_body = \"32MB\"",
            "line 3: http.max_body: is a size: write it with its unit, as in \"32MiB\"",
        ),
        (
            "[raft]\nlease = 20",
            "line 3: raft.lease: is a time: write it with its unit, as in \"20s\"",
        ),
        (
            "[http]\nwrite_routing = \"ask\"",
            "line 3: http.write_routing: is one of \"forward\", \"redirect\"",
        ),
        (
            "server = 1",
            "line 2: server: is a section: write [server] on a line of its own",
        ),
    ];
    for (lines, answer) in table {
        assert_eq!(said_to(lines), [answer], "{lines}");
    }
}

#[test]
fn a_value_out_of_bounds_is_answered_with_the_bounds() {
    let table = [
        (
            "[server]\nnode_id = 0",
            "line 3: server.node_id: is 0: it must be 1 to 4294967295",
        ),
        (
            "[http]\nmax_body = \"1B\"",
            "line 3: http.max_body: is 1B: it must be 1KiB to 512MiB",
        ),
        (
            "[http]\nlong_poll_timeout = \"1h\"",
            "line 3: http.long_poll_timeout: is 1h: it must be 100ms to 5m",
        ),
    ];
    for (lines, answer) in table {
        assert_eq!(said_to(lines), [answer], "{lines}");
    }
    for groups in ["0", "1025", "99999999999"] {
        let answers = said(check(&CLUSTER.replace("groups = 16", &format!("groups = {groups}"))));
        assert!(
            answers.len() == 1 && answers[0].ends_with("it must be 1 to 1024"),
            "{answers:?}"
        );
    }
}

#[test]
fn a_file_says_its_version() {
    assert_eq!(
        said(check("[server]\nnode_id = 1")),
        ["version: is missing: write `version = 1` at the top of the file"]
    );
    assert_eq!(
        said(check("version = 2")),
        ["line 1: version: this binary reads version 1, not 2: take the binary that wrote the file"]
    );
}

#[test]
fn what_is_no_toml_is_answered_with_the_line() {
    let answers = said_to("[server\nnode_id = 1");
    assert!(answers[0].starts_with("line 2: this is not TOML: "), "{answers:?}");
    assert!(
        !said_to("[server]\nnode_id = 1\nnode_id = 2").is_empty(),
        "a key given twice"
    );
    assert!(!said_to("\u{0}").is_empty());
}

#[test]
fn a_cluster_says_who_it_is() {
    assert_eq!(
        said_to("[cluster]"),
        [
            "cluster.name: is missing: give the cluster a name, the same on every node",
            "cluster.bootstrap_node_id: is missing: name the one node that may found the cluster, the same on every node",
        ]
    );
    let answers = said(check(&CLUSTER.replace("\"prod\"", "\"a b\"")));
    assert_eq!(
        answers,
        ["line 9: cluster.name: has up to 64 letters, digits, dots, dashes and underscores"]
    );
}

#[test]
fn routes_without_advertise_are_refused() {
    assert_eq!(
        said(check(&CLUSTER.replace("advertise = \"10.0.0.1:4437\"", ""))),
        ["server.advertise: is missing: where there are routes, say at which host and port the others reach this node"]
    );
}

#[test]
fn routes_are_the_others_each_once() {
    let with = |routes: &str| {
        said(check(
            &CLUSTER.replace("[\"10.0.0.2:4437\", \"10.0.0.3:4437\"]", routes),
        ))
        .into_iter()
        .map(|answer| answer.replace("line 11: cluster.routes: ", ""))
        .collect::<Vec<_>>()
    };
    assert_eq!(
        with(r#"["a:1", "a:1"]"#),
        ["a:1 is listed twice: list every other node once"]
    );
    assert_eq!(
        with(r#"["10.0.0.1:4437"]"#),
        ["10.0.0.1:4437 is this node itself: list only the others"]
    );
    assert_eq!(
        with(r#"["a", "0.0.0.0:1", "b:0", ":1"]"#),
        [
            r#""a" has no port: write a host and a port, as in "10.0.0.2:4437""#,
            r#""0.0.0.0:1" is every address of a machine, and none that others can dial: write a host and a port, as in "10.0.0.2:4437""#,
            r#""b:0" has no port that others can dial: write a host and a port, as in "10.0.0.2:4437""#,
            r#"":1" has no host: write a host and a port, as in "10.0.0.2:4437""#,
        ]
    );
    assert_eq!(with(r#"["[fd00::2]:4437", "node-3.example:4437"]"#), [""; 0]);
}

#[test]
fn a_cluster_of_one_may_grow_but_somebody_must_found_it() {
    let alone = |node_id| {
        let lines = "[cluster]\nname = \"prod\"\nbootstrap_node_id = 1";
        said(check(&format!("version = 1\nserver.node_id = {node_id}\n{lines}")))
    };
    assert_eq!(alone(1), [""; 0]);
    assert_eq!(
        alone(2),
        ["cluster.routes: is empty, but node 1 founds the cluster: list where that node and the others are reached"]
    );
}

#[test]
fn times_that_contradict_each_other_are_refused() {
    assert_eq!(
        said_to("[raft]\nelection_min = \"900ms\"\nelection_max = \"900ms\""),
        [
            "line 3: raft.election_min: is 900ms: at least twice raft.heartbeat (500ms), or one lost message topples a leader",
            "line 4: raft.election_max: is 900ms: more than raft.election_min (900ms), or nodes stand at once for ever",
            "raft.lease: is 750ms: at most half of raft.election_min (900ms), or a deposed leader may serve stale reads",
        ]
    );
}

#[test]
fn sizes_that_contradict_each_other_are_refused() {
    assert_eq!(
        said_to("[http]\nmax_body = \"512MiB\"\n[raft]\nkeep_entries = 60000"),
        [
            "http.max_inflight: is smaller than http.max_body (512MiB): no such body would ever be let in",
            "journal.segment: is 64MiB: at least http.max_body (512MiB) and 64KiB, or a body does not fit",
            "journal.queue: is 64MiB: at least http.max_body (512MiB) and 64KiB, or a body does not fit",
            "line 5: raft.keep_entries: is 60000: no more than raft.snapshot_entries (50000)",
        ]
    );
}

/// What the journal cannot hold would end the node, and what it quietly cut would not be what the operator asked for.
#[test]
fn the_largest_body_and_the_largest_segment_fit_the_journal() {
    let config = check(
        "version = 1\n[http]\nmax_body = \"512MiB\"\nmax_inflight = \"512MiB\"\n[journal]\nsegment = \"1GiB\"\n\
         queue = \"1GiB\"",
    );
    let config = config.expect("the largest there are");
    assert!(config.http.max_body + (1 << 20) < storage::journal::MAX_PAYLOAD);
    assert!(config.journal.segment <= storage::journal::SEGMENT_BYTES_MAX);
    assert_eq!(
        said_to(
            "[http]\nmax_body = \"513MiB\"\nmax_inflight = \"1GiB\"\n[journal]\nsegment = \"1025MiB\"\nqueue = \"1GiB\""
        ),
        [
            "line 3: http.max_body: is 513MiB: it must be 1KiB to 512MiB",
            "line 6: journal.segment: is 1025MiB: it must be 64KiB to 1GiB",
        ]
    );
}

#[test]
fn a_lease_is_as_long_as_it_says() {
    let half = check("version = 1\n[raft]\nelection_min = \"1500ms\"\nlease = \"750ms\"").expect("good");
    assert_eq!(half.raft, Raft::default());
    assert_eq!(
        said_to("[raft]\nlease = \"751ms\""),
        [
            "line 3: raft.lease: is 751ms: at most half of raft.election_min (1500ms), or a deposed leader may serve stale \
          reads"
        ]
    );
}

#[test]
fn old_bytes_of_a_node_that_stands_alone_go_to_its_own_folder_unless_it_says_otherwise() {
    let backend = |text: &str| {
        check(&format!("version = 1\n{text}"))
            .expect("no problems")
            .cold
            .backend
    };
    assert_eq!(backend(""), ColdBackend::Local);
    assert_eq!(backend("[cold]\nbackend = \"none\""), ColdBackend::None);
    let unsaid = CLUSTER.replace("backend = \"none\"", "").replace("version = 1\n", "");
    assert!(unsaid != CLUSTER);
    assert_eq!(backend(&unsaid), ColdBackend::None, "others could not read it");
}

#[test]
fn a_cold_folder_may_be_named_before_anything_moves_there() {
    assert_eq!(said_to("[cold]\nbackend = \"local\""), [""; 0]);
    assert_eq!(
        said(check(&CLUSTER.replace("backend = \"none\"", "backend = \"local\""))),
        [
            "line 17: cold.backend: \"local\" is a folder that the other nodes cannot read: write \"none\", and the journal \
          keeps everything"
        ]
    );
    assert_eq!(said_to("[cold]\nbackend = \"s3\"\n[s3]\nbucket = \"b\""), [""; 0]);
    for (lines, key) in [
        ("", "s3.bucket"),
        ("bucket = \"b\"\naccess_key_id = \"a\"", "s3.secret_access_key"),
        ("bucket = \"b\"\nsecret_access_key = \"$A\"", "s3.access_key_id"),
        (
            "bucket = \"b\"\naccess_key_id = \"a\"\nsecret_access_key = \"open\"",
            "$NAME",
        ),
        ("bucket = \"b\"\nencryption = \"kms\"", "s3.kms_key"),
        ("bucket = \"b\"\nkms_key = \"k\"", "s3.kms_key"),
    ] {
        let said = said_to(&format!("[cold]\nbackend = \"s3\"\n[s3]\n{lines}"));
        assert!(said.len() == 1 && said[0].contains(key), "{lines}: {said:?}");
    }
    assert!(said_to("[cold]\nhot_group = \"9GiB\"")[0].contains("cold.hot_max"));
}

#[test]
fn all_that_is_wrong_is_said_at_once() {
    let env = [("HOLDFAST_HTTP_CACHE".to_owned(), "no".to_owned())];
    let flags = Overrides {
        listen: Some("localhost".to_owned()),
        ..Overrides::default()
    };
    let answers = said(Config::check(
        "version = 1\n[server]\nnode_id = 0\nlistn = 1",
        env,
        &flags,
    ));
    assert_eq!(
        answers,
        [
            "line 4: server.listn: is no setting: did you mean server.listen?",
            "HOLDFAST_HTTP_CACHE: http.cache: is one of \"public\", \"private\"",
            "line 3: server.node_id: is 0: it must be 1 to 4294967295",
            "--listen: server.listen: \"localhost\" is no address to listen on: write an IP and a port, as in \"0.0.0.0:4437\"",
        ]
    );
}

#[test]
fn a_second_listener_is_an_address_of_its_own() {
    let config = check("version = 1\nserver.second_listen = \"127.0.0.1:4438\"").expect("good");
    assert_eq!(config.server.second_listen.as_deref(), Some("127.0.0.1:4438"));
    for second in ["localhost", "127.0.0.1:4437"] {
        assert_eq!(
            said_to(&format!("server.second_listen = {second:?}")).len(),
            1,
            "{second}"
        );
    }
}

#[test]
fn what_is_printed_means_the_same() {
    for text in ["", CLUSTER] {
        let mut config = check(text).expect("good");
        config.server.data_dir = "a \"quoted\" \\ folder".to_owned();
        config.raft.lease = std::time::Duration::from_millis(250);
        let printed = config.to_toml();
        assert_eq!(check(&printed), Ok(config), "{printed}");
        assert_eq!(printed.lines().next(), Some("version = 1"));
    }
}

#[test]
fn every_setting_is_documented_with_its_default_and_its_bounds() {
    let docs = include_str!("section.rs");
    let mut config = Config::default();
    config.cluster_mut();
    for setting in setting::SETTINGS {
        let (section, field) = setting.section();
        if section.is_empty() {
            continue;
        }
        let start = docs
            .find(&format!("/// `[{section}]`"))
            .unwrap_or_else(|| panic!("no section [{section}]"));
        let declared = docs[start..]
            .find(&format!("pub {field}:"))
            .unwrap_or_else(|| panic!("no {}", setting.key));
        let above = &docs[start..start + declared];
        let doc: Vec<&str> = above
            .lines()
            .rev()
            .skip(1)
            .map(str::trim)
            .take_while(|l| l.starts_with("///"))
            .collect();
        let doc: String = doc.iter().rev().map(|line| line.trim_start_matches("///")).collect();
        let doc = doc.replace('"', "");
        let (default, bounds) = match &setting.kind {
            setting::Kind::Number { get, min, max, .. } => (get(&config).to_string(), format!("{min} to {max}")),
            setting::Kind::Size { get, min, max, .. } => {
                let [default, min, max] = [get(&config), *min, *max].map(unit::show_size);
                (default, format!("{min} to {max}"))
            }
            setting::Kind::Time { get, min, max, .. } => {
                let [default, min, max] = [get(&config), *min, *max].map(unit::show_time);
                (default, format!("{min} to {max}"))
            }
            setting::Kind::Text { get, .. } => (get(&config).unwrap_or("none").to_owned(), String::new()),
            setting::Kind::List { get, .. } => match get(&config) {
                [] => ("none".to_owned(), String::new()),
                listed => (listed.join(", "), String::new()),
            },
            setting::Kind::Choice { get, words, .. } => (words[get(&config)].to_owned(), String::new()),
        };
        let required = matches!(setting.key, "cluster.name" | "cluster.bootstrap_node_id");
        let said = if required {
            "No default".to_owned()
        } else {
            format!("Default {default}")
        };
        assert!(doc.contains(&said), "{}: {said:?} is not in {doc:?}", setting.key);
        assert!(doc.contains(&bounds), "{}: {bounds:?} is not in {doc:?}", setting.key);
    }
}
