//! A cached store holds updates back until a commit: of each key one goes downstream and into the changelog, and nothing
//! else of the results is another (Kafka Streams' record cache).
#![allow(clippy::unwrap_used)]

mod rig;

use millstream_engine::changelog::Suppressed;
use millstream_engine::record::{Headers, Outgoing, Record, push_header};
use millstream_engine::store::TaskStores;
use millstream_engine::task::{Failure, Settings, Step, Task};
use millstream_engine::topology::Plan;
use rig::{Answer, Code, asked, give, no_code, plan, record, run, task, values};

const TOPICS: [(&str, usize); 2] = [("in", 1 << 20), ("out", 1 << 20)];

const CACHED: &str = "[stores.rows]\ncache = \"1MiB\"\n";

/// A table of the topic `in` by an operator, and its changes.
fn table(operator: &str, store: &str, manifest: &str) -> Plan {
    let description = format!(
        r#"{{"version":1,"nodes":[{{"name":"in","op":"source"}},
        {{"name":"table","inputs":["in"],"store":"rows",{operator}}},
        {{"name":"change","op":"to-stream","inputs":["table"]}},
        {{"name":"seen","op":"peek","inputs":["change"]}},
        {{"name":"out","op":"sink","inputs":["seen"]}}],
        "stores":[{{"name":"rows","key":"bytes","value":"bytes",{store}}}]}}"#
    );
    plan(manifest, &description, &TOPICS).unwrap()
}

const COUNT: &str = r#""op":"count""#;
const TABLE: &str = r#""op":"to-table""#;
const KEYS: &str = r#""kind":"key-value""#;

/// Lets everything pass; `bad` as a value is refused.
fn pass(
    _: u32,
    frame: &[u8],
    _: &mut TaskStores,
    out: &mut Vec<u8>,
) -> Result<(), millstream_engine::functions::Fault> {
    let mut answer = Answer::default();
    for (at, value) in (0..asked(frame)).zip(values(frame)) {
        if value == b"bad" {
            answer.outcome(at, 4, b"not this one");
        }
    }
    answer.finish(out);
    Ok(())
}

fn opened(plan: Plan, settings: Settings) -> Task {
    task(plan, settings, pass as Code)
}

fn every_write() -> Settings {
    Settings { coalesce: false, ..Settings::default() }
}

/// Flushes, cuts and commits; what went out and what the changelogs were told.
fn commit(task: &mut Task, sequence: i64) -> (Vec<String>, Vec<String>) {
    while task.flush(0).unwrap() == Step::Ran {}
    assert!(task.is_flushed());
    let (out, changelog) = rig::cut(task, sequence);
    (shown(&out), shown(&changelog))
}

/// `key=value@timestamp`, a count as its number.
fn shown(out: &Outgoing) -> Vec<String> {
    let row = |(_, record): (_, Record<'_>)| {
        let value = match record.value.map(|value| (value, <[u8; 8]>::try_from(value))) {
            None => "-".to_owned(),
            Some((_, Ok(count))) => i64::from_be_bytes(count).to_string(),
            Some((value, Err(_))) => value.escape_ascii().to_string(),
        };
        format!("{}={value}@{}", record.key.unwrap().escape_ascii(), record.timestamp)
    };
    out.iter().map(row).collect()
}

fn rows(plan_of: &str) -> Vec<(String, Option<String>, i64)> {
    let row = |text: &str| {
        let (row, time) = text.split_once('@').unwrap();
        let (key, value) = row.split_once('=').unwrap();
        (key.to_owned(), (value != "-").then(|| value.to_owned()), time.parse().unwrap())
    };
    plan_of.split_whitespace().map(row).collect()
}

/// Gives `key=value@timestamp`, a deletion as `-`, and runs.
fn feed(task: &mut Task, from: i64, text: &str) -> i64 {
    let rows = rows(text);
    let records = rows.iter().map(|(key, value, timestamp)| Record {
        key: Some(key.as_bytes()),
        value: value.as_ref().map(String::as_bytes),
        headers: Headers(&[]),
        timestamp: *timestamp,
    });
    let offset = give(task, from, records);
    run(task).unwrap();
    offset
}

