//! Windows that close together go downstream in portions, with commits between them: each window once, and in their order,
//! wherever the process dies between two.

use std::collections::HashSet;
use std::time::{SystemTime, UNIX_EPOCH};

use millstream::log::Isolation;
use tests::chaos::subject::{LMDB, Shape, Subject};
use tests::logs::{TestLog, each_log, eventually};

use super::fail_points::until_it_dies;

/// Windows that one record closes: twenty portions, of which four go between two commits at the most.
const ROWS: usize = 200_000;

/// They begin an hour ago, and are closed a minute later. A broker takes nothing from the future, and deletes from the
/// changelogs of windows what is two days old, by the records' time.
const AGO_MS: i64 = 3_600_000;
const CLOSES_MS: i64 = 60_000;
const SIZE_MS: i64 = 1_000;

fn opened() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970").as_millis() as i64;
    (now - AGO_MS) / SIZE_MS * SIZE_MS
}

/// Where it dies: when the log has the record and some portions; with portions that the log does not have; and behind some
/// that it has. The first interval takes the task, and no later portion has anything for a changelog.
const POINTS: [&str; 3] = ["log-committed:1", "cut:2", "cut:3"];

/// The guest `cases` counts in windows of a second, which go downstream as they close.
fn closing<'a>(log: &'a TestLog, shape: Shape) -> Subject<'a> {
    let subject = Subject::new(log, shape, "portions");
    let mut manifest = subject.manifest("tests/guests/cases", "", &[]);
    for (section, topic) in [("sources", "in"), ("sinks", "out")] {
        subject.create(&subject.topic(topic), 1);
        manifest += &format!("[{section}.{topic}]\ntopic = \"{}\"\n", subject.topic(topic));
    }
    manifest += "[config.topology]\nkind = \"windowed_agg\"\nagg = \"count\"\nemit = \"close\"\n\
                 window = { type = \"time\", size = 1000, retention = 86400000 }\n";
    subject.mill.write("app.toml", &manifest);
    subject
}

fn produce(subject: &Subject<'_>, rows: impl Iterator<Item = (String, i64)>) {
    let line = |(key, time)| format!("{{\"key\":\"{key}\",\"value\":\"v\",\"timestamp\":{time}}}\n");
    subject.mill.run_with(&["produce", &subject.topic("in")], rows.map(line).collect::<String>()).ok();
}

/// The committed keys of what went downstream, without their windows.
fn given(subject: &Subject<'_>) -> Vec<String> {
    let records = subject.log.read_isolated(&subject.topic("out"), 0, Isolation::Committed);
    let key = |key: Option<Vec<u8>>| {
        let mut key = key.expect("a window has a key");
        key.truncate(key.len() - size_of::<i64>());
        String::from_utf8(key).expect("keys are text")
    };
    records.into_iter().map(|record| key(record.key)).collect()
}

fn die_between_portions(log: &TestLog, shape: Shape) {
    let (subject, opened) = (closing(log, shape), opened());
    let keys: Vec<String> = (0..ROWS).map(|at| format!("key{at:06}")).collect();
    produce(&subject, keys.iter().map(|key| (key.clone(), opened)));
    let mut running = subject.start();
    running.ready();
    subject.until_caught_up();
    subject.stop(running);
    produce(&subject, [("closer".to_owned(), opened + CLOSES_MS)].into_iter());
    let mut before = 0;
    for point in POINTS {
        until_it_dies(&subject, point);
        let now = given(&subject).into_iter().collect::<HashSet<_>>().len();
        assert!(now < ROWS && now >= before, "{point}: {now} of them, {before} before");
        before = now;
    }
    assert!(before > 0, "it has died between two portions");
    let mut last = subject.start();
    last.ready();
    // Those of a portion that was not committed come again where that is allowed.
    let has_all = |all: &Vec<String>| all.iter().collect::<HashSet<_>>().len() >= ROWS;
    let all = eventually("all of them have come", || Some(given(&subject)).filter(has_all));
    subject.until_caught_up();
    if shape.is_exactly_once() {
        assert!(all == keys && given(&subject).len() == ROWS, "each once, and in their order");
    } else {
        let mut distinct = all;
        distinct.sort_unstable();
        distinct.dedup();
        assert!(distinct == keys, "{} of them", distinct.len());
    }
    subject.stop(last);
}

#[test]
fn on_disk_each_window_goes_downstream_once() {
    each_log(|log| die_between_portions(log, LMDB));
}

#[test]
fn in_memory_each_window_goes_downstream_once() {
    each_log(|log| die_between_portions(log, Shape { provider: "memory", ..LMDB }));
}

#[test]
fn at_least_once_no_window_is_lost() {
    each_log(|log| die_between_portions(log, Shape { guarantee: "at-least-once", ..LMDB }));
}
