//! A case of a topology: record by record, every one committed before the next.

use anyhow::{Context, Result, bail};
use millstream_engine::functions::Functions;
use millstream_engine::record::{Headers, Record};
use millstream_engine::task::Settings;
use serde_json::{Value, json};

use super::topologies::{self, OUT, Topology, Values};
use super::{Difference, Verdict, compare, hex};
use crate::logs::Owned;
use crate::rig::{Kept, Rig, Setup};

pub(super) fn run(case: &Value, kept: Kept) -> Result<Verdict> {
    let topology = &case["topology"];
    let Some(topology) = topologies::build(topology)? else {
        return Ok(Verdict::NotInThisVersion(topology["kind"].as_str().unwrap_or("without a kind").to_owned()));
    };
    let Topology { plugin, description, values } = topology;
    let mut rig = Rig::open(&Setup {
        manifest: "id = \"app\"",
        description: &description,
        partitions: 1,
        settings: Settings { coalesce: false, ..Settings::default() },
        kept,
        functions: &|| -> Box<dyn Functions> { Box::new(plugin.clone()) },
    })?;
    let mut differences = Vec::new();
    for (at, step) in case["steps"].as_array().context("a case without steps")?.iter().enumerate() {
        let before = rig.topic(OUT, 0).len();
        take(&mut rig, step).with_context(|| format!("step {at}"))?;
        let got: Result<Vec<Value>> = rig.topic(OUT, 0)[before..].iter().map(|record| shown(record, values)).collect();
        compare(&mut differences, format!("step {at}"), &step["out"], got?.into());
    }
    if let Some(expected) = case.get("dropped_records_total") {
        compare(&mut differences, "dropped_records_total", expected, rig.dropped().total().into());
    }
    if let Some(expected) = case.get("changelog") {
        compare_changelog(&mut differences, expected, &internal_records(&rig));
    }
    Ok(Verdict::of(differences))
}

fn take(rig: &mut Rig, step: &Value) -> Result<()> {
    if let Some(ms) = step.get("advance_wall_ms") {
        rig.advance(ms.as_i64().context("advance_wall_ms")?)?;
        return rig.settle();
    }
    let input = step.get("in").context("neither in nor advance_wall_ms")?;
    let bytes = |field: &str| match &input[field] {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text.as_bytes())),
        other => bail!("{field} {other}"),
    };
    let timestamp = input["ts"].as_i64().context("ts")?;
    let record = Record { key: bytes("key")?, value: bytes("value")?, headers: Headers(b""), timestamp };
    rig.append(input["topic"].as_str().context("topic")?, 0, record);
    rig.settle()
}

/// A forwarded record as the case shows it.
fn shown(record: &Owned, values: Values) -> Result<Value> {
    let text = |bytes: &Option<Vec<u8>>| match bytes {
        None => Ok(Value::Null),
        Some(bytes) => String::from_utf8(bytes.clone()).map(Value::from),
    };
    let value = match (values, &record.value) {
        // A processor's forwards are the case's own JSON.
        (Values::Shown, Some(json)) => return Ok(serde_json::from_slice(json)?),
        (Values::Count, Some(bytes)) => i64::from_be_bytes(bytes.as_slice().try_into()?).into(),
        (_, value) => text(value)?,
    };
    Ok(json!({"key": text(&record.key)?, "value": value, "ts": record.timestamp}))
}

/// What was written to internal topics, by topic in write order.
fn internal_records(rig: &Rig) -> Vec<Value> {
    let internal = |topic: &&str| topic.ends_with("-changelog") || topic.ends_with("-repartition");
    let topics = rig.written().into_iter().filter(internal);
    topics.flat_map(|topic| rig.topic(topic, 0).iter().map(move |record| internal_record(topic, record))).collect()
}

fn internal_record(topic: &str, record: &Owned) -> Value {
    let hex_of = |bytes: &Option<Vec<u8>>| bytes.as_deref().map(hex);
    let mut shown = json!({
        "topic": topic,
        "key_hex": hex_of(&record.key),
        "value_hex": hex_of(&record.value),
        "ts": record.timestamp,
    });
    if !record.headers.is_empty() {
        let headers = record.headers.iter().map(|(name, value)| (name.clone(), hex_of(value).into()));
        shown["headers_hex"] = Value::Object(headers.collect());
    }
    shown
}

fn compare_changelog(differences: &mut Vec<Difference>, expected: &Value, got: &[Value]) {
    let expected = expected.as_array().map_or(&[][..], Vec::as_slice);
    for at in 0..expected.len().max(got.len()) {
        let (expected, got) = (expected.get(at), got.get(at).cloned());
        compare(differences, format!("changelog {at}"), expected.unwrap_or(&Value::Null), got.unwrap_or_default());
    }
}
