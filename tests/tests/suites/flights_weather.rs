//! January in time, through the real component on each log and both providers: hours with their weather, rotations, and
//! what was scheduled beside what left are what the files say.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use millstream_engine::record::{Headers, Record};
use serde_json::Value;
use tests::almanac::{self, Almanac, Line};
use tests::application::Application;
use tests::logs::{Owned, each_log};

static ALMANAC: LazyLock<Almanac> = LazyLock::new(Almanac::of_the_month);

/// The records are older than any retention of a window's changelog: a broker would delete it between two runs.
const KEPT: &str = "[changelog]\ntopic_configs = { \"retention.ms\" = \"-1\" }\n";

const PARTITIONS: i32 = 4;

/// Two days behind the month: nobody waits for a partner any more.
const LATER_MS: i64 = 1_359_900_000_000;

const PROVIDERS: [&str; 2] = ["memory", "lmdb"];

#[test]
fn the_month_comes_to_what_the_files_say() {
    each_log(|log| {
        for provider in PROVIDERS {
            let app = started(log, provider);
            let files =
                ["scheduled", "flown", "weather"].map(|name| almanac::lines(&format!("{name}-2013-01.jsonl.gz")));
            let [scheduled, flown, weather] = &files;
            for (topic, lines) in [("weather", weather), ("flights", &almanac::flights()), ("scheduled", scheduled)] {
                produce(&app, topic, lines);
            }
            produce(&app, "flown", flown);
            close(&app);
            app.run_to_end();
            check(&app);
        }
    });
}

/// Each half of the month in a process of its own, the state of the first one kept; the weather comes last.
#[test]
fn a_restart_in_the_middle_and_weather_that_comes_last_change_nothing() {
    each_log(|log| {
        for provider in PROVIDERS {
            let app = started(log, provider);
            let middle = 1_358_300_000_000;
            let of = |lines: Vec<Line>, first: bool| -> Vec<Line> {
                lines.into_iter().filter(|line| (line.timestamp < middle) == first).collect()
            };
            for first in [true, false] {
                produce(&app, "flights", &of(almanac::flights(), first));
                for topic in ["scheduled", "flown"] {
                    produce(&app, topic, &of(almanac::lines(&format!("{topic}-2013-01.jsonl.gz")), first));
                }
                if !first {
                    close(&app);
                }
                app.run_to_end();
            }
            produce(&app, "weather", &almanac::lines("weather-2013-01.jsonl.gz"));
            app.run_to_end();
            check(&app);
        }
    });
}

fn started<'a>(log: &'a tests::logs::TestLog, provider: &str) -> Application<'a> {
    let partitions = ["flights", "weather", "scheduled", "flown"].map(|source| (source, PARTITIONS));
    let manifest = format!("commit_interval = \"50ms\"\n[state]\nprovider = \"{provider}\"\n{KEPT}");
    Application::new(log, "plugins/flights-weather", &manifest, &partitions)
}

/// To the partitions that the log's own client chooses.
fn produce(app: &Application, topic: &str, lines: &[Line]) {
    let mut writer = app.log.log.writer().unwrap();
    for line in lines {
        let value = line.value.to_string();
        let record = Record {
            key: line.key.as_deref().map(str::as_bytes),
            value: Some(value.as_bytes()),
            headers: Headers(b""),
            timestamp: line.timestamp,
        };
        writer.send(&app.topic(topic), None, record).unwrap();
    }
    writer.flush().unwrap();
}

/// A departure in each partition that is scheduled long after the month: it is waited for in the end, and nothing else is.
fn close(app: &Application) {
    let mut writer = app.log.log.writer().unwrap();
    for partition in 0..PARTITIONS {
        let value = format!(r#"{{"dest":"nowhere","scheduled":{LATER_MS}}}"#);
        let (key, value) = (Some(&b"later"[..]), Some(value.as_bytes()));
        let record = Record { key, value, headers: Headers(b""), timestamp: LATER_MS };
        writer.send(&app.topic("scheduled"), Some(partition), record).unwrap();
    }
    writer.flush().unwrap();
}

fn check(app: &Application) {
    let [hours, rotations, departures] =
        ["hourly-delays", "rotations", "departures"].map(|sink| app.read(sink).into_iter().map(pair));

    // Every flight updates its hours one after the other; an update that another one overtakes on its way to the weather
    // is not written.
    let mut last: BTreeMap<(String, i64), Value> = BTreeMap::new();
    for (airport, hour) in hours {
        let before = last.insert((airport, number(&hour, "start")), hour.clone());
        let before = before.map_or(0, |before| number(&before, "flights"));
        assert!(number(&hour, "flights") >= before, "{hour} after {before}");
    }
    assert_same(&last, &ALMANAC.hours);

    let mut written: BTreeMap<(String, i64), Vec<Value>> = BTreeMap::new();
    for (aircraft, rotation) in rotations {
        written.entry((aircraft, number(&rotation, "start"))).or_default().push(rotation);
    }
    assert_same(&written, &ALMANAC.rotations);

    let mut written: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (flight, departure) in departures {
        written.entry(flight).or_default().push(departure.to_string());
    }
    written.values_mut().for_each(|results| results.sort());
    assert_same(&written, &ALMANAC.departures);
}

fn pair(record: Owned) -> (String, Value) {
    let key = String::from_utf8(record.key.unwrap()).unwrap();
    (key, serde_json::from_slice(&record.value.unwrap()).unwrap())
}

fn number(value: &Value, field: &str) -> i64 {
    value[field].as_i64().unwrap()
}

/// Says the first that differ and how many do: a month is too long to be read.
#[track_caller]
fn assert_same<K: Ord + std::fmt::Debug, V: PartialEq + std::fmt::Debug>(
    found: &BTreeMap<K, V>,
    expected: &BTreeMap<K, V>,
) {
    let keys = expected.keys().chain(found.keys().filter(|key| !expected.contains_key(key)));
    let differ: Vec<_> = keys.filter(|key| found.get(key) != expected.get(key)).collect();
    let first: Vec<_> = differ.iter().take(3).map(|key| (key, found.get(key), expected.get(key))).collect();
    assert!(differ.is_empty(), "{} of {} differ; found, expected: {first:#?}", differ.len(), expected.len());
    assert!(expected.len() > 1_000);
}
