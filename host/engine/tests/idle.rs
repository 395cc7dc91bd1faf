//! Inputs that have nothing now: how long a task waits for them before it goes on without them, and whether time goes on.
#![allow(clippy::unwrap_used)]

mod rig;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use millstream_engine::frame::NO_SOURCE;
use millstream_engine::functions::Fault;
use millstream_engine::record::{Outgoing, Record, Records, TopicPartition};
use millstream_engine::store::{MemoryBase, TaskStores};
use millstream_engine::task::{Settings, Start, Step, Task, TaskId};
use rig::walked::Walked;
use rig::{Answer, Native, cut, give_to, no_code, plan, record, stores, stores_on, task, task_with};

const TOPICS: [(&str, usize); 3] = [("a", 1 << 20), ("b", 1 << 20), ("out", 1 << 20)];

const MERGED: &str = r#"{"version":1,"nodes":[{"name":"a","op":"source"},{"name":"b","op":"source"},
    {"name":"both","op":"merge","inputs":["a","b"]},{"name":"out","op":"sink","inputs":["both"]}]}"#;

fn merging(max_idle: &str) -> Task {
    let manifest = format!("[task]\nmax_idle = \"{max_idle}\"");
    task(plan(&manifest, MERGED, &TOPICS).unwrap(), Settings::default(), no_code)
}

fn shown(outgoing: &Outgoing) -> Vec<String> {
    outgoing.iter().map(|(_, record)| record.value.unwrap().escape_ascii().to_string()).collect()
}

/// What is in the outputs once the task has nothing to do at `now`.
fn at(task: &mut Task, now: i64) -> Vec<String> {
    while task.step(now, usize::MAX).unwrap() == Step::Ran {}
    shown(&cut(task, now).0)
}

/// Records that came, with more behind them that did not come yet.
fn fetched(task: &mut Task, input: usize, from: i64, times: &[i64]) {
    let input = task.inputs().nth(input).unwrap();
    let mut records = Records::default();
    for (at, time) in times.iter().enumerate() {
        records.push(from + at as i64, record(b"k", time.to_string().as_bytes(), *time));
    }
    task.add(input, records);
}

#[test]
fn by_default_a_task_waits_for_what_the_log_has_and_for_nothing_else() {
    for max_idle in ["0ms", "0s"] {
        let mut task = merging(max_idle);
        fetched(&mut task, 0, 0, &[10, 30]);
        assert_eq!(at(&mut task, 0), [""; 0], "b may have an earlier one");
        fetched(&mut task, 1, 0, &[20]);
        assert_eq!(at(&mut task, 1), ["10", "20"], "b may have one in front of 30");
        give_to(&mut task, 1, 1, []);
        assert_eq!(at(&mut task, 2), ["30"]);
    }
}

#[test]
fn a_task_that_never_waits_takes_what_is_there() {
    let mut task = merging("off");
    fetched(&mut task, 0, 0, &[10, 30]);
    assert_eq!(at(&mut task, 0), ["10", "30"]);
    fetched(&mut task, 1, 0, &[20]);
    fetched(&mut task, 0, 2, &[15]);
    assert_eq!(at(&mut task, 1), ["15", "20"], "what is there is still taken by its time");
}

#[test]
fn a_task_waits_as_long_as_it_is_told_for_an_input_that_is_at_its_end() {
    let mut task = merging("500ms");
    give_to(&mut task, 1, 0, []);
    fetched(&mut task, 0, 0, &[30]);
    assert_eq!(at(&mut task, 1_000), [""; 0]);
    assert_eq!(at(&mut task, 1_499), [""; 0]);
    give_to(&mut task, 1, 0, [record(b"k", b"20", 20)]);
    assert_eq!(at(&mut task, 1_499), ["20"], "it came in time");
    assert_eq!(at(&mut task, 1_998), [""; 0], "the wait began anew when it was taken");
    assert_eq!(at(&mut task, 1_999), ["30"]);
    fetched(&mut task, 0, 1, &[40]);
    assert_eq!(
        at(&mut task, 2_000),
        ["40"],
        "an input that was waited for is not waited for again until it has had one"
    );
    // What the log is known to have is waited for without an end.
    give_to(&mut task, 1, 1, [record(b"k", b"50", 50)]);
    fetched(&mut task, 1, 2, &[60]);
    fetched(&mut task, 0, 2, &[70]);
    assert_eq!(at(&mut task, 2_001), ["50", "60"]);
    assert_eq!(at(&mut task, 100_000), [""; 0]);
}

