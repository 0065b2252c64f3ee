//! Who writes what, and what must be found afterwards.
//!
//! Every record is a line `writer number`, padded. Plain writers send each number once, whatever comes of it; producers
//! send each number until it is acknowledged. Several of both share a stream.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use net::{rt, serve::Client};

use super::process::{client, get};

/// A line of a record is padded to this, bytes.
const LINE_BYTES: usize = 256;

/// An append that was answered 2xx.
#[derive(Clone, Copy, Debug)]
struct Acknowledged {
    sent: Instant,
    answered: Instant,
}

/// One stream and what its writers know about it.
struct Log {
    name: String,
    /// By writer and number.
    acknowledged: Mutex<BTreeMap<(usize, u64), Acknowledged>>,
}

/// Writers at work.
pub(crate) struct Workload {
    authorities: Vec<String>,
    logs: Vec<Arc<Log>>,
    writers: Vec<rt::JoinHandle<()>>,
    stop: Arc<AtomicBool>,
    count: Arc<AtomicU64>,
    unknown: Arc<AtomicU64>,
}

impl Workload {
    /// Creates the streams and sets writers to work: of every stream, two of each kind at every node.
    pub(crate) async fn start(authorities: &[String], streams: usize) -> Workload {
        let client = client();
        let mut load = Workload {
            authorities: authorities.to_vec(),
            logs: Vec::new(),
            writers: Vec::new(),
            stop: Arc::default(),
            count: Arc::default(),
            unknown: Arc::default(),
        };
        for at in 0..streams {
            let name = format!("log-{at}");
            create(&client, &authorities[at % authorities.len()], &name).await;
            load.logs.push(Arc::new(Log {
                name,
                acknowledged: Mutex::default(),
            }));
        }
        for (at, authority) in authorities.iter().enumerate() {
            for log in load.logs.clone() {
                for kind in 0..4 {
                    let writer = Writer {
                        id: at * 4 + kind,
                        producer: kind % 2 == 0,
                        uri: format!("http://{authority}/v1/stream/{}", log.name),
                        log: log.clone(),
                        client: super::process::client(),
                        stop: load.stop.clone(),
                        count: load.count.clone(),
                        unknown: load.unknown.clone(),
                    };
                    load.writers.push(rt::spawn("writer", writer.write()));
                }
            }
        }
        load
    }

    /// How many appends have been acknowledged.
    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::SeqCst)
    }

    /// Waits for so many more acknowledgements, which must come within seconds.
    pub(crate) async fn progress(&self, more: u64, why: &str) {
        let (from, began) = (self.count(), Instant::now());
        while self.count() < from + more {
            assert!(
                began.elapsed() < Duration::from_secs(25),
                "{why}: only {} of {more} appends acknowledged in 25 s",
                self.count() - from
            );
            rt::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Lets the writers finish what they are at.
    pub(crate) async fn stop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        for writer in self.writers.drain(..) {
            writer.await.expect("a writer does not panic");
        }
    }

    /// Reads every stream at every node, and holds it against what was acknowledged. A sentence on what was found.
    pub(crate) async fn verify(&self) -> String {
        let client = client();
        let mut stored = 0;
        for log in &self.logs {
            let mut first: Option<Bytes> = None;
            for authority in &self.authorities {
                let content = read(&client, authority, &log.name).await;
                if let Some(first) = &first {
                    assert!(*first == content, "{} differs at {authority}", log.name);
                }
                stored += log.judge(&content);
                first = Some(content);
            }
        }
        let stored = stored / self.authorities.len();
        let unknown = self.unknown.load(Ordering::SeqCst);
        assert!(self.count() > 0, "nothing was acknowledged, so nothing was tested");
        format!(
            "{} acknowledged, {unknown} without an answer, {stored} stored",
            self.count()
        )
    }
}

