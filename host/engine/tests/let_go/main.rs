//! What was held back and is let go stands for itself: of it the guest refuses what it will, and neither the record that let
//! it go nor any behind it is lost for that.
#![allow(clippy::unwrap_used)]

mod much;
#[path = "../rig/mod.rs"]
mod rig;

use std::sync::atomic::{AtomicU32, Ordering};

use millstream_engine::frame::Kind;
use millstream_engine::functions::{Fault, FaultKind};
use millstream_engine::record::{Outgoing, Record};
use millstream_engine::store::TaskStores;
use millstream_engine::task::{Failure, Settings, Step, Task};
use rig::{Answer, asked, cut, give_to, keys, plan, record, task};

const TOPICS: [(&str, usize); 4] = [("a", 1 << 20), ("b", 1 << 20), ("out", 1 << 20), ("letters", 1 << 20)];

const COUNT: &str = r#""op":"count","inputs":["a"],"store":"rows",
    "window":{"type":"time","size_ms":10,"advance_ms":10,"grace_ms":5}"#;

const WINDOWS: &str =
    r#"{"name":"rows","kind":"window","key":"bytes","value":"i64","window_size_ms":10,"retention_ms":100000}"#;

/// Of a frame that asks a joiner.
const JOIN: u16 = Kind::Join as u16;

/// What an outcome says that wants another try.
const RETRY: u16 = 3;

