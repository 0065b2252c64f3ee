//! What every Disk must do.
//!
//! [`all`] for every implementation; the functions with a `crash` for those that can lose power. `crash` cuts the power
//! and returns the disk as it is afterwards; how unsynced writes fare is the implementation's choice, within the
//! contract of [`crate::disk`].

use std::{io::ErrorKind, sync::Arc};

use bytes::Bytes;

use crate::disk::{Disk, File};

/// Everything that holds without a power cut, each part in a folder of its own.
pub async fn all(disk: &dyn Disk) {
    what_is_written_is_read(disk).await;
    names_are_created_once_and_opened_often(disk).await;
    a_folder_lists_its_files_sorted(disk).await;
    a_rename_replaces(disk).await;
    a_removed_file_lives_while_it_is_open(disk).await;
    many_pieces_land_one_after_the_other(disk).await;
    reads_are_short_only_at_the_end(disk).await;
    gaps_and_growth_are_zeros(disk).await;
    two_handles_are_one_file(disk).await;
}

/// Everything that holds across a power cut. `crash` is called several times.
pub async fn across_power_cuts(disk: Arc<dyn Disk>, mut crash: impl FnMut() -> Arc<dyn Disk>) {
    synced_bytes_and_names_stay(&*disk, &mut crash).await;
    let disk = crash();
    unsynced_bytes_are_old_or_new(&*disk, &mut crash).await;
    let disk = crash();
    a_synced_rename_is_whole(&*disk, &mut crash).await;
}

/// Bytes are read where they were written, before and after a sync.
pub async fn what_is_written_is_read(disk: &dyn Disk) {
    let file = disk.create("written/a").await.expect("create");
    file.write_at(0, vec![Bytes::from_static(b"hello "), Bytes::from_static(b"world")])
        .await
        .expect("write");
    assert_eq!(read(&*file, 0, 100).await, b"hello world");
    file.sync().await.expect("sync");
    disk.sync_dir("written").await.expect("sync the folder");
    file.write_at(6, vec![Bytes::from_static(b"there")])
        .await
        .expect("write");
    assert_eq!(
        read(&*file, 0, 100).await,
        b"hello there",
        "a write over what was synced"
    );
    assert_eq!(read(&*file, 6, 3).await, b"the");
    assert_eq!(file.len().await.expect("len"), 11);
}

/// A name is created once; one that is not there cannot be opened or removed.
pub async fn names_are_created_once_and_opened_often(disk: &dyn Disk) {
    let kind = |result: std::io::Result<Arc<dyn File>>| result.err().map(|error| error.kind());
    assert_eq!(
        kind(disk.open("names/a").await),
        Some(ErrorKind::NotFound),
        "open of no file"
    );
    disk.create("names/a").await.expect("create");
    assert_eq!(
        kind(disk.create("names/a").await),
        Some(ErrorKind::AlreadyExists),
        "create of a file that is there"
    );
    for _ in 0..3 {
        disk.open("names/a").await.expect("open");
    }
    disk.remove("names/a").await.expect("remove");
    assert_eq!(
        kind(disk.open("names/a").await),
        Some(ErrorKind::NotFound),
        "open of a removed file"
    );
    let again = disk.remove("names/a").await.err().map(|error| error.kind());
    assert_eq!(again, Some(ErrorKind::NotFound), "remove of a removed file");
    let file = disk.create("names/a").await.expect("a removed name is free");
    assert_eq!(
        file.len().await.expect("len"),
        0,
        "a new file under an old name is empty"
    );
}

/// A listing has the files directly in the folder, by name.
pub async fn a_folder_lists_its_files_sorted(disk: &dyn Disk) {
    assert!(
        disk.list("listed").await.expect("list").is_empty(),
        "a folder that is not there is empty"
    );
    for path in ["listed/b", "listed/c", "listed/a", "listed/below/d", "listed-not/e"] {
        disk.create(path).await.expect("create");
    }
    assert_eq!(disk.list("listed").await.expect("list"), ["a", "b", "c"]);
    assert_eq!(disk.list("listed/below").await.expect("list"), ["d"]);
}

/// A rename takes the place of whatever was there.
pub async fn a_rename_replaces(disk: &dyn Disk) {
    write(disk, "renamed/new", b"new").await;
    write(disk, "renamed/old", b"old").await;
    disk.rename("renamed/new", "renamed/old").await.expect("rename");
    assert_eq!(disk.list("renamed").await.expect("list"), ["old"]);
    let file = disk.open("renamed/old").await.expect("open");
    assert_eq!(read(&*file, 0, 9).await, b"new");
    let missing = disk
        .rename("renamed/new", "renamed/x")
        .await
        .err()
        .map(|error| error.kind());
    assert_eq!(missing, Some(ErrorKind::NotFound), "rename of no file");
}

/// Whoever has a file open reads on when its name is gone.
pub async fn a_removed_file_lives_while_it_is_open(disk: &dyn Disk) {
    let file = write(disk, "removed/a", b"still here").await;
    disk.remove("removed/a").await.expect("remove");
    assert!(disk.list("removed").await.expect("list").is_empty());
    assert_eq!(read(&*file, 0, 100).await, b"still here");
}

/// More pieces than any system takes in one call, empty ones among them.
pub async fn many_pieces_land_one_after_the_other(disk: &dyn Disk) {
    let pieces: Vec<Bytes> = (0..5000_usize).map(|i| Bytes::from(vec![i as u8; i % 7])).collect();
    let all = pieces.concat();
    let file = disk.create("pieces/a").await.expect("create");
    file.write_at(3, pieces).await.expect("write");
    assert_eq!(read(&*file, 3, all.len() + 10).await, all);
    assert_eq!(file.len().await.expect("len"), 3 + all.len() as u64);
}

