//! What the cold store in S3 makes of every kind of answer, against a store that answers what it is told to.
#![expect(
    clippy::disallowed_methods,
    reason = "a test of the real thing, outside of any world"
)]

#[path = "s3/fake.rs"]
mod fake;

use std::{
    collections::BTreeMap,
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use aws_credential_types::provider::{ProvideCredentials, error::CredentialsError, future};
use bytes::Bytes;
use fake::{Does, Fake, answer, raw, refuse};
use storage::{
    cold::Cold,
    error::ColdError,
    s3::{
        Encryption, S3Cold, S3Options,
        aws_sdk_s3::config::{self, AsyncSleep, Region, Sleep},
    },
};

async fn open(options: S3Options) -> S3Cold {
    S3Cold::open(options).await.unwrap()
}

fn io_error(error: ColdError) -> io::Error {
    match error {
        ColdError::Io(error) => error,
        other => panic!("{other:?}"),
    }
}

fn pieces() -> Vec<Bytes> {
    vec![Bytes::from_static(b"one "), Bytes::new(), Bytes::from_static(b"two")]
}

#[tokio::test]
async fn a_put_is_plain_conditional_and_checked() {
    let fake = Fake::new(|_, _| answer("200 OK", "etag: \"x\"\r\n", "")).await;
    open(fake.options()).await.put_if_absent("a/b", pieces()).await.unwrap();
    let asked = &fake.asked()[0];
    assert!(asked.head.starts_with("PUT /bucket/a/b?"), "{}", asked.head);
    assert_eq!(asked.header("if-none-match"), Some("*"));
    assert_eq!(asked.header("content-length"), Some("7"));
    assert_eq!(asked.header("content-encoding"), None);
    assert_eq!(asked.header("transfer-encoding"), None);
    // Header values come in small letters here: compared without regard to case.
    let crc = crc32c::crc32c(b"one two").to_be_bytes();
    let crc = aws_smithy_types::base64::encode(crc).to_ascii_lowercase();
    assert_eq!(asked.header("x-amz-checksum-crc32c"), Some(&*crc));
    assert_eq!(asked.body, b"one two");
}

#[tokio::test]
async fn encryption_is_asked_for_as_the_options_say() {
    let cases = [
        (Encryption::AsTheBucketSays, None, None),
        (Encryption::Aes256, Some("aes256"), None),
        (Encryption::Kms("key/1".to_owned()), Some("aws:kms"), Some("key/1")),
    ];
    for (encryption, kind, key) in cases {
        let fake = Fake::new(|_, _| answer("200 OK", "", "")).await;
        let options = S3Options {
            encryption,
            ..fake.options()
        };
        open(options).await.put_if_absent("a", pieces()).await.unwrap();
        let asked = &fake.asked()[0];
        assert_eq!(asked.header("x-amz-server-side-encryption"), kind);
        assert_eq!(asked.header("x-amz-server-side-encryption-aws-kms-key-id"), key);
    }
}

#[tokio::test]
async fn a_prefix_is_such_that_every_key_has_room_behind_it() {
    for prefix in ["a b", "a//b", "../a", &("x/".repeat(255) + "xx")] {
        let options = S3Options {
            prefix: prefix.to_owned(),
            ..Fake::new(|_, _| answer("200 OK", "", "")).await.options()
        };
        let error = io_error(S3Cold::open(options).await.unwrap_err());
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{error}");
    }
}

#[tokio::test]
async fn a_name_that_is_taken_is_told_as_that() {
    let fake = Fake::new(|_, _| refuse("412 Precondition Failed", "PreconditionFailed")).await;
    let put = open(fake.options()).await.put_if_absent("a", pieces()).await;
    assert!(matches!(put, Err(ColdError::Exists)), "{put:?}");
    assert_eq!(fake.asked().len(), 1);
}

#[tokio::test]
async fn a_put_whose_answer_is_lost_finds_its_own_object() {
    // The effect, no answer; then the SDK asks again.
    let fake = Fake::new(|number, _| match number {
        0 => Does::Answer(Vec::new()),
        _ => refuse("412 Precondition Failed", "PreconditionFailed"),
    })
    .await;
    let put = open(fake.options()).await.put_if_absent("a", pieces()).await;
    assert!(matches!(put, Err(ColdError::Exists)), "{put:?}");
    let asked = fake.asked();
    assert_eq!(asked.len(), 2);
    assert!(
        asked.iter().all(|asked| asked.body == b"one two"),
        "the body is sent again"
    );
}

#[tokio::test]
async fn a_store_that_asks_to_slow_down_is_asked_again() {
    let fake = Fake::new(|number, _| match number {
        0 => refuse("503 Slow Down", "SlowDown"),
        _ => answer("200 OK", "", ""),
    })
    .await;
    let cold = open(fake.options()).await;
    cold.put_if_absent("a", pieces()).await.unwrap();
    assert_eq!(fake.asked().len(), 2);
}

#[tokio::test]
async fn a_store_that_goes_on_failing_leaves_it_unknown() {
    let cases = [
        ("503 Slow Down", "SlowDown", io::ErrorKind::ResourceBusy, "less often"),
        (
            "500 Internal Server Error",
            "InternalError",
            io::ErrorKind::Other,
            "the store failed",
        ),
    ];
    for (status, code, kind, words) in cases {
        let fake = Fake::new(move |_, _| refuse(status, code)).await;
        let cold = open(S3Options {
            attempts: 1,
            ..fake.options()
        });
        let error = io_error(cold.await.put_if_absent("a", pieces()).await.unwrap_err());
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(words), "{error}");
        assert_eq!(fake.asked().len(), 1);
    }
}

