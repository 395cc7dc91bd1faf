//! The neighbour of an attacker: an application in the same process, fed at half of what it can take, its outcome held
//! against what it was fed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use millstream::log::{Fetched, Isolation, Log, Options};
use millstream::wasm::{Compiler, Engine};
use millstream_engine::config::Limits;
use millstream_engine::record::{Headers, Record};
use rustix::process::Signal;
use serde_json::Value;
use tests::chaos::outside::{Outside, Row, Values};
use tests::guests;
use tests::http::get;
use tests::logs::{DEADLINE, Kind, TestLog, eventually, new_topic};
use tests::millstream::{Millstream, Output, Running};

/// How long an attack lasts at least: some thirty commit intervals.
const ATTACK: Duration = Duration::from_secs(3);

/// Distinct keys of the feed.
const KEYS: usize = 50;

/// Between two portions of the feed.
const PORTION: Duration = Duration::from_millis(20);

/// Records that its capacity is measured with.
const MEASURED: usize = 200_000;

const PARTITIONS: i32 = 2;

static WORD_COUNT: LazyLock<PathBuf> = LazyLock::new(|| {
    let engine = Engine::new(Limits::default().stack, Compiler::in_process()).expect("the engine starts");
    guests::plugin(&engine, "plugins/word-count").expect("word-count builds")
});

/// The component that the neighbour runs.
pub fn word_count() -> &'static Path {
    &WORD_COUNT
}

/// A process of two applications on an embedded log of its own.
pub struct Street {
    pub mill: Millstream,
    pub log: Arc<dyn Log>,
    running: Option<Running>,
    address: String,
}

/// How the neighbour fared.
#[derive(Debug)]
pub struct Fared {
    pub records: usize,
    pub per_s: f64,
    pub p99: Duration,
}

impl Street {
    pub fn new() -> Street {
        let mill = Millstream::new("embedded:log");
        let url = format!("embedded:{}", mill.dir().join("log").display());
        let log = millstream::log::open(&url, &Options::default()).expect("an empty directory becomes a log");
        let street = Street { mill, log, running: None, address: String::new() };
        street.topic("lines", PARTITIONS);
        street.topic("counts", PARTITIONS);
        street.app("neighbour", "");
        street
    }

    /// An application that counts words, in a directory of this name; `manifest`: what its manifest says besides.
    pub fn app(&self, id: &str, manifest: &str) {
        std::fs::create_dir(self.mill.dir().join(id)).expect("a directory can be made");
        let component = word_count().display();
        let whole = format!("id = \"{id}\"\ncomponent = \"{component}\"\n{manifest}");
        self.mill.write(&format!("{id}/app.toml"), &whole);
    }

    pub fn topic(&self, name: &str, partitions: i32) {
        self.log.create(&new_topic(name, partitions)).expect("a topic can be created");
    }

    /// Writes values without keys, over all partitions.
    pub fn produce(&self, topic: &str, partitions: i32, values: impl IntoIterator<Item = String>) {
        let mut writer = self.log.writer().expect("a writer opens");
        for (number, value) in values.into_iter().enumerate() {
            let record = record(&value);
            writer.send(topic, Some(number as i32 % partitions), record).expect("a record can be sent");
        }
        writer.flush().expect("sent records are acknowledged");
    }

    /// Starts the applications of these directories, and waits until the neighbour runs.
    pub fn start(&mut self, apps: &[&str]) {
        self.start_with(apps, |_| {});
    }

    /// The same, of a process that `prepare` makes special.
    pub fn start_with(&mut self, apps: &[&str], prepare: impl FnOnce(&mut Command)) {
        let mut running = self.mill.start_with(&[&["run"], apps, &["--http", "0"]].concat(), prepare);
        self.address = running.address();
        self.running = Some(running);
        eventually("the neighbour runs", || (self.status("neighbour")["state"] == "RUNNING").then_some(()));
    }

