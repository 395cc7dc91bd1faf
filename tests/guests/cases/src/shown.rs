//! Tables as the cases show them: each change as JSON, under the name of its stream where there are several.

use millstream_sdk::prelude::{
    BufferConfig, Context as Ctx, Data, Failure, Headers, Init, Processor, Record, Session, Stream, Suppressed,
    Windowed,
};
use millstream_sdk::{Changes, Table};
use serde_json::{Value, json};

use crate::{OUT, ms};

/// How a case shows a key or a value.
pub trait Shown: Data {
    fn shown(self) -> Value;
}

impl Shown for String {
    fn shown(self) -> Value {
        self.into()
    }
}

impl Shown for i64 {
    fn shown(self) -> Value {
        self.into()
    }
}

impl Shown for Option<String> {
    fn shown(self) -> Value {
        self.into()
    }
}

impl Shown for Option<Option<String>> {
    fn shown(self) -> Value {
        self.flatten().into()
    }
}

impl Shown for Option<i64> {
    fn shown(self) -> Value {
        self.into()
    }
}

impl Shown for Windowed<Option<String>> {
    fn shown(self) -> Value {
        json!({"key": self.key, "start": self.start, "end": self.end})
    }
}

impl Shown for Windowed<Option<String>, Session> {
    fn shown(self) -> Value {
        json!({"key": self.key, "start": self.start, "end": self.end})
    }
}

/// What is done to a case's table in the end.
#[derive(Clone, Debug)]
pub struct Finish {
    suppressed: Option<Suppressed>,
    also_raw: bool,
}

impl Finish {
    pub fn of(topology: &Value) -> Finish {
        let suppressed = topology.get("suppress").map(|suppress| suppressed(suppress, "held"));
        Finish { suppressed, also_raw: topology["also_raw"].as_bool().unwrap_or(false) }
    }

    pub fn table<K: Shown, V: Data, C: Changes>(&self, table: Table<K, V, C>)
    where
        C::Of<V>: Shown,
    {
        let Some(suppressed) = &self.suppressed else { return table.to_stream().to(OUT) };
        let held = || table.suppress(suppressed.clone()).to_stream();
        if self.also_raw {
            // Children are asked in the order in which they were made.
            let raw = tap(table.to_stream(), Some("raw"));
            raw.merge(&tap(held(), Some("suppressed"))).to(OUT);
        } else {
            tap(held(), None).to(OUT);
        }
    }
}

/// A suppression as a case has it, by this name.
pub fn suppressed(suppress: &Value, name: &str) -> Suppressed {
    let bound = |field: &str| suppress[field].as_u64();
    let buffer = match (bound("max_records"), bound("max_bytes")) {
        (Some(max), _) => BufferConfig::max_records(max),
        (None, Some(max)) => BufferConfig::max_bytes(max),
        (None, None) => BufferConfig::unbounded(),
    };
    let held = match ms(suppress, "ms") {
        Some(limit) => Suppressed::until_time_limit(limit, buffer),
        None => Suppressed::until_window_closes(buffer),
    };
    held.with_name(name)
}

fn tap<K: Shown, V: Shown>(stream: Stream<K, V>, name: Option<&'static str>) -> Stream<Option<String>, String> {
    stream.process(name.unwrap_or("tap"), move |_: &mut Init| Tap { stream: name })
}

/// As the cases have them, and nothing where there are none.
pub fn show_headers(shown: &mut Value, headers: &Headers) {
    if !headers.is_empty() {
        let text = |value: Option<&[u8]>| value.map(|value| String::from_utf8_lossy(value).into_owned());
        shown["headers"] = headers.iter().map(|(name, value)| json!([name, text(value)])).collect();
    }
}

struct Tap {
    stream: Option<&'static str>,
}

impl<K: Shown, V: Shown> Processor<K, V, Option<String>, String> for Tap {
    fn process(&mut self, record: Record<K, V>, ctx: &mut Ctx<Option<String>, String>) -> Result<(), Failure> {
        let Record { key, value, timestamp, headers } = record;
        let mut shown = json!({"key": key.shown(), "value": value.shown(), "ts": timestamp});
        if let Some(stream) = self.stream {
            shown["stream"] = stream.into();
        }
        show_headers(&mut shown, &headers);
        ctx.forward(Record::new(None, shown.to_string(), timestamp));
        Ok(())
    }
}
