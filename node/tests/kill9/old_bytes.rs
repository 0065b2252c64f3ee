//! Old bytes move while processes are killed: to a folder of one node, to a bucket of three.

use std::{fs, path::Path, time::Duration};

use net::rt;
use serde_json::Value;

use super::{
    process::{Server, client, free_authorities, get, run},
    workload::Workload,
};

/// Bytes move after half a second, in objects of 256 KiB; the newest ones are not kept in memory, so that readers go where
/// they are.
const SOON: &str = "hot_age = \"500ms\"\nevery = \"200ms\"\nobject = \"256KiB\"\n\
                    sweep_every = \"500ms\"\ngrace = \"5s\"\nrecord_every = \"500ms\"\ncache = \"1MiB\"\nblock = \"64KiB\"\n[cache]\ntail = \"0B\"\n";

/// The total of a figure over all groups of a node.
async fn total(server: &Server, figure: &str) -> u64 {
    let stats = get(
        &client(),
        &format!("http://{}/cluster/hot-cold-stats", server.authority),
    )
    .await;
    let stats: Value = serde_json::from_slice(stats.expect("an answer").body()).expect("JSON");
    stats["total"][figure].as_u64().expect("a number")
}

/// Waits until a node has nothing in the journal but what is younger than it must be, and says how much is elsewhere.
async fn moved(server: &Server) -> u64 {
    for _ in 0..300 {
        let (hot, cold) = (total(server, "hot_bytes").await, total(server, "cold_bytes").await);
        if hot == 0 && cold > 0 {
            return cold;
        }
        rt::sleep(Duration::from_millis(100)).await;
    }
    panic!("old bytes do not move; the node said:\n{}", server.said());
}

fn files(folder: &Path) -> usize {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    let each = entries.map(|entry| entry.unwrap().path());
    each.map(|path| if path.is_dir() { files(&path) } else { 1 }).sum()
}

#[test]
fn old_bytes_of_one_process_move_to_a_folder_through_all_its_deaths() {
    run(Duration::from_secs(58), async {
        let folder = tempfile::tempdir().unwrap();
        let [authority] = free_authorities();
        let data = folder.path().join("data");
        let file = folder.path().join("node.toml");
        let config = format!(
            "version = 1\n[server]\nlisten = {authority:?}\ndata_dir = {data:?}\n[cold]\nbackend = \"local\"\n{SOON}"
        );
        fs::write(&file, config).unwrap();
        let mut server = Server::new(
            folder.path(),
            "single",
            &authority,
            &["serve", "--config", &file.display().to_string()],
        );
        server.start();
        server.ready("/readyz/cluster").await;
        let mut load = Workload::start(&[authority], 3).await;
        for death in 1..=4 {
            load.progress(300 + death * 177, "under load").await;
            server.kill();
            server.start();
            server.ready("/readyz/cluster").await;
        }
        load.progress(300, "after the last death").await;
        load.stop().await;
        let cold = moved(&server).await;
        let objects = files(&data.join("cold"));
        println!("{cold} bytes in {objects} files; {}", load.verify().await);
        assert!(objects > 1);
        server.kill();
        server.start();
        server.ready("/readyz/cluster").await;
        println!("after a restart: {}", load.verify().await);
    });
}

mod in_a_bucket {
    use std::process::{Command, Output};

    use super::*;
    use crate::{moto::Moto, three::cluster_with};

    /// The section for a bucket of moto, below a prefix.
    fn section(moto: &Moto, prefix: &str) -> String {
        let endpoint = moto.options("").endpoint.expect("it has one");
        format!(
            "[s3]\nbucket = \"bucket\"\nprefix = {prefix:?}\nendpoint = {endpoint:?}\naddressing = \"path\"\n\
             access_key_id = \"key\"\nsecret_access_key = \"$KILL9_SECRET\"\n"
        )
    }

    /// `holdfast …`, to its end.
    fn holdfast(arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_holdfast"));
        command.args(arguments).env("KILL9_SECRET", "secret");
        command.output().expect("the program starts")
    }

    fn text(bytes: &[u8]) -> String {
        String::from_utf8_lossy(bytes).into_owned()
    }