#[test]
fn of_each_key_one_update_goes_downstream_in_the_order_of_last_updates() {
    for settings in [Settings::default(), every_write()] {
        let mut task = opened(table(COUNT, KEYS, CACHED), settings);
        let offset = feed(&mut task, 0, "a=v@1 b=v@2 a=v@9 c=v@4 b=v@5 a=v@6");
        let expected = ["c=1@4", "b=2@5", "a=3@9"].map(String::from).to_vec();
        assert_eq!(commit(&mut task, 0), (expected.clone(), expected));
        feed(&mut task, offset, "a=v@10");
        assert_eq!(commit(&mut task, 1).0, ["a=4@10"]);
        assert_eq!(commit(&mut task, 2), (vec![], vec![]));
    }
}

#[test]
fn without_a_cache_every_update_goes_downstream() {
    for manifest in ["", "[stores.rows]\ncache = \"0B\"\n"] {
        let mut task = opened(table(COUNT, r#""kind":"key-value","cache_bytes":0"#, manifest), Settings::default());
        feed(&mut task, 0, "a=v@1 a=v@2");
        assert_eq!(commit(&mut task, 0), (vec!["a=1@1".to_owned(), "a=2@2".to_owned()], vec!["a=2@2".to_owned()]));
    }
}

#[test]
fn a_key_that_comes_and_goes_between_two_commits_leaves_nothing() {
    let mut task = opened(table(TABLE, KEYS, CACHED), every_write());
    let offset = feed(&mut task, 0, "a=1@1 b=1@2 a=-@3");
    assert_eq!(commit(&mut task, 0), (vec!["b=1@2".to_owned()], vec!["b=1@2".to_owned()]));
    // What the store held goes downstream as a deletion, with the time of the update that deletes.
    let offset = feed(&mut task, offset, "b=2@5 b=-@4");
    assert_eq!(commit(&mut task, 1), (vec!["b=-@4".to_owned()], vec!["b=-@4".to_owned()]));
    feed(&mut task, offset, "b=-@6");
    assert_eq!(commit(&mut task, 2), (vec![], vec![]));
}

#[test]
fn an_update_keeps_the_headers_of_its_record() {
    let mut task = opened(table(COUNT, KEYS, CACHED), Settings::default());
    let (mut first, mut last) = (Vec::new(), Vec::new());
    push_header(&mut first, "h", Some(b"first"));
    push_header(&mut last, "h", Some(b"last"));
    let with = |headers| Record { headers: Headers(headers), ..record(b"a", b"v", 1) };
    give(&mut task, 0, [with(&first[..]), with(&last[..])]);
    run(&mut task).unwrap();
    while task.flush(0).unwrap() == Step::Ran {}
    let (out, _) = rig::cut(&mut task, 0);
    let headers: Vec<_> = out.iter().map(|(_, record)| record.headers.last("h").flatten().unwrap().to_vec()).collect();
    assert_eq!(headers, [b"last"]);
}

#[test]
fn what_was_there_before_is_what_the_store_held_at_the_last_flush() {
    let description = r#"{"version":1,"nodes":[{"name":"in","op":"source"},
        {"name":"table","op":"to-table","inputs":["in"],"store":"rows"},
        {"name":"held","op":"suppress","inputs":["table"],"store":"held-store",
         "suppress":{"until":"time-limit","ms":9223372036854775807}}],
        "stores":[{"name":"rows","kind":"key-value","key":"bytes","value":"bytes","cache_bytes":1000},
                  {"name":"held-store","kind":"key-value","key":"bytes","value":"bytes"}]}"#;
    let mut task = task(plan("", description, &TOPICS).unwrap(), Settings::default(), no_code);
    let held = |task: &mut Task, sequence| {
        while task.flush(0).unwrap() == Step::Ran {}
        let (_, changelog) = rig::cut(task, sequence);
        let mut headers = Vec::new();
        let of_buffer = changelog.iter().filter(|(_, record)| record.headers.last("v").is_some());
        let text = |bytes: Option<&[u8]>| bytes.map(|bytes| String::from_utf8(bytes.to_vec()).unwrap());
        let change = |(_, record): (_, Record<'_>)| {
            let held = Suppressed::decode(record.value.unwrap(), &mut headers).unwrap();
            (text(held.old), text(held.new), held.offset)
        };
        of_buffer.map(change).collect::<Vec<_>>()
    };
    let some = |text: &str| Some(text.to_owned());
    let offset = feed(&mut task, 0, "a=1@1 a=2@2");
    assert_eq!(held(&mut task, 0), [(None, some("2"), 1)]);
    feed(&mut task, offset, "a=3@3 a=4@4");
    assert_eq!(held(&mut task, 1), [(some("2"), some("4"), 3)]);
}

