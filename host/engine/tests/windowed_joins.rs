//! Joins of tables of windows: what they look into, and what they refuse.
#![allow(clippy::unwrap_used)]

mod rig;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use millstream_engine::functions::Fault;
use millstream_engine::record::{Outgoing, Record};
use millstream_engine::store::{MemoryBase, TaskStores};
use millstream_engine::task::{Settings, Task};
use millstream_engine::topology::Plan;
use rig::walked::Walked;
use rig::{Answer, cut, give_to, plan, record, run, stores_on, task_with};

const TOPICS: [(&str, usize); 4] = [("left", 1 << 20), ("right", 1 << 20), ("plain", 1 << 20), ("out", 1 << 20)];

const TUMBLING: &str = r#"{"type":"time","size_ms":10,"advance_ms":10,"grace_ms":1000}"#;
const SESSIONS: &str = r#"{"type":"session","gap_ms":5,"grace_ms":1000}"#;

/// Counts of windows, and their store.
fn counts(topic: &str, window: &str) -> (String, String) {
    let count = format!(
        r#"{{"name":"{topic}","op":"source"}},
        {{"name":"{topic}s","op":"count","inputs":["{topic}"],"store":"{topic}-counts","window":{window}}}"#
    );
    let size = serde_json::from_str::<serde_json::Value>(window).unwrap();
    let size = size["size_ms"].as_i64().or(size["difference_ms"].as_i64());
    let kind = size.map_or(r#""session""#.to_owned(), |size| format!(r#""window","window_size_ms":{size}"#));
    (count, format!(r#"{{"name":"{topic}-counts","kind":{kind},"key":"bytes","value":"i64","retention_ms":9000}}"#))
}

/// A join of both, its changes written to `out`.
fn joined(join: &str, left: &str, right: &str) -> String {
    let ((left, left_store), (right, right_store)) = (counts("left", left), counts("right", right));
    format!(
        r#"{{"version":1,"nodes":[{left},{right},
        {{"name":"join","op":"table-join","inputs":["lefts","rights"],"join":"{join}"}},
        {{"name":"change","op":"to-stream","inputs":["join"]}},{{"name":"out","op":"sink","inputs":["change"]}}],
        "stores":[{left_store},{right_store}]}}"#
    )
}

/// Joins counts to `left/right`; a side that is not there is 0.
fn pair(_: u32, frame: &[u8], _: &mut TaskStores, out: &mut Vec<u8>) -> Result<(), Fault> {
    let number = |at: usize| u32::from_le_bytes(frame[at..at + 4].try_into().unwrap()) as usize;
    let length = |at: usize| (number(at) as i32).max(0) as usize;
    let count = |bytes: &[u8]| bytes.try_into().map_or(0, i64::from_be_bytes);
    let (mut at, mut rows, mut answer) = (32 + 40 * number(8), Vec::new(), Answer::default());
    for _ in 0..number(12) {
        let (key, row) = (length(at), length(at + 4));
        rows.push(count(&frame[at + 8 + key..][..row]));
        at += 8 + key + row;
    }
    for input in 0..number(16) as u32 {
        let (row, headers, key, value) = (rows[number(at + 8)], number(at + 12), length(at + 24), length(at + 28));
        let time = i64::from_le_bytes(frame[at + 16..at + 24].try_into().unwrap());
        let left = count(&frame[at + 32 + key..][..value]);
        answer.element(input, Some(format!("{left}/{row}").as_bytes()), time);
        at += 32 + key + value + headers;
    }
    answer.finish(out);
    Ok(())
}

/// A task whose scans are counted.
fn joining(plan: Plan) -> (Task, Arc<AtomicUsize>) {
    let walked = Arc::new(AtomicUsize::new(0));
    let stores = stores_on(&plan, Box::new(Walked(MemoryBase::new(plan.stores.len()), walked.clone())));
    (task_with(plan, stores, Settings::default(), pair), walked)
}

/// Key, both times of its window as they stand in it, and value.
fn given(out: &Outgoing) -> Vec<String> {
    let row = |(_, record): (_, Record<'_>)| {
        let (key, times) = record.key.unwrap().split_at(record.key.unwrap().len() - 16);
        let time = |at: usize| i64::from_be_bytes(times[at..at + 8].try_into().unwrap());
        let value = record.value.map_or("-", |value| std::str::from_utf8(value).unwrap());
        format!("{}@{},{}={value}", String::from_utf8_lossy(key), time(0), time(8))
    };
    out.iter().map(row).collect()
}

