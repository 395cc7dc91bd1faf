//! The sample `flights` over its whole month on the SDK's test driver: as native code, as a component, and added up
//! from the file by itself.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::sync::{Arc, LazyLock};

use flate2::read::GzDecoder;
use millstream::wasm::{Compiler, Component, Engine, Instance, Owner};
use millstream_engine::config::Limits;
use millstream_engine::functions::Functions;
use millstream_sdk::Record;
use millstream_sdk::testing::Driver;
use serde_json::Value;

const MANIFEST: &str = "id = \"flights\"";

static ENGINE: LazyLock<Engine> =
    LazyLock::new(|| Engine::new(Limits::default().stack, Compiler::in_process()).unwrap());

type Line = Record<Option<String>, String>;
type Pairs = Vec<(String, String)>;

fn lines(file: impl std::io::Read) -> Vec<Line> {
    let lines = BufReader::new(file).lines().map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
    let text = |value: &Value| value.as_str().map(str::to_owned);
    lines
        .map(|line| Record::new(text(&line["key"]), text(&line["value"]).unwrap(), line["timestamp"].as_i64().unwrap()))
        .collect()
}

fn month() -> Vec<Line> {
    let file = tests::guests::root().join("plugins/flights/data/flights-2013-01.jsonl.gz");
    lines(GzDecoder::new(std::fs::File::open(file).unwrap()))
}

fn airlines() -> Vec<Line> {
    lines(std::fs::File::open(tests::guests::root().join("plugins/flights/data/airlines.jsonl")).unwrap())
}

fn native() -> Driver {
    let plugin = flights::plugin("{}").unwrap();
    let description = plugin.description().to_owned();
    Driver::over(&description, MANIFEST, &|| Box::new(plugin.clone())).unwrap()
}

fn component() -> Driver {
    let file = tests::guests::plugin(&ENGINE, "plugins/flights").unwrap();
    let component = Component::load(&ENGINE, &std::fs::read(file).unwrap(), Limits::default()).unwrap();
    let planned = Arc::new(component.describe("flights", "{}").unwrap());
    let description = serde_json::to_string(&*planned).unwrap();
    let start = || {
        let owner = Owner { application: "flights".into(), task: None };
        Box::new(Instance::new(component.clone(), "{}".into(), planned.clone(), owner)) as Box<dyn Functions>
    };
    Driver::over(&description, MANIFEST, &start).unwrap()
}

/// Everything the month leaves behind: two topics and three stores.
fn run(mut driver: Driver) -> [Pairs; 5] {
    driver.pipe_all("airlines", airlines()).unwrap();
    driver.pipe_all("flights", month()).unwrap();
    let top = driver.entries::<i32, String>("top").unwrap();
    [
        driver.read_pairs("carrier-delays").unwrap(),
        driver.read_pairs("airport-delays").unwrap(),
        driver.entries("by-carrier").unwrap(),
        driver.entries("by-airport").unwrap(),
        top.into_iter().map(|(rank, carrier)| (rank.to_string(), carrier)).collect(),
    ]
}

/// Flights, cancelled, sum of delays by the values of a column.
fn totals(column: &str) -> BTreeMap<String, (i64, i64, i64)> {
    let mut totals: BTreeMap<String, (i64, i64, i64)> = BTreeMap::new();
    for line in month() {
        let row: Value = serde_json::from_str(&line.value).unwrap();
        let total = totals.entry(row[column].as_str().unwrap().to_owned()).or_default();
        total.0 += 1;
        match row["dep_time"].is_null() {
            true => total.1 += 1,
            false => total.2 += row["dep_delay"].as_i64().unwrap(),
        }
    }
    totals
}

/// Each key's updates go 1, 2, 3… and end at its total.
fn check(updates: &Pairs, stored: &Pairs, column: &str) {
    let mut last: BTreeMap<String, (i64, i64, i64)> = BTreeMap::new();
    for (key, value) in updates {
        let value: Value = serde_json::from_str(value).unwrap();
        let number = |field: &str| value[field].as_i64().unwrap();
        let total = (number("flights"), number("cancelled"), number("delay_sum"));
        let before = last.insert(key.clone(), total).unwrap_or_default();
        assert_eq!(total.0, before.0 + 1, "{key}");
    }
    assert_eq!(last, totals(column));
    for (key, value) in stored {
        let value: Value = serde_json::from_str(value).unwrap();
        let (flights, cancelled, sum) = last[key];
        assert_eq!((&value["flights"], &value["cancelled"]), (&flights.into(), &cancelled.into()), "{key}");
        assert_eq!(value["delay_mean"], Value::from(sum as f64 / (flights - cancelled) as f64), "{key}");
    }
    assert_eq!(stored.len(), last.len());
}

#[test]
fn january_adds_up_natively_and_as_a_component() {
    let native = run(native());
    let [carriers, airports, by_carrier, by_airport, top] = &native;
    assert_eq!((carriers.len(), airports.len()), (27_004, 27_004));
    check(carriers, by_carrier, "carrier");
    check(airports, by_airport, "origin");
    assert!(top[0].1.contains("United Air Lines Inc."), "{top:?}");
    let component = run(component());
    for (ours, theirs) in native.iter().zip(&component) {
        assert!(ours == theirs, "the component does not say what the native code says");
    }
}
