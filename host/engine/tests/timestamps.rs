//! When records happened: what a source takes for their time, in which order a task takes them by it, and what becomes of
//! those that have none.
#![allow(clippy::unwrap_used)]

mod rig;

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use millstream_engine::functions::{Fault, FaultKind};
use millstream_engine::record::{Headers, Outgoing, Record};
use millstream_engine::store::TaskStores;
use millstream_engine::task::{Failure, Settings, Step, Task};
use rig::{Answer, cut, give, give_to, no_code, plan, record, run, task};

const TOPICS: [(&str, usize); 4] = [("a", 1 << 20), ("b", 1 << 20), ("out", 1 << 20), ("letters", 1 << 20)];

/// Two sources with these fields, merged into `out`.
fn description(fields: &str) -> String {
    format!(
        r#"{{"version":1,"nodes":[{{"name":"a","op":"source"{fields}}},{{"name":"b","op":"source"{fields}}},
        {{"name":"both","op":"merge","inputs":["a","b"]}},{{"name":"out","op":"sink","inputs":["both"]}}]}}"#
    )
}

fn opened(manifest: &str, fields: &str, code: rig::Code) -> Task {
    task(plan(manifest, &description(fields), &TOPICS).unwrap(), Settings::default(), code)
}

/// What went out, as `value@time`.
fn shown(outgoing: &Outgoing) -> Vec<String> {
    let one = |record: Record<'_>| format!("{}@{}", record.value.unwrap().escape_ascii(), record.timestamp);
    outgoing.iter().map(|(_, record)| one(record)).collect()
}

static CALLS: AtomicUsize = AtomicUsize::new(0);

/// The time is the value, a number; "partition" is the partition's time, "drop" drops, "trap" traps.
fn by_value(_: u32, frame: &[u8], _: &mut TaskStores, out: &mut Vec<u8>) -> Result<(), Fault> {
    CALLS.fetch_add(1, Relaxed);
    let mut answer = Answer::default();
    let mut partition_time = rig::stream_time(frame);
    for (at, value) in rig::values(frame).iter().enumerate() {
        let time: i64 = match std::str::from_utf8(value).unwrap() {
            "partition" => partition_time,
            "drop" => {
                answer.outcome(at as u32, 1, b"");
                continue;
            }
            "trap" => return Err(Fault::guest(FaultKind::Trap, "it trapped")),
            number => number.parse().unwrap(),
        };
        partition_time = partition_time.max(time);
        answer.element(at as u32, Some(&time.to_be_bytes()), 0);
    }
    answer.finish(out);
    Ok(())
}