#[tokio::test]
async fn what_the_credentials_may_not_is_told_with_what_to_do() {
    let cases = [
        ("InvalidAccessKeyId", "does not know the access key id"),
        ("SignatureDoesNotMatch", "the secret does not belong"),
        ("AccessDenied", "s3:PutObject, s3:GetObject and s3:DeleteObject"),
        ("RequestTimeTooSkewed", "the clock of this machine"),
        ("ExpiredToken", "renew them"),
        ("SomethingNew", "the policy"),
    ];
    for (code, words) in cases {
        let fake = Fake::new(move |_, _| refuse("403 Forbidden", code)).await;
        let cold = open(S3Options {
            attempts: 1,
            prefix: "below".to_owned(),
            ..fake.options()
        })
        .await;
        for error in [
            cold.put_if_absent("a", pieces()).await.unwrap_err(),
            cold.get_range("a", 0..1).await.unwrap_err(),
            cold.list("a", None, 1).await.unwrap_err(),
            cold.delete("a").await.unwrap_err(),
            cold.probe("one").await.unwrap_err(),
        ] {
            let error = io_error(error);
            assert_eq!(error.kind(), io::ErrorKind::PermissionDenied, "{error}");
            let told = error.to_string();
            for part in [words, code, "below/", "bucket", "R4711", "in other words"] {
                assert!(told.contains(part), "{part:?} is not in: {told}");
            }
            assert!(!told.contains("hush"), "{told}");
        }
    }
}

#[tokio::test]
async fn a_bucket_of_another_region_is_told_with_the_region() {
    let fake = Fake::new(|_, _| {
        let body = "<Error><Code>PermanentRedirect</Code><Message>elsewhere</Message></Error>";
        answer("301 Moved Permanently", "x-amz-bucket-region: eu-north-1\r\n", body)
    })
    .await;
    let error = io_error(open(fake.options()).await.list("", None, 1).await.unwrap_err());
    assert!(error.to_string().contains("in the region eu-north-1"), "{error}");
}

#[tokio::test]
async fn a_404_that_is_not_of_a_store_is_no_missing_object() {
    let fake = Fake::new(|_, _| answer("404 Not Found", "content-type: text/html\r\n", "<html>nginx</html>")).await;
    let error = io_error(open(fake.options()).await.get_range("a", 0..1).await.unwrap_err());
    assert!(error.to_string().contains("the endpoint of an S3 store"), "{error}");
    let fake = Fake::new(|_, _| refuse("404 Not Found", "NoSuchKey")).await;
    let got = open(fake.options()).await.get_range("a", 0..1).await;
    assert!(matches!(got, Err(ColdError::NotFound)), "{got:?}");
}