/// One topology for each way to hold something back, which ends in the node `held`.
fn topologies() -> [String; 5] {
    let held = r#"{"name":"held","kind":"key-value","key":"bytes","value":"bytes"}"#;
    let suppressed = |until: &str| {
        format!(r#"{{"name":"held","op":"suppress","inputs":["count"],"store":"held","suppress":{{"until":{until}}}}}"#)
    };
    let change = r#",{"name":"change","op":"to-stream","inputs":["held"]}"#;
    [
        topology(&format!(r#"{{"name":"held",{COUNT},"emit":"on-window-close"}}{change}"#), "change", WINDOWS),
        topology(
            &format!(r#"{{"name":"count",{COUNT}}},{}{change}"#, suppressed(r#""window-close""#)),
            "change",
            &format!("{WINDOWS},{held}"),
        ),
        topology(
            &format!(
                r#"{{"name":"count","op":"to-table","inputs":["a"],"store":"rows"}},{}{change}"#,
                suppressed(r#""time-limit","ms":10"#)
            ),
            "change",
            &format!(r#"{{"name":"rows","kind":"key-value","key":"bytes","value":"bytes"}},{held}"#),
        ),
        topology(
            r#"{"name":"b","op":"source"},
               {"name":"held","op":"stream-join","inputs":["a","b"],"join":"outer","key":"bytes","value":"bytes",
                "other_value":"bytes","join_windows":{"before_ms":0,"after_ms":10,"grace_ms":1}}"#,
            "held",
            "",
        ),
        topology(
            r#"{"name":"b","op":"table-source","store":"rows"},
               {"name":"held","op":"stream-table-join","inputs":["a","b"],"join":"left","grace_ms":20}"#,
            "held",
            r#"{"name":"rows","kind":"versioned","key":"bytes","value":"bytes","retention_ms":100}"#,
        ),
    ]
}

/// What comes out of it goes by a guest.
fn topology(nodes: &str, last: &str, stores: &str) -> String {
    format!(
        r#"{{"version":1,"nodes":[{{"name":"a","op":"source"}},{nodes},
        {{"name":"seen","op":"peek","inputs":["{last}"]}},{{"name":"out","op":"sink","inputs":["seen"]}}],
        "stores":[{stores}]}}"#
    )
}

/// Joins whatever there is, and lets everything pass but keys that begin with `bad`: it traps at one that is `bad trap`.
fn refuses(_: u32, frame: &[u8], _: &mut TaskStores, out: &mut Vec<u8>) -> Result<(), Fault> {
    let mut answer = Answer::default();
    let is_join = frame[6..8] == JOIN.to_le_bytes();
    if is_join {
        (0..asked(frame)).for_each(|at| answer.element(at, Some(b"joined"), 0));
        answer.finish(out);
        return Ok(());
    }
    for (at, key) in (0..asked(frame)).zip(keys(frame)) {
        if key.starts_with(b"bad trap") {
            return Err(Fault::guest(FaultKind::Trap, "it trapped"));
        }
        if key.starts_with(b"bad") {
            answer.outcome(at, 4, b"not this one");
        }
    }
    answer.finish(out);
    Ok(())
}

fn opened(topology: &str, manifest: &str) -> Task {
    task(plan(manifest, topology, &TOPICS).unwrap(), Settings::default(), refuses)
}

/// Everything that comes out until the task has nothing to do at `now`, of one topic: keys without their windows.
fn out(task: &mut Task, now: i64, topic: &str) -> Vec<String> {
    while task.step(now, usize::MAX).unwrap() == Step::Ran {}
    let (outgoing, _) = cut(task, now);
    shown(task, &outgoing, topic)
}

fn shown(task: &Task, outgoing: &Outgoing, topic: &str) -> Vec<String> {
    let is_of = |to: u32| task.plan().topics[to as usize].name == topic;
    let of_topic = outgoing.iter().filter(|(to, _)| is_of(to.topic.0));
    of_topic.map(|(_, record)| name(record.key.unwrap()).escape_ascii().to_string()).collect()
}

fn name(key: &[u8]) -> &[u8] {
    key.split_last_chunk::<16>().map_or(key, |(key, _)| key)
}

/// Three keys at one time, the middle one bad.
fn give_three(task: &mut Task, bad: &[u8]) {
    // What stands beside it in the topology has nothing.
    if task.inputs().count() > 1 {
        give_to(task, 1, 0, []);
    }
    give_to(task, 0, 0, [record(b"k", b"v", 2), record(bad, b"v", 2), record(b"k2", b"v", 2)]);
}

#[test]
fn a_row_that_is_refused_as_it_is_let_go_is_skipped_alone() {
    for topology in topologies() {
        for bad in [&b"bad"[..], b"bad trap"] {
            let mut task = opened(&topology, "on_error = \"skip\"");
            give_three(&mut task, bad);
            assert_eq!(out(&mut task, 0, "out"), [""; 0], "{topology}");
            give_to(&mut task, 0, 3, [record(b"t", b"v", 100)]);
            assert_eq!(out(&mut task, 0, "out"), ["k", "k2"], "{topology}");
            give_to(&mut task, 0, 4, [record(b"u", b"v", 200)]);
            assert_eq!(out(&mut task, 0, "out"), ["t"], "{topology}");
            assert_eq!((task.dropped().skipped, task.processed()), (1, 5), "{topology}");
            assert_eq!(task.faults().values().sum::<u64>(), u64::from(bad == b"bad trap"), "{topology}");
        }
    }
}

#[test]
fn a_row_that_is_refused_as_it_is_let_go_is_a_dead_letter_by_itself() {
    for topology in topologies() {
        let mut task = opened(&topology, "on_error = \"dead-letter:letters\"");
        give_three(&mut task, b"bad");
        assert_eq!(out(&mut task, 0, "out"), [""; 0], "{topology}");
        give_to(&mut task, 0, 3, [record(b"t", b"v", 100)]);
        while task.step(0, usize::MAX).unwrap() == Step::Ran {}
        let (outgoing, _) = cut(&mut task, 0);
        assert_eq!(shown(&task, &outgoing, "out"), ["k", "k2"], "{topology}");
        assert_eq!(shown(&task, &outgoing, "letters"), ["bad"], "{topology}");
        let is_letter = |record: &Record<'_>| name(record.key.unwrap()) == b"bad";
        let (_, letter) = outgoing.iter().find(|(_, record)| is_letter(record)).unwrap();
        let said = |name: &str| {
            let value = letter.headers.iter().find(|(found, _)| *found == format!("__streams.errors.{name}"));
            value.unwrap().1.unwrap().escape_ascii().to_string()
        };
        assert_eq!(
            [said("node"), said("message"), said("topic"), said("offset")],
            ["seen", "of what it let go: not this one", "a", "3"],
            "{topology}"
        );
        assert_eq!(task.dead_letters(), 1, "{topology}");
    }
}

#[test]
fn a_row_that_is_refused_where_nothing_may_be_ends_the_application_and_loses_nothing() {
    for topology in topologies() {
        let mut task = opened(&topology, "");
        give_three(&mut task, b"bad");
        assert_eq!(out(&mut task, 0, "out"), [""; 0], "{topology}");
        give_to(&mut task, 0, 3, [record(b"t", b"v", 100)]);
        let failed = loop {
            match task.step(0, usize::MAX) {
                Ok(step) => assert_eq!(step, Step::Ran, "{topology}"),
                Err(failed) => break failed,
            }
        };
        let Failure::Record(failed) = failed else { panic!("{failed:?}") };
        assert_eq!(
            (failed.offset, &*failed.node, &*failed.message),
            (3, "seen", "of what it let go: not this one"),
            "{topology}"
        );
        let (outgoing, _) = cut(&mut task, 0);
        assert_eq!(shown(&task, &outgoing, "out"), [""; 0], "{topology}");
        assert_eq!(task.processed(), 3, "{topology}");
    }
}

#[test]
fn a_row_that_is_refused_as_time_goes_on_without_records_is_skipped_alone() {
    let manifest = "on_error = \"skip\"\n[task]\nidle_advance = \"1s\"";
    for topology in topologies() {
        for bad in [&b"bad"[..], b"bad trap"] {
            let mut task = opened(&topology, manifest);
            give_three(&mut task, bad);
            assert_eq!(out(&mut task, 10_000, "out"), [""; 0], "{topology}");
            let mut went = out(&mut task, 11_000, "out");
            went.sort();
            assert_eq!(went, ["k", "k2"], "{topology}");
            assert_eq!(out(&mut task, 20_000, "out"), [""; 0], "{topology}");
            assert_eq!(task.dropped().skipped, 1, "{topology}");
        }
    }
}

/// The record that lets go is refused for itself: then nothing has been let go, and the next one does it.
#[test]
fn a_record_that_is_refused_itself_lets_nothing_go() {
    for topology in topologies() {
        let mut task = opened(&refusing_first(&topology), "on_error = \"skip\"");
        give_three(&mut task, b"kk");
        assert_eq!(out(&mut task, 0, "out"), [""; 0], "{topology}");
        give_to(&mut task, 0, 3, [record(b"bad", b"v", 100)]);
        assert_eq!(out(&mut task, 0, "out"), [""; 0], "{topology}");
        give_to(&mut task, 0, 4, [record(b"u", b"v", 200)]);
        let mut went = out(&mut task, 0, "out");
        went.sort();
        assert_eq!(went, ["k", "k2", "kk"], "{topology}");
        assert_eq!((task.dropped().skipped, task.processed()), (1, 5), "{topology}");
    }
}

/// Another guest stands beside what holds back, and behind it in order.
fn refusing_first(topology: &str) -> String {
    topology.replace(r#"{"name":"seen""#, r#"{"name":"beside","op":"peek","inputs":["a"]},{"name":"seen""#)
}

/// They go in front of what the record itself comes to, apart as together: what goes by time behind them takes none as late.
#[test]
fn rows_that_are_let_go_stay_in_front_of_the_record_that_let_them_go() {
    let [_, _, _, joined, _] = topologies();
    for with in [&b"bad"[..], b"kk"] {
        let mut task = opened(&joined, "on_error = \"skip\"");
        give_to(&mut task, 1, 0, []);
        let left = [record(b"k", b"v", 2), record(with, b"v", 2), record(b"k2", b"v", 2), record(b"p", b"v", 12)];
        give_to(&mut task, 0, 0, left);
        assert_eq!(out(&mut task, 0, "out"), [""; 0]);
        give_to(&mut task, 1, 0, [record(b"p", b"v", 14)]);
        let went = out(&mut task, 0, "out");
        let expected = if with == b"bad" { &["k", "k2", "p"][..] } else { &["k", "k2", "kk", "p"] };
        assert_eq!(went, expected);
    }
}

/// Rows that are refused, of as many that are not: more than one run may have.
const MANY: usize = 45;

fn many() -> (Vec<String>, Vec<String>) {
    let of = |what: &str| (0..MANY).map(|at| format!("{what}{at:02}")).collect();
    (of("bad"), of("k"))
}

#[test]
fn however_many_are_refused_the_others_come_once() {
    let (bad, good) = many();
    for topology in topologies() {
        let mut task = opened(&topology, "on_error = \"skip\"");
        if task.inputs().count() > 1 {
            give_to(&mut task, 1, 0, []);
        }
        let keys = bad.iter().zip(&good).flat_map(|(bad, good)| [bad, good]);
        let mut offset = give_to(&mut task, 0, 0, keys.map(|key| record(key.as_bytes(), b"v", 2)));
        let mut went = out(&mut task, 0, "out");
        for at in 0..40 {
            offset = give_to(&mut task, 0, offset, [record(b"t", b"v", 100 + at)]);
            went.extend(out(&mut task, 0, "out"));
        }
        went.retain(|key| key != "t");
        went.sort();
        assert_eq!((went, task.dropped().skipped), (good.clone(), MANY as u64), "{topology}");
    }
}

/// What is behind them by time takes none of the rest as late: it is not taken on before all have come.
#[test]
fn of_many_that_are_refused_as_time_goes_on_the_others_are_not_late_behind_it() {
    let held = format!(
        r#"{{"name":"first","op":"to-table","inputs":["a"],"store":"first"}},
        {{"name":"held","op":"suppress","inputs":["first"],"store":"held","suppress":{{"until":"time-limit","ms":10}}}},
        {{"name":"change","op":"to-stream","inputs":["held"]}},{{"name":"passed","op":"peek","inputs":["change"]}},
        {{"name":"count",{}}},{{"name":"counted","op":"to-stream","inputs":["count"]}}"#,
        COUNT.replace(r#""a""#, r#""passed""#).replace(r#""grace_ms":5"#, r#""grace_ms":0"#)
    );
    let key_value = |name: &str| format!(r#"{{"name":"{name}","kind":"key-value","key":"bytes","value":"bytes"}}"#);
    let stores = [WINDOWS.to_owned(), key_value("first"), key_value("held")].join(",");
    let manifest = "on_error = \"skip\"\n[task]\nidle_advance = \"1s\"";
    let mut task = opened(&topology(&held, "counted", &stores), manifest);
    let (bad, good) = many();
    let keys = bad.iter().zip(&good).flat_map(|(bad, good)| [bad, good]);
    give_to(&mut task, 0, 0, keys.zip(0..).map(|(key, at)| record(key.as_bytes(), b"v", at / 20)));
    assert_eq!(out(&mut task, 10_000, "out"), [""; 0]);
    let mut went = out(&mut task, 11_000, "out");
    went.sort();
    let dropped = task.dropped();
    assert_eq!((went, dropped.skipped, dropped.late), (good, MANY as u64, 0));
}

/// How often the guest has asked for a retry.
static RETRIES: AtomicU32 = AtomicU32::new(0);

/// As [`refuses`], but of the key `again` it wants two more tries.
fn tries_again(node: u32, frame: &[u8], stores: &mut TaskStores, out: &mut Vec<u8>) -> Result<(), Fault> {
    let again = keys(frame).iter().position(|key| key.starts_with(b"again"));
    match again {
        Some(at) if RETRIES.fetch_add(1, Ordering::Relaxed) < 2 => {
            let mut answer = Answer::default();
            answer.outcome(at as u32, RETRY, b"not yet");
            answer.finish(out);
            Ok(())
        }
        _ => refuses(node, frame, stores, out),
    }
}

/// Behind the first portion there is no record any more: the others have the policy of the source, letters and retries too.
#[test]
fn rows_of_a_later_portion_are_judged_as_those_of_the_first() {
    const ROWS: usize = 10_500;
    let [closing, ..] = topologies();
    let manifest = "on_error = \"dead-letter:letters\"\n[retry]\nattempts = 2\nbackoff = \"10ms\"";
    let mut task = task(plan(manifest, &closing, &TOPICS).unwrap(), Settings::default(), tries_again);
    let rows: Vec<String> = (0..ROWS).map(|at| format!("a{at:05}")).collect();
    let others = ["again", "bad", "bad trap"].map(str::to_owned);
    let keys = rows.iter().chain(&others).map(|key| record(key.as_bytes(), b"v", 2));
    let offset = give_to(&mut task, 0, 0, keys);
    assert_eq!(out(&mut task, 0, "out"), [""; 0]);
    give_to(&mut task, 0, offset, [record(b"t", b"v", 100)]);
    let mut waits = 0;
    for now in 0.. {
        match task.step(now, usize::MAX).unwrap() {
            Step::Ran => {}
            Step::Wait(until) => waits += u32::from(until == now + 10),
            Step::Idle | Step::Full => break,
        }
    }
    assert_eq!(waits, 2, "it was tried again twice, each time after the pause");
    let (outgoing, _) = cut(&mut task, 0);
    assert_eq!(shown(&task, &outgoing, "out"), [&rows[..], &others[..1]].concat());
    assert_eq!(shown(&task, &outgoing, "letters"), others[1..]);
    let (_, letter) = outgoing.iter().find(|(_, record)| name(record.key.unwrap()) == b"bad").unwrap();
    let offset = letter.headers.iter().find(|(name, _)| *name == "__streams.errors.offset").unwrap().1;
    assert_eq!((offset, task.dead_letters()), (Some(&b"-1"[..]), 2));
}
