//! Punctuations that go on by tokens: a call for each portion, with nothing of the task between two but commits, restarts
//! and other builds.
#![allow(clippy::unwrap_used)]

mod rig;

use std::sync::Arc;

use millstream_engine::frame::NO_SOURCE;
use millstream_engine::functions::Fault;
use millstream_engine::metadata::{Metadata, TOKEN_BYTES_MAX};
use millstream_engine::record::TopicPartition;
use millstream_engine::store::TaskStores;
use millstream_engine::task::{Cut, Inputs, Settings, Start, Step, Task, TaskId};
use millstream_engine::topology::Plan;
use rig::{Answer, Code, Native, cut, give, plan, record, run, stores, task};

const TOPICS: [(&str, usize); 2] = [("in", 1 << 20), ("out", 1 << 20)];

/// `p` ticks by stream time and, more slowly, tocks by the clock on the wall.
const DESCRIPTION: &str = r#"{"version":1,"nodes":[{"name":"in","op":"source"},
    {"name":"p","op":"process","inputs":["in"],"schedules":true,"resumes":true,
     "punctuations":[{"name":"tick","time":"stream","every_ms":10},{"name":"tock","time":"wall-clock","every_ms":100}]},
    {"name":"out","op":"sink","inputs":["p"]}]}"#;

/// What one punctuation comes to, and what of it one call.
const ROWS: usize = 2_500;
const PORTION: usize = 1_000;

const AGAIN: u16 = 8;

/// The number of the row that comes next, from the token.
fn next(frame: &[u8]) -> usize {
    let token = &rig::values(frame)[0];
    if token.is_empty() { 0 } else { std::str::from_utf8(token).unwrap().parse().unwrap() }
}

fn is_punctuation(frame: &[u8]) -> bool {
    frame[32..36] == NO_SOURCE.to_le_bytes()
}

/// Gives [`ROWS`] rows for a punctuation, as many as it may at once, and each record as it is. A record that begins with
/// `s` makes a schedule; that schedule's punctuation ends it with its second portion, and wants to go on.
fn walks(_: u32, frame: &[u8], _: &mut TaskStores, out: &mut Vec<u8>) -> Result<(), Fault> {
    let mut answer = Answer::default();
    if is_punctuation(frame) {
        let (from, is_scheduled) = (next(frame), !rig::keys(frame)[0].is_empty());
        let to = (from + PORTION).min(ROWS);
        (from..to).for_each(|row| answer.element(0, Some(row.to_string().as_bytes()), rig::time(frame)));
        if to < ROWS {
            answer.outcome(0, AGAIN, to.to_string().as_bytes());
        }
        if is_scheduled && from > 0 {
            answer.outcome(0, 7, b"a");
        }
    } else {
        let value = &rig::values(frame)[0];
        answer.element(0, Some(value), rig::time(frame));
        if value.starts_with(b"s") {
            answer.outcome(0, 6, value);
        }
    }
    answer.finish(out);
    Ok(())
}

fn walking() -> Task {
    task(plan("", DESCRIPTION, &TOPICS).unwrap(), Settings::default(), walks)
}

/// The same, but that its third portion fails.
fn breaks(node: u32, frame: &[u8], stores: &mut TaskStores, out: &mut Vec<u8>) -> Result<(), Fault> {
    if is_punctuation(frame) && next(frame) == 2 * PORTION {
        let mut answer = Answer::default();
        answer.element(0, Some(b"undone"), 0);
        answer.outcome(0, 4, b"it breaks here");
        answer.finish(out);
        return Ok(());
    }
    walks(node, frame, stores, out)
}

/// The same task after a restart of what it has committed.
fn again(said: &Cut, plan: Plan, code: Code) -> Task {
    let plan = Arc::new(plan);
    let (source, topic, _) = plan.inputs(&plan.subtopologies[0])[0];
    let input = TopicPartition { topic, partition: 0 };
    let metadata = Metadata::decode(&said.offsets[0].metadata);
    let starts = [Start { input, source, offset: said.offsets[0].offset, metadata }];
    let id = TaskId { subtopology: 0, partition: 0 };
    let mut task = Task::new(id, plan.clone(), Settings::default(), &starts, 1_000);
    task.open(stores(&plan), Box::new(Native(code)));
    task
}