#[test]
fn a_clock_that_goes_back_makes_a_task_wait_no_longer() {
    let mut task = merging("500ms");
    give_to(&mut task, 1, 0, []);
    fetched(&mut task, 0, 0, &[30]);
    assert_eq!(at(&mut task, 3_600_000), [""; 0]);
    assert_eq!(at(&mut task, 1_000), [""; 0]);
    assert_eq!(at(&mut task, 1_500), ["30"]);
}

const TICKING: &str = r#"{"version":1,"nodes":[{"name":"a","op":"source"},
    {"name":"tick","op":"process","inputs":["a"],"punctuations":[{"name":"t","time":"stream","every_ms":100}]},
    {"name":"out","op":"sink","inputs":["tick"]}]}"#;

/// A punctuation gives the time it fires for, a record nothing.
fn ticks(_: u32, frame: &[u8], _: &mut TaskStores, out: &mut Vec<u8>) -> Result<(), Fault> {
    let mut answer = Answer::default();
    if frame[32..36] == NO_SOURCE.to_le_bytes() {
        answer.element(0, Some(rig::stream_time(frame).to_string().as_bytes()), 0);
    }
    answer.finish(out);
    Ok(())
}

fn ticking(manifest: &str) -> Task {
    task(plan(manifest, TICKING, &TOPICS).unwrap(), Settings::default(), ticks)
}

const ADVANCES: &str = "[task]\nidle_advance = \"1s\"";

#[test]
fn stream_time_stands_still_without_records() {
    let mut task = ticking("");
    give_to(&mut task, 0, 0, [record(b"k", b"", 50)]);
    assert_eq!(at(&mut task, 7_000), ["50"]);
    assert_eq!(at(&mut task, 7_000_000), [""; 0]);
}

#[test]
fn stream_time_goes_on_with_the_clock_on_the_wall_where_the_manifest_says_so() {
    let mut task = ticking(ADVANCES);
    give_to(&mut task, 0, 0, []);
    assert_eq!(at(&mut task, 0), [""; 0], "there is no time in front of the first record");
    give_to(&mut task, 0, 0, [record(b"k", b"", 50)]);
    assert_eq!(at(&mut task, 10_000), ["50"]);
    assert_eq!(at(&mut task, 10_999), [""; 0], "not yet");
    assert_eq!(at(&mut task, 11_000), ["1050"], "once, for all that has passed");
    assert_eq!(at(&mut task, 11_049), [""; 0]);
    assert_eq!(at(&mut task, 11_050), ["1100"]);
    // A record begins the wait anew; time does not go back for it.
    give_to(&mut task, 0, 1, [record(b"k", b"", 60)]);
    assert_eq!(at(&mut task, 11_100), [""; 0]);
    assert_eq!((at(&mut task, 12_099), task.stream_time()), (vec![], 1_100));
    assert_eq!(at(&mut task, 12_100), ["2100"]);
}

#[test]
fn time_that_went_on_is_committed_with_what_it_did_and_found_again_after_a_restart() {
    let mut task = ticking(ADVANCES);
    give_to(&mut task, 0, 0, [record(b"k", b"", 50)]);
    at(&mut task, 10_000);
    while task.step(11_500, usize::MAX).unwrap() == Step::Ran {}
    assert_eq!(task.stream_time(), 1_550);
    task.abort();
    assert_eq!(task.stream_time(), 50, "what was not committed did not happen");
    give_to(&mut task, 0, 1, []);
    at(&mut task, 20_000);
    while task.step(21_500, usize::MAX).unwrap() == Step::Ran {}
    let mut said = millstream_engine::task::Cut::default();
    task.seal(9, millstream_engine::task::Inputs::Moved, &mut said);

    let plan = std::sync::Arc::new(plan(ADVANCES, TICKING, &TOPICS).unwrap());
    let (source, topic, _) = plan.inputs(&plan.subtopologies[0])[0];
    let input = TopicPartition { topic, partition: 0 };
    let metadata = millstream_engine::metadata::Metadata::decode(&said.offsets[0].metadata);
    let id = TaskId { subtopology: 0, partition: 0 };
    let starts = [Start { input, source, offset: 1, metadata }];
    let mut again = Task::new(id, plan.clone(), Settings::default(), &starts, 0);
    again.open(stores(&plan), Box::new(Native(ticks)));
    assert_eq!(again.stream_time(), 1_550);
    give_to(&mut again, 0, 1, [record(b"k", b"", 1_599)]);
    assert_eq!(at(&mut again, 0), [""; 0], "that tick was");
}

