//! A case of a topology: record by record, every one committed before the next.

use anyhow::{Context, Result, bail};
use millstream_engine::record::{Headers, Record, push_header};
use millstream_engine::task::Settings;
use serde_json::{Value, json};

use super::topology::{OUT, RENAMED, Topology, Values};
use super::{Difference, Verdict, compare, hex};
use crate::logs::Owned;
use crate::rig::{Kept, Rig, Setup};

pub(super) fn run(case: &Value, kept: Kept) -> Result<Verdict> {
    let kind = &topology_of(case);
    let Some(topology) = Topology::of(kind)? else {
        return Ok(Verdict::NotInThisVersion(kind["kind"].as_str().unwrap_or("without a kind").to_owned()));
    };
    let steps = case["steps"].as_array().context("a case without steps")?;
    let partitions = 1 + steps.iter().map(partition).max().unwrap_or_default();
    let mut rig = Rig::open(&Setup {
        manifest: "id = \"app\"",
        description: &topology.description,
        partitions,
        settings: Settings { coalesce: false, ..Settings::default() },
        kept,
        functions: &|| topology.functions(),
    })?;
    let has_times = steps.iter().any(|step| has_times(&step["out"]));
    let mut differences = Vec::new();
    for (at, step) in steps.iter().enumerate() {
        let before: Vec<usize> = (0..partitions).map(|partition| rig.topic(OUT, partition).len()).collect();
        take(&mut rig, step).with_context(|| format!("step {at}"))?;
        let written = (0..partitions).zip(before).flat_map(|(at, before)| rig.topic(OUT, at).split_off(before));
        let shown = written.map(|record| shown(&record, topology.values));
        let mut got = shown.collect::<Result<Vec<Value>>>()?;
        if !has_times {
            got.iter_mut().filter_map(Value::as_object_mut).for_each(|record| drop(record.remove("ts")));
        }
        compare(&mut differences, format!("step {at}"), &step["out"], got.into());
    }
    if let Some(expected) = case.get("dropped_records_total") {
        compare(&mut differences, "dropped_records_total", expected, rig.dropped().total().into());
    }
    if let Some(expected) = case.get("changelog") {
        compare_changelog(&mut differences, case, expected, &internal_records(&rig));
    }
    Ok(Verdict::of(differences))
}

/// How long another library's windows are kept, ms: its cases say nothing of it, and leave none out for its age. Kafka
/// Streams' own default hides a session before the last record has come that may still reach it.
const KEPT_MS: u64 = 86_400_000;

fn topology_of(case: &Value) -> Value {
    let mut topology = case["topology"].clone();
    let window = topology.get_mut("window").and_then(Value::as_object_mut);
    if let (Some(window), true) = (window, case.get("library").is_some()) {
        window.entry("retention").or_insert(KEPT_MS.into());
    }
    topology
}

fn take(rig: &mut Rig, step: &Value) -> Result<()> {
    if let Some(ms) = step.get("advance_wall_ms") {
        rig.advance(ms.as_i64().context("advance_wall_ms")?)?;
        return rig.settle_each();
    }
    let input = step.get("in").context("neither in nor advance_wall_ms")?;
    let bytes = |field: &str| match &input[field] {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text.clone().into_bytes())),
        Value::Number(number) => Ok(Some(number.to_string().into_bytes())),
        other => bail!("{field} {other}"),
    };
    let (key, value, headers) = (bytes("key")?, bytes("value")?, headers_of(input)?);
    let timestamp = input["ts"].as_i64().context("ts")?;
    let record = Record { key: key.as_deref(), value: value.as_deref(), headers: Headers(&headers), timestamp };
    rig.append(input["topic"].as_str().context("topic")?, partition(step), record);
    rig.settle_each()
}

/// Where the record of a step goes.
fn partition(step: &Value) -> i32 {
    step["in"]["partition"].as_i64().and_then(|partition| i32::try_from(partition).ok()).unwrap_or_default()
}

/// `[["name", "text"], ["name", null]]`, as they travel.
fn headers_of(input: &Value) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for header in input["headers"].as_array().into_iter().flatten() {
        let name = header[0].as_str().with_context(|| format!("a header without a name: {header}"))?;
        push_header(&mut bytes, name, header[1].as_str().map(str::as_bytes));
    }
    Ok(bytes)
}

/// Whether a case says when what comes out was: those of other systems do not.
fn has_times(out: &Value) -> bool {
    out.as_array().is_some_and(|out| out.iter().any(|record| record.get("ts").is_some()))
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
        (Values::Count | Values::Windowed(_, true), Some(bytes)) => {
            i64::from_be_bytes(bytes.as_slice().try_into()?).into()
        }
        (_, value) => text(value)?,
    };
    let key = match values {
        Values::Windowed(keys, _) => keys.shown(record.key.as_deref())?,
        _ => text(&record.key)?,
    };
    let mut shown = json!({"key": key, "value": value, "ts": record.timestamp});
    if !record.headers.is_empty() {
        let headers = record.headers.iter().map(|(name, value)| Ok(json!([name, text(value)?])));
        shown["headers"] = headers.collect::<Result<Vec<Value>>>()?.into();
    }
    Ok(shown)
}