fn sealed(task: &mut Task, sequence: i64) -> Cut {
    let mut cut = Cut::default();
    task.seal(sequence, Inputs::Moved, &mut cut);
    cut
}

/// Values and times of what goes out.
fn shown(said: &Cut) -> Vec<(String, i64)> {
    let shown =
        said.outgoing.iter().map(|(_, record)| (record.value.unwrap().escape_ascii().to_string(), record.timestamp));
    shown.collect()
}

fn rows(range: std::ops::Range<usize>, time: i64) -> Vec<(String, i64)> {
    range.map(|row| (row.to_string(), time)).collect()
}

fn is_punctuating(said: &Cut) -> bool {
    Metadata::decode(&said.offsets[0].metadata).unwrap().is_punctuating()
}

fn steps(task: &mut Task, steps: usize) {
    (0..steps).for_each(|_| assert_eq!(task.step(0, usize::MAX).unwrap(), Step::Ran));
}

#[test]
fn a_long_punctuation_comes_in_portions_before_the_next_record_and_fires_once() {
    let mut task = walking();
    give(&mut task, 0, [record(b"k", b"x", 5), record(b"k", b"y", 9), record(b"k", b"z", 10)]);
    run(&mut task).unwrap();
    let tick = |time| rows(0..ROWS, time);
    let expected = [vec![("x".into(), 5)], tick(5), vec![("y".into(), 9), ("z".into(), 10)], tick(10)].concat();
    let said = sealed(&mut task, 1);
    assert!(shown(&said) == expected && !is_punctuating(&said));
}

#[test]
fn a_restart_between_two_portions_goes_on_behind_the_last_one_that_was_committed() {
    let mut task = walking();
    let offset = give(&mut task, 0, [record(b"k", b"x", 5)]);
    let mut all = Vec::new();
    // The record and the first portion; then, each time by another owner, one portion that is committed and one that is not.
    steps(&mut task, 2);
    for sequence in 1..=3 {
        let said = sealed(&mut task, sequence);
        assert_eq!(is_punctuating(&said), sequence < 3, "{sequence}");
        all.extend(shown(&said));
        task.on_committed();
        let _lost = task.step(0, usize::MAX).unwrap();
        task = again(&said, plan("", DESCRIPTION, &TOPICS).unwrap(), walks);
        give(&mut task, offset, [record(b"k", b"y", 6)]);
        steps(&mut task, 1);
    }
    all.extend(shown(&sealed(&mut task, 4)));
    assert!(all == [vec![("x".into(), 5)], rows(0..ROWS, 5), vec![("y".into(), 6)]].concat(), "{} of them", all.len());
}

#[test]
fn an_abort_between_two_portions_goes_back_to_the_committed_token() {
    let mut task = walking();
    give(&mut task, 0, [record(b"k", b"x", 5)]);
    steps(&mut task, 2);
    assert!(shown(&sealed(&mut task, 1)).len() == 1 + PORTION);
    task.on_committed();
    task.apply_committed(&Default::default()).unwrap();
    steps(&mut task, 2);
    assert!(!task.is_punctuating());
    task.abort();
    assert!(task.is_punctuating());
    steps(&mut task, 2);
    assert!(shown(&sealed(&mut task, 2)) == rows(PORTION..ROWS, 5));
}

#[test]
fn a_portion_that_fails_leaves_the_token_where_it_was() {
    let mut task = task(plan("", DESCRIPTION, &TOPICS).unwrap(), Settings::default(), breaks);
    give(&mut task, 0, [record(b"k", b"x", 5)]);
    for _ in 0..2 {
        let failed = run(&mut task).unwrap_err().to_string();
        assert!(failed.contains("punctuation tick at 5") && failed.contains("it breaks here"), "{failed}");
    }
    let said = sealed(&mut task, 1);
    assert!(shown(&said)[1..] == rows(0..2 * PORTION, 5) && is_punctuating(&said));
    let mut mended = again(&said, plan("", DESCRIPTION, &TOPICS).unwrap(), walks);
    run(&mut mended).unwrap();
    assert!(shown(&sealed(&mut mended, 1)) == rows(2 * PORTION..ROWS, 5));
}