// === what operators hold back ===

/// Key and value of what went out while the task was idle at `now`.
fn given(task: &mut Task, now: i64) -> Vec<(String, Vec<u8>)> {
    while task.step(now, usize::MAX).unwrap() == Step::Ran {}
    let (out, _) = cut(task, now);
    let shown = |(_, record): (_, Record<'_>)| {
        let key = record.key.unwrap();
        let key = key.split_last_chunk::<16>().map_or(key, |(key, _)| key);
        (key.escape_ascii().to_string(), record.value.unwrap_or_default().to_vec())
    };
    out.iter().map(shown).collect()
}

fn counted(key: &str, count: i64) -> (String, Vec<u8>) {
    (key.to_owned(), count.to_be_bytes().to_vec())
}

fn windowed(nodes: &str, store: &str) -> String {
    format!(
        r#"{{"version":1,"nodes":[{{"name":"a","op":"source"}},{nodes},
        {{"name":"change","op":"to-stream","inputs":["final"]}},{{"name":"out","op":"sink","inputs":["change"]}}],
        "stores":[{{"name":"counts","kind":"window","key":"bytes","value":"i64","window_size_ms":10,
                    "retention_ms":100000}}{store}]}}"#
    )
}

const COUNT: &str = r#""op":"count","inputs":["a"],"store":"counts",
    "window":{"type":"time","size_ms":10,"advance_ms":10,"grace_ms":5}"#;

/// AC-53, by a suppression and by the aggregation itself.
fn final_counts() -> [String; 2] {
    let count = format!(
        r#"{{"name":"count",{COUNT}}},{{"name":"final","op":"suppress","inputs":["count"],"store":"held",
        "suppress":{{"until":"window-close"}}}}"#
    );
    let held = r#",{"name":"held","kind":"key-value","key":"bytes","value":"bytes"}"#;
    [windowed(&count, held), windowed(&format!(r#"{{"name":"final",{COUNT},"emit":"on-window-close"}}"#), "")]
}

#[test]
fn a_window_of_an_idle_topic_is_given_away_once_where_time_goes_on_and_never_where_it_does_not() {
    for description in final_counts() {
        for (manifest, goes_on) in [("", false), (ADVANCES, true)] {
            let mut task = task(plan(manifest, &description, &TOPICS).unwrap(), Settings::default(), no_code);
            give_to(&mut task, 0, 0, [record(b"k", b"", 2), record(b"k", b"", 7)]);
            assert_eq!(given(&mut task, 10_000), []);
            // The window closes at 15, which is 8 ms behind the last record: not before time goes on at all.
            assert_eq!(given(&mut task, 10_500), []);
            let expected = if goes_on { vec![counted("k", 2)] } else { vec![] };
            assert_eq!(given(&mut task, 11_000), expected);
            assert_eq!(given(&mut task, 60_000), []);
            // What comes for it now is late, and changes nothing that was said.
            give_to(&mut task, 0, 2, [record(b"k", b"", 8)]);
            assert_eq!(given(&mut task, 60_001), []);
            assert_eq!(task.dropped().late, u64::from(goes_on), "{manifest}");
            give_to(&mut task, 0, 3, [record(b"l", b"", 100_000)]);
            let left = if goes_on { vec![] } else { vec![counted("k", 3)] };
            assert_eq!(given(&mut task, 60_002), left);
        }
    }
}

#[test]
fn what_was_given_away_by_the_clock_on_the_wall_is_given_again_if_it_was_not_committed() {
    for description in final_counts() {
        let mut task = task(plan(ADVANCES, &description, &TOPICS).unwrap(), Settings::default(), no_code);
        give_to(&mut task, 0, 0, [record(b"k", b"", 2)]);
        assert_eq!(given(&mut task, 10_000), []);
        while task.step(12_000, usize::MAX).unwrap() == Step::Ran {}
        task.abort();
        give_to(&mut task, 0, 1, []);
        assert_eq!(given(&mut task, 20_000), []);
        assert_eq!(given(&mut task, 21_000), [counted("k", 1)]);
    }
}

fn joins(_: u32, frame: &[u8], _: &mut TaskStores, out: &mut Vec<u8>) -> Result<(), Fault> {
    let mut answer = Answer::default();
    (0..rig::asked(frame)).for_each(|at| answer.element(at, Some(b"alone"), 0));
    answer.finish(out);
    Ok(())
}

#[test]
fn who_waits_for_a_partner_on_idle_topics_waits_no_longer_than_its_window() {
    let description = r#"{"version":1,"nodes":[{"name":"a","op":"source"},{"name":"b","op":"source"},
        {"name":"join","op":"stream-join","inputs":["a","b"],"join":"outer","key":"bytes","value":"bytes",
         "other_value":"bytes","join_windows":{"before_ms":0,"after_ms":900,"grace_ms":1}},
        {"name":"out","op":"sink","inputs":["join"]}]}"#;
    let mut task = task(plan(ADVANCES, description, &TOPICS).unwrap(), Settings::default(), joins);
    give_to(&mut task, 1, 0, [record(b"right", b"", 5)]);
    give_to(&mut task, 0, 0, [record(b"left", b"", 5)]);
    assert_eq!(given(&mut task, 10_000), []);
    assert_eq!(given(&mut task, 10_999), []);
    let alone = |key: &str| (key.to_owned(), b"alone".to_vec());
    let mut all = given(&mut task, 11_000);
    all.sort();
    assert_eq!(all, [alone("left"), alone("right")]);
    assert_eq!(given(&mut task, 60_000), []);
}