#[tokio::test]
async fn a_body_that_is_not_what_was_asked_for_is_never_data() {
    let cases = [
        (
            "206 Partial Content",
            "content-length: 10\r\ncontent-range: bytes 0-9/20\r\n",
            "0123",
            io::ErrorKind::UnexpectedEof,
        ),
        (
            "206 Partial Content",
            "content-range: bytes 0-9/20\r\n",
            "0123",
            io::ErrorKind::UnexpectedEof,
        ),
        (
            "206 Partial Content",
            "content-range: bytes 0-9/20\r\n",
            "0123456789x",
            io::ErrorKind::UnexpectedEof,
        ),
        (
            "206 Partial Content",
            "content-length: 4\r\ncontent-range: bytes 0-3/20\r\n",
            "0123",
            io::ErrorKind::InvalidData,
        ),
        (
            "206 Partial Content",
            "content-length: 10\r\ncontent-range: bytes 5-14/20\r\n",
            "5678901234",
            io::ErrorKind::InvalidData,
        ),
        (
            "200 OK",
            "content-length: 20\r\n",
            "01234567890123456789",
            io::ErrorKind::InvalidData,
        ),
    ];
    for (status, headers, body, kind) in cases {
        let fake = Fake::new(move |_, _| Does::Answer(raw(status, headers, body))).await;
        let error = io_error(open(fake.options()).await.get_range("a", 0..10).await.unwrap_err());
        assert_eq!(error.kind(), kind, "{error}");
        assert_eq!(fake.asked().len(), 1, "a body is not asked for again");
        assert_eq!(fake.asked()[0].header("range"), Some("bytes=0-9"));
    }
}

#[tokio::test]
async fn a_store_that_does_not_answer_is_told_as_late() {
    let never = Fake::new(|_, _| Does::Stall(Vec::new())).await;
    let cold = open(S3Options {
        attempts: 1,
        attempt_timeout: Duration::from_millis(200),
        ..never.options()
    });
    let error = io_error(cold.await.put_if_absent("a", pieces()).await.unwrap_err());
    assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{error}");
    assert!(error.to_string().contains("no answer from http://127.0.0.1"), "{error}");

    let headers = "content-length: 10\r\ncontent-range: bytes 0-9/20\r\n";
    let slow = Fake::new(move |_, _| Does::Stall(raw("206 Partial Content", headers, "0123"))).await;
    let cold = open(S3Options {
        operation_timeout: Duration::from_millis(300),
        ..slow.options()
    });
    let error = io_error(cold.await.get_range("a", 0..10).await.unwrap_err());
    assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{error}");
}

#[tokio::test]
async fn a_store_that_is_not_there_is_told_with_its_address() {
    let cold = open(S3Options {
        attempts: 1,
        // Discard: nobody listens.
        endpoint: Some("http://127.0.0.1:9".to_owned()),
        ..Fake::new(|_, _| refuse("500 Internal Server Error", ""))
            .await
            .options()
    });
    let error = io_error(cold.await.list("", None, 1).await.unwrap_err());
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused, "{error}");
    assert!(
        error.to_string().contains("http://127.0.0.1:9 cannot be reached"),
        "{error}"
    );
}

/// A timer that only counts what it was asked for, where that is short.
#[derive(Debug, Clone, Default)]
struct Counting(Arc<Mutex<Vec<Duration>>>);

impl AsyncSleep for Counting {
    fn sleep(&self, duration: Duration) -> Sleep {
        if duration > Duration::from_secs(2) {
            return Sleep::new(std::future::pending());
        }
        self.0.lock().unwrap().push(duration);
        Sleep::new(std::future::ready(()))
    }
}

fn outside(sleep: &Counting) -> config::Builder {
    config::Builder::new()
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .sleep_impl(sleep.clone())
        .region(Region::new("nowhere"))
}

