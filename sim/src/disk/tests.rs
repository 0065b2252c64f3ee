//! Each way a disk can go wrong is shown to bite, and the same seed to bite the same way.

use std::{collections::BTreeSet, io, sync::Arc, time::Duration};

use futures_util::FutureExt;
use net::rt;
use storage::{
    contract::disk as contract,
    disk::{Disk, File, Fut},
};

use super::*;
use crate::engine::{Engine, Options};

const WAYS: [PowerLoss; 7] = [
    PowerLoss::LoseAll,
    PowerLoss::LoseNothing,
    PowerLoss::Prefix,
    PowerLoss::Torn,
    PowerLoss::PerFile,
    PowerLoss::Sectors,
    PowerLoss::Any,
];

fn disk(seed: u64) -> FalseDisk {
    FalseDisk::new(&Dice::from_seed(seed), Tell::nobody()).with_timing(Timing::none())
}

/// The result of an operation that takes no time.
fn now<T>(operation: Fut<'_, T>) -> T {
    operation.now_or_never().expect("without timing nothing waits")
}

/// Runs what takes simulated time.
fn in_time<T>(test: impl Future<Output = T>) -> T {
    Engine::new(1, Options::default()).run_until(test).unwrap()
}

/// A file whose name and bytes are durable.
fn durable_file(disk: &dyn Disk, path: &str, bytes: &[u8]) -> Arc<dyn File> {
    let file = now(disk.create(path)).unwrap();
    write(&*file, 0, bytes);
    now(file.sync()).unwrap();
    now(disk.sync_dir(folder_of(path))).unwrap();
    file
}

fn write(file: &dyn File, offset: u64, bytes: &[u8]) {
    now(file.write_at(offset, vec![Bytes::copy_from_slice(bytes)])).unwrap();
}

fn read(disk: &FalseDisk, path: &str) -> Option<Vec<u8>> {
    disk.written(path).map(Vec::from)
}

/// What is left of one moment after very many different crashes.
fn outcomes<T: Ord>(disk: &FalseDisk, how: PowerLoss, look: impl Fn(&FalseDisk) -> T) -> BTreeSet<T> {
    let outcome = |seed| {
        let disk = disk.fork(&Dice::from_seed(seed));
        disk.power_loss(how);
        look(&disk)
    };
    (0..400).map(outcome).collect()
}

#[test]
fn keeps_the_contract() {
    let disk = disk(1);
    contract::all(&*disk.mount())
        .now_or_never()
        .expect("without timing nothing waits");
    in_time(async {
        let disk = FalseDisk::new(&Dice::from_seed(1), Tell::nobody());
        contract::all(&*disk.mount()).await;
    });
}

#[test]
fn keeps_the_contract_of_power_cuts() {
    for seed in 0..100 {
        for how in WAYS {
            let disk = disk(seed);
            let crash = || {
                disk.power_loss(how);
                disk.mount()
            };
            let test = contract::across_power_cuts(disk.mount(), crash);
            test.now_or_never().expect("without timing nothing waits");
        }
    }
}

#[test]
fn what_was_synced_survives_every_power_loss() {
    let disk = disk(1);
    let mounted = disk.mount();
    let file = durable_file(&*mounted, "a/one", b"for ever");
    write(&*file, 100, b"perhaps");
    now(mounted.create("a/two")).unwrap();
    assert!(disk.is_durable("a/one", 0..8));
    assert!(!disk.is_durable("a/one", 0..107));
    assert!(!disk.is_durable("a/two", 0..0));
    let kept = |disk: &FalseDisk| disk.durable_range("a/one", 0..8).unwrap();
    assert_eq!(
        outcomes(&disk, PowerLoss::Any, kept),
        BTreeSet::from([Bytes::from_static(b"for ever")])
    );
}

