//! Schedules that were made while a task ran: they are committed with its offsets, and go on after a restart. And commits
//! that the user code asks for.
#![allow(clippy::unwrap_used)]

mod rig;

use std::sync::Arc;

use millstream_engine::frame::NO_SOURCE;
use millstream_engine::functions::Fault;
use millstream_engine::metadata::Metadata;
use millstream_engine::record::TopicPartition;
use millstream_engine::store::TaskStores;
use millstream_engine::task::{Cut, Inputs, Settings, Start, Step, Task, TaskId};
use rig::{Answer, Native, cut, give, plan, record, run, stores, task};

const TOPICS: [(&str, usize); 2] = [("in", 1 << 20), ("out", 1 << 20)];

const DESCRIPTION: &str = r#"{"version":1,"nodes":[{"name":"in","op":"source"},
    {"name":"p","op":"process","inputs":["in"],"schedules":true},
    {"name":"out","op":"sink","inputs":["p"]}]}"#;

/// A record's value is a schedule, or `commit`; a punctuation gives the time it fires for.
fn obeys(_: u32, frame: &[u8], _: &mut TaskStores, out: &mut Vec<u8>) -> Result<(), Fault> {
    let mut answer = Answer::default();
    if frame[32..36] == NO_SOURCE.to_le_bytes() {
        answer.element(0, Some(rig::stream_time(frame).to_string().as_bytes()), 0);
    } else {
        assert_eq!(rig::asked(frame), 1, "each record is asked about by itself");
        match &rig::values(frame)[0][..] {
            b"commit" => answer.outcome(0, 5, b""),
            b"" => {}
            schedule => answer.outcome(0, 6, schedule),
        }
    }
    answer.finish(out);
    Ok(())
}

fn shown(task: &mut Task, sequence: i64) -> Vec<String> {
    let (out, _) = cut(task, sequence);
    out.iter().map(|(_, record)| record.value.unwrap().escape_ascii().to_string()).collect()
}

/// The same task after a restart of what it has committed.
fn again(said: &Cut, now: i64) -> Task {
    let plan = Arc::new(plan("", DESCRIPTION, &TOPICS).unwrap());
    let (source, topic, _) = plan.inputs(&plan.subtopologies[0])[0];
    let input = TopicPartition { topic, partition: 0 };
    let metadata = Metadata::decode(&said.offsets[0].metadata);
    let starts = [Start { input, source, offset: said.offsets[0].offset, metadata }];
    let id = TaskId { subtopology: 0, partition: 0 };
    let mut task = Task::new(id, plan.clone(), Settings::default(), &starts, now);
    task.open(stores(&plan), Box::new(Native(obeys)));
    task
}

#[test]
fn a_schedule_goes_on_after_a_restart_where_it_stood() {
    let mut task = task(plan("", DESCRIPTION, &TOPICS).unwrap(), Settings::default(), obeys);
    let next = give(&mut task, 0, [record(b"k", b"stream 10 a", 5), record(b"k", b"wall-clock 50 b", 6)]);
    run(&mut task).unwrap();
    let mut said = Cut::default();
    task.seal(1, Inputs::Moved, &mut said);
    assert_eq!(said.outgoing.len(), 1, "it fired once");

    let mut task = again(&said, 1_000);
    give(&mut task, next, [record(b"k", b"", 9), record(b"k", b"", 10), record(b"k", b"", 25)]);
    run(&mut task).unwrap();
    assert_eq!(shown(&mut task, 1), ["10", "25"]);
    // The grid of the clock on the wall begins anew.
    for (now, fires) in [(1_000, false), (1_049, false), (1_050, true), (1_099, false)] {
        assert_eq!(task.punctuate_wall_clock(now).unwrap() == Step::Ran, fires, "{now}");
    }
}

#[test]
fn a_schedule_that_was_not_committed_was_not_made() {
    let mut task = task(plan("", DESCRIPTION, &TOPICS).unwrap(), Settings::default(), obeys);
    give(&mut task, 0, [record(b"k", b"stream 10 a", 5)]);
    run(&mut task).unwrap();
    task.abort();
    give(&mut task, 0, [record(b"k", b"", 5), record(b"k", b"", 30)]);
    run(&mut task).unwrap();
    assert_eq!(shown(&mut task, 1), [""; 0]);
}

#[test]
fn a_schedule_that_is_none_is_the_guests_fault() {
    for schedule in [&b"stream 0 a"[..], b"stream 10", b"sun 10 a", b"stream ten a", b"stream 10 a:b", &[b'n'; 60]] {
        let mut task = task(plan("", DESCRIPTION, &TOPICS).unwrap(), Settings::default(), obeys);
        give(&mut task, 0, [record(b"k", schedule, 5)]);
        let error = run(&mut task).unwrap_err().to_string();
        assert!(error.contains("bad frame"), "{error}");
    }
}

#[test]
fn room_for_schedules_is_held_beside_the_offsets() {
    let timers: Vec<String> =
        (0..6).map(|timer| format!(r#"{{"name":"t{timer}","time":"stream","every_ms":1}}"#)).collect();
    let timers = format!(r#""punctuations":[{}]"#, timers.join(","));
    let long = DESCRIPTION.replace("\"p\"", &format!("\"{}\"", "p".repeat(190)));
    let declared = long.replace(r#""schedules":true"#, &timers);
    assert!(plan("", &declared, &TOPICS).is_ok() && plan("", &long, &TOPICS).is_ok(), "each by itself has room");
    let both = long.replace(r#""schedules":true"#, &format!(r#""schedules":true,{timers}"#));
    let problem = plan("", &both, &TOPICS).unwrap_err();
    assert_eq!(problem.name, "OffsetMetadataTooLarge");
}

#[test]
fn user_code_may_want_a_commit_which_is_wanted_until_the_cut() {
    let mut task = task(plan("", DESCRIPTION, &TOPICS).unwrap(), Settings::default(), obeys);
    let next = give(&mut task, 0, [record(b"k", b"", 5)]);
    run(&mut task).unwrap();
    assert!(!task.wants_commit());
    give(&mut task, next, [record(b"k", b"commit", 6), record(b"k", b"", 7)]);
    run(&mut task).unwrap();
    assert!(task.wants_commit());
    cut(&mut task, 1);
    assert!(!task.wants_commit());
}