#[tokio::test]
async fn a_race_that_is_not_decided_is_run_again_by_the_timer_handed_in() {
    let conflict = || refuse("409 Conflict", "ConditionalRequestConflict");
    let fake = Fake::new(move |number, _| {
        if number < 2 {
            conflict()
        } else {
            answer("200 OK", "", "")
        }
    })
    .await;
    let sleep = Counting::default();
    let cold = S3Cold::with_config(fake.options(), outside(&sleep)).unwrap();
    cold.put_if_absent("a", pieces()).await.unwrap();
    // The SDK looks after a body every 100 ms, too.
    let longer = |sleep: &Counting| -> Vec<Duration> {
        let slept = sleep.0.lock().unwrap();
        slept
            .iter()
            .copied()
            .filter(|time| *time > Duration::from_millis(100))
            .collect()
    };
    assert_eq!(longer(&sleep), [200].map(Duration::from_millis));
    assert!(fake.asked().iter().all(|asked| asked.body == b"one two"));

    let fake = Fake::new(move |_, _| conflict()).await;
    let cold = S3Cold::with_config(fake.options(), outside(&sleep)).unwrap();
    let error = io_error(cold.put_if_absent("a", pieces()).await.unwrap_err());
    assert!(error.to_string().contains("at the same time"), "{error}");
    assert_eq!(fake.asked().len(), 5);
    assert_eq!(longer(&sleep), [200, 200, 400, 800].map(Duration::from_millis));
}

#[tokio::test]
async fn a_configuration_without_a_timer_is_refused() {
    let fake = Fake::new(|_, _| answer("200 OK", "", "")).await;
    let error = S3Cold::with_config(fake.options(), config::Builder::new()).unwrap_err();
    assert!(error.to_string().contains("no timer"), "{error}");
}

#[tokio::test]
async fn a_chain_without_credentials_says_where_to_put_some() {
    #[derive(Debug)]
    struct Nobody;
    impl ProvideCredentials for Nobody {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            future::ProvideCredentials::ready(Err(CredentialsError::not_loaded_no_source()))
        }
    }
    let fake = Fake::new(|_, _| answer("200 OK", "", "")).await;
    let options = S3Options {
        access_key_id: None,
        secret_access_key: None,
        ..fake.options()
    };
    let config = outside(&Counting::default()).credentials_provider(Nobody);
    let cold = S3Cold::with_config(options, config).unwrap();
    let error = io_error(cold.list("", None, 1).await.unwrap_err());
    assert_eq!(error.kind(), io::ErrorKind::PermissionDenied, "{error}");
    assert!(error.to_string().contains("AWS_ACCESS_KEY_ID"), "{error}");
    assert!(fake.asked().is_empty());
}

/// An answer to ListObjectsV2, which names the next one by the number of the key it begins with.
fn listed(keys: &[String], next: Option<usize>) -> Does {
    let keys: String = keys
        .iter()
        .map(|key| format!("<Contents><Key>{key}</Key></Contents>"))
        .collect();
    let next = next.map_or(String::new(), |next| {
        format!("<NextContinuationToken>{next}</NextContinuationToken>")
    });
    let head = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>";
    answer(
        "200 OK",
        "",
        &format!("{head}<ListBucketResult>{next}{keys}</ListBucketResult>"),
    )
}

#[tokio::test]
async fn a_list_of_more_keys_than_fit_into_an_answer_goes_on() {
    let keys: Vec<String> = (0..2500).map(|n| format!("below/k{n:05}")).collect();
    let fake = Fake::new(move |_, asked| {
        let max: usize = asked.query("max-keys").unwrap().parse().unwrap();
        assert!(max <= 1000);
        let first = asked
            .query("continuation-token")
            .map_or(0, |token| token.parse().unwrap());
        let end = keys.len().min(first + max);
        listed(&keys[first..end], (end < keys.len()).then_some(end))
    })
    .await;
    let cold = open(S3Options {
        prefix: "below".to_owned(),
        ..fake.options()
    })
    .await;
    let found = cold.list("k", None, 2400).await.unwrap();
    assert_eq!((found.len(), &*found[0], &*found[2399]), (2400, "k00000", "k02399"));
    assert_eq!(fake.asked().len(), 3);
    assert_eq!(cold.list("k", None, usize::MAX).await.unwrap().len(), 2500);
}

#[tokio::test]
async fn what_is_not_ours_is_left_out_and_what_is_not_in_order_is_refused() {
    let keys = ["below/", "below/a", "below/b c", "below/d"].map(str::to_owned);
    let fake = Fake::new(move |_, _| listed(&keys, None)).await;
    let options = S3Options {
        prefix: "below".to_owned(),
        ..fake.options()
    };
    assert_eq!(open(options).await.list("", None, 9).await.unwrap(), ["a", "d"]);

    for keys in [["b", "a"], ["a", "a"], ["a", "x"]] {
        let fake = Fake::new(move |_, _| listed(&keys.map(|key| format!("below/p/{key}")), None)).await;
        let options = S3Options {
            prefix: "below".to_owned(),
            ..fake.options()
        };
        let after = (keys == ["a", "x"]).then_some("p/a");
        let error = io_error(open(options).await.list("p/", after, 9).await.unwrap_err());
        assert!(error.to_string().contains("in the order of keys"), "{error}");
    }
}