#[test]
fn a_crash_of_the_process_keeps_what_was_written() {
    let disk = disk(1);
    let file = now(disk.mount().create("a")).unwrap();
    write(&*file, 0, b"never synced");
    disk.process_crash();
    assert_eq!(read(&disk, "a").unwrap(), b"never synced");
    let file = now(disk.mount().open("a")).unwrap();
    assert_eq!(now(file.read_at(0, 99)).unwrap(), "never synced");
}

#[test]
fn a_handle_from_before_a_crash_is_worth_nothing() {
    for power in [false, true] {
        let disk = disk(1);
        let old = disk.mount();
        let file = durable_file(&*old, "a", b"old");
        if power {
            disk.power_loss(PowerLoss::Any);
        } else {
            disk.process_crash();
        }
        let kind = |result: io::Result<()>| result.unwrap_err().kind();
        assert_eq!(kind(now(file.write_at(0, vec![]))), io::ErrorKind::NotConnected);
        assert_eq!(kind(now(file.read_at(0, 1)).map(drop)), io::ErrorKind::NotConnected);
        assert_eq!(kind(now(file.sync())), io::ErrorKind::NotConnected);
        assert_eq!(kind(now(old.create("b")).map(drop)), io::ErrorKind::NotConnected);
        drop(file);
        now(disk.mount().open("a")).unwrap();
    }
}

#[test]
fn lose_all_and_lose_nothing_are_what_they_say() {
    let disk = disk(1);
    let mounted = disk.mount();
    let file = durable_file(&*mounted, "a", b"old");
    write(&*file, 0, b"new");
    now(mounted.rename("a", "b")).unwrap();
    let state = |disk: &FalseDisk| (read(disk, "a"), read(disk, "b"));
    let old = (Some(b"old".to_vec()), None);
    let new = (None, Some(b"new".to_vec()));
    assert_eq!(outcomes(&disk, PowerLoss::LoseAll, state), BTreeSet::from([old]));
    assert_eq!(outcomes(&disk, PowerLoss::LoseNothing, state), BTreeSet::from([new]));
}

#[test]
fn a_prefix_is_one_across_files_and_names() {
    let disk = disk(1);
    let mounted = disk.mount();
    let (a, b) = (durable_file(&*mounted, "a", b""), durable_file(&*mounted, "b", b""));
    write(&*a, 0, b"1");
    write(&*b, 0, b"2");
    now(mounted.create("c")).unwrap();
    write(&*a, 1, b"3");
    let state = |disk: &FalseDisk| (read(disk, "a").unwrap(), read(disk, "b").unwrap(), disk.files().len());
    let text = |text: &str| text.as_bytes().to_vec();
    let lawful = [
        (text(""), text(""), 2),
        (text("1"), text(""), 2),
        (text("1"), text("2"), 2),
        (text("1"), text("2"), 3),
        (text("13"), text("2"), 3),
    ];
    assert_eq!(outcomes(&disk, PowerLoss::Prefix, state), BTreeSet::from(lawful));
}

#[test]
fn the_last_write_is_torn_at_any_byte() {
    let disk = disk(1);
    let file = durable_file(&*disk.mount(), "a", b"");
    write(&*file, 0, b"abcd");
    write(&*file, 4, b"ef");
    let lengths = outcomes(&disk, PowerLoss::Torn, |disk| read(disk, "a").unwrap());
    let prefixes: BTreeSet<Vec<u8>> = (0..=6).map(|len| b"abcdef"[..len].to_vec()).collect();
    assert_eq!(lengths, prefixes);
}

#[test]
fn files_are_cut_each_at_a_moment_of_its_own() {
    let disk = disk(1);
    let mounted = disk.mount();
    let (a, b) = (durable_file(&*mounted, "a", b""), durable_file(&*mounted, "b", b""));
    write(&*a, 0, b"first");
    write(&*b, 0, b"second");
    let later_only = |disk: &FalseDisk| read(disk, "a").unwrap().is_empty() && read(disk, "b").unwrap() == b"second";
    assert!(
        outcomes(&disk, PowerLoss::PerFile, later_only).contains(&true),
        "the later write without the earlier"
    );
    assert!(!outcomes(&disk, PowerLoss::Torn, later_only).contains(&true));
}

