//! What an aggregation of windows takes for late: it goes by a time that an aborted interval takes back, that a task finds
//! again with its state, and that is rebuilt from the changelog.
#![allow(clippy::unwrap_used)]

mod rig;

use millstream_engine::record::{Headers, Record, Records};
use millstream_engine::task::{Settings, Task};
use rig::{cut, give, no_code, plan, record, run, stores, task};

const DESCRIPTION: &str = r#"{"version":1,"nodes":[{"name":"in","op":"source"},
    {"name":"count","op":"count","inputs":["in"],"store":"counts",
     "window":{"type":"time","size_ms":10,"advance_ms":10,"grace_ms":0}},
    {"name":"change","op":"to-stream","inputs":["count"]},
    {"name":"out","op":"sink","inputs":["change"]}],
    "stores":[{"name":"counts","kind":"window","key":"bytes","value":"i64","window_size_ms":10,"retention_ms":10}]}"#;

fn counting() -> Task {
    let topics = [("in", 1 << 20), ("out", 1 << 20)];
    task(plan("", DESCRIPTION, &topics).unwrap(), Settings::default(), no_code)
}

#[test]
fn an_aborted_interval_makes_nothing_late() {
    let mut task = counting();
    let offset = give(&mut task, 0, [record(b"k", b"", 5)]);
    run(&mut task).unwrap();
    cut(&mut task, 0);
    give(&mut task, offset, [record(b"k", b"", 25)]);
    run(&mut task).unwrap();
    task.abort();
    give(&mut task, offset, [record(b"k", b"", 7)]);
    run(&mut task).unwrap();
    let (out, _) = cut(&mut task, 1);
    assert_eq!((out.len(), task.dropped().late), (1, 0));
}

#[test]
fn what_is_late_stays_late_when_its_state_is_found_or_rebuilt() {
    let mut task = counting();
    give(&mut task, 0, [record(b"k", b"", 25), record(b"k", b"", 19)]);
    run(&mut task).unwrap();
    assert_eq!(task.dropped().late, 1);
    let (_, changelog) = cut(&mut task, 0);
    assert_eq!(task.stores().observed(0).unwrap().stream_time, 25);

    let topics = [("in", 1 << 20), ("out", 1 << 20)];
    let mut rebuilt = stores(&plan("", DESCRIPTION, &topics).unwrap());
    let mut records = Records::default();
    for (offset, (_, Record { key, value, timestamp, .. })) in changelog.iter().enumerate() {
        records.push(offset as i64, Record { key, value, timestamp, headers: Headers(&[]) });
    }
    rebuilt.restore(0, &records, records.len() as i64 - 1).unwrap();
    rebuilt.end_restore(0).unwrap();
    assert_eq!(rebuilt.observed(0).unwrap().stream_time, 25);
}
