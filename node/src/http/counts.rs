//! What was answered, counted: by method and status, and how long clients waited for the first byte.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::{Method, StatusCode};

use crate::admin::exposition::{Exposition, Kind};

/// Methods that are told apart.
const METHODS: [&str; 7] = ["GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS", "other"];

/// Statuses from 100 to 599, each with its own count; the server makes no others.
const STATUSES: usize = 500;

/// What a request was for, as far as its time is concerned. A live read waits because it was asked to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Errand {
    Write,
    Read,
    Live,
}

const ERRANDS: [(Errand, &str); 3] = [(Errand::Write, "write"), (Errand::Read, "read"), (Errand::Live, "live")];

/// Upper bounds of the buckets in microseconds; what took longer is in one more.
const BOUNDS_US: [u64; 14] = [
    250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 10_000_000,
];

/// Counts of one node.
pub(super) struct Counts {
    answers: Box<[AtomicU64]>,
    times: [Times; ERRANDS.len()],
}

#[derive(Default)]
struct Times {
    buckets: [AtomicU64; BOUNDS_US.len() + 1],
    sum_us: AtomicU64,
}

impl Counts {
    pub(super) fn new() -> Self {
        Self {
            answers: (0..METHODS.len() * STATUSES).map(|_| AtomicU64::new(0)).collect(),
            times: Default::default(),
        }
    }

    /// A request was answered this long after its head had been read; the rest of the answer may still be on its way.
    pub(super) fn answered(&self, method: &Method, query: Option<&str>, status: StatusCode, after: Duration) {
        let last = METHODS.len() - 1;
        let method_at = METHODS.iter().position(|name| name == &method.as_str()).unwrap_or(last);
        let status_at = usize::from(status.as_u16()).saturating_sub(100).min(STATUSES - 1);
        self.answers[method_at * STATUSES + status_at].fetch_add(1, Ordering::Relaxed);

        let errand = match *method {
            Method::PUT | Method::POST | Method::DELETE => Errand::Write,
            _ if query.is_some_and(|query| query.split('&').any(|pair| pair.starts_with("live="))) => Errand::Live,
            _ => Errand::Read,
        };
        let times = &self.times[ERRANDS.iter().position(|(of, _)| *of == errand).unwrap_or_default()];
        let us = u64::try_from(after.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS_US.partition_point(|bound| *bound < us);
        times.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        times.sum_us.fetch_add(us, Ordering::Relaxed);
    }

    /// Adds the families of HTTP to a page.
    pub(super) fn show(&self, page: &mut Exposition) {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        page.family(
            "holdfast_http_requests_total",
            Kind::Counter,
            "Requests answered, by method and status.",
        );
        for (at, count) in self.answers.iter().enumerate() {
            let (method, status) = (METHODS[at / STATUSES], at % STATUSES + 100);
            match read(count) {
                0 => {}
                count => page.sample(&[("method", &method), ("status", &status)], count),
            }
        }
        page.family(
            "holdfast_http_first_byte_seconds",
            Kind::Histogram,
            "From a request's head to its answer's head.",
        );
        for ((_, errand), times) in ERRANDS.iter().zip(&self.times) {
            let mut sum = 0;
            for (at, count) in times.buckets.iter().enumerate() {
                sum += read(count);
                match BOUNDS_US.get(at) {
                    Some(bound) => {
                        let seconds = *bound as f64 / 1e6;
                        page.sample_of("_bucket", &[("errand", errand), ("le", &seconds)], sum);
                    }
                    None => page.sample_of("_bucket", &[("errand", errand), ("le", &"+Inf")], sum),
                }
            }
            let seconds = read(&times.sum_us) as f64 / 1e6;
            page.sample_of("_sum", &[("errand", errand)], seconds);
            page.sample_of("_count", &[("errand", errand)], sum);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_counted_where_they_belong() {
        let counts = Counts::new();
        let answered = |method: Method, query, status: u16, us| {
            let status = StatusCode::from_u16(status).expect("a status");
            counts.answered(&method, query, status, Duration::from_micros(us));
        };
        answered(Method::POST, None, 204, 250);
        answered(Method::POST, None, 204, 251);
        answered(Method::GET, Some("offset=-1"), 200, 20_000_000);
        answered(Method::GET, Some("offset=-1&live=sse"), 200, 100);
        answered(Method::from_bytes(b"BREW").expect("a method"), None, 405, 1);
        let mut page = Exposition::default();
        counts.show(&mut page);
        let page = page.into_text();
        for line in [
            "holdfast_http_requests_total{method=\"POST\",status=\"204\"} 2",
            "holdfast_http_requests_total{method=\"GET\",status=\"200\"} 2",
            "holdfast_http_requests_total{method=\"other\",status=\"405\"} 1",
            "holdfast_http_first_byte_seconds_bucket{errand=\"write\",le=\"0.00025\"} 1",
            "holdfast_http_first_byte_seconds_bucket{errand=\"write\",le=\"0.0005\"} 2",
            "holdfast_http_first_byte_seconds_bucket{errand=\"read\",le=\"10\"} 1",
            "holdfast_http_first_byte_seconds_bucket{errand=\"read\",le=\"+Inf\"} 2",
            "holdfast_http_first_byte_seconds_count{errand=\"live\"} 1",
            "holdfast_http_first_byte_seconds_sum{errand=\"write\"} 0.000501",
        ] {
            assert!(page.lines().any(|found| found == line), "{line} is not in\n{page}");
        }
    }
}
