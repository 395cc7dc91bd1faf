//! The topologies of the cases, in the SDK, with the user functions that `vectors/README.md` fixes.

use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use millstream_engine::topology::Description;
use millstream_sdk::Plugin;
use millstream_sdk::prelude::{
    Context as Ctx, Failure, Grouped, Init, KeyValueStore, Processor, Punctuation, Record, Stream, Table,
    Topology as App,
};
use serde_json::{Value, json};

/// Where everything is forwarded to.
pub(super) const OUT: &str = "out";

type Text = Option<String>;

pub(super) struct Topology {
    pub plugin: Plugin,
    pub description: Description,
    pub values: Values,
}

/// What the values in [`OUT`] are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Values {
    Text,
    Count,
    /// A forward as the case shows it, JSON.
    Shown,
}

/// `None`: a kind, or a variant of one, of a later version.
pub(super) fn build(topology: &Value) -> Result<Option<Topology>> {
    if topology.get("suppress").is_some() || topology.get("versioned_history").is_some() {
        return Ok(None);
    }
    let text = |field: &str| topology[field].as_str().unwrap_or_default().to_owned();
    let flag = |field: &str, default: bool| topology[field].as_bool().unwrap_or(default);
    let (plugin, values) = match text("kind").as_str() {
        "group_agg" => {
            let (agg, rekey) = (text("agg"), flag("rekey", false));
            let values = if agg == "count" { Values::Count } else { Values::Text };
            (Plugin::new(move |app: &mut App| group_agg(app, &agg, rekey), "{}"), values)
        }
        "to_table" => {
            let to_table = |app: &mut App| app.table::<String, String>("in", "store").to_stream().to(OUT);
            (Plugin::new(to_table, "{}"), Values::Text)
        }
        "table_ops" => {
            let op = text("op");
            (Plugin::new(move |app: &mut App| table_ops(app, &op), "{}"), Values::Text)
        }
        "kv_store" => (Plugin::new(kv_store, "{}"), Values::Shown),
        "punctuate" => {
            let interval = topology["interval"].as_u64().context("interval")?;
            let (stream, interval) = (text("type") == "stream", Duration::from_millis(interval));
            (Plugin::new(move |app: &mut App| punctuate(app, stream, interval), "{}"), Values::Shown)
        }
        _ => return Ok(None),
    };
    let plugin = plugin.map_err(|why| anyhow!("{topology}: {why}"))?;
    let mut description: Description = serde_json::from_str(plugin.description())?;
    if !flag("source_materialized", true) {
        leave_store_out(&mut description, "src")?;
    }
    Ok(Some(Topology { plugin, description, values }))
}

fn group_agg(app: &mut App, agg: &str, rekey: bool) -> Result<(), String> {
    let mut stream: Stream<Text, Text> = app.stream("in");
    if rekey {
        stream = stream.select_key(|_, value| value.clone());
    }
    let grouped: Grouped<Text, Text> = stream.group_by_key();
    let initial = || Some("0".to_owned());
    match agg {
        "count" => grouped.count("store").to_stream().to(OUT),
        "reduce" => grouped.reduce(|a, b| joined(&a, &b), "store").to_stream().to(OUT),
        "aggregate" => {
            grouped.aggregate(initial, |_, value, so_far| joined(&so_far, &value), "store").to_stream().to(OUT)
        }
        "aggregate_delete" => {
            let step = |_: &Text, value: Text, so_far: Text| match value.as_deref() {
                Some("DEL") => None,
                _ => joined(&so_far, &value),
            };
            grouped.aggregate(initial, step, "store").to_stream().to(OUT)
        }
        other => return Err(format!("agg {other}")),
    }
    Ok(())
}

/// `a + "+" + b`
fn joined(a: &Text, b: &Text) -> Text {
    Some(format!("{}+{}", a.as_deref().unwrap_or("null"), b.as_deref().unwrap_or("null")))
}

fn table_ops(app: &mut App, op: &str) -> Result<(), String> {
    let source: Table<String, String, _> = app.table("in", "src");
    let even = |_: &String, value: &String| value.parse::<i64>().is_ok_and(|value| value % 2 == 0);
    match op {
        "filter_even" => source.filter(even).to_stream().to(OUT),
        "filter_even_mat" => source.filter(even).materialized("flt").to_stream().to(OUT),
        "map_values" => source.map_values(|value| value + "!").to_stream().to(OUT),
        other => return Err(format!("op {other}")),
    }
    Ok(())
}