#[test]
fn a_portion_that_is_skipped_ends_its_punctuation_which_is_due_again_when_it_would_be() {
    let mut task = task(plan("on_error = \"skip\"", DESCRIPTION, &TOPICS).unwrap(), Settings::default(), breaks);
    let offset = give(&mut task, 0, [record(b"k", b"x", 5)]);
    run(&mut task).unwrap();
    let said = sealed(&mut task, 1);
    assert!(shown(&said)[1..] == rows(0..2 * PORTION, 5) && !is_punctuating(&said));
    task.on_committed();
    task.apply_committed(&Default::default()).unwrap();
    assert_eq!(task.dropped().skipped, 1);
    give(&mut task, offset, [record(b"k", b"y", 9), record(b"k", b"z", 10)]);
    run(&mut task).unwrap();
    assert_eq!(shown(&sealed(&mut task, 2)).len(), 2 + 2 * PORTION);
}

#[test]
fn one_by_the_clock_on_the_wall_goes_on_with_the_next_steps_and_the_others_wait() {
    let mut task = walking();
    assert_eq!(task.punctuate_wall_clock(0).unwrap(), Step::Idle);
    assert_eq!(task.punctuate_wall_clock(100).unwrap(), Step::Ran);
    give(&mut task, 0, [record(b"k", b"x", 5)]);
    // Late as it is, it is not fired again before it has ended.
    assert_eq!(task.punctuate_wall_clock(250).unwrap(), Step::Idle);
    let first = sealed(&mut task, 1);
    assert!(shown(&first) == rows(0..PORTION, 100) && is_punctuating(&first));

    // Another owner goes on with it at once, whatever its own clock says.
    let mut task = again(&first, plan("", DESCRIPTION, &TOPICS).unwrap(), walks);
    give(&mut task, 0, [record(b"k", b"x", 5)]);
    assert_eq!(task.punctuate_wall_clock(7_000).unwrap(), Step::Idle);
    steps(&mut task, 3);
    assert!(shown(&sealed(&mut task, 1)) == [rows(PORTION..ROWS, 100), vec![("x".into(), 5)]].concat());
}

#[test]
fn a_schedule_that_is_cancelled_on_the_way_ends_and_one_that_is_not_goes_on() {
    let mut task = walking();
    let offset = give(&mut task, 0, [record(b"k", b"stream 10 a", 5)]);
    // Its node's own comes first; then the schedule's, which a restart interrupts.
    steps(&mut task, 1 + 3 + 1);
    let said = sealed(&mut task, 1);
    assert!(shown(&said).len() == 1 + ROWS + PORTION && is_punctuating(&said));
    let mut task = again(&said, plan("", DESCRIPTION, &TOPICS).unwrap(), walks);
    give(&mut task, offset, [record(b"k", b"y", 30)]);
    run(&mut task).unwrap();
    let shown = shown(&sealed(&mut task, 1));
    // The second portion cancels it: no third one, and none later.
    assert!(shown == [rows(PORTION..2 * PORTION, 5), vec![("y".into(), 30)], rows(0..ROWS, 30)].concat());
}

/// Another build in the place of one whose punctuation is under way.
fn replaced(description: &str, on_trial: bool) -> Task {
    let mut task = walking();
    give(&mut task, 0, [record(b"k", b"x", 5)]);
    steps(&mut task, 2);
    cut(&mut task, 1);
    task.replace(Arc::new(plan("", description, &TOPICS).unwrap()), Box::new(Native(walks)), on_trial);
    task
}

