//! A punctuation that goes on by a token, with commits between its portions: each row of the store it walks goes downstream
//! once, and in order, wherever the process dies between two.

use std::collections::BTreeSet;

use millstream::log::Isolation;
use tests::chaos::subject::{LMDB, Shape, Subject};
use tests::logs::{TestLog, each_log, eventually};

use super::fail_points::until_it_dies;

/// What the punctuation comes to: more than one call may give. Five rows in each, so that many commits come between.
const ROWS: usize = 2_500;
const PORTION: usize = 5;

/// When the records are of, in ms, and when the last one is, which crosses the grid of the punctuation once: long enough ago
/// for any broker.
const BEGAN: i64 = 1_700_000_000_000;
const CROSSED: i64 = BEGAN + EVERY;
const EVERY: i64 = 60_000;

/// Where it dies: when the log has the record and the first portions; with portions that the log does not have; and behind
/// some that it has. The first interval takes the task, and no later portion has anything for a changelog.
const POINTS: [&str; 3] = ["log-committed:1", "cut:2", "cut:3"];

/// The guest `cases` keeps its records, and reports all of them at each punctuation.
fn walking<'a>(log: &'a TestLog, shape: Shape) -> Subject<'a> {
    let subject = Subject::new(log, shape, "resumed");
    let mut manifest = subject.manifest("tests/guests/cases", "", &[]);
    for (section, topic) in [("sources", "in"), ("sinks", "out")] {
        subject.create(&subject.topic(topic), 1);
        manifest += &format!("[{section}.{topic}]\ntopic = \"{}\"\n", subject.topic(topic));
    }
    manifest += &format!("[config.topology]\nkind = \"walk\"\ninterval = {EVERY}\nrows = {PORTION}\n");
    subject.mill.write("app.toml", &manifest);
    subject
}

fn produce(subject: &Subject<'_>, keys: &[String], time: i64) {
    let line = |key: &String| format!("{{\"key\":\"{key}\",\"value\":\"v\",\"timestamp\":{time}}}\n");
    subject.mill.run_with(&["produce", &subject.topic("in")], keys.iter().map(line).collect::<String>()).ok();
}

/// The committed keys of what was reported.
fn reported(subject: &Subject<'_>) -> Vec<String> {
    let records = subject.log.read_isolated(&subject.topic("out"), 0, Isolation::Committed);
    let key = |key: Option<Vec<u8>>| String::from_utf8(key.expect("a row has a key")).expect("keys are text");
    records.into_iter().map(|record| key(record.key)).collect()
}

fn die_between_portions(log: &TestLog, shape: Shape) {
    let subject = walking(log, shape);
    let keys: Vec<String> = (0..ROWS).map(|at| format!("row{at:04}")).collect();
    let (last_key, before_it) = keys.split_last().expect("there are rows");
    produce(&subject, before_it, BEGAN);
    let mut running = subject.start();
    running.ready();
    subject.until_caught_up();
    subject.stop(running);
    // The punctuation has fired with the first record, which was all there was.
    assert_eq!(reported(&subject), keys[..1]);
    produce(&subject, std::slice::from_ref(last_key), CROSSED);
    let mut before = 1;
    for point in POINTS {
        until_it_dies(&subject, point);
        let now = BTreeSet::from_iter(reported(&subject)).len();
        assert!(now < ROWS && now >= before, "{point}: {now} of them, {before} before");
        before = now;
    }
    assert!(before > 1, "it has died between two portions");
    let mut last = subject.start();
    last.ready();
    let all =
        eventually("all of them have come", || Some(reported(&subject)).filter(|all| all.last() == Some(last_key)));
    subject.until_caught_up();
    if shape.is_exactly_once() {
        assert!(all[1..] == keys && reported(&subject).len() == 1 + ROWS, "each once, and in their order");
    } else {
        let distinct = BTreeSet::from_iter(all);
        assert!(distinct.iter().eq(&keys), "{} of them", distinct.len());
    }
    subject.stop(last);
}

#[test]
fn on_disk_each_row_goes_downstream_once() {
    each_log(|log| die_between_portions(log, LMDB));
}

#[test]
fn in_memory_each_row_goes_downstream_once() {
    each_log(|log| die_between_portions(log, Shape { provider: "memory", ..LMDB }));
}

#[test]
fn at_least_once_no_row_is_lost() {
    each_log(|log| die_between_portions(log, Shape { guarantee: "at-least-once", ..LMDB }));
}

/// The punctuation begins with the last record that there is, and the end is behind it.
#[test]
fn a_run_to_the_end_comes_to_the_end_of_a_punctuation_too() {
    each_log(|log| {
        let subject = walking(log, LMDB);
        let keys: Vec<String> = (0..ROWS).map(|at| format!("row{at:04}")).collect();
        let (last_key, before_it) = keys.split_last().expect("there are rows");
        produce(&subject, before_it, BEGAN);
        produce(&subject, std::slice::from_ref(last_key), CROSSED);
        subject.mill.run(&["run", ".", "--until-end"]).ok();
        let reported = reported(&subject);
        assert!(reported[1..] == keys, "{} of them", reported.len());
    });
}