#[test]
fn a_full_cache_is_flushed_before_the_commit() {
    let small = "[stores.rows]\ncache = \"400B\"\n";
    let mut task = opened(table(COUNT, KEYS, small), every_write());
    feed(&mut task, 0, "a=v@1 a=v@2 b=v@3 a=v@4 c=v@5 a=v@6");
    let (out, changelog) = commit(&mut task, 0);
    assert_eq!(out, changelog);
    // Two keys fit; the third one sends all of them on.
    assert_eq!(out, ["b=1@3", "a=3@4", "c=1@5", "a=4@6"]);
}

#[test]
fn an_aborted_interval_takes_with_it_what_was_held_back() {
    let mut task = opened(table(COUNT, KEYS, CACHED), Settings::default());
    let offset = feed(&mut task, 0, "a=v@1");
    assert_eq!(commit(&mut task, 0).0, ["a=1@1"]);
    for flushes in 0..3 {
        feed(&mut task, offset, "a=v@2 b=v@3 a=v@4");
        (0..flushes).for_each(|_| assert!(task.flush(0).is_ok()));
        task.abort();
        assert!(task.is_flushed());
    }
    feed(&mut task, offset, "a=v@2");
    assert_eq!(commit(&mut task, 1).0, ["a=2@2"]);
}

#[test]
fn nothing_is_taken_and_nothing_cut_while_a_flush_goes_on() {
    let settings = Settings { batch_records: 2, ..Settings::default() };
    let mut task = opened(table(COUNT, KEYS, CACHED), settings);
    let offset = feed(&mut task, 0, "a=v@1 b=v@2 c=v@3");
    assert_eq!(task.flush(0).unwrap(), Step::Ran);
    let early = rig::cut(&mut task, 0);
    assert!(early.0.is_empty() && early.1.is_empty());
    give(&mut task, offset, [record(b"a", b"v", 4)]);
    assert_eq!(task.step(0, 10).unwrap(), Step::Ran);
    assert_eq!(task.step(0, 10).unwrap(), Step::Full);
    assert_eq!(commit(&mut task, 0).0, ["a=1@1", "b=1@2", "c=1@3"]);
    run(&mut task).unwrap();
    assert_eq!(commit(&mut task, 1).0, ["a=2@4"]);
}

#[test]
fn a_key_that_is_refused_downstream_meets_the_policy_of_its_source() {
    let rows = "a=1@1 b=bad@2 c=3@3";
    let mut failing = opened(table(TABLE, KEYS, CACHED), Settings::default());
    feed(&mut failing, 0, rows);
    let failed = loop {
        match failing.flush(0) {
            Ok(Step::Ran) => {}
            Ok(_) => panic!("it passed"),
            Err(Failure::Record(failed)) => break failed,
            Err(other) => panic!("{other}"),
        }
    };
    assert_eq!((failed.topic.as_str(), failed.offset, failed.node.as_str()), ("in", 1, "seen"));
    assert!(failed.message.contains("not this one"), "{}", failed.message);
    let mut skipping = opened(table(TABLE, KEYS, &format!("on_error = \"skip\"\n{CACHED}")), Settings::default());
    feed(&mut skipping, 0, rows);
    let (out, changelog) = commit(&mut skipping, 0);
    assert_eq!(out, ["a=1@1", "c=3@3"]);
    assert_eq!(changelog, ["a=1@1", "b=bad@2", "c=3@3"]);
    assert_eq!(skipping.dropped().skipped, 1);
}

