//! What crosses the boundary to a component: batches, never records.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use millstream::wasm::{Compiler, Component, Engine, Instance, Owner};
use millstream_engine::config::{Limits, Manifest};
use millstream_engine::driver::plan;
use millstream_engine::functions::{Fault, Functions};
use millstream_engine::store::TaskStores;
use millstream_engine::topology::Blueprint;
use millstream_sdk::Record;
use millstream_sdk::testing::Driver;
use nexmark_feed::{Feed, TOPICS};

/// Records of a full batch.
const BATCH: usize = 500;

/// Batches that each sample is fed with.
const BATCHES: usize = 10;

/// Calls into a component that one batch of a task may cost.
const CROSSINGS: usize = 4;

/// How often each node was called.
type Calls = Arc<Mutex<BTreeMap<u32, usize>>>;

/// Counts the calls on their way to the component.
struct Counted {
    calls: Calls,
    inner: Instance,
}

impl Functions for Counted {
    fn call(&mut self, node: u32, frame: &[u8], stores: &mut TaskStores, out: &mut Vec<u8>) -> Result<(), Fault> {
        *self.calls.lock().unwrap().entry(node).or_default() += 1;
        self.inner.call(node, frame, stores, out)
    }

    fn discard(&mut self) {
        self.inner.discard();
    }
}

/// A sample on the test driver.
struct Sample {
    driver: Driver,
    calls: Calls,
    /// Tasks that a record goes through one after the other, or may be spread over.
    tasks: usize,
}

impl Sample {
    fn of(dir: &str) -> Sample {
        Sample::with(dir, "{}")
    }

    fn with(dir: &str, config: &str) -> Sample {
        let engine = Engine::new(Limits::default().stack, Compiler::in_process()).unwrap();
        let file = tests::guests::plugin(&engine, dir).unwrap();
        let component = Component::load(&engine, &std::fs::read(file).unwrap(), Limits::default()).unwrap();
        let planned = Arc::new(component.describe("app", config).unwrap());
        let description = serde_json::to_string(&*planned).unwrap();
        let calls = Calls::default();
        let start = || {
            let owner = Owner { application: "app".into(), task: None };
            let inner = Instance::new(component.clone(), config.into(), planned.clone(), owner);
            Box::new(Counted { calls: calls.clone(), inner }) as Box<dyn Functions>
        };
        let driver = Driver::over(&description, "id = \"app\"", &start).unwrap();
        let manifest = Manifest::parse("id = \"app\"", "app.toml").unwrap();
        let tasks = plan(&Blueprint::new(manifest, &planned).unwrap(), 1).unwrap().subtopologies.len();
        Sample { driver, calls, tasks }
    }

    fn calls(&self) -> usize {
        self.calls.lock().unwrap().values().sum()
    }

    /// After so many batches, of whose records none becomes more than `growth` on its way through the tasks.
    #[track_caller]
    fn crossed_with_batches(&self, what: &str, batches: usize, growth: usize) {
        let (calls, tasks) = (self.calls(), self.tasks);
        println!("{what}: {calls} calls for {batches} batches through {tasks} tasks: {:?}", self.calls.lock().unwrap());
        assert!(calls >= batches, "{what}: the component was called {calls} times for {batches} batches");
        let most = CROSSINGS * batches * tasks * growth;
        assert!(calls <= most, "{what}: {calls} calls, {most} at the most: {:?}", self.calls.lock().unwrap());
    }
}

#[test]
fn a_full_batch_crosses_once_for_stateless_nodes_in_a_row() {
    let mut sample = Sample::of("plugins/word-count");
    // Three words a line, so that what a guest makes more of is no reason for more calls.
    let lines = (0..BATCHES * BATCH).map(|i| Record::new((), format!("the wheel w{}", i % 97), 0));
    sample.driver.pipe_all("lines", lines).unwrap();
    assert_eq!(sample.driver.read_pairs::<String, i64>("counts").unwrap().len(), 3 * BATCHES * BATCH);
    // Words of a line and their key in one call; the host counts.
    assert_eq!(sample.calls(), BATCHES);
}

/// Departures of ten carriers within an hour of their own time, so that no punctuation is due in between.
fn departures() -> impl Iterator<Item = (String, String)> {
    (0..BATCHES * BATCH).map(|number| {
        let origin = ["EWR", "JFK", "LGA"][number % 3];
        let row = serde_json::json!({
            "carrier": format!("C{}", number % 10), "origin": origin, "dest": "IAH",
            "distance": 1400, "dep_time": 517, "dep_delay": number % 60
        });
        (format!("N{}", number % 1_000), row.to_string())
    })
}

#[test]
fn departures_cross_by_batches_into_aggregations_and_a_processor_with_stores() {
    let mut sample = Sample::of("plugins/flights");
    sample.driver.pipe_all("flights", departures().map(|(_, row)| Record::new((), row, 0))).unwrap();
    let written = sample.driver.read_pairs::<String, String>("carrier-delays").unwrap();
    assert_eq!(written.len(), BATCHES * BATCH);
    sample.crossed_with_batches("flights", BATCHES, 1);
}

#[test]
fn departures_cross_by_batches_into_windows_sessions_and_foreign_keys() {
    let mut sample = Sample::of("plugins/flights-weather");
    sample.driver.pipe_all("flights", departures().map(|(aircraft, row)| Record::new(aircraft, row, 0))).unwrap();
    assert!(sample.driver.read_pairs::<String, String>("rotations").unwrap().len() >= BATCHES * BATCH);
    // Each departure lies in two hours.
    sample.crossed_with_batches("flights-weather", BATCHES, 2);
}

/// Queries whose functions see every bid, and what one bid may become on its way: the windows it lies in, or the old and
/// the new of a change.
const QUERIES: [(&str, usize); 5] = [("q1", 1), ("q2", 1), ("q4", 2), ("q5", 5), ("q7", 1)];

#[test]
fn bids_cross_by_batches_into_each_query() {
    let events: Vec<_> = Feed::default().events().take(BATCHES * BATCH).collect();
    for (query, growth) in QUERIES {
        let mut sample = Sample::with("plugins/nexmark", &format!("{{\"queries\":[\"{query}\"]}}"));
        let mut batches = 0;
        for topic in TOPICS.into_iter().filter(|topic| *topic == "bids" || (query == "q4" && *topic == "auctions")) {
            let of_topic = events.iter().filter(|event| event.topic == topic);
            let records: Vec<_> = of_topic
                .map(|event| Record::new(i64::from_be_bytes(event.key), event.value.clone(), event.timestamp))
                .collect();
            batches += records.len().div_ceil(BATCH);
            sample.driver.pipe_all(topic, records).unwrap();
        }
        sample.crossed_with_batches(query, batches, growth);
    }
}
