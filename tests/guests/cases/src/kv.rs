//! A processor that does to a key-value store what a record's value says.

use millstream_sdk::prelude::{
    Context as Ctx, Failure, Init, KeyValueStore, Processor, Record, Stream, Topology as App,
};
use serde_json::{Value, json};

use crate::{OUT, Text};

pub fn script(app: &mut App) -> Result<(), String> {
    let store = app.store("kv");
    let stream: Stream<Text, Text> = app.stream("in");
    let shown: Stream<Text, String> = stream.process("script", |init: &mut Init| Script { store: init.store(&store) });
    shown.to(OUT);
    Ok(())
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
