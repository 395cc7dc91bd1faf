//! Processors that do to a window, session or versioned store what a record's value says.

use millstream_sdk::prelude::{
    Context as Ctx, Failure, Init, Materialized, Processor, Record, SessionStore, Stream, Topology as App,
    VersionedStore, WindowStore,
};
use millstream_sdk::store::{TimedEntry, TimedScan, Versioned};
use serde_json::{Value, json};

use crate::{OUT, Text, needed_ms};

pub fn windows(app: &mut App, case: &Value) -> Result<(), String> {
    let mut options =
        Materialized::named("ws").window_size(needed_ms(case, "size")?).retention(needed_ms(case, "retention")?);
    if case["retain_duplicates"] == true {
        options = options.retain_duplicates();
    }
    let store = app.window_store(options);
    let stream: Stream<Text, Text> = app.stream("in");
    stream.process("script", move |init: &mut Init| Windows { store: init.window_store(&store) }).to(OUT);
    Ok(())
}

pub fn sessions(app: &mut App, case: &Value) -> Result<(), String> {
    let store = app.session_store(Materialized::named("ss").retention(needed_ms(case, "retention")?));
    let stream: Stream<Text, Text> = app.stream("in");
    stream.process("script", move |init: &mut Init| Sessions { store: init.session_store(&store) }).to(OUT);
    Ok(())
}

pub fn versions(app: &mut App, case: &Value) -> Result<(), String> {
    let store = app.versioned_store(Materialized::named("vs").retention(needed_ms(case, "history")?));
    let stream: Stream<Text, Text> = app.stream("in");
    stream.process("script", move |init: &mut Init| Versions { store: init.versioned_store(&store) }).to(OUT);
    Ok(())
}

/// A record's words: what to do, and with what numbers.
struct Words(Vec<String>);

impl Words {
    fn of(value: &Text) -> Words {
        Words(value.as_deref().unwrap_or("NULL").split(' ').map(str::to_owned).collect())
    }

    fn verb(&self) -> &str {
        &self.0[0]
    }

    fn word(&self, at: usize) -> Result<String, Failure> {
        self.0.get(at).cloned().ok_or_else(|| Failure::fail("too short"))
    }

    fn number(&self, at: usize) -> Result<i64, Failure> {
        Ok(self.word(at)?.parse()?)
    }

    fn unknown<T>(&self) -> Result<T, Failure> {
        Err(Failure::fail(format!("command {:?}", self.0)))
    }
}

fn show(shown: Vec<Value>, timestamp: i64, ctx: &mut Ctx<Text, String>) {
    shown.iter().for_each(|shown| ctx.forward(Record::new(None, shown.to_string(), timestamp)));
}

fn windowed(stream: &str, scan: TimedScan<String, Text>) -> Result<Vec<Value>, Failure> {
    let shown = |entry: TimedEntry<String, Text>| {
        let key = json!({"key": entry.key, "start": entry.start, "end": entry.end});
        json!({"stream": stream, "key": key, "value": entry.value})
    };
    scan.map(|entry| entry.map(shown)).collect()
}

struct Windows {
    store: WindowStore<String, Text>,
}

impl Processor<Text, Text, Text, String> for Windows {
    fn process(&mut self, record: Record<Text, Text>, ctx: &mut Ctx<Text, String>) -> Result<(), Failure> {
        let key = record.key.unwrap_or_default();
        let words = Words::of(&record.value);
        let shown = match words.verb() {
            "FETCH" => {
                let scan = self.store.fetch(&key, words.number(1)?..=words.number(2)?);
                let shown = |entry: TimedEntry<String, Text>| json!({"stream": "fetch", "start": entry.start, "value": entry.value});
                scan.map(|entry| entry.map(shown)).collect::<Result<Vec<Value>, Failure>>()?
            }
            "ALL" => windowed("all", self.store.all())?,
            _ => {
                self.store.put(&key, record.timestamp, &record.value)?;
                Vec::new()
            }
        };
        show(shown, record.timestamp, ctx);
        Ok(())
    }
}

struct Sessions {
    store: SessionStore<String, Text>,
}

impl Processor<Text, Text, Text, String> for Sessions {
    fn process(&mut self, record: Record<Text, Text>, ctx: &mut Ctx<Text, String>) -> Result<(), Failure> {
        let key = record.key.unwrap_or_default();
        let words = Words::of(&record.value);
        let shown = match words.verb() {
            "PUT" => {
                self.store.put(&key, words.number(1)?, words.number(2)?, &Some(words.word(3)?))?;
                Vec::new()
            }
            "REMOVE" => {
                self.store.remove(&key, words.number(1)?, words.number(2)?)?;
                Vec::new()
            }
            "FIND" => windowed("findSessions", self.store.find_sessions(&key, words.number(1)?, words.number(2)?))?,
            "FETCH" => windowed("fetch", self.store.fetch(&key))?,
            "ONE" => {
                let value = self.store.fetch_session(&key, words.number(1)?, words.number(2)?)?;
                vec![json!({"stream": "fetchSession", "value": value.flatten()})]
            }
            _ => return words.unknown(),
        };
        show(shown, record.timestamp, ctx);
        Ok(())
    }
}

struct Versions {
    store: VersionedStore<String, Text>,
}

impl Processor<Text, Text, Text, String> for Versions {
    fn process(&mut self, record: Record<Text, Text>, ctx: &mut Ctx<Text, String>) -> Result<(), Failure> {
        let (key, now) = (record.key.unwrap_or_default(), record.timestamp);
        let words = Words::of(&record.value);
        let version = |stream: &str, found: Option<Versioned<Text>>| match found {
            Some(found) => json!({"stream": stream, "value": found.value, "ts": found.timestamp}),
            None => json!({"stream": stream, "value": null}),
        };
        let shown = match words.verb() {
            "NULL" => json!({"stream": "putReturn", "value": self.store.put(&key, &None, now)?.code()}),
            "PUT" => json!({"stream": "putReturn", "value": self.store.put(&key, &Some(words.word(1)?), now)?.code()}),
            "DEL" => version("delete", self.store.delete(&key, now)?),
            "GET" => version("get", self.store.get(&key)?),
            "ASOF" => version("asOf", self.store.get_as_of(&key, words.number(1)?)?),
            _ => return words.unknown(),
        };
        show(vec![shown], now, ctx);
        Ok(())
    }
}