#[test]
fn sectors_are_kept_or_lost_each_by_itself() {
    let disk = disk(1);
    let file = durable_file(&*disk.mount(), "a", &[1; 4 * 512]);
    write(&*file, 0, &[2; 4 * 512]);
    write(&*file, 512, &[3; 512]);
    // The second sector has three versions, the others two.
    let found = outcomes(&disk, PowerLoss::Sectors, |disk| {
        let bytes = read(disk, "a").unwrap();
        let sectors: Vec<u8> = bytes.chunks(512).map(|sector| sector[0]).collect();
        assert!(
            bytes
                .chunks(512)
                .all(|sector| sector.iter().all(|byte| *byte == sector[0])),
            "a sector is never torn"
        );
        sectors
    });
    assert_eq!(found.len(), 2 * 3 * 2 * 2, "every combination is met: {found:?}");
}

#[test]
fn a_length_may_be_there_before_its_bytes() {
    let disk = disk(1);
    let file = durable_file(&*disk.mount(), "a", b"");
    write(&*file, 0, b"bytes");
    let found = outcomes(&disk, PowerLoss::Sectors, |disk| read(disk, "a").unwrap());
    assert_eq!(
        found,
        BTreeSet::from([b"".to_vec(), b"\0\0\0\0\0".to_vec(), b"bytes".to_vec()])
    );
}

#[test]
fn a_created_file_may_vanish_though_its_bytes_were_synced() {
    let disk = disk(1);
    let file = now(disk.mount().create("a/b")).unwrap();
    write(&*file, 0, b"synced");
    now(file.sync()).unwrap();
    assert_eq!(disk.durable("a/b"), None);
    let found = outcomes(&disk, PowerLoss::Any, |disk| read(disk, "a/b"));
    assert_eq!(found, BTreeSet::from([None, Some(b"synced".to_vec())]));
}

#[test]
fn a_removed_file_may_come_back_and_a_renamed_one_be_at_either_name() {
    let disk = disk(1);
    let mounted = disk.mount();
    durable_file(&*mounted, "gone", b"1");
    durable_file(&*mounted, "new", b"2");
    durable_file(&*mounted, "old", b"3");
    now(mounted.remove("gone")).unwrap();
    now(mounted.rename("new", "old")).unwrap();
    let names = |disk: &FalseDisk| {
        disk.files()
            .into_iter()
            .map(|path| (read(disk, &path), path))
            .collect::<Vec<_>>()
    };
    let found = outcomes(&disk, PowerLoss::Any, names);
    assert_eq!(found.len(), 4, "{found:?}");
    for names in &found {
        assert!(
            names.iter().any(|(bytes, _)| bytes.as_deref() == Some(b"2")),
            "a renamed file is never lost: {names:?}"
        );
        assert!(
            names.iter().any(|(_, path)| path == "old"),
            "the name renamed over is never free: {names:?}"
        );
    }
    now(mounted.sync_dir("")).unwrap();
    assert_eq!(outcomes(&disk, PowerLoss::Any, names).len(), 1);
}

#[test]
fn a_sync_covers_the_writes_before_it_and_no_others() {
    in_time(async {
        let disk = disk(1).with_timing(Timing {
            sync: ms(20)..ms(21),
            ..Timing::none()
        });
        let file = disk.mount().create("a").await.unwrap();
        file.write_at(0, vec![Bytes::from_static(b"before")]).await.unwrap();
        let meanwhile = async {
            rt::sleep(ms(5)).await;
            assert_eq!(disk.shared.lock().store.names.len(), 1);
            file.write_at(6, vec![Bytes::from_static(b" meanwhile")]).await.unwrap();
        };
        let (synced, ()) = futures_util::join!(file.sync(), meanwhile);
        synced.unwrap();
        disk.mount().sync_dir("").await.unwrap();
        assert_eq!(disk.durable("a").unwrap(), "before");
    });
}