impl Log {
    /// Every acknowledged record is there, once; nothing is twice; order is kept. How many there are.
    fn judge(&self, content: &[u8]) -> usize {
        let name = &self.name;
        let acknowledged = self.acknowledged.lock().unwrap();
        let mut found = Vec::new();
        for line in content.split_inclusive(|byte| *byte == b'\n') {
            assert_eq!(
                line.len(),
                LINE_BYTES,
                "{name}: a torn record: {:?}",
                String::from_utf8_lossy(line)
            );
            let text = std::str::from_utf8(line).expect("only what was written");
            let mut words = text.split_whitespace();
            let mut number = || {
                words
                    .next()
                    .and_then(|word| word.parse::<u64>().ok())
                    .expect("only what was written")
            };
            let (writer, number) = (number() as usize, number());
            found.push((writer, number));
        }
        // Numbers of a writer only grow: nothing is stored twice or out of order.
        let mut last = BTreeMap::new();
        for (writer, number) in &found {
            let before = last.insert(writer, number);
            assert!(
                before < Some(number),
                "{name}: writer {writer}: {number} follows {before:?}"
            );
        }
        let there: std::collections::BTreeSet<_> = found.iter().copied().collect();
        let lost: Vec<_> = acknowledged.keys().filter(|key| !there.contains(key)).collect();
        assert!(
            lost.is_empty(),
            "{name}: acknowledged and lost: {} of {}: {lost:?}",
            lost.len(),
            acknowledged.len()
        );
        // What was answered before another was sent stands before it.
        let mut earliest_answer_after: Option<(Instant, (usize, u64))> = None;
        for key in found.iter().rev() {
            let Some(append) = acknowledged.get(key) else { continue };
            if let Some((answered, later)) = earliest_answer_after {
                assert!(
                    answered >= append.sent,
                    "{name}: {later:?} was answered before {key:?} was sent, and stands after"
                );
            }
            if earliest_answer_after.is_none_or(|(answered, _)| append.answered < answered) {
                earliest_answer_after = Some((append.answered, *key));
            }
        }
        found.len()
    }
}

/// One writer of one stream at one node.
struct Writer {
    id: usize,
    producer: bool,
    uri: String,
    log: Arc<Log>,
    client: Client,
    stop: Arc<AtomicBool>,
    count: Arc<AtomicU64>,
    unknown: Arc<AtomicU64>,
}

impl Writer {
    async fn write(self) {
        let mut number = 0;
        // When the number was first sent: a repeat that is acknowledged may have been stored then.
        let mut first_sent = None;
        while !self.stop.load(Ordering::SeqCst) {
            let sent = *first_sent.get_or_insert_with(Instant::now);
            let acknowledged = self.append(number).await;
            if acknowledged {
                let append = Acknowledged {
                    sent,
                    answered: Instant::now(),
                };
                self.log.acknowledged.lock().unwrap().insert((self.id, number), append);
                self.count.fetch_add(1, Ordering::SeqCst);
            } else {
                self.unknown.fetch_add(1, Ordering::SeqCst);
                rt::sleep(Duration::from_millis(20)).await;
            }
            if acknowledged || !self.producer {
                number += 1;
                first_sent = None;
            }
        }
    }

    /// Whether it was acknowledged. An answer that blames the writer is a failure of the test.
    async fn append(&self, number: u64) -> bool {
        let text = format!("{} {number}", self.id);
        let body = Bytes::from(format!("{text:<width$}\n", width = LINE_BYTES - 1));
        let mut request = Request::post(&self.uri).header("content-type", "text/plain");
        if self.producer {
            request = request.header("producer-id", format!("w{}", self.id));
            request = request
                .header("producer-epoch", "0")
                .header("producer-seq", number.to_string());
        }
        let request = request.body(Full::new(body)).expect("a valid request");
        match self.client.call(request, Duration::from_secs(5)).await {
            Err(_) => false,
            Ok(answer) if answer.status().is_success() => true,
            Ok(answer) if answer.status().is_server_error() => false,
            Ok(answer) => panic!("{} {number}: {} {:?}", self.uri, answer.status(), answer.body()),
        }
    }
}

/// Creates a stream, however long it takes for somebody to lead.
async fn create(client: &Client, authority: &str, name: &str) {
    let began = Instant::now();
    loop {
        let put = Request::put(format!("http://{authority}/v1/stream/{name}")).header("content-type", "text/plain");
        let put = put.body(Full::new(Bytes::new())).expect("a valid request");
        let answer = client.call(put, Duration::from_secs(5)).await;
        if let Ok(answer) = &answer
            && answer.status().is_success()
        {
            return;
        }
        assert!(
            began.elapsed() < Duration::from_secs(20),
            "creating {name} at {authority}: {answer:?}"
        );
        rt::sleep(Duration::from_millis(50)).await;
    }
}

/// The whole stream, as this node serves it.
async fn read(client: &Client, authority: &str, name: &str) -> Bytes {
    let mut content = Vec::new();
    let mut offset = "-1".to_owned();
    let began = Instant::now();
    loop {
        let answer = get(client, &format!("http://{authority}/v1/stream/{name}?offset={offset}")).await;
        match answer {
            Ok(answer) if answer.status() == 200 => {
                let header = |name| {
                    answer
                        .headers()
                        .get(name)
                        .map(|value| value.to_str().unwrap().to_owned())
                };
                content.extend_from_slice(answer.body());
                if header("stream-up-to-date").as_deref() == Some("true") {
                    return content.into();
                }
                offset = header("stream-next-offset").expect("every answer has it");
            }
            answer => {
                assert!(
                    began.elapsed() < Duration::from_secs(20),
                    "reading {name} at {authority}: {answer:?}"
                );
                rt::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}