const WINDOWS: &str = r#""kind":"window","window_size_ms":10,"retention_ms":1000"#;
const BY_TIME: &str = r#""op":"count","window":{"type":"time","size_ms":10,"advance_ms":10,"grace_ms":100}"#;
const BY_SESSION: &str = r#""op":"count","window":{"type":"session","gap_ms":5,"grace_ms":100}"#;
const SLIDING: &str = r#""op":"count","window":{"type":"sliding","difference_ms":10,"grace_ms":100}"#;
const SESSIONS: &str = r#""kind":"session","retention_ms":1000"#;

/// Without the times that a key ends with: the start of a window, or end and start of a session.
fn short(rows: &[String]) -> Vec<String> {
    rows.iter().map(|row| format!("{}={}", &row[..1], row.split_once('=').unwrap().1)).collect()
}

#[test]
fn of_each_window_and_each_session_one_update_goes_downstream() {
    let mut windows = opened(table(BY_TIME, WINDOWS, CACHED), every_write());
    feed(&mut windows, 0, "a=v@1 a=v@12 a=v@3 b=v@4 a=v@2");
    let (out, changelog) = commit(&mut windows, 0);
    assert_eq!((short(&out), out.len()), (["a=1@12", "b=1@4", "a=3@3"].map(String::from).to_vec(), changelog.len()));
    // Sessions that are merged before anybody saw them were never there.
    let mut sessions = opened(table(BY_SESSION, SESSIONS, CACHED), every_write());
    let offset = feed(&mut sessions, 0, "a=v@1 a=v@4 b=v@4 a=v@8");
    let (out, changelog) = commit(&mut sessions, 0);
    assert_eq!((short(&out), changelog.len()), (["b=1@4", "a=3@8"].map(String::from).to_vec(), 2));
    feed(&mut sessions, offset, "a=v@11");
    let (out, changelog) = commit(&mut sessions, 1);
    assert_eq!((short(&out), changelog.len()), (["a=-@8", "a=4@11"].map(String::from).to_vec(), 2));
}

#[test]
fn windows_that_go_as_they_close_are_only_spared_the_changelog() {
    let closing = format!("{BY_TIME},\"emit\":\"on-window-close\"").replace("\"grace_ms\":100", "\"grace_ms\":0");
    let mut task = opened(table(&closing, WINDOWS, CACHED), every_write());
    feed(&mut task, 0, "a=v@1 a=v@2 a=v@12");
    let (out, changelog) = commit(&mut task, 0);
    assert_eq!((short(&out), changelog.len()), (vec!["a=2@2".to_owned()], 2));
}