#[test]
fn power_lost_during_a_sync_may_lose_what_it_was_to_cover() {
    in_time(async {
        let disk = disk(1).with_timing(Timing {
            sync: ms(20)..ms(21),
            ..Timing::none()
        });
        let file = disk.mount().create("a").await.unwrap();
        file.write_at(0, vec![Bytes::from_static(b"x")]).await.unwrap();
        let crash = async {
            rt::sleep(ms(5)).await;
            disk.power_loss(PowerLoss::LoseAll);
        };
        let (synced, ()) = futures_util::join!(file.sync(), crash);
        assert_eq!(synced.unwrap_err().kind(), io::ErrorKind::NotConnected);
        assert_eq!(disk.files(), Vec::<String>::new());
    });
}

#[test]
fn a_crash_in_the_middle_of_a_write_leaves_a_part_of_it() {
    let left = in_time(async {
        let mut left = BTreeSet::new();
        for seed in 0..60 {
            let disk = disk(seed).with_timing(Timing {
                write: ms(2)..ms(3),
                ..Timing::none()
            });
            let file = disk.mount().create("a").await.unwrap();
            let crash = async {
                rt::sleep(ms(1)).await;
                disk.process_crash();
            };
            let (written, ()) = futures_util::join!(file.write_at(0, vec![Bytes::from_static(b"abc")]), crash);
            written.unwrap_err();
            left.insert(read(&disk, "a").unwrap());
        }
        left
    });
    let parts = ["", "a", "ab", "abc"].map(|part| part.as_bytes().to_vec());
    assert_eq!(left, BTreeSet::from(parts));
}

#[test]
fn a_failed_sync_loses_what_it_covered_though_a_later_one_succeeds() {
    let (mut still_seen, mut lost) = (false, false);
    for seed in 0..40 {
        let disk = disk(seed);
        let mounted = disk.mount();
        let file = durable_file(&*mounted, "a", b"");
        write(&*file, 0, b"data");
        disk.change(|faults| faults.fail_sync = FailSync::Once);
        now(file.sync()).unwrap_err();
        // Here a node that does not stop goes wrong.
        now(file.sync()).unwrap();
        let (seen, durable) = (read(&disk, "a").unwrap(), disk.durable("a").unwrap());
        still_seen |= seen == b"data" && durable != "data";
        lost |= seen != b"data";
    }
    assert!(still_seen, "a read shows what is not durable");
    assert!(lost, "the page cache dropped it");
}

#[test]
fn a_failed_sync_of_a_folder_may_lose_names_until_the_next_one() {
    let (mut kept, mut lost) = (0, 0);
    for seed in 0..40 {
        let disk = disk(seed);
        let mounted = disk.mount();
        now(mounted.create("a")).unwrap();
        disk.change(|faults| faults.fail_sync = FailSync::Once);
        now(mounted.sync_dir("")).unwrap_err();
        let fork = disk.fork(&Dice::from_seed(seed));
        fork.power_loss(PowerLoss::LoseAll);
        if fork.files().is_empty() {
            lost += 1
        } else {
            kept += 1
        }
        now(mounted.sync_dir("")).unwrap();
        assert_eq!(disk.durable_files(), ["a"]);
    }
    assert!(kept > 0 && lost > 0, "{kept} {lost}");
}

