//! A case on the driver.

use std::collections::BTreeMap;
use std::sync::Arc;

use millstream_engine::driver::{Driver, Output, Parts, memory_globals, memory_stores, plan};
use millstream_engine::error::Problem;
use millstream_engine::partitioner;
use millstream_engine::record::{Headers, Record, Records, TopicPartition};
use millstream_engine::store::SizeLimits;
use millstream_engine::task::{Failure, Settings, TaskId};
use millstream_engine::topology::{Blueprint, Plan};
use serde_json::{Value, json};

use super::coding::{Coding, Codings};
use super::{Act, Case, Fields, Given, Names, Step};
use crate::app::{Loaded, parts};
use crate::desk::Page;
use crate::desk::query::{Keys, ROWS_MAX, Range, merge};
use crate::text::Codec;
use crate::thread::StartFunctions;

/// What all cases of a project run on.
pub struct Bench {
    pub names: Names,
    blueprint: Blueprint,
    settings: Settings,
    limits: SizeLimits,
    functions: Arc<StartFunctions>,
}

impl Bench {
    /// A built application. `seed` gives its plugin other random numbers than 0 does.
    pub fn of(loaded: &Loaded, seed: u64) -> Bench {
        Bench {
            names: Names::of(&loaded.blueprint),
            blueprint: loaded.blueprint.clone(),
            // Every write is logged, so that what a case sees does not depend on when an interval is cut.
            settings: Settings { seed, coalesce: false, ..parts::settings(loaded) },
            limits: parts::size_limits(loaded),
            functions: parts::functions(loaded, None),
        }
    }
}

/// What came of a case.
#[derive(Debug, Default)]
pub struct Seen {
    /// Of the steps that ran: the ones behind a failure did not.
    pub steps: Vec<SeenStep>,
    pub dropped: u64,
    /// Every record of an internal topic, by topic in write order; only where the case looks at them.
    pub changelog: Vec<Value>,
}

/// What came of a step.
#[derive(Debug, Default)]
pub struct SeenStep {
    /// What was written, in order over all topics.
    pub out: Vec<Fields>,
    pub stores: BTreeMap<String, Vec<Fields>>,
    /// Why the application ended.
    pub failed: Option<String>,
}

/// Runs a case from the beginning, on empty stores. The error is the plan's or a store's, not a difference.
pub fn play(bench: &Bench, case: &Case) -> Result<Seen, Problem> {
    let plan = Arc::new(plan(&bench.blueprint, case.partitions)?);
    let parts = Parts {
        settings: bench.settings,
        stores: &|plan, subtopology, _| Ok(memory_stores(plan, subtopology, bench.limits)),
        globals: &|plan| memory_globals(plan, bench.limits),
        functions: &|task: TaskId| (bench.functions)(task),
    };
    let mut seen = Seen::default();
    let mut player = match Driver::open(plan.clone(), &parts) {
        Ok(driver) => Player { bench, plan, driver },
        Err(failure) => {
            seen.steps.push(SeenStep { failed: Some(failure.to_string()), ..SeenStep::default() });
            return Ok(seen);
        }
    };
    for step in &case.steps {
        let step = player.step(step);
        let ended = step.failed.is_some();
        seen.steps.push(step);
        if ended {
            break;
        }
    }
    seen.dropped = player.driver.dropped().total();
    if case.changelog.is_some() {
        seen.changelog = player.internal_records();
    }
    Ok(seen)
}

struct Player<'a> {
    bench: &'a Bench,
    plan: Arc<Plan>,
    driver: Driver,
}

