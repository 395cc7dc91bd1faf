//! What a suppression holds back: it survives restarts and goes back with what is undone, and comes out once.
#![allow(clippy::unwrap_used)]

mod rig;

use std::collections::BTreeMap;
use std::sync::Arc;

use millstream_engine::record::{Headers, Outgoing, Record, Records};
use millstream_engine::task::{Cut, Failure, Inputs, Metadata, Settings, Start, Task, TaskId};
use millstream_engine::topology::Plan;
use rig::{Native, cut, give, no_code, plan, record, run, stores, task};

const TOPICS: [(&str, usize); 2] = [("in", 1 << 20), ("out", 1 << 20)];

fn suppressing(suppress: &str, manifest: &str) -> Plan {
    let description = format!(
        r#"{{"version":1,"nodes":[{{"name":"in","op":"source"}},
        {{"name":"count","op":"count","inputs":["in"],"store":"counts"}},
        {{"name":"held","op":"suppress","inputs":["count"],"store":"held-store","suppress":{suppress}}},
        {{"name":"change","op":"to-stream","inputs":["held"]}},
        {{"name":"out","op":"sink","inputs":["change"]}}],
        "stores":[{{"name":"counts","kind":"key-value","key":"bytes","value":"i64"}},
                  {{"name":"held-store","kind":"key-value","key":"bytes","value":"bytes"}}]}}"#
    );
    plan(manifest, &description, &TOPICS).unwrap()
}

const THREE: &str = r#"{"until":"time-limit","ms":9223372036854775807,"max_records":3}"#;

/// `key=count@timestamp`
fn given(out: &Outgoing) -> Vec<String> {
    let row = |(_, record): (_, Record<'_>)| {
        let key = String::from_utf8(record.key.unwrap().to_vec()).unwrap();
        let count = i64::from_be_bytes(record.value.unwrap().try_into().unwrap());
        format!("{key}={count}@{}", record.timestamp)
    };
    out.iter().map(row).collect()
}

/// Gives the task one record for each name, at the time that it ends with.
fn feed(task: &mut Task, from: i64, names: &[&str]) -> i64 {
    let time = |name: &str| name.trim_start_matches(char::is_alphabetic).parse::<i64>().unwrap();
    let offset = give(task, from, names.iter().map(|name| record(name.as_bytes(), b"v", time(name))));
    run(task).unwrap();
    offset
}

/// Another owner's task, with its stores rebuilt from all that their changelogs have said.
fn rebuilt(plan: &Arc<Plan>, before: &Task, said: &[Outgoing], offset: i64, metadata: Metadata) -> Task {
    let mut rebuilt = stores(plan);
    for (number, store) in plan.stores.iter().enumerate() {
        let mut records = Records::default();
        for (to, Record { key, value, timestamp, headers }) in said.iter().flat_map(|said| said.iter()) {
            if Some(to.topic) == store.changelog {
                // The changelog of a suppression says of which version it is.
                let version = headers.last("v");
                let is_held = store.description.name == "held-store" && value.is_some();
                assert_eq!(version, is_held.then_some(Some(&[3][..])));
                records.push(records.len() as i64, Record { key, value, timestamp, headers: Headers(&[]) });
            }
        }
        rebuilt.restore(number, &records, records.len() as i64 - 1).unwrap();
        rebuilt.end_restore(number).unwrap();
    }
    let input = before.inputs().next().unwrap();
    let start = Start { input, source: 0, offset, metadata: Some(metadata) };
    let id = TaskId { subtopology: 0, partition: 0 };
    let mut after = Task::new(id, plan.clone(), Settings::default(), &[start], 0);
    after.open(rebuilt, Box::new(Native(no_code)));
    after
}

/// Cuts and commits; what went out, what was logged, and what stands beside the first offset.
fn interval(task: &mut Task, sequence: i64) -> (Outgoing, Outgoing, Metadata) {
    let mut cut = Cut::default();
    task.seal(sequence, Inputs::All, &mut cut);
    task.on_committed();
    task.apply_committed(&BTreeMap::new()).unwrap();
    let metadata = Metadata::decode(&cut.offsets[0].metadata).unwrap();
    (cut.outgoing, cut.changelog, metadata)
}

#[test]
fn what_is_held_back_comes_out_once_over_a_restart() {
    let plan = Arc::new(suppressing(THREE, ""));
    let mut before = task((*plan).clone(), Settings::default(), no_code);
    let offset = feed(&mut before, 0, &["k1", "k2", "k3"]);
    let (out, first, _) = interval(&mut before, 0);
    assert!(given(&out).is_empty());
    let offset = feed(&mut before, offset, &["k4", "k5"]);
    let (out, second, metadata) = interval(&mut before, 1);
    assert_eq!(given(&out), ["k1=1@1", "k2=1@2"]);
    let mut after = rebuilt(&plan, &before, &[first, second], offset, metadata);
    feed(&mut after, offset, &["k6", "k7", "k8"]);
    assert_eq!(given(&interval(&mut after, 2).0), ["k3=1@3", "k4=1@4", "k5=1@5"]);
}

