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
                    sweep_every = \"500ms\"\ngrace = \"5s\"\ncache = \"1MiB\"\nblock = \"64KiB\"\n[cache]\ntail = \"0B\"\n";

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
    use super::*;
    use crate::{moto::Moto, three::cluster_with};

    #[test]
    fn three_processes_share_a_bucket_and_lose_nothing_while_they_are_killed() {
        run(Duration::from_secs(110), async {
            let moto = Moto::shared();
            let folder = tempfile::tempdir().unwrap();
            let s3 = format!(
                "[s3]\nbucket = \"bucket\"\nprefix = \"three\"\nendpoint = {:?}\naddressing = \"path\"\n\
                 access_key_id = \"key\"\nsecret_access_key = \"$KILL9_SECRET\"\n",
                moto.options("").endpoint.expect("it has one")
            );
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
