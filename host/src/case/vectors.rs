//! Cases as JSON lines, in the format of the vectors (`tests/vectors/README.md`). What a case says of its `topology` is about
//! the one it was drawn from; here it runs on the project's own. A record of `out` may name its `topic`.

use millstream_engine::config::{ConfigError, nearest};
use serde_json::{Map, Value, json};

use super::coding::{Coding, Codings};
use super::section::Source;
use super::{Act, Case, Expected, Fields, Given, Names, Out, Step};

const CASE: [&str; 7] = ["id", "note", "source", "topology", "steps", "dropped_records_total", "changelog"];
const STEP: [&str; 3] = ["in", "advance_wall_ms", "out"];
const GIVEN: [&str; 4] = ["topic", "key", "value", "ts"];
const OUT: [&str; 4] = ["topic", "key", "value", "ts"];

/// The cases of a file; the errors are all there are.
pub fn read(file: &str, text: &str, names: &Names) -> Result<Vec<Case>, Vec<ConfigError>> {
    let source = Source::new(file, text);
    let mut cases = Vec::new();
    for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let mut reader = Reader { source: &source, line: at + 1, names };
        match serde_json::from_str::<Value>(line) {
            Ok(Value::Object(case)) => cases.push(reader.case(&case)),
            Ok(_) => reader.report("", "is no object", None),
            Err(error) => reader.report("", format!("is not JSON: {error}"), None),
        }
    }
    let errors = source.into_errors();
    if errors.is_empty() { Ok(cases) } else { Err(errors) }
}

struct Reader<'a> {
    source: &'a Source<'a>,
    line: usize,
    names: &'a Names,
}

