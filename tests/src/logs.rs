//! The logs under test, and the short words the log suite is written in.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Once};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use millstream::log::{Error, Fetched, Isolation, Log, NewTopic, Options, Reader, Result};
use millstream_engine::record::{Headers, Record, Records, push_header};

/// `host:port` of the Kafka to test on. Without it only the embedded log is tested.
pub const KAFKA: &str = "MILLSTREAM_TEST_KAFKA";

/// How long any one thing may take. Generous: a Kafka group of a cold broker needs seconds to form, and on a machine
/// whose disk is busy a synced commit of the embedded log may take a second.
pub const DEADLINE: Duration = Duration::from_secs(300);

/// One wait inside a loop that looks at a deadline.
pub const STEP: Duration = Duration::from_millis(200);

/// One log under test. The embedded one lives as long as this value.
pub struct TestLog {
    pub kind: Kind,
    pub log: Arc<dyn Log>,
    /// Removed with this value.
    pub dir: Option<tempfile::TempDir>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Embedded,
    Kafka,
}

/// Runs a test on each log there is. A failure says on which one.
pub fn each_log(test: impl Fn(&TestLog)) {
    for log in [Some(embedded()), kafka()].into_iter().flatten() {
        let _named = NamedOnPanic(log.kind);
        test(&log);
    }
}

/// An embedded log in a directory of its own.
pub fn embedded() -> TestLog {
    let dir = tempfile::tempdir().expect("a temporary directory can be made");
    let url = format!("embedded:{}", dir.path().display());
    let log = millstream::log::open(&url, &Options::default()).expect("an empty directory becomes a log");
    TestLog { kind: Kind::Embedded, log, dir: Some(dir) }
}

/// The Kafka of the environment, shared by all tests: every test uses names of its own.
pub fn kafka() -> Option<TestLog> {
    let Ok(broker) = std::env::var(KAFKA) else {
        say_that_kafka_is_skipped();
        return None;
    };
    Some(kafka_at(&broker, &[]))
}

/// A Kafka by its address, with properties of librdkafka's.
pub fn kafka_at(broker: &str, properties: &[(&str, &str)]) -> TestLog {
    let kafka = properties.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
    let options = Options { kafka, ..Options::default() };
    let log = millstream::log::open(&format!("kafka://{broker}"), &options).expect("opening does not need a broker");
    TestLog { kind: Kind::Kafka, log, dir: None }
}

/// Past the test harness, which swallows what passing tests print.
fn say_that_kafka_is_skipped() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let _ =
            writeln!(std::io::stderr(), "\n!!! KAFKA SKIPPED: {KAFKA} is not set; only the embedded log is tested\n");
    });
}

struct NamedOnPanic(Kind);

impl Drop for NamedOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("failed on the {:?} log", self.0);
        }
    }
}

/// A name no other test and no other run uses.
pub fn unique(name: &str) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970").as_nanos();
    format!("{name}-{:x}-{:x}-{}", now, std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Repeats until there is an answer; fails the test after [`DEADLINE`].
pub fn eventually<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = attempt() {
            return found;
        }
        assert!(start.elapsed() < DEADLINE, "{what}: not within {DEADLINE:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

// === topics ===

pub fn new_topic(name: &str, partitions: i32) -> NewTopic {
    NewTopic { name: name.to_owned(), partitions, replication_factor: None, configs: BTreeMap::new() }
}

/// As changelogs are.
pub fn compacted_topic(name: &str, partitions: i32) -> NewTopic {
    let configs = [("cleanup.policy".to_owned(), "compact".to_owned())].into();
    NewTopic { configs, ..new_topic(name, partitions) }
}

impl TestLog {
    /// A new topic with a name of its own.
    pub fn topic(&self, name: &str, partitions: i32) -> String {
        let name = unique(name);
        self.log.create(&new_topic(&name, partitions)).expect("a topic can be created");
        name
    }

    /// Writes values without keys to one partition and waits until they are acknowledged.
    pub fn produce(&self, topic: &str, partition: i32, values: &[&str]) {
        let mut writer = self.log.writer().expect("a writer opens");
        for value in values {
            writer.send(topic, Some(partition), text(value)).expect("a record can be sent");
        }
        writer.flush().expect("sent records are acknowledged");
    }

    /// Every record a committed reader finds in a partition.
    pub fn read(&self, topic: &str, partition: i32) -> Vec<Owned> {
        self.read_isolated(topic, partition, Isolation::Committed)
    }

    pub fn read_isolated(&self, topic: &str, partition: i32, isolation: Isolation) -> Vec<Owned> {
        let end = self.log.offsets(topic, partition).expect("a topic has offsets").end;
        let mut reader = self.log.reader(isolation).expect("a reader opens");
        reader.assign(&[(topic.to_owned(), partition, 0)]).expect("a topic can be read");
        read_to(&mut *reader, end).0
    }

    /// The values of a partition, as text.
    pub fn values(&self, topic: &str, partition: i32) -> Vec<String> {
        self.read(topic, partition).iter().map(Owned::text).collect()
    }
}

/// Polls a reader of one partition until it says that everything below `end` was delivered: the records, and the
/// offset it named.
pub fn read_to(reader: &mut dyn Reader, end: i64) -> (Vec<Owned>, i64) {
    let start = Instant::now();
    let mut found = Vec::new();
    loop {
        assert!(start.elapsed() < DEADLINE, "no end at {end} within {DEADLINE:?}; {} records came", found.len());
        let mut out = Vec::new();
        reader.poll(STEP, &mut out).expect("a reader polls");
        for fetched in out {
            match fetched {
                Fetched::Records { records, .. } => found.extend(owned(&records)),
                Fetched::End { offset, .. } if offset >= end => return (found, offset),
                Fetched::End { .. } => {}
                Fetched::Truncated { offset, .. } => panic!("offset {offset} is not in the log"),
            }
        }
    }
}

/// Polls until something comes that is not an error, or the error.
pub fn first_error(reader: &mut dyn Reader) -> Result<Error> {
    let start = Instant::now();
    while start.elapsed() < DEADLINE {
        if let Err(error) = reader.poll(STEP, &mut Vec::new()) {
            return Ok(error);
        }
    }
    Err(Error::refused("poll", "no error came"))
}

// === records ===

/// A record that outlives its batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owned {
    pub offset: i64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Option<Vec<u8>>)>,
    pub timestamp: i64,
}

impl Owned {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(self.value.as_deref().unwrap_or(b"<null>")).into_owned()
    }
}

pub fn owned(records: &Records) -> Vec<Owned> {
    let one = |(offset, record): (i64, Record<'_>)| Owned {
        offset,
        key: record.key.map(<[u8]>::to_vec),
        value: record.value.map(<[u8]>::to_vec),
        headers: record.headers.iter().map(|(n, v)| (n.to_owned(), v.map(<[u8]>::to_vec))).collect(),
        timestamp: record.timestamp,
    };
    records.iter().map(one).collect()
}

/// Milliseconds of the records that tests write, some day in 2023.
pub const THEN: i64 = 1_700_000_000_000;

/// A record with nothing but a value.
pub fn text(value: &str) -> Record<'_> {
    Record { key: None, value: Some(value.as_bytes()), headers: Headers(b""), timestamp: THEN }
}

/// A record of key and value.
pub fn pair<'a>(key: &'a str, value: &'a str) -> Record<'a> {
    Record { key: Some(key.as_bytes()), ..text(value) }
}

/// Headers as a record carries them.
pub fn headers(all: &[(&str, Option<&[u8]>)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in all {
        push_header(&mut bytes, name, *value);
    }
    bytes
}