#[test]
fn a_task_takes_records_in_the_order_of_the_times_that_the_guest_gives_them_asked_once_for_what_comes_together() {
    let mut task = opened("", r#","timestamp":"function""#, by_value);
    give_to(&mut task, 0, 0, [record(b"k", b"10", 900), record(b"k", b"30", 1), record(b"k", b"partition", 2)]);
    give_to(&mut task, 1, 0, [record(b"k", b"20", 5), record(b"k", b"40", 4)]);
    CALLS.store(0, Relaxed);
    run(&mut task).unwrap();
    assert_eq!(CALLS.load(Relaxed), 2, "one call for each run of records");
    let (out, _) = cut(&mut task, 0);
    assert_eq!(shown(&out), ["10@10", "20@20", "30@30", "partition@30", "40@40"]);
    assert_eq!(task.stream_time(), 40);
}

#[test]
fn the_clock_on_the_wall_is_read_when_a_record_comes_in() {
    let mut task = opened("", r#","timestamp":"wall-clock""#, no_code);
    for (now, offset) in [(1_000, 0), (2_500, 1)] {
        give_to(&mut task, 0, offset, [record(b"k", b"x", 7)]);
        give_to(&mut task, 1, 0, []);
        while task.step(now, usize::MAX).unwrap() == Step::Ran {}
    }
    let (out, _) = cut(&mut task, 0);
    assert_eq!(shown(&out), ["x@1000", "x@2500"]);
}

#[test]
fn a_record_without_a_time_fails_and_its_policy_decides() {
    for fields in ["", r#","invalid_timestamp":"fail""#] {
        let mut task = opened("", fields, no_code);
        give_to(&mut task, 0, 0, [record(b"k", b"x", 5), record(b"k", b"y", -1)]);
        give_to(&mut task, 1, 0, []);
        let Err(Failure::Record(failed)) = run(&mut task) else { panic!("it was taken") };
        assert_eq!((failed.topic.as_str(), failed.offset, failed.node.as_str()), ("a", 1, "a"));
        assert!(failed.message.contains("timestamp is -1"), "{failed}");
        assert_eq!(shown(&cut(&mut task, 0).0), ["x@5"], "what was in front of it is kept");
    }
    let mut task = opened("on_error = \"dead-letter:letters\"", "", no_code);
    give_to(&mut task, 0, 0, [record(b"k", b"y", -7), record(b"k", b"x", 5)]);
    give_to(&mut task, 1, 0, []);
    run(&mut task).unwrap();
    let (out, _) = cut(&mut task, 0);
    assert_eq!(shown(&out), ["y@0", "x@5"], "a letter of a record without a time is of now");
    assert_eq!((task.dead_letters(), task.stream_time()), (1, 5));
}

#[test]
fn a_record_without_a_time_is_dropped_and_counted_where_its_source_skips() {
    let mut task = opened("", r#","invalid_timestamp":"skip""#, no_code);
    give_to(&mut task, 0, 0, [record(b"k", b"x", 5), record(b"k", b"y", -1), record(b"k", b"z", 6)]);
    give_to(&mut task, 1, 0, [record(b"k", b"w", -2)]);
    run(&mut task).unwrap();
    assert_eq!((task.dropped().timestamp, task.dropped().total(), task.processed()), (2, 2, 4));
    assert_eq!(task.offsets().map(|(_, offset)| offset).collect::<Vec<_>>(), [3, 1]);
    assert_eq!(shown(&cut(&mut task, 0).0), ["x@5", "z@6"]);
    task.abort();
    assert_eq!(task.dropped().timestamp, 2, "it was committed");
}

#[test]
fn a_record_without_a_time_happened_at_its_partitions_time_where_its_source_says_so() {
    let mut task = opened("on_error = \"skip\"", r#","invalid_timestamp":"partition-time""#, no_code);
    let given = [(b"u", -1), (b"x", 5), (b"y", -1), (b"z", 3), (b"w", -9)];
    give_to(&mut task, 0, 0, given.map(|(value, timestamp)| record(b"k", value, timestamp)));
    give_to(&mut task, 1, 0, []);
    run(&mut task).unwrap();
    assert_eq!(shown(&cut(&mut task, 0).0), ["x@5", "y@5", "z@3", "w@5"]);
    assert_eq!(task.dropped().skipped, 1, "there was no time yet");
}

#[test]
fn a_guest_that_fails_over_a_record_is_asked_one_by_one_and_blamed_in_its_turn() {
    let mut task = opened("on_error = \"dead-letter:letters\"", r#","timestamp":"function""#, by_value);
    let given = ["10", "trap", "-4", "drop", "30"].map(|value| record(b"k", value.as_bytes(), 0));
    give_to(&mut task, 0, 0, given);
    give_to(&mut task, 1, 0, [record(b"k", b"20", 0)]);
    run(&mut task).unwrap();
    let (out, _) = cut(&mut task, 0);
    assert_eq!(shown(&out), ["10@10", "trap@10", "-4@10", "20@20", "30@30"]);
    assert_eq!((task.dead_letters(), task.dropped().by_guest, task.dropped().total()), (2, 1, 1));
    assert_eq!(task.faults()[&FaultKind::Trap], 1);
    let letters: Vec<Option<&[u8]>> =
        out.iter().filter_map(|(_, record)| record.headers.last("__streams.errors.exception")).collect();
    assert_eq!(letters, [Some(&b"trap"[..]), Some(b"fail")]);
}

#[test]
fn a_partitions_time_goes_on_from_what_was_committed_when_records_are_asked_for_again() {
    let mut task = opened("", r#","timestamp":"function""#, by_value);
    let next = give_to(&mut task, 0, 0, [record(b"k", b"50", 0)]);
    give_to(&mut task, 1, 0, []);
    run(&mut task).unwrap();
    cut(&mut task, 0);
    give_to(&mut task, 0, next, [record(b"k", b"90", 0)]);
    run(&mut task).unwrap();
    task.abort();
    give_to(&mut task, 0, next, [record(b"k", b"partition", 0)]);
    give_to(&mut task, 1, 0, []);
    run(&mut task).unwrap();
    assert_eq!(shown(&cut(&mut task, 1).0), ["partition@50"]);
}

#[test]
fn a_source_that_goes_by_the_broker_wants_a_topic_whose_broker_writes_the_time() {
    let problem = plan("", &description(r#","timestamp":"log-append""#), &TOPICS).unwrap_err();
    assert_eq!((problem.name, problem.code), ("TimestampTypeMismatch", "E0215"));
    let json = problem.to_json();
    assert_eq!((&json["topic"], &json["actual_timestamp_type"]), (&"a".into(), &"CreateTime".into()));
    let described = serde_json::from_str(&description(r#","timestamp":"log-append""#)).unwrap();
    let manifest = millstream_engine::config::Manifest::parse("id = \"app\"", "app.toml").unwrap();
    let appended = millstream_engine::topology::TopicFacts {
        is_appended: true,
        ..millstream_engine::topology::TopicFacts::of_partitions(1)
    };
    let blueprint = millstream_engine::topology::Blueprint::new(manifest, &described).unwrap();
    assert!(blueprint.plan(&|_| Some(appended)).is_ok());
}

#[test]
fn only_a_source_has_times() {
    let described = r#"{"version":1,"nodes":[{"name":"in","op":"source"},
        {"name":"out","op":"sink","inputs":["in"],"timestamp":"record"}]}"#;
    let problem = plan("", described, &TOPICS).unwrap_err();
    assert!(problem.message.contains("only sources take `timestamp`"), "{problem}");
}

/// One that holds back nothing of the others: a record that failed stays at its place.
#[test]
fn a_record_that_stops_its_application_stops_it_again() {
    let mut task = opened("", "", no_code);
    give(&mut task, 0, [Record { key: None, value: Some(b"y"), headers: Headers(&[]), timestamp: -1 }]);
    give_to(&mut task, 1, 0, []);
    for _ in 0..2 {
        assert!(matches!(run(&mut task), Err(Failure::Record(_))));
    }
    assert!(!task.is_touched());
}
