//! What the SDK needs of the world around it: time that passes, the time that it is, credentials, an address.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_smithy_async::rt::sleep::{AsyncSleep, Sleep};
use aws_smithy_async::time::TimeSource;
use net::clock::Clock;
use net::rt;
use storage::s3::aws_sdk_s3::config::Builder;
use storage::s3::{S3Cold, S3Options};

use super::connector::Connections;
use super::{BUCKET, FalseS3, KEY_ID, REGION, SECRET};

impl FalseS3 {
    /// What reaches it, with the right credentials and the usual patience.
    #[must_use]
    pub fn options(&self) -> S3Options {
        S3Options {
            region: Some(REGION.to_owned()),
            endpoint: Some(format!("http://{}", self.addr())),
            path_style: true,
            access_key_id: Some(KEY_ID.to_owned()),
            secret_access_key: Some(SECRET.to_owned().into()),
            ..S3Options::new(BUCKET)
        }
    }

    /// The true cold store for a node with this clock: all that it starts runs on the host of whoever uses it.
    ///
    /// # Panics
    /// If the options make no sense.
    #[must_use]
    pub fn open(&self, options: S3Options, clock: Arc<dyn Clock>) -> S3Cold {
        let outside = Builder::new()
            .http_client(Connections::default())
            .sleep_impl(Timer)
            .time_source(WallClock(clock));
        S3Cold::with_config(options, outside).expect("there are a bucket, a region and a timer")
    }
}

/// Time passes as `net::rt` says.
#[derive(Debug)]
struct Timer;

impl AsyncSleep for Timer {
    fn sleep(&self, duration: Duration) -> Sleep {
        Sleep::new(rt::sleep(duration))
    }
}

/// The clock of a node.
struct WallClock(Arc<dyn Clock>);

impl TimeSource for WallClock {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(self.0.now_ms())
    }
}

impl fmt::Debug for WallClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WallClock")
    }
}