/// A table without a store: the SDK's tables all have one, the contract's need not.
fn leave_store_out(description: &mut Description, store: &str) -> Result<()> {
    description.stores.retain(|found| found.name != store);
    let node = description.nodes.iter_mut().find(|node| node.store.as_deref() == Some(store));
    node.context("a case whose source has no store to leave out")?.store = None;
    Ok(())
}

fn kv_store(app: &mut App) {
    let store = app.store("kv");
    let stream: Stream<Text, Text> = app.stream("in");
    let shown: Stream<Text, String> = stream.process("script", |init: &mut Init| Script { store: init.store(&store) });
    shown.to(OUT);
}

/// Interprets the record's value as a store command.
struct Script {
    store: KeyValueStore<String, String>,
}

impl Processor<Text, Text, Text, String> for Script {
    fn process(&mut self, record: Record<Text, Text>, ctx: &mut Ctx<Text, String>) -> Result<(), Failure> {
        let key = record.key.unwrap_or_default();
        let value = record.value.unwrap_or("NULL".to_owned());
        let command: Vec<&str> = value.split(' ').collect();
        let word = |at: usize| command.get(at).map(|word| word.to_string()).ok_or_else(|| Failure::fail("too short"));
        let one = |stream: &str, value: Option<String>| Ok(vec![json!({"stream": stream, "value": value})]);
        let store = &self.store;
        let shown: Result<Vec<Value>, Failure> = match command[0] {
            "NULL" => store.delete(&key).map(|_| Vec::new()),
            "PUT" => {
                store.put(&key, &word(1)?);
                Ok(Vec::new())
            }
            "GET" => one("get", store.get(&key)?),
            "DEL" => one("delete", store.delete(&key)?),
            "PIA" => one("putIfAbsent", store.put_if_absent(&key, &word(1)?)?),
            "RANGE" => all("range", store.range(word(1)?..=word(2)?)?),
            "RRANGE" => all("reverseRange", store.reverse_range(word(1)?..=word(2)?)?),
            "FROM" => all("rangeFrom", store.range(word(1)?..)?),
            "TO" => all("rangeTo", store.range(..=word(1)?)?),
            "ALL" => all("all", store.all()?),
            "RALL" => all("reverseAll", store.reverse_all()?),
            "PREFIX" => all("prefixScan", store.prefix(&word(1)?)?),
            "N" => Ok(vec![json!({"stream": "approximateNumEntries", "value": store.approximate_entries()?})]),
            other => Err(Failure::fail(format!("command {other}"))),
        };
        shown?.iter().for_each(|shown| ctx.forward(Record::new(None, shown.to_string(), record.timestamp)));
        Ok(())
    }
}

fn all(stream: &str, entries: impl Iterator<Item = Result<(String, String), Failure>>) -> Result<Vec<Value>, Failure> {
    entries.map(|entry| entry.map(|(key, value)| json!({"stream": stream, "key": key, "value": value}))).collect()
}

fn punctuate(app: &mut App, stream: bool, interval: Duration) {
    let records: Stream<Text, Text> = app.stream("in");
    let shown: Stream<Text, String> = records.process("taps", |init: &mut Init| {
        if stream {
            init.every_stream_time(interval, "tick");
        } else {
            init.every_wall_clock_time(interval, "tick");
        }
        Taps
    });
    shown.to(OUT);
}

/// Shows what it is given.
struct Taps;

impl Processor<Text, Text, Text, String> for Taps {
    fn process(&mut self, record: Record<Text, Text>, ctx: &mut Ctx<Text, String>) -> Result<(), Failure> {
        let Record { key, value, timestamp, .. } = record;
        let shown = json!({"stream": "process", "key": key, "value": value, "ts": timestamp});
        ctx.forward(Record::new(None, shown.to_string(), timestamp));
        Ok(())
    }

    fn punctuate(&mut self, punctuation: &Punctuation, ctx: &mut Ctx<Text, String>) -> Result<(), Failure> {
        let shown = json!({"stream": "punctuate", "ts": punctuation.timestamp()});
        ctx.forward(Record::new(None, shown.to_string(), punctuation.timestamp()));
        Ok(())
    }
}
