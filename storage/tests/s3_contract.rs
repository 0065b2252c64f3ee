//! The cold store in S3 keeps the contract of the seam, against a real server that the tests start and end: moto.
#![expect(
    clippy::disallowed_methods,
    reason = "a test of the real thing, outside of any world"
)]

#[path = "s3/moto.rs"]
mod moto;

use std::{cell::Cell, io, sync::Arc};

use bytes::Bytes;
use futures_util::{FutureExt, future::join_all};
use moto::Moto;
use storage::{
    cold::Cold,
    contract,
    error::ColdError,
    s3::{Encryption, S3Cold, S3Options},
};

/// With keys and an endpoint given there is nothing to wait for.
fn open(options: S3Options) -> S3Cold {
    S3Cold::open(options)
        .now_or_never()
        .expect("no chain is asked")
        .unwrap()
}

fn io_error(error: ColdError) -> io::Error {
    match error {
        ColdError::Io(error) => error,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn keeps_the_contract() {
    let moto = Moto::shared();
    let stores = Cell::new(0);
    contract::cold::all(&|| {
        stores.set(stores.get() + 1);
        Arc::new(open(moto.options(&format!("contract/{}", stores.get()))))
    })
    .await;
}

#[tokio::test]
async fn ten_who_put_one_name_have_one_winner() {
    let moto = Moto::shared();
    let stores: Vec<S3Cold> = (0..10).map(|_| open(moto.options("race"))).collect();
    for round in 0..3 {
        let name = format!("round/{round}");
        let bodies: Vec<Bytes> = (0..stores.len())
            .map(|racer| Bytes::from(vec![racer as u8; 3000]))
            .collect();
        let racers = stores.iter().zip(&bodies);
        let puts = join_all(racers.map(|(store, body)| store.put_if_absent(&name, vec![body.clone()]))).await;
        let winners: Vec<usize> = (0..puts.len()).filter(|racer| puts[*racer].is_ok()).collect();
        assert_eq!(winners.len(), 1, "{puts:?}");
        let losers = puts.iter().filter(|put| matches!(put, Err(ColdError::Exists))).count();
        assert_eq!(losers, 9, "{puts:?}");
        let object = stores[0].get_range(&name, 0..5000).await.unwrap();
        assert_eq!(object, bodies[winners[0]]);
    }
}

#[tokio::test]
async fn the_probe_passes_and_leaves_nothing() {
    let moto = Moto::shared();
    let cold = open(moto.options("probed"));
    cold.probe("one").await.unwrap();
    cold.probe("one").await.unwrap();
    assert_eq!(cold.list("", None, 10).await.unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn two_prefixes_of_a_bucket_do_not_see_each_other() {
    let moto = Moto::shared();
    let (one, two, whole) = (
        open(moto.options("/two/1/")),
        open(moto.options("two/10")),
        open(moto.options("")),
    );
    one.put_if_absent("a", vec![Bytes::from_static(b"of one")])
        .await
        .unwrap();
    assert!(matches!(two.get_range("a", 0..9).await, Err(ColdError::NotFound)));
    two.put_if_absent("a", vec![Bytes::from_static(b"of two")])
        .await
        .unwrap();
    assert_eq!(one.list("", None, 10).await.unwrap(), ["a"]);
    assert_eq!(one.get_range("a", 0..9).await.unwrap(), "of one");
    assert_eq!(whole.list("two/", None, 10).await.unwrap(), ["two/1/a", "two/10/a"]);
}

#[tokio::test]
async fn an_object_of_megabytes_in_many_pieces_comes_back_whole_and_in_ranges() {
    let moto = Moto::shared();
    let cold = open(S3Options {
        encryption: Encryption::Aes256,
        ..moto.options("large")
    });
    let whole: Bytes = (0..3_000_000_u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    let pieces = (0..30)
        .map(|piece| whole.slice(piece * 100_000..(piece + 1) * 100_000))
        .collect();
    cold.put_if_absent("a", pieces).await.unwrap();
    assert!(cold.get_range("a", 0..u64::MAX).await.unwrap() == whole);
    assert!(cold.get_range("a", 1_234_567..2_345_678).await.unwrap() == whole[1_234_567..2_345_678]);
    assert!(cold.get_range("a", 2_999_990..3_000_010).await.unwrap() == whole[2_999_990..]);
    for beyond in [3_000_000..3_000_001, 5_000_000..u64::MAX, u64::MAX - 1..u64::MAX] {
        assert!(cold.get_range("a", beyond).await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_bucket_that_is_not_there_is_told_as_that() {
    let moto = Moto::shared();
    let cold = open(S3Options {
        bucket: "nobodys".to_owned(),
        ..moto.options("")
    });
    let errors = [
        cold.put_if_absent("a", vec![]).await.unwrap_err(),
        cold.get_range("a", 0..1).await.unwrap_err(),
        cold.get_range("a", 1..1).await.unwrap_err(),
        cold.list("", None, 1).await.unwrap_err(),
        cold.delete("a").await.unwrap_err(),
        cold.probe("one").await.unwrap_err(),
    ];
    for error in errors.map(io_error) {
        assert_eq!(error.kind(), io::ErrorKind::NotFound, "{error}");
        assert!(
            error
                .to_string()
                .contains("there is no bucket nobodys at http://127.0.0.1"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_certificate_of_ones_own_is_trusted_where_its_file_is_set_and_only_there() {
    let folder = tempfile::tempdir().unwrap();
    let moto = Moto::by_tls(folder.path());
    let trusting = |file: &str| {
        open(S3Options {
            ca_file: Some(folder.path().join(file)),
            attempts: 1,
            ..moto.options("")
        })
    };
    let error = io_error(trusting("other.pem").list("", None, 1).await.unwrap_err());
    assert_eq!(error.kind(), io::ErrorKind::PermissionDenied, "{error}");
    assert!(error.to_string().contains("is not trusted"), "{error}");
    // It has no bucket; that it says so is enough.
    let error = io_error(trusting("ca.pem").list("", None, 1).await.unwrap_err());
    assert!(error.to_string().contains("there is no bucket"), "{error}");
}
