//! What is let go may be much: by several ways at once, more than a batch or a call may be. It goes in smaller steps then, and
//! no record is to blame for it.

use std::sync::Arc;

use millstream_engine::functions::{Fault, FaultKind};
use millstream_engine::record::TopicPartition;
use millstream_engine::store::TaskStores;
use millstream_engine::task::{Settings, Start, Step, Task, TaskId};

use super::rig::{Answer, Native, asked, cut, give_to, keys, plan, record, stores, task};
use super::{COUNT, TOPICS, WINDOWS, out, refuses, shown, topologies, topology};

/// Rows by a key, and what holds their updates back.
fn table(name: &str, input: &str) -> String {
    format!(r#"{{"name":"{name}","op":"to-table","inputs":["{input}"],"store":"{name}"}}"#)
}

fn suppressed(name: &str, input: &str) -> String {
    format!(
        r#"{{"name":"{name}","op":"suppress","inputs":["{input}"],"store":"{name}",
        "suppress":{{"until":"time-limit","ms":10}}}},{{"name":"of-{name}","op":"to-stream","inputs":["{name}"]}}"#
    )
}

fn key_values(names: &[&str]) -> String {
    let store = |name| format!(r#"{{"name":"{name}","kind":"key-value","key":"bytes","value":"bytes"}}"#);
    names.iter().map(store).collect::<Vec<_>>().join(",")
}

/// Where one record lets go of several nodes, or by several ways.
fn several_ways() -> [(&'static str, String); 5] {
    let [_, _, _, joined, _] = topologies();
    let beside = [
        table("rows", "a"),
        suppressed("h1", "rows"),
        suppressed("h2", "rows"),
        suppressed("h3", "rows"),
        r#"{"name":"all","op":"merge","inputs":["of-h1","of-h2","of-h3"]}"#.to_owned(),
    ];
    let in_series = [table("rows", "a"), suppressed("h1", "rows"), table("again", "of-h1"), suppressed("h2", "again")];
    let split = [
        r#"{"name":"split","op":"flat-map-values","inputs":["a"]}"#.to_owned(),
        table("rows", "split"),
        suppressed("h1", "rows"),
    ];
    let again = COUNT.replace(r#""a""#, r#""closed""#).replace(r#""rows""#, r#""again""#);
    let closing = format!(
        r#"{{"name":"first","emit":"on-window-close",{COUNT}}},{{"name":"closed","op":"to-stream","inputs":["first"]}},
        {{"name":"second","emit":"on-window-close",{again}}},{{"name":"last","op":"to-stream","inputs":["second"]}}"#
    );
    let windows = format!("{WINDOWS},{}", WINDOWS.replace("rows", "again"));
    [
        ("beside", topology(&beside.join(","), "all", &key_values(&["rows", "h1", "h2", "h3"]))),
        ("series", topology(&in_series.join(","), "of-h2", &key_values(&["rows", "h1", "again", "h2"]))),
        ("split", topology(&split.join(","), "of-h1", &key_values(&["rows", "h1"]))),
        ("joined", joined),
        ("closing", topology(&closing, "last", &windows)),
    ]
}

/// As [`refuses`], but the second node, where it is a flat-map, makes three of what is good.
fn splits(node: u32, frame: &[u8], stores: &mut TaskStores, out: &mut Vec<u8>) -> Result<(), Fault> {
    if node != 1 {
        return refuses(node, frame, stores, out);
    }
    let mut answer = Answer::default();
    for (at, key) in (0..asked(frame)).zip(keys(frame)) {
        let times = if key.starts_with(b"bad") { 1 } else { 3 };
        (0..times).for_each(|_| answer.element(at, None, 0));
    }
    answer.finish(out);
    Ok(())
}

#[test]
fn however_many_are_refused_by_several_ways_no_record_is_lost() {
    for (what, topology) in several_ways() {
        let mut task = task(plan("on_error = \"skip\"", &topology, &TOPICS).unwrap(), Settings::default(), splits);
        let bad: Vec<String> =
            (0..30).map(|at| format!("bad{:02}", if what == "joined" { at / 3 } else { at })).collect();
        if what == "joined" {
            give_to(&mut task, 1, 0, []);
        }
        let held = bad.iter().map(|key| record(key.as_bytes(), b"v", 2));
        let mut offset = give_to(&mut task, 0, 0, held);
        let good: Vec<String> = (0..30).map(|at| format!("k{at:02}")).collect();
        let mut went = Vec::new();
        offset = give_to(&mut task, 0, offset, good.iter().map(|key| record(key.as_bytes(), b"v", 100)));
        went.extend(out(&mut task, 0, "out"));
        for time in (200..6_200).step_by(100) {
            offset = give_to(&mut task, 0, offset, [record(b"t", b"v", time)]);
            went.extend(out(&mut task, 0, "out"));
        }
        let ways = if what == "beside" { 3 } else { 1 };
        went.retain(|key| key.starts_with('k'));
        // Of windows of windows there are times behind it.
        went.iter_mut().for_each(|key| key.truncate(3));
        went.sort();
        went.dedup();
        let dropped = task.dropped();
        assert_eq!((dropped.skipped, dropped.late), (30 * ways, 0), "{what}");
        assert_eq!(went, good, "{what}");
        assert_eq!(task.processed(), offset as u64, "{what}");
    }
}

/// Makes a thousand of a key that begins with `much` or `huge`, and twenty more of each that is huge.
fn multiplies(node: u32, frame: &[u8], stores: &mut TaskStores, out: &mut Vec<u8>) -> Result<(), Fault> {
    let times = |key: &[u8]| match node {
        4 if key.starts_with(b"much") || key.starts_with(b"huge") => 1_000,
        5 if key.starts_with(b"huge") => 20,
        _ => 1,
    };
    if !(4..=5).contains(&node) {
        return refuses(node, frame, stores, out);
    }
    let mut answer = Answer::default();
    for (at, key) in (0..asked(frame)).zip(keys(frame)) {
        (0..times(&key)).for_each(|_| answer.element(at, None, 0));
    }
    answer.finish(out);
    Ok(())
}

/// Ten of them are more than a batch may send, and so is the huge one by itself.
#[test]
fn rows_that_are_too_much_together_are_let_go_one_by_one() {
    let nodes = [
        table("rows", "a"),
        suppressed("held", "rows"),
        r#"{"name":"much","op":"flat-map","inputs":["of-held"]}"#.to_owned(),
        r#"{"name":"more","op":"flat-map","inputs":["much"]},{"name":"b","op":"sink","inputs":["more"]}"#.to_owned(),
    ];
    let mut task = task(
        plan("on_error = \"skip\"", &topology(&nodes.join(","), "more", &key_values(&["rows", "held"])), &TOPICS)
            .unwrap(),
        Settings::default(),
        multiplies,
    );
    let value = vec![b'v'; 8_000];
    let keys = (0..9).map(|at| format!("much{at}")).chain(["huge".to_owned()]).collect::<Vec<_>>();
    let mut offset = give_to(&mut task, 0, 0, keys.iter().map(|key| record(key.as_bytes(), &value, 2)));
    let mut went = Vec::new();
    for at in 1..13 {
        offset = give_to(&mut task, 0, offset, [record(format!("t{at}").as_bytes(), b"v", 100 * at)]);
        went.extend(out(&mut task, 0, "out"));
    }
    let (others, rows): (Vec<String>, Vec<String>) = went.into_iter().partition(|key| key.starts_with('t'));
    assert_eq!((rows.len(), others.len()), (9_000, 11));
    assert_eq!((task.dropped().skipped, task.processed()), (1, offset as u64));
}

/// Asks for a schedule by the name of each key that begins with `s`.
fn schedules(node: u32, frame: &[u8], stores: &mut TaskStores, out: &mut Vec<u8>) -> Result<(), Fault> {
    const SCHEDULE: u16 = 6;
    let mut answer = Answer::default();
    if node != 4 {
        return refuses(node, frame, stores, out);
    }
    for (at, key) in (0..asked(frame)).zip(keys(frame)) {
        answer.element(at, None, 2);
        if key.starts_with(b"s") {
            answer.outcome(at, SCHEDULE, &[b"wall-clock 1000 ", &key[..]].concat());
        }
    }
    answer.finish(out);
    Ok(())
}

/// A task may have eight.
#[test]
fn a_row_that_asks_for_a_schedule_too_many_is_skipped_alone() {
    let processor = r#"{"name":"p","op":"process","inputs":["of-held"],"schedules":true}"#.to_owned();
    let nodes = [table("rows", "a"), suppressed("held", "rows"), processor];
    let topology = topology(&nodes.join(","), "p", &key_values(&["rows", "held"]));
    let mut task = task(plan("on_error = \"skip\"", &topology, &TOPICS).unwrap(), Settings::default(), schedules);
    let keys: Vec<String> = (0..12).map(|at| format!("s{at:02}")).collect();
    let offset = give_to(&mut task, 0, 0, keys.iter().map(|key| record(key.as_bytes(), b"v", 2)));
    give_to(&mut task, 0, offset, [record(b"t", b"v", 100), record(b"u", b"v", 200)]);
    assert_eq!(out(&mut task, 0, "out"), [&keys[..8], &["t".to_owned()]].concat());
    assert_eq!((task.dropped().skipped, task.processed()), (4, 14));
}

/// Has the time for a thousand elements in one call.
fn is_slow(node: u32, frame: &[u8], stores: &mut TaskStores, out: &mut Vec<u8>) -> Result<(), Fault> {
    match asked(frame) {
        ..=1_000 => refuses(node, frame, stores, out),
        _ => Err(Fault::guest(FaultKind::Deadline, "it took too long")),
    }
}

/// Nothing is refused: whatever the policy, it goes in smaller steps. And in no step so much that nobody looks after the log.
#[test]
fn what_is_let_go_and_is_too_much_for_one_call_ends_no_application() {
    const ROWS: usize = 4_500;
    let keys: Vec<String> = (0..ROWS).map(|at| format!("k{at:04}")).collect();
    for (manifest, is_idle) in [("", false), ("[task]\nidle_advance = \"1s\"", true)] {
        for topology in topologies() {
            // A joiner is asked about all of them at once, however they came; windows go in portions.
            let is_apart = topology.contains("join") || (is_idle && !topology.contains("on-window-close"));
            let mut task = task(plan(manifest, &topology, &TOPICS).unwrap(), Settings::default(), is_slow);
            if task.inputs().count() > 1 {
                give_to(&mut task, 1, 0, []);
            }
            let mut offset = give_to(&mut task, 0, 0, keys.iter().map(|key| record(key.as_bytes(), b"v", 2)));
            let mut went = out(&mut task, 10_000, "out");
            assert_eq!(went, [""; 0]);
            for at in 0..12 {
                let now = if is_idle { 11_000 } else { 10_000 };
                if !is_idle {
                    offset = give_to(&mut task, 0, offset, [record(b"t", b"v", 100 + at)]);
                }
                while task.step(now, usize::MAX).unwrap() == Step::Ran {
                    let rows = cut(&mut task, 0).0;
                    assert!(!is_apart || rows.len() <= 2_001, "{} in one step: {topology}", rows.len());
                    went.extend(shown(&task, &rows, "out"));
                }
            }
            went.retain(|key| key != "t");
            went.sort();
            assert!(went == keys, "{} of them: {topology}", went.len());
        }
    }
}

/// A portion has no record; its policy is that of the source that this task has.
#[test]
fn rows_of_a_later_portion_have_the_policy_of_a_source_that_is_there() {
    let nodes = format!(
        r#"{{"name":"b","op":"source"}},{{"name":"both","op":"merge","inputs":["a","b"]}},
        {{"name":"held",{},"emit":"on-window-close"}},{{"name":"change","op":"to-stream","inputs":["held"]}}"#,
        COUNT.replace(r#""a""#, r#""both""#)
    );
    let manifest = "on_error = \"fail\"\n[sources.b]\non_error = \"skip\"";
    let plan = Arc::new(plan(manifest, &topology(&nodes, "change", WINDOWS), &TOPICS).unwrap());
    let (source, topic, _) = plan.inputs(&plan.subtopologies[0])[1];
    let start = Start { input: TopicPartition { topic, partition: 0 }, source, offset: 0, metadata: None };
    let mut task = Task::new(TaskId { subtopology: 0, partition: 0 }, plan.clone(), Settings::default(), &[start], 0);
    task.open(stores(&plan), Box::new(Native(refuses)));
    let rows: Vec<String> = (0..10_500).map(|at| format!("a{at:05}")).chain(["bad".to_owned()]).collect();
    let offset = give_to(&mut task, 0, 0, rows.iter().map(|key| record(key.as_bytes(), b"v", 2)));
    give_to(&mut task, 0, offset, [record(b"t", b"v", 100)]);
    assert_eq!(out(&mut task, 0, "out"), rows[..10_500]);
    assert_eq!(task.dropped().skipped, 1);
}
