//! One process, killed again and again in the middle of appends: everything acknowledged is there, once and in order.

use std::time::Duration;

use super::{
    process::{Server, free_authorities, run},
    workload::Workload,
};

#[test]
fn what_one_process_acknowledged_survives_its_sudden_deaths() {
    run(Duration::from_secs(55), async {
        let folder = tempfile::tempdir().unwrap();
        let [authority] = free_authorities();
        let data = folder.path().join("data").display().to_string();
        let arguments = ["serve", "--listen", &authority, "--data-dir", &data];
        let mut server = Server::new(folder.path(), "single", &authority, &arguments);
        server.start();
        server.ready("/readyz/cluster").await;

        let mut load = Workload::start(&[authority], 3).await;
        for death in 1..=5 {
            // Not at a round number, and never at the same place of whatever the process is doing.
            load.progress(300 + death * 177, "under load").await;
            server.kill();
            server.start();
            let ready = server.ready("/readyz/cluster").await;
            println!(
                "death {death} after {} appends; ready again in {ready:.0?}",
                load.count()
            );
        }
        load.progress(300, "after the last death").await;
        load.stop().await;
        println!("before the last start: {}", load.verify().await);
        server.kill();
        server.start();
        server.ready("/readyz/cluster").await;
        println!("after it: {}", load.verify().await);
    });
}
