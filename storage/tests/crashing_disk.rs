//! The disk of the journal's tests keeps the contract of disks, so that what they find could happen.

mod crashing;

use crashing::CrashDisk;
use storage::contract::disk;

#[tokio::test]
async fn the_crashing_disk_keeps_the_contract() {
    disk::all(&*CrashDisk::new(1).disk()).await;
}

#[tokio::test]
async fn the_crashing_disk_keeps_the_contract_of_power_cuts() {
    for seed in 0..500 {
        let crashing = CrashDisk::new(seed * 7919 + 1);
        let crash = || {
            crashing.power_cut();
            crashing.disk()
        };
        disk::across_power_cuts(crashing.disk(), crash).await;
    }
}