impl Player<'_> {
    fn step(&mut self, step: &Step) -> SeenStep {
        let mut failed = self.act(&step.act).err().map(|failure| failure.to_string());
        if failed.is_some() {
            // What stood before the record that failed is kept.
            failed = failed.or(self.driver.cut().err().map(|error| error.to_string()));
        }
        let mut stores = BTreeMap::new();
        for name in step.stores.keys() {
            match self.entries(name) {
                Ok(entries) => {
                    stores.insert(name.clone(), entries);
                }
                Err(why) => failed = failed.or(Some(why)),
            }
        }
        SeenStep { out: self.written(), stores, failed }
    }

    fn act(&mut self, act: &Act) -> Result<(), Failure> {
        match act {
            Act::Pipe(records) => records.iter().try_for_each(|record| self.pipe(record)),
            Act::Advance(ms) => {
                self.driver.advance(*ms)?;
                self.driver.settle()
            }
        }
    }

    fn pipe(&mut self, given: &Given) -> Result<(), Failure> {
        // Its reader has checked the name.
        let Some(topic) = self.driver.topic(&given.topic) else { return Ok(()) };
        let partitions = self.plan.topics[topic.0 as usize].partitions;
        let by_key = || given.key.as_deref().map_or(0, |key| partitioner::partition(key, partitions));
        let partition = given.partition.unwrap_or_else(by_key);
        let record = Record {
            key: given.key.as_deref(),
            value: given.value.as_deref(),
            headers: Headers(&given.headers),
            timestamp: given.timestamp.unwrap_or(self.driver.now()),
        };
        self.driver.append(TopicPartition { topic, partition }, record);
        self.driver.settle()
    }

    /// What the application wrote to its outputs since this was asked for last, in order.
    fn written(&mut self) -> Vec<Fields> {
        let bench = self.bench;
        let mut all: Vec<(Output, &str, Codings)> = Vec::new();
        for (name, codings) in &bench.names.outputs {
            let outputs = self.driver.topic(name).map(|topic| self.driver.take(topic)).unwrap_or_default();
            all.extend(outputs.into_iter().map(|output| (output, name.as_str(), *codings)));
        }
        all.sort_by_key(|(output, ..)| output.order);
        let shown = |(output, topic, codings): &(Output, &str, Codings)| {
            Some(written(topic, output.at.partition, self.driver.output(output)?, *codings))
        };
        all.iter().filter_map(shown).collect()
    }

    /// A store's committed entries, of all tasks in the order of their keys.
    fn entries(&self, name: &str) -> Result<Vec<Fields>, String> {
        let stores = &self.plan.stores;
        let number = stores.iter().position(|store| store.description.name == name).ok_or("no such store")?;
        let plain = Coding::declared(None);
        let codings = self.bench.names.stores.get(name).copied().unwrap_or(Codings { key: plain, value: plain });
        let mut range = Range { limit: ROWS_MAX, ..Range::default() };
        let mut entries = Vec::new();
        loop {
            let page = self.page(number, &Keys::Range(range.clone()))?;
            entries.extend(page.rows.iter().map(|row| {
                let (key, value) = (codings.key.show(Some(&row.key)), codings.value.show(Some(&row.value)));
                let mut fields = Fields::from_iter([("key".to_owned(), key)]);
                if let Some(window) = &row.window {
                    fields.insert("start".to_owned(), window.start.into());
                    fields.insert("end".to_owned(), window.end.into());
                }
                fields.insert("value".to_owned(), value);
                fields.insert("timestamp".to_owned(), row.timestamp.into());
                fields
            }));
            match page.next {
                Some(next) => range.after = Some(next),
                None => return Ok(entries),
            }
        }
    }

    fn page(&self, number: usize, keys: &Keys) -> Result<Page, String> {
        let mut pages = Vec::new();
        for (task, stores) in self.driver.holders(number as u32) {
            let Some(place) = stores.place(number as u32) else { continue };
            let (base, slot) = stores.committed(place);
            let page = keys.read(task, base, slot, self.plan.stores[number].kind);
            pages.push(page.map_err(|error| error.to_string())?);
        }
        Ok(merge(pages, false, ROWS_MAX))
    }

    /// Every record of the application's own topics, as the vectors show them.
    fn internal_records(&self) -> Vec<Value> {
        let mut topics: Vec<(&str, &Records)> = Vec::new();
        for at in self.driver.written() {
            let topic = &self.plan.topics[at.topic.0 as usize];
            if let (Some(_), Some(records)) = (&topic.internal, self.driver.records(at)) {
                topics.push((&topic.name, records));
            }
        }
        // Partitions of a topic are in order already.
        topics.sort_by_key(|(name, _)| *name);
        let records = topics.into_iter().flat_map(|(name, records)| records.iter().map(move |(_, one)| (name, one)));
        records.map(|(name, record)| internal(name, record)).collect()
    }
}

fn written(topic: &str, partition: i32, record: Record<'_>, codings: Codings) -> Fields {
    let plain = |value| Coding::Of(Codec::Plain).show(value);
    let headers: Vec<Value> = record.headers.iter().map(|(name, value)| json!([name, plain(value)])).collect();
    Fields::from_iter([
        ("topic".to_owned(), topic.into()),
        ("partition".to_owned(), partition.into()),
        ("key".to_owned(), codings.key.show(record.key)),
        ("value".to_owned(), codings.value.show(record.value)),
        ("timestamp".to_owned(), record.timestamp.into()),
        ("headers".to_owned(), headers.into()),
    ])
}

fn internal(topic: &str, record: Record<'_>) -> Value {
    let hex =
        |bytes: Option<&[u8]>| bytes.map(|bytes| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
    let mut shown = json!({
        "topic": topic,
        "key_hex": hex(record.key),
        "value_hex": hex(record.value),
        "ts": record.timestamp,
    });
    let headers: serde_json::Map<String, Value> =
        record.headers.iter().map(|(name, value)| (name.to_owned(), hex(value).into())).collect();
    if !headers.is_empty() {
        shown["headers_hex"] = headers.into();
    }
    shown
}
