//! Processors that leave keys as they are: no repartition topic behind them, and what breaks its word is refused.
#![allow(clippy::unwrap_used)]

mod rig;

use millstream_engine::functions::Fault;
use millstream_engine::record::Record;
use millstream_engine::store::TaskStores;
use millstream_engine::task::Settings;
use millstream_engine::topology::{Description, Operator, build};
use rig::{Answer, cut, give, plan, record, run, task};

const TOPICS: [(&str, usize); 3] = [("in", 1 << 20), ("out", 1 << 20), ("dlq", 1 << 20)];

fn counts(process: &str) -> String {
    format!(
        r#"{{"version":1,"nodes":[{{"name":"in","op":"source"}},
            {{"name":"p","op":"process","inputs":["in"]{process}}},
            {{"name":"count","op":"count","inputs":["p"],"store":"counts"}},
            {{"name":"stream","op":"to-stream","inputs":["count"]}},
            {{"name":"out","op":"sink","inputs":["stream"]}}],
            "stores":[{{"name":"counts","kind":"key-value","key":"utf8","value":"i64"}}]}}"#
    )
}

fn repartitions(description: &str) -> usize {
    let description: Description = serde_json::from_str(description).unwrap();
    let graph = build(&description).unwrap();
    graph.nodes.iter().filter(|node| node.operator == Operator::Repartition).count()
}

#[test]
fn what_keeps_its_keys_has_no_repartition_topic_behind_it() {
    assert_eq!(repartitions(&counts(r#","fixed_key":true"#)), 0);
    assert_eq!(repartitions(&counts("")), 1);
    assert_eq!(repartitions(&counts(r#","fixed_key":false"#)), 1);
}

#[test]
fn behind_a_changed_key_it_changes_nothing() {
    let description = counts(r#","fixed_key":true"#)
        .replace(r#"{"name":"p""#, r#"{"name":"map","op":"select-key","inputs":["in"]},{"name":"p""#)
        .replace(r#""op":"process","inputs":["in"]"#, r#""op":"process","inputs":["map"]"#);
    assert_eq!(repartitions(&description), 1, "the key was changed in front of it");
}

#[test]
fn only_a_process_keeps_keys() {
    let description = counts("").replace(r#""op":"count""#, r#""op":"count","fixed_key":true"#);
    let description: Description = serde_json::from_str(&description).unwrap();
    assert_eq!(build(&description).unwrap_err(), ["node `count` (count): only process takes `fixed_key`"]);
}

/// What is between the source and the sink; `more` of the process.
fn passes(more: &str) -> String {
    format!(
        r#"{{"version":1,"nodes":[{{"name":"in","op":"source"}},
            {{"name":"p","op":"process","inputs":["in"],"fixed_key":true{more}}},
            {{"name":"out","op":"sink","inputs":["p"]}}]}}"#
    )
}

/// Forwards each record under its own key as it is, under a copy of it where the value is `copy`, or under the value.
fn forwards(_: u32, frame: &[u8], _: &mut TaskStores, out: &mut Vec<u8>) -> Result<(), Fault> {
    let mut answer = Answer::default();
    for (place, (key, value)) in rig::keys(frame).into_iter().zip(rig::values(frame)).enumerate() {
        match &value[..] {
            b"same" => answer.element(place as u32, Some(b"same"), 0),
            b"copy" => answer.under(place as u32, Some(&key), b"copy"),
            b"null" => answer.under(place as u32, None, b"null"),
            other => answer.under(place as u32, Some(other), b"other"),
        }
    }
    answer.finish(out);
    Ok(())
}

fn sent(manifest: &str, records: &[Record<'_>]) -> Result<Vec<String>, String> {
    let mut task = task(plan(manifest, &passes(""), &TOPICS).unwrap(), Settings::default(), forwards);
    give(&mut task, 0, records.iter().copied());
    run(&mut task).map_err(|error| error.to_string())?;
    let (out, _) = cut(&mut task, 1);
    Ok(out.iter().map(|(_, record)| record.value.unwrap().escape_ascii().to_string()).collect())
}

const REFUSED: &str = "bad frame: a record was forwarded with another key than that of the record it comes from; the node \
                       has `fixed_key`: a process without it may";

#[test]
fn a_changed_key_is_the_guests_fault() {
    assert_eq!(sent("", &[record(b"k", b"same", 0), record(b"k", b"copy", 1)]).unwrap(), ["same", "copy"]);
    let keyless = Record { key: None, ..record(b"", b"null", 2) };
    assert_eq!(sent("", &[keyless]).unwrap(), ["null"]);
    let cases: [(Option<&[u8]>, &str); 5] =
        [(Some(b"k"), "x"), (Some(b"k"), "kk"), (Some(b"k"), "null"), (None, "k"), (Some(b""), "null")];
    for (key, value) in cases {
        let error = sent("", &[Record { key, ..record(b"", value.as_bytes(), 0) }]).unwrap_err();
        assert!(error.contains(REFUSED), "{key:?} {value}: {error}");
    }
}

#[test]
fn a_changed_key_meets_the_policy_of_its_record_alone() {
    let records = [record(b"k", b"same", 0), record(b"k", b"other-key", 1), record(b"k", b"copy", 2)];
    assert_eq!(sent("on_error = \"skip\"", &records).unwrap(), ["same", "copy"]);
}

/// Forwards from a punctuation, under no key.
fn fires(_: u32, frame: &[u8], _: &mut TaskStores, out: &mut Vec<u8>) -> Result<(), Fault> {
    let mut answer = Answer::default();
    if frame[6] == 3 {
        answer.element(0, Some(b"fired"), 0);
    }
    answer.finish(out);
    Ok(())
}

#[test]
fn a_punctuation_has_no_key_to_forward_under() {
    let ticks = passes(r#","punctuations":[{"name":"tick","time":"stream","every_ms":10}]"#);
    let mut task = task(plan("", &ticks, &TOPICS).unwrap(), Settings::default(), fires);
    give(&mut task, 0, [record(b"k", b"", 5)]);
    let error = run(&mut task).unwrap_err().to_string();
    assert!(error.contains("bad frame: a record was forwarded from a punctuation, which has no key"), "{error}");
}