#[test]
fn a_wait_longer_than_the_retention_leaves_no_window_behind() {
    let count = format!(r#"{{"name":"final",{COUNT},"emit":"on-window-close"}}"#);
    let description = windowed(&count, "").replace("100000", "15");
    let mut task = task(plan(ADVANCES, &description, &TOPICS).unwrap(), Settings::default(), no_code);
    give_to(&mut task, 0, 0, [record(b"k", b"", 2)]);
    assert_eq!(given(&mut task, 10_000), []);
    // Nobody looked for ten minutes.
    assert_eq!(given(&mut task, 610_000), [counted("k", 1)]);
    assert_eq!(given(&mut task, 620_000), []);
}

/// Who waits for long is walked over once for who waits shorter, however often somebody looks.
#[test]
fn looks_at_who_waits_for_a_partner_cost_what_is_due_and_not_what_waits() {
    const WAITING: usize = 5_000;
    const LOOKS: usize = 300;
    let description = r#"{"version":1,"nodes":[{"name":"a","op":"source"},{"name":"b","op":"source"},
        {"name":"join","op":"stream-join","inputs":["a","b"],"join":"outer","key":"bytes","value":"bytes",
         "other_value":"bytes","join_windows":{"before_ms":0,"after_ms":100000,"grace_ms":1}},
        {"name":"out","op":"sink","inputs":["join"]}]}"#;
    let plan = plan(ADVANCES, description, &TOPICS).unwrap();
    let walked = Arc::new(AtomicUsize::new(0));
    let stores = stores_on(&plan, Box::new(Walked(MemoryBase::new(plan.stores.len()), walked.clone())));
    let mut task = task_with(plan, stores, Settings::default(), joins);
    let keys: Vec<String> = (0..WAITING).map(|at| format!("left{at:04}")).collect();
    let lefts = keys.iter().enumerate().map(|(at, key)| record(key.as_bytes(), b"", at as i64));
    give_to(&mut task, 1, 0, []);
    give_to(&mut task, 0, 0, lefts);
    assert_eq!(given(&mut task, 10_000), []);
    walked.store(0, Ordering::Relaxed);
    (0..LOOKS as i64).for_each(|look| assert_eq!(given(&mut task, 11_000 + look), []));
    let rows = walked.swap(0, Ordering::Relaxed);
    assert!(rows < WAITING + 10 * LOOKS, "{LOOKS} looks have walked over {rows} rows");

    // The first ten are due, and who comes behind them waits on.
    let time = 10_000 + 100_000 + 1 + 10 - (WAITING as i64 - 1);
    let mut first = given(&mut task, time);
    first.sort();
    assert_eq!(first, keys[..10].iter().map(|key| (key.clone(), b"alone".to_vec())).collect::<Vec<_>>());
    assert_eq!(given(&mut task, time), []);
    assert_eq!(given(&mut task, time + 1).len(), 1);
    give_to(&mut task, 1, 0, [record(b"left0011", b"", 11)]);
    given(&mut task, time + 2);
    assert_eq!(given(&mut task, time + 1_000_000).len(), WAITING - 12, "who met a partner waits no longer");
    assert_eq!(given(&mut task, time + 2_000_000), []);
}