/// A read returns all that was asked for unless the file ends.
pub async fn reads_are_short_only_at_the_end(disk: &dyn Disk) {
    let file = write(disk, "short/a", &[7; 100_000]).await;
    assert_eq!(read(&*file, 0, 100_000).await.len(), 100_000);
    assert_eq!(read(&*file, 99_990, 100).await.len(), 10);
    assert_eq!(read(&*file, 100_000, 100).await.len(), 0);
    assert_eq!(read(&*file, 200_000, 100).await.len(), 0);
    assert_eq!(read(&*file, 0, 0).await.len(), 0);
}

/// What nobody wrote reads as zeros; what was cut off does not come back.
pub async fn gaps_and_growth_are_zeros(disk: &dyn Disk) {
    let file = write(disk, "gaps/a", b"ab").await;
    file.write_at(4, vec![Bytes::from_static(b"ef")]).await.expect("write");
    assert_eq!(read(&*file, 0, 100).await, b"ab\0\0ef");
    file.set_len(1).await.expect("cut");
    assert_eq!(read(&*file, 0, 100).await, b"a");
    file.set_len(3).await.expect("grow");
    assert_eq!(read(&*file, 0, 100).await, b"a\0\0");
    assert_eq!(file.len().await.expect("len"), 3);
}

/// Every handle on a file sees what was written through any.
pub async fn two_handles_are_one_file(disk: &dyn Disk) {
    let one = write(disk, "handles/a", b"one").await;
    let two = disk.open("handles/a").await.expect("open");
    two.write_at(0, vec![Bytes::from_static(b"two")]).await.expect("write");
    assert_eq!(read(&*one, 0, 9).await, b"two");
}

/// What was synced, and under a synced name, is there after a power cut, whatever was written since elsewhere.
pub async fn synced_bytes_and_names_stay(disk: &dyn Disk, crash: &mut impl FnMut() -> Arc<dyn Disk>) {
    let file = write(disk, "cut/kept", &[1; 1000]).await;
    file.sync().await.expect("sync");
    disk.sync_dir("cut").await.expect("sync the folder");
    file.write_at(1000, vec![Bytes::from(vec![2; 1000])])
        .await
        .expect("write");
    write(disk, "cut/new", b"maybe").await;
    let disk = crash();
    let file = disk.open("cut/kept").await.expect("a synced name stays");
    assert_eq!(read(&*file, 0, 1000).await, [1; 1000], "synced bytes stay");
    for byte in read(&*file, 1000, 2000).await {
        assert!(byte == 2 || byte == 0, "bytes that nobody wrote: {byte}");
    }
    disk.remove("cut/kept").await.expect("remove");
    disk.sync_dir("cut").await.expect("sync the folder");
    let disk = crash();
    assert!(disk.open("cut/kept").await.is_err(), "a synced removal stays");
}

/// An unsynced write may be there in part: each byte is the old one or the new one.
pub async fn unsynced_bytes_are_old_or_new(disk: &dyn Disk, crash: &mut impl FnMut() -> Arc<dyn Disk>) {
    let file = write(disk, "torn/a", &[1; 5000]).await;
    file.sync().await.expect("sync");
    disk.sync_dir("torn").await.expect("sync the folder");
    file.write_at(100, vec![Bytes::from(vec![2; 3000])])
        .await
        .expect("write");
    let disk = crash();
    let file = disk.open("torn/a").await.expect("open");
    let bytes = read(&*file, 0, 9000).await;
    assert_eq!(bytes.len(), 5000);
    assert!(
        bytes[..100].iter().all(|&byte| byte == 1),
        "before the write nothing changes"
    );
    assert!(
        bytes[100..3100].iter().all(|&byte| byte == 1 || byte == 2),
        "bytes that nobody wrote"
    );
    assert!(
        bytes[3100..].iter().all(|&byte| byte == 1),
        "after the write nothing changes"
    );
    // What a disk shows after a power cut, it keeps.
    let disk = crash();
    let file = disk.open("torn/a").await.expect("open");
    assert_eq!(read(&*file, 0, 9000).await, bytes, "bytes change without a write");
}

/// A file written aside, synced and renamed over another is the old one or the new one, and the new one once the folder
/// is synced.
pub async fn a_synced_rename_is_whole(disk: &dyn Disk, crash: &mut impl FnMut() -> Arc<dyn Disk>) {
    let old = write(disk, "swap/a", b"old").await;
    old.sync().await.expect("sync");
    disk.sync_dir("swap").await.expect("sync the folder");
    let new = write(disk, "swap/a.new", b"new").await;
    new.sync().await.expect("sync");
    disk.rename("swap/a.new", "swap/a").await.expect("rename");
    let disk = crash();
    let file = disk.open("swap/a").await.expect("one of the two is there");
    let bytes = read(&*file, 0, 9).await;
    assert!(
        bytes == b"old" || bytes == b"new",
        "neither the old file nor the new one: {bytes:?}"
    );

    let newer = write(&*disk, "swap/b", b"newer").await;
    newer.sync().await.expect("sync");
    disk.rename("swap/b", "swap/a").await.expect("rename");
    disk.sync_dir("swap").await.expect("sync the folder");
    let disk = crash();
    let file = disk.open("swap/a").await.expect("open");
    assert_eq!(read(&*file, 0, 9).await, b"newer", "a synced rename stays");
}

async fn write(disk: &dyn Disk, path: &str, bytes: &[u8]) -> Arc<dyn File> {
    let file = disk.create(path).await.expect("create");
    file.write_at(0, vec![Bytes::copy_from_slice(bytes)])
        .await
        .expect("write");
    file
}

async fn read(file: &dyn File, offset: u64, len: usize) -> Vec<u8> {
    file.read_at(offset, len).await.expect("read").to_vec()
}
