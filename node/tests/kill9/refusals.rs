//! What a node refuses at its start: with exit code 2, at once, and with a sentence that says what to do.

use std::{fs, path::Path, time::Duration};

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use net::rt;

use super::process::{Server, client, free_authorities, get, run};

fn node(folder: &Path, name: &str, more: &[&str]) -> Server {
    let [authority] = free_authorities();
    let data = folder.join("data").display().to_string();
    let arguments = [&["serve", "--listen", &authority, "--data-dir", &data], more].concat();
    Server::new(folder, name, &authority, &arguments)
}

/// A directory that a node on its own has used.
async fn used(folder: &Path) {
    let mut server = node(folder, "first", &[]);
    server.start();
    server.ready("/readyz/cluster").await;
    server.kill();
}

async fn refuses(mut server: Server, because: &[&str]) {
    server.start();
    let status = server.end().await;
    let said = server.said();
    assert_eq!(status.code(), Some(2), "it said:\n{said}");
    for words in because {
        assert!(said.contains(words), "missing {words:?}; it said:\n{said}");
    }
    println!("refused: {}", said.lines().last().unwrap_or_default());
}

#[test]
fn a_directory_in_use_is_refused() {
    run(Duration::from_secs(30), async {
        let folder = tempfile::tempdir().unwrap();
        let mut first = node(folder.path(), "first", &[]);
        first.start();
        first.ready("/readyz/cluster").await;
        refuses(node(folder.path(), "second", &[]), &["in use by another process"]).await;
        first.ready("/readyz/cluster").await;
    });
}

#[test]
fn a_directory_of_another_node_is_refused() {
    run(Duration::from_secs(30), async {
        let folder = tempfile::tempdir().unwrap();
        used(folder.path()).await;
        let second = node(folder.path(), "second", &["--node-id", "2"]);
        refuses(second, &["belongs to node 1", "set `server.node_id = 1`"]).await;
    });
}

#[test]
fn a_directory_of_another_cluster_is_refused() {
    run(Duration::from_secs(30), async {
        let folder = tempfile::tempdir().unwrap();
        used(folder.path()).await;
        let file = folder.path().join("other.toml");
        fs::write(
            &file,
            "version = 1\n[cluster]\nname = \"other\"\nbootstrap_node_id = 1\n",
        )
        .unwrap();
        let file = file.display().to_string();
        let second = node(folder.path(), "second", &["--config", &file]);
        refuses(second, &["belongs to a node on its own", "cluster `other`"]).await;
    });
}

#[test]
fn a_directory_with_another_number_of_groups_is_refused() {
    run(Duration::from_secs(30), async {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("groups.toml");
        let config =
            |groups| format!("version = 1\n[cluster]\nname = \"c\"\nbootstrap_node_id = 1\ngroups = {groups}\n");
        fs::write(&file, config(4)).unwrap();
        let path = file.display().to_string();
        let mut first = node(folder.path(), "first", &["--config", &path]);
        first.start();
        first.ready("/readyz/cluster").await;
        first.kill();
        fs::write(&file, config(8)).unwrap();
        refuses(
            node(folder.path(), "second", &["--config", &path]),
            &["made for 4 groups", "cluster.groups = 4"],
        )
        .await;
    });
}

#[test]
fn a_directory_of_a_newer_version_is_refused() {
    run(Duration::from_secs(30), async {
        let folder = tempfile::tempdir().unwrap();
        used(folder.path()).await;
        let file = folder.path().join("data/identity");
        let identity = fs::read_to_string(&file).unwrap();
        assert!(identity.starts_with("holdfast identity 1\n"));
        fs::write(&file, identity.replacen("identity 1", "identity 2", 1)).unwrap();
        refuses(node(folder.path(), "second", &[]), &["written by a newer Holdfast"]).await;
    });
}

#[test]
fn a_damaged_identity_is_refused() {
    run(Duration::from_secs(30), async {
        let folder = tempfile::tempdir().unwrap();
        used(folder.path()).await;
        let file = folder.path().join("data/identity");
        let mut identity = fs::read(&file).unwrap();
        let at = identity.len() / 2;
        identity[at] ^= 1;
        fs::write(&file, identity).unwrap();
        refuses(node(folder.path(), "second", &[]), &["`identity`", "damaged"]).await;
    });
}

/// The head of a segment as `storage::journal` lays it out: the version is at 8, the checksum of the first 60 bytes at 60.
#[test]
fn a_journal_of_a_newer_version_is_refused() {
    run(Duration::from_secs(30), async {
        let folder = tempfile::tempdir().unwrap();
        used(folder.path()).await;
        let mut segments = 0;
        for entry in fs::read_dir(folder.path().join("data/journal")).unwrap() {
            let path = entry.unwrap().path();
            let mut bytes = fs::read(&path).unwrap();
            if bytes.starts_with(b"HOLDJRNL") {
                bytes[8] += 1;
                let crc = crc32c::crc32c(&bytes[..60]);
                bytes[60..64].copy_from_slice(&crc.to_le_bytes());
                fs::write(&path, bytes).unwrap();
                segments += 1;
            }
        }
        assert!(segments > 0);
        refuses(node(folder.path(), "second", &[]), &["journal", "version 2"]).await;
    });
}

#[test]
fn a_directory_that_lost_its_identity_is_refused() {
    run(Duration::from_secs(30), async {
        let folder = tempfile::tempdir().unwrap();
        used(folder.path()).await;
        fs::remove_file(folder.path().join("data/identity")).unwrap();
        refuses(
            node(folder.path(), "second", &[]),
            &["holds a journal but no file `identity`"],
        )
        .await;
    });
}

/// The journal gives up what the index holds: from then on, neither is anything without the other.
#[test]
fn an_index_that_was_removed_after_a_purge_is_refused() {
    run(Duration::from_secs(60), async {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("forgetful.toml");
        let config =
            "version = 1\n[raft]\nsnapshot_entries = 10\nkeep_entries = 0\n[index]\nflush_interval = \"100ms\"\n";
        fs::write(&file, config).unwrap();
        let file = file.display().to_string();
        let mut first = node(folder.path(), "first", &["--config", &file]);
        first.start();
        first.ready("/readyz/cluster").await;
        let client = client();
        let put = Request::put(format!("http://{}/v1/stream/s", first.authority)).header("content-type", "text/plain");
        let put = put.body(Full::new(Bytes::from_static(b"kept"))).unwrap();
        assert_eq!(client.call(put, Duration::from_secs(10)).await.unwrap().status(), 201);
        loop {
            let status = get(&client, &format!("http://{}/cluster/status", first.authority))
                .await
                .unwrap();
            let status: serde_json::Value = serde_json::from_slice(status.body()).unwrap();
            let groups = status["groups"].as_array().expect("groups");
            if groups.iter().any(|group| group["purged"].is_object()) {
                break;
            }
            rt::sleep(Duration::from_millis(50)).await;
        }
        // What was purged is known to the journal by its next sync.
        let post =
            Request::post(format!("http://{}/v1/stream/s", first.authority)).header("content-type", "text/plain");
        let post = post.body(Full::new(Bytes::from_static(b"more"))).unwrap();
        assert_eq!(client.call(post, Duration::from_secs(10)).await.unwrap().status(), 204);
        first.kill();
        fs::remove_dir_all(folder.path().join("data/index")).unwrap();
        let second = node(folder.path(), "second", &["--config", &file]);
        refuses(
            second,
            &[
                "the index does not belong to this journal",
                "put back the folder `index`",
            ],
        )
        .await;
    });
}
