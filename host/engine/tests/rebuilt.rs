//! State that is rebuilt under a task that goes on: what the task knew of it is not so any more.
#![allow(clippy::unwrap_used)]

mod rig;

use std::collections::BTreeMap;

use millstream_engine::functions::Fault;
use millstream_engine::record::{Headers, Outgoing, Record, Records, TopicPartition};
use millstream_engine::store::TaskStores;
use millstream_engine::task::{Cut, Inputs, Settings, Task};
use rig::{Answer, asked, cut, plan, record, run, task};

const JOIN: &str = r#"{"version":1,"nodes":[{"name":"l","op":"source","topic":"left"},
    {"name":"r","op":"source","topic":"right"},
    {"name":"join","op":"stream-join","inputs":["l","r"],"join":"left","key":"bytes","value":"bytes",
     "other_value":"bytes","join_windows":{"before_ms":0,"after_ms":10,"grace_ms":1}},
    {"name":"out","op":"sink","inputs":["join"]}]}"#;

fn joins(_: u32, frame: &[u8], _: &mut TaskStores, out: &mut Vec<u8>) -> Result<(), Fault> {
    let mut answer = Answer::default();
    (0..asked(frame)).for_each(|at| answer.element(at, Some(b"joined"), 0));
    answer.finish(out);
    Ok(())
}

fn joining() -> Task {
    let topics = [("left", 1 << 20), ("right", 1 << 20), ("out", 1 << 20)];
    task(plan("", JOIN, &topics).unwrap(), Settings::default(), joins)
}

/// Gives one of its inputs a record, and the other one its end.
fn give(task: &mut Task, input: usize, offsets: &mut [i64; 2], record: Record<'_>) {
    let inputs: Vec<TopicPartition> = task.inputs().collect();
    let mut records = Records::default();
    records.push(offsets[input], record);
    task.add(inputs[input], records);
    offsets[input] += 1;
    inputs.iter().zip(offsets).for_each(|(input, end)| task.set_end(*input, *end));
    run(task).unwrap();
}

/// Cuts, and the log has it: the bases do not take it.
fn cut_past_bases(task: &mut Task, sequence: i64) -> Outgoing {
    let mut cut = Cut::default();
    task.seal(sequence, Inputs::Moved, &mut cut);
    task.on_committed();
    cut.changelog
}

/// Restores what a changelog says into the stores that it is of.
fn restore(task: &mut Task, changelog: &Outgoing) {
    let of = |store: &millstream_engine::store::StoreSlot| task.plan().stores[store.number as usize].changelog;
    let topics: Vec<_> = task.stores().slots().map(of).collect();
    for (place, topic) in topics.into_iter().enumerate() {
        let mut records = Records::default();
        for (to, Record { key, value, timestamp, .. }) in changelog.iter() {
            if Some(to.topic) == topic {
                records.push(records.len() as i64, Record { key, value, timestamp, headers: Headers(&[]) });
            }
        }
        task.restore(place, &records, records.len() as i64 - 1).unwrap();
        task.end_restore(place).unwrap();
    }
}

#[test]
fn a_record_that_waits_in_rebuilt_state_is_given_when_its_window_has_closed() {
    for wiped in [false, true] {
        let (mut task, mut offsets) = (joining(), [0, 0]);
        give(&mut task, 1, &mut offsets, record(b"other", b"r", 100));
        let (out, before) = cut(&mut task, 1);
        assert_eq!(out.len(), 0, "nothing waits, and the join knows it");
        give(&mut task, 0, &mut offsets, record(b"waits", b"l", 101));
        let mut changelog = cut_past_bases(&mut task, 2);
        if wiped {
            task.wipe_damaged().unwrap();
            let mut all = before;
            all.append(changelog);
            changelog = all;
        }
        task.begin_restore();
        restore(&mut task, &changelog);
        give(&mut task, 1, &mut offsets, record(b"other", b"r", 1_000));
        let (out, _) = cut(&mut task, 3);
        let keys: Vec<_> = out.iter().filter_map(|(_, record)| record.key).collect();
        assert_eq!(keys, [b"waits"], "wiped: {wiped}");
    }
}

#[test]
fn an_input_that_goes_back_is_committed_where_it_goes_on() {
    let (mut task, mut offsets) = (joining(), [0, 0]);
    for time in 0..3 {
        give(&mut task, 1, &mut offsets, record(b"k", b"r", time));
    }
    cut(&mut task, 1);
    let right = task.inputs().nth(1).unwrap();
    let committed = |task: &Task| task.committed_offsets().collect::<BTreeMap<_, _>>()[&right];
    assert_eq!(committed(&task), 3);
    task.go_back(right, 1);
    assert_eq!(committed(&task), 3, "the group has the old one until it is told");
    assert!(task.is_touched());
    let mut cut = Cut::default();
    task.seal(2, Inputs::Moved, &mut cut);
    let said = cut.offsets.iter().find(|offset| offset.input == right).map(|offset| offset.offset);
    assert_eq!(said, Some(1));
    task.on_committed();
    assert_eq!(committed(&task), 1);
}
