//! The sample `flights` on a log under test, with topics, application id and state directory of its own.

use std::collections::BTreeMap;

use millstream::wasm::{Compiler, Engine};
use millstream_engine::config::Limits;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::guests;
use crate::january::{self, FLIGHTS, Totals};
use crate::logs::{Kind, TestLog, compacted_topic, new_topic, unique};
use crate::millstream::{Millstream, Running};

/// Partitions of what the application writes.
const SINK_PARTITIONS: i32 = 3;

pub struct Flights<'a> {
    pub mill: Millstream,
    pub id: String,
    log: &'a TestLog,
    provider: &'a str,
    /// The airlines' topic is their table's changelog.
    reuses_source: bool,
}

impl<'a> Flights<'a> {
    /// Fed with the month, and not started.
    pub fn new(log: &'a TestLog, provider: &'a str, partitions: i32) -> Flights<'a> {
        let flights = Flights::without_flights(log, provider, partitions);
        flights.feed(&january::flights());
        flights
    }

    /// Writes flights, a JSON line each.
    pub fn feed(&self, lines: &str) {
        self.mill.run_with(&["produce", &self.topic("flights")], lines).ok();
    }

    /// Only the airlines are there.
    pub fn without_flights(log: &'a TestLog, provider: &'a str, partitions: i32) -> Flights<'a> {
        Flights::made(log, provider, partitions, false)
    }

    /// The same, with the airlines' topic for their table's changelog.
    pub fn reusing_source(log: &'a TestLog, provider: &'a str, partitions: i32) -> Flights<'a> {
        Flights::made(log, provider, partitions, true)
    }

    fn made(log: &'a TestLog, provider: &'a str, partitions: i32, reuses_source: bool) -> Flights<'a> {
        let (mill, id) = (Millstream::new(log.log.url()), unique("flights"));
        let flights = Flights { mill, id, log, provider, reuses_source };
        for (name, partitions) in [("flights", partitions), ("airlines", partitions)]
            .into_iter()
            .chain(["carrier-delays", "airport-delays"].map(|sink| (sink, SINK_PARTITIONS)))
        {
            let topic = if reuses_source && name == "airlines" { compacted_topic } else { new_topic };
            log.log.create(&topic(&flights.topic(name), partitions)).expect("a topic can be created");
        }
        flights.mill.write("app.toml", &flights.manifest());
        flights.mill.run_with(&["produce", &flights.topic("airlines")], january::airlines()).ok();
        flights
    }

    pub fn topic(&self, name: &str) -> String {
        format!("{}-{name}", self.id)
    }

    /// With short intervals: the more commits there are, the more often a kill meets one.
    fn manifest(&self) -> String {
        let engine = Engine::new(Limits::default().stack, Compiler::in_process()).expect("the engine starts");
        let component = guests::plugin(&engine, "plugins/flights").expect("the sample builds");
        let mut manifest = format!(
            "id = \"{}\"\ncomponent = \"{}\"\nstate_dir = \"state\"\ncommit_interval = \"20ms\"\n[state]\nprovider = \"{provider}\"\n",
            self.id,
            component.display(),
            provider = self.provider
        );
        for (table, names) in [("sources", ["flights", "airlines"]), ("sinks", ["carrier-delays", "airport-delays"])] {
            for name in names {
                manifest += &format!("[{table}.{name}]\ntopic = \"{}\"\n", self.topic(name));
            }
        }
        if self.reuses_source {
            manifest += "[stores.airlines.changelog]\nreuse_source_topic = true\n";
        }
        if self.log.kind == Kind::Kafka {
            // A member that was killed is noticed soon.
            manifest += "[kafka]\n\"session.timeout.ms\" = \"6000\"\n\"heartbeat.interval.ms\" = \"500\"\n";
        }
        manifest
    }

    pub fn run_to_end(&self) {
        self.mill.run(&["run", ".", "--until-end"]).ok();
    }

    /// Starts one process of the application, with a state directory of its own.
    pub fn start(&self, state_dir: &str) -> Running {
        self.mill.start(&["run", ".", "--state-dir", state_dir, "--http", "0"])
    }

    /// How many records the carriers' sink has at least: what a kill in the middle goes by.
    pub fn progress(&self) -> usize {
        let topic = self.topic("carrier-delays");
        let end = |partition| self.log.log.offsets(&topic, partition).expect("a topic has offsets").end;
        (0..SINK_PARTITIONS).map(end).sum::<i64>() as usize
    }

    /// Flights, repartitioned flights and airlines that are not committed as processed.
    pub fn lag(&self) -> i64 {
        self.mill.run(&["groups", "describe", &self.id, "-o", "json"]).ok().json()["lag"].as_i64().expect("a number")
    }

    // === what must hold at the end ===

    /// Outputs without gap or repeat, totals as the file has them, stores equal to their changelogs. Of memory the
    /// application is asked, so it is started; LMDB is read without it too.
    pub fn check(&self, totals: &Totals) {
        self.check_sink("carrier-delays", &totals.by_carrier);
        self.check_sink("airport-delays", &totals.by_airport);
        if self.provider == "lmdb" {
            self.check_stores(totals);
        }
        let mut running = self.start("state");
        running.ready();
        self.check_stores(totals);
        running.signal(Signal::TERM);
        running.finish().ok();
    }

    /// Of each key the sink has flights 1, 2, 3…, and at last the total.
    fn check_sink(&self, sink: &str, totals: &BTreeMap<String, Value>) {
        let mut last: BTreeMap<String, Value> = BTreeMap::new();
        let records = self.consume(&self.topic(sink), "utf8");
        for record in &records {
            let (key, value) = (record["key"].as_str().expect("keys are text").to_owned(), &record["value"]);
            let before = last.get(&key).map_or(0, |before| before["flights"].as_i64().expect("a number"));
            assert_eq!(value["flights"], json!(before + 1), "{sink} {key}: a gap or a repeat at {record}");
            last.insert(key, value.clone());
        }
        assert_eq!(&last, totals, "{sink}");
        assert_eq!(records.len(), FLIGHTS, "{sink}");
    }

    fn check_stores(&self, totals: &Totals) {
        for (store, expected) in [("by-carrier", &totals.by_carrier), ("by-airport", &totals.by_airport)] {
            let stored = self.store(store);
            assert_eq!(stored, self.fold_of_changelog(store, "utf8"), "store {store} is the fold of its changelog");
            let values: Vec<_> = stored.into_iter().map(|((_, key), (value, _))| (key, value)).collect();
            let by_key: BTreeMap<_, _> = values.iter().cloned().collect();
            assert_eq!(by_key.len(), values.len(), "{store}: a key in two tasks");
            let expected = expected.iter().map(|(key, total)| (json!(key).to_string(), sums(total)));
            assert_eq!(by_key, expected.collect(), "{store}");
        }
        let top = self.store("top");
        assert!(!top.is_empty(), "the list was written");
        assert_eq!(top, self.fold_of_changelog("top", "i32"), "store top is the fold of its changelog");
    }

    fn store(&self, store: &str) -> Entries {
        let mut entries = Entries::new();
        for entry in self.mill.run(&["store", "scan", ".", store, "-o", "jsonl"]).ok().jsonl() {
            let (_, partition) = entry["task"].as_str().and_then(|task| task.split_once('_')).expect("a task");
            let place = (partition.parse().expect("a number"), entry["key"].to_string());
            let before = entries.insert(place, (entry["value"].clone(), timestamp(&entry)));
            assert_eq!(before, None, "{store}: {entry} is there twice");
        }
        entries
    }

    fn fold_of_changelog(&self, store: &str, key: &str) -> Entries {
        let mut fold = Entries::new();
        for record in self.consume(&format!("{}-{store}-changelog", self.id), key) {
            let place = (record["partition"].as_i64().expect("a number"), record["key"].to_string());
            match record["value"].is_null() {
                true => fold.remove(&place),
                false => fold.insert(place, (record["value"].clone(), timestamp(&record))),
            };
        }
        fold
    }

    fn consume(&self, topic: &str, key: &str) -> Vec<Value> {
        self.mill.run(&["consume", topic, "--until-end", "-o", "jsonl", "--key", key, "--value", "json"]).ok().jsonl()
    }
}

/// Partition and key (as JSON) → value and timestamp.
type Entries = BTreeMap<(i64, String), (Value, i64)>;

fn timestamp(record: &Value) -> i64 {
    record["timestamp"].as_i64().expect("a number")
}

/// A total without the words that the sinks add.
fn sums(total: &Value) -> Value {
    let mut sums = total.clone();
    for word in ["carrier", "airport", "name"] {
        sums.as_object_mut().expect("a total is an object").remove(word);
    }
    sums
}