const LEFT: usize = 0;
const RIGHT: usize = 1;

/// Gives one side records, keys and times, while the other has none, and runs them; `offsets` goes on.
fn feed(task: &mut Task, offsets: &mut [i64; 2], side: usize, records: &[(&str, i64)]) {
    give_to(task, 1 - side, offsets[1 - side], []);
    let records = records.iter().map(|(key, time)| record(key.as_bytes(), b"", *time));
    offsets[side] = give_to(task, side, offsets[side], records);
    run(task).unwrap();
}

#[test]
fn a_batch_finds_its_windows_without_a_look_at_the_others() {
    const OTHERS: usize = 500;
    let (mut task, walked) = joining(plan("", &joined("left", TUMBLING, TUMBLING), &TOPICS).unwrap());
    let (mut offsets, keys) = ([0; 2], (0..OTHERS).map(|key| format!("k{key}")).collect::<Vec<_>>());
    let others: Vec<(&str, i64)> = keys.iter().map(|key| (key.as_str(), 3)).collect();
    feed(&mut task, &mut offsets, RIGHT, &others);
    cut(&mut task, 0);
    walked.store(0, Ordering::Relaxed);
    feed(&mut task, &mut offsets, LEFT, &[("k7", 1), ("k7", 2), ("k", 2), ("k7", 12)]);
    let expected = ["k7@0,10=1/1", "k7@0,10=2/1", "k@0,10=1/0", "k7@10,20=1/0"];
    assert_eq!(given(&cut(&mut task, 1).0), expected);
    assert_eq!(walked.load(Ordering::Relaxed), 0);
}

#[test]
fn a_session_that_is_merged_is_gone_for_the_join() {
    let (mut task, _) = joining(plan("", &joined("inner", SESSIONS, SESSIONS), &TOPICS).unwrap());
    let mut offsets = [0; 2];
    for side in [LEFT, RIGHT] {
        feed(&mut task, &mut offsets, side, &[("k", 0), ("k", 8)]);
    }
    assert_eq!(given(&cut(&mut task, 0).0), ["k@0,0=1/1", "k@8,8=1/1"]);
    for side in [LEFT, RIGHT] {
        feed(&mut task, &mut offsets, side, &[("k", 4)]);
    }
    assert_eq!(given(&cut(&mut task, 1).0), ["k@0,0=-", "k@8,8=-", "k@8,0=3/3"]);
}

#[test]
fn an_aborted_interval_leaves_nothing_to_meet() {
    let (mut task, _) = joining(plan("", &joined("left", TUMBLING, TUMBLING), &TOPICS).unwrap());
    feed(&mut task, &mut [0; 2], RIGHT, &[("k", 3)]);
    task.abort();
    feed(&mut task, &mut [0; 2], LEFT, &[("k", 1)]);
    assert_eq!(given(&cut(&mut task, 0).0), ["k@0,10=1/0"]);
}

#[test]
fn windows_that_can_share_no_key_are_refused() {
    let longer = TUMBLING.replace("10,", "20,");
    let sliding = r#"{"type":"sliding","difference_ms":10,"grace_ms":0}"#;
    for other in [&longer, SESSIONS] {
        for (left, right) in [(TUMBLING, other), (other, TUMBLING)] {
            let problem = plan("", &joined("inner", left, right), &TOPICS).unwrap_err();
            assert!(problem.message.contains("by keys of"), "{}", problem.message);
        }
    }
    plan("", &joined("inner", TUMBLING, sliding), &TOPICS).unwrap();
    let (nodes, store) = counts("left", TUMBLING);
    let plain = format!(
        r#"{{"version":1,"nodes":[{nodes},{{"name":"plain","op":"table-source","store":"rows"}},
        {{"name":"join","op":"table-join","inputs":["lefts","plain"],"join":"inner"}}],
        "stores":[{store},{{"name":"rows","kind":"key-value","key":"bytes","value":"i64"}}]}}"#
    );
    let problem = plan("", &plain, &TOPICS).unwrap_err();
    assert!(problem.message.contains("by keys of windows of 10 ms"), "{}", problem.message);
}