    #[test]
    fn three_processes_that_lost_all_their_disks_come_back_from_the_bucket_and_nothing_comes_back_beside_a_living_cluster()
     {
        run(Duration::from_secs(110), async {
            let moto = Moto::shared();
            let folder = tempfile::tempdir().unwrap();
            let s3 = section(&moto, "lost");
            let mut servers = cluster_with(folder.path(), &format!("[cold]\nbackend = \"s3\"\n{SOON}{s3}"));
            servers.iter_mut().for_each(Server::start);
            for server in &mut servers {
                server.ready("/readyz/cluster").await;
            }
            let authorities: Vec<String> = servers.iter().map(|server| server.authority.clone()).collect();
            let mut load = Workload::start(&authorities, 4).await;
            load.progress(1500, "three nodes").await;
            let first = folder.path().join("node1.toml").display().to_string();
            let other = folder.path().join("beside").display().to_string();
            let beside = holdfast(&["restore", "--config", &first, "--data-dir", &other]);
            assert_eq!(beside.status.code(), Some(2), "{}", text(&beside.stdout));
            assert!(text(&beside.stderr).contains("lives"), "{}", text(&beside.stderr));
            load.stop().await;
            for server in &servers {
                moved(server).await;
            }
            // Longer than it takes until all of it is written down.
            rt::sleep(Duration::from_secs(3)).await;
            let before = load.verify().await;
            servers.iter_mut().for_each(Server::kill);
            for id in 1..=3 {
                fs::remove_dir_all(folder.path().join(format!("data{id}"))).unwrap();
            }

            let verified = holdfast(&["backup", "verify", "--config", &first, "--json"]);
            assert!(verified.status.success(), "{}", text(&verified.stderr));
            let verified: Value = serde_json::from_slice(&verified.stdout).expect("JSON");
            assert_eq!(verified["problems"], serde_json::json!([]));
            assert!(verified["checked"]["streams"].as_u64() >= Some(4), "{verified}");
            let restored = holdfast(&["restore", "--config", &first]);
            assert!(restored.status.success(), "{}", text(&restored.stderr));
            println!("{}", text(&restored.stdout));
            servers.iter_mut().for_each(Server::start);
            for server in &mut servers {
                server.ready("/readyz/cluster").await;
            }
            let after = load.verify().await;
            assert_eq!(after, before);
            for (at, authority) in authorities.iter().enumerate() {
                let url = format!("http://{authority}/v1/stream/after-{at}");
                let created = holdfast(&["stream", "create", &url]);
                assert!(created.status.success(), "{}", text(&created.stderr));
            }
            println!("{after}");
        });
    }

    #[test]
    fn three_processes_share_a_bucket_and_lose_nothing_while_they_are_killed() {
        run(Duration::from_secs(110), async {
            let moto = Moto::shared();
            let folder = tempfile::tempdir().unwrap();
            let s3 = section(&moto, "three");
            let mut servers = cluster_with(folder.path(), &format!("[cold]\nbackend = \"s3\"\n{SOON}{s3}"));
            for server in &mut servers {
                server.start();
            }
            for server in &mut servers {
                server.ready("/readyz/cluster").await;
            }
            let authorities: Vec<String> = servers.iter().map(|server| server.authority.clone()).collect();
            let mut load = Workload::start(&authorities, 4).await;
            for server in &mut servers {
                load.progress(400, "three nodes").await;
                server.kill();
                load.progress(300, "two of three").await;
                server.start();
                server.ready("/readyz/cluster").await;
            }
            servers.iter_mut().for_each(Server::kill);
            servers.iter_mut().for_each(Server::start);
            for server in &mut servers {
                server.ready("/readyz/cluster").await;
            }
            load.progress(300, "after all died at once").await;
            load.stop().await;
            for server in &servers {
                let cold = moved(server).await;
                println!(
                    "{}: {cold} bytes in {} objects",
                    server.authority,
                    total(server, "objects").await
                );
            }
            println!("{}", load.verify().await);
        });
    }

    #[test]
    fn a_bucket_that_is_not_there_is_refused_at_start_with_a_sentence() {
        run(Duration::from_secs(50), async {
            let moto = Moto::shared();
            let folder = tempfile::tempdir().unwrap();
            let [authority] = free_authorities();
            let (data, file) = (folder.path().join("data"), folder.path().join("node.toml"));
            for (bucket, secret, word) in [
                ("no-such-bucket", "$KILL9_SECRET", "no-such-bucket"),
                ("bucket", "$KILL9_NOT_SET", "KILL9_NOT_SET"),
            ] {
                let config = format!(
                    "version = 1\n[server]\nlisten = {authority:?}\ndata_dir = {data:?}\n[cold]\nbackend = \"s3\"\n\
                     [s3]\nbucket = {bucket:?}\nendpoint = {:?}\naddressing = \"path\"\naccess_key_id = \"key\"\n\
                     secret_access_key = {secret:?}\n",
                    moto.options("").endpoint.expect("it has one")
                );
                fs::write(&file, config).unwrap();
                let arguments = ["serve", "--config", &file.display().to_string()];
                let mut server = Server::new(folder.path(), bucket, &authority, &arguments);
                server.start();
                let status = server.end().await;
                assert_eq!(status.code(), Some(2), "{}", server.said());
                assert!(server.said().contains(word), "{}", server.said());
            }
        });
    }
}