/// What was written to internal topics, by topic in write order.
fn internal_records(rig: &Rig) -> Vec<Value> {
    let internal = |topic: &&str| ["-changelog", "-repartition", "-topic"].iter().any(|end| topic.ends_with(end));
    let topics = rig.written().into_iter().filter(internal);
    let named = |topic: &str| {
        let renamed = RENAMED.iter().find(|(own, _)| topic.strip_prefix("app-") == Some(own));
        renamed.map_or(topic.to_owned(), |(_, theirs)| format!("app-{theirs}"))
    };
    let records = topics.flat_map(|topic| {
        let name = named(topic);
        rig.topic(topic, 0).into_iter().map(move |record| internal_record(&name, &record))
    });
    records.collect()
}

fn internal_record(topic: &str, record: &Owned) -> Value {
    let hex_of = |bytes: &Option<Vec<u8>>| bytes.as_deref().map(hex);
    let mut shown = json!({
        "topic": topic,
        "key_hex": hex_of(&record.key),
        "value_hex": hex_of(&record.value),
        // Kafka Streams leaves the time of what waits for a table to the producer.
        "ts": if topic.ends_with("-Buffer-changelog") { Value::Null } else { record.timestamp.into() },
    });
    if !record.headers.is_empty() {
        let headers = record.headers.iter().map(|(name, value)| (name.clone(), hex_of(value).into()));
        shown["headers_hex"] = Value::Object(headers.collect());
    }
    shown
}

/// How Kafka Streams begins the name of a suppression's buffer.
const SUPPRESSION: &str = "app-KTABLE-SUPPRESS-STATE-STORE-";

/// Whether a changelog is of what a suppression holds back; in a chain they are called `h` and their place.
fn is_suppression(topic: &str) -> bool {
    let place = topic.strip_prefix("app-h").and_then(|rest| rest.strip_suffix("-store-changelog"));
    topic.starts_with(SUPPRESSION) || place.is_some_and(|place| place.parse::<usize>().is_ok())
}

/// Whether what is let go may come, for the next, from another record.
fn holds_back(op: &Value) -> bool {
    op["op"] == "suppress" || op.get("suppress").is_some() || (op["op"] == "join_table" && op.get("grace").is_some())
}

/// What a suppression or a join with grace lets go comes, for the next suppression, from another record: see
/// `host/docs/differences.md`. Behind its time a row says where it comes from: offset, topic with its length, partition.
fn hide_origin(record: &mut Value) {
    const OFFSET: usize = 16;
    const TOPIC: std::ops::Range<usize> = 32..40;
    const PARTITION_DIGITS: usize = 8;
    let Some(value) = record["value_hex"].as_str() else { return };
    let topic = value.get(TOPIC).and_then(|digits| usize::from_str_radix(digits, 16).ok()).unwrap_or_default();
    let end = TOPIC.end + 2 * topic + PARTITION_DIGITS;
    if let (Some(time), Some(rest)) = (value.get(..OFFSET), value.get(end..)) {
        record["value_hex"] = format!("{time} from somewhere {rest}").into();
    }
}

/// Whether Kafka Streams writes the headers of the record that it works on beside the store's changes, which nobody reads:
/// see `host/docs/differences.md`.
fn has_headers_there(record: &Value) -> bool {
    let ends = ["this-join-store-changelog", "other-join-store-changelog", "-subscription-store-changelog"];
    record["topic"].as_str().is_some_and(|topic| {
        ends.iter().any(|end| topic.ends_with(end)) || topic.starts_with("app-KTABLE-FK-JOIN-SUBSCRIPTION-STATE-STORE-")
    })
}

/// Of what suppressions hold back Kafka Streams logs the keys of a commit in the order of a hash set, and leaves the time to
/// the producer: each key's entries are compared, and no times.
fn compare_changelog(differences: &mut Vec<Difference>, case: &Value, expected: &Value, got: &[Value]) {
    let mut expected = expected.as_array().cloned().unwrap_or_default();
    for record in expected.iter_mut().filter(|record| has_headers_there(record)).filter_map(Value::as_object_mut) {
        record.remove("headers_hex");
    }
    let is_held = |record: &Value| record["topic"].as_str().is_some_and(is_suppression);
    let name = expected.iter().find(|record| is_held(record)).map(|record| record["topic"].clone());
    let mut got = got.to_vec();
    for record in &mut got {
        if record["topic"] == "app-held-store-changelog" {
            record["topic"] = name.clone().unwrap_or_default();
        }
        if is_held(record) {
            record["ts"] = Value::Null;
        }
    }
    if case["topology"]["ops"].as_array().is_some_and(|ops| ops.iter().filter(|op| holds_back(op)).count() > 1) {
        got.iter_mut().chain(&mut expected).filter(|record| is_held(record)).for_each(hide_origin);
    }
    let order = |record: &Value| {
        let text = |field: &str| record[field].as_str().unwrap_or_default().to_owned();
        (text("topic"), if is_held(record) { text("key_hex") } else { String::new() })
    };
    expected.sort_by_key(order);
    got.sort_by_key(order);
    for at in 0..expected.len().max(got.len()) {
        let (expected, got) = (expected.get(at), got.get(at).cloned());
        compare(differences, format!("changelog {at}"), expected.unwrap_or(&Value::Null), got.unwrap_or_default());
    }
}