/// A table that is counted, both cached, and the way of each update is seen; windows and sessions too.
#[test]
fn batches_and_eviction_change_nothing_but_how_often_a_key_is_told() {
    let tables = [(COUNT, KEYS), (TABLE, KEYS), (BY_TIME, WINDOWS), (BY_SESSION, SESSIONS), (SLIDING, WINDOWS)];
    for seed in 0..150u64 {
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let mut draw = |below: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % below
        };
        let (operator, store) = tables[draw(5) as usize];
        let cache = [250, 600, 2_000, 1 << 20][draw(4) as usize];
        let cached = format!("[stores.rows]\ncache = \"{cache}B\"\n");
        let intervals: Vec<String> = (0..4)
            .map(|_| {
                let rows = draw(30);
                let row = |_| {
                    let value = if draw(4) == 0 { "-".to_owned() } else { "x".repeat(draw(20) as usize) + "v" };
                    format!("{}={value}@{}", ["a", "b", "c", "d"][draw(4) as usize], draw(40))
                };
                (0..rows).map(row).collect::<Vec<_>>().join(" ")
            })
            .collect();
        let coalesce = draw(2) == 0;
        let play = |manifest: &str, batch_records: usize| {
            let settings = Settings { batch_records, coalesce, ..Settings::default() };
            let mut task = opened(table(operator, store, manifest), settings);
            let (mut offset, mut said) = (0, Vec::new());
            for (sequence, text) in intervals.iter().enumerate() {
                offset = feed(&mut task, offset, text);
                said.push(commit(&mut task, sequence as i64));
            }
            (said, task.dropped())
        };
        let alone = play(&cached, 1);
        for batch in [2, 7, 500] {
            assert_eq!(play(&cached, batch), alone, "seed {seed} batch {batch}");
        }
        // What a reader of the table knows at each commit is what it would know without a cache.
        let whole = play("", 500);
        let known = |said: &[(Vec<String>, Vec<String>)], which: fn(&(Vec<String>, Vec<String>)) -> &Vec<String>| {
            let mut table = std::collections::BTreeMap::new();
            let mut at_commits = Vec::new();
            for interval in said {
                for row in which(interval) {
                    let (key, value) = row.split_once('=').unwrap();
                    match value.starts_with('-') {
                        true => drop(table.remove(key)),
                        false => drop(table.insert(key.to_owned(), value.to_owned())),
                    }
                }
                at_commits.push(table.clone());
            }
            at_commits
        };
        assert_eq!(known(&alone.0, |said| &said.0), known(&whole.0, |said| &said.0), "seed {seed}: outputs");
        assert_eq!(known(&alone.0, |said| &said.1), known(&whole.0, |said| &said.1), "seed {seed}: changelog");
        assert_eq!(alone.1, whole.1, "seed {seed}: dropped");
        assert!(
            alone.0.iter().map(|said| said.0.len()).sum::<usize>() <= whole.0.iter().map(|said| said.0.len()).sum()
        );
    }
}

#[test]
fn a_store_that_cannot_have_a_cache_is_refused_by_name() {
    let refused = |operator: &str, store: &str, manifest: &str, why: &str| {
        let description = format!(
            r#"{{"version":1,"nodes":[{{"name":"in","op":"source"}},
            {{"name":"table","inputs":["in"],"store":"rows",{operator}}},
            {{"name":"own","op":"process","inputs":["in"],"stores":["own"]}}],
            "stores":[{{"name":"rows","key":"bytes","value":"bytes",{store}}},
                      {{"name":"own","kind":"window","key":"bytes","value":"bytes","window_size_ms":1,"retention_ms":1,
                        "retain_duplicates":true}}]}}"#
        );
        let problem = plan(manifest, &description, &TOPICS).unwrap_err();
        assert!(problem.to_string().contains(why), "{problem}");
    };
    refused(
        TABLE,
        r#""kind":"versioned","retention_ms":5"#,
        CACHED,
        "store `rows` cannot have a cache: it keeps versions",
    );
    refused(TABLE, KEYS, "[stores.own]\ncache = \"1KiB\"", "store `own` cannot have a cache: it keeps every value");
    let large = r#""kind":"key-value","cache_bytes":33554433"#;
    refused(TABLE, large, "", "`cache_bytes` is 33554433, and may be 33554432 at most");
    let shared = r#"{"version":1,"nodes":[{"name":"in","op":"source"},
        {"name":"table","op":"to-table","inputs":["in"],"store":"rows"},
        {"name":"reads","op":"process","inputs":["in"],"stores":["rows"]}],
        "stores":[{"name":"rows","kind":"key-value","key":"bytes","value":"bytes"}]}"#;
    let problem = plan(CACHED, shared, &TOPICS).unwrap_err();
    assert!(problem.to_string().contains("the processor `reads` would write past it"), "{problem}");
}