impl Reader<'_> {
    fn report(&mut self, key: &str, message: impl Into<String>, suggestion: Option<String>) {
        self.source.report(self.line, key, message, suggestion);
    }

    fn check_keys(&mut self, path: &str, object: &Map<String, Value>, known: &[&str]) {
        for key in object.keys().filter(|key| !known.contains(&key.as_str())) {
            let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            self.report(&path, "is not a key of this object", nearest(key, known.iter().copied()));
        }
    }

    fn case(&mut self, case: &Map<String, Value>) -> Case {
        self.check_keys("", case, &CASE);
        let name = case.get("id").and_then(Value::as_str).unwrap_or_default().to_owned();
        if name.is_empty() {
            self.report("id", "has no `id`, by which a failure is told", None);
        }
        let steps = self.list(case, "", "steps").unwrap_or_default();
        if steps.is_empty() {
            self.report("steps", "has no steps", None);
        }
        let steps = steps.iter().enumerate().map(|(at, step)| self.step(&format!("steps[{at}]"), step)).collect();
        let dropped = case.get("dropped_records_total").map(|dropped| {
            dropped.as_u64().unwrap_or_else(|| {
                self.report("dropped_records_total", format!("is {dropped}, and should be a whole number"), None);
                0
            })
        });
        let changelog = self.list(case, "", "changelog").map(<[Value]>::to_vec);
        Case { name, line: self.line, partitions: 1, steps, dropped, changelog }
    }

    /// `None`: there is none.
    fn list<'v>(&mut self, object: &'v Map<String, Value>, path: &str, key: &str) -> Option<&'v [Value]> {
        let value = object.get(key)?;
        let list = value.as_array().map(Vec::as_slice);
        if list.is_none() {
            self.report(&format!("{path}{key}"), "should be a list", None);
        }
        list
    }

    fn step(&mut self, path: &str, step: &Value) -> Step {
        let empty = Map::new();
        let step = step.as_object().unwrap_or(&empty);
        self.check_keys(path, step, &STEP);
        let act = match (step.get("in").and_then(Value::as_object), step.get("advance_wall_ms").and_then(Value::as_i64))
        {
            (Some(given), None) => Act::Pipe(self.given(&format!("{path}.in"), given).into_iter().collect()),
            (None, Some(ms)) => Act::Advance(ms),
            _ => {
                self.report(path, "has either `in`, a record, or `advance_wall_ms`, a time", None);
                Act::Advance(0)
            }
        };
        let out = self.list(step, &format!("{path}."), "out").unwrap_or_default();
        let all = out.iter().enumerate().map(|(at, record)| self.out(&format!("{path}.out[{at}]"), record)).collect();
        let out = Out::InOrder(Expected { line: self.line, all });
        Step { line: self.line, act, out, stores: Default::default(), fails: None }
    }

    fn given(&mut self, path: &str, given: &Map<String, Value>) -> Option<Given> {
        self.check_keys(path, given, &GIVEN);
        let topic = given.get("topic").and_then(Value::as_str).unwrap_or_default().to_owned();
        let inputs = &self.names.inputs;
        let Some(codings) = inputs.get(&topic).copied() else {
            let known = inputs.keys().map(String::as_str);
            let message = format!(
                "is no input topic of the application; there are {}",
                known.clone().collect::<Vec<_>>().join(", ")
            );
            self.report(&format!("{path}.topic"), message, nearest(&topic, known));
            return None;
        };
        let key = self.bytes(path, "key", given, codings.key);
        let value = self.bytes(path, "value", given, codings.value);
        let timestamp = self.timestamp(path, given);
        Some(Given { topic, partition: None, key, value, headers: Vec::new(), timestamp })
    }

    fn out(&mut self, path: &str, record: &Value) -> Fields {
        let empty = Map::new();
        let record = record.as_object().unwrap_or(&empty);
        self.check_keys(path, record, &OUT);
        let mut fields = Fields::new();
        let outputs = &self.names.outputs;
        let codings = match record.get("topic").map(|topic| topic.as_str().unwrap_or_default()) {
            Some(topic) => {
                fields.insert("topic".to_owned(), topic.into());
                outputs.get(topic)
            }
            None => outputs.values().next().filter(|_| outputs.len() == 1),
        };
        let plain = Coding::declared(None);
        let codings = codings.copied().unwrap_or_else(|| {
            let known = outputs.keys().cloned().collect::<Vec<_>>().join(", ");
            self.report(
                &format!("{path}.topic"),
                format!("names one of the application's output topics: {known}"),
                None,
            );
            Codings { key: plain, value: plain }
        });
        for (field, coding) in [("key", codings.key), ("value", codings.value)] {
            let bytes = self.bytes(path, field, record, coding);
            fields.insert(field.to_owned(), coding.show(bytes.as_deref()));
        }
        if let Some(timestamp) = self.timestamp(path, record) {
            fields.insert("timestamp".to_owned(), timestamp.into());
        }
        fields
    }

    fn bytes(&mut self, path: &str, key: &str, object: &Map<String, Value>, coding: Coding) -> Option<Vec<u8>> {
        coding.read(object.get(key).unwrap_or(&Value::Null)).unwrap_or_else(|why| {
            self.report(&format!("{path}.{key}"), why, None);
            None
        })
    }

    fn timestamp(&mut self, path: &str, object: &Map<String, Value>) -> Option<i64> {
        let value = object.get("ts")?;
        let timestamp = value.as_i64().filter(|timestamp| *timestamp >= 0);
        if timestamp.is_none() {
            self.report(&format!("{path}.ts"), format!("is {value}, and should be a time in ms"), None);
        }
        timestamp
    }
}

/// A record of `out` as it stands in a file.
pub fn record(fields: &Fields) -> Value {
    let field = |(name, value): (&String, &Value)| match name.as_str() {
        "timestamp" => Some(("ts".to_owned(), value.clone())),
        name if OUT.contains(&name) => Some((name.to_owned(), value.clone())),
        _ => None,
    };
    json!(fields.iter().filter_map(field).collect::<Map<_, _>>())
}
