//! Inputs and outputs, as a stranger reads them.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Crossroads, feed};
use crate::chaos::outside::{Row, Values};

/// What one line says: of whom, what, and when. Without a value a row is deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    pub key: String,
    pub value: Option<String>,
    pub time: i64,
}

/// What was said to a sink of somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub key: String,
    pub sink: String,
    pub text: String,
    pub time: i64,
    pub partition: i32,
}

pub struct Evidence {
    pub is_exact: bool,
    /// The time of what closes everything.
    pub closing: i64,
    /// By kind; of one key in one partition in order.
    lines: BTreeMap<String, Vec<Said>>,
    pub taps: Vec<Said>,
    pub tariffs: Vec<Said>,
    /// Of each key and sink in order.
    pub outcomes: Vec<Outcome>,
    stores: BTreeMap<&'static str, Stored>,
}

/// What a store has: by key, and of windows by start, the value as text.
pub type Stored = BTreeMap<(String, Option<i64>), String>;

/// Stores that are looked into.
const STORES: [&str; 7] = ["users", "orders", "homes", "owned", "per-user", "closed-windows", "open-windows"];

impl Evidence {
    /// From topics of committed records.
    pub fn read(crossroads: &Crossroads<'_>) -> Evidence {
        let outside = crossroads.outside();
        let read = |topic: &str| outside.read(&crossroads.topic(topic), Values::Text);
        let mut lines: BTreeMap<String, Vec<Said>> = BTreeMap::new();
        for row in read("lines") {
            let (kind, rest) = text(&row).split_once(' ').expect("a line has a kind");
            lines.entry(kind.to_owned()).or_default().push(said(rest, row.timestamp));
        }
        let tariff = |row: &Row| Said { key: row.key.clone(), value: Some(text(row).to_owned()), time: row.timestamp };
        Evidence {
            is_exact: crossroads.shape.is_exactly_once(),
            closing: feed::closing(crossroads.begin),
            lines,
            taps: read("taps").iter().map(|row| said(text(row), row.timestamp)).collect(),
            tariffs: read("tariffs").iter().map(tariff).collect(),
            outcomes: read("outcomes").into_iter().map(outcome).collect(),
            stores: STORES.into_iter().map(|store| (store, scan(crossroads, store))).collect(),
        }
    }

    /// One of [`STORES`], as the running application answers.
    pub fn store(&self, name: &str) -> &Stored {
        &self.stores[name]
    }

    /// Lines and taps that are in the topics, without those that close.
    pub fn fed(&self) -> [u64; 2] {
        let all = [self.lines.values().map(Vec::len).sum::<usize>(), self.taps.len()];
        std::array::from_fn(|at| all[at] as u64 - feed::CLOSING_LINES[at])
    }

    pub fn lines(&self, kind: &str) -> &[Said] {
        self.lines.get(kind).map_or(&[], Vec::as_slice)
    }

    /// What was said to a sink, by key. Whatever is said of a key is in one partition.
    pub fn outcomes(&self, sink: &str) -> BTreeMap<&str, Vec<&Outcome>> {
        let mut by_key: BTreeMap<&str, Vec<&Outcome>> = BTreeMap::new();
        for outcome in self.outcomes.iter().filter(|outcome| outcome.sink == sink) {
            let of_key = by_key.entry(&outcome.key).or_default();
            of_key.push(outcome);
            assert_eq!(of_key[0].partition, outcome.partition, "{outcome:?}: the key has two partitions");
        }
        by_key
    }

    /// Exactly once: the same texts, each as often. At least once: each of them at least as often.
    #[track_caller]
    pub fn compare(&self, sink: &str, expected: &BTreeMap<String, Vec<(String, i64)>>) {
        let outcomes = self.outcomes(sink);
        for (key, expected) in expected {
            let mut left: BTreeMap<(&str, i64), i64> = BTreeMap::new();
            for outcome in outcomes.get(&**key).into_iter().flatten() {
                *left.entry((&outcome.text, outcome.time)).or_default() += 1;
            }
            for (text, time) in expected {
                *left.entry((text, *time)).or_default() -= 1;
            }
            let wrong: Vec<_> = left.iter().filter(|(_, times)| **times < 0 || self.is_exact && **times > 0).collect();
            assert!(wrong.is_empty(), "{sink} {key}: too often, or too seldom: {wrong:?}");
        }
        let unknown = outcomes.keys().find(|key| !expected.contains_key(**key));
        assert!(!self.is_exact || unknown.is_none(), "{sink}: nothing was to be said of {unknown:?}");
    }
}

fn scan(crossroads: &Crossroads<'_>, store: &str) -> Stored {
    let scanned = crossroads.mill.run(&["store", "scan", ".", store, "-o", "jsonl"]).ok().jsonl();
    let mut stored = Stored::new();
    for entry in scanned {
        let key = entry["key"].as_str().expect("a key is a text").to_owned();
        let value = entry["value"].as_str().map_or_else(|| entry["value"].to_string(), str::to_owned);
        let before = stored.insert((key, entry["start"].as_i64()), value);
        assert_eq!(before, None, "{entry} is there twice");
    }
    stored
}

/// `KEY VALUE` or `KEY`.
fn said(text: &str, time: i64) -> Said {
    let (key, value) = match text.split_once(' ') {
        Some((key, value)) => (key, Some(value.to_owned())),
        None => (text, None),
    };
    Said { key: key.to_owned(), value, time }
}

fn outcome(row: Row) -> Outcome {
    let (sink, said) = text(&row).split_once(' ').expect("an outcome names its sink");
    Outcome {
        sink: sink.to_owned(),
        text: said.to_owned(),
        time: row.timestamp,
        partition: row.partition,
        key: row.key,
    }
}

fn text(row: &Row) -> &str {
    match &row.value {
        Value::String(text) => text,
        other => panic!("{other} is no text"),
    }
}

/// What was said, by key.
pub fn by_key(all: &[Said]) -> BTreeMap<&str, Vec<&Said>> {
    let mut by_key: BTreeMap<&str, Vec<&Said>> = BTreeMap::new();
    all.iter().for_each(|said| by_key.entry(&said.key).or_default().push(said));
    by_key
}