#[test]
fn another_build_goes_on_with_the_token_where_it_has_the_punctuation() {
    // The punctuation has another number now.
    let other =
        DESCRIPTION.replace(r#"[{"name":"tick""#, r#"[{"name":"new","time":"stream","every_ms":1000},{"name":"tick""#);
    let mut task = replaced(&other, false);
    steps(&mut task, 2);
    assert!(shown(&sealed(&mut task, 2)) == rows(PORTION..ROWS, 5));
    for without in [DESCRIPTION.replace("tick", "other"), DESCRIPTION.replace(r#","resumes":true"#, "")] {
        let task = replaced(&without, false);
        assert!(!task.is_punctuating() && task.is_touched());
    }
}

#[test]
fn a_build_that_is_put_away_gives_back_the_token_that_it_had_no_use_for() {
    let without = DESCRIPTION.replace("tick", "other");
    for (trial, is_left) in [(&*without, true), (DESCRIPTION, false)] {
        let mut task = replaced(trial, true);
        run(&mut task).unwrap();
        cut(&mut task, 2);
        task.replace(Arc::new(plan("", DESCRIPTION, &TOPICS).unwrap()), Box::new(Native(walks)), false);
        assert_eq!(task.is_punctuating(), is_left, "{trial}");
    }
}

/// Asks for more than it may, which its records' values name.
fn oversteps(_: u32, frame: &[u8], _: &mut TaskStores, out: &mut Vec<u8>) -> Result<(), Fault> {
    let mut answer = Answer::default();
    match (is_punctuation(frame), rig::stream_time(frame)) {
        (false, 1) => answer.outcome(0, AGAIN, b"of a record"),
        (false, _) => {}
        (true, 2) => answer.outcome(0, AGAIN, &[0; TOKEN_BYTES_MAX + 1]),
        (true, 3) => (0..2).for_each(|_| answer.outcome(0, AGAIN, b"two")),
        (true, _) => answer.outcome(0, AGAIN, b"for ever"),
    }
    answer.finish(out);
    Ok(())
}

#[test]
fn what_is_no_token_is_the_guests_fault() {
    let unsaid = DESCRIPTION.replace(r#","resumes":true"#, "");
    for (description, time, what) in [
        (DESCRIPTION, 1, "where no punctuation was fired"),
        (DESCRIPTION, 2, "a token of 1025 bytes, at most 1024"),
        (DESCRIPTION, 3, "two tokens"),
        (&*unsaid, 4, "has not said that its punctuations are resumed"),
    ] {
        let mut task = task(plan("", description, &TOPICS).unwrap(), Settings::default(), oversteps);
        give(&mut task, 0, [record(b"k", b"", time)]);
        let failed = run(&mut task).unwrap_err().to_string();
        assert!(failed.contains("bad frame") && failed.contains(what), "{failed}");
    }
}

#[test]
fn a_punctuation_that_does_not_end_is_ended() {
    let mut task = task(plan("", DESCRIPTION, &TOPICS).unwrap(), Settings::default(), oversteps);
    give(&mut task, 0, [record(b"k", b"", 4)]);
    steps(&mut task, 2);
    let mut said = sealed(&mut task, 1);
    // The same after as many portions as it may have, less three: the first one is done.
    let mut metadata = Metadata::decode(&said.offsets[0].metadata).unwrap();
    let (name, time) = metadata.values.iter().find(|(name, _)| name.starts_with("again:")).unwrap();
    let (later, time) = (name.replace("again:d:1:", "again:d:999997:"), *time);
    metadata.values.retain(|name, _| !name.starts_with("again:"));
    metadata.values.insert(later, time);
    said.offsets[0].metadata = metadata.encode();
    let mut task = again(&said, plan("", DESCRIPTION, &TOPICS).unwrap(), oversteps);
    steps(&mut task, 2);
    let failed = run(&mut task).unwrap_err().to_string();
    assert!(failed.contains("does not end with its portion 1000000"), "{failed}");
}

#[test]
fn room_for_a_token_is_held_beside_the_offsets() {
    let names = |node: usize| {
        let timers: Vec<String> =
            (0..6).map(|timer| format!(r#"{{"name":"t{timer}","time":"stream","every_ms":1}}"#)).collect();
        let long = "p".repeat(node);
        format!(
            r#"{{"version":1,"nodes":[{{"name":"in","op":"source"}},
            {{"name":"{long}","op":"process","inputs":["in"],"resumes":true,"punctuations":[{}]}},
            {{"name":"out","op":"sink","inputs":["{long}"]}}]}}"#,
            timers.join(",")
        )
    };
    assert!(plan("", &names(190), &TOPICS).is_ok());
    let fits = plan("", &names(190).replace(r#""resumes":true,"#, ""), &TOPICS);
    assert!(fits.is_ok());
    let both = names(190).replace(r#""resumes":true"#, r#""resumes":true,"schedules":true"#);
    assert_eq!(plan("", &both, &TOPICS).unwrap_err().name, "OffsetMetadataTooLarge");
}