#[test]
fn syncs_that_fail_for_good_fail_until_mended() {
    let disk = disk(1);
    let mounted = disk.mount();
    let file = durable_file(&*mounted, "a", b"");
    disk.change(|faults| faults.fail_sync = FailSync::ForGood);
    for _ in 0..5 {
        now(file.sync()).unwrap_err();
        now(mounted.sync_dir("")).unwrap_err();
    }
    disk.mend();
    now(file.sync()).unwrap();
    disk.change(|faults| faults.fail_sync = FailSync::Chance(0.5));
    let failed = (0..100).filter(|_| now(file.sync()).is_err()).count();
    assert!((20..80).contains(&failed), "{failed} of 100");
}

#[test]
fn a_full_disk_takes_a_part_and_overwrites_and_has_room_again() {
    let disk = disk(1);
    let mounted = disk.mount();
    let file = durable_file(&*mounted, "a", &[1; 100]);
    now(file.set_len(1 << 20)).unwrap();
    disk.fill(2 * PAGE);
    let result = now(file.write_at(50, vec![Bytes::from(vec![2; 5 * PAGE as usize])]));
    assert_eq!(result.unwrap_err().kind(), io::ErrorKind::StorageFull);
    let bytes = read(&disk, "a").unwrap();
    assert!(
        bytes[50..3 * PAGE as usize].iter().all(|byte| *byte == 2),
        "what found room is there"
    );
    assert_eq!(bytes[3 * PAGE as usize], 0);
    write(&*file, 0, &[3; 100]);
    drop(file);
    now(mounted.remove("a")).unwrap();
    let other = now(mounted.create("b")).unwrap();
    assert!(
        now(other.write_at(0, vec![Bytes::from_static(b"x")])).is_err(),
        "until the removal is durable"
    );
    now(mounted.sync_dir("")).unwrap();
    write(&*other, 0, b"x");
    disk.fill(0);
    now(other.write_at(PAGE, vec![Bytes::from_static(b"x")])).unwrap_err();
    disk.mend();
    write(&*other, PAGE, b"x");
}

#[test]
fn growing_a_file_on_a_full_disk_fails_or_fails_later() {
    let (mut at_once, mut later) = (0, 0);
    for seed in 0..20 {
        let disk = disk(seed);
        let file = durable_file(&*disk.mount(), "a", b"x");
        disk.fill(0);
        match now(file.set_len(1 << 20)) {
            Err(error) => {
                assert_eq!(error.kind(), io::ErrorKind::StorageFull);
                at_once += 1;
            }
            Ok(()) => {
                now(file.write_at(1 << 19, vec![Bytes::from_static(b"x")])).unwrap_err();
                later += 1;
            }
        }
    }
    assert!(at_once > 0 && later > 0, "{at_once} {later}");
}

#[test]
fn writes_and_reads_fail_by_chance() {
    let disk = disk(1);
    let file = durable_file(&*disk.mount(), "a", b"0123456789");
    disk.change(|faults| faults.fail_write_chance = 1.0);
    now(file.write_at(0, vec![Bytes::from_static(b"x")])).unwrap_err();
    disk.change(|faults| {
        *faults = Faults {
            fail_read_chance: 0.5,
            ..Faults::default()
        }
    });
    let failed = (0..100).filter(|_| now(file.read_at(0, 10)).is_err()).count();
    assert!((20..80).contains(&failed), "{failed} of 100");
}

#[test]
fn a_bit_flips_on_read_and_not_on_the_disk() {
    let disk = disk(1);
    let file = durable_file(&*disk.mount(), "a", &[0; 64]);
    disk.change(|faults| faults.flip_next = true);
    let ones = |bytes: Bytes| bytes.iter().map(|byte| byte.count_ones()).sum::<u32>();
    assert_eq!(ones(now(file.read_at(0, 64)).unwrap()), 1);
    assert_eq!(ones(now(file.read_at(0, 64)).unwrap()), 0);
    disk.change(|faults| faults.flip_chance = 1.0);
    assert_eq!(ones(now(file.read_at(32, 32)).unwrap()), 1);
    assert_eq!(ones(disk.durable("a").unwrap()), 0);
    assert_eq!(disk.flipped(), 2, "those that were met are counted");
}

