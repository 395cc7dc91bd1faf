//! What crosses the boundary to a component: batches, never records.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use millstream::wasm::{Compiler, Component, Engine, Instance, Owner};
use millstream_engine::config::{Limits, Manifest};
use millstream_engine::driver::{self, Driver, Parts};
use millstream_engine::functions::{Fault, Functions};
use millstream_engine::record::{Headers, Record, Records, TopicPartition};
use millstream_engine::store::{SizeLimits, TaskStores};
use millstream_engine::task::Settings;
use millstream_engine::topology::Blueprint;
use nexmark_feed::{Feed, TOPICS};

/// Records of a full batch.
const BATCH: usize = 500;

/// Batches that each sample is fed with.
const BATCHES: usize = 10;

/// Calls into a component that one batch of a subtopology may cost.
const CROSSINGS: usize = 4;

/// How often each node of each subtopology was called.
type Calls = Arc<Mutex<BTreeMap<u32, BTreeMap<u32, usize>>>>;

/// Counts the calls on their way to the component.
struct Counted {
    subtopology: u32,
    calls: Calls,
    inner: Instance,
}

impl Functions for Counted {
    fn call(&mut self, node: u32, frame: &[u8], stores: &mut TaskStores, out: &mut Vec<u8>) -> Result<(), Fault> {
        let mut calls = self.calls.lock().unwrap();
        *calls.entry(self.subtopology).or_default().entry(node).or_default() += 1;
        drop(calls);
        self.inner.call(node, frame, stores, out)
    }

    fn discard(&mut self) {
        self.inner.discard();
    }
}

/// A sample in one thread, with one task for each of its subtopologies.
struct Sample {
    driver: Driver,
    calls: Calls,
    /// How many records of an input a task was given.
    given: BTreeMap<TopicPartition, usize>,
    /// How many batches what a subtopology was given at a time fills, full or not.
    batches: BTreeMap<u32, usize>,
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
        let manifest = Manifest::parse("id = \"app\"", "app.toml").unwrap();
        let plan = driver::plan(&Blueprint::new(manifest, &planned).unwrap(), 1).unwrap();
        let calls = Calls::default();
        let parts = Parts {
            settings: Settings::default(),
            stores: &|plan, subtopology, _| Ok(driver::memory_stores(plan, subtopology, SizeLimits::default())),
            globals: &|plan| driver::memory_globals(plan, SizeLimits::default()),
            functions: &|task| {
                let owner = Owner { application: "app".into(), task: None };
                let inner = Instance::new(component.clone(), config.into(), planned.clone(), owner);
                Box::new(Counted { subtopology: task.subtopology, calls: calls.clone(), inner })
            },
        };
        let driver = Driver::open(Arc::new(plan), &parts).unwrap();
        Sample { driver, calls, given: BTreeMap::new(), batches: BTreeMap::new() }
    }

    /// The only partition of a topic.
    fn at(&self, topic: &str) -> TopicPartition {
        TopicPartition { topic: self.driver.topic(topic).unwrap(), partition: 0 }
    }

    /// Whether any task reads a topic.
    fn reads(&self, topic: &str) -> bool {
        self.driver.topic(topic).is_some_and(|topic| self.driver.is_read(topic))
    }

    /// Processes keys, values and timestamps of a topic.
    fn pipe(&mut self, topic: &str, records: impl IntoIterator<Item = (Option<Vec<u8>>, String, i64)>) {
        let to = self.at(topic);
        for (key, value, timestamp) in records {
            let (key, value) = (key.as_deref(), Some(value.as_bytes()));
            self.driver.append(to, Record { key, value, headers: Headers(b""), timestamp });
        }
        loop {
            self.count_batches();
            self.driver.run().unwrap();
            if !self.driver.cut().unwrap() {
                return;
            }
        }
    }

    /// Of what the tasks are about to be given.
    fn count_batches(&mut self) {
        for task in self.driver.tasks() {
            for input in task.inputs() {
                let written = self.driver.records(input).map_or(0, Records::len);
                let given = self.given.entry(input).or_default();
                *self.batches.entry(task.id().subtopology).or_default() += (written - *given).div_ceil(BATCH);
                *given = written;
            }
        }
    }

    /// How many records were written to a sink.
    fn written(&self, sink: &str) -> usize {
        self.driver.records(self.at(sink)).map_or(0, Records::len)
    }

    /// In each of its subtopologies.
    #[track_caller]
    fn crossed_with_batches(&self, what: &str) {
        let all = self.calls.lock().unwrap();
        for subtopology in &self.driver.plan().subtopologies {
            let (name, none) = (&subtopology.name, BTreeMap::new());
            let by_node = all.get(&subtopology.id).unwrap_or(&none);
            let (calls, batches) = (by_node.values().sum::<usize>(), self.batches[&subtopology.id]);
            println!("{what}, {name}: {calls} calls for {batches} batches: {by_node:?}");
            let most = CROSSINGS * batches;
            assert!(calls <= most, "{what}, {name}: {calls} calls, {most} at the most: {by_node:?}");
        }
    }

    fn calls(&self) -> usize {
        self.calls.lock().unwrap().values().flat_map(BTreeMap::values).sum()
    }
}

#[test]
fn a_full_batch_crosses_once_for_stateless_nodes_in_a_row() {
    let mut sample = Sample::of("plugins/word-count");
    // Three words a line, so that what a guest makes more of is no reason for more calls.
    sample.pipe("lines", (0..BATCHES * BATCH).map(|i| (None, format!("the wheel w{}", i % 97), 0)));
    assert_eq!(sample.written("counts"), 3 * BATCHES * BATCH);
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
    sample.pipe("flights", departures().map(|(_, row)| (None, row, 0)));
    assert_eq!(sample.written("carrier-delays"), BATCHES * BATCH);
    sample.crossed_with_batches("flights");
}

#[test]
fn departures_cross_by_batches_into_windows_sessions_and_foreign_keys() {
    let mut sample = Sample::of("plugins/flights-weather");
    sample.pipe("flights", departures().map(|(aircraft, row)| (Some(aircraft.into_bytes()), row, 0)));
    assert!(sample.written("rotations") >= BATCHES * BATCH);
    sample.crossed_with_batches("flights-weather");
}

const QUERIES: [&str; 9] = ["q0", "q1", "q2", "q3", "q4", "q5", "q7", "q8", "q11"];

/// Of all three topics. Few are persons: a batch of them that is full too.
const EVENTS: usize = 40 * BATCH;

#[test]
fn events_cross_by_batches_into_each_query() {
    let events: Vec<_> = Feed::default().events().take(EVENTS).collect();
    for query in QUERIES {
        let mut sample = Sample::with("plugins/nexmark", &format!("{{\"queries\":[\"{query}\"]}}"));
        for topic in TOPICS.into_iter().filter(|topic| sample.reads(topic)).collect::<Vec<_>>() {
            let of_topic = events.iter().filter(|event| event.topic == topic);
            sample.pipe(topic, of_topic.map(|event| (Some(event.key.to_vec()), event.value.clone(), event.timestamp)));
        }
        sample.crossed_with_batches(query);
        assert!(sample.written(query) > 0, "{query} answers nothing");
        // Nothing of q0 is ours.
        assert_eq!(sample.calls() == 0, query == "q0", "{query}");
    }
}