/// A store with objects. `lawful` says whether a name may be written that was written so many times.
async fn store(lawful: impl Fn(usize) -> bool + Send + Sync + 'static) -> Fake {
    let objects: Mutex<BTreeMap<String, (usize, Vec<u8>)>> = Mutex::default();
    Fake::new(move |_, asked| {
        let mut objects = objects.lock().unwrap();
        match asked.method() {
            "PUT" => {
                let writes = objects.get(asked.path()).map_or(0, |(writes, _)| *writes);
                if !lawful(writes) {
                    return refuse("412 Precondition Failed", "PreconditionFailed");
                }
                objects.insert(asked.path().to_owned(), (writes + 1, asked.body.clone()));
                answer("200 OK", "", "")
            }
            "GET" if asked.path().trim_end_matches('/') == "/bucket" => {
                let keys: Vec<String> = objects.keys().map(|path| path["/bucket/".len()..].to_owned()).collect();
                listed(&keys, None)
            }
            "GET" => match objects.get(asked.path()) {
                Some((_, body)) => answer("200 OK", "", std::str::from_utf8(body).unwrap()),
                None => refuse("404 Not Found", "NoSuchKey"),
            },
            _ => {
                objects.remove(asked.path());
                answer("204 No Content", "", "")
            }
        }
    })
    .await
}

#[tokio::test]
async fn the_probe_refuses_a_store_where_a_name_is_written_twice() {
    type Lawful = fn(usize) -> bool;
    let fits: [(Lawful, Option<&str>); 4] = [
        (|writes| writes < 1, None),
        (|_| true, Some("of 8 that raced for a name, 8 were told")),
        (|writes| writes < 2, Some("of 8 that raced for a name, 2 were told")),
        (|_| false, Some("no such object")),
    ];
    for (lawful, refused) in fits {
        let fake = store(lawful).await;
        let probed = open(fake.options()).await.probe("one").await;
        match refused {
            None => probed.unwrap(),
            Some(words) => {
                let told = probed.unwrap_err().to_string();
                assert!(told.contains(words), "{told}");
                if words.contains("raced") {
                    assert!(
                        told.contains("must not be used") && told.contains("If-None-Match"),
                        "{told}"
                    );
                }
            }
        }
        let last = fake.asked().pop().unwrap();
        assert_eq!(last.method(), "DELETE", "it cleans up");
    }
}

#[tokio::test]
async fn a_probe_whose_name_was_used_says_so_and_makes_way_for_the_next() {
    let fake = store(|writes| writes < 1).await;
    let cold = open(fake.options()).await;
    cold.put_if_absent("probe-one-0", pieces()).await.unwrap();
    let error = io_error(cold.probe("one").await.unwrap_err());
    assert_eq!(error.kind(), io::ErrorKind::AlreadyExists, "{error}");
    cold.probe("one").await.unwrap();
}

#[tokio::test]
async fn the_probe_bears_that_the_answer_of_the_winner_is_lost() {
    let lost = AtomicUsize::new(0);
    let inner: Mutex<Option<Vec<u8>>> = Mutex::default();
    let fake = Fake::new(move |_, asked| {
        let mut object = inner.lock().unwrap();
        match (asked.method(), &*object) {
            ("PUT", Some(_)) => refuse("412 Precondition Failed", "PreconditionFailed"),
            ("PUT", None) => {
                *object = Some(asked.body.clone());
                match lost.fetch_add(1, Ordering::Relaxed) {
                    0 => Does::Answer(Vec::new()),
                    _ => answer("200 OK", "", ""),
                }
            }
            ("GET", Some(_)) if asked.query("list-type").is_some() => {
                listed(&[asked.query("prefix").unwrap().to_owned()], None)
            }
            ("GET", Some(body)) => answer("200 OK", "", std::str::from_utf8(body).unwrap()),
            _ => {
                *object = None;
                answer("204 No Content", "", "")
            }
        }
    })
    .await;
    open(fake.options()).await.probe("one").await.unwrap();
}