#[test]
fn rot_stays_and_finds_written_bytes() {
    let disk = disk(1);
    let mounted = disk.mount();
    let file = durable_file(&*mounted, "j/1", &[255; 300]);
    now(file.set_len(1 << 24)).unwrap();
    durable_file(&*mounted, "other", &[255; 300]);
    let (path, offset) = disk.rot_somewhere("j").unwrap();
    assert_eq!(path, "j/1");
    assert!(offset < 300, "{offset}");
    assert_ne!(now(file.read_at(offset, 1)).unwrap()[0], 255);
    disk.power_loss(PowerLoss::LoseNothing);
    assert_ne!(read(&disk, "j/1").unwrap()[offset as usize], 255);
    assert_eq!(disk.rot_somewhere("empty"), None);
    assert!(!disk.rot("j/1", 1 << 30, 0));
    assert!(!disk.rot("j/2", 0, 0));
}

#[test]
fn a_slow_disk_takes_longer_and_stalls() {
    in_time(async {
        let disk = disk(1);
        let file = disk.mount().create("a").await.unwrap();
        disk.change(|faults| faults.slow.by = ms(5));
        let start = rt::Instant::now();
        file.write_at(0, vec![Bytes::from_static(b"x")]).await.unwrap();
        file.sync().await.unwrap();
        assert!(start.elapsed() >= ms(10));
        disk.change(|faults| {
            faults.slow = Slow {
                by: ms(0),
                stall_chance: 1.0,
                stall: ms(30),
            }
        });
        let start = rt::Instant::now();
        file.sync().await.unwrap();
        assert!(start.elapsed() >= ms(30));
    });
}

#[test]
fn a_frozen_disk_hangs_until_thawed_or_crashed() {
    let disk = disk(1);
    let file = durable_file(&*disk.mount(), "a", b"");
    disk.freeze();
    let mut hanging = file.sync();
    assert!(hanging.as_mut().now_or_never().is_none());
    disk.thaw();
    hanging.as_mut().now_or_never().expect("thawed").unwrap();
    disk.freeze();
    let mut hanging = file.sync();
    assert!(hanging.as_mut().now_or_never().is_none());
    disk.process_crash();
    hanging.as_mut().now_or_never().expect("the crash ends it").unwrap_err();
}

#[test]
fn a_disk_that_is_gone_does_nothing_until_it_is_back() {
    let disk = disk(1);
    let file = durable_file(&*disk.mount(), "a", b"x");
    disk.change(|faults| faults.gone = true);
    now(file.read_at(0, 1)).unwrap_err();
    now(file.sync()).unwrap_err();
    now(disk.mount().list("")).unwrap_err();
    disk.mend();
    assert_eq!(now(file.read_at(0, 1)).unwrap(), "x");
}

#[test]
fn the_same_seed_meets_the_same_fate() {
    let life = |seed: u64| {
        let told = Arc::new(Mutex::new(Vec::new()));
        let hear = told.clone();
        let tell = Tell::to(move |_, line| hear.lock().unwrap().push(line.to_string()));
        let disk = FalseDisk::new(&Dice::from_seed(seed), tell).with_timing(Timing::none());
        disk.change(|faults| {
            faults.fail_sync = FailSync::Chance(0.3);
            faults.flip_chance = 0.3;
            faults.fail_write_chance = 0.1;
        });
        let file = now(disk.mount().create("a")).unwrap();
        for round in 0..50_u8 {
            let _ = now(file.write_at(u64::from(round) * 7, vec![Bytes::from(vec![round; 40])]));
            let _ = now(file.sync());
            let _ = now(file.read_at(0, 100));
        }
        disk.power_loss(PowerLoss::Any);
        let told = told.lock().unwrap().clone();
        (told, read(&disk, "a"))
    };
    assert_eq!(life(7), life(7));
    assert_ne!(life(7), life(8));
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}
