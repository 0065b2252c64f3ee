//! Three processes from three configuration files, started in any order, under load on all of them.

use std::{fs, path::Path, time::Duration};

use net::rt;

use super::{
    process::{Server, free_authorities, run},
    workload::Workload,
};

/// Three nodes that name each other, none started.
fn cluster(folder: &Path) -> [Server; 3] {
    cluster_with(folder, "")
}

/// The same, with more in their files.
pub(crate) fn cluster_with(folder: &Path, more: &str) -> [Server; 3] {
    let authorities: [String; 3] = free_authorities();
    [0, 1, 2].map(|at| {
        let (own, id) = (&authorities[at], at + 1);
        let routes: Vec<&String> = authorities.iter().filter(|authority| *authority != own).collect();
        let data = folder.join(format!("data{id}"));
        let config = format!(
            "version = 1\n\
             [server]\nnode_id = {id}\nlisten = {own:?}\nadvertise = {own:?}\ndata_dir = {data:?}\n\
             [cluster]\nname = \"kill9\"\nbootstrap_node_id = 1\nroutes = {routes:?}\ngroups = 4\n{more}"
        );
        let file = folder.join(format!("node{id}.toml"));
        fs::write(&file, config).unwrap();
        Server::new(
            folder,
            &format!("node{id}"),
            own,
            &["serve", "--config", &file.display().to_string()],
        )
    })
}

async fn ready(servers: &mut [Server]) {
    for server in servers {
        server.ready("/readyz/cluster").await;
    }
}

#[test]
fn three_processes_lose_nothing_while_they_are_killed_one_by_one_two_at_once_and_all_at_once() {
    run(Duration::from_secs(59), async {
        let folder = tempfile::tempdir().unwrap();
        let mut servers = cluster(folder.path());
        for at in [2, 0, 1] {
            servers[at].start();
            rt::sleep(Duration::from_millis(300)).await;
        }
        ready(&mut servers).await;
        let authorities: Vec<String> = servers.iter().map(|server| server.authority.clone()).collect();
        let mut load = Workload::start(&authorities, 4).await;
        load.progress(500, "three nodes").await;

        // Whoever leads what: each node dies once, and the others go on without it.
        for (at, server) in servers.iter_mut().enumerate() {
            server.kill();
            load.progress(300, "two of three").await;
            server.start();
            server.ready("/readyz/cluster").await;
            load.progress(300, "three again").await;
            println!("node {} died and came back; {} appends so far", at + 1, load.count());
        }

        servers[0].kill();
        servers[1].kill();
        rt::sleep(Duration::from_millis(700)).await;
        let alone = load.count();
        rt::sleep(Duration::from_millis(700)).await;
        assert_eq!(load.count(), alone, "one of three acknowledges nothing");
        servers[1].start();
        servers[0].start();
        ready(&mut servers).await;
        load.progress(300, "after two died at once").await;
        println!("two died at once and came back; {} appends so far", load.count());

        servers.iter_mut().for_each(Server::kill);
        servers.iter_mut().for_each(Server::start);
        ready(&mut servers).await;
        load.progress(300, "after all died at once").await;
        load.stop().await;
        println!("all died at once and came back: {}", load.verify().await);
    });
}

#[test]
fn three_files_found_one_cluster_in_whatever_order_their_nodes_start() {
    run(Duration::from_secs(59), async {
        for order in [[0, 1, 2], [2, 1, 0]] {
            let folder = tempfile::tempdir().unwrap();
            let mut servers = cluster(folder.path());
            for at in order {
                servers[at].start();
                rt::sleep(Duration::from_millis(700)).await;
            }
            ready(&mut servers).await;
            let authorities: Vec<String> = servers.iter().map(|server| server.authority.clone()).collect();
            let mut load = Workload::start(&authorities, 4).await;
            load.progress(100, "a new cluster").await;
            load.stop().await;
            println!("started in the order {order:?}: {}", load.verify().await);
        }
    });
}
