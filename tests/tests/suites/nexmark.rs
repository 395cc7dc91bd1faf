//! The queries of the Nexmark benchmark, all in one application, through the real component on each log and both providers:
//! what comes out in the end is what the events say.

use std::collections::BTreeMap;

use millstream_engine::record::{Headers, Record};
use nexmark_feed::{Fed, Feed, TOPICS};
use serde_json::Value;
use tests::application::Application;
use tests::auctions::{Answers, sorted};
use tests::chance::Chance;
use tests::logs::{Owned, TestLog, each_log};

/// The records are older than any retention of a window's changelog: a broker would delete it between two runs.
const KEPT: &str = "[changelog]\ntopic_configs = { \"retention.ms\" = \"-1\" }\n";

const PARTITIONS: i32 = 3;

/// A hundred seconds at [`RATE`]: ten windows.
const EVENTS: usize = 20_000;
const RATE: usize = 200;
/// Half a second: within what the sample takes.
const DISORDER: usize = 100;

const SEEDS: u64 = 1_000_000;
const TRIES: usize = 10;

#[test]
fn what_the_queries_answer_is_what_the_events_say() {
    let day = Day::with_disorder(1);
    each_log(|log| run(log, &day, &[1]));
}

/// Events out of order, in three parts with a restart between them.
#[test]
fn neither_disorder_nor_restarts_change_the_answers() {
    let day = Day::with_disorder(DISORDER);
    each_log(|log| run(log, &day, &[3, 2, 1]));
}

/// Events, and what is to be answered.
struct Day {
    feed: Feed,
    events: Vec<Fed>,
    answers: Answers,
}

impl Day {
    /// The first one from some seed on with an answer to every query: nearly always that seed's.
    fn with_disorder(disorder: usize) -> Day {
        let seed = Chance::new().below(SEEDS);
        let days = (seed..).map(|seed| {
            let feed = Feed { seed, rate: RATE, disorder };
            let events: Vec<Fed> = feed.events().take(EVENTS).collect();
            Day { feed, answers: Answers::of(&events), events }
        });
        days.take(TRIES).find(|day| day.answers.are_all_there()).unwrap()
    }
}

/// Feeds what is left in parts: one of so many each time.
fn run(log: &TestLog, day: &Day, parts: &[usize]) {
    for provider in ["memory", "lmdb"] {
        let manifest = format!("commit_interval = \"50ms\"\n[state]\nprovider = \"{provider}\"\n{KEPT}");
        let partitions = TOPICS.map(|topic| (topic, PARTITIONS));
        let app = Application::new(log, "plugins/nexmark", &manifest, &partitions);
        let mut left = &day.events[..];
        for part in parts {
            let (now, later) = left.split_at(left.len() / part);
            produce(&app, now);
            app.run_to_end();
            left = later;
        }
        check(&app, &day.answers, &format!("{:?} with {provider}", day.feed));
    }
}

fn produce(app: &Application, events: &[Fed]) {
    let mut writer = app.log.log.writer().unwrap();
    for Fed { topic, key, value, timestamp } in events {
        let (key, value) = (Some(&key[..]), Some(value.as_bytes()));
        writer
            .send(&app.topic(topic), None, Record { key, value, headers: Headers(b""), timestamp: *timestamp })
            .unwrap();
    }
    writer.flush().unwrap();
}

fn check(app: &Application, answers: &Answers, what: &str) {
    for (query, expected) in &answers.all {
        let mut found: Vec<String> = app.read(query).iter().map(|record| value(record).to_string()).collect();
        found.sort();
        let differs = found.iter().zip(expected).find(|(found, expected)| found != expected);
        assert!(
            differs.is_none() && found.len() == expected.len(),
            "{query} of {what}: {differs:?}, {} of {}",
            found.len(),
            expected.len()
        );
    }
    for (query, expected) in &answers.last {
        let found: BTreeMap<i64, Value> = app.read(query).iter().map(|record| (key(record), value(record))).collect();
        assert_eq!(&found, expected, "{query} of {what}");
    }
    let mut sessions = BTreeMap::new();
    for record in app.read("q11") {
        let place = session(record.key.as_deref().unwrap());
        match record.value {
            Some(count) => sessions.insert(place, int(&count)),
            None => sessions.remove(&place),
        };
    }
    assert_eq!(sessions, answers.sessions, "q11 of {what}");
}

/// Bidder, start and end, of a key as Kafka Streams writes it: bidder, end, start.
fn session(key: &[u8]) -> (i64, i64, i64) {
    let [bidder, end, start] = [0, 8, 16].map(|at| int(&key[at..at + 8]));
    assert_eq!(key.len(), 24);
    (bidder, start, end)
}

fn key(record: &Owned) -> i64 {
    int(record.key.as_deref().unwrap())
}

fn value(record: &Owned) -> Value {
    let mut value: Value = serde_json::from_slice(record.value.as_deref().unwrap()).unwrap();
    // Bids that are as high come in the order in which they were read.
    if let Some(Value::Array(bids)) = value.get_mut("bids") {
        *bids = sorted(std::mem::take(bids));
    }
    value
}

fn int(bytes: &[u8]) -> i64 {
    i64::from_be_bytes(bytes.try_into().unwrap())
}