    pub fn status(&self, app: &str) -> Value {
        get(&self.address, &format!("/v1/apps/{app}/status")).is(200).json()
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    pub fn metrics(&self) -> String {
        get(&self.address, "/metrics").is(200).body
    }

    /// All committed records of a topic, as somebody reads them who shares no code with what made them.
    pub fn outside(&self, topic: &str, values: Values) -> Vec<Row> {
        Outside::Embedded(&self.mill).read(topic, values)
    }

    /// The same of a topic of one partition, once so many records are there.
    pub fn outside_once(&self, topic: &str, wanted: usize, values: Values) -> Vec<Row> {
        let log = TestLog { kind: Kind::Embedded, log: self.log.clone(), dir: None };
        eventually(topic, || (log.read(topic, 0).len() >= wanted).then_some(()));
        self.outside(topic, values)
    }

    /// What the process has said on stderr.
    pub fn said(&self) -> String {
        self.running.as_ref().expect("it runs").said()
    }

    /// Of the process.
    pub fn id(&self) -> u32 {
        self.running.as_ref().expect("it runs").id()
    }

    /// Feeds the neighbour at a rate for as long as an attack lasts, and waits for all that must come of it: of each
    /// word the counts 1 to n, in order.
    pub fn feed(&self, per_s: f64) -> Fared {
        let began = Instant::now();
        let watching = std::thread::spawn({
            let (log, records) = (self.log.clone(), (per_s * ATTACK.as_secs_f64()) as usize);
            move || watch(&*log, records)
        });
        let fed = self.produce_evenly(per_s, began);
        let seen = watching.join().expect("the neighbour's outcome is exact");
        check_counts(&self.outside("counts", Values::Number), fed.iter().map(|(word, fed)| (&**word, fed.len())));
        let mut latencies: Vec<Duration> = seen
            .iter()
            .zip(fed.values())
            .flat_map(|(seen, fed)| {
                assert_eq!(seen.0.len(), fed.len(), "each record is counted once");
                seen.0.iter().zip(fed).map(|(seen, fed)| seen.saturating_duration_since(*fed))
            })
            .collect();
        latencies.sort();
        let last = seen.iter().filter_map(|seen| seen.0.last()).max().expect("something was fed");
        let records = latencies.len();
        let took = last.saturating_duration_since(began);
        Fared { records, per_s: records as f64 / took.as_secs_f64(), p99: latencies[records * 99 / 100] }
    }

    /// When each record of each word was handed to the log.
    fn produce_evenly(&self, per_s: f64, began: Instant) -> BTreeMap<String, Vec<Instant>> {
        let mut writer = self.log.writer().expect("a writer opens");
        let mut fed: BTreeMap<String, Vec<Instant>> = BTreeMap::new();
        let records = (per_s * ATTACK.as_secs_f64()) as usize;
        let mut sent = 0;
        while sent < records {
            let due = ((began.elapsed().as_secs_f64() * per_s) as usize).min(records);
            for number in sent..due {
                let word = word(number);
                writer.send("lines", Some(number as i32 % PARTITIONS), record(&word)).expect("a record can be sent");
                fed.entry(word).or_default().push(Instant::now());
            }
            writer.flush().expect("sent records are acknowledged");
            sent = due;
            std::thread::sleep(PORTION);
        }
        fed
    }

    /// Ends the process as an operator would.
    pub fn stop(&mut self) -> Output {
        let running = self.running.take().expect("it runs");
        running.signal(Signal::TERM);
        running.finish()
    }
}

/// Half of what the neighbour can take, in records a second, measured once: alone, from the first record
/// to the last count, the producing included.
pub fn half_rate() -> f64 {
    static RATE: Mutex<Option<f64>> = Mutex::new(None);
    let mut rate = RATE.lock().unwrap_or_else(PoisonError::into_inner);
    *rate.get_or_insert_with(|| {
        let mut street = Street::new();
        street.start(&["neighbour"]);
        let began = Instant::now();
        street.produce("lines", PARTITIONS, (0..MEASURED).map(word));
        watch(&*street.log, MEASURED);
        let capacity = MEASURED as f64 / began.elapsed().as_secs_f64();
        street.stop().ok();
        println!("the neighbour takes {capacity:.0} records a second");
        capacity / 2.0
    })
}

fn word(number: usize) -> String {
    format!("word{:02}", number % KEYS)
}

fn record(value: &str) -> Record<'_> {
    Record { key: None, value: Some(value.as_bytes()), headers: Headers(b""), timestamp: 1_700_000_000_000 }
}

/// Of each word the counts 1 to n, in order, and no other word.
#[track_caller]
pub fn check_counts<'a>(counts: &[Row], fed: impl IntoIterator<Item = (&'a str, usize)>) {
    let mut counted: BTreeMap<&str, usize> = BTreeMap::new();
    for row in counts {
        let count = counted.entry(&row.key).or_default();
        *count += 1;
        assert_eq!(row.value.as_u64(), Some(*count as u64), "no gap and no repeat: {row:?}");
    }
    assert_eq!(counted, fed.into_iter().collect::<BTreeMap<_, _>>(), "each word as often as it was fed");
}

/// When each count of a word was there to be read, in order.
struct Seen(Vec<Instant>);

/// Reads committed counts until so many are there, and when; every one is the next of its word. What came is judged a
/// second time from outside.
fn watch(log: &dyn Log, records: usize) -> Vec<Seen> {
    let mut reader = log.reader(Isolation::Committed).expect("a reader opens");
    let all: Vec<_> = (0..PARTITIONS).map(|partition| ("counts".to_owned(), partition, 0)).collect();
    reader.assign(&all).expect("topics can be read");
    let (began, mut seen, mut left) = (Instant::now(), BTreeMap::<Vec<u8>, Seen>::new(), records);
    while left > 0 {
        assert!(began.elapsed() < ATTACK + DEADLINE, "{left} counts of {records} are missing");
        let mut fetched = Vec::new();
        reader.poll(Duration::from_millis(5), &mut fetched).expect("a reader polls");
        for one in fetched {
            let Fetched::Records { records, .. } = one else { continue };
            for (_, record) in records.iter() {
                let key = record.key.expect("a count has a word").to_vec();
                let count = i64::from_be_bytes(record.value.expect("a count").try_into().expect("a count has 8 bytes"));
                let counts = seen.entry(key).or_insert(Seen(Vec::new()));
                counts.0.push(Instant::now());
                assert_eq!(count, counts.0.len() as i64, "no gap and no repeat");
                left -= 1;
            }
        }
    }
    seen.into_values().collect()
}
