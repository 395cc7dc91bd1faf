//! Who waits for a partner in a join of streams costs nothing until its time has come, whatever else the join does.
#![allow(clippy::unwrap_used)]

mod rig;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use millstream_engine::functions::Fault;
use millstream_engine::store::{MemoryBase, TaskStores};
use millstream_engine::task::{Settings, Step, Task};
use rig::walked::Walked;
use rig::{Answer, cut, give_to, plan, record, stores_on, task_with};

const TOPICS: [(&str, usize); 3] = [("a", 1 << 20), ("b", 1 << 20), ("out", 1 << 20)];

/// Records of the left side that wait for longer than any of the right side does.
const WAITING: usize = 5_000;

fn joins(_: u32, frame: &[u8], _: &mut TaskStores, out: &mut Vec<u8>) -> Result<(), Fault> {
    let mut answer = Answer::default();
    (0..rig::asked(frame)).for_each(|at| answer.element(at, Some(b"alone"), 0));
    answer.finish(out);
    Ok(())
}

/// An outer join whose left side waits `after_ms`, and the right one not at all; and how many rows of its stores were
/// walked over.
fn joining(after_ms: i64) -> (Task, Arc<AtomicUsize>) {
    let description = format!(
        r#"{{"version":1,"nodes":[{{"name":"a","op":"source"}},{{"name":"b","op":"source"}},
        {{"name":"join","op":"stream-join","inputs":["a","b"],"join":"outer","key":"bytes","value":"bytes",
         "other_value":"bytes","join_windows":{{"before_ms":0,"after_ms":{after_ms},"grace_ms":1}}}},
        {{"name":"out","op":"sink","inputs":["join"]}}]}}"#
    );
    let plan = plan("", &description, &TOPICS).unwrap();
    let walked = Arc::new(AtomicUsize::new(0));
    let stores = stores_on(&plan, Box::new(Walked(MemoryBase::new(plan.stores.len()), walked.clone())));
    (task_with(plan, stores, Settings::default(), joins), walked)
}

/// The keys that come out until there is nothing to do.
fn out(task: &mut Task, sequence: i64) -> Vec<String> {
    while task.step(0, usize::MAX).unwrap() == Step::Ran {}
    let (outgoing, _) = cut(task, sequence);
    outgoing.iter().map(|(_, record)| record.key.unwrap().escape_ascii().to_string()).collect()
}

#[test]
fn a_record_of_the_side_that_waits_short_does_not_walk_over_who_waits_long() {
    const RECORDS: usize = 300;
    let (mut task, walked) = joining(100_000);
    let keys: Vec<String> = (0..WAITING).map(|at| format!("left{at:04}")).collect();
    give_to(&mut task, 1, 0, []);
    give_to(&mut task, 0, 0, keys.iter().enumerate().map(|(at, key)| record(key.as_bytes(), b"", at as i64)));
    assert_eq!(out(&mut task, 0), [""; 0]);
    walked.store(0, Ordering::Relaxed);
    let mut alone = Vec::new();
    for at in 0..RECORDS {
        let (key, time) = (format!("right{at:03}"), 5_000 + 10 * at as i64);
        give_to(&mut task, 0, WAITING as i64, []);
        give_to(&mut task, 1, at as i64, [record(key.as_bytes(), b"", time)]);
        alone.extend(out(&mut task, 1 + at as i64));
    }
    let rows = walked.swap(0, Ordering::Relaxed);
    assert!(rows < WAITING + 20 * RECORDS, "{RECORDS} records have walked over {rows} rows");
    let rights: Vec<String> = (0..RECORDS - 1).map(|at| format!("right{at:03}")).collect();
    assert_eq!(alone, rights, "each goes with the next one");

    // Then the time of the left side comes, for ten of them.
    give_to(&mut task, 0, WAITING as i64, []);
    give_to(&mut task, 1, RECORDS as i64, [record(b"late", b"", 100_000 + 1 + 10)]);
    let mut went = out(&mut task, 1_000);
    went.sort();
    assert_eq!(went, [&keys[..10], &["right299".to_owned()]].concat());
}