#[test]
fn time_is_not_forgotten_with_a_rebuilt_buffer() {
    let plan = Arc::new(suppressing(r#"{"until":"time-limit","ms":10}"#, ""));
    let mut before = task((*plan).clone(), Settings::default(), no_code);
    let offset = feed(&mut before, 0, &["k20"]);
    let (_, changelog, metadata) = interval(&mut before, 0);
    assert_eq!(metadata.values.get("reached:held-store"), Some(&20));
    let mut after = rebuilt(&plan, &before, &[changelog], offset, metadata);
    // It is due at once, as it would have been there; `k20` is not.
    feed(&mut after, offset, &["j10"]);
    assert_eq!(given(&interval(&mut after, 1).0), ["j10=1@10"]);
}

#[test]
fn an_aborted_interval_leaves_the_buffer_as_it_was() {
    let mut task = task(suppressing(THREE, ""), Settings::default(), no_code);
    let offset = feed(&mut task, 0, &["k1", "k2", "k3"]);
    assert!(given(&cut(&mut task, 0).0).is_empty());
    for _ in 0..2 {
        feed(&mut task, offset, &["k4", "k5", "k6", "k7"]);
        task.abort();
    }
    feed(&mut task, offset, &["k4"]);
    assert_eq!(given(&cut(&mut task, 1).0), ["k1=1@1"]);
}

const STRICT: &str = r#"{"until":"time-limit","ms":9223372036854775807,"max_records":2,"when_full":"shut-down"}"#;

#[test]
fn a_record_that_a_full_buffer_has_no_room_for_fails() {
    let mut task = task(suppressing(STRICT, ""), Settings::default(), no_code);
    give(&mut task, 0, [record(b"a", b"v", 1), record(b"b", b"v", 2), record(b"a", b"v", 3), record(b"c", b"v", 4)]);
    let Err(Failure::Record(failed)) = run(&mut task) else { panic!("it had room") };
    assert_eq!((failed.node.as_str(), failed.offset), ("held", 3));
    assert!(failed.message.contains("more to be held back than 2 rows"), "{}", failed.message);
}

#[test]
fn a_record_that_is_left_out_leaves_the_buffer_as_it_was() {
    let mut task = task(suppressing(STRICT, "on_error = \"skip\""), Settings::default(), no_code);
    let keys = [b"a", b"b", b"c", b"a", b"d", b"b"];
    give(&mut task, 0, keys.iter().zip(1..).map(|(key, time)| record(*key, b"v", time)));
    run(&mut task).unwrap();
    assert_eq!(task.dropped().skipped, 2);
    let (_, changelog) = cut(&mut task, 0);
    let held = changelog.iter().filter(|(_, record)| record.headers.last("v").is_some());
    let held: Vec<Vec<u8>> = held.map(|(_, record)| record.key.unwrap().to_vec()).collect();
    assert_eq!(held, [b"a", b"b"]);
}

/// Restarts in between make no difference, whatever the bounds are.
#[test]
fn a_batch_gives_what_its_records_give_one_by_one() {
    let buffers = [
        r#"{"until":"time-limit","ms":7}"#,
        r#"{"until":"time-limit","ms":7,"max_records":2}"#,
        r#"{"until":"time-limit","ms":7,"max_bytes":150}"#,
        r#"{"until":"time-limit","ms":0}"#,
    ];
    for seed in 0..200u64 {
        let plan = Arc::new(suppressing(buffers[seed as usize % 4], ""));
        let (mut state, mut now) = (seed, 0);
        let mut draw = |below: u64| {
            state = millstream_engine::operator::mix(state);
            state % below
        };
        let names: Vec<String> = (0..1 + draw(50))
            .map(|_| {
                now += draw(3) as i64;
                format!("{}{}", ["a", "b", "cc"][draw(3) as usize], (now + 4 - draw(9) as i64).max(0))
            })
            .collect();
        let rows = |names: &[String]| -> Vec<(Vec<u8>, i64)> {
            let split = |name: &String| name.find(|c: char| c.is_ascii_digit()).unwrap();
            names.iter().map(|name| (name[..split(name)].into(), name[split(name)..].parse().unwrap())).collect()
        };
        let rows = rows(&names);
        let mut together = task((*plan).clone(), Settings::default(), no_code);
        give(&mut together, 0, rows.iter().map(|(key, time)| record(key, b"v", *time)));
        run(&mut together).unwrap();
        let together = given(&cut(&mut together, 0).0);
        let (mut one, mut said, mut out) =
            (task((*plan).clone(), Settings::default(), no_code), Vec::new(), Vec::new());
        for (at, (key, time)) in rows.iter().enumerate() {
            let offset = give(&mut one, at as i64, [record(key, b"v", *time)]);
            run(&mut one).unwrap();
            let (outgoing, changelog, metadata) = interval(&mut one, at as i64);
            out.extend(given(&outgoing));
            said.push(changelog);
            if at % 5 == 4 {
                one = rebuilt(&plan, &one, &said, offset, metadata);
            }
        }
        assert_eq!(out, together, "seed {seed}: {names:?}");
    }
}
